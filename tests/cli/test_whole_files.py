"""Nothing is half-written: a full disk at any moment is a coded line, and what was there before is intact."""

import contextlib
import json
import resource

import pytest

from cortexc.compiler.cli.app import execute

EXPERIMENT = """
[model]
circuit = "pal"
layers = [2, 3, 2, 2]
start = "legacy"
[protocol]
task = "bw_only"
epochs = 2
dataset_size = 4
presentation_steps = 5
[run]
backend = "native"
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)


@contextlib.contextmanager
def largest_file(size):
    """The system refuses to make a file larger than `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def limits(folder):
    """Less than every file that a complete folder has, by more than the digits of a time in it: the first file that
    fails is another one each time."""
    return sorted({max(len(content) - 50, 0) for content in files(folder).values()})


def refused(capsys, size, *arguments):
    capsys.readouterr()
    with largest_file(size):
        code = execute([*arguments, "--json"])
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert code == 2 and error["code"] in ("X130", "X131", "X190") and "Traceback" not in err
    assert "\n" not in error["message"]


def test_a_full_disk_leaves_the_compiled_folder_as_it_was(tmp_path, capsys):
    pytest.importorskip("lava")
    compile_ = ["compile", "mine.toml", "--granularity", "population"]
    assert execute([*compile_, "-o", "whole"]) == 0
    assert execute([*compile_, "-o", "old", "--set", "model.eta_bw=2"]) == 0
    (tmp_path / "old" / "run").mkdir()
    (tmp_path / "old" / "run" / "notes").write_text("the user's")
    old = files(tmp_path / "old")
    for size in limits(tmp_path / "whole"):
        refused(capsys, size, *compile_, "-o", "new")
        refused(capsys, size, *compile_, "-o", "old")
        assert not (tmp_path / "new").exists() and files(tmp_path / "old") == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.toml", "old", "whole"]
    assert execute([*compile_, "-o", "old"]) == 0
    found = files(tmp_path / "old")
    assert {name: found[name] for name in files(tmp_path / "whole")} == files(tmp_path / "whole")
    assert (tmp_path / "old" / "run" / "notes").read_text() == "the user's"


def test_edited_code_is_not_overwritten_without_a_word(tmp_path, capsys):
    pytest.importorskip("lava")
    assert execute(["compile", "mine.toml", "-o", "code"]) == 0
    code = tmp_path / "code" / "network_lava.py"
    code.write_text(edited := code.read_text() + "# mine\n")
    capsys.readouterr()
    assert execute(["compile", "mine.toml", "-o", "code", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "X148" and "network_lava.py" in error["message"] and code.read_text() == edited
    assert execute(["compile", "mine.toml", "-o", "code", "--force"]) == 0
    assert "# mine" not in code.read_text()
    (tmp_path / "code" / "manifest.json").write_text("[]")
    assert execute(["compile", "mine.toml", "-o", "code"]) == 0


def test_an_error_in_the_middle_leaves_nothing(tmp_path, capsys):
    pytest.importorskip("lava")
    assert execute(["compile", "mine.toml", "-o", "new", "--set", "data.path=x.npz"]) == 2
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_no_half_of_a_run(tmp_path, capsys):
    assert execute(["run", "mine.toml", "-o", "whole"]) == 0
    whole = files(tmp_path / "whole")
    for size in limits(tmp_path / "whole"):
        refused(capsys, size, "run", "mine.toml", "-o", f"run{size}")
        kept = files(tmp_path / f"run{size}") if (tmp_path / f"run{size}").exists() else {}
        assert set(kept) < set(whole)
        same = [name for name in kept if name.name not in ("checkpoint.safetensors", "results.json")]
        assert all(kept[name] == whole[name] for name in same)
    smallest = limits(tmp_path / "whole")[0]
    refused(capsys, smallest, "run", "mine.toml", "-o", "whole", "--force")
    assert files(tmp_path / "whole") == whole


def test_a_full_disk_leaves_no_half_of_an_export_or_a_page(tmp_path, capsys):
    assert execute(["run", "mine.toml", "-o", "run"]) == 0
    assert execute(["export", "run", "--to", "npz", "-o", "old.npz"]) == 0
    old = (tmp_path / "old.npz").read_bytes()
    for name in ("old.npz", "new.npz"):
        refused(capsys, len(old) - 1, "export", "run", "--to", "npz", "-o", name)
    assert (tmp_path / "old.npz").read_bytes() == old and not (tmp_path / "new.npz").exists()
    assert execute(["fit", "mine.toml", "--map", "ideal", "-o", "page"]) == 0
    page = files(tmp_path / "page")
    for size in limits(tmp_path / "page"):
        refused(capsys, size, "fit", "mine.toml", "--map", "ideal", "-o", "page")
        assert files(tmp_path / "page") == page


def test_recordings_are_whole_too(tmp_path):
    from cortexc.compiler.experiments.compilation import compile_experiment
    from cortexc.compiler.experiments.config import load_experiment
    from cortexc.compiler.verify import Setup
    from cortexc.compiler.verify.recorded.recordings import record_trajectory

    compiled = compile_experiment(load_experiment("mine.toml", ["run.backend=interpreter"]))
    setup = Setup(compiled.graph, compiled.plan.protocol, compiled.plan.samples, (123,))
    record_trajectory(tmp_path / "mine.npz", setup, steps=3)
    whole = (tmp_path / "mine.npz").read_bytes()
    with largest_file(len(whole) // 2), pytest.raises(OSError, match="large"):
        record_trajectory(tmp_path / "mine.npz", setup, steps=3)
    assert (tmp_path / "mine.npz").read_bytes() == whole
