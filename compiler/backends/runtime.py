"""The runtime of a compiled circuit: turns a protocol into blocks of arrays, step by step reproducible.

Plain numpy, no import of the compiler: the Lava backend copies this file beside the code it emits. A `Feed` gives,
for the next K steps, which sample each batch element sees, the gates, the noise, and where recordings go. `threads`
may draw counter noise together, each chunk by one of them.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Of any dtype."""
Table = dict[str, Any]
"""Of a protocol, as data."""
CHUNK = 1024
"""Steps per chunk of counter noise; part of the definition of the stream."""
MOST_DRAWN = 2**30
"""Bytes of counter noise that are drawn ahead; where a chunk of all draws takes more, as many as a block needs."""
DRAWS = 2**16
"""The second draw of a population comes from the stream of its index plus this, and so on; part of it too."""
WEIGHTS = 2**31
"""Draws per synapse come from the streams from this on; part of it too."""


@dataclasses.dataclass
class Block:
    """Arrays of K steps, `first` and later: rows (K, batch), gates (K, 1 + gates) with column 0 always 1, noise (K,
    width) and positions (K, streams): index into the record buffer, or -1. `drawn`: noise that kernels draw, a row per
    vector: first column, columns from one to the next, cells, seed, stream, CHUNK. If that is all, noise is empty."""

    rows: Array
    gates: Array
    noise: Array
    positions: Array
    drawn: Array
    first: int


