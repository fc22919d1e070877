"""The table "To add ... you touch" of docs/architecture.md is what the sources say."""

import ast
import re
from pathlib import Path

import pytest

from cortexc.compiler.ir.expressions import NODES
from cortexc.compiler.ir.kinds import KINDS
from cortexc.compiler.ir.optimisers import OPTIMISERS

ROOT = Path(__file__).resolve().parents[2]
GENERAL = ("bench", "experiments", "microcircuits", "front", "verify")
"""Rooms that make or check circuits of their own choice; what they name is theirs."""


def sources():
    for path in sorted((ROOT / "compiler").rglob("*.py")):
        if path.relative_to(ROOT).parts[1] not in GENERAL:
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def named(tree, wanted):
    """Which of these names a file uses."""
    return wanted & ({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
                     | {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)})


def said(tree, wanted):
    """Which of these words stand in a file, docstrings apart."""
    return wanted & {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def row(what):
    """(files, number) of one line of the table."""
    text = next(line for line in (ROOT / "docs/architecture.md").read_text().splitlines() if line.startswith(f"| {what} |"))
    _, _, files, number, _ = text.split("|")
    return [name if name.startswith("compiler/") else f"compiler/{name}" for name in re.findall(r"`([\w/]+\.py)`", files)
            if "/" in name], int(number)


def test_files_that_name_every_kind_of_expression():
    wanted = {node.__name__ for node in NODES} - {"Prev"}  # read as a place in memory where text is written
    assert [path for path, tree in sources() if named(tree, wanted) == wanted] == sorted(row("a kind of expression")[0])


def test_files_that_name_every_optimiser_that_sums():
    wanted = {name for name, traits in OPTIMISERS.items() if traits.sums}
    assert [path for path, tree in sources() if said(tree, wanted) == wanted] == sorted(row("an optimiser")[0])


def test_kinds_of_connectivity_are_named_in_one_place():
    """Everything else asks what a kind is."""
    wanted = set(KINDS) - {"dense", "local", "blocks", "convolution"}  # these are words of other things too
    assert [path for path, tree in sources() if len(said(tree, wanted)) > 1] == ["compiler/ir/kinds.py"]


@pytest.mark.parametrize("what, most", [("a kind of connectivity", 4), ("a code target", 3), ("a kind of expression", 6),
                                        ("an optimiser", 4), ("a task", 3)])
def test_numbers(what, most):
    files, number = row(what)
    assert number <= most
    assert all((ROOT / name).is_file() for name in files if "NAME" not in name)
