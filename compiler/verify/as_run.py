"""A program as `run` lowers it, beside what is expected of it.

Such a program keeps only what its experiment records, so it cannot be looked at in every step. `Follower` looks where a
run can be looked at: at its recordings, and, between blocks, at all that the program still stores (states, messages,
weights with their pending increments applied).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from cortexc.compiler.backends.feeding import noise_spec
from cortexc.compiler.backends.runtime import Feed
from cortexc.compiler.backends.table import Runner
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import SUMMED
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.verify.compare import Comparison, Limits

LOOKS = 24
"""So many times a run is looked at at least, if it is that long."""
Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AsRun:
    """What `run` makes of an experiment: its graph after `passes`, what is recorded, and `start`, which gives a runner
    of it. `hidden`: stored quantities that are not to be read between blocks."""

    graph: Graph
    protocol: Protocol
    start: Callable[[], Runner]
    passes: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()


class Follower:
    """Runs the program as far as its expected trajectory is known, and compares. `order`, `plastic`, `precision`:
    see `Comparison`."""

    def __init__(self, as_run: AsRun, runner: Runner, total: int, order: Sequence[str], plastic: Sequence[str],
                 precision: Limits):
        self.runner, self.streams = runner, as_run.protocol.streams
        self.comparison = Comparison(order, plastic, precision)
        self.stops, self.recordings = looks(total), recorded_steps(as_run.graph, as_run.protocol)
        self.rows, self.looked = [0] * len(self.streams), set[int]()
        self.waiting: list[list[tuple[int, Values]]] = [[] for _ in self.streams]
        self.stored = set(runner.stored)
        self.settled = self.stored - unsettled(as_run)

    def follow(self, start: int, expected: Values) -> None:
        """What is expected of the next steps, the first of which is `start`."""
        count = len(next(iter(expected.values()), ()))
        expected = {name: values for name, values in expected.items() if name in self.stored}
        for stream, waiting, steps in zip(self.streams, self.waiting, self.recordings(count), strict=True):
            waiting += [(start + int(step), {name: np.array(expected[name][step]) for name in stream.quantities
                                             if name in expected}) for step in steps]
        self.comparison.see(expected, count)
        while self.stops and self.stops[0] <= start + count:
            stop = self.stops.pop(0)
            self._look(stop, {name: values[stop - 1 - start] for name, values in expected.items()})

    def _look(self, stop: int, expected: Values) -> None:
        self.runner.run(stop - self.runner.position)
        for i in range(len(self.streams)):
            self._read_recordings(i, stop)
        for name in self.settled & set(expected):
            self._compare(name, [stop - 1], self.runner.value(name)[None], expected[name][None])

    def _read_recordings(self, i: int, stop: int) -> None:
        waiting = [each for each in self.waiting[i] if each[0] < stop]
        self.waiting[i] = self.waiting[i][len(waiting):]
        rows = slice(self.rows[i], self.rows[i] + len(waiting))
        self.rows[i] = rows.stop
        for name in waiting[0][1] if waiting else ():
            found = self.runner.records.rows(self.streams[i].name, name)[rows]
            self._compare(name, [step for step, _ in waiting], found, np.stack([v[name] for _, v in waiting]))

    def _compare(self, name: str, steps: list[int], got: np.ndarray, expected: np.ndarray) -> None:
        self.comparison.compare(name, steps, got, expected)
        self.looked.update(steps)
        self.comparison.compared_steps = len(self.looked)


def looks(total: int) -> list[int]:
    """Numbers of steps after which a run is looked at: close to each other at first, so that a fault is found near
    where it began, then at distances that no presentation has in common."""
    stops, distance = [1], 1
    while stops[-1] < total:
        stops.append(min(stops[-1] + distance, total))
        distance = min(distance + len(stops), max(8, total // LOOKS))
    return stops


def recorded_steps(graph: Graph, protocol: Protocol) -> Callable[[int], list[np.ndarray]]:
    """A function that gives, of the next so many steps, those in which each stream records (0-based)."""
    silent = replace(noise_spec(graph, [0] * graph.seeds), kind="none")
    feed = Feed(protocol.as_data(), list(graph.gates), silent)

    def following(count: int) -> list[np.ndarray]:
        positions = feed.block(count).positions
        return [np.flatnonzero(positions[:, i] >= 0) for i in range(len(protocol.streams))]

    return following


def trimmed(graph: Graph, protocol: Protocol, steps: int) -> Protocol:
    """Streams with room for what so many steps record, however long the protocol is."""
    rows = map(len, recorded_steps(graph, protocol)(steps))
    return replace(protocol, streams=tuple(replace(s, most=max(n, 1)) for s, n in
                                           zip(protocol.streams, rows, strict=True)))


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
             precision: Limits) -> Iterator[Follower | None]:
    """None where there is nothing to follow."""
    if as_run is None:
        yield None
        return
    runner = as_run.start()
    try:
        yield Follower(as_run, runner, total, order, plastic, precision)
    finally:
        runner.close()

