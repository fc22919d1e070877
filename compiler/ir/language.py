"""The domain of everything the language can say: one table, read by the text reader and by `verify`.

`FIELDS` has a row for every field of the model. A domain gives the code and the sentence of its error, so that text,
recordings and graphs built in Python are refused alike. E209: a name; E212: one that is taken; E204: a word out of a
list; E224 to E227, E235: a number; E234: a unit; E237: a value of the wrong type; E250, E253: an operation of a mirror,
a dtype; E114, E115: an expression.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from cortexc.compiler.ir import expressions, model
from cortexc.compiler.ir.distributions import DISTRIBUTIONS
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.ir.kinds import KINDS
from cortexc.compiler.ir.limits import DELAY, GRAPH_NAME_LENGTH, NAME_LENGTH, PARTS, SIZE, shown
from cortexc.compiler.ir.places import LAYOUTS, Layout
from cortexc.compiler.ir.units import PLAIN, UNITS, is_unit, stands_behind
from cortexc.compiler.ir.wiring import KERNELS, KINDS_OF_NUMBERS, RULES, Kernel, Numbers, Wiring

Problems = Iterator[CortexError]

UNREADABLE = frozenset({*keyword.kwlist, "inf"})
"""What Python's expressions, whose syntax ours is, read otherwise; no gate or table is called like one of these."""
WORDS = UNREADABLE | {"dt", "w", "nan", "prev", "where", *expressions.LOOKUPS, *ARITY}
"""No quantity or parameter is called like one of these."""
OWNERS = frozenset({"gate", "table"})
"""Words that stand before the dot of `gate.learn` and `table.sigmoid`; no population or projection has them."""
# ---- kinds of domain


@dataclass(frozen=True)
class Domain:
    """`says` is the sentence of the error, with {field}, {owner} and {value}; `holds` decides about any object."""

    code: str
    says: str
    holds: Callable[[Any], bool]

    def problems(self, field: str, owner: str, value: object) -> Problems:
        if not self.holds(value):
            yield CortexError(self.code, self.says.format(field=field, owner=owner, value=shown(value)))


@dataclass(frozen=True)
class Both:
    """Two domains; the second is asked about what is in the first."""

    first: AnyDomain
    second: AnyDomain

    def problems(self, field: str, owner: str, value: object) -> Problems:
        found = [*self.first.problems(field, owner, value)]
        yield from found or self.second.problems(field, owner, value)


@dataclass(frozen=True)
class OneOf:
    """A word out of a list."""

    known: tuple[str, ...]
    code: str = "E204"

    def problems(self, field: str, owner: str, value: object) -> Problems:
        if not isinstance(value, str):
            yield from WORD.problems(field, owner, value)
        elif value not in self.known:
            yield unknown(self.code, f"{field} of {owner}" if field else owner, shown(value)[1:-1], self.known)


@dataclass(frozen=True)
class Maybe:
    """A domain, or the value that says "none"."""

    of: AnyDomain
    absent: object = None

    def problems(self, field: str, owner: str, value: object) -> Problems:
        if value is not self.absent and (type(value), value) != (type(self.absent), self.absent):
            yield from self.of.problems(field, owner, value)


@dataclass(frozen=True)
class Each:
    """A tuple of any length."""

    of: AnyDomain

    def problems(self, field: str, owner: str, value: object) -> Problems:
        yield from TUPLE.problems(field, owner, value)
        if isinstance(self.of, Part) and isinstance(value, tuple) and len(value) > PARTS:
            yield CortexError("E236", f"{owner} has {len(value)} {field}; the limit is {PARTS}.")
            return
        for item in value if isinstance(value, tuple) else ():
            yield from self.of.problems(field.removesuffix("s"), owner, item)


@dataclass(frozen=True)
class Row:
    """A tuple with a domain for each place; the first names the others."""

    places: tuple[AnyDomain, ...]

    def problems(self, field: str, owner: str, value: object) -> Problems:
        if not isinstance(value, tuple) or len(value) != len(self.places):
            wanted = f"a tuple of {len(self.places)}"
            yield CortexError("E237", f"{field} of {owner} is {shown(value)}; it must be {wanted}.")
            return
        named = f"{field} {shown(value[0])}" if self.places[0] in (NAME, QUANTITY) else field
        for index, (place, item) in enumerate(zip(self.places, value, strict=True)):
            yield from place.problems(named if index else field, owner, item)


@dataclass(frozen=True)
class Part:
    """An object of the model, with all its fields."""

    kind: type

    def problems(self, field: str, owner: str, value: object) -> Problems:
        if not isinstance(value, self.kind):
            yield CortexError("E237", f"{field} of {owner} is {shown(value)}; it must be a {self.kind.__name__}.")
            return
        inside = "" if owner.startswith("graph '") else f" of {owner}"
        yield from part_problems(value, called(value) + inside)


