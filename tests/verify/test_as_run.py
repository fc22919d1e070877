"""What is verified is what runs: the graph as written, and as `run` lowers it, against the same evidence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cortexc
from cortexc.compiler.backends.lowering.held import FormCode
from cortexc.compiler.backends.lowering.projections import ProjectionLowering
from cortexc.compiler.cli.app import execute
from cortexc.compiler.ir import CortexError, parse_graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify import Setup, record_trajectory
from cortexc.compiler.verify.as_run import looks

GRAPH = """
graph derived
  dt 0.1
  gate learn
cell source
  input value
  state rate = 0
  send rate = value
  message rate
cell leaky
  port drive
  parameter tau ms
  state u = 0
  receive du/dt = (drive - u) / tau
  send r = tanh(prev(u))
  message r
rule delta
  parameter eta 1
  increment dt * eta * (0.3 - post.u) * pre.rate
synapse up
  message rate
  port drive
  rule delta
synapse on
  message r
  port drive
population input source 3
population out leaky 4
  tau = 2
population top leaky 2
  tau = 3
projection W up input -> out gate=learn
  eta = 0.5
projection V on out -> top
output u = top.u
"""
REFERENCE = '''
import numpy as np

def exact(graph, inputs, steps):
    W, u, rows = graph.arrays["W.w"].copy(), np.zeros(4), {"out.u": [], "W.w": []}
    for n in range(steps):
        rate = inputs["input.value"][n]
        u = u + 0.1 * ((W @ rate - u) / 2)
        if inputs["gate.learn"][n] > 0:
            W = W + 0.1 * 0.5 * np.outer(0.3 - u, rate)
        rows["out.u"].append(u)
        rows["W.w"].append(W)
    return rows

def few(graph, inputs, steps):
    return {"W.w": exact(graph, inputs, steps)["W.w"]}
'''
LINES = ["as-written", "as-run"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    (tmp_path / "mine.ir").write_text(GRAPH)
    (tmp_path / "mine.py").write_text(REFERENCE)
    np.savez(tmp_path / "w.npz", **{"W.w": rng.uniform(-1, 1, (4, 3)), "V.w": rng.uniform(-1, 1, (2, 4))})


def experiment(backend="native", **changes):
    tables = {"model": {"circuit": "mine.ir", "arrays": "w.npz"}, "run": {"backend": backend, "seeds": [1]},
              "data": {"inputs": {"input": np.random.default_rng(6).uniform(0, 1, (6, 3)).tolist()}},
              "protocol": {"task": "stream", "presentation_steps": 20, "train_gates": ["learn"]},
              "record": {"r": {"every": 7, "offset": 3, "quantities": ["top.u", "W.w"]}}}
    return cortexc.load({**tables, **changes})


def digits(**more):
    """The digits circuit without data: an input wide enough that its projection is hoisted."""
    x = np.random.default_rng(6).uniform(0, 1, (6, 32)).tolist()
    tables = {"model": {"circuit": "pal", "layers": [32, 3, 2], "start": "legacy", "eta_fw": [1.0, 1.0],
                        "eta_bw": [1.0], "eta_IP": [1.0], "eta_PI": [1.0], "sigma": [0.05], **more},
              "run": {"backend": "native", "seeds": [1]}, "data": {"inputs": {"input": x, "teacher": [0.3, -0.2]}},
              "protocol": {"task": "stream", "presentation_steps": 13,
                           "train_gates": ["learn_forward", "learn_lateral", "learn_feedback", "noise", "target"]}}
    return cortexc.load(tables)


def write(name, loaded):
    Path(name).write_text(loaded.text())


# ---- both lines


def test_both_lines_are_named_and_verified():
    result = cortexc.verify(experiment(), steps=120)
    assert result.passed and [line.line for line in result.lines] == LINES and result.evidence == "interpreter"
    written, run = result.lines
    assert written.passes == () and "fuse-update" in run.passes and written.steps == run.steps == 120
    assert written.compared_steps == 120 and 20 < run.compared_steps < 60
    assert {"W.w", "top.u", "out.u"} <= set(run.variables) and run.max_abs_error == 0


def test_recordings_and_ends_of_blocks_are_looked_at():
    """A recording every 7 steps is compared where it was made, not only where blocks end."""
    run = cortexc.verify(experiment(), steps=120).lines[1]
    recorded, stops = set(range(3, 120, 7)), {stop - 1 for stop in looks(120)}
    assert run.compared_steps == len(recorded | stops | {119})


def test_the_table_has_its_documented_keys_and_the_lines(capfd):
    write("mine.toml", experiment())
    assert execute(["verify", "mine.toml", "--json"]) == 0
    table = json.loads(capfd.readouterr().out)
    documented = {"passed", "evidence", "max_abs_error", "max_rel_error", "steps", "variables", "first_divergence"}
    assert documented | {"outcome", "lines"} <= set(table) and table["outcome"] == "verified"
    assert [line["line"] for line in table["lines"]] == LINES and all(documented <= set(x) for x in table["lines"])
    assert execute(["verify", "mine.toml"]) == 0
    out = capfd.readouterr().out
    assert "as-written  verified" in out and "as-run      verified" in out and "fuse-update" in out


def without_the_pending_increment(monkeypatch):
    rows = ProjectionLowering._product_of_rows
    monkeypatch.setattr(ProjectionLowering, "_product_of_rows", lambda self, kernel, axes, pre, sums, learning, skip:
                        rows(self, kernel, axes, pre, sums, None, skip))


def without_the_increment_of_the_product(monkeypatch):
    write = FormCode.write
    monkeypatch.setattr(FormCode, "write", lambda self, lines: write(
        self, [line for line in lines if not (line.target == "current" and line.adds)]))


@pytest.mark.parametrize("plant, made", [
    (without_the_pending_increment, experiment), (without_the_increment_of_the_product, digits)])
def test_a_fault_of_the_lowering_across_steps_is_found_as_run(monkeypatch, plant, made):
    assert cortexc.verify(made(), steps=70, reference="interpreter").passed
    plant(monkeypatch)
    result = cortexc.verify(made(), steps=70, reference="interpreter")
    written, run = result.lines
    assert written.passed and run.outcome == result.outcome == "diverged"
    assert result.first_divergence == run.first_divergence and result.first_divergence.step < 10
    assert any(reason.startswith("as-run: ") for reason in result.reasons)


def test_blocks_of_the_run_are_longer_than_the_chunks_of_the_comparison(monkeypatch):
    """Weights of a large circuit are compared a few steps at a time; its run is not cut there, which would flush it."""
    monkeypatch.setattr("cortexc.compiler.verify.runs.WINDOW_BYTES", 1)
    without_the_pending_increment(monkeypatch)
    written, run = cortexc.verify(experiment(), steps=70).lines
    assert written.passed and run.outcome == "diverged" and run.compared_steps < 40


def test_a_pass_that_changes_the_circuit_is_found_as_run(monkeypatch):
    from cortexc.compiler.passes.fold import Fold

    apply = Fold.apply
    monkeypatch.setattr(Fold, "apply", lambda self, graph, request: apply(self, graph.with_(dt=0.1001), request))
    assert [line.outcome for line in cortexc.verify(experiment()).lines] == ["verified", "diverged"]


@pytest.mark.parametrize("quantities", [["WPP_0.current"], ["WPP_0.current", "WPP_0.w"]])
def test_the_recorded_current_of_a_held_input_is_that_of_its_step(quantities):
    watched = cortexc.load({**digits().tables(), "record": {"r": {"every": 3, "offset": 1, "quantities": quantities}}})
    result = cortexc.verify(watched, steps=70, reference="interpreter")
    assert result.passed and "WPP_0.current" in result.lines[1].variables


def test_recordings_take_the_memory_of_the_steps_that_are_compared(monkeypatch):
    from cortexc.compiler.experiments import questions as checks

    sizes, make = [], checks.make_runner
    monkeypatch.setattr(checks, "make_runner", lambda compiled: sizes.append(make(compiled)) or sizes[-1])
    long = experiment(protocol={"presentation_steps": 10**7, "train_gates": ["learn"]})
    assert cortexc.verify(long, steps=30).passed and sizes[0].buffer.size < 200


@pytest.mark.parametrize("granularity", ["population", "area"])
def test_groups_of_a_granularity_have_the_passes_that_run_gives_them(granularity):
    result = cortexc.verify(experiment(), granularity=granularity, on="native")
    assert result.passed and "fuse-update" not in result.lines[1].passes and "partition" in result.lines[1].passes


def test_on_the_interpreter_only_what_the_passes_leave_is_compared():
    result = cortexc.verify(experiment(), on="interpreter")
    assert result.passed and result.line == "as-run" and len(result.as_dict()["lines"]) == 1


def test_shipped_circuits_have_both_lines():
    pytest.importorskip("torch")
    result = cortexc.verify(cortexc.load("depth_error-neuron", {"run.backend": "native"}), steps=60)
    assert result.passed and result.evidence == "independent-reference" and [x.line for x in result.lines] == LINES


# ---- derivatives


@pytest.mark.parametrize("on", ["native", "interpreter"])
def test_derivatives_against_a_function_of_ones_own(on):
    result = cortexc.verify(experiment(), on=on, reference="mine.py:exact")
    assert result.passed and result.evidence == "user-reference" and set(result.lines[0].variables) == {"out.u", "W.w"}


def test_what_a_reference_leaves_out_is_expected_as_it_is_written():
    result = cortexc.verify(experiment(), reference="mine.py:few")
    assert set(result.lines[0].variables) == {"W.w"} and {"W.w", "out.u", "top.u"} <= set(result.lines[1].variables)


def recorded(path):
    rng, graph = np.random.default_rng(1), parse_graph(GRAPH)
    graph = graph.with_(arrays={"W.w": rng.uniform(-1, 1, (4, 3)), "V.w": rng.uniform(-1, 1, (2, 4))})
    protocol = Protocol((Phase("all", 5, 4, gates=(("learn", (1.0,)),)),), ("all",))
    record_trajectory(path, Setup(graph, protocol, rng.uniform(-1, 1, (5, 3))))


def test_a_recording_of_a_circuit_with_derivatives(tmp_path, capfd):
    recorded(tmp_path / "own.npz")
    assert execute(["verify", "--golden", "own.npz", "--json"]) == 0
    table = json.loads(capfd.readouterr().out)
    assert table["passed"] and len(table["lines"]) == 1


# ---- outcomes of their own


def test_nothing_learnt_is_no_divergence(capfd):
    write("still.toml", experiment(data={"inputs": {"input": [0.0, 0.0, 0.0]}}))
    assert execute(["verify", "still.toml", "--json"]) == 1
    table = json.loads(capfd.readouterr().out)
    assert table["outcome"] == "nothing-learnt" and not table["passed"] and table["first_divergence"] is None
    assert "W.w (in 1000 steps; compare more where learning begins later)" in table["reasons"][0]
    assert execute(["verify", "still.toml"]) == 1
    out = capfd.readouterr().out
    assert "NOTHING LEARNT" in out and "DIVERGED" not in out and "no weight moved" in out


def test_no_step_is_refused():
    with pytest.raises(CortexError, match="X205"):
        cortexc.verify(experiment(), steps=0)


def test_not_a_number_on_both_sides_is_an_outcome():
    Path("mine.ir").write_text(GRAPH.replace("send r = tanh(prev(u))", "send r = log(-1 - prev(u) * prev(u))"))
    result = cortexc.verify(experiment())
    assert result.outcome == "not-a-number" and not result.passed and "'out.r'" in " ".join(result.reasons)


def test_a_circuit_of_which_nothing_is_left_says_so():
    text = "graph alone\n  dt 1\ncell c\n  input x\n  state u = 1\n  receive u = prev(u) * x\npopulation p c 2\n"
    Path("alone.ir").write_text(text)
    alone = cortexc.load({"model": {"circuit": "alone.ir"}, "run": {"backend": "native"},
                          "data": {"inputs": {"p.x": [0.5, 0.25]}}, "protocol": {"presentation_steps": 5}})
    result = cortexc.verify(alone, steps=20)
    assert [line.outcome for line in result.lines] == ["verified", "nothing-compared"]
    assert result.outcome == "nothing-compared" and "declare an output" in " ".join(result.reasons)


# ---- names


def test_all_granularities_in_python():
    result = cortexc.verify(experiment(), on="native", granularity="all")
    assert result.passed and [each.granularity for each in result.granularities] == ["population", "area", "network"]
    assert result.granularity == "network"
    assert [len(table["lines"]) for table in result.as_dict()["granularities"]] == [2, 2, 2]


@pytest.mark.parametrize("options, code, words", [
    ({"granularity": "cell"}, "E601", "unknown granularity 'cell'; known: .*all.*network"),
    ({"on": "loihi"}, "V120", "unknown backend 'loihi'"),
    ({"granularity": "neurocore", "on": "native"}, "X154", "needs a hardware map")])
def test_unknown_names_are_coded(options, code, words):
    with pytest.raises(CortexError, match=words) as error:
        cortexc.verify(experiment(), **options)
    assert error.value.code == code


@pytest.mark.parametrize("change, code, words", [
    ({"granularity": "all"}, "E601", "population"), ({"backend": "lav"}, "X157", "native")])
def test_what_was_not_checked_when_loading_is_checked_when_compiling(change, code, words):
    with pytest.raises(CortexError, match=words) as error:
        cortexc.compile(experiment().with_run(**change))
    assert error.value.code == code


@pytest.mark.parametrize("command", [["run"], ["show"], ["compile", "-o", "out"]])
def test_all_is_no_granularity_of_a_single_run(command, capfd):
    write("mine.toml", experiment())
    assert execute([*command, "mine.toml", "--granularity", "all", "--json"]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert error["code"] == "X104" and all(word in error["message"] + error["hint"] for word in ("population", "network"))


# ---- what is not installed

BLOCKED = """
import sys
from importlib.machinery import PathFinder

find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in {blocked!r} else find(name, *rest)
from cortexc.compiler.cli.app import execute
sys.exit(execute({arguments!r}))
"""


@pytest.mark.parametrize("blocked, arguments, extra", [
    (["lava"], ["mine.toml", "--on", "lava"], "lava"),
    (["lava"], ["mine.toml", "--granularity", "all"], "lava"),
    (["lava"], ["mine.toml", "--granularity", "population", "--reference", "mine.py:exact"], "lava"),
    (["lava"], ["--golden", "own.npz", "--granularity", "all"], "lava"),
    (["torch"], ["--golden", "own.npz", "--on", "reference"], "reference"),
    (["torch"], ["depth_ann", "--on", "native", "--steps", "5"], "reference"),
    (["torch"], ["pal_digits", "--on", "interpreter", "--steps", "5"], "reference")])
def test_what_is_not_installed_is_named(tmp_path, blocked, arguments, extra):
    recorded(tmp_path / "own.npz")
    write("mine.toml", experiment())
    script = BLOCKED.format(blocked=blocked, arguments=["verify", *arguments, "--json"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2 and error["code"] == "V121" and f"'{extra}' is not installed" in error["message"]
    assert "Traceback" not in done.stderr and "pip install" in error["hint"]
