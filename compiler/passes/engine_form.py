"""The form of a rule in a learning engine: per synapse, sums of products m * 2^e * factors, once a step.

    dt = y0*x1 - 2^-1*x0*y1 - 2^-4*u0*t; dw = 2^-3*u0*y2*t; x0 = pre.spike; x1 = 0.875*x1 + x0; y0 = post.spike;
    y1 = 0.875*y1 + y0; y2 = prev(post.dopamine); w moves one step after t

Every product has one dependency: x0 (a message came), y0 (the cell sent a spike) or u0 (every step). x1, x2 are traces
of the messages, or the payload of the one that came; y1 .. y3 traces of y0, or factors that the neuron computes, where
the chip knows such. w is the weight; t and d are the rule's states by what they are, not by their names. The engine
reads all variables before it writes any, so a state of this step is read one step later. What no scale can hold goes
into what the neuron computes, or into the impulse of a trace. Lava's own parser reads `dw`, `dt` and `dd`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cortexc.compiler.ir import Expression, show
from cortexc.compiler.ir.expressions import Binary, Name, Negate, Number, Prev, walk
from cortexc.compiler.ir.schedule import instantaneous
from cortexc.compiler.passes.engine_limits import Limits
from cortexc.compiler.passes.fold import literal, simplify
from cortexc.compiler.passes.normal_form import ZERO, Atom, Polynomial, number_of, of_atom, replaced
from cortexc.compiler.passes.quantities import aligned, shifted, sources_of
from cortexc.compiler.passes.rule_terms import RuleTerms, without_side

Word = tuple[Any, ...]
"""A factor that is no variable of the synapse: ("x0",) and ("y0",) a spike came or went; ("payload",) what a graded
message carries; ("x", a) and ("y", a) traces; ("Y", i) what the neuron computes."""


@dataclass(frozen=True)
class Product:
    """What a variable of the synapse gains. `own`: variables of the synapse that it is multiplied with."""

    target: str
    scale: Fraction
    words: tuple[Word, ...]
    own: tuple[str, ...]


@dataclass(frozen=True)
class Factor:
    """What the neuron computes: in the rule's words, and over leaves."""

    written: Polynomial
    leaves: Polynomial

    def times(self, scale: Fraction) -> Factor:
        return Factor(self.written * scale, self.leaves * scale)


@dataclass
class Draft:
    """A form on its way. `early`: the message is taken when it arrives, so many steps before the rule reads it; `late`:
    the weight moves one step after the states; `here`: steps since the leaf was computed of which the message is;
    `missing`: what the chip has not at all; `unreadable`: presynaptic reads are no traces."""

    terms: RuleTerms
    limits: Limits
    early: int
    late: bool
    products: list[Product] = field(default_factory=list)
    factors: list[Factor] = field(default_factory=list)
    impulses: dict[Word, Fraction] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: bool = False
    spike: Atom | None = None

    @property
    def here(self) -> int:
        return self.terms.leaf[1] + self.terms.arrival + self.early

    def refuse(self, *reasons: str) -> None:
        self.reasons += [r for r in reasons if r not in self.reasons]


def drafts(terms: RuleTerms, limits: Limits) -> Iterator[Draft]:
    """Every way to time the rule, with what speaks against each."""
    reads = terms.presynaptic_reads()
    atoms = [a for m, _ in terms.increment for a in m]
    kinds, old = {a[0] for a in atoms}, any(a[0] == "syn" and a[1] != "w" for a in atoms)
    reads_weight = any(a == ("syn", "w") for change in terms.changes.values() for m, _ in change for a in m)
    # late: what moves the weight is the synapse's and the neuron's alone, and moves no state
    can_be_late = "new" in kinds and "pre" not in kinds and not reads_weight and not old
    for early in (0, 1) if reads else (0,):
        for late in (False, True) if can_be_late else (False,):
            draft = Draft(terms, limits, early, late)
            draft.refuse(*filter(None, (_why_not(draft, node) for node in reads)))
            draft.unreadable = bool(draft.reasons)
            _fill(draft)
            yield draft


# ---- the presynaptic side


