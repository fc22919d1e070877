"""The interpreter: what a graph means, in plain numpy and `math`. Short, slow, never calls generated code.

Arrays carry a leading batch axis: states (batch, n), weights (seeds or 1 or batch, n_post, n_pre). Sums run left to
right over the presynaptic index, ports add projections in declaration order, functions are those of
`cortexc.compiler.ir.functions`, so the other backends can and do agree to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from cortexc.compiler.backends import feature_maps
from cortexc.compiler.backends.feeding import redrawn_name
from cortexc.compiler.backends.optimisers import step_of, sum_in_order
from cortexc.compiler.backends.start import Start, nothing_underway, send, step_on
from cortexc.compiler.backends.uniform import uniform
from cortexc.compiler.ir import model
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.evaluation import Values, evaluate, no_history
from cortexc.compiler.ir.expressions import WEIGHT_SUM, previous
from cortexc.compiler.ir.kinds import Kind
from cortexc.compiler.ir.model import Array, Graph, Projection
from cortexc.compiler.ir.schedule import Delivery, Segment, message_depth, schedule
from cortexc.compiler.ir.synapses import Synapses, places_copied


class Interpreter(Start):
    """Runs a graph step by step. `values` holds every quantity of the last step, by name:
    `population.quantity`, `projection.w`, `projection.current`, `projection.increment`, `projection.<optimiser>`.
    """

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.order, depths = schedule(graph), _depths(graph, self.synapses)
        self.message_depths = {q.name: message_depth(graph, q) for q in graph.projections}
        states = [f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states]
        self.history = {name: [self.values[name]] * depths.get(name, 0) for name in states}
        self.step_number = 0

    def _before(self, owner: str, name: str, depth: int) -> Array:
        return self.history[f"{owner}.{name}"][depth - 1]

    def step(self, inputs: Mapping[str, Array], gates: Mapping[str, float],
             noise: Mapping[str, Array]) -> Values:
        """One step. `inputs` and `noise` are keyed `population.name`, (batch, n) or (n,). Returns `values`."""
        self.values |= {f"gate.{g}": np.asarray(float(gates.get(g, 0.0))) for g in self.graph.gates}
        sizes = {p.name: p.size for p in self.graph.populations}
        for key, array in {**inputs, **noise}.items():
            owner = key.split(".")[0]
            if owner not in sizes:
                self.values[key] = array  # what projections draw
                continue
            self.values[key] = np.broadcast_to(array, (self.graph.batch, sizes[owner])).astype(np.float64)
        old = {name: self.values[name] for name in self.history}
        for name, past in self.history.items():
            self.history[name] = [old[name], *past][:len(past)]
        with np.errstate(all="ignore"):
            for operation in self.order:
                match operation:
                    case Segment(population, equations):
                        self._segment(population, equations)
                    case Delivery(projection):
                        self._deliver(self.graph.projection(projection))
            self._learn()
        self.step_number += 1
        return self.values

    def _segment(self, population: str, equations: tuple[str, ...]) -> None:
        size, cell = self.graph.population(population).size, self.graph.cell_of(population)
        for port in cell.ports:
            self._add_up(population, port.name)
        for name in equations:
            equation = cell.equation(name)
            assert equation is not None
            value = evaluate(equation.expression, lambda n: self.look(population, n),
                             lambda n, d: self._before(population, n, d))
            self.values[f"{population}.{name}"] = np.broadcast_to(value, (self.graph.batch, size)).astype(np.float64)

    def _add_up(self, population: str, port: str) -> None:
        currents = [self.values.get(f"{p.name}.current") for p in self.graph.into(population, port)]
        size = self.graph.population(population).size
        total = np.zeros((self.graph.batch, size)) if not currents or currents[0] is None else currents[0]
        for current in currents[1:]:
            total = total if current is None else total + current
        self.values[f"{population}.{port}"] = total

    def _message(self, projection: Projection) -> Array:
        message, depth = self.graph.class_of(projection.name).message, self.message_depths[projection.name]
        key = f"{projection.pre}.{message}"
        return self.values[key] if depth == 0 else self.history[key][depth - 1]

    def _deliver(self, projection: Projection) -> None:
        message, kind = self._message(projection), self.graph.class_of(projection.name).kind
        if not kind.weighted:
            self.values[f"{projection.name}.current"] = message
            return
        self.values[f"{projection.name}.current"] = self._product(projection, self.delivered(projection), message)

    def _product(self, projection: Projection, weights: Array, message: Array) -> Array:
        """A current."""
        w, kind = self._per_sample(weights), self.graph.class_of(projection.name).kind
        if kind.listed:
            return self._send(projection, w, message)
        if kind.pairs:
            return w * message
        if projection.convolution:
            way = feature_maps.transposed if kind.back else feature_maps.forward
            return way(projection.convolution, _as_taps(w), message)
        current = np.zeros((self.graph.batch, w.shape[1]))
        for j in range(w.shape[2]):
            current = current + w[:, :, j] * message[:, j:j + 1]
        return current

    def _send(self, projection: Projection, w: Array, message: Array) -> Array:
        """This step's current, after the messages of this step have left."""
        synapses, name = self.synapses[projection.name], f"{projection.name}.underway"
        underway = nothing_underway(synapses, self.graph.batch, self.graph.population(projection.post).size)
        if name in self.values:
            underway = self.values[name].reshape(underway.shape).copy()
        send(synapses, synapses.ordered(w), message, underway)
        if name in self.values:
            self.values[name] = step_on(underway).reshape(self.graph.batch, -1)
        return underway[:, 0]

    def _per_sample(self, w: Array) -> Array:
        """(batch, ...) from (1 | seeds | batch, ...)."""
        return np.repeat(w, self.graph.batch // len(w), axis=0)

    def _learn(self) -> None:
        """Increments from un-incremented weights, then mirrors, then gated steps, then limits."""
        plastic = [p for p in self.graph.projections if self.graph.rule_of(p)]
        for projection in plastic:
            self._increment(projection)
        for mirror in self.graph.mirrors:
            if not mirror.after and self._gate(mirror.gate):
                self._mirror(mirror)
        for projection in plastic:
            self._apply(projection)
        for mirror in self.graph.mirrors:
            if mirror.after and self._gate(mirror.gate):
                self._mirror(mirror)

    def _increment(self, projection: Projection) -> None:
        rule = self.graph.rule_of(projection)
        assert rule is not None
        now, before = self._synapse_scope(projection)
        self._draw(projection, rule)
        for state in rule.states:
            self.history[f"{projection.name}.{state.name}"] = [self.values[f"{projection.name}.{state.name}"]]
        for update in rule.updates:
            value = self._collect(projection, evaluate(update.expression, now, before))
            self.values[f"{projection.name}.{update.name}"] = value
        increment = self._collect(projection, evaluate(rule.increment, now, before))
        self.values[f"{projection.name}.increment"] = self._masked(projection, increment)

    def _masked(self, projection: Projection, increment: Array) -> Array:
        mask = connection_mask(self.graph, projection)
        return increment if mask is None else increment * mask

    def _draw(self, projection: Projection, rule: model.PlasticityRule) -> None:
        """This step's random numbers of a rule, from its keys (seeds, 2), or as they come where they are Lava's."""
        shape = model.weight_shape(self.graph, projection)
        for name, kind in rule.noise:
            low, high = (half.reshape(-1, *[1] * len(shape)) for half in self.values[
                f"{projection.name}.{name}.key"].T)
            index = self._numbers(projection.name, shape) if kind == "uniform" else np.zeros(shape)
            drawn = low if kind in model.LAVA_DRAWS else uniform(low, high, index)
            self.values[f"{projection.name}.{name}"] = np.broadcast_to(drawn, (len(low), *shape))

    def _numbers(self, projection: str, shape: tuple[int, ...]) -> Array:
        """Synapses, numbered through: those of a list in its canonical order."""
        numbers = np.arange(int(np.prod(shape)))
        return self.synapses[projection].given(numbers) if projection in self.synapses else numbers.reshape(shape)

    def _synapse_scope(self, projection: Projection) -> tuple[Callable[[str], Array], Callable[[str, int], Array]]:
        """Lookups for a rule: `pre.x` along the last axis, `post.x` along the one before it, weights as they are."""
        def side(name: str, values: Callable[[str, str], Array]) -> Array:
            end, quantity = name.split(".", 1)
            return self._side(projection, end, values(projection.pre if end == "pre" else projection.post, quantity))

        def now(name: str) -> Array:
            if name == WEIGHT_SUM:
                return side(name, lambda *_: self._weight_sum(projection))
            if name.startswith(("pre.", "post.")):
                return side(name, self.look)
            if name.startswith("arrived."):
                return self._arrived(projection, name, 0)
            if name not in self.parameters[projection.name] and f"{projection.name}.{name}" in self.values:
                return self._synaptic(projection, self.values[f"{projection.name}.{name}"])
            return self.look(projection.name, name)

        def before(name: str, depth: int) -> Array:
            if name.startswith(("pre.", "post.")):
                return side(name, lambda owner, quantity: self._before(owner, quantity, depth))
            if name.startswith("arrived."):
                return self._arrived(projection, name, depth)
            return self._synaptic(projection, self._before(projection.name, name, depth))

        return now, before

    def _arrived(self, projection: Projection, name: str, earlier: int) -> Array:
        """What the presynaptic cell had when the message that arrives at a synapse in this step, or some steps earlier,
        was computed."""
        key, age = f"{projection.pre}.{name.split('.', 1)[1]}", self.message_depths[projection.name] + earlier
        past = [self.values[key] if key in self.values else self.look(*key.split(".")), *self.history.get(key, ())]
        synapses = self.synapses.get(projection.name)
        if synapses is None or synapses.delay is None:
            return self._side(projection, "pre", past[age])
        return synapses.given(np.stack(past)[age + synapses.late, :, synapses.pre].T)

    def _weight_sum(self, projection: Projection) -> Array:
        """(batch, n_post): the weights of every postsynaptic cell, from the first presynaptic cell to the last."""
        w, kind = self._per_sample(self.values[f"{projection.name}.w"]), self.graph.class_of(projection.name).kind
        if kind.pairs:
            return w
        total = np.zeros((self.graph.batch, self.graph.population(projection.post).size))
        if kind.listed:
            synapses = self.synapses[projection.name]
            for own, weights in zip(total, synapses.ordered(w), strict=True):
                np.add.at(own, synapses.post, weights)
            return total
        for j in range(w.shape[2]):
            total = total + w[:, :, j]
        return total

    def _side(self, projection: Projection, end: str, array: Array) -> Array:
        """What one side has, at every synapse."""
        kind = self.graph.class_of(projection.name).kind
        if kind.pairs:
            return array
        if kind.listed:
            synapses = self.synapses[projection.name]
            return array[:, synapses.given(synapses.pre if end == "pre" else synapses.post)]
        if projection.convolution:
            return self._map_side(projection.convolution, kind, end, array)
        return array[:, None, :] if end == "pre" else array[:, :, None]

    @staticmethod
    def _map_side(c: model.Convolution, kind: Kind, end: str, array: Array) -> Array:
        """One side of a rule between maps: (batch, positions, channels, taps), `local` (batch, channels, positions,
        taps), with length 1 where the side has no such axis. The presynaptic maps of a transposed one are the upper."""
        lower = (end == "pre") != kind.back
        if kind.local:
            return feature_maps.patches(c, array)[:, None] if lower else \
                array.reshape(len(array), *c.post[:1], c.positions, 1)
        return feature_maps.patches(c, array)[:, :, None] if lower else feature_maps.positions(c, array)[..., None]

    def _synaptic(self, projection: Projection, array: Array) -> Array:
        """A per-synapse array as the rule sees it: (batch, post, pre), or as in `_map_side`."""
        array, kind = self._per_sample(array), self.graph.class_of(projection.name).kind
        if projection.convolution is None:
            return array
        return _as_taps(array) if kind.local else _as_taps(array)[:, None]

    def _collect(self, projection: Projection, value: Array) -> Array:
        """The increment per copy of the weight: positions, then samples, added in index order."""
        shape = model.weight_shape(self.graph, projection)
        c = projection.convolution
        if c and self.graph.class_of(projection.name).kind.local:
            value = np.broadcast_to(value, (self.graph.batch, c.post[0], c.positions, c.taps))
            value = value.reshape(self.graph.batch, *shape)
        elif c:
            value = np.broadcast_to(value, (self.graph.batch, c.positions, c.post[0], c.taps))
            value = sum_in_order(value, 1).reshape(self.graph.batch, *shape)
        value = np.broadcast_to(value, (self.graph.batch, *shape))
        copies = len(self.values[f"{projection.name}.w"])
        return sum_in_order(value.reshape(copies, self.graph.batch // copies, *shape), 1)

    def _mirror(self, mirror: model.Mirror) -> None:
        w = self.values[f"{mirror.source}.w"]
        target = self.values[f"{mirror.target}.w"]
        listed = mirror.target in self.synapses
        if listed:
            w = w[:, places_copied(mirror, self.synapses[mirror.source], self.synapses[mirror.target])]
        for operation in mirror.operations:
            if operation == "transpose":
                w = w if listed else w.swapaxes(1, 2)
            elif operation == "negate":
                w = -w
            elif operation == "truncate":
                cut = np.zeros((len(w), *target.shape[1:]))
                rows, columns = np.minimum(w.shape[1:], target.shape[1:])
                cut[:, :rows, :columns] = w[:, :rows, :columns]
                w = cut
            elif operation == "sign":
                w = np.where(w > 0, 1.0, np.where(w < 0, -1.0, 0.0))
            elif operation.startswith("times:"):
                w = w * self.graph.arrays[operation[6:]]
            elif operation.startswith("redraw:"):
                drawn = self.values[redrawn_name(self.graph, mirror)].reshape(len(target), *target.shape[1:])
                w = w * (self.graph.arrays[operation[7:]] * np.abs(drawn))
            else:
                w = w + self.graph.arrays[operation[4:]]
        self.values[f"{mirror.target}.w"] = np.ascontiguousarray(np.broadcast_to(w, target.shape))

    def _gate(self, name: str | None) -> bool:
        return name is None or bool(self.values[f"gate.{name}"] > 0)

    def _apply(self, projection: Projection) -> None:
        """The step of one projection where its gates are on."""
        learns = self._gate(projection.gate)
        self._move(projection, learns, learns if projection.apply is None else self._gate(projection.apply))

    def _move(self, projection: Projection, learns: bool, applies: bool) -> None:
        rule, name = self.graph.rule_of(projection), projection.name
        assert rule is not None
        if not learns and not (rule.optimiser.traits.sums and applies):
            return
        increment, w = self.values[f"{name}.increment"], self.values[f"{name}.w"]
        arguments = [evaluate(a, lambda n: self.look(name, n), no_history) for a in rule.optimiser.arguments]
        increment = increment if learns else np.zeros_like(increment)
        step = step_of(rule.optimiser.kind, self, name, increment, arguments, applies)
        if step is None:
            return
        low, high = self.graph.class_of(name).bounds
        w = w + step
        w = np.where(w < low, low, w)
        self.values[f"{name}.w"] = np.where(w > high, high, w)


def _as_taps(w: Array) -> Array:
    """Weights between maps with one axis over the taps."""
    return w.reshape(len(w), w.shape[1], -1) if w.ndim == 5 else w.reshape(
        len(w), w.shape[1], w.shape[2] * w.shape[3], -1)


def _depths(graph: Graph, synapses: Mapping[str, Synapses]) -> dict[str, int]:
    """`population.quantity` -> how many past values are read, by the cell, a projection or a rule."""
    depths: dict[str, int] = {}

    def note(key: str, depth: int) -> None:
        depths[key] = max(depth, depths.get(key, 0))

    for population in graph.populations:
        for equation in graph.cell(population.cell).equations:
            for name, depth in previous(equation.expression).items():
                note(f"{population.name}.{name}", depth)
    for projection in graph.projections:
        note(f"{projection.pre}.{graph.class_of(projection.name).message}", message_depth(graph, projection))
        rule, age = graph.rule_of(projection), message_depth(graph, projection)
        age += synapses[projection.name].slots - 1 if projection.name in synapses else 0
        for expression in (rule.increment, *(u.expression for u in rule.updates)) if rule else ():
            for name, depth in previous(expression).items():
                side, _, quantity = name.partition(".")
                if quantity:
                    note(f"{projection.post if side == 'post' else projection.pre}.{quantity}",
                         depth + (age if side == "arrived" else 0))
        for name in rule.arrivals if rule else ():
            note(f"{projection.pre}.{name.split('.', 1)[1]}", age)
    return depths

