"""Sums in tiles: whole tiles and what is left of rows, cells, maps and samples, compiled."""

from __future__ import annotations

import pytest
from circuits import options, started, training

from cortexc.compiler.backends.kernels.c_text import function_source
from cortexc.compiler.backends.kernels.nest import Accumulation, Axis, Kernel, Store
from cortexc.compiler.backends.kernels.operations import Slot
from cortexc.compiler.backends.kernels.whole import Index
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.verify import verify_graph


@pytest.mark.skipif(c_compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("layers, feedback", [((83, 21, 3), "locked"), (("2x6x6", "5c3", "6c2", 3), "BP")])
def test_tiles_have_the_bits_of_the_interpreter(layers: tuple[int | str, ...], feedback: str) -> None:
    circuit, samples = options(layers, feedback=feedback, optimiser="clipped", norm=0.1), 45
    protocol, rows = training(circuit, 2, samples)
    result = verify_graph(started(circuit, samples), protocol, rows, (3,), "native")
    assert result.as_dict()["max_abs_error"] == 0.0 and result.as_dict()["passed"], result.as_dict()["reasons"]


@pytest.mark.parametrize("stores, blocks", [
    (False, {(8, 16): 1, (8, 8): 1, (4, 4): 0, (1, 4): 0}),
    (True, {(8, 12): 1, (8, 6): 1, (4, 4): 1, (4, 2): 1, (1, 4): 1, (1, 2): 1})])
def test_a_tile_is_cut_into_whole_blocks_and_the_rest(stores: bool, blocks: dict[tuple[int, int], int]) -> None:
    """Of 6 x 29 sums in blocks of 4 x 4 vectors of 8; 2 rows, 5 neighbours are left over: in a vector that begins within
    the one before, unless something else is stored on the way."""
    kernel, i, k, j = Kernel("A product."), Index("i"), Index("k"), Index("j")
    a, b, c = (kernel.array(name, Slot(name), *axes) for name, axes in (("a", (6, 3)), ("b", (3, 29)), ("c", (6, 29))))
    each = (Store(b[j, k], b[j, k] + 1.0),) if stores else ()
    kernel.body.append(Accumulation(c[i, k], Axis(k, 29), (Axis(j, 3),), a[i, j] * b[j, k], (Axis(i, 6),), start=None,
                                    each=each))
    text = function_source("product", kernel, tuple(kernel.arguments.values()))
    assert {block: text.count(f"vector{block[0]} sums[{block[1]}]") for block in blocks} == blocks


def test_what_no_turn_changes_is_loaded_before_a_loop_where_slots_are_apart() -> None:
    """A slot under two names may be read where the other name stores."""
    for other, loaded in (("b", True), ("a", False)):
        kernel = Kernel("Adds the first number of a slot to those of another.")
        a = kernel.array("a", Slot("a", along=True), 9)
        b = kernel.array("b", Slot(other), 9)
        with kernel.loop("k", 9) as k:
            kernel.add(a[k], b[0])
        text = function_source("add", kernel, tuple(kernel.arguments.values()))
        assert ("same_0 = b[0]" in text) == ("APART_EACH" in text) == loaded
