"""partition: gives every population and projection the group that it becomes a process of.

before                                     after, granularity = area
    population P0 hidden 20 area=layer1        population P0 hidden 20 area=layer1 group=layer1
    projection W up input -> P0                projection W up input -> P0 group=layer1

`population` makes singletons (what a chip would see), `area` puts a projection into its postsynaptic area, `network`
makes one group. `neurocore` follows a mapping: `cores` gives the core of every population that has one, or its cores
(`core_0:40+core_3:23`: the first 40 cells, the other 23), and what is fed from outside makes the group `host`. Cores
that share a population which cannot be divided run as one process, `cores_0_3`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from cortexc.compiler.ir import CortexError, Graph, Population, unknown
from cortexc.compiler.ir.model import group_of, group_parts
from cortexc.compiler.passes.base import SAME, Request

GRANULARITIES = ("population", "area", "network", "neurocore")
HOST = "host"


@dataclass(frozen=True)
class Partition:
    granularity: str = "network"
    cores: tuple[tuple[str, str], ...] = ()
    name: ClassVar[str] = "partition"
    fidelity: ClassVar[str] = SAME

    def apply(self, graph: Graph, request: Request | None = None) -> Graph:
        """Raises E601 for an unknown granularity, E602 where a fused projection would be cut off, E603 for cores of
        populations that are not there, E604 for cores with more or fewer cells than a population has."""
        check_granularity(self.granularity)
        lowered = [q.name for q in graph.projections if q.lowering]
        if self.granularity != "network" and lowered:
            raise CortexError("E602", f"granularity '{self.granularity}' runs one step at a time, but projections "
                                      f"{', '.join(lowered)} are lowered across steps.",
                              "Leave out hoist-constant-input, fuse-update and defer-decay.")
        self._check_cores(graph)
        cores = joined(self.cores, splittable(graph)) if self.cores else {}
        groups = {p.name: self._group(p, cores) for p in graph.populations}
        return graph.with_(
            populations=tuple(replace(p, group=groups[p.name]) for p in graph.populations),
            projections=tuple(replace(q, group=q.name if self.granularity == "population" else groups[q.post])
                              for q in graph.projections))

    def _group(self, population: Population, cores: Mapping[str, str]) -> str:
        if self.granularity == "network":
            return "network"
        if self.granularity == "neurocore":
            return cores.get(population.name, HOST)
        return population.area or population.name if self.granularity == "area" else population.name

    def _check_cores(self, graph: Graph) -> None:
        names = {p.name for p in graph.populations}
        for name, group in self.cores:
            if name not in names:
                raise unknown("E603", "population of the mapping", name, names)
            parts = group_parts(group)
            cells = sum(count for _, count in parts)
            if len(parts) > 1 and cells != graph.population(name).size:
                raise CortexError("E604", f"group '{group}' of population '{name}' has {cells} cells; the population "
                                          f"has {graph.population(name).size}.")


def check_granularity(name: str, known: Iterable[str] = GRANULARITIES) -> None:
    """Raises E601 for an unknown one."""
    if not isinstance(name, str) or name not in known:
        raise unknown("E601", "granularity", name, known)


def joined(cores: Iterable[tuple[str, str]], divisible: Container[str]) -> dict[str, str]:
    """Population -> group, cores that share an indivisible population joined."""
    import networkx as nx

    shared = nx.Graph()
    for name, group in cores:
        parts = list(dict.fromkeys(core for core, _ in group_parts(group)))
        shared.add_nodes_from(parts)
        if name not in divisible:
            nx.add_path(shared, parts)
    process: dict[str, str] = {}
    for component in nx.connected_components(shared):
        numbers = sorted(int(core.removeprefix("core_")) for core in component)
        name = f"cores_{'_'.join(map(str, numbers))}" if len(numbers) > 1 else f"core_{numbers[0]}"
        process |= dict.fromkeys(component, name)
    return {name: _renamed(group, process) for name, group in cores}


def _renamed(group: str, process: Mapping[str, str]) -> str:
    parts: list[tuple[str, int]] = []
    for core, cells in group_parts(group):
        if parts and parts[-1][0] == process[core]:
            cells += parts.pop()[1]
        parts.append((process[core], cells))
    return group_of(parts)


def splittable(graph: Graph) -> frozenset[str]:
    """Populations whose cells may be divided over processes: not with several samples at once, feature maps, mirrored
    weights, or increments that an optimiser sums."""
    if graph.batch > 1:
        return frozenset()
    kept = {graph.projection(name).post for m in graph.mirrors for name in (m.source, m.target)}
    for q in graph.projections:
        rule = graph.rule_of(q)
        if q.convolution:
            kept |= {q.pre, q.post}
        if rule and rule.optimiser.traits.sums:
            kept.add(q.post)
    return frozenset(p.name for p in graph.populations) - kept