@dataclasses.dataclass
class NoiseSpec:
    """`columns`: (population index, cells, distribution) in draw order; `kind` counter, legacy, recorded, or none
    for a process that reads neither noise nor samples."""

    kind: str
    seeds: list[int]
    columns: list[tuple[int, int, str]]
    gate: int
    samples: int = 1
    weights: list[tuple[int, int, int]] = dataclasses.field(default_factory=list)
    """(stream, synapses, gate column): normal numbers per synapse and seed, behind those of the cells."""
    keys: list[int] = dataclasses.field(default_factory=list)
    """Streams of uniform numbers per synapse: two halves of a key per seed and step, behind the others."""
    generators: list[list[Any]] = dataclasses.field(default_factory=list)
    """For every key [number, whether the seed is added, draws per step] of a generator of Lava's, whose number stands
    in the place of the first half; or nothing."""

    @property
    def cells(self) -> int:
        return sum(n for _, n, _ in self.columns) * len(self.seeds) * self.samples

    @property
    def width(self) -> int:
        return self.cells + (sum(n for _, n, _ in self.weights) + 2 * len(self.keys)) * len(self.seeds)

    def vectors(self) -> Iterator[tuple[tuple[int, int], str, slice]]:
        """((seed, stream), distribution, columns) of what cells draw in a step, by population and batch element."""
        batch, column, owners = len(self.seeds) * self.samples, 0, [owner for owner, _, _ in self.columns]
        for place, (owner, n, distribution) in enumerate(self.columns):
            stream, end = owner + DRAWS * owners[:place].count(owner), column + n * batch
            for b in range(batch):
                key = self.seeds[b // self.samples] % 2**64, stream * self.samples + b % self.samples
                yield key, distribution, slice(column + b, end, batch)
            column = end


class Feed:
    """Blocks of a protocol. `position` counts steps; `state()` and `restore()` are complete."""

    def __init__(self, protocol: Table, gates: list[str], noise: NoiseSpec, recorded: Array | None = None):
        self.phases = {p["name"]: p for p in protocol["phases"]}
        self.sequence, self.streams = list(protocol["sequence"]), list(protocol["streams"])
        self.lengths: list[int] = [self.phases[name]["count"] * self.phases[name]["steps"] for name in self.sequence]
        self.total = sum(self.lengths)
        self.gates, self.noise, self.recorded = list(gates), noise, np.asarray([] if recorded is None else recorded)
        self.batch = len(noise.seeds) * noise.samples
        self.generators = [np.random.RandomState(s % 2**32) for s in noise.seeds]
        for generator in self.generators:
            generator.random_sample(protocol["spent"])
        self.orders: dict[str, Array] = {}
        self.position = self.phase_index = self.phase_step = self.shuffles = 0
        self.current: Array = np.zeros((0, self.batch), np.int64)
        self.rows_written = [0] * len(self.streams)
        self.counts = self._rows_until(len(self.sequence), 0)
        held = [min(n, s["window"] or n) for n, s in zip(self.counts, self.streams, strict=True)]
        self.bases = np.cumsum([0, *(n * s["width"] for n, s in zip(held, self.streams, strict=True))])
        self.record_size = int(self.bases[-1])
        self.threads = 1
        self.vectors, self.drawn = list(noise.vectors()), np.zeros((0, 6), np.uint64)
        self.chunks: dict[tuple[int, int], dict[int, Array]] = {}
        self.drawing: dict[tuple[int, int], tuple[int, np.random.Generator]] = {}

    def block(self, steps: int, drawn: bool = True) -> Block:
        """The next `steps` steps (fewer at the end of the protocol). Not `drawn`: without noise that is keyed by the
        step, for whoever only follows."""
        steps = min(steps, self.total - self.position)
        width = self.noise.width if self.vectors or self.noise.width > self.noise.cells else 0
        block = Block(np.zeros((steps, self.batch), np.int64), np.zeros((steps, 1 + len(self.gates))),
                      np.zeros((steps, width)), np.full((steps, len(self.streams)), -1, np.int64),
                      self.drawn, self.position)
        done = 0
        while done < steps:
            done += self._fill(block, done, steps - done, drawn)
        return block

    def _fill(self, block: Block, at: int, room: int, drawn: bool) -> int:
        phase, length = self.phases[self.sequence[self.phase_index]], self.lengths[self.phase_index]
        if self.phase_step == 0:
            self._enter(phase)
        take = min(room, length - self.phase_step)
        part, steps = slice(at, at + take), np.arange(self.phase_step, self.phase_step + take)
        block.rows[part] = self.current[steps // phase["steps"]]
        block.gates[part, 0] = 1.0
        for gate, pattern in phase["gates"]:
            block.gates[part, 1 + self.gates.index(gate)] = np.asarray(pattern)[steps % len(pattern)]
        if self.noise.kind == "legacy" or drawn and self.noise.kind != "none":
            self._draw(block, part)
        if drawn and self.noise.kind != "none":
            self._draw_weights(block, part)
            self._draw_keys(block, part)
        self._place(block, phase, at, take)
        self.phase_step, self.position = self.phase_step + take, self.position + take
        if self.phase_step == length:
            self.phase_step, self.phase_index = 0, self.phase_index + 1
        return take

    def _enter(self, phase: Table) -> None:
        seeds, samples = len(self.noise.seeds), self.noise.samples
        rows = phase.get("rows") or phase["count"]
        order = np.arange(rows)[:, None].repeat(seeds, axis=1)
        if phase["order"]:
            kept = self.orders.setdefault(phase["order"], order)
            order = kept.copy()
            self._shuffle(kept)
            order = order if phase["later"] else kept
        shown = order.repeat(samples, axis=1)
        if phase.get("rows"):
            places = np.minimum(np.arange(phase["count"] * samples), max(rows - 1, 0))
            shown = order[places].reshape(phase["count"], samples, seeds).swapaxes(1, 2)
        self.current = self._first(phase) + shown.reshape(phase["count"], self.batch)

    def _first(self, phase: Table) -> Array:
        """The row of the sample table at which every batch element begins."""
        return np.asarray(list(phase["first"]) * (self.batch // len(phase["first"])))

    def _shuffle(self, order: Array) -> None:
        """Shuffles every seed's column; shuffles compound."""
        for s, seed in enumerate(self.noise.seeds):
            column, keyed = np.ascontiguousarray(order[:, s]), counter_generator(seed, 2**32 - 1, self.shuffles)
            (self.generators[s] if self.noise.kind == "legacy" else keyed).shuffle(column)
            order[:, s] = column
        self.shuffles += 1

    def _draw(self, block: Block, part: slice) -> None:
        on = block.gates[part, self.noise.gate] > 0
        if not self.noise.cells or not on.any():
            return
        if self.noise.kind == "recorded":
            block.noise[part, :self.noise.cells] = self.recorded[self.position:self.position + len(on)]
        elif self.noise.kind == "legacy":
            block.noise[np.arange(part.start, part.stop)[on], :self.noise.cells] = self._legacy(int(on.sum()))
        else:
            self._counter(block, part)

    def _draw_weights(self, block: Block, part: slice) -> None:
        """Keyed by seed, mirror and step, whatever the kind of the cells' noise."""
        column = self.noise.cells
        for stream, synapses, gate in self.noise.weights:
            for t in np.flatnonzero(block.gates[part, gate] > 0):
                drawn = [counter_generator(seed, WEIGHTS + stream, self.position + int(t)).standard_normal(synapses)
                         for seed in self.noise.seeds]
                block.noise[part.start + t, column:column + synapses * len(drawn)] = np.concatenate(drawn)
            column += synapses * len(self.noise.seeds)

    def _draw_keys(self, block: Block, part: slice) -> None:
        column = self.noise.width - 2 * len(self.noise.keys) * len(self.noise.seeds)
        steps = np.arange(self.position, self.position + part.stop - part.start)
        generators = self.noise.generators or [[]] * len(self.noise.keys)
        for stream, generator in zip(self.noise.keys, generators, strict=True):
            for seed in self.noise.seeds:
                if generator:
                    block.noise[part, column] = lava_numbers(generator, seed, steps)
                else:
                    key = step_keys(seed, stream, steps)
                    block.noise[part, column] = key & np.uint64(2**32 - 1)
                    block.noise[part, column + 1] = key >> np.uint64(32)
                column += 2

    def _legacy(self, steps: int) -> Array:
        """One shared generator per seed; per step the populations in order, of each cell all samples."""
        columns, samples, draws = self.noise.columns, self.noise.samples, []
        for g in self.generators:
            if all(kind == "normal" for _, _, kind in columns):
                draws.append(g.normal(0, 1, (steps, sum(n for _, n, _ in columns), samples)))
            else:
                draws.append(np.stack([np.concatenate([getattr(g, kind)(0, 1, (n, samples)) for _, n, kind in columns])
                                       for _ in range(steps)]))
        return np.reshape(np.stack(draws, axis=2), (steps, -1))

    def leave_to_kernels(self) -> None:
        """Uniform counter noise is drawn by kernels that can, to the same bits, where each thread needs it."""
        left = [v for v in self.vectors if v[1] == "uniform" and self.noise.kind == "counter"]
        rows = [(c.start, c.step, len(range(c.stop)[c]), *key, CHUNK) for key, _, c in left]
        self.vectors, self.drawn = [v for v in self.vectors if v not in left], np.array(rows, np.uint64).reshape(-1, 6)

    def _counter(self, block: Block, part: slice) -> None:
        ahead = 8 * CHUNK * self.noise.cells <= MOST_DRAWN
        if ahead:
            self._draw_chunks(self.position // CHUNK, (self.position + part.stop - part.start - 1) // CHUNK)
        for key, distribution, columns in self.vectors:
            self._copy(block.noise[part, columns], self.chunks[key]) if ahead else self._draw_rows(
                block.noise[part, columns], key, distribution)

    def _copy(self, to: Array, chunks: dict[int, Array]) -> None:
        at = 0
        while at < len(to):
            chunk, offset = divmod(self.position + at, CHUNK)
            found = chunks[chunk][offset:offset + len(to) - at]
            to[at:at + len(found)] = found
            at += len(found)

    def _draw_rows(self, to: Array, key: tuple[int, int], distribution: str) -> None:
        """The draws of the next steps alone, by a generator that stays where it is in its chunk."""
        place, generator = self.drawing.get(key, (0, counter_generator(*key, 0)))
        into = np.empty(to.shape[1])
        for step in range(self.position, self.position + len(to)):
            first = step - step % CHUNK
            if not first < place <= step:
                place, generator = first, counter_generator(*key, first // CHUNK)
            while place <= step:
                place, row = place + 1, _draw(generator, distribution, into)
            to[step - self.position] = row
        self.drawing[key] = place, generator

    def _draw_chunks(self, first: int, last: int) -> None:
        """Chunks first..last of all draws; several threads draw as many chunks at a time, in memory of earlier ones."""
        tasks = []
        for key, distribution, columns in self.vectors:
            held = self.chunks.setdefault(key, {})
            missing = [chunk for chunk in range(first, last + 1) if chunk not in held]
            if missing:
                missing += range(last + 1, missing[0] + self.threads)
            free = [held.pop(chunk) for chunk in list(held) if missing and chunk < first]
            for chunk in missing:
                held[chunk] = free.pop() if free else np.empty((CHUNK, len(range(self.noise.cells)[columns])))
                tasks.append((counter_generator(*key, chunk), distribution, held[chunk]))
        with ThreadPoolExecutor(self.threads) if self.threads > 1 < len(tasks) else nullcontext() as pool:
            list((pool.map if pool else map)(lambda task: _draw(*task), tasks))

    def _place(self, block: Block, phase: Table, at: int, take: int) -> None:
        for stream, rule in phase["records"]:
            index, spec = next((i, s) for i, s in enumerate(self.streams) if s["name"] == stream)
            due = due_steps(rule, phase, self.phase_step, self.phase_step + take) - self.phase_step + at
            first = self.rows_written[index]
            due = due[:max(spec["most"] - first, 0)] if spec["most"] else due
            rows = np.arange(first, first + len(due)) % (spec["window"] or sys.maxsize)
            block.positions[due, index] = self.bases[index] + spec["width"] * rows
            self.rows_written[index] += len(due)

    def state(self) -> dict[str, Array]:
        """Everything that the next block depends on, as arrays."""
        result = {"position": np.array([self.position, self.phase_index, self.phase_step, self.shuffles]),
                  "rows_written": np.array(self.rows_written, np.int64), "current": self.current}
        result |= {f"order.{name}": order for name, order in self.orders.items()}
        for s, generator in enumerate(self.generators):
            _, key, index, has_gauss, gauss = generator.get_state(legacy=True)
            result[f"generator{s}.key"] = np.asarray(key, dtype=np.int64)
            result[f"generator{s}.rest"] = np.array([index, has_gauss, gauss], np.float64)
        return result

    def check(self, state: dict[str, Array]) -> None:
        """Raises ValueError or KeyError unless these arrays are a place in this protocol."""
        position, index, step, _ = (int(value) for value in state["position"])
        _expect(0 <= index <= len(self.lengths) and position == sum(self.lengths[:index]) + step, "position")
        _expect(0 <= step < max([*self.lengths, 0][index], 1), "position")
        _expect(state["rows_written"].tolist() == self._rows_until(index, step), "rows_written")
        orders = _orders(state)
        for name, order in orders.items():
            rows = {p.get("rows") or p["count"] for p in self.phases.values() if p["order"] == name}
            _expect(order.ndim == 2 and len(order) in rows and order.shape[1] == len(self.noise.seeds), name)
            _expect(bool((np.sort(order, axis=0) == np.arange(len(order))[:, None]).all()), name)
        entered = {self.phases[name]["order"] for name in self.sequence[:index + (step > 0)]}
        _expect(entered - {""} <= orders.keys(), "order")
        if step:
            phase, shown = self.phases[self.sequence[index]], state["current"]
            _expect(shown.shape == (phase["count"], self.batch) and shown.dtype.kind == "i", "current")
            places = shown - self._first(phase)
            _expect(places.min() >= 0 and places.max() < (phase.get("rows") or phase["count"]), "current")
        for s in range(len(self.generators)):
            place, has_gauss, gauss = state[f"generator{s}.rest"]
            _expect(0 <= place <= 624 and has_gauss in (0, 1) and math.isfinite(gauss), f"generator{s}.rest")
            _expect(state[f"generator{s}.key"].shape == (624,), f"generator{s}.key")

    def _rows_until(self, index: int, step: int) -> list[int]:
        """Rows that every stream has when so many phases of the sequence, and steps of the next one, are done."""
        done = [(self.phases[name], times) for name, times in Counter(self.sequence[:index]).items()]
        parts = [(phase, phase["count"] * phase["steps"], times) for phase, times in done]
        parts += [(self.phases[self.sequence[index]], step, 1)] if step else []
        counts = [sum(times * _before(end, *_rhythm(rule, phase)) for phase, end, times in parts
                      for name, rule in phase["records"] if name == stream["name"]) for stream in self.streams]
        return [min(n, s["most"] or n) for n, s in zip(counts, self.streams, strict=True)]

    def restore(self, state: dict[str, Array]) -> None:
        """Goes on from `state()`. Raises ValueError or KeyError for what is no place in this protocol."""
        self.check(state)
        self.position, self.phase_index, self.phase_step, self.shuffles = map(int, state["position"])
        self.rows_written = [int(r) for r in state["rows_written"]]
        self.orders = _orders(state)
        self.current = np.array(state.get("current", self.current))
        for s, generator in enumerate(self.generators):
            index, has_gauss, gauss = state[f"generator{s}.rest"]
            key = state[f"generator{s}.key"].astype(np.uint32)
            generator.set_state(("MT19937", key, int(index), int(has_gauss), float(gauss)))


def _orders(state: dict[str, Array]) -> dict[str, Array]:
    return {name[6:]: np.array(order) for name, order in state.items() if name.startswith("order.")}


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"'{what}' does not fit")


def _draw(generator: np.random.Generator, distribution: str, into: Array) -> Array:
    return (generator.standard_normal if distribution == "normal" else generator.random)(out=into)


def counter_generator(seed: int, stream: int, chunk: int) -> np.random.Generator:
    """Philox keyed by seed and stream, its counter by the chunk: any piece can be drawn on its own."""
    key = np.array([seed % 2**64, stream], np.uint64)  # a list of such numbers would be rounded to floats
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, chunk, 0]))


def lava_numbers(generator: list[Any], seed: int, steps: Array) -> Array:
    """One number in [0, 1) per step, as a stock LearningDense draws them: after one at the start so many per step, of
    which the last counts. `generator`: see `NoiseSpec`."""
    number, added, draws = generator
    source = np.random.PCG64(number + seed if added else number)
    source.advance(1 + draws * int(steps[0]) if len(steps) else 0)
    drawn = np.random.Generator(source).random(int(draws) * len(steps))
    return drawn[draws - 1::draws]


def step_keys(seed: int, stream: int, steps: Array) -> Array:
    """64 bits per step, mixed from seed, stream and step."""
    return mix64(mix64(mix64(np.array(seed % 2**64, np.uint64)) + np.uint64(stream)) + steps.astype(np.uint64))


def mix64(x: Array) -> Array:
    """One number of splitmix64 from its counter."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: Array = x ^ (x >> np.uint64(31))
    return mixed


def due_steps(rule: Table, phase: Table, start: int, stop: int) -> Array:
    """Steps of the phase in [start, stop) at which a stream records."""
    first, steps, period = rhythm = _rhythm(rule, phase)
    turns, places = np.divmod(np.arange(_before(start, *rhythm), _before(stop, *rhythm)), max(len(steps), 1))
    found: Array = first + turns * period + steps[places]
    return found


def _rhythm(rule: Table, phase: Table) -> tuple[int, Array, int]:
    """The first step, steps after it that record, rising, and after how many they come again."""
    if rule["every"]:
        return rule["offset"], np.zeros(1, np.int64), rule["every"]
    if rule["steps"]:
        return 0, np.asarray(rule["steps"], np.int64), sys.maxsize
    return 0, np.array(sorted({step for step in rule["at"] if step < phase["steps"]}), np.int64), phase["steps"]


def _before(stop: int, first: int, steps: Array, period: int) -> int:
    """How many steps before `stop` record, without listing them."""
    turns, rest = divmod(max(stop - first, 0), period)
    return int(turns * len(steps) + np.searchsorted(steps, rest))