@dataclass(frozen=True)
class Tree:
    """An expression within the limits, of known operations and plain names."""

    def problems(self, field: str, owner: str, value: object) -> Problems:
        who = f"{field} of {owner}"
        if not isinstance(value, expressions.Expression):
            yield CortexError("E237", f"{who} is {shown(value)}; it must be an expression.")
            return
        problem = expressions.size_problem(value, who)
        foreign = (node for node in expressions.walk(value) if not _is_of_language(node))
        node = None if problem else next(foreign, None)
        if problem:
            yield problem
        elif node is not None:
            yield CortexError("E115", f"{who} holds {shown(node)}, which is not of the language.", expressions.ALLOWED)


AnyDomain = Domain | Both | OneOf | Maybe | Each | Row | Part | Tree


def part_problems(part: object, owner: str = "") -> Problems:
    """Whatever lies outside the domain of its field in an object of the model and in its parts."""
    for field, domain in FIELDS[type(part)].items():
        label = LABELS.get((type(part), field), field)
        yield from domain.problems(label, owner or called(part), getattr(part, field))


def called(part: object) -> str:
    """`cell 'unit'`, for messages."""
    label = NOUNS[type(part)]
    name = getattr(part, "target" if isinstance(part, model.Mirror) else "name", None)
    return label if name is None else f"{label} {shown(name)}"


# ---- what holds


def is_name(value: object) -> bool:
    """A letter or '_', then letters, digits and '_' (ASCII)."""
    return (isinstance(value, str) and len(value) <= NAME_LENGTH
            and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is not None)


