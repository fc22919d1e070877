"""Random circuits with their stimulus: every feature of the IR that has a lowering, in small.

`random_setup(choices)` asks `choices` for every decision, so that a property tester can shrink a failing circuit;
`RandomChoices(seed)` decides by a generator. Values stay finite: every equation is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol as Interface
from typing import TypeVar

import numpy as np

from compiler.ir import Graph, parse_graph, verify
from compiler.ir.model import Mirror, Noise, Population, Projection, weight_copies, weight_shape
from compiler.ir.protocol import Phase, Protocol
from compiler.ir.schedule import instantaneous
from compiler.passes.base import Request
from compiler.passes.fuse_update import can_defer
from compiler.verify.runs import Setup, input_columns, noise_columns

T = TypeVar("T")
GATES = ("ga", "gb")
NUMBERS = ("0.5", "1", "0.25", "2", "0.1", "3")


class Choices(Interface):
    """Where decisions come from; the first alternative is the simplest."""

    def integer(self, low: int, high: int) -> int: ...

    def pick(self, items: Sequence[T]) -> T: ...


class RandomChoices:
    """Decisions of a seeded generator."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high + 1))

    def pick(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]


def maybe(c: Choices, one_in: int = 2) -> bool:
    """False is the simpler answer."""
    return c.integer(0, one_in - 1) == one_in - 1


# ---- expressions

UNARY = ("tanh({a})", "-{a}", "logistic({a})", "relu({a})", "soft_relu(clip({a}, -4, 4))", "hard_sigmoid({a})",
         "exp(clip({a}, -3, 2))", "sin({a})", "cos(3 * {a})", "sharp_soft_relu(clip({a}, -4, 4))",
         "log(1.5 + abs({a}))", "sqrt(abs({a}))", "floor(4 * {a})", "d_tanh({a})", "d_sharp_soft_relu({a})",
         "d_logistic({a})", "d_relu({a})", "d_soft_relu({a})", "d_hard_sigmoid({a})", "d_linear({a})", "linear({a})",
         "clip({a}, -1, 1)", "saturate(8 * {a}, -8, 7)", "shift_right({a}, 2)", "shift_left({a}, 1)", "abs({a})")
BINARY = ("({a} + {b})", "({a} - {b})", "({a} * {b})", "({a} / (1.5 + abs({b})))", "min({a}, {b})", "max({a}, {b})",
          "where({a} > {b}, {a}, 0.5)", "({a} <= {b})", "({a} > 0 and {b} < 1)", "({a} > 0 or {b} >= 0.5)",
          "pow(0.5 + abs({a}), clip({b}, -2, 2))", "stochastic_round(4 * {a}, logistic({b}))", "({a} == {b})")
GATED = ("where(gate.ga > 0, {a}, {b})", "({a} + gate.gb * {b})")


def expression(c: Choices, leaves: Sequence[str], depth: int) -> str:
    """The text of an expression over the leaves."""
    kind = c.integer(0, 5) if depth else 0
    if kind <= 1:
        return c.pick([*leaves, *NUMBERS[:2]])
    if kind == 2:
        return c.pick(UNARY).format(a=expression(c, leaves, depth - 1))
    a, b = expression(c, leaves, depth - 1), expression(c, leaves, depth - 1)
    return c.pick(GATED if kind == 5 and maybe(c, 3) else BINARY).format(a=a, b=b)


# ---- cells


@dataclass
class Cell:
    """A cell under construction. `offered`: what rules may read now; `stored`: what may be read through prev()."""

    name: str
    lines: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"cell {self.name}\n" + "".join(f"  {line}\n" for line in self.lines)


def _past(c: Choices, states: Sequence[str]) -> list[str]:
    return [f"{'prev(' * d}{s}{')' * d}" for s in states for d in [c.integer(1, 3)]]


def source_cell(c: Choices, name: str) -> Cell:
    cell = Cell(name, offered=["rate", "x"], stored=["rate"])
    cell.lines = ["input x", f"state rate = {c.pick(NUMBERS)}", "send rate = x", "message rate"]
    return cell


def relay_cell(c: Choices, name: str) -> Cell:
    cell = Cell(name, ports=["a"], parameters=["p"], offered=["out"])
    cell.lines = ["port a", "parameter p 1", f"send out = tanh({expression(c, ['a', 'p'], 2)} + a)", "message out"]
    return cell


