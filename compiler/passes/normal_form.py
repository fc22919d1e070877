"""Exact arithmetic in a normal form, so that two ways to write the same integer computation compare equal.

    prev(u) * (4096 - (du + 1)) / 4096      with du = 409
    0.89990234375 * prev(u)                 both: 3686/4096 * prev(u)

A *polynomial* is a sorted tuple of (monomial, coefficient); a monomial is a sorted tuple of atoms: names, earlier
values, `floor`, `min`, `max` and `where` of polynomials. Coefficients are exact fractions. This is meant for
quantities that are exact in float64: integers, and multiples of powers of 2, below 2**53.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from cortexc.compiler.ir.expressions import Binary, Call, Expression, Name, Negate, Number, Prev, Where, children
from cortexc.compiler.ir.functions import SCALAR

Atom = tuple[Any, ...]
Term = tuple[tuple[Atom, ...], Fraction]
Condition = tuple[Any, ...]
"""(`<` or `<=` or `==` or `!=`, polynomial): the polynomial compared with 0; (`and` or `or`, left, right)."""
Range = tuple[float, float]
EVERYTHING: Range = (-float("inf"), float("inf"))
OPPOSITE = {"<": "<=", "<=": "<", "==": "!=", "!=": "=="}


MOST_TERMS = 256
"""Of a polynomial: products of sums grow without bound."""


class TooManyTerms(ValueError):
    """A sum of more products than can be looked at."""

    def __init__(self, limit: int = MOST_TERMS) -> None:
        super().__init__(f"it is a sum of more than {limit} products")


class Polynomial(tuple[Term, ...]):
    """Sorted terms; Python's arithmetic, with numbers too. `Polynomial()` is 0."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Polynomial:  # type: ignore[override]
        terms = dict(self)
        for monomial, coefficient in polynomial_of(other):
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient
        return _sorted(terms)

    def __mul__(self, other: Operand) -> Polynomial:  # type: ignore[override]
        if not isinstance(other, Polynomial):
            return _sorted({m: c * Fraction(other) for m, c in self})
        if len(self) * len(other) > 16 * MOST_TERMS:
            raise TooManyTerms
        terms: dict[tuple[Atom, ...], Fraction] = {}
        for first, a in self:
            for second, b in other:
                monomial = tuple(sorted(first + second, key=repr))
                terms[monomial] = terms.get(monomial, Fraction(0)) + a * b
        return _sorted(terms)

    def __neg__(self) -> Polynomial:
        return self * -1

    def __sub__(self, other: Operand) -> Polynomial:
        return self + polynomial_of(other) * -1

    def __rsub__(self, other: Operand) -> Polynomial:
        return -self + other

    __radd__, __rmul__ = __add__, __mul__  # type: ignore[assignment]


Operand = Polynomial | Fraction | float


def polynomial_of(value: Operand) -> Polynomial:
    """Itself, or that of a number."""
    if isinstance(value, Polynomial):
        return value
    return Polynomial([((), Fraction(value))]) if value else ZERO


def of_atom(atom: Atom) -> Polynomial:
    return Polynomial([((atom,), Fraction(1))])


ZERO = Polynomial()


def replaced(polynomial: Polynomial, change: Callable[[Atom], Polynomial | None]) -> Polynomial:
    """With polynomials for atoms; None keeps one."""
    result = ZERO
    for monomial, coefficient in polynomial:
        term = polynomial_of(coefficient)
        for atom in monomial:
            found = change(atom)
            term *= of_atom(atom) if found is None else found
        result += term
    return result


def _sorted(terms: dict[tuple[Atom, ...], Fraction]) -> Polynomial:
    if len(terms) > MOST_TERMS:
        raise TooManyTerms
    return Polynomial(sorted(((m, c) for m, c in terms.items() if c), key=repr))


def number_of(polynomial: Polynomial) -> Fraction | None:
    """Its value, if it is a constant."""
    if not polynomial:
        return Fraction(0)
    return polynomial[0][1] if len(polynomial) == 1 and not polynomial[0][0] else None


def split(polynomial: Polynomial) -> tuple[Fraction, Polynomial]:
    """The constant term, and the rest."""
    terms = dict(polynomial)
    return terms.pop((), Fraction(0)), _sorted(terms)


def atoms(polynomial: Polynomial) -> Iterator[tuple[Atom, Fraction]]:
    """Every atom at any depth, with the coefficient of its monomial."""
    for monomial, coefficient in polynomial:
        for atom in monomial:
            yield atom, coefficient
            for inner in parts(atom):
                yield from atoms(inner)


