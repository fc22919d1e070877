"""The benchmark's rows in small."""

from __future__ import annotations

from compiler.bench.mapping import PACKED, on_map, planted_rows, scale
from compiler.mapping.planted import Planted
from hardware_maps import load_map

SMALL = Planted(neurons=256, communities=16, fan_out=8, local=7)


def test_planted_rows_compare_with_the_packed_communities() -> None:
    rows = {row["method"]: row for row in planted_rows(SMALL, 0)}
    assert rows["partitioned"]["packets_of_planted"] <= 1.02
    assert rows[PACKED]["packets_of_planted"] == 1
    assert rows["sequential"]["packets_of_planted"] > 1.5
    assert rows["partitioned"]["violations"] == 0


def test_a_map_is_used_no_worse_than_by_the_best_baseline() -> None:
    *others, ours = on_map(SMALL, 0, load_map("loihi1"))
    assert ours["violations"] == 0
    assert ours["cores"] <= min(row["cores"] for row in others)
    assert ours["packets_per_step_of_best_baseline"] is None or ours["packets_per_step_of_best_baseline"] <= 1


def test_a_row_of_scale() -> None:
    row = scale(2)
    assert row["neurons"] == 2000
    assert row["violations"] == 0
    assert row["memory_of_fullest_core"] <= 1
    assert row["hops_per_step_of_best_baseline"] <= 1
