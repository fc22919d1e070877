"""Many random circuits, by number: what became of each, and every difference."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup
from random_graphs.differences import expected, outcome, outcome_of_passes, watched
from random_graphs.expressions import TAME, WILD
from random_graphs.integers import integer_setup

from cortexc.compiler.ir import parse_graph, show_graph
from cortexc.compiler.verify.runs import Setup

GRANULARITIES = ("network", "population", "area")


@dataclass
class Survey:
    """`counts` of outcomes; `failures`: circuit, side and what differs or what was raised."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{count:7d} {what}" for what, count in sorted(self.counts.items())]
        return "\n".join([*lines, *self.failures])


def kinds_of(seed: int, fused: bool = True) -> Kinds:
    """Every fourth circuit is wild, every tenth may hold what only the interpreter runs."""
    return Kinds(fused=fused, words=WILD if seed % 4 == 3 else TAME, refused=seed % 10 == 7)


def circuit(seed: int, fused: bool = True) -> Setup | None:
    """Circuit number `seed`; every eighth is in integers, or None where that one has no integer form."""
    return integer_setup(seed) if seed % 8 == 5 else random_setup(RandomChoices(seed), kinds_of(seed, fused))


def survey(seeds: Iterable[int], on: str = "native", granularities: tuple[str, ...] = ()) -> Survey:
    """Runs these circuits on one backend. Without `granularities` every circuit runs at one of them, and every third
    also as `run` would lower it."""
    result = Survey()
    for seed in seeds:
        try:
            for what, found in _outcomes(seed, on, granularities):
                result.counts[what] += 1
                result.failures += [f"circuit {seed}, {what}: {difference}" for difference in found[:3]]
        except Exception:
            result.counts["raised"] += 1
            result.failures.append(f"circuit {seed}: {traceback.format_exc(limit=-3)}")
    return result


def _outcomes(seed: int, on: str, granularities: tuple[str, ...]) -> Iterator[tuple[str, list]]:
    setup = circuit(seed, fused=not granularities)
    if setup is None:
        yield "no integer form", []
        return
    if parse_graph(show_graph(setup.graph)) != setup.graph:
        yield "text: different", [show_graph(setup.graph)]
    fused = any(q.lowering for q in setup.graph.projections)
    wanted = watched(setup.graph, increments=not fused and seed % 2 == 0)
    reference = expected(setup, wanted)
    for granularity in granularities or ("network" if fused else GRANULARITIES[seed % 3],):
        what, found = outcome(setup, reference, wanted, on, granularity)
        yield f"{on}, {granularity}: {what}", found
    if not granularities and seed % 3 == 0:
        what, found = outcome_of_passes(setup)
        yield f"{on}, after the passes: {what}", found
