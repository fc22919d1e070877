"""The commands: output, exit codes, and no traceback for what a user can get wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.bench import BENCHMARKS
from cortexc.compiler.cli.app import execute

ROOT = Path(__file__).resolve().parents[2]

EXPERIMENT = """
[model]
circuit = "pal"
layers = [2, 3, 2, 2]
start = "legacy"
eta_bw = 50
eta_PI = 5
sigma = 0.05
[protocol]
task = "bw_only"
epochs = 2
dataset_size = 4
presentation_steps = 5
[run]
seeds = [3]
backend = "native"
[record.angles]
every = 5
offset = 4
angles = [["BPP_0.w", "WPP_1.w"]]
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)


@pytest.fixture
def call(capfd):
    """call(*arguments): exit code, stdout, stderr."""

    def run(*arguments):
        code = execute(list(arguments))
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def call_json(call):
    """call_json(*arguments): exit code and the one object on stdout."""

    def run(*arguments):
        code, out, err = call(*arguments, "--json")
        assert "Traceback" not in err
        return code, json.loads(out)

    return run


def test_models_lists_circuits_and_experiments(call, call_json):
    code, out, err = call("models")
    assert code == 0 and "pal_digits" in out and "PAL" in out and err == ""
    code, table = call_json("models")
    assert code == 0 and {c["name"] for c in table["circuits"]} >= {"pal", "sign-concordant", "error-neuron", "ann"} \
        and "pal_mnist" in table["experiments"]
    assert table["library"]["lif_exp"] == {
        "kind": "cell", "summary": "Leaky integrate-and-fire cell with exponential synaptic currents."}
    assert "\n  rule stdp_additive " in out


def test_show_prints_the_circuit_and_every_pass(call, call_json):
    code, out, _ = call("show", "mine.toml")
    assert code == 0 and out.startswith("graph pal-2-3-2-2") and "state u = 0" in out
    code, after, _ = call("show", "mine.toml", "--after", "eliminate-lookahead")
    assert code == 0 and "state u = 0" not in after
    code, table = call_json("show", "mine.toml", "--after", "fold")
    assert code == 0 and table["text"].startswith("graph pal-2-3-2-2") and len(table["passes"]) > 3
    said = {p["name"]: (p["bits"], p["changed"], p["keeps_bits"]) for p in table["passes"]}
    assert said["fuse-update"] == ("same", True, True) and said["eliminate-lookahead"] == ("algebra", True, False)
    assert said["discretise"] == ("meaning", False, True)
    assert "# passes of a run (other bits than as written: eliminate-lookahead)" in out
    assert "#   fuse-update           to the bit" in out and "#   discretise            nothing to do" in out


def test_shown_text_can_be_run_again(call, call_json, tmp_path):
    _, out, _ = call("show", "mine.toml")
    (tmp_path / "again.ir").write_text(out)
    code, text, _ = call("explain", "mine.toml")
    assert code == 0 and "feedback_alignment: local" in text
    code, table = call_json("explain", "mine.toml", "--set", "model.variant=BP")
    assert code == 0 and not all(entry["local"] for entry in table["read_sets"])


def test_run_prints_results_and_keeps_them(call, call_json, tmp_path):
    code, table = call_json("run", "mine.toml", "-o", "out")
    assert code == 0 and table["steps"] == 40 and table["output"] == "out"
    assert json.loads((tmp_path / "out" / "results.json").read_text())["weights_sha256"] == table["weights_sha256"]
    code, out, err = call("run", "mine.toml", "--progress")
    assert code == 0 and "weights sha256" in out and "40 of 40 steps" in err and "runs/mine" in out
    assert (tmp_path / "runs" / "mine" / "results.json").exists()
    assert call("run", "mine.toml")[0] == 0 and (tmp_path / "runs" / "mine-2").is_dir()


def test_run_in_pieces(call_json):
    _, whole = call_json("run", "mine.toml", "-o", "whole")
    code, part = call_json("run", "mine.toml", "-o", "part", "--steps", "13")
    assert code == 0 and part["steps"] == 13 and not part["completed"]
    _, rest = call_json("run", "part", "--resume")
    assert rest["weights_sha256"] == whole["weights_sha256"] and rest["resumed_from"] == 13
    assert call_json("run", "mine.toml", "-o", "part", "--steps", "0", "--force")[1]["steps"] == 0


