"""The wheel with its base dependencies, away from the sources, on every Python that is here: it is imported, simulates,
knows its experiments and its commands, and begins a project that passes its test. One package is in site-packages."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif("CORTEXC_WHEEL" not in os.environ, reason="make test-long: builds and installs a wheel")
VERSIONS = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
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
SHIPPED = [("pal_digits", []), ("brunel", ["model.order=20", "protocol.duration_ms=5", "protocol.warm_up_ms=0"]),
           ("eprop", ["model.cells=6", "model.adaptive=2"]), ("rstdp", []), ("error_neuron_digits", [])]


def python_of(version: str) -> str | None:
    places = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python")
    return next(iter(sorted(map(str, places))), shutil.which(f"python{version}"))


def python(*arguments, **options) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=900, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    leave_out = shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "__pycache__")
    sources = shutil.copytree(ROOT, folder / "sources", ignore=leave_out)
    python(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, sources, cwd=folder)
    return next(folder.glob("cortexc-*.whl"))


@pytest.fixture(scope="module", params=[*VERSIONS, "--target", "--user"])
def installed(request, wheel, tmp_path_factory):
    """(folder, Python, environment) of a program that finds the installed packages, and not the sources."""
    folder = tmp_path_factory.mktemp("away")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"CORTEXC_CACHE": str(folder / "cache")}
    if request.param.startswith("--"):
        return folder, sys.executable, environment | {"PYTHONPATH": str(beside(request.param, wheel, folder))}
    found = python_of(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} here")
    python(found, "-m", "venv", folder / "venv", env=environment)
    python(folder / "venv/bin/python", "-m", "pip", "--quiet", "install", wheel, "pytest", env=environment)
    return folder, str(folder / "venv/bin/python"), environment


def beside(how: str, wheel: Path, folder: Path) -> Path:
    """The packages of this Python, and the wheel as pip lays it elsewhere. Within a virtual environment pip refuses
    `--user`: the same files, found by name."""
    where = ["--target", folder / "target"] if how == "--target" else ["--prefix", folder / "user"]
    python(sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--ignore-installed", *where, wheel, cwd=folder)
    return next((folder / "user").glob("lib/python*/site-packages"), folder / "target")


def said(installed, *arguments: str) -> str:
    folder, program, environment = installed
    return python(program, *arguments, cwd=folder, env=environment)


def command(installed, *arguments: str) -> str:
    return said(installed, "-m", "cortexc.compiler.cli", *arguments)


def test_it_is_imported_and_simulates(installed):
    text = said(installed, "-c", SIMULATED)
    assert "[[1.75, 3.5]]" in text and str(installed[0]) in text


@pytest.mark.parametrize("name, settings", SHIPPED, ids=lambda each: each if isinstance(each, str) else "")
def test_a_shipped_experiment_runs(installed, name, settings):
    assert name in command(installed, "models")
    options = [word for setting in settings for word in ("--set", setting)]
    assert '"steps": 5' in command(installed, "run", name, "--backend", "native", "--steps", "5", "--json", *options)


def test_a_run_and_a_fit_leave_their_pages(installed):
    options = [word for setting in SHIPPED[1][1] for word in ("--set", setting)]
    command(installed, "run", "brunel", "--backend", "native", "-o", "run", *options)
    command(installed, "fit", "pal_digits", "--map", "loihi2", "-o", "fit")
    assert (installed[0] / "run/report.html").exists() and (installed[0] / "fit/fit.html").exists()


def test_version_and_help_of_everything(installed):
    assert re.fullmatch(r"cortexc \d+\.\d+\.\d+\n", command(installed, "--version"))
    names = re.findall(r"^\W*│ ([\w-]+) ", command(installed, "--help").partition("Commands")[2], re.MULTILINE)
    assert len(names) >= 12
    for name in names:
        assert "Usage" in command(installed, name, "--help")


def test_a_project_is_begun_and_passes_its_test(installed):
    folder, program, environment = installed
    command(installed, "init", "begun")
    assert "4 passed" in python(program, "-m", "pytest", cwd=folder / "begun", env=environment)


def test_only_one_package_is_installed(installed):
    code = "import importlib.metadata as m; print(sorted({f.parts[0] for f in m.files('cortexc') if f.suffix == '.py'}))"
    assert said(installed, "-c", code) == "['cortexc']\n"


def test_it_starts_quickly(installed):
    for most, *words in ((0.4, "-c", "import cortexc"), (0.6, "-m", "cortexc.compiler.cli", "--help")):
        best = min(seconds(installed, *words) for _ in range(5))
        print(f"{installed[1]} {' '.join(words)}: {best:.2f} s")
        assert best < most


def seconds(installed, *arguments: str) -> float:
    """Of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said(installed, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
