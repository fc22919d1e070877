"""The lines of a projection that say how its synapses are drawn: `connect fixed_indegree 100 seed=1 multapses`,
`w = normal(87.8, 8.8)`, `delay = normal(1.5 ms, 0.75 ms)`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cortexc.compiler.ir.expressions import number
from cortexc.compiler.ir.lines import whole, wholes
from cortexc.compiler.ir.places import Layout
from cortexc.compiler.ir.wiring import Kernel, Numbers, Wiring

NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
FORM = r"([a-z]+) ?\( ?([^()]*?) ?\)"
CONNECT = rf"([a-z_]+)(?= [^a-z]| [a-z]+ ?\()(?: ({NUMBER}))?(?: {FORM})?((?: [a-z]+(?:=[0-9]+)?)*)"
CONNECT_FORM = ("RULE NUMBER [seed=NUMBER] [autapses] [multapses], or distance [PEAK] KERNEL(SCALE [UNIT][, RADIUS]) "
                "[seed=NUMBER] [autapses]")
PLACE = r"([a-z]+)(?: ([0-9x]+))? on ([^=]*?)( wrapped)?(?: seed=([0-9]+))?"
PLACE_FORM = "line|ring|random|given|grid COUNTxCOUNT on LENGTH [UNIT] [x LENGTH [UNIT]] [wrapped] [seed=NUMBER]"
DRAWN = rf"= ?{FORM}"
WEIGHTS = rf"(?:{DRAWN}|= ?({NUMBER}(?: [^ ]+)?))"
WEIGHTS_FORM = "= NUMBER [UNIT] | normal(MEAN, SD) | uniform(LOW, HIGH)"
FAR = rf"distance ?/ ?\( ?({NUMBER}(?: [^ )]+)?) ?\)"
DELAYS = rf"(?:{DRAWN}|= ?({NUMBER} [^ ]+))(?: ?\+ ?{FAR})?|= ?{FAR}"
DELAYS_FORM = "= NUMBER ms | normal(MEAN, SD) | uniform(LOW, HIGH), with + distance / (NUMBER [UNIT]), or that alone"


def read_place(_: str, kind: str, shape: str | None, extent: str, wrapped: str | None, seed: str | None) -> Layout:
    """Raises ValueError for what is no number, for units that differ, and for a shape of another layout than a grid."""
    if (shape is None) == (kind == "grid") or seed and kind != "random":
        raise ValueError(f"the form is place {PLACE_FORM}")
    lengths, unit = _alike(extent.split(" x "))
    return Layout(kind, lengths, unit, wholes(shape, "x") if shape else (), bool(wrapped), whole(seed or "0"))


def read_wiring(_: str, rule: str, amount: str | None, kernel: str | None, scale: str | None, rest: str) -> Wiring:
    """Raises ValueError for an option that is not there, or said twice."""
    words = rest.split()
    seeds = [int(word[5:]) for word in words if re.fullmatch("seed=[0-9]+", word)]
    flags = [word for word in words if word in ("autapses", "multapses")]
    if len(seeds) + len(flags) != len(words) or len(seeds) > 1 or len(set(flags)) != len(flags):
        raise ValueError(f"the form is connect {CONNECT_FORM}")
    lengths = _alike(scale.split(",")) if scale else ((), "")
    return Wiring(rule, float(amount or 1), seeds[0] if seeds else 0, "autapses" in flags, "multapses" in flags,
                  Kernel(kernel, *lengths) if kernel else None)


def read_numbers(_: str, kind: str | None, arguments: str | None, value: str | None, far: str | None = None,
                 alone: str | None = None) -> Numbers:
    """Raises ValueError for what is no number, and for units that differ."""
    values, unit = _alike(("0 ms" if alone else value or arguments or "").split(","))
    return Numbers(kind or "constant", values, unit, *(_quantity(alone or far or "") if alone or far else ()))


def _alike(texts: list[str]) -> tuple[tuple[float, ...], str]:
    """Numbers, and the one unit that they have."""
    found = [_quantity(text) for text in texts]
    units = {unit for _, unit in found}
    if len(units) > 1:
        raise ValueError("the numbers have different units, or one has none")
    return tuple(each for each, _ in found), units.pop()


def _quantity(text: str) -> tuple[float, str]:
    match = re.fullmatch(rf" ?({NUMBER})(?: ([^ ]+))? ?", text)
    if match is None:
        raise ValueError(f"'{text.strip()}' is no number, and no number with a unit")
    return float(match[1]), match[2] or ""


def wiring_lines(wiring: Wiring | None, weights: Numbers | None, delays: Numbers | None) -> Iterator[str]:
    if wiring:
        words = [f"seed={wiring.seed}"] * (wiring.seed != 0)
        words += ["autapses"] * wiring.autapses + ["multapses"] * wiring.multapses
        if kernel := wiring.kernel:
            words = [f"{kernel.kind}({_quantities(kernel.arguments, kernel.unit)})", *words]
        yield " ".join(["connect", wiring.rule, _number(wiring.number), *words])
    if weights:
        alone = weights.kind == "constant" and len(weights.arguments) == 1
        yield f"w = {_quantities(weights.arguments, weights.unit) if alone else _shown(weights)}"
    if delays:
        alone = delays.velocity > 0 and delays.kind == "constant" and len(delays.arguments) == 1
        near = [_quantities(delays.arguments, delays.unit) if alone else _shown(delays)]
        near = [] if alone and delays.arguments == (0.0,) else near
        far = [f"distance / ({_quantities((delays.velocity,), delays.velocity_unit)})"] * bool(delays.velocity)
        yield f"delay = {' + '.join([*near, *far])}"


def place_line(layout: Layout) -> str:
    words = ["place", layout.kind, *["x".join(map(str, layout.shape))] * bool(layout.shape), "on",
             _quantities(layout.extent, layout.unit, " x "), *["wrapped"] * layout.wrapped]
    return " ".join([*words, *[f"seed={layout.seed}"] * (layout.seed != 0)])


def _shown(drawn: Numbers) -> str:
    return f"{drawn.kind}({_quantities(drawn.arguments, drawn.unit)})"


def _quantities(values: tuple[float, ...], unit: str, between: str = ", ") -> str:
    return between.join(f"{_number(value)} {unit}".rstrip() for value in values)


def _number(value: float) -> str:
    return "-" + number(-value) if str(value)[0] == "-" else number(value)