def test_a_run_is_not_overwritten_without_a_word(call, call_json, tmp_path):
    call("run", "mine.toml", "-o", "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for again in (["mine.toml", "-o", "out"], ["out"]):
        code, table = call_json("run", *again)
        assert code == 2 and table["error"]["code"] == "X146" and "--resume" in table["error"]["hint"]
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    code, table = call_json("run", "out", "--resume", "--force")
    assert code == 2 and table["error"]["code"] == "X147"
    code, table = call_json("run", "out", "--force", "--set", "protocol.epochs=1")
    assert code == 0 and table["steps"] == 20 and table["resumed_from"] == 0


def test_a_file_of_ones_own_is_not_overwritten_by_a_run(call_json, tmp_path):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    code, table = call_json("run", "experiment.toml", "-o", ".")
    assert code == 2 and table["error"]["code"] == "X146" and "experiment.toml" in table["error"]["message"]
    assert (tmp_path / "experiment.toml").read_text() == EXPERIMENT


def test_resume_without_a_checkpoint_starts_at_the_beginning_and_says_so(call, call_json):
    _, whole = call_json("run", "mine.toml", "-o", "whole")
    code, out, err = call("run", "mine.toml", "-o", "queued", "--resume", "--json")
    assert code == 0 and "no checkpoint in 'queued'" in err
    assert json.loads(out)["weights_sha256"] == whole["weights_sha256"] and json.loads(out)["resumed_from"] == 0
    code, out, err = call("run", "mine.toml", "-o", "queued", "--resume")
    assert code == 0 and "no checkpoint" not in err


def test_a_run_killed_before_its_first_step_can_be_resumed(call, call_json, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("cortexc.compiler.experiments.session.Session.run", die)
        assert call("run", "mine.toml", "-o", "out")[0] == 130
    code, out, err = call("run", "out", "--resume", "--json")
    assert code == 0 and "no checkpoint" not in err and json.loads(out)["completed"]


def test_run_on_the_interpreter(call_json):
    _, native = call_json("run", "mine.toml", "-o", "a")
    _, slow = call_json("run", "mine.toml", "-o", "b", "--backend", "interpreter")
    assert slow["weights_sha256"] == native["weights_sha256"] and slow["backend"] == "interpreter"


def test_compile_and_export(call, call_json, tmp_path):
    code, table = call_json("compile", "mine.toml", "-o", "code", "--granularity", "area")
    assert code == 0 and "network_lava.py" in table["files"] and (tmp_path / "code" / "network_lava.py").exists()
    call("run", "mine.toml", "-o", "out")
    code, out, _ = call("export", "out", "--to", "npz")
    assert code == 0 and np.load(out.strip())["BPP_0.w"].shape == (3, 2)


def test_verify_a_recording(call_json, tmp_path):
    golden = _golden()
    code, table = call_json("verify", "--golden", str(golden), "--on", "interpreter")
    assert code == 0 and table["passed"] and table["evidence"] == "published-simulator"
    assert {"max_abs_error", "max_rel_error", "steps", "variables", "first_divergence"} <= set(table)
    with np.load(golden) as archive:
        arrays = dict(archive)
    arrays["WPP_0"] = arrays["WPP_0"] + np.linspace(0, 1e-6, len(arrays["WPP_0"]))[:, None, None]
    np.savez(tmp_path / "bent.npz", **arrays)
    code, table = call_json("verify", "--golden", "bent.npz", "--on", "interpreter")
    assert code == 1 and not table["passed"] and table["first_divergence"]["variable"] == "WPP_0"


def _golden():
    from pathlib import Path

    folder = Path(__file__).resolve().parents[3] / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip("no recorded trajectories")
    return folder / "pal_111_fw_bw_noise.npz"


def test_verify_an_experiment(call_json):
    pytest.importorskip("torch")
    code, table = call_json("verify", "mine.toml", "--steps", "30")
    assert code == 0 and table["evidence"] == "independent-reference" and table["steps"] == 30
    code, table = call_json("verify", "mine.toml", "--on", "interpreter", "--steps", "0")
    assert code in (1, 2)


def test_bench_lists_rows(call, call_json, monkeypatch):
    monkeypatch.setattr("cortexc.compiler.bench.pal.feedback", lambda options: [{"figure": "3abc", "options": str(options)}])
    code, table = call_json("bench", "pal-feedback", "--set", "seeds=[123]", "--golden", "somewhere", "-o", "out")
    assert code == 0 and table["name"] == "pal-feedback" and table["machine"]["cores"]
    assert table["rows"][0]["options"] == "{'seeds': [123], 'golden': 'somewhere', 'output': 'out'}"
    assert table["options"] == {"seeds": [123], "golden": "somewhere"}  # where results lie is not how they were made
    code, out, _ = call("bench", "pal-feedback")
    assert code == 0 and out.split()[:2] == ["figure", "options"]


@pytest.mark.parametrize("arguments, code, words", [
    (["run", "nothing.toml"], "X101", "no experiment"), (["run", "bad.toml"], "X102", "not TOML"),
    (["run", "mine.toml", "--set", "model.layer=3"], "X103", "Did you mean 'layers'?"),
    (["run", "mine.toml", "--set", "model.eta_bw=inf"], "X104", "finite"),
    (["run", "mine.toml", "--backend", "lav"], "X104", "native"),
    (["run", "mine.toml", "--set", "nothing"], "X105", "a.b=value"),
    (["run", "mine.toml", "-o", "/proc/nowhere"], "X130", "cannot write"),
    (["run", "mine.toml", "--set", "record.a.quantities=['P0.rat']", "--set", "record.a.at=[1]"], "X151", "P0.rat"),
    (["show", "mine.toml", "--after", "folt"], "E261", "Did you mean 'fold'?"),
    (["verify"], "X193", "--golden"), (["verify", "mine.toml", "--golden", "x"], "X193", "--golden"),
    (["verify", "--golden", "nothing.npz"], "V1", "nothing.npz"),
    (["bench", "spead"], "X185", "Did you mean 'speed'?"),
    (["bench", "pal-feedback", "--golden", "/nowhere", "--set", "figures=4"], "X180", "nowhere"),
    (["export", "nowhere", "--to", "npz"], "X170", "nowhere"), (["export", ".", "--to", "zip"], "X171", "npz"),
    (["run"], "X100", "xperiment"), (["frobnicate"], "X100", "frobnicate"), (["run", "mine.toml", "--steps", "-1"], "X100", "--steps"),
])
def test_mistakes_are_coded_and_exit_with_2(call, call_json, tmp_path, arguments, code, words):
    (tmp_path / "bad.toml").write_text("[model")
    exit_code, table = call_json(*arguments)
    assert exit_code == 2 and set(table) == {"error"}
    error = table["error"]
    assert error["code"].startswith(code) and words in f"{error['message']} {error['hint']}"
    exit_code, out, err = call(*arguments)
    assert exit_code == 2 and out == "" and "Traceback" not in err
    assert code == "X100" or err.startswith(code)


def test_the_system_refusing_is_no_traceback(call_json, monkeypatch):
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    monkeypatch.setattr("cortexc.compiler.experiments.running.make_runner", full)
    code, table = call_json("run", "mine.toml", "-o", "out")
    assert code == 2 and table["error"]["code"] == "X190" and "somewhere" in table["error"]["message"]


def test_bugs_are_not_hidden(monkeypatch):
    monkeypatch.setattr("cortexc.compiler.experiments.running.make_runner", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        execute(["run", "mine.toml", "-o", "out"])


def test_a_circuits_name_stands_for_its_example(call):
    code, out, _ = call("explain", "error-neuron")
    assert code == 0 and "NON-LOCAL: weight transport: a mirror copies projection 'WPP_1_0'" in out
    code, out, _ = call("explain", "error-neuron", "--set", "model.variant=KP", "--set", "model.wiring=layered")
    assert code == 0 and "NON-LOCAL" not in out and "rule kolen_pollack: local" in out


def test_explain_stock_says_why_not(call, call_json):
    code, out, _ = call("explain", "ann", "--stock")
    assert code == 0 and "not LearningDense: rule 'delta'" in out
    code, table = call_json("explain", "pal", "--stock")
    assert code == 0 and all(note["reason"] for note in table["stock"])


@pytest.mark.parametrize("name", ["depth_ann", "depth_dpc", "depth_dendritic"])
def test_run_says_the_test_error(call_json, tmp_path, name):
    code, table = call_json("run", name, "-o", str(tmp_path), "--backend", "native", "--set", "protocol.epochs=1",
                            "--set", "protocol.dataset_size=4", "--set", "protocol.settling_steps=0")
    assert code == 0 and table["test_error"] > 0 and [e["phase"] for e in table["errors"]] == [
        "first_validation", "validation", "test"]


def test_show_after_quantise_and_explain_formats(call, call_json):
    small = ["--set", "precision.weights=8", "--set", "precision.calibration_steps=100", "--set",
             "data.limits={train=20,test=10}"]
    every = ["--set", "precision.map=loihi2", "--set", "precision.groups=2", "--set", "precision.count=true"]
    code, table = call_json("show", "pal_digits", "--after", "quantise", *small, *every)
    assert code == 0 and "noise rounding uniform" in table["text"] and "unit 0." in table["text"]
    assert [each["name"] for each in table["passes"]] == [
        "discretise", "fold", "eliminate-lookahead", "legalise", "group-weights", "name-products", "quantise",
        "count-underflow", "hoist-constant-input", "fuse-update", "defer-decay", "partition"]
    code, table = call_json("explain", "pal_digits", "--formats", *small)
    assert code == 0 and {row["quantity"] for row in table["formats"]} > {"P0.drive", "WPP_0.w"}
    code, table = call_json("explain", "pal_digits", "--map", "loihi2")
    assert code == 0 and table["rules"][0]["nearest"].startswith("dt = ")


def test_a_run_that_failed_is_not_a_wrong_input(capsys):
    from cortexc.compiler.backends.lava.run import coded_error
    from cortexc.compiler.cli.command import guarded
    from cortexc.compiler.cli.output import Output
    from cortexc.lava_procs import supervisor as s

    failures = {"E701": s.ChildRaised("A", "ZeroDivisionError"), "E702": s.ChildDied("A", -9),
                "E703": s.Stalled(5.0, []), "E705": s.ChildLost("A")}
    for code, failure in failures.items():
        error = coded_error(failure)
        assert error.code == code

        def fail(error=error):
            raise error

        assert guarded(Output(False), fail) == 3 and capsys.readouterr().err.startswith(code)
    stopped = coded_error(s.Interrupted(15, 3, True))
    assert (stopped.code, stopped.exit_code) == ("E704", 143)
    users = coded_error(s.ChildRaised("A", "CortexError: ...", ("D101", "no data.", "")))
    assert (users.code, users.exit_code) == ("D101", 2)


@pytest.mark.parametrize("arguments, line", [(["models"], "X190 "), (["run", "nowhere"], "X101 ")])
def test_with_json_and_a_full_disk_the_line_goes_to_stderr(arguments, line):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "cortexc.compiler.cli", *arguments, "--json"], stdout=full, text=True,
                              stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith(line)


def test_a_command_whose_stdout_is_closed():
    done = subprocess.run(["sh", "-c", f"exec {sys.executable} -m cortexc.compiler.cli models --json >&-"], text=True,
                          stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_project_is_begun_once(call, tmp_path):
    code, out, _ = call("init")
    assert code == 0 and "my_experiment.toml" in out and (tmp_path / "my_project" / "test_my_circuit.py").exists()
    code, _, err = call("init")
    assert code == 2 and err.startswith("X221 ") and "my_project" in err


def test_help_lists_the_benchmarks(call):
    _, out, _ = call("bench", "--help")
    assert all(f" {name} " in out and each.what in out for name, each in BENCHMARKS.items())


@pytest.mark.parametrize("words, wanted", [("run pal_d", "pal_digits"), ("verify pal_d", "pal_digits"), ("bench dm", "dms")])
def test_shells_complete_names(words, wanted, monkeypatch, capfd):
    for name, value in (("_CORTEXC_COMPLETE", "complete_bash"), ("COMP_WORDS", f"cortexc {words}"), ("COMP_CWORD", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        execute([])
    assert ended.value.code == 0 and capfd.readouterr().out.split() == [wanted]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_there(name):
    module, _, function = BENCHMARKS[name].place.partition(":")
    assert f"def {function}(" in (ROOT / f"{module.replace('.', '/')}.py").read_text()
