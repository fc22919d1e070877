"""The tutorial does what it says with what `cortexc init` makes: its commands run, its Python runs, and the circuit
learns on Lava."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cortexc.compiler.cli.app import execute

pytestmark = pytest.mark.lava
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tutorial")
    assert execute(["init", str(path / "my_project")]) == 0
    return path / "my_project"


def run(folder: Path, words: list[str]) -> str:
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_run_and_the_circuit_learns(folder):
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert [c.split()[1] for c in commands] == ["explain", "verify", "run", "export"]
    out = {c.split()[1]: run(folder, ["cortexc.compiler.cli", *c.split()[1:]]) for c in commands}
    assert "rule traced_delta: local" in out["explain"]
    assert out["verify"].count("verified against interpreter") == 3
    assert out["verify"].count("  as-written  verified: ") == out["verify"].count("  as-run      verified: ") == 3
    results = json.loads((folder / "run" / "results.json").read_text())
    assert results["test_accuracy"] > 0.85 and results["backend"] == "lava"


def test_the_python_runs(folder):
    (code,) = blocks("python")
    (folder / "page.py").write_text(code)
    assert float(run(folder, ["page"])) > 0.7


def test_the_test_of_the_project_passes(folder):
    assert "4 passed" in run(folder, ["pytest", "-p", "no:cacheprovider"])


def test_the_text_of_the_page_is_the_text_of_the_file():
    source = re.sub(r"[ ]+#.*", "", (ROOT / "examples" / "project" / "my_circuit.py").read_text())
    parts = [b for b in re.split(r"^```.*$", PAGE, flags=re.M)[1::2] if b.lstrip().startswith(("cell", "rule"))]
    assert len(parts) == 2
    for block in parts:
        assert block.strip() in source
