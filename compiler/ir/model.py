"""What a circuit is: populations of cell types, joined by projections of synapse classes, with plasticity rules.

One step, n: (1) `send` equations from state, exogenous input and noise of n; (2) delivery with the weights left by
n-1; (3) `receive` equations; (4) `factor` equations; (5) all increments from un-incremented weights; (6) mirrors, in
declared order; (7) gated increments through the optimiser, then limits; (8) record.

Within a step every name is defined once. `prev(x)` needs a declared initial value (`state x = ...`), which is the
value "before the first step" at every depth.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.cells import INTEGRATORS as INTEGRATORS
from cortexc.compiler.ir.cells import STAGES as STAGES
from cortexc.compiler.ir.cells import STREAMS as STREAMS
from cortexc.compiler.ir.cells import CellType as CellType
from cortexc.compiler.ir.cells import Equation as Equation
from cortexc.compiler.ir.cells import Index
from cortexc.compiler.ir.cells import Parameter as Parameter
from cortexc.compiler.ir.cells import Port as Port
from cortexc.compiler.ir.cells import Stage as Stage
from cortexc.compiler.ir.cells import State as State
from cortexc.compiler.ir.distributions import Distribution as Distribution
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import WEIGHT_SUM, Expression, Name, reads
from cortexc.compiler.ir.kinds import KINDS, Kind
from cortexc.compiler.ir.maps import Convolution as Convolution
from cortexc.compiler.ir.optimisers import OPTIMISERS as OPTIMISERS
from cortexc.compiler.ir.optimisers import SUMMED as SUMMED
from cortexc.compiler.ir.optimisers import Traits
from cortexc.compiler.ir.places import Apart, Layout, Places
from cortexc.compiler.ir.wiring import Numbers, Wiring

Array = NDArray[Any]
"""Of any dtype."""
NOTHING: Array = np.zeros(0)
LAVA_DRAWS: dict[str, tuple[int, bool, int]] = {
    "lava_weights": (2, False, 1), "lava_pre_trace": (0, True, 2), "lava_post_trace": (2, True, 2)}
"""The generators of a stock LearningDense in fixed point: kind -> (number, whether the run's seed is added to it, draws
per step). Each is numpy's `default_rng(number)`, has drawn once before the first step, and the last draw of a step is
the one for all synapses or cells. Source: lava.magma.core.learning.random and .model.py.connection, lava-nc 0.10.0."""
DRAWS = ("uniform", "shared", *LAVA_DRAWS)
"""Random numbers of rules: one per synapse, one for all synapses of a projection, or those of Lava."""
GENERATORS = ("counter", "legacy", "recorded", "none")
LOWERINGS = ("fused", "hoisted", "lazy")
OPERATIONS = ("transpose", "negate", "truncate", "sign")
ARRAY_OPERATIONS = ("add", "times", "redraw")
ROLES = ("shared", "per_seed", "per_sample")
SIGNS = ("free", "non_negative", "non_positive")


@dataclass(frozen=True)
class Optimiser:
    """How an increment becomes a step of the weight; `arguments` are numbers or parameters of the rule."""

    kind: str = "none"
    arguments: tuple[Expression, ...] = ()

    @property
    def traits(self) -> Traits:
        return OPTIMISERS[self.kind]


@dataclass(frozen=True)
class PlasticityRule:
    """`increment` of one synapse per step, over `pre.x`, `post.x`, `w`, parameters and per-synapse `states`.

    `updates` give the new value of each per-synapse state (read as `name`; its last value as `prev(name)`); they run
    every step, whatever the gate. `noise` are numbers in [0, 1), drawn in every step: `uniform` one per synapse,
    `shared` one for all synapses of the projection, both multiples of 2**-24 (cortexc.compiler.backends.uniform);
    `LAVA_DRAWS` one for all synapses, with 53 bits. `deliver`, over `w`, the states and the parameters as the last step
    left them, is what a message is multiplied with on its way through the synapse. `units`: states and
    their units, where they are said.
    """

    name: str
    increment: Expression
    parameters: tuple[Parameter, ...] = ()
    states: tuple[State, ...] = ()
    updates: tuple[Equation, ...] = ()
    optimiser: Optimiser = Optimiser()
    noise: tuple[tuple[str, str], ...] = ()
    deliver: Expression = Name("w")
    units: tuple[tuple[str, str], ...] = ()

    @property
    def shapes(self) -> bool:
        """Whether something else than the weight is delivered."""
        return self.deliver != Name("w")

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The increment, then the updates."""
        return self.increment, *(u.expression for u in self.updates)

    @property
    def read(self) -> set[str]:
        """Every name that the increment and the updates read."""
        return set[str]().union(*map(reads, self.expressions))

    @property
    def sums_weights(self) -> bool:
        """Whether it reads `post.sum(w)`, of all synapses of a postsynaptic cell."""
        return WEIGHT_SUM in self.read

    @property
    def arrivals(self) -> set[str]:
        """What it reads of messages when they arrive, `arrived.x`."""
        return {name for name in self.read if name.startswith("arrived.")}

    @property
    def learnt(self) -> tuple[str, ...]:
        """What a projection keeps of it beside the weight: the optimiser's sum, and states."""
        return *{self.optimiser.kind} - {"none"}, *(s.name for s in self.states)


