"""The wheel, installed away from the sources: it is imported, simulates, knows its experiments and its commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif("CORTEXC_WHEEL" not in os.environ, reason="make test-long: builds and installs a wheel")
SIMULATED = """import cortexc
graph = cortexc.parse_graph('''graph one
cell leaky
  input value
  state v = 0
  receive v = 0.5 * prev(v) + value
  message v
population A leaky 2
''')
print(cortexc.simulate(graph, 3, inputs={"A.value": [[1.0, 2.0]] * 3}, record=["A.v"])["A.v"][-1].tolist(), cortexc.__file__)
"""


@pytest.fixture(scope="module", params=["--target", "--user"])
def installed(request, tmp_path_factory):
    """The environment of a program that finds the installed packages, and not the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    leave_out = shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "__pycache__")
    sources = shutil.copytree(ROOT, folder / "sources", ignore=leave_out)
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, sources], check=True, cwd=folder)
    (wheel,) = folder.glob("cortexc-*.whl")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONUSERBASE": str(folder / "user"), "PYTHONPATH": str(folder / "target")}
    where = ["--target", folder / "target"] if request.param == "--target" else ["--prefix", folder / "user"]
    subprocess.run([*pip, "install", "--no-deps", "--ignore-installed", *where, wheel], check=True, cwd=folder)
    if request.param == "--user":  # which pip refuses within a virtual environment: the same files, found by name
        environment["PYTHONPATH"] = str(next((folder / "user").glob("lib/python*/site-packages")))
    return folder, environment


def said(installed, *arguments: str) -> str:
    folder, environment = installed
    run = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def command(installed, *arguments: str) -> str:
    return said(installed, "-c", "from cortexc.compiler.cli import main; main()", *arguments)


def test_it_is_imported_and_simulates(installed):
    text = said(installed, "-c", SIMULATED)
    assert "[[1.75, 3.5]]" in text and str(installed[0]) in text


def test_a_shipped_experiment_runs(installed):
    assert "pal_digits" in command(installed, "models")
    assert '"steps": 5' in command(installed, "run", "pal_digits", "--backend", "interpreter", "--steps", "5", "--json")


def test_version_and_help_of_everything(installed):
    assert re.fullmatch(r"cortexc \d+\.\d+\.\d+\n", command(installed, "--version"))
    names = re.findall(r"^\W*│ (\w+) ", command(installed, "--help").partition("Commands")[2], re.MULTILINE)
    assert len(names) >= 8
    for name in names:
        assert "Usage" in command(installed, name, "--help")