def spiking_cell(c: Choices, name: str) -> Cell:
    cell = Cell(name, ports=["a"], parameters=["p"], offered=["spike", "trace", "v"], stored=["spike", "trace", "v"])
    cell.lines = ["port a", "parameter p 1", "state v = 0.2", "state spike = 0", "state trace = 0",
                  "receive v = where(prev(spike) > 0, 0, prev(v) + 0.4 * (a - prev(v)) + 0.1)",
                  "receive spike = v >= 0.1 * p", "receive trace = 0.8 * prev(trace) + spike", "message spike"]
    if maybe(c):
        cell.lines[-1:] = ["message trace", "message spike"]
    return cell


def general_cell(c: Choices, name: str) -> Cell:
    """States `s0 ..`, sends `m0 ..`, receives `r0 ..` and factors `f0 ..` of random expressions."""
    cell = Cell(name, ports=["a", "b"][:c.integer(1, 2)], parameters=["p", "q"][:c.integer(0, 2)])
    inputs, draws = ["x"][:c.integer(0, 1)], ["z normal", "y uniform"][:c.integer(0, 2)]
    sends, receives = [f"m{i}" for i in range(c.integer(1, 2))], [f"r{i}" for i in range(c.integer(1, 3))]
    factors = [f"f{i}" for i in range(c.integer(0, 2))]
    cell.lines = [*(f"port {p}" for p in cell.ports), *(f"parameter {p} 1" for p in cell.parameters),
                  *(f"input {x}" for x in inputs), *(f"noise {z}" for z in draws)]
    cell.stored = [*sends, *receives, *(f for f in factors if maybe(c))]
    known = list(cell.parameters)
    for state in cell.stored:
        cell.lines.append(f"state {state} = tanh({c.pick(NUMBERS)} * {c.pick([*known, '0.3'])})")
        known.append(state)
    free = [*cell.parameters, *inputs, *(z.split()[0] for z in draws), "dt"]
    _equations(c, cell, "send", sends, free)
    _equations(c, cell, "receive", receives, [*free, *sends, *cell.ports])
    _equations(c, cell, "factor", factors, [*free, *sends, *cell.ports, *receives])
    cell.lines += [f"message {m}" for m in (*sends, *receives)]
    cell.offered = [*sends, *receives, *factors, *inputs]
    return cell


def _equations(c: Choices, cell: Cell, stage: str, names: Sequence[str], leaves: Sequence[str]) -> None:
    leaves = list(leaves)
    for name in names:
        body = expression(c, [*leaves, *_past(c, cell.stored)], 3)
        if name in cell.stored:
            cell.lines.append(f"{stage} {name} = 0.5 * prev({name}) + tanh({body})")
        else:
            cell.lines.append(f"{stage} {name} = tanh({body})")
        leaves.append(name)


CELLS = (general_cell, general_cell, spiking_cell, relay_cell, source_cell, relay_cell)


# ---- rules


def rule_text(c: Choices, name: str, pre: Cell, post: Cell, states: bool) -> str:
    """A rule over what both cells offer, per-synapse traces on demand."""
    now = [*(f"pre.{x}" for x in pre.offered), *(f"post.{x}" for x in post.offered), "w"]
    past = [f"prev({x})" for side, cell in (("pre", pre), ("post", post)) for x in (f"{side}.{s}" for s in cell.stored)]
    leaves = [*now, *past, "gate.ga", "eta"]
    lines = ["parameter eta 1"]
    if states:
        lines += ["state t = 0.1", f"update t = 0.7 * prev(t) + tanh({expression(c, [*leaves, 'prev(t)'], 2)})"]
        leaves += ["t", "prev(t)"]
    terms = [f"eta * tanh({expression(c, leaves, 2)}) * {c.pick(leaves)}" for _ in range(c.integer(1, 2))]
    lines.append("increment " + " - ".join(terms))
    if maybe(c):
        lines.append("optimiser low_pass(0.3 * eta)")
    return f"rule {name}\n" + "".join(f"  {line}\n" for line in lines)


# ---- circuits