@dataclass(frozen=True)
class SynapseClass:
    """Which message goes into which port, how it is connected, and how it learns. `unit`: weights are multiples of it
    (0: any real number). `weight`: what they measure, such as pA, where it is said."""

    name: str
    message: str
    port: str
    connectivity: str = "dense"
    sign: str = "free"
    limits: tuple[float, float] = (-float("inf"), float("inf"))
    rule: str | None = None
    role: str = "shared"
    unit: float = 0.0
    weight: str = ""

    @property
    def kind(self) -> Kind:
        return KINDS[self.connectivity]

    @property
    def bounds(self) -> tuple[float, float]:
        """Limits of the weight with its sign constraint."""
        low, high = self.limits
        low = max(low, 0.0) if self.sign == "non_negative" else low
        return low, min(high, 0.0) if self.sign == "non_positive" else high


@dataclass(frozen=True)
class Population:
    """So many cells of one type. `group` (the process it lowers to) is set by passes."""

    name: str
    cell: str
    size: int
    area: str = ""
    parameters: tuple[tuple[str, float], ...] = ()
    group: str = ""
    drawn: tuple[tuple[str, Distribution], ...] = ()
    """Parameters and first values of states that differ from cell to cell; a bound array goes before them."""
    units: tuple[tuple[str, str], ...] = ()
    """Of these values, where they are said."""
    place: Layout | None = None


@dataclass(frozen=True)
class Projection:
    """One synapse class between two populations.

    `delay` counts steps: 1 (default) delivers a `send` message in the step in which it is sent; 0 is for messages that
    depend on this step's input (relays). `gate` and `apply` name protocol columns; the rule learns where `gate` > 0,
    and what its optimiser has summed becomes a step where `apply` > 0 (by default wherever it learns).
    `wiring` draws the synapses of a list, `weights` and `delays` their numbers. `units`: of parameters, where said.
    `blocks`: (sizes of the post areas, sizes of the pre areas, pairs (post, pre) that are connected).
    `group` (the process it lowers to) and `lowering` (one of `LOWERINGS`, or none) are set by passes.
    """

    name: str
    synapse: str
    pre: str
    post: str
    delay: int = 1
    gate: str | None = None
    apply: str | None = None
    parameters: tuple[tuple[str, float], ...] = ()
    blocks: tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]] | None = None
    convolution: Convolution | None = None
    group: str = ""
    lowering: str = ""
    wiring: Wiring | None = None
    weights: Numbers | None = None
    delays: Numbers | None = None
    units: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Mirror:
    """Weight transport: `target := f(source)` every step, f applied left to right. Non-local by construction.

    `operations`: `transpose`, `negate`, `truncate` (cut or zero-pad to the target's shape), `add:ARRAY`, `sign`
    (-1, 0 or 1), `times:ARRAY`, `redraw:ARRAY` (times the array and the magnitude of a normal number that is drawn per
    synapse whenever the mirror runs). With `after` the source is read after this step's update instead of before it;
    with a `gate` only where that is on. Between lists, synapse by synapse.
    """

    target: str
    source: str
    operations: tuple[str, ...]
    after: bool = False
    gate: str | None = None

    turned = property(lambda self: self.operations.count("transpose") % 2 == 1, doc="Whether rows become columns.")