def _is_graph_name(value: object) -> bool:
    return (isinstance(value, str) and len(value) <= GRAPH_NAME_LENGTH
            and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", value) is not None)


def _is_group(value: object) -> bool:
    if not isinstance(value, str) or is_name(value):
        return isinstance(value, str)
    parts = [part.partition(":") for part in value.split("+")]
    return all(is_name(name) and re.fullmatch("[1-9][0-9]{0,9}", cells) for name, _, cells in parts)


def _is_array(value: str) -> bool:
    return 1 <= len(value.split(".")) <= 2 and all(map(is_name, value.split(".")))


def _is_operation(value: object) -> bool:
    word, colon, array = value.partition(":") if isinstance(value, str) else ("", "", "")
    return word in model.ARRAY_OPERATIONS and _is_array(array) if colon else word in model.OPERATIONS


def _number(value: object) -> float:
    """NaN for what is no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high


def _is_dtype(value: object) -> bool:
    match = re.fullmatch(r"int([1-9][0-9]?)", value, re.ASCII) if isinstance(value, str) else None
    return value == "float64" or match is not None and 2 <= int(match[1]) <= 48


def _are_limits(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and _number(value[0]) <= _number(value[1])


def _is_of_language(node: object) -> bool:
    """Whether text can say a node that was made in Python."""
    match node:
        case expressions.Number(value, unit):
            return not math.isnan(_number(value)) and (unit == "" or isinstance(unit, str) and stands_behind(unit))
        case expressions.Name(name):
            return _is_read(name)
        case expressions.Prev(name, depth):
            return _is_read(name) and isinstance(depth, int) and depth >= 1
        case expressions.Binary(operator):
            return isinstance(operator, str) and operator in expressions.PRECEDENCE
        case expressions.Call(function, arguments):
            return isinstance(function, str) and isinstance(arguments, tuple) and ARITY.get(function) == len(arguments)
        case expressions.Lookup(table, _, linear):
            return _is_read(table) and "." not in table and isinstance(linear, bool)
    return isinstance(node, expressions.Negate | expressions.Where)


def _is_read(name: object) -> bool:
    """`rate`, `pre.rate`, `post.error`, `gate.learn`."""
    if not isinstance(name, str):
        return False
    if name == expressions.WEIGHT_SUM:
        return True
    side, dot, rest = name.rpartition(".")
    return is_name(rest) and rest not in UNREADABLE and (side in ("pre", "arrived", "post", "gate") or not dot)


def _are_arrays(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(array, np.ndarray) and array.dtype.kind in "fiub"
        and not isinstance(array, np.ma.MaskedArray)
        for name, array in value.items())


# ---- domains

SENTENCE = "{field} of {owner} is {value}; "
NAME = Domain("E209", SENTENCE + "a name is a letter or '_', then letters, digits or '_' (ASCII, at most "
              f"{NAME_LENGTH}).", is_name)
TAKEN = "{field} of {owner} is defined twice: the word {value} has a meaning of its own"
QUANTITY = Both(NAME, Domain("E212", TAKEN + " in expressions.", lambda value: value not in WORDS))
READABLE = Both(NAME, Domain("E212", TAKEN + " in expressions.", lambda value: value not in UNREADABLE))
OWNER = Both(NAME, Domain("E212", TAKEN + " before a dot.", lambda value: value not in OWNERS))
GRAPH_NAME = Domain("E209", SENTENCE + "a graph's name is a letter or '_', then letters, digits, '_' or '-' (ASCII, at "
                    f"most {GRAPH_NAME_LENGTH}).", _is_graph_name)
GROUP = Domain("E209", SENTENCE + "a group is a name, or NAME:CELLS+NAME:CELLS for several processes.", _is_group)
OUTPUT = Domain("E209", SENTENCE + "an output is POPULATION.QUANTITY.",
                lambda value: isinstance(value, str) and value.count(".") == 1 and _is_array(value))
WORD = Domain("E237", SENTENCE + "it must be a word.", lambda value: isinstance(value, str))
TUPLE = Domain("E237", SENTENCE + "it must be a tuple.", lambda value: isinstance(value, tuple))
TRUTH = Domain("E237", SENTENCE + "it must be True or False.", lambda value: isinstance(value, bool))
UNIT = Domain("E234", SENTENCE + "a unit is a product or quotient of known symbols, such as 1, ms, 1/ms, mV or nS/um^2 "
              f"({', '.join(sorted(UNITS))} with SI prefixes, {', '.join(sorted(PLAIN))}).", is_unit)
FINITE = Domain("E224", SENTENCE + "it must be finite.", lambda value: math.isfinite(_number(value)))
POSITIVE = Domain("E235", SENTENCE + "it must be positive and finite.", lambda value: 0 < _number(value) < math.inf)
NOT_NEGATIVE = Domain("E235", SENTENCE + "it must be finite and at least 0.",
                      lambda value: 0 <= _number(value) < math.inf)
LIMITS = Domain("E235", "{field} of {owner} are {value}; they must be two numbers, the lower one first.", _are_limits)
STEP = Domain("E226", "{owner}: dt {value} must be positive and finite (ms).", POSITIVE.holds)
COPIES = Domain("E226", f"{{owner}}: {{field}} {{value}} must be at least 1 and at most {SIZE}.", _whole(1, SIZE))
CELLS = Domain("E225", f"{{owner}} has size {{value}}; the least is 0, the most {SIZE}.", _whole(0, SIZE))
STEPS = Domain("E235", SENTENCE + f"it must be a whole number from 0 to {DELAY}.", _whole(0, DELAY))
WHOLE = Domain("E235", SENTENCE + "it must be a whole number from 0.", _whole(0, 2**63))
COUNT = Domain("E227", "{owner} has {field} {value}; the least is 1.", _whole(1, SIZE))
INDEX = Domain("E227", "{owner} has {field} {value}; the least is 0.", _whole(0, SIZE))
SEED = Domain("E235", SENTENCE + f"it must be a whole number from 0 to {2**63 - 1}.", _whole(0, 2**63 - 1))
DTYPE = Domain("E253", "{owner} has dtype {value}; known: float64, int2 .. int48.", _is_dtype)
OPERATION = Domain("E250", "unknown {field} of {owner} {value}; known: "
                   f"{', '.join(sorted([*model.OPERATIONS, *(f'{w}:ARRAY' for w in model.ARRAY_OPERATIONS)]))}.",
                   _is_operation)
ARRAYS = Domain("E237", "{field} of {owner} are {value}; they must be a dict of numpy arrays of real numbers, without "
                "masks.", _are_arrays)


# ---- the table

RULE_NOISE, CELL_NOISE = OneOf(model.DRAWS), OneOf(model.STREAMS)
GIVEN, UNITS_SAID = Each(Row((QUANTITY, FINITE))), Each(Row((QUANTITY, UNIT)))
SHAPE = Row((COUNT, COUNT, COUNT))

FIELDS: dict[type, dict[str, AnyDomain]] = {
    model.Port: {"name": QUANTITY, "compartment": NAME},
    model.Parameter: {"name": QUANTITY, "unit": Maybe(UNIT, ""), "default": Maybe(FINITE), "formula": Maybe(Tree())},
    model.State: {"name": QUANTITY, "initial": Tree(), "dtype": DTYPE, "scale": POSITIVE},
    model.Equation: {"name": QUANTITY, "expression": Tree(), "stage": OneOf(model.STAGES), "compartment": Maybe(NAME),
                     "derivative": TRUTH, "start": Maybe(Tree())},
    model.CellType: {"name": NAME, "ports": Each(Part(model.Port)), "parameters": Each(Part(model.Parameter)),
                     "inputs": Each(QUANTITY), "noise": Each(Row((QUANTITY, CELL_NOISE))),
                     "states": Each(Part(model.State)), "equations": Each(Part(model.Equation)),
                     "messages": Each(QUANTITY), "integrator": OneOf(model.INTEGRATORS),
                     "late": Each(QUANTITY), "units": UNITS_SAID},
    model.Optimiser: {"kind": OneOf(tuple(model.OPTIMISERS)), "arguments": Each(Tree())},
    model.PlasticityRule: {"name": NAME, "increment": Tree(), "parameters": Each(Part(model.Parameter)),
                           "states": Each(Part(model.State)), "updates": Each(Part(model.Equation)),
                           "optimiser": Part(model.Optimiser), "noise": Each(Row((QUANTITY, RULE_NOISE))),
                           "deliver": Tree(), "units": UNITS_SAID},
    model.SynapseClass: {"name": NAME, "message": QUANTITY, "port": QUANTITY, "connectivity": OneOf(tuple(KINDS)),
                         "sign": OneOf(model.SIGNS), "limits": LIMITS, "rule": Maybe(NAME), "role": OneOf(model.ROLES),
                         "unit": NOT_NEGATIVE, "weight": Maybe(UNIT, "")},
    model.Population: {"name": OWNER, "cell": NAME, "size": CELLS, "area": Maybe(NAME, ""), "parameters": GIVEN,
                       "group": Maybe(GROUP, ""), "drawn": Each(Row((QUANTITY, Part(model.Distribution)))),
                       "units": UNITS_SAID, "place": Maybe(Part(Layout))},
    Layout: {"kind": OneOf(LAYOUTS), "extent": Each(POSITIVE), "unit": Maybe(UNIT, ""), "shape": Each(COUNT),
             "wrapped": TRUTH, "seed": SEED},
    model.Distribution: {"kind": OneOf(tuple(DISTRIBUTIONS)), "arguments": Each(FINITE), "seed": WHOLE},
    model.Convolution: {"pre": SHAPE, "post": SHAPE, "kernel": COUNT, "stride": COUNT, "padding": INDEX, "pool": COUNT},
    model.Projection: {"name": OWNER, "synapse": NAME, "pre": OWNER, "post": OWNER, "delay": STEPS,
                       "gate": Maybe(READABLE), "apply": Maybe(READABLE), "parameters": GIVEN,
                       "blocks": Maybe(Row((Each(INDEX), Each(INDEX), Each(Row((INDEX, INDEX)))))),
                       "convolution": Maybe(Part(model.Convolution)), "wiring": Maybe(Part(Wiring)),
                       "weights": Maybe(Part(Numbers)), "delays": Maybe(Part(Numbers)),
                       "group": Maybe(GROUP, ""), "lowering": Maybe(OneOf(model.LOWERINGS), ""), "units": UNITS_SAID},
    Wiring: {"rule": OneOf(RULES), "number": NOT_NEGATIVE, "seed": SEED, "autapses": TRUTH, "multapses": TRUTH,
             "kernel": Maybe(Part(Kernel))},
    Kernel: {"kind": OneOf(tuple(KERNELS)), "arguments": Each(POSITIVE), "unit": Maybe(UNIT, "")},
    Numbers: {"kind": OneOf(KINDS_OF_NUMBERS), "arguments": Each(FINITE), "unit": Maybe(UNIT, ""),
              "velocity": NOT_NEGATIVE, "velocity_unit": Maybe(UNIT, "")},
    model.Mirror: {"target": OWNER, "source": OWNER, "operations": Each(OPERATION), "after": TRUTH,
                   "gate": Maybe(READABLE)},
    model.Noise: {"kind": OneOf(model.GENERATORS), "order": Each(OWNER), "gate": Maybe(READABLE)},
    model.Graph: {"name": GRAPH_NAME, "dt": STEP, "gates": Each(READABLE), "cells": Each(Part(model.CellType)),
                  "rules": Each(Part(model.PlasticityRule)), "synapses": Each(Part(model.SynapseClass)),
                  "populations": Each(Part(model.Population)), "projections": Each(Part(model.Projection)),
                  "mirrors": Each(Part(model.Mirror)), "noise": Part(model.Noise),
                  "outputs": Each(Row((NAME, OUTPUT))), "seeds": COPIES, "samples": COPIES,
                  "arrays": ARRAYS}}
LABELS = {(model.Optimiser, "kind"): "", (model.Noise, "kind"): "kind"}
NOUNS = {model.Port: "port", model.Parameter: "parameter", model.State: "state", model.Equation: "equation",
         model.CellType: "cell", model.Optimiser: "optimiser", model.PlasticityRule: "rule",
         model.SynapseClass: "synapse class", model.Population: "population", model.Convolution: "convolution",
         model.Distribution: "distribution", Wiring: "connect", Kernel: "kernel", Numbers: "numbers", Layout: "place",
         model.Projection: "projection", model.Mirror: "mirror", model.Noise: "noise", model.Graph: "graph"}
