"""Formats of a quantised graph, read back from its equations, weights and tags."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.expressions import Number
from cortexc.compiler.passes.fixed_point import Format, bits_between, rounding_of
from cortexc.compiler.passes.widths import is_counter


def formats_of(graph: Graph) -> Iterator[tuple[str, tuple[Format, bool]]]:
    """(quantity, (format, whether it is rounded to the nearest)) of what is rounded: cells, then weights and tags."""
    for p in graph.populations:
        for e in graph.cell(p.cell).equations:
            if held := rounding_of(e.expression):
                found = Format(int(held.limit + 1).bit_length(), int(np.log2(held.scale)))
                yield f"{p.name}.{e.name}", (found, held.offset == Number(0.5))
    for q in graph.projections:
        synapse, rule = graph.class_of(q.name), graph.rule_of(q)
        if synapse.unit:
            low, high = synapse.limits
            bits = bits_between(low / synapse.unit, high / synapse.unit)
            yield f"{q.name}.w", (Format(bits, -int(np.log2(synapse.unit)), low >= 0), not (rule and rule.noise))
        for s in rule.states if rule else ():
            if s.dtype != "float64" and not is_counter(s.name):
                found = Format(int(s.dtype[3:]), -int(np.log2(s.scale)))
                yield f"{q.name}.{s.name}", (found, not (rule and rule.noise))
