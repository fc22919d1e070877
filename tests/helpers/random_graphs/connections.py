"""Random projections: every connectivity, sign, role, delay and gate, with a rule or without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import product

from random_graphs.cells import Cell
from random_graphs.choices import Choices, Kinds, maybe
from random_graphs.expressions import GATES, WILD
from random_graphs.rules import delivered_line, product_text, rule_text, spiking_text

from cortexc.compiler.ir import Graph, parse_graph
from cortexc.compiler.ir.drawing import partners
from cortexc.compiler.ir.kinds import KINDS
from cortexc.compiler.ir.model import ROLES, SIGNS, Convolution, Population, Projection
from cortexc.compiler.ir.schedule import instantaneous
from cortexc.compiler.ir.wiring import RULES, Numbers, Wiring

LIMITS = ("", "", "limits -0.4 0.5", "limits -inf 0.25", "limits -0.5 0.5", "limits 0.125 inf")
"""The last one leaves nothing to weights that are not positive, nor to synapses that are left out."""
UNIT = 0.0625

MAPS = tuple(name for name, kind in KINDS.items() if kind.maps)


def with_projection(c: Choices, kinds: Kinds, graph: Graph, cells: dict[str, Cell], index: int) -> Graph:
    """The graph with one more projection, class and perhaps rule; unchanged where the ends do not fit."""
    receivers = [p for p in graph.populations if cells[p.name].ports]
    if not receivers:
        return graph
    pre, post = c.pick(graph.populations), c.pick(receivers)
    ahead = graph.populations.index(pre) < graph.populations.index(post)
    cell = graph.cell(pre.cell)
    message = c.pick(cell.messages)
    same_step = message in instantaneous(cell)
    if cell.relay and same_step and not ahead:
        return graph
    least = 0 if same_step and ahead else 1
    most = 1 if not same_step and cell.state(message) is None else 3
    delay = 0 if cell.relay and same_step else c.integer(least, most)
    if same_step and cell.state(message) is None and delay:
        return graph
    group = "own" if maybe(c, 12) else ""
    q = Projection(f"W{index}", f"k{index}", pre.name, post.name, delay, group=group)
    return _joined(c, kinds, graph, cells, q, message)


def _joined(c: Choices, kinds: Kinds, graph: Graph, cells: dict[str, Cell], q: Projection, message: str) -> Graph:
    pre, post = graph.population(q.pre), graph.population(q.post)
    kind, role = c.pick(_connectivities(kinds, pre, post)), c.pick(ROLES)
    lines = [f"message {message}", f"port {c.pick(cells[q.post].ports)}", f"connectivity {kind}", f"role {role}"]
    text = ""
    if kind != "identity" and not maybe(c, 3):
        text = _rule(c, kinds, graph, cells, q, kind, role)
        lines += [f"rule rule{q.name}"] if text else []
    if text:
        q = replace(q, gate=c.pick((None, *GATES)), apply=c.pick((None, None, *GATES)),
                    parameters=(("eta", float(c.pick(("0.1", "0.5", "0.02")))),))
    sign = c.pick(("free", *SIGNS))
    lines += [f"sign {sign}", *[x for x in [c.pick(LIMITS[:-1] if sign == "non_positive" or KINDS[kind].mask else LIMITS)] if x]]
    lines += [f"unit {UNIT}"] if maybe(c, 6) and not (text and kinds.words is WILD) else []
    q = replace(q, blocks=_blocks(c, post.size, pre.size)) if kind == "blocks" else q
    if KINDS[kind].maps:
        q = replace(q, convolution=c.pick(_between(kind, pre, post)))
    if KINDS[kind].listed and maybe(c):
        lines = [line for line in lines if not line.startswith("unit")]
        bounds = parse_graph("synapse k\n" + "".join(f"  {line}\n" for line in lines)).synapses[0].bounds
        q = _drawn(c, graph, q, message, *bounds)
    added = parse_graph(text + f"synapse {q.synapse}\n" + "".join(f"  {line}\n" for line in lines))
    return graph.with_(rules=(*graph.rules, *added.rules), synapses=(*graph.synapses, *added.synapses),
                       projections=(*graph.projections, q))


ANYWHERE = tuple(rule for rule in RULES if rule != "distance")
"""Rules for populations without places."""


def _drawn(c: Choices, graph: Graph, q: Projection, message: str, low: float, high: float) -> Projection:
    """With synapses by rule, and perhaps weights and delays."""
    pre, post = graph.population(q.pre).size, graph.population(q.post).size
    rule, autapses, multapses = c.pick(ANYWHERE), maybe(c), maybe(c)
    wiring = Wiring(rule, 0, c.integer(0, 3), autapses, multapses and rule != "probability")
    most = partners(wiring, pre, post, q.pre == q.post) * (post if rule == "fixed_total" else 1)
    number = c.pick((0.0, 0.25, 1.0)) if rule == "probability" else float(c.integer(0, max(most, 0)))
    weights = c.pick((None, Numbers("constant", (max(low, min(0.25, high)),)), Numbers("normal", (0.1, 0.5)),
                      Numbers("uniform", (-0.5, 0.5)), Numbers("lognormal", (-2.0, 0.5, 0.0, 0.4))))
    q = replace(q, wiring=replace(wiring, number=number), weights=weights)
    if graph.cell_of(q.pre).state(message) is None:
        return q
    return replace(q, delays=c.pick((None, Numbers("uniform", (1.0, 4.0)), Numbers("normal", (2.0, 2.0)),
                                     Numbers("normal", (2 * graph.dt, graph.dt), "ms"))))


def _connectivities(kinds: Kinds, pre: Population, post: Population) -> list[str]:
    """What can join these sizes."""
    alike = pre.size == post.size
    fits = {"one_to_one": alike, "identity": alike} | {
        kind: kinds.maps and bool(_between(kind, pre, post)) for kind in MAPS}
    return ["dense", "dense", "masked", "blocks", *(kind for kind in KINDS if fits.get(kind, True))]


def _rule(c: Choices, kinds: Kinds, graph: Graph, cells: dict[str, Cell], q: Projection, kind: str, role: str) -> str:
    """A rule's text; "" where none is lowered, unless what only the interpreter runs is wanted."""
    pre, post, name = cells[q.pre], cells[q.post], f"rule{q.name}"
    if kinds.rule:
        return kinds.rule(c, kinds, name, pre, post, False, False)
    maps = kind in MAPS
    if not kinds.refused and kind.startswith("transposed"):
        return ""
    if not kinds.refused and maps or maybe(c, 4):
        return product_text(c, kinds, name, pre, post)
    copies = {"shared": 1, "per_seed": graph.seeds, "per_sample": graph.batch}[role]
    lowered = copies == graph.batch and not maps or kinds.refused
    text = spiking_text(c, kinds, name, pre, post, lowered and maybe(c)) if maybe(c, 3) else \
        rule_text(c, kinds, name, pre, post, lowered and maybe(c, 3), lowered and maybe(c, 3))
    return text if maps or not maybe(c, 6) else text + delivered_line(c, text)


