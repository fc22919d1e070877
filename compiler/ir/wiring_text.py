"""The lines of a projection that say how its synapses are drawn: `connect fixed_indegree 100 seed=1 multapses`,
`w = normal(87.8, 8.8)`, `delay = normal(1.5 ms, 0.75 ms)`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cortexc.compiler.ir.expressions import number
from cortexc.compiler.ir.wiring import Numbers, Wiring

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
CONNECT = rf"([a-z_]+) ({NUMBER})((?: [a-z]+(?:=[0-9]+)?)*)"
CONNECT_FORM = "RULE NUMBER [seed=NUMBER] [autapses] [multapses]"
DRAWN = r"= ?([a-z]+) ?\( ?([^()]*?) ?\)"
WEIGHTS = rf"(?:{DRAWN}|= ?({NUMBER}(?: [^ ]+)?))"
WEIGHTS_FORM = "= NUMBER [UNIT] | normal(MEAN, SD) | uniform(LOW, HIGH)"
DELAYS, DELAYS_FORM = rf"(?:{DRAWN}|= ?({NUMBER} [^ ]+))", "= NUMBER ms | normal(MEAN, SD) | uniform(LOW, HIGH)"


def read_wiring(_: str, rule: str, amount: str, rest: str) -> Wiring:
    """Raises ValueError for an option that is not there, or said twice."""
    words = rest.split()
    seeds = [int(word[5:]) for word in words if re.fullmatch("seed=[0-9]+", word)]
    flags = [word for word in words if word in ("autapses", "multapses")]
    if len(seeds) + len(flags) != len(words) or len(seeds) > 1 or len(set(flags)) != len(flags):
        raise ValueError(f"the form is connect {CONNECT_FORM}")
    return Wiring(rule, float(amount), seeds[0] if seeds else 0, "autapses" in flags, "multapses" in flags)


def read_numbers(_: str, kind: str | None, arguments: str | None, value: str | None) -> Numbers:
    """Raises ValueError for what is no number, and for units that differ."""
    found = [_quantity(part) for part in (value or arguments or "").split(",")]
    units = {unit for _, unit in found}
    if len(units) > 1:
        raise ValueError("one number has a unit, the other has none")
    return Numbers(kind or "constant", tuple(each for each, _ in found), units.pop())


def _quantity(text: str) -> tuple[float, str]:
    match = re.fullmatch(rf" ?({NUMBER})(?: ([^ ]+))? ?", text)
    if match is None:
        raise ValueError(f"'{text.strip()}' is no number, and no number with a unit")
    return float(match[1]), match[2] or ""


def wiring_lines(wiring: Wiring | None, weights: Numbers | None, delays: Numbers | None) -> Iterator[str]:
    if wiring:
        words = [f"seed={wiring.seed}"] * (wiring.seed != 0)
        words += ["autapses"] * wiring.autapses + ["multapses"] * wiring.multapses
        yield " ".join(["connect", wiring.rule, _number(wiring.number), *words])
    if weights:
        alone = weights.kind == "constant" and len(weights.arguments) == 1
        yield f"w = {_quantities(weights) if alone else _shown(weights)}"
    if delays:
        yield f"delay = {_shown(delays)}"


def _shown(drawn: Numbers) -> str:
    return f"{drawn.kind}({_quantities(drawn)})"


def _quantities(drawn: Numbers) -> str:
    return ", ".join(f"{_number(value)} {drawn.unit}".rstrip() for value in drawn.arguments)


def _number(value: float) -> str:
    return "-" + number(-value) if str(value)[0] == "-" else number(value)
