"""The interpreter with the interface of the native backend: slow, for whatever has no lowering yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from compiler.backends.blocks import Pace, most_steps
from compiler.backends.draws import input_columns, named_noise
from compiler.backends.evaluation import Values
from compiler.backends.feeding import make_feed, sample_table
from compiler.backends.interpreter import Interpreter
from compiler.backends.runtime import Block
from compiler.ir import Graph
from compiler.ir.protocol import Protocol


class InterpreterRun:
    """Runs a graph step by step. `samples` is (rows, columns), columns in the order of the exogenous inputs."""

    def __init__(self, graph: Graph, protocol: Protocol, samples: np.ndarray, seeds: Sequence[int],
                 recorded_noise: np.ndarray | None = None):
        self.graph, self.interpreter = graph, Interpreter(graph)
        self._fill()
        self.protocol = self._sized(protocol)
        self.feed = make_feed(graph, self.protocol, seeds, recorded_noise)
        self.buffer = np.zeros(max(self.feed.record_size, 1))
        self.samples, self.columns = sample_table(graph, self.protocol, samples), input_columns(graph)

    def _fill(self) -> None:
        """Quantities that no step has computed yet are 0, so that every name has a shape."""
        values = self.interpreter.values
        for p in self.graph.populations:
            cell = self.graph.cell(p.cell)
            names = [*(e.name for e in cell.equations), *cell.inputs, *(n for n, _ in cell.noise)]
            for name in names:
                values.setdefault(f"{p.name}.{name}", np.zeros((self.graph.batch, p.size)))
        for q in self.graph.projections:
            size = self.graph.population(q.post).size
            values.setdefault(f"{q.name}.current", np.zeros((self.graph.batch, size)))

    def _sized(self, protocol: Protocol) -> Protocol:
        streams = tuple(replace(s, width=sum(self.interpreter.values[q].size for q in s.quantities))
                        for s in protocol.streams)
        return replace(protocol, streams=streams)

    @property
    def position(self) -> int:
        """Network steps done."""
        return self.feed.position

    @property
    def stored(self) -> Collection[str]:
        return self.interpreter.values

    @property
    def pace(self) -> Pace:
        return Pace(most_steps(self.feed.noise.width))

    def run(self, steps: int | None = None, block: int = 20, on_block: Callable[[int], None] | None = None) -> int:
        """Advances by `steps` (default: to the end), in blocks; returns the position."""
        end = self.feed.total if steps is None else min(self.feed.total, self.feed.position + steps)
        while self.feed.position < end:
            self._block(self.feed.block(min(block, end - self.feed.position)))
            if on_block:
                on_block(self.feed.position)
        return self.feed.position

    def _block(self, block: Block) -> None:
        for t in range(len(block.gates)):
            gates = dict(zip(self.graph.gates, block.gates[t, 1:], strict=True))
            self.interpreter.step(self._inputs(block.rows[t]), gates, self._noise(block.noise[t], gates))
            self._record(block.positions[t])

    def _inputs(self, rows: np.ndarray) -> Values:
        seen = self.samples[rows] if self.samples.size else np.zeros((1, 0))
        return {name: seen[:, part] for name, part in self.columns}

    def _noise(self, row: np.ndarray, gates: dict[str, float]) -> Values:
        """This step's draws; while the noise gate is off, the last ones of cells stay."""
        gate, found = self.graph.noise.gate, named_noise(self.graph, row)
        held = gate and not gates[gate] > 0
        cells = {p.name for p in self.graph.populations}
        return {name: drawn for name, drawn in found.items() if not held or name.split(".")[0] not in cells}

    def _record(self, positions: np.ndarray) -> None:
        for stream, position in zip(self.protocol.streams, positions, strict=True):
            if position >= 0:
                row = [self.interpreter.values[q].reshape(-1) for q in stream.quantities]
                self.buffer[position:position + stream.width] = np.concatenate(row)

    @property
    def records(self) -> InterpreterRecords:
        return InterpreterRecords(self)

    def value(self, quantity: str) -> np.ndarray:
        """A quantity now: (batch, n) or (copies, n_post, n_pre). Raises KeyError."""
        return np.array(self.interpreter.values[quantity])

    def put(self, quantity: str, values: np.ndarray) -> None:
        """Sets a state (batch, n) or a synaptic quantity (copies, n_post, n_pre)."""
        self.interpreter.values[quantity] = np.array(values, np.float64)

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on."""
        result = {f"memory.{name}": np.array(array) for name, array in self.interpreter.values.items()}
        for name, past in self.interpreter.history.items():
            result |= {f"history.{name}#{i}": np.array(array) for i, array in enumerate(past)}
        result |= {f"feed.{name}": array for name, array in self.feed.state().items()}
        return result | {"records": self.buffer.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continues from `state()`, to the same bits. Raises ValueError or KeyError for what is not of this circuit."""
        self._check(state)
        values = {k.removeprefix("memory."): np.array(v) for k, v in state.items() if k.startswith("memory.")}
        self.interpreter.values = values
        for key in sorted((k for k in state if k.startswith("history.")), key=lambda k: int(k.rpartition("#")[2])):
            name, _, index = key.removeprefix("history.").rpartition("#")
            past = self.interpreter.history.setdefault(name, [])
            past[int(index):int(index) + 1] = [np.array(state[key])]
        self.feed.restore({k.removeprefix("feed."): v for k, v in state.items() if k.startswith("feed.")})
        self.buffer[:] = state["records"]

    def _check(self, state: dict[str, np.ndarray]) -> None:
        """Quantities, now and earlier, have the shapes that they have here."""
        shapes = {name: array.shape for name, array in self.interpreter.values.items()}
        for name, array in state.items():
            expected = shapes.get(_quantity(name), array.shape)
            if array.shape != expected:
                raise ValueError(f"'{name}' has shape {array.shape}, expected {expected}")

    def close(self) -> None:
        """Nothing to end; for the interface shared with Lava."""


def _quantity(name: str) -> str:
    """Whose value, now or earlier, an array of a state holds; nothing for those of the feed."""
    kind, _, quantity = name.partition(".")
    return quantity.partition("#")[0] if kind in ("memory", "history") else ""


class InterpreterRecords:
    """What was recorded, by stream: `rows(stream, quantity)`, the record axis first."""

    def __init__(self, run: InterpreterRun):
        self.run = run

    def rows(self, stream: str, quantity: str) -> np.ndarray:
        """States: (rows, batch, n). Weights: (rows, copies, n_post, n_pre). Raises E279."""
        run, (index, place) = self.run, self.run.protocol.place(stream, quantity)
        spec, count, start = run.protocol.streams[index], run.feed.rows_written[index], int(run.feed.bases[index])
        table = run.buffer[start:start + count * spec.width].reshape(count, spec.width)
        shapes = {q: run.interpreter.values[q].shape for q in spec.quantities}
        column = sum(int(np.prod(shapes[q])) for q in spec.quantities[:place])
        return table[:, column:column + int(np.prod(shapes[quantity]))].reshape(count, *shapes[quantity])