def random_setup(c: Choices, steps: int = 12, fused: bool = True) -> Setup:
    """A verified circuit with arrays, a protocol of about `steps` steps, samples, seeds and draws."""
    cells = [c.pick(CELLS[:3] if i == 0 else CELLS)(c, f"c{i}") for i in range(c.integer(2, 4))]
    cells.append(source_cell(c, "source"))
    graph = parse_graph("graph random\n  dt 0.1\n" + "".join(f"  gate {g}\n" for g in GATES)
                        + "".join(cell.text for cell in cells))
    populations = _populations(c, cells)
    graph = graph.with_(populations=populations, seeds=c.integer(1, 2), samples=c.integer(1, 2))
    by_name = {p.name: next(cell for cell in cells if cell.name == p.cell) for p in populations}
    for index in range(c.integer(1, 9)):
        graph = _with_projection(c, graph, by_name, index)
    rng = np.random.default_rng(c.integer(0, 1000))
    graph = _with_noise(c, _with_mirrors(c, _with_arrays(c, graph, rng), rng))
    if fused:
        graph = graph.with_(projections=tuple(_lowered(c, graph, q) for q in graph.projections))
    verify(graph)
    return _stimulated(c, graph, steps, rng)


def _populations(c: Choices, cells: Sequence[Cell]) -> tuple[Population, ...]:
    found = [Population("n0", "source", c.integer(1, 3))]
    for i in range(1, 1 + c.integer(2, 6)):
        cell = c.pick(cells) if i > 1 else cells[0]
        values = tuple((p, float(c.pick(NUMBERS))) for p in cell.parameters)
        size = 0 if maybe(c, 15) else c.pick((2, 1, 3, 4, 9))
        found.append(Population(f"n{i}", cell.name, size, f"area{c.integer(0, 2)}", values))
    return tuple(found)


def _with_projection(c: Choices, graph: Graph, cells: dict[str, Cell], index: int) -> Graph:
    """The graph with one more projection, class and perhaps rule; unchanged where the ends do not fit."""
    receivers = [p for p in graph.populations if cells[p.name].ports]
    if not receivers:
        return graph
    pre, post = c.pick(graph.populations), c.pick(receivers)
    ahead = graph.populations.index(pre) < graph.populations.index(post)
    message = c.pick(graph.cell(pre.cell).messages)
    same_step = message in instantaneous(graph.cell(pre.cell))
    if graph.cell(pre.cell).relay and not ahead:
        return graph
    delay = 0 if graph.cell(pre.cell).relay else c.integer(0 if same_step and ahead else 1, 3)
    return _joined(c, graph, cells, Projection(f"W{index}", f"k{index}", pre.name, post.name, delay), message)


def _joined(c: Choices, graph: Graph, cells: dict[str, Cell], q: Projection, message: str) -> Graph:
    pre, post = graph.population(q.pre), graph.population(q.post)
    kinds = ["dense", "dense", "masked", "blocks"] + (["one_to_one", "identity"] if pre.size == post.size else [])
    kind, role = c.pick(kinds), c.pick(("shared", "per_seed", "per_sample"))
    lines = [f"message {message}", f"port {c.pick(cells[q.post].ports)}", f"connectivity {kind}", f"role {role}"]
    text = ""
    if kind != "identity" and maybe(c, 3) is False:
        repeats = graph.batch // {"shared": 1, "per_seed": graph.seeds, "per_sample": graph.batch}[role]
        text = rule_text(c, f"rule{q.name}", cells[q.pre], cells[q.post], repeats == 1 and maybe(c))
        lines += [f"rule rule{q.name}"]
        q = replace(q, gate=c.pick((None, *GATES)), parameters=(("eta", float(c.pick(("0.1", "0.5", "0.02")))),))
    lines += c.pick(([], [], ["limits -0.4 0.5"], ["sign non_negative"], ["sign non_positive"]))
    if kind == "blocks":
        q = replace(q, blocks=_blocks(c, post.size, pre.size))
    added = parse_graph(text + f"synapse {q.synapse}\n" + "".join(f"  {line}\n" for line in lines))
    return graph.with_(rules=(*graph.rules, *added.rules), synapses=(*graph.synapses, *added.synapses),
                       projections=(*graph.projections, q))


def _blocks(c: Choices, post: int, pre: int) -> tuple:
    cut, other = c.integer(0, post), c.integer(0, pre)
    rows, columns = (cut, post - cut), (other, pre - other)
    return rows, columns, tuple((i, j) for i in range(2) for j in range(2) if maybe(c))


