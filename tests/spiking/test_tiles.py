"""Sums in tiles: whole tiles and what is left of rows, cells, maps and samples, compiled."""

from __future__ import annotations

import pytest
from circuits import options, started, training

from cortexc.compiler.backends.kernels.c_text import function_source
from cortexc.compiler.backends.kernels.nest import Accumulation, Axis, Kernel
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


def test_a_tile_is_cut_into_whole_blocks_and_the_rest() -> None:
    """Of 6 x 29 sums in blocks of 4 x 4 vectors of 8; 2 rows, 5 = 4 + 1 neighbours are left over."""
    kernel, i, k, j = Kernel("A product."), Index("i"), Index("k"), Index("j")
    a, b, c = (kernel.array(name, Slot(name), *axes) for name, axes in (("a", (6, 3)), ("b", (3, 29)), ("c", (6, 29))))
    kernel.body.append(Accumulation(c[i, k], Axis(k, 29), (Axis(j, 3),), a[i, j] * b[j, k], (Axis(i, 6),), start=None))
    text = function_source("product", kernel, tuple(kernel.arguments.values()))
    assert [text.count(f"vector{lanes} sums[{count}]") for lanes, count in (
        (8, 12), (8, 6), (4, 4), (4, 2), (1, 4), (1, 2))] == [1] * 6
