"""What may import what: the compiler runs without Lava and torch, and no general part names a circuit."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[2]
IMPORT_ALL = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"lava", "torch", "sklearn", "matplotlib", "nir", "h5py", "dask"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import cortexc.compiler
for module in pkgutil.walk_packages(cortexc.compiler.__path__, "cortexc.compiler."):
    if not module.name.startswith("cortexc.compiler.backends.lava") and not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""
CIRCUITS = re.compile(
    r"\bpal\b|phaseless|errormc|error[-_ ]neurons?\b|error_?neuron|sacramento"
    r"|dendritic[-_ ]?(microcircuit|predictive|pc)|\bdpc\b|sign[-_ ]?concordant|WPP|BPP|WIP|BPI|BII", re.IGNORECASE)
GENERAL = ("compiler/ir", "compiler/passes", "compiler/backends", "lava_procs", "hardware_maps")


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_the_compiler_imports_without_what_is_in_extras() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(done.stdout.split())
    assert {"cortexc.compiler.ir.verify", "cortexc.compiler.passes.fold", "cortexc.compiler.backends.interpreter",
            "cortexc.compiler.microcircuits.pal"} <= imported


def test_the_blocker_blocks() -> None:
    code = IMPORT_ALL.split("import cortexc.compiler\n")[0] + "import torch\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "torch is blocked" in done.stderr


@pytest.mark.parametrize("folder", GENERAL)
def test_no_general_part_names_a_circuit(folder: str) -> None:
    named = [f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for path in files(folder)
             for number, line in enumerate(path.read_text().splitlines(), 1) if CIRCUITS.search(line)]
    assert files(folder) and named == []


@pytest.mark.parametrize("text", [
    "the PAL circuit", "pal.md", "an error-neuron net", "ErrorNeuron", "error neurons", "Sacramento et al.", "dPC",
    "dendritic microcircuit", "sign-concordant", "SignConcordant", "errormc", "self.WPP_0"])
def test_the_pattern_finds_names(text: str) -> None:
    assert CIRCUITS.search(text)


@pytest.mark.parametrize("text", ["principal", "palette", "an error signal", "postsynaptic neuron", "concordance"])
def test_the_pattern_leaves_other_words_alone(text: str) -> None:
    assert not CIRCUITS.search(text)


ALLOWED = {"compiler/ir": {"cortexc.compiler.ir"}, "compiler/microcircuits": {"cortexc.compiler.ir", "cortexc.compiler.microcircuits"},
           "compiler/passes": {"cortexc.compiler.ir", "cortexc.compiler.passes", "cortexc.hardware_maps"},
           "lava_procs": {"cortexc.lava_procs"},
           "hardware_maps": {"cortexc.hardware_maps"}}
ROOMS = ("compiler", "lava_procs", "hardware_maps", "reference")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"cortexc.{alias.name}" for alias in node.names} if node.module == "cortexc" else {node.module}
    return {name for name in found if name.split(".")[0] == "cortexc"}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_part_imports_only_what_it_may(folder: str) -> None:
    for path in files(folder):
        for name in imports(path):
            allowed = any(name == root or name.startswith(root + ".") for root in ALLOWED[folder])
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"


# ---- circles


def test_few_files_import_each_other_in_circles() -> None:
    """At run time, and where types are counted too."""
    run, typed = circles(ROOT, typed=False), circles(ROOT, typed=True)
    assert not run and len(typed) <= 2, (run, typed)


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    room = tmp_path / "compiler"
    room.mkdir()
    for name, text in {"a": "def f():\n    from cortexc.compiler import b\n", "b": "import cortexc.compiler.c\n", "d": "import cortexc.compiler.a\n",
                       "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cortexc.compiler.a import f\n"}.items():
        (room / f"{name}.py").write_text(text)
    assert circles(tmp_path, typed=False) == []
    assert circles(tmp_path, typed=True) == [{"cortexc.compiler.a", "cortexc.compiler.b", "cortexc.compiler.c"}]


def circles(root: Path, typed: bool) -> list[set[str]]:
    """Groups of modules each of which imports all others in the end. `typed`: for type checkers too."""
    paths = {".".join(["cortexc", *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__"): path
             for room in ROOMS for path in (root / room).rglob("*.py")}
    graph = nx.DiGraph((name, other) for name, path in paths.items()
                       for other in imported(ast.parse(path.read_text()), typed, paths) if other != name)
    return [found for found in nx.strongly_connected_components(graph) if len(found) > 1]


def imported(tree: ast.AST, typed: bool, known: Collection[str]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not typed:
            continue
        yield from imported(node, typed, known)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & set(known) or {node.module} & set(known)


# ---- the contracts of import-linter


PLANTED = {
    "the IR knows nothing but itself": ("compiler/ir/planted.py", "import cortexc.compiler.passes"),
    "circuits import only the IR": ("compiler/microcircuits/planted.py", "import cortexc.compiler.passes"),
    "what comes in becomes a graph of the IR, and nothing else": ("compiler/front/planted.py", "import cortexc.compiler.passes"),
    "passes know neither circuits nor backends": ("compiler/passes/planted.py", "import cortexc.compiler.backends"),
    "mapping knows neither circuits nor backends": ("compiler/mapping/planted.py", "import cortexc.compiler.backends"),
    "backends know no circuit and no oracle": ("compiler/backends/planted.py", "import cortexc.compiler.microcircuits"),
    "lowering is not the interpreter's": (
        "compiler/backends/lowering/planted_too.py", "import cortexc.compiler.backends.interpreter"),
    "only the Lava backend knows Lava": ("compiler/backends/lowering/planted.py", "import cortexc.lava_procs"),
    "the oracle is independent": ("reference/planted.py", "import cortexc.compiler.passes"),
    "processes and maps are leaves": ("lava_procs/planted.py", "import cortexc.compiler.ir")}
"""Contract -> a file and an import in it that break it."""


def verdicts(root: Path) -> dict[str, str]:
    """Contract -> KEPT or BROKEN."""
    done = subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
                          cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True,
                          timeout=300, check=False)
    found = dict(re.findall(r"^(.+?) (KEPT|BROKEN)$", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.slow
def test_every_contract_catches_a_planted_import(tmp_path: Path) -> None:
    for room in (*ROOMS, "cortexc"):
        shutil.copytree(ROOT / room, tmp_path / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        (tmp_path / file).write_text(line + "\n")
    assert verdicts(tmp_path) == dict.fromkeys(PLANTED, "BROKEN")
