"""Tables of functions: their entries, and where these lie.

A function that is flat far out, such as the logistic, has its entries where it bends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cortexc.compiler.ir.functions import Floats
from cortexc.compiler.passes.fixed_point import Format

REACHES, SAMPLES = 12, 4096
"""How many powers of two a table's reach is sought among, and where its error is measured."""


def best_table(function: Callable[[Floats], Floats], largest: float, half: int,
               found: Format) -> tuple[float, Floats]:
    """(reach, 2 * half entries from -reach up). `largest`: what the argument may be. The reach is the power of two that
    keeps the worst error of straight lines between the entries least."""
    top = 2.0 ** np.ceil(np.log2(largest)) if largest > 0 else 1.0
    best: tuple[float, float, Floats] | None = None
    for reach in (top / 2.0**k for k in range(REACHES + 1)):
        entries = found.round(function((np.arange(2 * half) - half) * (reach / half)))
        outside = np.geomspace(reach, max(largest, reach), SAMPLES // 16)
        inside = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 * reach - reach
        points = np.concatenate([-outside, inside, outside])
        place = np.clip(points * (half / reach) + half, 0, 2 * half - 1)
        error = float(np.abs(np.interp(place, np.arange(2 * half), entries) - function(points)).max())
        if best is None or error < best[0]:
            best = error, reach, entries
    assert best
    return best[1], best[2]
