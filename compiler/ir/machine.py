"""What this machine has left, asked before much is taken."""

from __future__ import annotations

import os

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.errors import CortexError
from cortexc.compiler.ir.model import Graph, wired

PER_SYNAPSE = 20
"""Bytes that a drawn synapse takes at most at once: 8 for its weight, 4 for its target, and either 4 for its delay or 8
while it is drawn."""


def available() -> int:
    """Bytes of memory that can be taken now; of all memory, where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            found = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return int(found) * 1024
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def afford_synapses(graph: Graph) -> None:
    """Raises E516 where the synapses that rules would draw need more memory than there is."""
    drawn = {q.name: drawing.expected_count(q.wiring, *wired(graph, q)[1:]) for q in graph.projections if q.wiring}
    needed, free = PER_SYNAPSE * sum(drawn.values()), available()
    if needed > free:
        most = max(drawn, key=lambda name: drawn[name])
        raise CortexError("E516", f"graph '{graph.name}' draws {sum(drawn.values()):.4g} synapses, which need "
                                  f"{needed / 2**30:.4g} GiB; {free / 2**30:.4g} GiB are free. Projection '{most}' "
                                  f"has {drawn[most]:.4g} of them.", "Scale it down, or use a larger machine.")