def conditions(polynomial: Polynomial) -> Iterator[Condition]:
    """Every comparison in it."""
    for atom, _ in atoms(polynomial):
        if atom[0] == "where":
            yield from comparisons(atom[1])


def comparisons(condition: Condition) -> Iterator[Condition]:
    """Those that it is made of."""
    if condition[0] in ("and", "or"):
        yield from (*comparisons(condition[1]), *comparisons(condition[2]))
    else:
        yield condition


def parts(atom: Atom) -> list[Polynomial]:
    """The polynomials directly inside an atom."""
    match atom:
        case ("floor", inner):
            return [inner]
        case ("min" | "max", left, right):
            return [left, right]
        case ("where", condition, then, otherwise):
            return [*(leaf[1] for leaf in comparisons(condition)), then, otherwise]
    return []


class NormalForm:
    """Turns expressions into polynomials. `look(name or prev)` gives the polynomial of a name; `whole(atom)` says which
    atoms are integers, `ranges(atom)` between which bounds a name lies."""

    def __init__(self, look: Callable[[Name | Prev], Polynomial], whole: Callable[[Atom], bool] = lambda atom: False,
                 ranges: Callable[[Atom], Range] = lambda atom: EVERYTHING):
        self.look, self.whole, self.ranges = look, whole, ranges

    def of(self, expression: Expression) -> Polynomial:
        """Raises ValueError for what has no normal form."""
        match expression:
            case Number(value):
                return polynomial_of(value)
            case Name() | Prev():
                return self.look(expression)
            case Negate(operand):
                return -self.of(operand)
            case Binary("+", left, right):
                return self.of(left) + self.of(right)
            case Binary("-", left, right):
                return self.of(left) - self.of(right)
            case Binary("*", left, right):
                return self.of(left) * self.of(right)
            case Binary("/", left, right):
                return self._quotient(self.of(left), self.of(right))
            case Binary():
                return self.where(self.condition(expression), polynomial_of(1), ZERO)
            case Where(condition, then, otherwise):
                return self.where(self.condition(condition), self.of(then), self.of(otherwise))
            case Call(function, arguments):
                return self._call(function, [self.of(a) for a in arguments])
        raise ValueError(f"no normal form: {children(expression)}")

    def _quotient(self, left: Polynomial, right: Polynomial) -> Polynomial:
        divisor = number_of(right)
        if not divisor:
            raise ValueError("it divides by what is not a constant")
        return left * (1 / divisor)

    def _call(self, function: str, values: list[Polynomial]) -> Polynomial:
        numbers = [number_of(v) for v in values]
        if all(n is not None for n in numbers):
            return polynomial_of(SCALAR[function](*map(float, numbers)))  # type: ignore[arg-type]
        match function, values:
            case "floor", [x]:
                return self.floor(x)
            case "min", [x, y]:
                return self.least(x, y)
            case "max", [x, y]:
                return self.greatest(x, y)
            case "clip", [x, low, high]:
                return self.least(self.greatest(x, low), high)
            case "saturate", [x, low, high]:
                return self.least(self.greatest(self.floor(x), low), high)
            case "fixed", [x, scale, limit, offset] if number_of(scale):
                units = self.floor(x * scale + offset)
                return self._quotient(self.least(self.greatest(units, -limit), limit), scale)
            case "linear", [x]:
                return x
            case "abs", [x]:
                return self.where(("<", x), -x, x)
            case "shift_left", [x, _] if numbers[1] is not None:
                return x * SCALAR["pow"](2.0, float(numbers[1]))
            case "shift_right", [x, _] if numbers[1] is not None:
                return self.floor(x * SCALAR["pow"](2.0, -float(numbers[1])))
        raise ValueError(f"it computes {function}")

    def floor(self, x: Polynomial) -> Polynomial:
        if self.is_whole(x):
            return x
        shift, rest = split(x)
        return shift // 1 + (of_atom(("floor", shift % 1 + rest)) if rest else ZERO)

    def is_whole(self, x: Polynomial) -> bool:
        return all(c.denominator == 1 and all(self._whole_atom(a) for a in m) for m, c in x)

    def _whole_atom(self, atom: Atom) -> bool:
        match atom:
            case ("floor", _):
                return True
            case ("min" | "max", left, right):
                return self.is_whole(left) and self.is_whole(right)
            case ("where", _, then, otherwise):
                return self.is_whole(then) and self.is_whole(otherwise)
        return self.whole(atom)

    def least(self, x: Polynomial, y: Polynomial) -> Polynomial:
        (low, high), (other_low, other_high) = self.range(x), self.range(y)
        if high <= other_low or other_high <= low:
            return x if high <= other_low else y
        return of_atom(("min", *sorted((x, y), key=repr)))

    def greatest(self, x: Polynomial, y: Polynomial) -> Polynomial:
        (low, high), (other_low, other_high) = self.range(x), self.range(y)
        if low >= other_high or other_low >= high:
            return x if low >= other_high else y
        return of_atom(("max", *sorted((x, y), key=repr)))

    def clipped(self, x: Polynomial, low: int, high: int) -> Polynomial:
        return self.least(self.greatest(x, polynomial_of(low)), polynomial_of(high))

    def where(self, condition: Condition | bool, then: Polynomial, otherwise: Polynomial) -> Polynomial:
        if isinstance(condition, bool):
            return then if condition else otherwise
        then, otherwise = self.assuming(condition, then), self.assuming(negation(condition), otherwise)
        if then == otherwise:
            return then
        turned = negation(condition)
        if repr(turned) < repr(condition):
            condition, then, otherwise = turned, otherwise, then
        return of_atom(("where", condition, then, otherwise))

    def assuming(self, condition: Condition, x: Polynomial) -> Polynomial:
        """x where the condition holds: choices by the same condition are made."""
        if not any(atom[0] == "where" for atom, _ in atoms(x)):
            return x
        return replaced(x, lambda atom: self._atom_assuming(condition, atom))

    def _atom_assuming(self, condition: Condition, atom: Atom) -> Polynomial | None:
        match atom:
            case ("floor", inner):
                return self.floor(self.assuming(condition, inner))
            case ("min" | "max" as word, left, right):
                both = self.assuming(condition, left), self.assuming(condition, right)
                return self.least(*both) if word == "min" else self.greatest(*both)
            case ("where", own, then, otherwise) if own in (condition, negation(condition)):
                return self.assuming(condition, then if own == condition else otherwise)
        return None

    def condition(self, expression: Expression) -> Condition | bool:
        match expression:
            case Binary("and" | "or" as word, left, right):
                return _joined(word, self.condition(left), self.condition(right))
            case Binary(">" | ">=" as operator, left, right):
                return self.compared("<" if operator == ">" else "<=", self.of(right) - self.of(left))
            case Binary("<" | "<=" | "==" | "!=" as operator, left, right):
                return self.compared(operator, self.of(left) - self.of(right))
        return self.compared("!=", self.of(expression))

    def compared(self, operator: str, x: Polynomial) -> Condition | bool:
        """x compared with 0; a comparison of a choice between constants becomes its condition."""
        value = number_of(x)
        if value is not None:
            return holds(operator, value)
        shift, rest = split(x)
        match rest:
            case ((((("where", condition, then, otherwise)),), coefficient),):
                ends = [number_of(then), number_of(otherwise)]
                if None not in ends:
                    held = [holds(operator, coefficient * end + shift) for end in ends]  # type: ignore[operator]
                    return held[0] if held[0] == held[1] else condition if held[0] else negation(condition)
        return (operator, max(x, -x, key=repr) if operator in ("==", "!=") else x)

    def range(self, x: Polynomial) -> Range:
        """Bounds of its values."""
        low = high = 0.0
        for monomial, coefficient in x:
            a, b = float(coefficient), float(coefficient)
            for atom in monomial:
                ends = [p * q if p and q else 0.0 for p in (a, b) for q in self._atom_range(atom)]
                a, b = min(ends), max(ends)
            low, high = low + a, high + b
        return low, high

    def _atom_range(self, atom: Atom) -> Range:
        match atom:
            case ("floor", inner):
                low, high = self.range(inner)
                return low // 1 if abs(low) < 1e300 else low, high // 1 if abs(high) < 1e300 else high
            case ("min" | "max" as word, left, right):
                (a, b), (c, d) = self.range(left), self.range(right)
                return (min(a, c), min(b, d)) if word == "min" else (max(a, c), max(b, d))
            case ("where", _, then, otherwise):
                (a, b), (c, d) = self.range(then), self.range(otherwise)
                return min(a, c), max(b, d)
        return self.ranges(atom)


def negation(condition: Condition) -> Condition:
    match condition:
        case ("and" | "or" as word, left, right):
            return _joined("or" if word == "and" else "and", negation(left), negation(right))  # type: ignore[return-value]
        case ("==" | "!=" as operator, x):
            return (OPPOSITE[operator], x)
    return (OPPOSITE[condition[0]], -condition[1])


def _joined(word: str, left: Condition | bool, right: Condition | bool) -> Condition | bool:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, bool):
            return other if one == (word == "and") else one
    return (word, *sorted((left, right), key=repr))


def holds(operator: str, value: Fraction) -> bool:
    """Whether a number compared with 0 gives 1."""
    return {"<": value < 0, "<=": value <= 0, "==": value == 0, "!=": value != 0}[operator]
