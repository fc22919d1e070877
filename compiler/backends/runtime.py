"""The runtime of a compiled circuit: turns a protocol into blocks of arrays, step by step reproducible.

Plain numpy, no import of the compiler: the Lava backend copies this file beside the code it emits. A `Feed` gives,
for the next K steps, which sample each batch element sees, the gates, the noise, and where recordings go. `threads`
may draw counter noise together, each chunk by one of them.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from concurrent.futures import ThreadPoolExecutor
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
    """Arrays of K steps: rows (K, batch), gates (K, 1 + gates) with column 0 always 1, noise (K, width) and
    positions (K, streams): index into the record buffer, or -1."""

    rows: Array
    gates: Array
    noise: Array
    positions: Array


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


class Feed:
    """Blocks of a protocol. `position` counts steps; `state()` and `restore()` are complete."""

    def __init__(self, protocol: Table, gates: list[str], noise: NoiseSpec, recorded: Array | None = None):
        self.phases = {p["name"]: p for p in protocol["phases"]}
        self.sequence, self.streams = list(protocol["sequence"]), list(protocol["streams"])
        self.gates, self.noise, self.recorded = list(gates), noise, recorded
        self.batch = len(noise.seeds) * noise.samples
        self.generators = [np.random.RandomState(s % 2**32) for s in noise.seeds]
        for generator in self.generators:
            generator.random_sample(protocol["spent"])
        self.orders: dict[str, Array] = {}
        self.shuffles = 0
        self.position, self.phase_index, self.phase_step = 0, 0, 0
        self.current: Array | None = None
        self.rows_written = [0] * len(self.streams)
        self.bases = np.cumsum([0, *(self.held_rows(s) * s["width"] for s in self.streams)])
        self.threads = 1
        self.chunks: dict[tuple[int, int], dict[int, Array]] = {}
        self.drawing: dict[tuple[int, int], tuple[int, np.random.Generator]] = {}

    @property
    def total(self) -> int:
        return sum(p["count"] * p["steps"] for p in map(self.phases.__getitem__, self.sequence))

    @property
    def record_size(self) -> int:
        return int(self.bases[-1])

    def count_rows(self, stream: str) -> int:
        per_phase = {name: sum(count_due(r, p, p["count"] * p["steps"]) for s, r in p["records"] if s == stream)
                     for name, p in self.phases.items()}
        rows = sum(per_phase[name] for name in self.sequence)
        most = next(s for s in self.streams if s["name"] == stream)["most"]
        return min(rows, most) if most else rows

    def held_rows(self, stream: Table) -> int:
        """Rows of a stream that the record buffer has room for."""
        rows = self.count_rows(stream["name"])
        return min(rows, stream["window"]) if stream["window"] else rows

    def block(self, steps: int, drawn: bool = True) -> Block:
        """The next `steps` steps (fewer at the end of the protocol). Not `drawn`: without noise that is keyed by the
        step, for whoever only follows."""
        steps = min(steps, self.total - self.position)
        block = Block(np.zeros((steps, self.batch), np.int64), np.zeros((steps, 1 + len(self.gates))),
                      np.zeros((steps, self.noise.width)), np.full((steps, len(self.streams)), -1, np.int64))
        done = 0
        while done < steps:
            done += self._fill(block, done, steps - done, drawn)
        return block

    def _fill(self, block: Block, at: int, room: int, drawn: bool) -> int:
        phase = self.phases[self.sequence[self.phase_index]]
        length: int = phase["count"] * phase["steps"]
        if self.phase_step == 0:
            self._enter(phase)
        take = min(room, length - self.phase_step)
        part = slice(at, at + take)
        steps = np.arange(self.phase_step, self.phase_step + take)
        if take:
            assert self.current is not None
            block.rows[part] = self.current[steps // phase["steps"]]
            block.gates[part, 0] = 1.0
            for gate, pattern in phase["gates"]:
                block.gates[part, 1 + self.gates.index(gate)] = np.asarray(pattern)[steps % len(pattern)]
            if drawn or self.noise.kind == "legacy":
                self._draw(block, part)
            if drawn:
                self._draw_weights(block, part)
                self._draw_keys(block, part)
            self._place(block, phase, at, take)
        self.phase_step, self.position = self.phase_step + take, self.position + take
        if self.phase_step == length:
            self.phase_step, self.phase_index = 0, self.phase_index + 1
        return take

    # ---- order of presentations

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
        first = np.asarray(list(phase["first"]) * (self.batch // len(phase["first"])))
        self.current = first[None, :] + shown.reshape(phase["count"], self.batch)

    def _shuffle(self, order: Array) -> None:
        """Shuffles every seed's column; shuffles compound."""
        for s, seed in enumerate(self.noise.seeds):
            column = np.ascontiguousarray(order[:, s])
            if self.noise.kind == "legacy":
                self.generators[s].shuffle(column)
            else:
                counter_generator(seed, 2**32 - 1, self.shuffles).shuffle(column)
            order[:, s] = column
        self.shuffles += 1

    # ---- noise

    def _draw(self, block: Block, part: slice) -> None:
        on = block.gates[part, self.noise.gate] > 0
        if not self.noise.cells or not on.any() or self.noise.kind == "none":
            return
        if self.noise.kind == "recorded":
            assert self.recorded is not None
            block.noise[part, :self.noise.cells] = self.recorded[self.position:self.position + len(on)]
        elif self.noise.kind == "legacy":
            block.noise[np.arange(part.start, part.stop)[on], :self.noise.cells] = self._legacy(int(on.sum()))
        else:
            self._counter(block, part)

    def _draw_weights(self, block: Block, part: slice) -> None:
        """Keyed by seed, mirror and step, whatever the kind of the cells' noise."""
        column = self.noise.cells
        for stream, synapses, gate in self.noise.weights if self.noise.kind != "none" else ():
            for t in np.flatnonzero(block.gates[part, gate] > 0):
                for s, seed in enumerate(self.noise.seeds):
                    generator = counter_generator(seed, WEIGHTS + stream, self.position + int(t))
                    at = column + s * synapses
                    block.noise[part.start + t, at:at + synapses] = generator.standard_normal(synapses)
            column += synapses * len(self.noise.seeds)

    def _draw_keys(self, block: Block, part: slice) -> None:
        column = self.noise.width - 2 * len(self.noise.keys) * len(self.noise.seeds)
        steps = np.arange(self.position, self.position + part.stop - part.start)
        generators = self.noise.generators or [[]] * len(self.noise.keys)
        for stream, generator in zip(self.noise.keys, generators, strict=True) if self.noise.kind != "none" else ():
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
        draws = np.stack([self._shared(g, steps) for g in self.generators], axis=2)
        return draws.reshape(steps, -1)

    def _shared(self, generator: np.random.RandomState, steps: int) -> Array:
        """(steps, cells, samples)."""
        columns, samples = self.noise.columns, self.noise.samples
        if all(distribution == "normal" for _, _, distribution in columns):
            return generator.normal(0, 1, (steps, sum(n for _, n, _ in columns), samples))
        rows = [[getattr(generator, kind)(0, 1, (n, samples)) for _, n, kind in columns] for _ in range(steps)]
        return np.stack([np.concatenate(row) for row in rows])

    def _counter(self, block: Block, part: slice) -> None:
        column, streams = 0, self._streams()
        ahead = 8 * CHUNK * self.batch * sum(cells for _, cells, _ in streams) <= MOST_DRAWN
        if ahead:
            self._draw_chunks(streams, self.position // CHUNK, (self.position + part.stop - part.start - 1) // CHUNK)
        for stream, cells, distribution in streams:
            for b in range(self.batch):
                columns = slice(column + b, column + cells * self.batch, self.batch)
                if ahead:
                    self._copy(block.noise[part, columns], self.chunks[stream, b])
                else:
                    self._draw_rows(block.noise[part, columns], stream, distribution, b)
            column += cells * self.batch

    def _streams(self) -> list[tuple[int, int, str]]:
        """(stream, cells, distribution) of all draws of cells."""
        found: list[tuple[int, int, str]] = []
        for place, (population, cells, distribution) in enumerate(self.noise.columns):
            earlier = [other for other, _, _ in self.noise.columns[:place]].count(population)
            found.append((population + DRAWS * earlier, cells, distribution))
        return found

    def _copy(self, to: Array, chunks: dict[int, Array]) -> None:
        at, start = 0, self.position
        while at < len(to):
            chunk, offset = divmod(start + at, CHUNK)
            take = min(len(to) - at, CHUNK - offset)
            to[at:at + take] = chunks[chunk][offset:offset + take]
            at += take

    def _draw_rows(self, to: Array, stream: int, distribution: str, b: int) -> None:
        """The draws of the next steps alone, by a generator that stays where it is in its chunk."""
        place, generator = self.drawing.get((stream, b), (0, self._generator(stream, b, 0)))
        into = np.empty(to.shape[1])
        for step in range(self.position, self.position + len(to)):
            first = step - step % CHUNK
            if not first < place <= step:
                place, generator = first, self._generator(stream, b, first // CHUNK)
            while place <= step:
                place, row = place + 1, _draw(generator, distribution, into)
            to[step - self.position] = row
        self.drawing[stream, b] = place, generator

    def _generator(self, stream: int, b: int, chunk: int) -> np.random.Generator:
        seed = self.noise.seeds[b // self.noise.samples]
        return counter_generator(seed, stream * self.noise.samples + b % self.noise.samples, chunk)

    def _draw_chunks(self, streams: list[tuple[int, int, str]], first: int, last: int) -> None:
        """Chunks first..last of all draws; several threads draw as many chunks at a time, in memory of earlier ones."""
        tasks = []
        for stream, cells, distribution in streams:
            for b in range(self.batch):
                held = self.chunks.setdefault((stream, b), {})
                missing = [chunk for chunk in range(first, last + 1) if chunk not in held]
                if missing:
                    missing += range(last + 1, missing[0] + self.threads)
                free = [held.pop(chunk) for chunk in list(held) if missing and chunk < first]
                for chunk in missing:
                    held[chunk] = free.pop() if free else np.empty((CHUNK, cells))
                    tasks.append((stream, distribution, b, chunk, held[chunk]))
        if self.threads > 1 and len(tasks) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(lambda task: self._draw_chunk(*task), tasks))
        else:
            for task in tasks:
                self._draw_chunk(*task)

    def _draw_chunk(self, stream: int, distribution: str, b: int, chunk: int, into: Array) -> None:
        _draw(self._generator(stream, b, chunk), distribution, into)

    # ---- recordings

    def _place(self, block: Block, phase: Table, at: int, take: int) -> None:
        for stream, rule in phase["records"]:
            index = next(i for i, s in enumerate(self.streams) if s["name"] == stream)
            due = due_steps(rule, phase, self.phase_step, self.phase_step + take) - self.phase_step + at
            first, width, most = self.rows_written[index], self.streams[index]["width"], self.streams[index]["most"]
            due = due[:max(most - first, 0)] if most else due
            rows = np.arange(first, first + len(due)) % (self.streams[index]["window"] or sys.maxsize)
            block.positions[due, index] = self.bases[index] + width * rows
            self.rows_written[index] += len(due)

    # ---- checkpoints

    def state(self) -> dict[str, Array]:
        """Everything that the next block depends on, as arrays."""
        result = {"position": np.array([self.position, self.phase_index, self.phase_step, self.shuffles]),
                  "rows_written": np.array(self.rows_written, np.int64)}
        result |= {f"order.{name}": order for name, order in self.orders.items()}
        if self.current is not None:
            result["current"] = self.current
        for s, generator in enumerate(self.generators):
            _, key, index, has_gauss, gauss = generator.get_state(legacy=True)
            result[f"generator{s}.key"] = np.asarray(key, dtype=np.int64)
            result[f"generator{s}.rest"] = np.array([index, has_gauss, gauss], np.float64)
        return result

    def check(self, state: dict[str, Array]) -> None:
        """Raises ValueError or KeyError unless these arrays are a place in this protocol."""
        position, index, step, _ = (int(value) for value in state["position"])
        lengths = [p["count"] * p["steps"] for p in map(self.phases.__getitem__, self.sequence)]
        _expect(0 <= index <= len(lengths) and position == sum(lengths[:index]) + step, "position")
        _expect(step == 0 or index < len(lengths) and 0 < step < lengths[index], "position")
        _expect(state["rows_written"].tolist() == self._rows_until(index, step), "rows_written")
        self._check_orders({name[6:]: order for name, order in state.items() if name.startswith("order.")})
        entered = {self.phases[name]["order"] for name in self.sequence[:index + (step > 0)]} - {""}
        _expect(all(f"order.{name}" in state for name in entered), "order")
        if step:
            self._check_shown(self.phases[self.sequence[index]], state["current"])
        for s in range(len(self.generators)):
            place, has_gauss, gauss = state[f"generator{s}.rest"]
            _expect(0 <= place <= 624 and has_gauss in (0, 1) and math.isfinite(gauss), f"generator{s}.rest")
            _expect(state[f"generator{s}.key"].shape == (624,), f"generator{s}.key")

    def _check_orders(self, orders: dict[str, Array]) -> None:
        for name, order in orders.items():
            lengths = {p.get("rows") or p["count"] for p in self.phases.values() if p["order"] == name}
            _expect(order.ndim == 2 and len(order) in lengths and order.shape[1] == len(self.noise.seeds), name)
            _expect(bool((np.sort(order, axis=0) == np.arange(len(order))[:, None]).all()), name)

    def _check_shown(self, phase: Table, shown: Array) -> None:
        first = np.asarray(list(phase["first"]) * (self.batch // len(phase["first"])))
        _expect(shown.shape == (phase["count"], self.batch) and shown.dtype.kind == "i", "current")
        places = shown - first
        _expect(places.min() >= 0 and places.max() < (phase.get("rows") or phase["count"]), "current")

    def _rows_until(self, index: int, step: int) -> list[int]:
        """Rows that every stream has when so many steps of this phase are done."""
        phases = [self.phases[name] for name in self.sequence[:index + 1]]
        parts = [(p, step if i == index else p["count"] * p["steps"]) for i, p in enumerate(phases)]
        counts = [sum(count_due(rule, p, end) for p, end in parts for name, rule in p["records"]
                      if name == stream["name"]) for stream in self.streams]
        return [min(n, s["most"]) if s["most"] else n for n, s in zip(counts, self.streams, strict=True)]

    def restore(self, state: dict[str, Array]) -> None:
        """Goes on from `state()`. Raises ValueError or KeyError for what is no place in this protocol."""
        self.check(state)
        self.position, self.phase_index, self.phase_step, self.shuffles = map(int, state["position"])
        self.rows_written = [int(r) for r in state["rows_written"]]
        self.orders = {k[6:]: np.array(v) for k, v in state.items() if k.startswith("order.")}
        self.current = np.array(state["current"]) if "current" in state else None
        for s, generator in enumerate(self.generators):
            index, has_gauss, gauss = state[f"generator{s}.rest"]
            key = state[f"generator{s}.key"].astype(np.uint32)
            generator.set_state(("MT19937", key, int(index), int(has_gauss), float(gauss)))


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


def count_due(rule: Table, phase: Table, stop: int) -> int:
    """How many steps of the phase before `stop` record, without listing them."""
    if rule["every"]:
        return int(max(-(-(stop - rule["offset"]) // rule["every"]), 0))
    if rule["steps"]:
        return int(np.searchsorted(rule["steps"], stop))
    at = set(rule["at"])
    shown, rest = divmod(stop, phase["steps"])
    return int(shown * len(at) + sum(step < rest for step in at))


def due_steps(rule: Table, phase: Table, start: int, stop: int) -> Array:
    """Steps of the phase in [start, stop) at which a stream records."""
    if rule["every"]:
        first = rule["offset"] + -(-max(start - rule["offset"], 0) // rule["every"]) * rule["every"]
        return np.arange(first, stop, rule["every"])
    if rule["steps"]:
        listed = np.asarray(rule["steps"], np.int64)
        return listed[np.searchsorted(listed, start):np.searchsorted(listed, stop)]
    shown = np.arange(start // phase["steps"], -(-stop // phase["steps"]))
    steps: Array = (shown[:, None] * phase["steps"] + np.unique(np.asarray(rule["at"], np.int64))).ravel()
    return steps[(steps >= start) & (steps < stop)]
