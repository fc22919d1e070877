"""What every start is made of: ranges by name, and one draw per seed.

A start is called as `start(circuit, seeds, ranges)` and returns the arrays of one seed, or those of several with a
leading axis; `without_ranges` and `ranged` make one from what draws the arrays of one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, unknown

Range = tuple[float, float]
Arrays = dict[str, np.ndarray]
Limits = Mapping[str, Range]
Seeds = int | Sequence[int]
Start = Callable[..., Arrays]


def without_ranges(name: str) -> Callable[[Callable[[Any, int], Arrays]], Start]:
    """Of what draws the arrays of a circuit and a seed. The start raises E316 for `ranges`, which it does not take."""
    def made(draw: Callable[[Any, int], Arrays]) -> Start:
        @wraps(draw)
        def start(circuit: Any, seeds: Seeds, ranges: Limits | None = None) -> Arrays:
            if ranges:
                raise CortexError("E316", f"start '{name}' takes no ranges, got {', '.join(ranges)}.")
            return stacked(seeds, lambda seed: draw(circuit, seed))

        return start

    return made


def ranged(default: Limits) -> Callable[[Callable[[Any, int, Limits], Arrays]], Start]:
    """Of what draws from ranges, `default` where none is given. The start raises E304, E305."""
    def made(draw: Callable[[Any, int, Limits], Arrays]) -> Start:
        @wraps(draw)
        def start(circuit: Any, seeds: Seeds, ranges: Limits | None = None) -> Arrays:
            limits = bounds(ranges or {}, default)
            return stacked(seeds, lambda seed: draw(circuit, seed, limits))

        return start

    return made


@without_ranges("zero")
def drawn_by_rule(_circuit: object, _seed: int) -> Arrays:
    """The start of circuits whose text says how everything is drawn."""
    return {}


def bounds(given: Limits, default: Limits) -> dict[str, Range]:
    """The default ranges with the given ones. Raises E304 for an unknown name, E305 for what is no range."""
    for name, (low, high) in given.items():
        if name not in default:
            raise unknown("E304", "weight in the start ranges", name, default)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise CortexError("E305", f"the start range of '{name}' is [{low}, {high}].",
                              "Give two finite numbers, the lower one first.")
    low, high = given.get("copy_error", (0.0, 0.0))
    if low != -high:
        raise CortexError("E305", f"the start range of 'copy_error' is [{low}, {high}]; it must be symmetric.")
    return {**default, **given}


def generator_of(seed: int) -> np.random.RandomState:
    """The legacy one, with which the papers' simulators draw."""
    return np.random.RandomState(seed % 2**32)


def numbered_generator(seed: int, number: int) -> np.random.Generator:
    """One of the independent generators of a seed."""
    return np.random.Generator(np.random.Philox(key=np.array([seed % 2**64, number], np.uint64)))


def potentials(seed: int, *kinds: tuple[str, Sequence[int]]) -> Arrays:
    """N(0, 1), population after population."""
    generator = generator_of(seed)
    return {f"{kind}{i}.u": generator.normal(0, 1, n) for kind, sizes in kinds for i, n in enumerate(sizes)}


def drawn(generator: np.random.RandomState, limits: Limits, kind: str, shapes: Iterable[tuple[int, int]]) -> Arrays:
    """Uniform weights, one projection of a kind after the other."""
    return {f"{kind}_{i}.w": generator.uniform(*limits[kind], shape) for i, shape in enumerate(shapes)}


def stacked(seed: Seeds, draw: Callable[[int], Arrays]) -> Arrays:
    """The arrays of one seed, or those of several with a leading axis."""
    if isinstance(seed, (int, np.integer)):
        return draw(int(seed))
    drawn = [draw(one) for one in seed]
    return {name: np.stack([arrays[name] for arrays in drawn]) for name in (drawn[0] if drawn else ())}
