"""The synapses of a `sparse` projection: what is a valid list of them, and the one order in which all backends add."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cortexc.compiler.ir import drawing
from cortexc.compiler.ir.errors import CortexError, check_type
from cortexc.compiler.ir.language import Problems
from cortexc.compiler.ir.limits import DELAY, SIZE
from cortexc.compiler.ir.model import (
    Array,
    Graph,
    Mirror,
    Projection,
    apart_of,
    copied_list,
    weight_shape,
    wired,
)

LISTS = ("pre", "post", "delay")
"""What a list of synapses has beside weights: cells, and perhaps the steps that a message takes."""
OWN = frozenset({*LISTS, "underway", "cursor", "wild"})
"""Names that no state or draw of a rule of such a projection has."""


@dataclass(frozen=True)
class Synapses:
    """In canonical order: by presynaptic, then postsynaptic cell; between two cells as they were given.

    `starts` (n_pre + 1,): where the synapses of each presynaptic cell begin; `post` and `delay` (steps, None where all
    have the projection's) are int32, one per synapse. `order`: which of the user's synapses stands at each place, None
    where they are in this order already. `targets`: postsynaptic cells.
    """

    starts: NDArray[np.int64]
    post: NDArray[np.int32]
    delay: NDArray[np.int32] | None = None
    order: NDArray[np.int64] | None = None
    targets: int = 0

    @cached_property
    def pre(self) -> NDArray[np.int32]:
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))

    def cells(self, side: str) -> NDArray[np.int32]:
        """The `pre`- or `post`synaptic cell of every synapse."""
        return self.pre if side == "pre" else self.post

    @cached_property
    def column_places(self) -> NDArray[np.int32]:
        """The synapses by postsynaptic cell, then in canonical order."""
        return np.argsort(self.post, kind="stable").astype(np.int32)

    @property
    def column_pre(self) -> NDArray[np.int32]:
        return self.pre[self.column_places]

    @property
    def column_starts(self) -> NDArray[np.int64]:
        """Where the synapses of each postsynaptic cell begin among them (n_post + 1,)."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.post, minlength=self.targets))])

    def turned(self, targets: int) -> Synapses:
        """From every postsynaptic cell back to the presynaptic one, in the user's order still."""
        places = self.column_places
        order = places.astype(np.int64) if self.order is None else self.order[places]
        return Synapses(self.column_starts, self.pre[places], None, order, targets)

    @property
    def late(self) -> NDArray[np.int32]:
        """By how many steps more than 1 the messages of every synapse arrive."""
        return np.zeros_like(self.post) if self.delay is None else self.delay - np.int32(1)

    @property
    def place(self) -> NDArray[np.int32]:
        """Where every synapse adds to a ring of currents, seen from this step's: `late` * targets + `post`."""
        found: NDArray[np.int32] = self.late * np.int32(self.targets) + self.post
        return found

    def length(self, key: str) -> int:
        """Of `starts`, `column_starts`, or what has a number per synapse."""
        return {"starts": len(self.starts), "column_starts": self.targets + 1}.get(key, len(self.post))

    @property
    def slots(self) -> int:
        """How many steps of currents are under way: the greatest delay, at least 1."""
        return 1 if self.delay is None else int(self.delay.max(initial=1))

    def ordered(self, values: Array) -> Array:
        """(..., synapses) as the user has them -> in canonical order."""
        return values if self.order is None else values[..., self.order]

    def given(self, values: Array) -> Array:
        """(..., synapses) in canonical order -> as the user has them."""
        if self.order is None:
            return values
        result = np.empty_like(values)
        result[..., self.order] = values
        return result


def synapses_of(graph: Graph, projection: Projection) -> Synapses:
    """Of a verified graph; drawn where the projection has a rule."""
    targets = graph.population(projection.post).size
    if source := copied_list(graph, projection):
        own, turned = synapses_of(graph, source), next(m for m in graph.mirrors if m.target == projection.name).turned
        return _with_delays(graph, projection, own.turned(targets) if turned else replace(own, delay=None))
    if projection.wiring:
        starts, post = drawing.draw(projection.wiring, *wired(graph, projection))
        return _with_delays(graph, projection, Synapses(starts, post, targets=targets))
    arrays = {key: graph.arrays[f"{projection.name}.{key}"] for key in ("pre", "post")}
    order = _order(arrays["pre"], arrays["post"])
    pre, post = (a if order is None else a[order] for a in (arrays["pre"], arrays["post"]))
    starts = np.searchsorted(pre, np.arange(graph.population(projection.pre).size + 1))
    return _with_delays(graph, projection, Synapses(starts, post.astype(np.int32), None, order, targets))


def _with_delays(graph: Graph, q: Projection, found: Synapses) -> Synapses:
    bound = graph.arrays.get(f"{q.name}.delay")
    if bound is not None:
        return replace(found, delay=found.ordered(bound).astype(np.int32))
    if q.delays is None:
        return found
    apart = apart_of(graph, q.pre, q.post) if q.delays.velocity else None
    distances = (lambda part: apart.between(found.pre[part], found.post[part])) if apart else None
    return replace(found, delay=drawing.delays(q.delays, _seed(q), q.name, len(found.post), graph.dt, distances))


def places_copied(mirror: Mirror, source: Synapses, target: Synapses) -> NDArray[np.int64]:
    """Which of the source's synapses each of the target's has its weight from, both as the user has them."""
    places = source.column_places if mirror.turned else np.arange(len(source.post))
    return np.asarray(target.given(places if source.order is None else source.order[places]), np.int64)


def lists_agree(graph: Graph, mirror: Mirror) -> bool:
    """Whether a mirror's target has a synapse for each of its source's, between the same cells."""
    source, target = (synapses_of(graph, graph.projection(name)) for name in (mirror.source, mirror.target))
    ends = (source.pre, source.post)
    pre, post = (end[source.column_places] for end in ends[::-1]) if mirror.turned else ends
    return np.array_equal(pre, target.pre) and np.array_equal(post, target.post)


def drawn_weights(graph: Graph, q: Projection, synapses: Synapses) -> Array | None:
    """As the user has the synapses; None where the projection says no distribution."""
    if q.weights is None:
        return None
    bounds = graph.class_of(q.name).bounds
    return synapses.given(drawing.weights(q.weights, _seed(q), q.name, len(synapses.post), bounds))


def drawn_matrices(graph: Graph) -> dict[str, Array]:
    """Weights that are drawn and are no list, by the names of their arrays."""
    found: dict[str, Array] = {}
    for q in graph.projections:
        name, synapse = f"{q.name}.w", graph.class_of(q.name)
        if q.weights and not synapse.kind.listed and name not in graph.arrays:
            shape = weight_shape(graph, q)
            found[name] = drawing.weights(q.weights, _seed(q), q.name, math.prod(shape), synapse.bounds).reshape(shape)
    return found


def with_drawn(graph: Graph) -> Graph:
    """The graph with arrays in the place of everything that its projections would draw."""
    check_type("with_drawn", graph, Graph, "a Graph")
    arrays = drawn_matrices(graph) | graph.arrays
    for q in graph.projections:
        listed = graph.class_of(q.name).kind.listed
        found = synapses_of(graph, q) if listed and (q.wiring or q.weights or q.delays) else None
        if found is None:
            continue
        arrays |= {f"{q.name}.pre": found.given(found.pre), f"{q.name}.post": found.given(found.post)}
        drawn = {"delay": None if found.delay is None else found.given(found.delay),
                 "w": drawn_weights(graph, q, found)}
        arrays = {f"{q.name}.{key}": array for key, array in drawn.items() if array is not None} | arrays
    return graph.with_(arrays=arrays, projections=tuple(
        replace(q, wiring=None, weights=None, delays=None) for q in graph.projections))


def _seed(q: Projection) -> int:
    return q.wiring.seed if q.wiring else 0


def _order(pre: Array, post: Array) -> NDArray[np.int64] | None:
    """The stable order by presynaptic, then postsynaptic cell; None for lists that have it."""
    ahead = (pre[1:] > pre[:-1]) | ((pre[1:] == pre[:-1]) & (post[1:] >= post[:-1]))
    return None if ahead.all() else np.lexsort((post, pre))


def lists_fit(graph: Graph) -> Problems:
    """Cells that are there, and delays within the limits."""
    for q in graph.projections:
        if not graph.class_of(q.name).kind.listed:
            continue
        sizes = {"pre": graph.population(q.pre).size, "post": graph.population(q.post).size}
        for key, size in sizes.items():
            yield from _whole(graph, q, key, 0, size - 1, "E257", f"population '{getattr(q, key)}' has {size} cells",
                              "Cells are whole numbers, counted from 0.")
        yield from _whole(graph, q, "delay", 1, DELAY, "E258", f"a delay is a whole number of steps, 1 to {DELAY}",
                          "Give steps of dt, not ms.")
        yield from _names(graph, q)


def _whole(graph: Graph, q: Projection, key: str, low: int, high: int, code: str, limit: str, hint: str) -> Problems:
    array = graph.arrays.get(f"{q.name}.{key}")
    if array is None or not array.size:
        return
    wrong = ~((array >= low) & (array <= high))
    wrong |= (array != np.floor(array)) if array.dtype.kind == "f" else False
    if wrong.any():
        at = int(np.argmax(wrong.reshape(-1)))
        yield CortexError(code, f"array '{q.name}.{key}' holds {array.reshape(-1)[at]} at index {at}; {limit}.", hint)


def _names(graph: Graph, q: Projection) -> Problems:
    rule = graph.rule_of(q)
    named = [*(s.name for s in rule.states), *(name for name, _ in rule.noise)] if rule else []
    for name in sorted(OWN.intersection(named)):
        yield CortexError("E212", f"'{name}' is defined twice: rule '{graph.class_of(q.name).rule}' has it, and so has "
                                  f"projection '{q.name}', which is sparse.", "Rename it.")


def list_problems(graph: Graph, q: Projection) -> Iterator[CortexError]:
    """What is missing, and lists that are too long for indices of 32 bits."""
    for key in () if q.wiring or copied_list(graph, q) else ("pre", "post"):
        if f"{q.name}.{key}" not in graph.arrays:
            yield CortexError("E243", f"projection '{q.name}' is sparse: array '{q.name}.{key}' is missing.",
                              "Bind the cell of every synapse.")
    count = graph.arrays[f"{q.name}.pre"].size if f"{q.name}.pre" in graph.arrays else 0
    if count > SIZE:
        yield CortexError("E236", f"projection '{q.name}' has {count} synapses; the limit is {SIZE}.",
                          "Cut it into several projections.")


def most_delay(graph: Graph, q: Projection) -> int:
    """Of its synapses, in steps; of normal ones to 5 deviations from the mean. 1 where they have none of their own."""
    if not graph.class_of(q.name).kind.listed:
        return 1
    bound = graph.arrays.get(f"{q.name}.delay")
    if bound is not None:
        return int(bound.max(initial=1)) if np.isfinite(bound).all() else 1  # what is not finite is said elsewhere
    return 1 if q.delays is None else drawing.most_steps(q.delays, graph.dt, farthest(graph, q))


def farthest(graph: Graph, q: Projection) -> float:
    """Between two cells that may have a synapse; 0 where populations have no places."""
    apart, kernel = apart_of(graph, q.pre, q.post), q.wiring.kernel if q.wiring else None
    return min(apart.longest, kernel.reach if kernel else math.inf) if apart else 0.0
