"""Equations as a cell in fixed point computes them: items 3 and 4 of docs/fixed_point.md.

An expression is a nested tuple: ("Number", value), ("Name", name), ("Prev", name, steps), ("Negate", x),
("Binary", operator, x, y), ("Call", function, (x, ...)), ("Where", condition, then, otherwise).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.pal_parameters import ACTIVATIONS, DERIVATIVES, logistic

Tree = tuple[Any, ...]

COMPARED: dict[str, Callable[..., Tensor]] = {
    "<": torch.lt, "<=": torch.le, ">": torch.gt, ">=": torch.ge, "==": torch.eq, "!=": torch.ne,
    "and": torch.logical_and, "or": torch.logical_or}
ARITHMETIC: dict[str, Callable[..., Tensor]] = {"+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div}
EXACT = ("abs", "min", "max", "clip", "relu", "linear", "floor", "d_linear", "d_relu")
"""Functions of fixed-point numbers that are fixed-point numbers; all others are tables."""


def poisson(uniform: Tensor, rate: Tensor) -> Tensor:
    """The least count whose cumulative share of a Poisson distribution of this mean is above the uniform number; nan
    for a mean above 700."""
    uniform, rate = torch.broadcast_tensors(uniform.double(), rate.double())
    share, count = torch.exp(-rate), torch.zeros_like(rate)
    below = share.clone()
    while (more := (uniform >= below) & (below + share > below)).any():
        count = count + more
        share = torch.where(more, share * rate / count.clamp(min=1.0), share)
        below = torch.where(more, below + share, below)
    return torch.where(rate <= 700.0, count, torch.full_like(count, torch.nan))


REAL: Mapping[str, Callable[..., Tensor]] = {
    **ACTIVATIONS, **{f"d_{name}": slope for name, slope in DERIVATIVES.items()},
    "sharp_soft_relu": lambda x: torch.log(1 + torch.exp(10 * x)) / 10, "d_sharp_soft_relu": lambda x: logistic(10 * x),
    "exp": torch.exp, "log": torch.log, "sin": torch.sin, "cos": torch.cos, "sqrt": torch.sqrt, "floor": torch.floor,
    "pow": torch.pow, "abs": torch.abs, "min": torch.minimum, "max": torch.maximum,
    "clip": lambda x, low, high: torch.minimum(torch.maximum(x, low), high),
    "shift_left": lambda x, bits: x * 2**bits, "shift_right": lambda x, bits: torch.floor(x * 2**-bits),
    "saturate": lambda x, low, high: torch.minimum(torch.maximum(torch.floor(x), low), high), "poisson": poisson}


def parts(e: Tree) -> Tree:
    """What an expression is made of."""
    return {"Negate": e[1:], "Binary": e[2:], "Where": e[1:], "Call": e[-1]}.get(e[0], ())


def made(e: Tree, new: Sequence[Tree]) -> Tree:
    """The same expression of other parts."""
    if e[0] == "Call":
        return (*e[:2], tuple(new))
    return (*e[:len(e) - len(new)], *new)


def leaves(e: Tree) -> Iterator[Tree]:
    """The quantities that it reads, gates too."""
    if e[0] in ("Name", "Prev"):
        yield e
    for part in parts(e):
        yield from leaves(part)


def constants(e: Tree) -> Iterator[float]:
    """Magnitudes of its numbers."""
    if e[0] == "Number":
        yield abs(e[1])
    for part in parts(e):
        yield from constants(part)


def put(e: Tree, values: Mapping[str, Tree]) -> Tree:
    """With expressions in the place of names."""
    if e[0] == "Name":
        return values.get(e[1], e)
    return made(e, [put(part, values) for part in parts(e)])


def times(value: float, e: Tree) -> Tree:
    return ("Binary", "*", ("Number", value), e)


def real(e: Tree, look: Callable[[Tree], Tensor]) -> Tensor:
    """In float64."""
    if e[0] == "Number":
        return torch.tensor(e[1], dtype=torch.float64)
    if e[0] in ("Name", "Prev"):
        return look(e)
    if e[0] not in ("Where", "Negate", "Call", "Binary"):
        raise ValueError(f"{e[0].lower()} in an equation")
    values = [real(part, look) for part in parts(e)]
    if e[0] == "Where":
        return torch.where(values[0] != 0, values[1], values[2])
    if e[0] == "Negate":
        return -values[0]
    if e[0] == "Call":
        return REAL[e[1]](*values)
    return (ARITHMETIC | COMPARED)[e[1]](*values).double()


def number(e: Tree) -> float | None:
    """The value of what reads nothing."""
    return None if next(leaves(e), None) else float(real(e, lambda leaf: torch.zeros(())))


def folded(e: Tree) -> Tree:
    """With numbers for what reads nothing, and without what does nothing."""
    e = made(e, list(map(folded, parts(e))))
    if (value := number(e)) is not None:
        return ("Number", value)
    if e[:2] == ("Call", "linear"):
        return e[2][0]
    if e[0] == "Where" and (chosen := number(e[1])) is not None:
        return e[2] if chosen else e[3]
    return e[2] if e[:2] == ("Binary", "/") and number(e[3]) == 1 else e


def undivided(e: Tree) -> Tree:
    """x * (1 / c) for x / c."""
    e = made(e, list(map(undivided, parts(e))))
    if e[:2] == ("Binary", "/") and (divisor := number(e[3])):
        return times(1 / divisor, e[2])
    return e


def significant(value: float, bits: int) -> float:
    """The nearest number with so many bits, of itself or of its distance from 1, whichever takes more."""
    gaps = [gap for gap in (abs(value), abs(1 - abs(value))) if gap]
    if not gaps:
        return value
    unit = 2.0 ** (math.floor(math.log2(min(gaps))) - bits + 1)
    return math.floor(value / unit + 0.5) * unit


def tabled(e: Tree) -> bool:
    """Whether some part of it is a function that fixed point has no exact form of."""
    own = e[0] == "Call" and e[1] not in EXACT or e[:2] == ("Binary", "/")
    return own or any(map(tabled, parts(e)))


def of_one(e: Tree) -> bool:
    """Whether it is a table: such a function of one quantity."""
    return tabled(e) and len(set(leaves(e))) == 1


def product(e: Tree) -> tuple[float, list[Tree]]:
    """The number and the other factors of a product."""
    if (value := number(e)) is not None:
        return value, []
    if e[0] == "Negate":
        value, factors = product(e[1])
        return -value, factors
    if e[:2] == ("Binary", "*"):
        (a, left), (b, right) = product(e[2]), product(e[3])
        return a * b, left + right
    return 1.0, [e]


def plain_store(factors: list[Tree]) -> list[Tree]:
    """A synapse stores no product on the way."""
    return factors


def terms(e: Tree, bits: int, store: Callable[[list[Tree]], list[Tree]] = plain_store) -> Tree:
    """Sums of products with one number each, rounded to its significant bits. `store`: names parts of a product."""
    value, factors = product(e)
    if not factors:
        return ("Number", significant(value, bits))
    if len(factors) == 1 and factors[0][:2] in (("Binary", "+"), ("Binary", "-")):
        return made(factors[0], [terms(times(value, part), bits, store) for part in parts(factors[0])])
    found = store([made(f, [terms(part, bits, store) for part in parts(f)]) for f in factors])
    whole = found[0]
    for factor in found[1:]:
        whole = ("Binary", "*", whole, factor)
    value = significant(value, bits)
    return whole if value == 1 else times(value, whole)


class Cell:
    """The equations of one population, `NAME_1`, `NAME_2` ... of what is stored on the way to NAME among them.

    equations: (name, stage, expression), parameters being numbers; states and ports: names. `tables` are functions of
    the one quantity that they read.
    """

    def __init__(self, equations: Sequence[tuple[str, str, Tree]], states: Sequence[str], ports: Sequence[str],
                 bits: int) -> None:
        equations = [(name, stage, folded(e)) for name, stage, e in equations]
        self.raw = {name: e for name, _, e in equations}
        self.ports, self.bits = set(ports), bits
        self.found: dict[str, Tree] = {}
        self.stages: dict[str, str] = {}
        inner = {name: e for name, e in self.raw.items() if name not in states and of_one(e)}
        for self.name, self.stage, e in equations:
            self.count = 0
            self._add(self.name, self._computed(undivided(self._merged(e, inner))))
        self.tables = {name: e for name, e in self.found.items() if of_one(e)}

    def _add(self, name: str, e: Tree) -> None:
        self.found[name], self.stages[name] = e, self.stage

    @staticmethod
    def _merged(e: Tree, inner: Mapping[str, Tree]) -> Tree:
        """A function of a function is one table."""
        while of_one(e) and next(leaves(e))[0] == "Name" and next(leaves(e))[1] in inner:
            e = put(e, inner)
        return e

    def _computed(self, e: Tree) -> Tree:
        if of_one(e):
            return self._of_stored(e)
        e = terms(self._functions(e), self.bits, self._stored)
        if e[0] == "Name" and e[1].startswith(f"{self.name}_") and e[1] == next(reversed(self.found), None):
            return self.found.pop(e[1])  # a product and nothing else needs no second name
        return e

    def _named(self, e: Tree) -> Tree:
        """A quantity of its own, the one that is it already if there is one."""
        for name, known in self.found.items():
            if known == e and self.stages[name] == self.stage:
                return ("Name", name)
        self.count += 1
        self._add(f"{self.name}_{self.count}", e)
        return ("Name", f"{self.name}_{self.count}")

    def _functions(self, e: Tree) -> Tree:
        """With names for all parts that are tables."""
        if not tabled(e):
            return e
        if of_one(e):
            return self._named(self._of_stored(e))
        if e[:2] == ("Binary", "/"):
            inverse = self._named(("Binary", "/", ("Number", 1.0), self._quantity(e[3])))
            return ("Binary", "*", self._functions(e[2]), inverse)
        if e[0] == "Call" and e[1] not in EXACT:
            (argument,) = e[2]
            return self._named(made(e, [self._quantity(argument)]))
        return made(e, list(map(self._functions, parts(e))))

    def _quantity(self, e: Tree) -> Tree:
        """What a function is computed of, by name."""
        e = terms(self._functions(e), self.bits, self._stored)
        return e if e[0] in ("Name", "Prev") and not self._wide(e) else self._named(e)

    def _of_stored(self, e: Tree) -> Tree:
        """A function of a port reads it where it is stored."""
        leaf = next(leaves(e))
        return put(e, {leaf[1]: self._named(leaf)}) if self._wide(leaf) else e

    def _stored(self, factors: list[Tree]) -> list[Tree]:
        """At most one quantity beside gates and truth values: what is wider than a quantity gets a name, then each
        product of two."""
        wide = [i for i, f in enumerate(factors) if not all(map(self._truth, leaves(f)))]
        if len(wide) < 2:
            return factors
        own = [self._named(f) if i in wide and self._wide(f) else f for i, f in enumerate(factors)]
        whole = own[wide[0]]
        for i in wide[1:]:
            whole = self._named(("Binary", "*", whole, own[i]))
        return [whole, *(f for i, f in enumerate(own) if i not in wide)]

    def _wide(self, e: Tree) -> bool:
        """Whether it reads a sum of currents."""
        return any(leaf[0] == "Name" and leaf[1] in self.ports for leaf in leaves(e))

    def _truth(self, leaf: Tree) -> bool:
        """Whether a quantity is 0 or 1, or a gate."""
        e = self.raw.get(leaf[1], leaf)
        branches = e[0] == "Where" and all(number(branch) in (0, 1) for branch in e[2:])
        return leaf[1].startswith("gate.") or branches or e[0] == "Binary" and e[1] in COMPARED
