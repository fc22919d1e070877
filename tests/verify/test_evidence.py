"""What a circuit with full evidence takes: the files that name it, as docs/architecture.md counts them."""

import ast
import re
from pathlib import Path

import pytest

from cortexc.compiler.microcircuits import CIRCUITS
from cortexc.compiler.verify.oracles.table import ORACLES, oracle_of

ROOT = Path(__file__).parents[2]
FAMILIES = {"pal": ("pal",), "error_neuron": ("error_neuron", "rivals"), "sign_concordant": ("sign_concordant",),
            "eprop": ("eprop",), "layered_pal": ("layered_pal",)}
"""File of the oracle -> beginnings of the modules of its circuits."""
ROOMS = ("compiler", "cortexc", "lava_procs", "hardware_maps", "reference")
SHARED = {"cortexc.compiler.microcircuits.starts", "cortexc.compiler.microcircuits.targets", "cortexc.compiler.microcircuits.layers"}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, and what it imports from packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found - SHARED


def naming(family: str) -> set[str]:
    """Files that import a circuit of the family, or its reference, and are neither; benchmarks measure what they like."""
    begins = tuple(f"{room}.{stem}" for room in ("cortexc.compiler.microcircuits", "cortexc.reference") for stem in FAMILIES[family])
    paths = (p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
    return {str(p.relative_to(ROOT)) for p in paths
            if not {"microcircuits", "reference", "bench"} & set(p.relative_to(ROOT).parts)
            and any(name.startswith(begins) for name in imported(p))}


def row() -> list[str]:
    """Of the table: what to add, the files, their number."""
    lines = (ROOT / "docs/architecture.md").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith("| a circuit with full evidence |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_circuit_with_full_evidence_touches_six_files(family):
    _, listed, count = row()
    written = [name.replace("NAME", family) for name in re.findall(r"`([\w/]+\.py)`", listed)]
    assert all((ROOT / name).is_file() for name in written), written
    assert len(written) + len(["a test"]) == int(count) <= 6
    read = {f"compiler/verify/recorded/{family}.py"} if (ROOT / f"compiler/verify/recorded/{family}.py").exists() else set()
    assert naming(family) == {name for name in written if "/verify/" in name} | read


AGAINST_NEST = {"brunel": "tests/networks/test_statistics.py", "potjans-diesmann": "tests/networks/test_statistics.py"}
"""Circuits without an oracle: NEST's own runs are compared with theirs, and its recordings with their cells."""


def test_every_family_has_an_oracle_and_every_oracle_a_family():
    modules = {kind.__module__ for kind in ORACLES}
    stems = tuple(f"cortexc.compiler.microcircuits.{stem}" for stems in FAMILIES.values() for stem in stems)
    assert all(module.startswith(stems) for module in modules)
    known = {name: circuit.options_class() for name, circuit in CIRCUITS.items()}
    without = {name for name, options in known.items() if not any(issubclass(options, kind) for kind in ORACLES)}
    assert without == set(AGAINST_NEST)
    assert all((ROOT / path).is_file() for path in AGAINST_NEST.values())


def test_a_circuit_that_is_not_in_the_table_has_no_oracle():
    assert oracle_of(object()) is None
    assert oracle_of(None) is None
