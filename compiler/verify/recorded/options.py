"""What every published recording has: options in `params_json`, and arrays by layer. Errors V105 to V108, V113."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from cortexc.compiler.ir import CortexError, Graph, unknown
from cortexc.compiler.ir.functions import ACTIVATIONS
from cortexc.compiler.verify.recorded.format import Arrays, Source

EVIDENCE = "published-simulator"


def count_steps(arrays: Arrays) -> int:
    if "r0" not in arrays or not arrays["r0"].ndim:
        raise CortexError("V108", "array 'r0' is missing (input rates); expected shape (T, n_0).")
    if not len(arrays["r0"]):
        raise CortexError("V113", "the recording has no steps: 'r0' has no rows.")
    return len(arrays["r0"])


def refuse(options: Mapping[str, Any], known: Collection[str], patterns: re.Pattern, only: Mapping[str, Any],
           needed: Iterable[str]) -> None:
    """Raises V105 for an option that is not known, V106 for one of which another value is modelled, V107 for one that
    is missing."""
    for option in options:
        if option not in known and not patterns.fullmatch(option):
            raise unknown("V105", "option", option, known)
    for option, value in only.items():
        if options.get(option, value) != value:
            raise CortexError("V106", f"option {option} = {options[option]!r} is not modelled; only {value!r} is.")
    missing = [option for option in needed if option not in options]
    if missing:
        raise CortexError("V107", f"the recording's parameters lack {', '.join(missing)}.",
                          "'params_json' must hold the complete parameters.")


def layer_sizes(value: Any) -> tuple[int, ...]:
    good = isinstance(value, list) and len(value) >= 2 and all(type(n) is int and n >= 1 for n in value)
    if not good:
        raise CortexError("V106", f"option layers = {value!r} must list at least an input and an output size.")
    return tuple(value)


def number_of(option: str, value: Any) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value < 0 or (value == 0 and (option == "dt" or option.startswith("tau") and option != "taur")):
        raise CortexError("V106", f"option {option} = {value!r} must be a finite "
                                  f"{'positive' if good and value == 0 else 'number, not negative'}.")
    return float(value)


def numbers_of(option: str, value: Any, count: int) -> tuple[float, ...]:
    """One number per layer; a single one serves all; the simulators index by layer and never read further ones."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        raise CortexError("V106", f"option {option} = {value!r} must be a list of finite numbers.")
    if len(values) != 1 and len(values) < count or not values:
        raise CortexError("V106", f"option {option} has {len(values)} entries {values}, expected 1 or {count}.")
    chosen = values if len(values) == 1 else values[:count]
    return tuple(map(float, chosen)) or (0.0,)


def activations_of(value: Any, count: int) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in ACTIVATIONS:
            raise unknown("V106", "activation", str(name), ACTIVATIONS)
    if len(names) not in (1, count):
        raise CortexError("V106", f"option activation has {len(names)} entries {names}, expected 1 or {count}.")
    return tuple(names)


# ---- variables


def row_shape(graph: Graph, key: str, source: Source) -> tuple[int, ...]:
    """Of one row of a variable."""
    owner = source.quantity.split(".")[0]
    if any(p.name == owner for p in graph.populations):
        return (graph.population(owner).size,)
    q = graph.projection(owner)
    return graph.population(q.post).size, graph.population(q.pre).size


def present_sources(sources: dict[str, Source], arrays: Arrays) -> dict[str, Source]:
    """The variables of the file. Raises V108 where one is there for some of its layers only."""
    found = {key: source for key, source in sources.items() if key in arrays}
    families = {key.rsplit("_", 1)[0] for key in found}
    for key in sources:
        if key not in found and key.rsplit("_", 1)[0] in families:
            there = ", ".join(k for k in found if k.rsplit("_", 1)[0] == key.rsplit("_", 1)[0])
            raise CortexError("V108", f"array '{key}' is missing, while {there} is there.",
                              "Record a variable for all of its layers or for none.")
    return found
