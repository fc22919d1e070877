"""partition: gives every population and projection the group that it becomes a process of.

before                                     after, granularity = area
    population P0 hidden 20 area=layer1        population P0 hidden 20 area=layer1 group=layer1
    projection W up input -> P0                projection W up input -> P0 group=layer1

`population` makes singletons (what a chip would see), `area` puts a projection into its postsynaptic area, `network`
makes one group. `neurocore` follows a mapping: `cores` gives the core of every population that has one, and what is fed
from outside makes the group `host`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from compiler.ir import CortexError, Graph, Population, unknown
from compiler.passes.base import Request

GRANULARITIES = ("population", "area", "network", "neurocore")
HOST = "host"


@dataclass(frozen=True)
class Partition:
    granularity: str = "network"
    cores: tuple[tuple[str, str], ...] = ()
    name: ClassVar[str] = "partition"

    def apply(self, graph: Graph, request: Request | None = None) -> Graph:
        """Raises E601 for an unknown granularity, E602 where a fused projection would be cut off, E603 for cores of
        populations that are not there."""
        if self.granularity not in GRANULARITIES:
            raise unknown("E601", "granularity", self.granularity, GRANULARITIES)
        lowered = [q.name for q in graph.projections if q.lowering]
        if self.granularity != "network" and lowered:
            raise CortexError("E602", f"granularity '{self.granularity}' runs one step at a time, but projections "
                                      f"{', '.join(lowered)} are lowered across steps.", "Leave out fuse-update.")
        groups = {p.name: self._group(p) for p in graph.populations}
        self._check_cores(graph)
        return graph.with_(
            populations=tuple(replace(p, group=groups[p.name]) for p in graph.populations),
            projections=tuple(replace(q, group=q.name if self.granularity == "population" else groups[q.post])
                              for q in graph.projections))

    def _group(self, population: Population) -> str:
        if self.granularity == "network":
            return "network"
        if self.granularity == "neurocore":
            return dict(self.cores).get(population.name, HOST)
        return population.area or population.name if self.granularity == "area" else population.name

    def _check_cores(self, graph: Graph) -> None:
        names = {p.name for p in graph.populations}
        for name, _ in self.cores:
            if name not in names:
                raise unknown("E603", "population of the mapping", name, names)
