"""What lines of text are made of: forms, words, numbers; and the lines of a cell, with the cell type that they make.

What is said of thresholds, resets and noise with arguments becomes equations here (`compiler.ir.firing`); a cell type
has nothing else. E101: an option that is not there; E105: said twice; E113: the wrong number of arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from cortexc.compiler.ir import cells
from cortexc.compiler.ir.cells import CellType, Equation
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.evaluation import evaluate_scalar
from cortexc.compiler.ir.expressions import Call, Expression, Name, Negate, Number, parse, reads
from cortexc.compiler.ir.firing import Firing, Hold, fresh, names_of, with_firing
from cortexc.compiler.ir.language import NAME
from cortexc.compiler.ir.limits import shown

WORD = "([^ ]+)"
TWO_WORDS = "([^ ]+)(?: ([^ ]+))?"
CALL = r"([^ (]+) ?(?:\((.*)\))?"


@dataclass(frozen=True)
class Line:
    """A line of a block: `keyword FORM`. `read(keyword, *groups of the pattern)` gives a value of its field."""

    form: str
    fills: str
    pattern: str
    read: Callable[..., Any]
    once: bool = False


class Measured(NamedTuple):
    """What a line says, with the unit that it gives to a quantity."""

    said: Any
    name: str
    unit: str


def measured(said: Any, name: str, unit: str | None) -> Any:
    return said if unit is None else Measured(said, name, unit)


def without_units(where: str, body: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """A body whose `known` lines are plain again, and their units by name. Raises E105 for a unit that is said twice.
    """
    units: dict[str, str] = {}
    for key in known:
        for line in (line for line in body.get(key, ()) if isinstance(line, Measured)):
            if line.name in units:
                raise twice(f"the unit of {line.name}", where)
            units[line.name] = line.unit
        if key in body:
            body[key] = tuple(line.said if isinstance(line, Measured) else line for line in body[key])
    return {**body, "units": tuple(sorted(units.items()))}


def as_word(_: str, found: str) -> str:
    return found


def real(text: str) -> float:
    if not is_real(text):
        raise ValueError(f"{shown(text)} is not a number")
    return float(text)


def is_real(text: str) -> bool:
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|inf|nan)",
                        text) is not None


def whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,4000}", text):
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(text)


def wholes(text: str, separator: str = ",") -> tuple[int, ...]:
    return tuple(map(whole, text.split(separator)))


def named_options(words: list[str], known: set[str]) -> dict[str, str]:
    """KEY=VALUE words, each key once."""
    found: dict[str, str] = {}
    for text in words:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise ValueError(f"{shown(text)} must have the form KEY=VALUE")
        if key not in known:
            raise unknown("E101", "option", key, known)
        if key in found:
            raise twice(key, "the line")
        found[key] = value
    return found


def twice(what: str, where: str) -> CortexError:
    return CortexError("E105", f"'{what}' is said twice in {where}.", "Keep one of them.")


def split(text: str) -> list[str]:
    """Parts between the commas that stand outside parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


# ---- the lines of a cell


EQUATION = "(?:d([^ /=]+) ?/ ?dt|([^ =]+)(?: ([^ =]+))?) ?= ?([^@]+?)(?: from ([^@]+?))?(?: ?@ ?([^ @]+))?"
FORM = "NAME [UNIT] = VALUE [from VALUE] [@ COMPARTMENT]"
SETTING = "([^ =]+) ?= ?(.+)"


class Drawn(NamedTuple):
    """`noise NAME KIND(ARGUMENTS)`."""

    name: str
    kind: str
    arguments: tuple[Expression, ...] | None


SHAPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "normal": ("normal", ("mean", "deviation")), "gaussian": ("normal", ("mean", "deviation")),
    "uniform": ("uniform", ("lowest", "highest")), "poisson": ("uniform", ("mean count per step",))}
"""What noise may be called -> (the stream that it is drawn from, its arguments)."""


def _parameter(_: str, name: str, unit: str | None, value: str | None) -> cells.Parameter:
    if value is None or is_real(value):
        return cells.Parameter(name, unit or "", None if value is None else real(value))
    formula = parse(value)
    match formula:
        case Number(size, own) | Negate(Number(size, own)) if own and unit in (None, own):
            return cells.Parameter(name, own, size if formula == Number(size, own) else -size)
    return cells.Parameter(name, unit or "", formula=formula)


def _state(_: str, name: str, unit: str | None, value: str, dtype: str | None, scale: str | None) -> Any:
    return measured(cells.State(name, parse(value), dtype or "float64", real(scale) if scale else 1.0), name, unit)


def equation(stage: str, derived: str | None, name: str | None, unit: str | None, value: str, start: str | None,
             place: str | None) -> Any:
    stage = "factor" if stage == "update" else stage
    if start and derived is None:
        raise CortexError("E104", f"'{name}' is no derivative and cannot go on from '{start}'.", f"{stage} {FORM}.")
    found = Equation(derived or name or "", parse(value), cast(cells.Stage, stage), place or None, derived is not None,
                     parse(start) if start else None)
    return measured(found, found.name, unit or None)


