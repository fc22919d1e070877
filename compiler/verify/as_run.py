"""A program as `run` lowers it, beside what is expected of it.

Such a program keeps only what its experiment records, so it cannot be looked at in every step. `Follower` looks where a
run can be looked at: at its recordings, and, between blocks, at all that the program still stores (states, messages,
weights with their pending increments applied).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compiler.backends.draws import noise_spec
from compiler.backends.runtime import Feed
from compiler.ir import Graph
from compiler.ir.model import SUMMED
from compiler.ir.protocol import Protocol
from compiler.verify.compare import Comparison

LOOKS = 24
"""About so many times a run is looked at."""
Seen = dict[str, tuple[list[int], list[np.ndarray]]]


@dataclass(frozen=True)
class AsRun:
    """What `run` makes of an experiment: its graph after `passes`, what is recorded, and `start`, which gives a runner
    of it. `hidden`: stored quantities that are not to be read between blocks."""

    graph: Graph
    protocol: Protocol
    start: Callable[[], Any]
    passes: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()


class Follower:
    """Runs the program as far as its expected trajectory is known, and compares. `order`, `plastic`, `exact`: see
    `Comparison`."""

    def __init__(self, as_run: AsRun, runner: Any, total: int, order: Sequence[str], plastic: Sequence[str],
                 exact: bool):
        self.as_run, self.runner, self.protocol = as_run, runner, as_run.protocol
        self.comparison = Comparison(order, plastic, exact)
        self.stops, self.recordings = looks(total), recorded_steps(as_run.graph, as_run.protocol)
        self.rows = [0] * len(self.protocol.streams)
        stored = getattr(runner, "program", None)
        self.stored = set(stored.slots.sizes if stored else runner.interpreter.values)
        self.settled = self.stored - unsettled(as_run)

    def follow(self, start: int, expected: Mapping[str, np.ndarray]) -> None:
        """Goes on by the steps of a chunk, the first of which is `start`."""
        count = len(next(iter(expected.values()), ()))
        names, seen = [name for name in expected if name in self.settled], Seen()
        stops = [stop for stop in self.stops if start < stop < start + count]
        for stop in [*stops, start + count]:
            self.runner.run(stop - self.runner.position)
            for name in names:
                _note(seen, name, [stop - 1 - start], [self.runner.value(name)])
        self._read_recordings(seen, count, self.stored & set(expected))
        self.comparison.add_at({name: _in_order(*parts) for name, parts in seen.items()}, expected, count)

    def _read_recordings(self, seen: Seen, count: int, names: set[str]) -> None:
        steps = self.recordings(count)
        for i, stream in enumerate(self.protocol.streams):
            rows = slice(self.rows[i], self.rows[i] + len(steps[i]))
            self.rows[i] = rows.stop
            for name in names & set(stream.quantities) if len(steps[i]) else ():
                _note(seen, name, steps[i].tolist(), list(self.runner.records.rows(stream.name, name)[rows]))


def _note(seen: Seen, name: str, steps: list[int], values: list[np.ndarray]) -> None:
    at, found = seen.setdefault(name, ([], []))
    at += steps
    found += values


def _in_order(steps: list[int], values: list[np.ndarray]) -> tuple[list[int], np.ndarray]:
    order = np.argsort(steps, kind="stable")
    return [steps[i] for i in order], np.stack([values[i] for i in order])


def looks(total: int) -> list[int]:
    """Numbers of steps after which a run is looked at: close to each other at first, so that a fault is found near
    where it began, then at distances that no presentation has in common."""
    stops, distance = [1], 1
    while stops[-1] < total:
        stops.append(stops[-1] + distance)
        distance = min(distance + len(stops), max(1, total // LOOKS))
    return stops


def recorded_steps(graph: Graph, protocol: Protocol) -> Callable[[int], list[np.ndarray]]:
    """A function that gives, of the next so many steps, those in which each stream records (0-based)."""
    silent = replace(noise_spec(graph, [0] * graph.seeds), kind="none")
    feed = Feed(protocol.as_data(), list(graph.gates), silent)

    def following(count: int) -> list[np.ndarray]:
        positions = feed.block(count).positions
        return [np.flatnonzero(positions[:, i] >= 0) for i in range(len(protocol.streams))]

    return following


def unsettled(as_run: AsRun) -> frozenset[str]:
    """What is another moment's between blocks: besides `hidden`, of held inputs the current, which is on the way to the
    next step, and sums of increments, which are complete only at the end of a presentation."""
    graph, found = as_run.graph, set(as_run.hidden)
    for q in graph.projections:
        rule = graph.rule_of(q)
        if q.lowering == "hoisted" and rule:
            found.add(f"{q.name}.{rule.optimiser.kind if rule.optimiser.kind in SUMMED else 'current'}")
    return frozenset(found)


@contextmanager
def follower(as_run: AsRun | None, total: int, order: Sequence[str], plastic: Sequence[str],
             exact: bool) -> Iterator[Follower | None]:
    """None where there is nothing to follow."""
    if as_run is None:
        yield None
        return
    runner = as_run.start()
    try:
        yield Follower(as_run, runner, total, order, plastic, exact)
    finally:
        runner.close()

