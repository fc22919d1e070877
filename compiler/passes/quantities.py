"""What the quantities of a cell are made of: polynomials that are equal where the quantities are, however written.

    send spike = where(prev(v) > 1, 1, 0)          s                 a leaf: what has no polynomial
    send held = where(prev(spike) > 0, 1, 0)       s one step ago    choices by what is 0 or 1 are polynomials
    send kept = 0.875 * prev(x)
    send x = kept + 0.5 * spike                    0.5 * T(0.875, s)
    send early = prev(x) + prev(x)                 2 / 0.875 * (T(0.875, s) - s) * 0.5

T(a, s) is the trace a * T + s. Atoms: `("q", name, depth)` a leaf so many steps ago, `("c", name)` a constant of the
cell, `("T", a, leaf)` a trace. Leaves are exogenous values, ports, states that are no trace, and `#1`, `#2` ...: parts
that have no polynomial, numbered by their structure.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from cortexc.compiler.ir.expressions import Binary, Call, Expression, Lookup, Name, Prev, depth_of
from cortexc.compiler.ir.functions import SCALAR
from cortexc.compiler.ir.schedule import reached
from cortexc.compiler.passes.normal_form import (
    EVERYTHING,
    ZERO,
    Atom,
    Condition,
    NormalForm,
    Polynomial,
    Range,
    comparisons,
    holds,
    number_of,
    of_atom,
    replaced,
)
from cortexc.compiler.passes.ranges import Ranges, Values, function_range

MOST_TERMS = 60
TINY = Fraction(1, 10**12)


class Algebra(NormalForm):
    """A normal form for anything: what has no polynomial is a leaf of its own. Powers of what is 0 or 1 are itself.
    `plain`: first words of atoms that stay."""

    plain: tuple[str, ...] = ("q", "c", "T")

    def __init__(self, look: Callable[[Name | Prev], Polynomial], binary: Callable[[Atom], bool]):
        super().__init__(look, ranges=lambda atom: (0.0, 1.0) if self.is_binary(atom) else EVERYTHING)
        self._binary = binary
        self.structures: dict[Any, str] = {}
        self.zero_or_one: set[str] = set()

    def of(self, expression: Expression) -> Polynomial:
        try:
            found = super().of(expression)
        except (ValueError, OverflowError, ZeroDivisionError):
            found = self._without_polynomial(expression)
        return self.tidy(found)

    def is_binary(self, atom: Atom) -> bool:
        return atom[0] == "q" and atom[1] in self.zero_or_one or self._binary(atom)

    def _without_polynomial(self, expression: Expression) -> Polynomial:
        match expression:
            case Binary("/", left, right):
                return self.of(left) * of_atom(self.leaf(("inverse", self.of(right))))
            case Call(function, arguments):
                return of_atom(self.leaf((function, *map(self.of, arguments))))
            case Lookup(table, index, linear):
                return of_atom(self.leaf((f"lookup {table} {linear}", self.of(index))))
        return of_atom(self.leaf(("number", repr(expression))))

    def leaf(self, structure: tuple[Any, ...]) -> Atom:
        """The leaf of this structure, as many steps ago as the latest of what it reads."""
        depths = list(_depths(structure))
        depth = min(depths, default=0)
        name = self.structures.setdefault(shifted(structure, -depth), f"#{len(self.structures) + 1}")
        if structure[0] in ("d_relu", "d_hard_sigmoid") or structure[0] == "where" and {
                number_of(structure[2]), number_of(structure[3])} <= {Fraction(0), Fraction(1)}:
            self.zero_or_one.add(name)
        return ("q", name, depth)

    def tidy(self, polynomial: Polynomial) -> Polynomial:
        """Leaves for choices and the like; powers of what is 0 or 1; no terms that rounding has left over."""
        most = max((abs(c) for _, c in polynomial), default=Fraction(0))
        result = ZERO
        for monomial, coefficient in polynomial:
            if abs(coefficient) > TINY * most:
                named = [a if a[0] in self.plain else self.leaf(a) for a in monomial]
                once = [a for i, a in enumerate(named) if not (a in named[:i] and self.is_binary(a))]
                result += Polynomial([(tuple(sorted(once, key=repr)), coefficient)])
        return result

    def where(self, condition: Condition | bool, then: Polynomial, otherwise: Polynomial) -> Polynomial:
        """A choice by one quantity that is 0 or 1 is a polynomial in it."""
        atoms = None if isinstance(condition, bool) else {
            a for c in comparisons(condition) for m, _ in c[1] for a in m}
        if atoms is None or len(atoms) != 1 or not self.is_binary(next(iter(atoms))):
            return super().where(condition, then, otherwise)
        (atom,) = atoms
        off, on = (Fraction(int(_true(condition, value))) for value in (0, 1))  # type: ignore[arg-type]
        return otherwise + (off + of_atom(atom) * (on - off)) * (then - otherwise)


def _true(condition: Condition, value: int) -> bool:
    """A condition where its only quantity has this value, 0 or 1."""
    if condition[0] in ("and", "or"):
        both = [_true(part, value) for part in condition[1:]]
        return all(both) if condition[0] == "and" else any(both)
    return holds(condition[0], sum((c for m, c in condition[1] if value or not m), Fraction(0)))


def _depths(part: Any) -> Any:
    if isinstance(part, tuple):
        if part[:1] == ("q",):
            yield part[2]
        else:
            for inner in part:
                yield from _depths(inner)


def shifted(part: Any, steps: int) -> Any:
    """A polynomial, an atom or a structure, so many steps earlier."""
    if not isinstance(part, tuple) or not steps:
        return part
    if part[:1] == ("q",):
        return ("q", part[1], part[2] + steps)
    return type(part)(shifted(inner, steps) for inner in part)


class Quantities:
    """Polynomials of one cell's quantities. `base`: a message, which is a leaf if it is not a multiple of another."""

    def __init__(self, ranges: Ranges, base: str = ""):
        self.cell, self.ranges = ranges.cell, ranges
        self.algebra = Algebra(self._look, lambda atom: atom[0] == "q" and not atom[1].startswith("#")
                               and self.cell.equation(atom[1]) is not None and ranges.is_binary(atom[1]))
        self._bounds: dict[str, Range] = {}
        self.unstable: dict[str, float] = {}
        self._same: dict[str, Polynomial] = {}
        self._final: dict[str, Polynomial] = {}
        self._opaque: set[str] = set()
        if base and not _is_multiple(self.of(Name(base))):
            self._opaque, self._same, self._final = {base}, {}, {}

    def of(self, expression: Expression) -> Polynomial:
        """Of an expression over the cell's quantities."""
        return self._resolved(self.algebra.of(expression))

    def is_binary(self, atom: Atom) -> bool:
        return self.algebra.is_binary(atom)

    def range(self, polynomial: Polynomial) -> Range:
        """Bounds of its values, over all steps."""
        return NormalForm(self._look, ranges=self._range_of).range(polynomial)

    def _range_of(self, atom: Atom) -> Range:
        if self.is_binary(atom):
            return 0.0, 1.0
        if atom[0] == "T":
            low, high = self._range_of(atom[2])
            return min(low, 0.0) / float(1 - atom[1]), max(high, 0.0) / float(1 - atom[1])
        if atom[1].startswith("#"):
            if atom[1] not in self._bounds:
                self._bounds[atom[1]] = EVERYTHING
                self._bounds[atom[1]] = self._range_of_structure(atom[1])
            return self._bounds[atom[1]]
        values = self.ranges.of(Name(atom[1]))
        return values.low, values.high

    def _range_of_structure(self, name: str) -> Range:
        word, *parts = next(s for s, n in self.algebra.structures.items() if n == name)
        if word == "where":
            ends = [self.range(self._resolved(part)) for part in parts[1:]]
            return min(low for low, _ in ends), max(high for _, high in ends)
        if word == "inverse" or word in SCALAR:
            values = function_range(word, [Values(*self.range(self._resolved(part))) for part in parts])
            return values.low, values.high
        return EVERYTHING

    @property
    def drawn(self) -> frozenset[str]:
        """Quantities that depend on their own past and are no traces."""
        return frozenset(e.name for e in self.cell.equations if self._final_of(e.name) == of_atom(("q", e.name, 0))
                         and self._recurs(e.name))

    def divisors(self, polynomial: Polynomial) -> list[Polynomial]:
        """What it divides by."""
        names = {a[1] for m, _ in polynomial for a in m if a[0] == "q"}
        return [self._resolved(structure[1]) for structure, name in self.algebra.structures.items()
                if name in names and structure[0] == "inverse"]

    def _look(self, node: Name | Prev) -> Polynomial:
        if self.cell.equation(node.name) is None:
            constants = {p.name for p in self.cell.parameters} | {"dt"}
            return of_atom(("c", node.name) if node.name in constants else _leaf_of(node))
        return of_atom(_leaf_of(node)) if isinstance(node, Prev) else self.same(node.name)

    def same(self, name: str) -> Polynomial:
        """Over values of this step that are leaves, and earlier ones by name."""
        if name not in self._same:
            leaf = of_atom(("q", name, 0))
            self._same[name] = leaf
            equation = self.cell.equation(name)
            assert equation is not None
            found = leaf if equation.derivative else self.algebra.of(equation.expression)
            single = _is_multiple(found)
            if len(found) > MOST_TERMS or name in self._opaque:
                found = leaf
            self._same[name] = self._marked(name, found, single)
            if single and found[0][1] == 1 and found[0][0][0][1].startswith("#"):
                values = self.ranges.of(Name(name))
                self._bounds[found[0][0][0][1]] = values.low, values.high
        return self._same[name]

    def _marked(self, name: str, found: Polynomial, single: bool) -> Polynomial:
        """What is 0 or 1 by its values is a leaf that is known to be, or made of such."""
        if not self.ranges.is_binary(name) or all(self.is_binary(a) for m, _ in found for a in m):
            return found
        if single and found[0][1] == 1 and found[0][0][0][1].startswith("#"):
            self.algebra.zero_or_one.add(found[0][0][0][1])
            return found
        return of_atom(("q", name, 0))

    # ---- earlier values

    def _resolved(self, polynomial: Polynomial) -> Polynomial:
        result = replaced(polynomial, self._earlier)
        for leaf in {a[2][1] for m, _ in result for a in m if a[0] == "T"}:
            depths = [a[2] for a in sources_of(result) if a[0] == "q" and a[1] == leaf]
            result = aligned(result, min(depths), leaf)
        return self.algebra.tidy(result)

    def _earlier(self, atom: Atom) -> Polynomial | None:
        if atom[0] != "q" or self.cell.equation(atom[1]) is None:
            return None
        return shifted(self._final_of(atom[1]), atom[2])  # type: ignore[no-any-return]

    def _final_of(self, name: str) -> Polynomial:
        if name not in self._final:
            leaf, same = of_atom(("q", name, 0)), self.same(name)
            self._final[name] = leaf
            if same != leaf and not self._recurs(name):
                self._final[name] = self._resolved(same)
            elif same != leaf:
                self._final[name] = self._trace(name, same) or leaf
        return self._final[name]

    def _recurs(self, name: str) -> bool:
        """Whether it depends on its own past through polynomials; a trace that it reads is an end."""
        return name in reached(self._read_before(name), lambda read: () if read in self._read_before(read)
                               else self._read_before(read))

    def _read_before(self, name: str) -> set[str]:
        return {a[1] for m, _ in self.same(name) for a in m
                if a[0] == "q" and self.cell.equation(a[1]) is not None and a != ("q", name, 0)}

    def _trace(self, name: str, same: Polynomial) -> Polynomial | None:
        """a * prev(name) + sources, with a between 0 and 1, as traces of the sources."""
        own = ("q", name, 1)
        decay = dict(same).get((own,), Fraction(0))
        rest = Polynomial((m, c) for m, c in same if m != (own,))
        if not decay or any(a[0] == "q" and a[1] == name for m, _ in rest for a in m):
            return None
        sources = self._resolved(rest)
        if any(len(m) != 1 or m[0][0] != "q" or m[0][1] == name for m, _ in sources):
            return None
        if not 0 < decay < 1:
            self.unstable[name] = float(decay)
            return None
        return sum((of_atom(("T", decay, source)) * coefficient for (source,), coefficient in sources), ZERO)


def _is_multiple(polynomial: Polynomial) -> bool:
    return len(polynomial) == 1 and len(polynomial[0][0]) == 1 and polynomial[0][0][0][0] == "q"


def _leaf_of(node: Name | Prev) -> Atom:
    return ("q", node.name, depth_of(node))


def sources_of(polynomial: Polynomial) -> list[Atom]:
    """Its leaves and constants, those of traces too."""
    return [a[2] if a[0] == "T" else a for m, _ in polynomial for a in m]


def aligned(polynomial: Polynomial, depth: int, of_leaf: str) -> Polynomial:
    """With every trace of a leaf so many steps ago: T one step before is (T - source) / a."""
    def at_depth(atom: Atom) -> Polynomial | None:
        if atom[0] != "T" or atom[2][1] != of_leaf or atom[2][2] <= depth:
            return None
        later = ("q", of_leaf, atom[2][2] - 1)
        earlier = (of_atom(("T", atom[1], later)) - of_atom(later)) * (1 / atom[1])
        return aligned(earlier, depth, of_leaf)

    return replaced(polynomial, at_depth)
