"""Tables: straight lines between entries, and where the entries lie."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, verify
from cortexc.compiler.ir.evaluation import entries, interpolated
from cortexc.compiler.ir.expressions import parse, show
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.passes.base import run_passes
from cortexc.compiler.passes.fixed_point import Extent, Format, extent
from cortexc.compiler.passes.name_products import NameProducts
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.passes.quantised_cells import best_table
from cortexc.compiler.verify.mutation.campaign import plain_python

TABLE = np.array([0.5, -1.0, 2.0, 2.25, -0.125])
TEXT = """graph looked_up
  dt 1
cell unit
  input x
  state nearest = 0
  state between = 0
  send nearest = lookup(T, x + 0.5)
  send between = interpolate(T, x)
population u unit 6
"""
POINTS = np.array([[-7.5, -0.25, 0.0, 0.375, 1.0, 1.75], [2.5, 3.0, 3.96875, 4.0, 4.5, 1e300]])


def looked_up() -> Graph:
    return parse_graph(TEXT).with_(arrays={"table.T": TABLE})


def test_lines_between_entries() -> None:
    found = interpolated(TABLE, POINTS)
    assert np.array_equal(found, np.interp(POINTS, np.arange(5), TABLE))
    assert found[0, 3] == 0.5 + 0.375 * -1.5
    assert np.array_equal(entries(TABLE, np.arange(5.0)), interpolated(TABLE, np.arange(5.0)))


def test_kernels_do_the_same() -> None:
    protocol = Protocol((Phase("run", count=2, steps=1),), ("run",))
    for plain in (False, True):
        with plain_python() if plain else nullcontext():
            graph = looked_up()
            runner = Native(lower(graph, frozenset({"u.nearest", "u.between"})), protocol, POINTS, [1])
            for row in POINTS:
                runner.run(1)
                assert np.array_equal(runner.value("u.between")[0], interpolated(TABLE, row))
                assert np.array_equal(runner.value("u.nearest")[0], entries(TABLE, row + 0.5))


def test_text() -> None:
    expression = parse("interpolate(T, 2 * x) - lookup(T, x)")
    assert show(expression) == "interpolate(T, 2 * x) - lookup(T, x)"
    assert parse_graph(show_graph(looked_up())) == looked_up().with_(arrays={})
    with pytest.raises(CortexError, match="E111.*interpolate"):
        parse("interpolate(2, x)")
    with pytest.raises(CortexError, match="E245.*'T'"):
        verify(parse_graph(TEXT))


def test_how_many_bits_a_line_takes() -> None:
    expression = parse("interpolate(T, x)")
    assert extent(expression, lambda _: Extent(10, 8.0), lambda _: Extent(15, 1.0), "test") == Extent(25, 1.0)
    with pytest.raises(CortexError, match="E610.*54 bits"):
        extent(expression, lambda _: Extent(37, 8.0), lambda _: Extent(15, 1.0), "test")


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def worst(reach: float, table: np.ndarray, largest: float) -> float:
    x = np.linspace(-largest, largest, 200_001)
    half = len(table) // 2
    return float(np.abs(np.interp(x * half / reach + half, np.arange(2 * half), table) - logistic(x)).max())


def test_entries_lie_where_the_function_bends() -> None:
    reach, table = best_table(logistic, 1000.0, 128, Format(16, 14))
    assert reach == 16.0
    assert worst(reach, table, 1000.0) < 5e-4
    everywhere = Format(16, 14).round(logistic((np.arange(256) - 128) * 8.0))
    assert worst(1024.0, everywhere, 1000.0) > 0.05


def test_a_line_needs_its_whole_range() -> None:
    reach, _ = best_table(lambda x: x / 3, 5.0, 128, Format(16, 8))
    assert reach == 8.0


def test_a_function_of_a_table_becomes_one_table() -> None:
    text = TEXT.replace("send between = interpolate(T, x)", "send between = tanh(interpolate(T, x))")
    graph = parse_graph(text.replace("send nearest = lookup(T, x + 0.5)", "send nearest = x"))
    graph = graph.with_(arrays={"table.T": TABLE})
    peaks = {"u.x": 4.0, "u.nearest": 4.0, "u.between": 1.0}
    graph = run_passes(graph, [NameProducts(), Quantise(peaks)]).graph
    found, reach = graph.arrays["table.u_between"], 2 ** 7
    places = (np.arange(1024) - 512) * (reach / 512)
    close = [np.abs(found - np.tanh(interpolated(TABLE, places / 2.0**k))).max() < 2.0**-13 for k in range(12)]
    assert any(close)