def _blocks(c: Choices, post: int, pre: int) -> tuple:
    cut, other = c.integer(0, post), c.integer(0, pre)
    rows, columns = (cut, post - cut), (other, pre - other)
    return rows, columns, tuple((i, j) for i in range(2) for j in range(2) if maybe(c))


# ---- feature maps


def _between(kind: str, pre: Population, post: Population) -> tuple[Convolution, ...]:
    back = kind.startswith("transposed")
    return _geometries(post.size if back else pre.size, pre.size if back else post.size)


@cache
def _geometries(lower: int, upper: int) -> tuple[Convolution, ...]:
    """Every small convolution from so many cells to so many others."""
    return tuple(found for maps in _maps(lower) for k, s, padding, pool in product((1, 2, 3), (1, 2), (0, 1), (1, 2))
                 if (found := _convolution(maps, upper, k, s, padding, pool)))


def _maps(cells: int) -> Iterator[tuple[int, int, int]]:
    """(channels, height, width)."""
    for channels in range(1, cells + 1):
        for height in range(1, cells // channels + 1):
            if cells % (channels * height) == 0:
                yield channels, height, cells // channels // height


def _convolution(maps: tuple[int, int, int], upper: int, k: int, s: int, padding: int, pool: int) -> Convolution | None:
    channels, height, width = maps
    if height % pool or width % pool or (padding >= k and k > 1):
        return None
    rows, columns = ((n // pool + 2 * padding - k) // s + 1 for n in (height, width))
    if rows < 1 or columns < 1 or upper % (rows * columns) or not upper:
        return None
    return Convolution(maps, (upper // (rows * columns), rows, columns), k, s, padding, pool)
