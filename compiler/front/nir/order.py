"""Which edges carry a value of this step, and which one of the step before."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property

from cortexc.compiler.front.nir.reading import Edge
from cortexc.compiler.ir.schedule import reached

ARRIVALS = ("same", "next")


class Order:
    """`stateful`: the names of what keeps a state."""

    def __init__(self, names: Iterable[str], edges: Collection[Edge], stateful: Collection[str]):
        self.names, self.edges, self.stateful = tuple(names), edges, set(stateful)

    @cached_property
    def _follows(self) -> dict[str, set[str]]:
        """Name -> itself and all that it leads to."""
        after = {name: [b for a, b in self.edges if a == name] for name in self.names}
        return {name: reached([name], after.__getitem__) for name in self.names}

    def on_circle(self, edge: Edge) -> bool:
        return edge[0] in self._follows[edge[1]]

    def arrives(self, edge: Edge) -> bool:
        """Whether it leads from something with a state to something else that has one."""
        return edge[0] in self.stateful and bool(self.stateful & self._follows[edge[1]])

    def depth(self, edge: Edge, arrival: str) -> int:
        """How many steps before this one what arrives was sent."""
        return int(self.arrives(edge) and (arrival == "next" or self.on_circle(edge)))