@dataclass(frozen=True)
class Noise:
    """`kind` `counter` (Philox keyed by seed, population and step) or `legacy` (one shared generator per seed, drawn
    in `order` of populations every step in which `gate` > 0); `recorded` replays given draws."""

    kind: str = "counter"
    order: tuple[str, ...] = ()
    gate: str | None = None


@dataclass(frozen=True)
class Graph:
    """A circuit. Arrays are bound by name: `population.state`, `projection.w`, `projection.mask` ...

    Weight arrays are (n_post, n_pre), rows postsynaptic; of a list (synapses,), beside `projection.pre`, `.post` and
    perhaps `.delay`, in an order that is the user's; states (n,). A leading axis of length `seeds` (or `samples`
    for per-sample arrays) is allowed; without it the array is repeated. Tables are vectors, `table.<name>`.
    """

    name: str
    dt: float = 1.0
    gates: tuple[str, ...] = ()
    cells: tuple[CellType, ...] = ()
    rules: tuple[PlasticityRule, ...] = ()
    synapses: tuple[SynapseClass, ...] = ()
    populations: tuple[Population, ...] = ()
    projections: tuple[Projection, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    noise: Noise = Noise()
    outputs: tuple[tuple[str, str], ...] = ()
    seeds: int = 1
    samples: int = 1
    arrays: dict[str, Array] = field(default_factory=dict, compare=False)

    _cells, _rules = Index[CellType]("cells"), Index[PlasticityRule]("rules")
    _synapses, _populations = Index[SynapseClass]("synapses"), Index[Population]("populations")
    _projections = Index[Projection]("projections")

    def _repr_html_(self) -> str:
        """Its drawing, for notebooks, by what draws circuits: found by its name, since the IR knows nothing of it."""
        return str(import_module("cortexc.plots").circuit(self)._repr_html_())

    @property
    def batch(self) -> int:
        return self.seeds * self.samples

    def cell(self, name: str) -> CellType:
        return self._cells[name]

    def rule(self, name: str) -> PlasticityRule:
        return self._rules[name]

    def synapse(self, name: str) -> SynapseClass:
        return self._synapses[name]

    def population(self, name: str) -> Population:
        return self._populations[name]

    def projection(self, name: str) -> Projection:
        return self._projections[name]

    def cell_of(self, population: str) -> CellType:
        return self.cell(self.population(population).cell)

    def class_of(self, projection: str) -> SynapseClass:
        return self.synapse(self.projection(projection).synapse)

    def rule_of(self, projection: Projection) -> PlasticityRule | None:
        rule = self.synapse(projection.synapse).rule
        return None if rule is None else self.rule(rule)

    def into(self, population: str, port: str) -> tuple[Projection, ...]:
        """Projections that end in this port, in declaration order."""
        return tuple(p for p in self.projections if p.post == population and self.class_of(p.name).port == port)

    def with_(self, **changes: object) -> Graph:
        return replace(self, **changes)  # type: ignore[arg-type]


def cell_parameters(graph: Graph, population: Population) -> dict[str, float]:
    """Scalar parameters of an instance: defaults, then its own values; `dt` is the graph's step in ms."""
    table = {p.name: p.default for p in graph.cell(population.cell).parameters if p.default is not None}
    many = {name for name, _ in population.drawn}
    many |= {p.name for p in graph.cell(population.cell).parameters if f"{population.name}.{p.name}" in graph.arrays}
    return _with_formulas({"dt": graph.dt, **table, **dict(population.parameters)},
                          graph.cell(population.cell).parameters, many)


def rule_parameters(graph: Graph, projection: Projection) -> dict[str, float]:
    rule = graph.rule_of(projection)
    table = {p.name: p.default for p in rule.parameters if p.default is not None} if rule else {}
    return _with_formulas({"dt": graph.dt, **table, **dict(projection.parameters)}, rule.parameters if rule else ())


def _with_formulas(known: dict[str, float], parameters: tuple[Parameter, ...],
                   many: Set[str] = frozenset()) -> dict[str, float]:
    """With the values of formulas, where they read nothing that has `many` values."""
    for p in parameters:
        if p.formula is not None and reads(p.formula) <= known.keys() - many:
            known[p.name] = evaluate_scalar(p.formula, known)
    return known


def over_batch(graph: Graph, array: Array, rank: int) -> Array:
    """(1 or batch, ...) of an array of `rank` axes, or of one copy per seed or per element of the batch before them."""
    array = np.asarray(array, dtype=np.float64)
    if array.ndim == rank:
        return array[None]
    return np.repeat(array, graph.batch // len(array), axis=0)


def weight_copies(graph: Graph, projection: str) -> int:
    """Length of the leading axis of a projection's weights."""
    return {"shared": 1, "per_seed": graph.seeds, "per_sample": graph.batch}[graph.class_of(projection).role]


def wired(graph: Graph, projection: Projection) -> tuple[str, int, int, bool, Apart | None]:
    """What the drawing of synapses depends on besides their rule: the name, both sizes, whether cells are the same,
    and for rules by distance how far they are apart."""
    q, pre, post = projection, *(graph.population(name).size for name in (projection.pre, projection.post))
    return q.name, pre, post, q.pre == q.post, apart_of(graph, q.pre, q.post) if q.wiring and q.wiring.kernel else None


def places_of(graph: Graph, population: Population) -> Places | None:
    """Of a population whose layout has been checked; None where it says none."""
    if (layout := population.place) is None:
        return None
    bound = [np.asarray(graph.arrays[f"{population.name}.{axis}"], np.float64).tobytes() for axis in layout.arrays]
    return Places(layout, population.name, population.size, tuple(bound))


def apart_of(graph: Graph, pre: str, post: str) -> Apart | None:
    """Of two populations; None where one has no places."""
    both = [places_of(graph, graph.population(name)) for name in (pre, post)]
    return Apart(both[0], both[1]) if both[0] and both[1] else None


def copied_list(graph: Graph, projection: Projection) -> Projection | None:
    """Whose synapses a mirror's target has, that is a list and says no cells of its own."""
    def has_own(q: Projection) -> bool:
        return q.wiring is not None or f"{q.name}.pre" in graph.arrays

    sources = [graph.projection(m.source) for m in graph.mirrors if m.target == projection.name]
    own = sources and not has_own(projection) and has_own(sources[0]) and graph.class_of(sources[0].name).kind.listed
    return sources[0] if own else None


def weight_shape(graph: Graph, projection: Projection) -> tuple[int, ...]:
    """(n_post, n_pre), (synapses,) of a list, or that of a `Convolution`'s weights; () for the identity."""
    kind, c = graph.class_of(projection.name).kind, projection.convolution
    if c and kind.maps:
        own = c.post if kind.local else c.post[:1]
        return *own, c.pre[0], c.kernel, c.kernel
    if not kind.weighted:
        return ()
    if kind.listed:
        q = copied_list(graph, projection) or projection
        return ((drawing.count(q.wiring, *wired(graph, q)) if q.wiring else
                 graph.arrays.get(f"{q.name}.pre", NOTHING).size),)
    if kind.pairs:
        return (graph.population(projection.post).size,)
    return graph.population(projection.post).size, graph.population(projection.pre).size


def group_parts(group: str) -> list[tuple[str, int]]:
    """(process, number of cells) of every part of a group: `core_0:40+core_3:23` is two; one process has 0."""
    parts = [part.partition(":") for part in group.split("+")]
    return [(name, int(cells or 0)) for name, _, cells in parts]


def group_of(parts: list[tuple[str, int]]) -> str:
    """The group of these processes with so many cells each."""
    return parts[0][0] if len(parts) == 1 else "+".join(f"{name}:{cells}" for name, cells in parts)
