"""What every start needs: ranges by name, and one draw per seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from cortexc.compiler.ir import CortexError, unknown

Range = tuple[float, float]
Arrays = dict[str, np.ndarray]
Seeds = int | Sequence[int]
Ranges = Mapping[str, Range] | None


def bounds(given: Mapping[str, Range], default: Mapping[str, Range]) -> dict[str, Range]:
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
    return np.random.RandomState(seed % 2**32)


def potentials(seed: int, *kinds: tuple[str, Sequence[int]]) -> Arrays:
    """N(0, 1), population after population."""
    generator = generator_of(seed)
    return {f"{kind}{i}.u": generator.normal(0, 1, n) for kind, sizes in kinds for i, n in enumerate(sizes)}


def drawn(generator: np.random.RandomState, limits: Mapping[str, Range], kind: str,
          shapes: Iterable[tuple[int, int]]) -> Arrays:
    """Uniform weights, one projection of a kind after the other."""
    return {f"{kind}_{i}.w": generator.uniform(*limits[kind], shape) for i, shape in enumerate(shapes)}


def stacked(seed: int | Sequence[int], draw: Callable[[int], Arrays]) -> Arrays:
    """The arrays of one seed, or those of several with a leading axis."""
    if isinstance(seed, (int, np.integer)):
        return draw(int(seed))
    drawn = [draw(one) for one in seed]
    return {name: np.stack([arrays[name] for arrays in drawn]) for name in (drawn[0] if drawn else ())}
