"""Draws the synapses of a `Wiring`, block by block: no matrix, and the same network on every backend and granularity.

Every block has a generator of its own, Philox keyed by the seed, the projection's name and what is drawn, its counter
by the number of the block.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cortexc.compiler.ir.distributions import DISTRIBUTIONS
from cortexc.compiler.ir.limits import DELAY
from cortexc.compiler.ir.places import Apart, Floats
from cortexc.compiler.ir.wiring import Numbers, Wiring

Integers = NDArray[np.int64]
CELLS = 256
"""Cells of a block of partners."""
VALUES = 1 << 16
"""Numbers of a block of weights or delays."""
TILE = 64
"""Cells of a tile of neighbours, whose least distance bounds what is drawn from it."""
PAIRS = 1 << 21
"""Pairs of cells, about, whose probabilities an expected number is worked out from."""


def generator(seed: int, projection: str, what: str, block: int) -> np.random.Generator:
    key = hashlib.sha256(f"{seed}/{projection}/{what}".encode()).digest()[:16]
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little"), counter=[0, 0, block, 0]))


def partners(wiring: Wiring, pre: int, post: int, recurrent: bool) -> int:
    """How many cells each cell may be joined to: of the other side, without itself where that is no partner."""
    side = pre if wiring.rule != "fixed_outdegree" else post
    return side - (recurrent and not wiring.autapses)


@lru_cache(maxsize=4096)
def count(wiring: Wiring, projection: str, pre: int, post: int, recurrent: bool, apart: Apart | None = None) -> int:
    """Synapses of a projection between so many cells."""
    if wiring.kernel:
        return sum(len(found) for _, _, found in _blocks(wiring, projection, pre, post, recurrent, apart))
    if wiring.rule == "probability":
        candidates = partners(wiring, pre, post, recurrent)
        return sum(int(degrees.sum()) for _, degrees in _binomial(wiring, projection, candidates, post))
    each = {"fixed_indegree": post, "fixed_outdegree": pre, "fixed_total": 1}[wiring.rule]
    return int(wiring.number) * each


@lru_cache(maxsize=4096)
def expected_count(wiring: Wiring, pre: int, post: int, recurrent: bool, apart: Apart | None = None) -> float:
    """The same without drawing anything: the mean; by distance, of many cells from some of the postsynaptic ones."""
    if wiring.kernel and apart:
        some = np.unique(np.linspace(0, post - 1, min(post, max(64, PAIRS // max(pre, 1)))).astype(int))
        parts = np.array_split(some[:, None], -(-len(some) * pre // VALUES) or 1)
        total = sum(float(probabilities(wiring, apart, np.arange(pre), part).sum()) for part in parts)
        own = wiring.number * post if recurrent and not wiring.autapses else 0.0
        return max(total * post / max(len(some), 1) - own, 0.0)
    if wiring.rule == "probability":
        return wiring.number * partners(wiring, pre, post, recurrent) * post
    return wiring.number * {"fixed_indegree": post, "fixed_outdegree": pre, "fixed_total": 1}[wiring.rule]


def probabilities(wiring: Wiring, apart: Apart, pre: Integers, post: Integers) -> Floats:
    """Of pairs of cells, whose indices numpy broadcasts; a cell and itself are a pair too."""
    assert wiring.kernel is not None
    return wiring.number * wiring.kernel.at(apart.between(pre, post))


def draw(wiring: Wiring, projection: str, pre: int, post: int, recurrent: bool,
         apart: Apart | None = None) -> tuple[Integers, NDArray[np.int32]]:
    """(where the synapses of each presynaptic cell begin (pre + 1,), targets), both in canonical order."""
    if wiring.rule == "fixed_outdegree":
        blocks = list(_blocks(wiring, projection, pre, post, recurrent))
        degrees = np.concatenate([d for _, d, _ in blocks] or [np.zeros(0, np.int64)])
        targets = np.concatenate([found for _, _, found in blocks] or [np.zeros(0, np.int32)])
        return np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64), targets
    return _by_source(list(_blocks(wiring, projection, pre, post, recurrent, apart)), pre)


def _by_source(blocks: list[tuple[int, Integers, NDArray[np.int32]]], pre: int) -> tuple[Integers, NDArray[np.int32]]:
    """From sources per target, in blocks, to targets per source: counted, then put in their places."""
    starts = np.zeros(pre + 1, np.int64)
    for _, _, sources in blocks:
        starts[1:] += np.bincount(sources, minlength=pre)
    starts = np.cumsum(starts)
    places, post = starts[:-1].copy(), np.empty(starts[-1], np.int32)
    for first, degrees, sources in blocks:
        targets = np.repeat(np.arange(first, first + len(degrees), dtype=np.int32), degrees)
        order = np.argsort(sources.astype(np.uint16) if pre <= 1 << 16 else sources, kind="stable")
        sources = sources[order]
        counts = np.bincount(sources, minlength=pre)
        within = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
        post[places[sources] + within] = targets[order]
        places += counts
    return starts, post


def _blocks(wiring: Wiring, projection: str, pre: int, post: int, recurrent: bool,
            apart: Apart | None = None) -> Iterator[tuple[int, Integers, NDArray[np.int32]]]:
    """(first cell, synapses of each, their partners cell by cell, rising) of every block of cells."""
    if wiring.kernel:
        yield from _near(wiring, projection, apart, recurrent) if apart and pre else ()
        return
    candidates, own = partners(wiring, pre, post, recurrent), recurrent and not wiring.autapses
    cells = pre if wiring.rule == "fixed_outdegree" else post
    for number, (first, degrees) in enumerate(_degrees(wiring, projection, candidates, cells)):
        source = generator(wiring.seed, projection, "partners", number)
        rows = np.repeat(np.arange(len(degrees)), degrees)
        keys = (_with_repeats if wiring.multapses else _without_repeats)(source, degrees, rows, candidates)
        found = keys % max(candidates, 1)
        if own:
            found += found >= first + rows
        yield first, degrees, found.astype(np.int32)


def _near(wiring: Wiring, projection: str, apart: Apart,
          recurrent: bool) -> Iterator[tuple[int, Integers, NDArray[np.int32]]]:
    """By distance: from each tile of sources, as many as its least distance allows for, any of them; of these, each is
    kept with its own probability over that. What is left is as if every pair had been drawn by itself."""
    assert wiring.kernel is not None
    tiles = apart.pre.tiles(TILE)
    most = max(map(len, tiles))
    members = np.stack([np.pad(tile, (0, most - len(tile)), constant_values=-1) for tile in tiles])
    low, high = (np.stack([end(apart.pre.cells[tile], axis=0) for tile in tiles]) for end in (np.min, np.max))
    for number, first in enumerate(range(0, apart.post.size, CELLS)):
        source, cells = generator(wiring.seed, projection, "near", number), apart.post.cells[first:first + CELLS]
        least = apart.length(np.abs(cells[:, None] - (low + high) / 2), (high - low) / 2) * (1 - 1e-8)
        rows, near = np.nonzero(bound := wiring.number * wiring.kernel.at(least))
        bound = bound[rows, near]
        keys = _without_repeats(source, source.binomial(most, bound), rows, most)
        pair, post = keys // most, first + rows[keys // most]
        pre = members[near[pair], keys % most]
        share = probabilities(wiring, apart, pre, post) / bound[pair]
        kept = (source.random(len(keys)) < share) & (pre >= 0)
        kept &= (pre != post) if recurrent and not wiring.autapses else True
        in_order = np.lexsort((pre[kept], post[kept]))
        yield first, np.bincount(post[kept] - first, minlength=len(cells)), pre[kept][in_order].astype(np.int32)


def _degrees(wiring: Wiring, projection: str, candidates: int, cells: int) -> Iterator[tuple[int, Integers]]:
    """(first cell, partners of each) of every block."""
    if wiring.rule == "probability":
        yield from _binomial(wiring, projection, candidates, cells)
        return
    every = _totals(wiring, projection, candidates, cells) if wiring.rule == "fixed_total" else None
    for first in range(0, cells, CELLS):
        size = min(CELLS, cells - first)
        yield first, np.full(size, int(wiring.number)) if every is None else every[first:first + size]


def _binomial(wiring: Wiring, projection: str, candidates: int, cells: int) -> Iterator[tuple[int, Integers]]:
    for number, first in enumerate(range(0, cells, CELLS)):
        source = generator(wiring.seed, projection, "degrees", number)
        yield first, source.binomial(candidates, wiring.number, min(CELLS, cells - first))


def _totals(wiring: Wiring, projection: str, candidates: int, cells: int) -> Integers:
    """A total, shared out: every synapse, or without repeats every set of so many pairs, is as likely."""
    source, total = generator(wiring.seed, projection, "degrees", 0), int(wiring.number)
    if wiring.multapses:
        return source.multinomial(total, np.full(cells, 1 / cells)) if cells else np.zeros(0, np.int64)
    pairs = _without_repeats(source, np.array([total]), np.zeros(total, np.int64), candidates * cells)
    return np.bincount(pairs // max(candidates, 1), minlength=cells)


def _with_repeats(source: np.random.Generator, degrees: Integers, rows: Integers, candidates: int) -> Integers:
    """`row * candidates + partner` of every synapse, rising."""
    return np.sort(rows * candidates + source.integers(0, max(candidates, 1), len(rows)))


def _without_repeats(source: np.random.Generator, degrees: Integers, rows: Integers, candidates: int) -> Integers:
    """The same, no two alike: partners that a row has already are drawn again; of more than half of all, those that a
    row does not have are drawn."""
    many = degrees > candidates // 2
    wanted = np.where(many, candidates - degrees, degrees)
    keys, missing = np.zeros(0, np.int64), wanted
    while missing.any():
        again = np.repeat(np.arange(len(wanted)), missing)
        keys = np.unique(np.concatenate([keys, again * candidates + source.integers(0, candidates, len(again))]))
        missing = wanted - np.bincount(keys // candidates, minlength=len(wanted))
    return _complemented(keys, many, candidates) if many.any() else keys


def _complemented(keys: Integers, many: NDArray[np.bool_], candidates: int) -> Integers:
    """For the rows that are `many`: all partners but those in `keys`."""
    left_out = many[keys // max(candidates, 1)]
    places = np.cumsum(many) - 1
    there = np.ones((int(many.sum()), candidates), bool)
    there[places[keys[left_out] // candidates], keys[left_out] % candidates] = False
    rows, found = np.nonzero(there)
    return np.sort(np.concatenate([keys[~left_out], np.flatnonzero(many)[rows] * candidates + found]))


# ---- numbers of synapses


def weights(drawn: Numbers, seed: int, projection: str, number: int,
            bounds: tuple[float, float]) -> NDArray[np.float64]:
    """In canonical order; what lies beyond the bounds of the synapse class is set to them."""
    found = np.empty(number)
    for part, values in _values(drawn, seed, projection, "w", number):
        np.clip(values, *bounds, out=found[part])
    return found


def delays(drawn: Numbers, seed: int, projection: str, number: int, dt: float,
           distances: Callable[[slice], Floats] | None = None) -> NDArray[np.int32]:
    """Steps, in canonical order: to the nearest step, at least 1, at most the language's limit. `distances`: of some of
    the synapses."""
    steps = np.empty(number, np.int32)
    for part, values in _values(drawn, seed, projection, "delay", number):
        values = values + distances(part) / drawn.velocity if distances else values
        values = values / dt if drawn.unit == "ms" else values
        steps[part] = np.clip(np.floor(values + 0.5), 1, DELAY)
    return steps


def most_steps(drawn: Numbers, dt: float, farthest: float = 0.0, limit: int = DELAY) -> int:
    """The greatest delay, without drawing: of what has no end, 5 deviations from the mean."""
    values = drawn.arguments
    ends = {"constant": values[0], "normal": values[0] + 5 * values[-1], "uniform": values[-1]}
    most = values[-1] if len(values) > 2 else ends.get(drawn.kind, math.exp(min(values[0] + 5 * values[-1], 700.0)))
    most += farthest / drawn.velocity if drawn.velocity else 0.0
    return max(1, min(limit, math.ceil(most / dt if drawn.unit == "ms" else most)))


def _values(drawn: Numbers, seed: int, projection: str, what: str,
            number: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    for block, first in enumerate(range(0, number, VALUES)):
        last = min(first + VALUES, number)
        yield slice(first, last), _block(drawn, generator(seed, projection, what, block), last - first)


def _block(drawn: Numbers, source: np.random.Generator, size: int) -> NDArray[np.float64]:
    if drawn.kind == "constant":
        return np.full(size, drawn.arguments[0])
    wanted, draw_from = DISTRIBUTIONS[drawn.kind]
    found = draw_from(source, size, drawn.arguments)
    low, high = drawn.arguments[-2:] if len(drawn.arguments) > len(wanted) else (-np.inf, np.inf)
    return np.clip(found, low, high)