def _drawn(_: str, name: str, kind: str | None, arguments: str | None) -> Drawn:
    if (kind or "normal") not in SHAPES:
        raise unknown("E204", f"noise '{name}'", kind, SHAPES)
    for problem in NAME.problems("noise", "the cell", name):
        raise problem
    given = None if arguments is None else tuple(map(parse, split(arguments))) if arguments.strip() else ()
    wanted = SHAPES[kind or "normal"][1]
    if len(given or ()) != len(wanted) and (given is not None or kind == "poisson"):
        raise CortexError("E113", f"{kind} noise takes {len(wanted)} arguments ({', '.join(wanted)}), got "
                                  f"{len(given or ())}.")
    return Drawn(name, kind or "normal", given)


def _sent(_: str, name: str, late: str | None) -> tuple[str, bool]:
    for problem in NAME.problems("message", "the cell", name):
        raise problem
    return name, late is not None


def _setting(_: str, name: str, value: str) -> tuple[str, Expression]:
    return name, parse(value)


def _hold(_: str, length: str, unit: str, states: str) -> Hold:
    """Raises E235 for a number that is no length of time; what parameters make is looked at with their values."""
    found = parse(length)
    if not reads(found) and not 0 <= (number := evaluate_scalar(found, {})) < math.inf:
        raise CortexError("E235", f"hold {shown(length)} {unit} is {number:g}; it must be finite and at least 0.")
    return Hold(found, unit, tuple(states.split()))


PARAMETER = Line("NAME [UNIT] [= VALUE]", "parameters", "([^ =]+)(?: ([^ =]+))?(?: ?= ?(.+))?", _parameter)
STATE = Line("NAME [UNIT] = VALUE [: DTYPE [SCALE]]", "states",
             "([^ =]+)(?: ([^ =]+))? ?= ?([^:]+?)(?: ?: ?([^ :]+)(?: ([^ :]+))?)?", _state)
LINES: dict[str, Line] = {
    "port": Line("NAME [UNIT] [@ COMPARTMENT]", "ports", "([^ @]+)(?: ([^ @]+))?(?: ?@ ?([^ @]+))?",
                 lambda _, name, unit, place: measured(cells.Port(name, place or name), name, unit)),
    "parameter": PARAMETER,
    "input": Line("NAME [UNIT]", "inputs", TWO_WORDS, lambda _, name, unit: measured(name, name, unit)),
    "noise": Line("NAME [KIND[(VALUE, ...)]]", "draws", f"([^ ]+)(?: {CALL})?", _drawn),
    "state": STATE,
    **{stage: Line(FORM, "equations", EQUATION, equation) for stage in cells.STAGES},
    "integrator": Line("WORD", "integrator", WORD, as_word, once=True),
    "jump": Line("STATE = VALUE", "jumps", SETTING, _setting),
    "spike": Line("when CONDITION", "condition", "when (.+)", lambda _, value: parse(value), once=True),
    "reset": Line("STATE = VALUE", "resets", SETTING, _setting),
    "hold": Line("TIME ms|steps [STATE ...]", "hold", "(.+?) (ms|steps)((?: [^ ]+)*)", _hold, once=True),
    "message": Line("NAME [late]", "sent", "([^ ]+)(?: (late))?", _sent)}


def build_cell(words: list[str], body: dict[str, Any]) -> CellType:
    """Raises E105, E247 and E248."""
    if len(words) != 1:
        raise ValueError("the form is cell NAME, or cell NAME = library.CELL")
    draws: tuple[Drawn, ...] = body.pop("draws", ())
    sent: tuple[tuple[str, bool], ...] = body.pop("sent", ())
    body = without_units(f"cell {shown(words[0])}", body, ("ports", "inputs", "states", "equations"))
    body |= {"messages": tuple(name for name, _ in sent), "late": tuple(name for name, late in sent if late)}
    said = {key: body.pop(key) for key in ("condition", "resets", "jumps", "hold") if key in body}
    for key, settings in ((key, said[key]) for key in ("resets", "jumps") if key in said):
        names = [name for name, _ in settings]
        if again := [name for i, name in enumerate(names) if name in names[:i]]:
            raise twice(f"{key.removesuffix('s')} {again[0]}", f"cell '{words[0]}'")
        said[key] = dict(settings)
    return with_firing(with_draws(CellType(words[0], **body), draws), Firing(**said))


def with_draws(cell: CellType, draws: tuple[Drawn, ...]) -> CellType:
    """`noise k normal(m, s)` becomes `noise k_drawn normal` and `send k = m + s * k_drawn`."""
    noise, equations, taken = [], [], names_of(cell) | {drawn.name for drawn in draws}
    for name, kind, arguments in draws:
        own = name if arguments is None else fresh(f"{name}_drawn", taken)
        noise.append((own, SHAPES[kind][0]))
        taken.add(own)
        if arguments is not None:
            equations.append(Equation(name, _shaped(kind, Name(own), *arguments), "send"))
    return replace(cell, noise=tuple(noise), equations=(*equations, *cell.equations))


def _shaped(kind: str, drawn: Expression, first: Expression, *second: Expression) -> Expression:
    if kind == "poisson":
        return Call("poisson", (drawn, first))
    width = second[0] if kind != "uniform" else second[0] - first
    return first + width * drawn
