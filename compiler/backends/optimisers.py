"""Optimisers of plasticity rules, as the interpreter evaluates them: an increment becomes the step of the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cortexc.compiler.backends.start import Start
from cortexc.compiler.ir.model import Array


def step_of(kind: str, at: Start, name: str, dw: Array, arguments: list[Array], apply: bool) -> Array | None:
    """What projection `name` adds to its weights, from its increment (batch, n_post, n_pre) and the optimiser's
    arguments; None where the weights stay. `at` holds the circuit's values; `apply`: sums are applied now."""
    if kind == "none":
        return dw
    held, key = at.values[f"{name}.{kind}"], f"{name}.{kind}"
    if kind == "low_pass":
        at.values[key] = held + arguments[0] * (dw - held)
        return at.values[key]
    total = held + dw
    at.values[key] = np.zeros_like(total) if apply else total
    return SUMS[kind](at, name, total, arguments) if apply else None


def _clipped(at: Start, name: str, total: Array, arguments: list[Array]) -> Array:
    summed = at.synapses[name].ordered(total) if name in at.synapses else total
    axes = total.shape[1:-3] if total.ndim > 3 else total.shape[1:2]
    cells, inputs = int(np.prod(axes)), int(np.prod(total.shape[1 + len(axes):]))
    per_cell = sum_in_order(np.square(summed).reshape(len(total), cells, inputs), 2)
    norms = np.sqrt(sum_in_order(per_cell, 1)).reshape(-1, *[1] * (total.ndim - 1))
    return np.where(norms > arguments[0], total * (arguments[0] / np.where(norms > 0, norms, 1.0)), total)


def _adam(at: Start, name: str, total: Array, arguments: list[Array]) -> Array:
    rate, beta1, beta2, epsilon = arguments
    first, second = at.values[f"{name}.adam_first"], at.values[f"{name}.adam_second"]
    powers = at.values.get(f"{name}.adam_powers", np.ones(2)) * (beta1, beta2)  # beta1^n, beta2^n after n steps
    first, second = beta1 * first + (1 - beta1) * total, beta2 * second + (1 - beta2) * total * total
    at.values |= {f"{name}.adam_first": first, f"{name}.adam_second": second, f"{name}.adam_powers": powers}
    step: Array = rate * (first / (1 - powers[0])) / (np.sqrt(second / (1 - powers[1])) + epsilon)
    return step


SUMS: dict[str, Callable[[Start, str, Array, list[Array]], Array]] = {
    "accumulate": lambda at, name, total, arguments: total, "clipped": _clipped, "adam": _adam}
"""Optimisers that sum increments until they are applied: the step of a sum."""


def sum_in_order(values: Array, axis: int) -> Array:
    """Left to right, as every backend adds."""
    parts = np.moveaxis(values, axis, 0)
    total = np.array(parts[0]) if len(parts) else np.zeros(parts.shape[1:])
    for part in parts[1:]:
        total = total + part
    return total