def _why_not(draft: Draft, node: Name | Prev) -> str:
    """Why a presynaptic read is no trace that the engine has when the message arrives."""
    terms, text = draft.terms, show(node)
    leaf, here = terms.leaf[0], draft.here
    found = aligned(terms.pre.of(without_side(node)), here, leaf)
    atoms = [a for m, _ in found for a in m]
    for atom in atoms:
        if atom[0] == "q" and atom[1] in terms.pre.unstable:
            return _unstable(text, terms.pre.unstable[atom[1]])
    sources = sources_of(found)
    mixed = not terms.binary and len({a[0] for a in atoms}) > 1
    if mixed or any(a[:2] != ("q", leaf) for a in sources):
        return (f"'{text}' is neither the message '{terms.message}' nor a low-pass of it, which are the engine's "
                "traces")
    if any(a[2] != here for a in sources):
        return f"'{text}' is the message of another step than that which arrives"
    return ""


def _unstable(text: str, decay: float) -> str:
    how = "alternates" if decay < 0 else "does not decay" if decay == 1 else "grows"
    return f"'{text}' {how}: every step leaves {decay:g} of it; a trace of the engine keeps a part between 0 and 1"


def _fill(draft: Draft) -> None:
    terms = draft.terms
    targets = {**terms.changes, "w": _increment(draft)}
    groups = [(target, *key, post) for target, polynomial in targets.items()
              for key, post in _grouped(draft, polynomial).items()]
    draft.spike = _spike(draft, [post for *_, post in groups])
    for target, words, own, post in groups:
        for scale, more in _postsynaptic(draft, post):
            draft.products.append(Product(target, scale, (*words, *more), own))


def _increment(draft: Draft) -> Polynomial:
    terms = draft.terms
    if not draft.late:
        return terms.substituted(terms.increment)
    return terms.delayed(replaced(terms.increment, lambda a: of_atom(("syn", a[1])) if a[0] == "new" else None))


def _grouped(draft: Draft, polynomial: Polynomial) -> dict[tuple[tuple[Word, ...], tuple[str, ...]], Polynomial]:
    """(presynaptic words, variables of the synapse) -> what they are multiplied with."""
    groups: dict[tuple[tuple[Word, ...], tuple[str, ...]], Polynomial] = {}
    factor = draft.terms.leaf[2]
    for monomial, coefficient in draft.terms.aligned(polynomial, draft.here):
        pre = [a[1] for a in monomial if a[0] == "pre"]
        words = tuple(("x", a[1]) if a[0] == "T" else ("x0",) if draft.terms.binary else ("payload",) for a in pre)
        own = tuple(a[1] for a in monomial if a[0] == "syn")
        rest = tuple(a for a in monomial if a[0] == "post")
        key = words, own
        groups[key] = groups.get(key, ZERO) + Polynomial([(rest, coefficient / factor**len(pre))])
    return groups


# ---- the postsynaptic side


def _spike(draft: Draft, polynomials: list[Polynomial]) -> Atom | None:
    """Which leaf is y0: the cell's message of 0 or 1 that a product reads, or what is 0 or 1 where it sends none."""
    post = draft.terms.post
    sent = [post.of(Name(m)) for m in post.cell.messages if post.ranges.is_binary(m)]
    known = [shifted(p[0][0][0], draft.early) for p in sent if len(p) == 1 and len(p[0][0]) == 1 and p[0][1] == 1]
    found = [_sources(draft.terms.of_post(p)) for p in polynomials]
    if not sent:
        known = [a for atoms in found for a in atoms if post.is_binary(a) and a[2] == draft.early]
    return next((a for a in known for atoms in found if atoms and {s[1] for s in atoms} == {a[1]}), None)


def _sources(polynomial: Polynomial) -> list[Atom]:
    """Leaves, of traces too; none where something else is in it."""
    atoms = sources_of(polynomial)
    return atoms if all(a[0] == "q" for a in atoms) else []


def _postsynaptic(draft: Draft, post: Polynomial) -> Iterator[tuple[Fraction, tuple[Word, ...]]]:
    """A polynomial of the postsynaptic side as words of the engine."""
    leaves = draft.terms.of_post(post)
    value = number_of(leaves)
    if value is not None:
        yield from [(value, ())] if value else []
    elif spiking := _of_spikes(draft, leaves):
        yield from spiking
    else:
        _check_factor(draft, post, leaves)
        yield _factor(draft, post, leaves)


def _of_spikes(draft: Draft, leaves: Polynomial) -> list[tuple[Fraction, tuple[Word, ...]]]:
    """Products of y0 and its traces."""
    if draft.spike is None:
        return []
    found = aligned(leaves, draft.spike[2], draft.spike[1])
    if any(source != draft.spike for source in sources_of(found)):
        return []
    return [(c, tuple(("y", a[1]) if a[0] == "T" else ("y0",) for a in m)) for m, c in found]


