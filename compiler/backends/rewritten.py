"""The interpreter of a graph as the passes have rewritten it: increments that wait, and forms of held inputs.

`Interpreter` says what a graph means, whatever its projections' `lowering`. This one does as the rewritten graph says,
in plain numpy: where a projection is `fused`, the increment of a step is applied before the next product; where it is
`hoisted`, the lines of its form (`passes/held_forms.py`) run. So a rewrite can be compared with what it began from.
`InterpreterRun` gives it the interface of the other backends: slow, for whatever has no lowering yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cortexc.compiler.backends.feeding import input_columns, named_noise
from cortexc.compiler.backends.in_process import InProcess, State
from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.optimisers import sum_in_order
from cortexc.compiler.backends.runtime import Block
from cortexc.compiler.ir.evaluation import Values, evaluate, no_history
from cortexc.compiler.ir.expressions import Expression, leaves
from cortexc.compiler.ir.model import Array, Graph, Projection
from cortexc.compiler.ir.protocol import Protocol
from cortexc.compiler.passes import held_forms
from cortexc.compiler.passes.defer_decay import LAZY
from cortexc.compiler.passes.held_forms import MATRICES, POST, PRE, SCALARS, Form, Line, Lines


class Rewritten(Interpreter):
    """`values` as those of the interpreter; weights with increments that wait, or with a form, lag behind: `flush`
    brings them up to date, `value` says what they would be."""

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.forms = {q.name: form for q in graph.projections if (form := held_forms.form_of(graph, q))}
        self.waiting: set[str] = set()
        self.rows: Array = np.zeros(graph.batch)
        self.locals: Values = {}
        for name, form in self.forms.items():
            self._start_form(graph.projection(name), form)

    def _start_form(self, q: Projection, form: Form) -> None:
        sizes = {"pre": self.graph.population(q.pre).size, "post": self.graph.population(q.post).size}
        lengths = {name: sizes[side] for side, names in (("pre", PRE), ("post", POST)) for name in names}
        for name in form.keeps:
            shape = () if name in SCALARS else (self.graph.batch, lengths[name])
            self.values[self._key(q, name)] = np.zeros(shape)
        self.values |= {self._key(q, name): np.asarray(value) for name, value in held_forms.first_values(form).items()}
        self.values[f"{q.name}.held.rows"] = np.zeros(self.graph.batch)
        before = self.values.get(f"{q.pre}.{self.graph.class_of(q.name).message}")
        if before is not None and "x_old" in form.keeps:
            self.values[self._key(q, "x")] = before

    @property
    def lagging(self) -> set[str]:
        """Quantities that lag behind until a flush."""
        found = set()
        for q in self.graph.projections:
            rule, form = self.graph.rule_of(q), self.forms.get(q.name)
            if q.lowering not in ("", LAZY) and rule and (form is None or form.learn):
                found |= {f"{q.name}.w", f"{q.name}.{rule.optimiser.kind}"}
        return found

    def step(self, inputs: Mapping[str, Array], gates: Mapping[str, float], noise: Mapping[str, Array],
             rows: Array | None = None) -> Values:
        """`rows` of the sample table that are shown; they stay as long as a presentation. Without them, each step is
        one."""
        self.rows = np.full(self.graph.batch, self.step_number) if rows is None else rows
        return super().step(inputs, gates, noise)

    # ---- increments that wait

    def _deliver(self, projection: Projection) -> None:
        form = self.forms.get(projection.name)
        self._catch_up_step(projection, form)
        if form is None:
            return super()._deliver(projection)
        shown, same = self.values[f"{projection.name}.held.rows"], self._holds(projection, "valid")
        if not (same and np.array_equal(shown, self.rows)):
            self._bring_up_to_date(projection, form)
            self._run(projection, form, form.turn)
            self.values[f"{projection.name}.held.rows"] = self.rows.copy()
        return self._run(projection, form, form.send)

    def _catch_up_step(self, projection: Projection, form: Form | None) -> None:
        """What the last step left waiting; a form also learns that a step has begun or ends."""
        waits, self.locals = projection.name in self.waiting, {}
        self.waiting.discard(projection.name)
        if form is None:
            return self._move(projection, True, True) if waits else None
        self._run(projection, form, form.deliver)
        return self._run(projection, form, form.learn) if waits else None

    def _bring_up_to_date(self, projection: Projection, form: Form) -> bool:
        behind = bool(form.catch_up) and self._holds(projection, "behind")
        if behind:
            self._run(projection, form, form.catch_up)
        return behind

    def flush(self, whole: bool = True) -> None:
        """Applies what waits. `whole`: matrices are brought up to date; else only their books, which changes no bit."""
        for projection in self.graph.projections:
            form = self.forms.get(projection.name)
            if form is None or form.learn:
                self._catch_up_step(projection, form)
            if form and whole and self._bring_up_to_date(projection, form):
                self.values[self._key(projection, "valid")] = np.zeros(())

    def value(self, quantity: str) -> Array:
        """Now, with what waits. Raises KeyError."""
        owner, _, name = quantity.partition(".")
        form = self.forms.get(owner)
        if form is None or quantity not in self.lagging:
            return self.values[quantity]
        projection = self.graph.projection(owner)
        self.locals = {}
        return held_forms.as_read(form, "w" if name == "w" else "held", self._look(projection, form, spread=True))

    # ---- learning

    def _increment(self, projection: Projection) -> None:
        form = self.forms.get(projection.name)
        if form is None:
            super()._increment(projection)
        elif form.p is not None and self._gate(projection.gate):
            self.values[self._key(projection, "p")] = self._factor(projection, form.p)
            self._run(projection, form, form.gather)

    def _factor(self, projection: Projection, p: Expression) -> Array:
        def now(name: str) -> Array:
            side, _, quantity = name.partition(".")
            return self.look(projection.post, quantity) if side == "post" else self.look(projection.name, name)

        value = evaluate(p, now, lambda name, depth: self._before(projection.post, name.partition(".")[2], depth))
        return np.broadcast_to(value, (self.graph.batch, self.graph.population(projection.post).size))

    def _apply(self, projection: Projection) -> None:
        form, learns = self.forms.get(projection.name), self._gate(projection.gate)
        if form and form.update:
            if learns if projection.apply is None else self._gate(projection.apply):
                self._run(projection, form, form.update)
                self._move(projection, False, True)
        elif projection.lowering in ("", LAZY):
            super()._apply(projection)
        elif learns:
            self.waiting.add(projection.name)

    # ---- lines

    @staticmethod
    def _key(q: Projection, name: str) -> str:
        return f"{q.name}.held.{name}"

    def _holds(self, q: Projection, scalar: str) -> bool:
        return bool(self.values[self._key(q, scalar)] > 0)

    def _matrix(self, q: Projection, name: str) -> str:
        rule = self.graph.rule_of(q)
        return "w" if name == "w" or rule is None else rule.optimiser.kind

    def _run(self, q: Projection, form: Form, lines: Lines) -> None:
        for line in lines:
            spread = line.target in MATRICES
            look = self._look(q, form, spread)
            if line.when is None or evaluate(line.when, look, no_history) > 0:
                value = self._sum(q, line, look) if line.sums else evaluate(line.value, look, no_history)
                self._give(q, line.target, look(line.target) + value if line.adds else value)

    def _sum(self, q: Projection, line: Line, look: Callable[[str], Array]) -> Array:
        if line.target in POST:
            matrix, vector = (leaf.name for leaf in leaves(line.value))
            return self._product(q, look(matrix), look(vector))
        value = evaluate(line.value, look, no_history)
        return self._masked(q, self._collect(q, value)) if line.target in MATRICES else sum_in_order(value, 1)[0]

    def _give(self, q: Projection, name: str, value: Array) -> None:
        if name in (*MATRICES, "current"):
            self.values[f"{q.name}.{name if name == 'current' else self._matrix(q, name)}"] = value
        elif name in (*SCALARS, *POST, *PRE):
            old = self.values[self._key(q, name)]
            self.values[self._key(q, name)] = np.broadcast_to(value, old.shape)
        else:
            self.locals[name] = value

    def _look(self, q: Projection, form: Form, spread: bool) -> Callable[[str], Array]:
        """Values of names; `spread`: those of one side at every synapse."""
        def look(name: str) -> Array:
            if name in self.locals:
                return self.locals[name]
            if name == "rate":
                assert form.rate is not None
                return evaluate(form.rate, lambda n: self.look(q.name, n), no_history)
            if name == "u":
                return self.values[f"{q.pre}.{form.u}"][:, :1]
            if name in MATRICES:
                return self.values[f"{q.name}.{self._matrix(q, name)}"]
            value = self.values[f"{q.pre}.{form.x}" if name == "given" else
                                f"{q.name}.current" if name == "current" else self._key(q, name)]
            side = "pre" if name in PRE else "post" if name in POST else ""
            return self._side(q, side, value) if side and spread else value

        return look


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
