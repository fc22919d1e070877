"""The benchmark's rows in small."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from cortexc.compiler.bench import mapping
from cortexc.compiler.bench.mapping import PACKED, on_map, planted_rows, scale
from cortexc.compiler.mapping.synthetic import Planted
from cortexc.hardware_maps import load_map

sys.path.insert(0, str(Path(__file__).parent))
from mapping_circuits import with_limit

SMALL = Planted(neurons=256, communities=16, fan_out=8, local=7)


def test_planted_rows_compare_with_the_packed_communities() -> None:
    rows = {row["method"]: row for row in planted_rows(SMALL, 0)}
    assert rows["partitioned"]["packets_of_planted"] <= 1.02
    assert rows[PACKED]["packets_of_planted"] == 1
    assert rows["sequential"]["packets_of_planted"] > 1.5
    assert rows["partitioned"]["violations"] == 0


def test_a_map_is_used_no_worse_than_by_the_best_baseline() -> None:
    """256 neurons in 16 communities on cores of 32: eight cores, and no baseline knows the communities."""
    *others, ours = on_map(SMALL, 0, with_limit(load_map("loihi1"), "core.compartments", 32))
    assert ours["violations"] == 0
    assert ours["cores"] == 8 == min(row["cores"] for row in others if not row["violations"])
    assert ours["packets_per_step"] > 0 and ours["packets_per_step_of_best_baseline"] < 0.7


TINY = """
name = "tiny"
title = "Loihi 1 with less on a core"
extends = "loihi1"
[sources]
T = "to get several cores in a test"
[core]
compartments = { value = 40, unit = "compartments", kind = "published", basis = "architectural", source = "[T]" }
"""


def test_a_circuit_is_mapped_no_worse_than_by_the_best_baseline(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuits of the bench, smaller, on cores that are smaller still."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.setattr(mapping, "MAPS", (str(tmp_path / "tiny.toml"),))
    small = {name: (experiment, "model.layers=[60, 50, 10]") for name, (experiment, _) in mapping.CIRCUITS.items()}
    monkeypatch.setattr(mapping, "CIRCUITS", small)
    found = {name: list(rows) for name, rows in groupby(mapping.circuits({}), key=lambda row: row["graph"])}
    assert set(found) == set(small)
    for rows in found.values():
        *others, ours = rows
        assert len(others) == 2 and ours["cores"] > 1, rows
        assert rank(ours) <= min(map(rank, others)), rows


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    return row["violations"], row["cores"], round(row["packets_per_step"], 6)


def test_a_row_of_scale() -> None:
    row = scale(2)
    assert row["neurons"] == 2000
    assert row["violations"] == 0
    assert row["memory_of_fullest_core"] <= 1
    assert row["hops_per_step_of_best_baseline"] <= 1
