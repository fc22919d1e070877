"""The interpreter with the interface of the other backends: slow, for whatever has no lowering yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexc.compiler.backends.draws import input_columns, named_noise
from cortexc.compiler.backends.in_process import InProcess, State
from cortexc.compiler.backends.rewritten import Rewritten
from cortexc.compiler.backends.runtime import Block
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.evaluation import Values
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol


class InterpreterRun(InProcess):
    """Runs a graph step by step. `samples` is (rows, columns), columns in the order of the exogenous inputs."""

    block = 20

    def __init__(self, graph: Graph, protocol: Protocol, samples: Array, seeds: Sequence[int],
                 recorded_noise: Array | None = None):
        self.interpreter, self.columns = Rewritten(graph), input_columns(graph)
        self._fill(graph)
        sizes = {name: array.size for name, array in self.interpreter.values.items()}
        super().__init__(graph, sizes, protocol, samples, seeds, recorded_noise)

    def _fill(self, graph: Graph) -> None:
        """Quantities that no step has computed yet are 0, so that every name has a shape."""
        names = {f"{p.name}.{name}": p.size for p in graph.populations for cell in (graph.cell(p.cell),)
                 for name in (*(e.name for e in cell.equations), *cell.inputs, *(n for n, _ in cell.noise))}
        names |= {f"{q.name}.current": graph.population(q.post).size for q in graph.projections}
        for name, size in names.items():
            self.interpreter.values.setdefault(name, np.zeros((graph.batch, size)))

    def _block(self, block: Block) -> None:
        for t in range(len(block.gates)):
            gates = dict(zip(self.graph.gates, block.gates[t, 1:], strict=True))
            self.interpreter.step(self._inputs(block.rows[t]), gates, self._noise(block.noise[t], gates),
                                  block.rows[t])
            self._record(block.positions[t])
        self.interpreter.flush(whole=False)

    def _inputs(self, rows: Array) -> Values:
        seen = self.samples[rows] if self.samples.size else np.zeros((1, 0))
        return {name: seen[:, part] for name, part in self.columns}

    def _noise(self, row: Array, gates: dict[str, float]) -> Values:
        """This step's draws; while the noise gate is off, the last ones of cells stay."""
        gate, found = self.graph.noise.gate, named_noise(self.graph, row)
        held = gate and not gates[gate] > 0
        cells = {p.name for p in self.graph.populations}
        return {name: drawn for name, drawn in found.items() if not held or name.split(".")[0] not in cells}

    def _record(self, positions: Array) -> None:
        due = {q for stream, at in zip(self.protocol.streams, positions, strict=True) if at >= 0
               for q in stream.quantities}
        if due & self.interpreter.lagging:
            self.interpreter.flush()
        for stream, position in zip(self.protocol.streams, positions, strict=True):
            if position >= 0 and stream.quantities:
                row = [self.interpreter.values[q].reshape(-1) for q in stream.quantities]
                self.buffer[position:position + stream.width] = np.concatenate(row)

    def _shaped(self, quantity: str, flat: Array) -> Array:
        return flat.reshape(len(flat), *self.interpreter.values[quantity].shape)

    def value(self, quantity: str) -> Array:
        """A quantity now: (batch, n) or (copies, n_post, n_pre). Raises KeyError."""
        return np.array(self.interpreter.value(quantity))

    def put(self, quantity: str, values: Array) -> None:
        """Sets a state (batch, n) or a synaptic quantity (copies, n_post, n_pre)."""
        self.interpreter.values[quantity] = np.array(values, np.float64)

    def _memory(self) -> State:
        result = {f"memory.{name}": np.array(array) for name, array in self.interpreter.values.items()}
        for name, past in self.interpreter.history.items():
            result |= {f"history.{name}#{i}": np.array(array) for i, array in enumerate(past)}
        return result

    def restore(self, state: State) -> None:
        """Continues from `state()`, to the same bits. Raises ValueError or KeyError for what is not of this circuit."""
        self._check(state)
        values = {k.removeprefix("memory."): np.array(v) for k, v in state.items() if k.startswith("memory.")}
        self.interpreter.values = values
        for key in sorted((k for k in state if k.startswith("history.")), key=lambda k: int(k.rpartition("#")[2])):
            name, _, index = key.removeprefix("history.").rpartition("#")
            past = self.interpreter.history.setdefault(name, [])
            past[int(index):int(index) + 1] = [np.array(state[key])]
        super().restore(state)

    def _check(self, state: State) -> None:
        """Quantities, now and earlier, have the shapes that they have here."""
        shapes = {name: array.shape for name, array in self.interpreter.values.items()}
        for name, array in state.items():
            kind, _, quantity = name.partition(".")
            expected = shapes.get(quantity.partition("#")[0]) if kind in ("memory", "history") else None
            if expected not in (None, array.shape):
                raise ValueError(f"'{name}' has shape {array.shape}, expected {expected}")
