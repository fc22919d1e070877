"""Products of matrices whose messages are events: silent rows are left out. They would add 0, if weights are finite."""

from __future__ import annotations

from cortexc.compiler.backends.kernels.nest import Array, Kernel, compared
from cortexc.compiler.backends.lowering.learning import Axes, Delivered


def product(kernel: Kernel, axes: Axes, w: Delivered, pre: Array, current: Array) -> None:
    """current := W pre, row by row of the cells that send something."""
    with kernel.loop("k", axes.width) as k:
        kernel.store(current[k, 0, 0], 0.0)
    with axes.each_row() as j:
        p = kernel.let("p", pre[j, 0, 0])
        with kernel.when(compared(p, "!=", 0.0)), axes.each_along(j) as (k, c):
            kernel.add(current[k, c, 0], w((j, k, c)) * p)
