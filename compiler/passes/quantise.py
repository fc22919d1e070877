"""quantise: every equation, message, factor and weight becomes a fixed-point number.

before    receive u = 0.8 * prev(u) + basal              rule: increment 0.01 * post.error * pre.rate
after     receive u = fixed(0.8 * prev(u) + basal,       noise rounding uniform
                            65536, 8388607, 0.5)         increment unit * floor(0.64 * post.error_factor * pre.rate_sent
          receive u_sent = fixed(u, 128, 127, 0.5)                              + rounding)

An equation is computed exactly from fixed-point operands, then rounded once to the nearest number of its format, and
saturated. What is sent or read by a rule is a copy with the width of a message or factor. Functions become tables.
A weight moves by whole units: the increment is rounded at random (one number per synapse, or one for all, as Lava
does), or to the nearest. Low-passed and summed increments are kept in a tag of the synapse.

Formats come from `peaks`: the greatest magnitude of every quantity in a calibration run, by name. With `count`, a
quantity that range analysis cannot exclude from saturating counts, per cell, the steps in which it does (relays, which
have no state, do not count).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.synapses import with_drawn
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.quantised_cells import quantised_cell
from cortexc.compiler.passes.quantised_formats import Formats
from cortexc.compiler.passes.quantised_rules import check_synapses, quantised_projection
from cortexc.compiler.passes.specialise import merge_equal
from cortexc.compiler.passes.widths import ROUNDING, Options


@dataclass(frozen=True)
class Quantise(Options):
    """Raises E610 to E615."""

    name: ClassVar[str] = "quantise"
    fidelity: ClassVar[str] = "rounded"

    def apply(self, graph: Graph, request: Request) -> Graph:
        if self.rounding not in ROUNDING:
            raise CortexError("E614", f"rounding '{self.rounding}' is unknown.", f"Known: {', '.join(ROUNDING)}.")
        check_synapses(graph)
        graph = with_drawn(graph)
        formats = Formats(graph, self)
        cells = [quantised_cell(formats, p) for p in graph.populations]
        parts = [quantised_projection(formats, q) for q in graph.projections]
        return merge_equal(graph.with_(
            cells=tuple(cells), synapses=tuple(s for s, _, _ in parts), rules=tuple(r for _, r, _ in parts if r),
            projections=tuple(q for _, _, q in parts), arrays=formats.arrays))