def _with_arrays(c: Choices, graph: Graph, rng: np.random.Generator) -> Graph:
    arrays: dict[str, np.ndarray] = {}
    for q in graph.projections:
        shape, synapse = weight_shape(graph, q), graph.class_of(q.name)
        if not shape:
            continue
        full = (weight_copies(graph, q.name), *shape) if maybe(c) else shape
        low = {"non_negative": 0.0, "free": -0.4}.get(synapse.sign, -0.4)
        arrays[f"{q.name}.w"] = rng.uniform(low, 0.0 if synapse.sign == "non_positive" else 0.4, full)
        if synapse.connectivity == "masked":
            arrays[f"{q.name}.mask"] = (rng.uniform(size=shape) < 0.6).astype(float)
    for p in graph.populations:
        cell = graph.cell(p.cell)
        for name in (*(s.name for s in cell.states), *(x.name for x in cell.parameters)):
            if maybe(c, 4):
                shape = c.pick(((p.size,), (graph.seeds, p.size), (graph.batch, p.size)))
                arrays[f"{p.name}.{name}"] = rng.uniform(0.1, 1, shape)
    return graph.with_(arrays=arrays)


def _with_mirrors(c: Choices, graph: Graph, rng: np.random.Generator) -> Graph:
    """Perhaps one or two mirrors between projections that have matrices."""
    matrices = [q for q in graph.projections if graph.class_of(q.name).connectivity in ("dense", "masked", "blocks")]
    mirrors, arrays = [], dict(graph.arrays)
    for index in range(c.integer(0, 2) if len(matrices) > 1 else 0):
        source, target = c.pick(matrices), c.pick(matrices)
        copies = [weight_copies(graph, q.name) for q in (source, target)]
        if source.name == target.name or copies[0] not in (1, copies[1]):
            continue
        operations = ["transpose"] if maybe(c) else []
        operations += ["truncate"]
        if maybe(c):
            operations.append(f"add:extra{index}")
            arrays[f"extra{index}"] = rng.uniform(-0.1, 0.1, weight_shape(graph, target))
        if len(set(weight_shape(graph, target))) == 1 and maybe(c):
            operations.append("transpose")
        operations.insert(c.integer(0, len(operations)), "negate")
        mirrors.append(Mirror(target.name, source.name, tuple(operations)))
    return graph.with_(mirrors=tuple(mirrors), arrays=arrays)


def _with_noise(c: Choices, graph: Graph) -> Graph:
    noisy = [p.name for p in graph.populations if graph.cell(p.cell).noise]
    order = tuple(reversed(noisy)) if maybe(c) else ()
    kind = c.pick(("counter", "recorded", "legacy"))
    return graph.with_(noise=Noise(kind, order, c.pick((None, "gb"))))


def _lowered(c: Choices, graph: Graph, q: Projection) -> Projection:
    return replace(q, lowering="fused") if can_defer(graph, q, Request()) and maybe(c) else q


def _stimulated(c: Choices, graph: Graph, steps: int, rng: np.random.Generator) -> Setup:
    """Two phases of presentations, gates as random patterns, shuffled in the second one."""
    hold = c.integer(1, 3)
    count = max(steps // hold // 2, 1)
    patterns = [tuple((g, tuple(float(c.integer(0, 1)) for _ in range(c.integer(1, 3)))) for g in GATES)
                for _ in range(2)]
    first = tuple(c.integer(0, 2) for _ in range(graph.batch)) if maybe(c) else (0,)
    phases = (Phase("one", count, hold, first, gates=patterns[0]),
              Phase("two", count, hold, (1,), "shuffled" if maybe(c) else "", patterns[1]))
    protocol = Protocol(phases, ("one", "two", "one"))
    width = max((part.stop for _, part in input_columns(graph)), default=0)
    noise = noise_columns(graph)
    recorded = rng.normal(size=(protocol.total, noise[-1][1].stop)) if noise else None
    samples = rng.uniform(-1, 1, (count + 3, width))
    return Setup(graph, protocol, samples, tuple(range(5, 5 + graph.seeds)),
                 recorded if graph.noise.kind == "recorded" else None)
