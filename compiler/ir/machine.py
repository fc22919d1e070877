"""What this machine has left, asked before much is taken."""

from __future__ import annotations

import os

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.model import Graph, Projection, wired

PER_SYNAPSE, LATE, LEARNING, STATE, WHILE_DRAWN = 16, 4, 28, 16, 8
"""Bytes of a drawn synapse in a run: its weight, its target and where it adds; its delay; what learning takes more, and
each state of its rule; and those of the largest projection, whose weights are drawn beside the memory."""


def available() -> int:
    """Bytes of memory that can be taken now; of all memory, where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return int(found) * 1024
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def synapse_bytes(graph: Graph, projection: Projection) -> int:
    """Of each of its synapses, but for what is held only while it is drawn."""
    rule = graph.rule_of(projection)
    learning = LEARNING + STATE * len(rule.states) if rule else 0
    return PER_SYNAPSE + LATE * (projection.delays is not None) + learning


def afford_synapses(graph: Graph) -> None:
    """Raises E516 where the synapses that rules would draw need more memory than there is."""
    drawn = {q.name: drawing.expected_count(q.wiring, *wired(graph, q)[1:]) for q in graph.projections if q.wiring}
    needed = sum(drawn[name] * synapse_bytes(graph, graph.projection(name)) for name in drawn)
    needed, free = needed + WHILE_DRAWN * max(drawn.values(), default=0), available()
    if needed > free:
        most = max(drawn, key=lambda name: drawn[name])
        raise CortexError("E516", f"graph '{graph.name}' draws {sum(drawn.values()):.4g} synapses, which need "
                                  f"{needed / 2**30:.4g} GiB; {free / 2**30:.4g} GiB are free. Projection '{most}' "
                                  f"has {drawn[most]:.4g} of them.", "Scale it down, or use a larger machine.")
