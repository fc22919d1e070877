"""What every recording is, whoever wrote it: where its variables are found in the graph, and checks of its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexc.compiler.backends.feeding import cell_draws
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.verify.runs import LONGEST_CHUNK, Chunk, Setup, Stimulus, blocks

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Where a recorded variable is found: `quantity` as it is (`now`), one step earlier (`before`), `zero`, or
    `assembled`: a matrix of blocks, `parts` being (quantity, first row, first column), and what it was at first
    elsewhere. `single`: the file has no batch axis."""

    quantity: str
    kind: str = "now"
    single: bool = True
    parts: tuple[tuple[str, int, int], ...] = ()

    @property
    def quantities(self) -> tuple[str, ...]:
        """What it is made of."""
        if self.kind == "zero":
            return ()
        return tuple(name for name, _, _ in self.parts) if self.parts else (self.quantity,)


UNTOLD = -2
"""The step of what a recording has, but no step has."""


@dataclass(frozen=True)
class Sampled:
    """A variable that was recorded now and then: `values` (K, n) at the end of the steps `rows` (K,). Element (k, i) is
    that of `quantity` after step `at[k, i]` (from 0), `before[i]` where that is -1, nothing where it is UNTOLD.
    `limit`: of its error, which may be `relative` to the value itself, at least to 1e-6 of the greatest."""

    quantity: str
    rows: np.ndarray
    at: np.ndarray
    values: np.ndarray
    limit: float
    before: np.ndarray
    relative: bool = False

    @property
    def unit(self) -> np.ndarray | None:
        if not self.relative:
            return None
        sizes = np.abs(self.values)
        return np.maximum(sizes, max(1e-6 * sizes.max(initial=0.0), np.finfo(np.float64).tiny))

    def taken(self, found: np.ndarray, start: int, rows: np.ndarray) -> None:
        """Puts what the steps from `start` on gave, (steps, n), into `found`, which is like `values`."""
        which = (self.at >= start) & (self.at < start + len(rows))
        cells = np.broadcast_to(np.arange(self.at.shape[1]), self.at.shape)[which]
        found[which] = rows[self.at[which] - start, cells]


@dataclass(frozen=True)
class Recording:
    """A file, ready to be run and compared. `expected`: file variable -> (T, ...); `before`: values of row -1."""

    name: str
    setup: Setup
    expected: Arrays
    sources: dict[str, Source]
    evidence: str
    before: Arrays = field(default_factory=dict)
    constants: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()
    circuit: Any = None
    arrays: Arrays = field(default_factory=dict)
    sampled: dict[str, Sampled] = field(default_factory=dict)
    """Instead of what was recorded at every step."""

    @property
    def wanted(self) -> list[str]:
        """The quantities that the comparison needs."""
        every = [q for s in self.sources.values() for q in s.quantities]
        return list(dict.fromkeys([*every, *(s.quantity for s in self.sampled.values())]))

    def chunks(self, chunk: int = LONGEST_CHUNK) -> Iterator[Chunk]:
        """What was recorded, a chunk at a time."""
        for start in range(0, self.setup.steps, chunk):
            yield {name: values[start:start + chunk] for name, values in self.expected.items()}

    def named(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """A backend's trajectory under the file's names; what the backend does not have is left out."""
        last = {name: values[None] for name, values in self.before.items()}
        for chunk in chunks:
            steps = len(next(iter(chunk.values()), ()))
            found: Chunk = {}
            for name, source in self.sources.items():
                if source.kind == "zero":
                    found[name] = np.zeros((steps, *self.expected[name].shape[1:]))
                elif source.kind == "assembled" and set(source.quantities) <= set(chunk):
                    elsewhere = self.arrays.get(f"init_{name}", np.zeros(self.expected[name].shape[1:]))
                    found[name] = np.repeat(elsewhere[None], steps, axis=0)
                    for quantity, row, column in source.parts:
                        block = chunk[quantity][:, 0]
                        found[name][:, row:row + block.shape[1], column:column + block.shape[2]] = block
                elif source.kind != "assembled" and source.quantity in chunk:
                    values = chunk[source.quantity]
                    values = values[:, 0] if source.single else values
                    found[name] = np.concatenate((last[name], values[:-1])) if source.kind == "before" else values
                    if source.kind == "before":
                        last[name] = values[-1:]
            yield found


# ---- checks of arrays


def text_of(arrays: Mapping[str, np.ndarray], name: str) -> str:
    """Raises V111 where the entry is not a text."""
    value = arrays[name]
    if value.dtype.kind not in "US" or value.size != 1:
        raise CortexError("V111", f"'{name}' is of kind {value.dtype} and shape {value.shape}; it must be one text.")
    item = value.reshape(-1)[0]
    try:
        return item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError as error:
        raise CortexError("V111", f"'{name}' is no text in UTF-8: {error}.") from None


def numbers(arrays: Mapping[str, np.ndarray], name: str, shape: Sequence[int | None], what: str = "",
            nan: bool = False) -> np.ndarray:
    """An array as float64; None in `shape` fits any length. Raises V108 missing, V109 shape, V110 not finite, V111."""
    if name not in arrays:
        raise CortexError("V108", f"array '{name}' is missing{what and f' ({what})'}; expected shape {_show(shape)}.")
    value = arrays[name]
    if value.dtype.kind not in "fiub" or value.dtype.kind == "f" and value.dtype.itemsize < 8:
        raise CortexError("V111", f"array '{name}' is of kind {value.dtype}; a recording needs float64 (limits are "
                                  "1e-10 absolute and 1e-8 of the range).", "Record it in double precision.")
    fits = value.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, value.shape, strict=True))
    if not fits:
        raise CortexError("V109", f"array '{name}' has shape {value.shape}, expected {_show(shape)}"
                                  f"{what and f' ({what})'}.")
    value = np.asarray(value, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(value)) if not nan else np.argwhere(np.isinf(value))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        raise CortexError("V110", f"array '{name}' is {value[index]} at index {index} ({len(bad)} values are not "
                                  "finite).", "A recording must be finite.")
    return value


def _show(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("T" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def gate_columns(columns: Mapping[str, np.ndarray]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple((gate, tuple(map(float, values))) for gate, values in columns.items())


def one_step_protocol(steps: int, gates: Mapping[str, np.ndarray], batch: int = 1) -> Protocol:
    """Every step presents a row of its own: batch element b those from b * steps on."""
    first = tuple(b * steps for b in range(batch))
    return Protocol((Phase("recording", steps, 1, first, gates=gate_columns(gates)),), ("recording",))


# ---- the stimulus


def drawn_by_cells(graph: Graph) -> list[str]:
    """`population.noise` of every draw that a recording holds; those of synapses follow from the seeds."""
    return [f"{population}.{name}" for population, name, _ in cell_draws(graph)]


def stimulus_chunks(setup: Setup, steps: int | None = None) -> Iterator[Chunk]:
    """Inputs and draws (K, batch, n), gates (K,), by name."""
    stimulus, drawn = Stimulus(setup), drawn_by_cells(setup.graph)
    for block in blocks(setup, steps):
        rows = [stimulus.step(block, t) for t in range(len(block.gates))]
        found = {name: np.stack([inputs[name] for inputs, _, _ in rows]) for name, _ in stimulus.inputs}
        found |= {name: np.stack([noise[name] for _, _, noise in rows]) for name in drawn}
        yield found | {f"gate.{g}": np.array([gates[g] for _, gates, _ in rows]) for g in setup.graph.gates}