def _check_factor(draft: Draft, post: Polynomial, leaves: Polynomial) -> None:
    limits, terms = draft.limits, draft.terms
    text = show(as_expression(draft, _unit(post)))
    if not limits.flag("graded_post_factors"):
        draft.missing.append(f"'{text}' is a graded postsynaptic factor; {limits.hardware.name} knows traces of the "
                             f"cell's own spikes {limits.source('graded_post_factors')}")
    for name in {a[1] for m, _ in leaves for a in m if a[0] == "q" and abs(terms.post.unstable.get(a[1], 0)) > 1}:
        draft.refuse(_unstable(text, terms.post.unstable[name]))
    for divisor in terms.post.divisors(leaves):
        low, high = terms.post.range(divisor)
        if low <= 0 <= high:
            draft.refuse(f"'{text}' divides by what can be 0")
    now = instantaneous(terms.post.cell)
    given = [node for m, _ in post for a in m for node in walk(terms.expression(a[1]))]
    if draft.early and any(isinstance(node, Name) and node.name.removeprefix("post.") in now for node in given):
        draft.refuse(f"'{text}' is known a step after the message that it goes with")


def _unit(polynomial: Polynomial) -> Polynomial:
    """A single product without its number."""
    return polynomial * (1 / polynomial[0][1]) if len(polynomial) == 1 else polynomial


def _factor(draft: Draft, post: Polynomial, leaves: Polynomial) -> tuple[Fraction, tuple[Word, ...]]:
    """One that the neuron computes: found again where it differs by a number alone."""
    greatest = max(abs(c) for _, c in leaves)
    unit = Factor(post, leaves).times(1 / greatest)
    for index, known in enumerate(draft.factors):
        for sign in (1, -1):
            if known.leaves == unit.leaves * sign:
                return greatest * sign, (("Y", index),)
    sign = -1 if _turned(draft, unit) else 1
    draft.factors.append(unit.times(Fraction(sign)))
    return greatest * sign, (("Y", len(draft.factors) - 1),)


def _turned(draft: Draft, factor: Factor) -> bool:
    """Whether its negative is what has a name, or no negative values."""
    if len(factor.leaves) == 1:
        return factor.leaves[0][1] < 0
    named = [name_of(draft, factor.leaves * sign) is not None for sign in (1, -1)]
    if named[0] != named[1]:
        return named[1]
    total = sum((c for _, c in factor.leaves), Fraction(0)) or sum((c for _, c in factor.written), Fraction(0))
    return draft.terms.post.range(factor.leaves)[1] <= 0 or total < 0


def factor_text(draft: Draft, factor: Factor) -> str:
    """In the rule's word for it, or the cell's; else in the rule's words."""
    own = len(factor.written) == 1 and len(factor.written[0][0]) == 1 and factor.written[0][1] == 1
    node = None if own else name_of(draft, factor.leaves)
    return show(node or as_expression(draft, factor.written))


def name_of(draft: Draft, leaves: Polynomial) -> Name | Prev | None:
    """The first quantity of the cell that is this, now or earlier."""
    depths = [a[2] for a in _sources(leaves)]
    for equation in draft.terms.post.cell.equations:
        found = draft.terms.post.of(Name(equation.name))
        for steps in {0, *(d - min([a[2] for a in _sources(found)], default=0) for d in depths[:1])}:
            if steps >= 0 and shifted(found, steps) == leaves:
                return Prev(f"post.{equation.name}", steps) if steps else Name(f"post.{equation.name}")
    return None


def as_expression(draft: Draft, polynomial: Polynomial) -> Expression:
    """In the rule's words."""
    result: Expression | None = None
    for monomial, coefficient in sorted(polynomial, key=lambda term: term[1] < 0):
        factors = [draft.terms.expression(a[1]) for a in monomial]
        magnitude = float(f"{float(abs(coefficient)):.12g}")
        term: Expression = literal(magnitude)
        for factor in factors:
            term = factor if term == Number(1.0) else Binary("*", term, factor)
        if result is None:
            result = Negate(term) if coefficient < 0 else term
        else:
            result = Binary("-" if coefficient < 0 else "+", result, term)
    return simplify(result or Number(0.0))
