"""From a draft of an engine's form to its text, and why a chip has no room for it.

Where no scale m * 2^e holds the factor of a product, a factor of the neuron or the impulse of a trace takes it, if all
products with that one can still be scaled, or two products share it. A signed quantity takes two variables of a chip
whose traces have no sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from cortexc.compiler.ir import show
from cortexc.compiler.ir.expressions import Name, Prev, number
from cortexc.compiler.passes.engine_check import disagreement
from cortexc.compiler.passes.engine_form import Draft, Product, Word, drafts, factor_text, name_of
from cortexc.compiler.passes.engine_limits import Limits, scale_text
from cortexc.compiler.passes.normal_form import EVERYTHING, ZERO, Atom, NormalForm, Polynomial, Range, of_atom
from cortexc.compiler.passes.rule_terms import SUM, RuleTerms, without_side


@dataclass(frozen=True)
class Verdict:
    """`form`: the text, where nothing speaks against it."""

    form: str
    reasons: tuple[str, ...]


def verdict(terms: RuleTerms, limits: Limits) -> Verdict:
    """The form with the fewest products; where there is none, the timing that fails at least."""
    found = list(drafts(terms, limits))
    for draft in found:
        settle_scales(draft)
        draft.refuse(*_reasons(draft), *draft.missing)
    best = min(found, key=lambda d: (len(d.reasons), len(d.products)))
    if best.reasons:
        return Verdict("", tuple(best.reasons))
    return checked(text(best), terms, _roles(best))


def checked(form: str, terms: RuleTerms, roles: dict[str, str]) -> Verdict:
    """The verdict on a form: it must do what the rule does."""
    states = tuple(("" if s == SUM else s, role) for s, role in roles.items() if s != "w")
    wrong = disagreement(form, terms.rule, terms.pre.cell, terms.post.cell, states,
                         (terms.pre.drawn, terms.post.drawn), bool(terms.applied))
    if wrong:
        return Verdict("", (f"no form found: the one that comes nearest is another rule ({wrong})",))
    return Verdict(form, ())


# ---- scales


def settle_scales(draft: Draft) -> None:
    """Numbers that no scale holds go into factors and impulses; into a factor first so that it is what the rule reads.
    """
    words = dict.fromkeys(w for p in draft.products for w in p.words)
    sinks = [w for kind in ("Y", "x", "y") for w in words if w[0] == kind]
    for word in sinks:
        if word[0] == "x" and not draft.terms.binary:
            continue
        using = [p for p in draft.products if p.words.count(word) == 1]
        if all(draft.limits.holds(p.scale) for p in using):
            continue
        named = draft.factors[word[1]].written if word[0] == "Y" else ZERO
        read = [1 / abs(named[0][1])] if len(named) == 1 else []
        for scale in (*read, *(abs(p.scale) for p in using)):
            if all(draft.limits.holds(p.scale / scale) for p in using):
                _absorb(draft, word, scale, using)
                break
    draft.products = [part for p in draft.products for part in _in_two(draft.limits, p)]


def _in_two(limits: Limits, product: Product) -> list[Product]:
    """A number that is no scale, but a sum of two, makes two products: 9*2^-5 is 2^-2 and 2^-5."""
    first = Fraction(limits.nearest(product.scale))
    rest = product.scale - first
    if limits.holds(product.scale) or not limits.holds(rest):
        return [product]
    return [replace(product, scale=first), replace(product, scale=rest)]


def _absorb(draft: Draft, word: Word, scale: Fraction, using: list[Product]) -> None:
    draft.products = [replace(p, scale=p.scale / scale) if p in using else p for p in draft.products]
    if word[0] == "Y":
        draft.factors[word[1]] = draft.factors[word[1]].times(scale)
    else:
        draft.impulses[word] = scale


# ---- reasons


def _reasons(draft: Draft) -> Iterator[str]:
    limits, terms = draft.limits, draft.terms
    if not terms.binary and not limits.flag("graded_messages"):
        yield (f"message '{terms.message}' is graded; a spike of {limits.hardware.name} is 0 or 1 "
               + limits.source("graded_messages"))
    for product in draft.products:
        if draft.unreadable and product.words:
            continue
        if not limits.holds(product.scale):
            yield limits.no_scale(product.scale)
        leak = product.own == (product.target,) != ("w",) and not product.words
        if not product.words and product.own:
            yield from limits.out_of_range(product.scale, "leak of the tag" if leak else
                                           f"term in {' * '.join(product.own)}")
        if leak and not -2 <= product.scale <= 0:
            yield f"'{product.target}' grows: every step leaves {float(1 + product.scale):g} of it"
    if not draft.unreadable:
        yield from _counts(draft)
    yield from _words(draft)


def _counts(draft: Draft) -> Iterator[str]:
    limits, kinds = draft.limits, list(dict.fromkeys(w for p in draft.products for w in p.words))
    pre = [_text_of(draft, w) for w in kinds if w[0] in ("x", "payload")]
    post = [_text_of(draft, w) for w in kinds if w[0] == "y"]
    for word in kinds:
        if word[0] == "Y":
            post += [part + _text_of(draft, word) for part in _parts(draft, word[1])]
    post += ["the gate of the update"] if draft.terms.applied else []
    if len(pre) > 1 and not draft.terms.binary:
        yield (f"it reads {len(pre)} presynaptic traces of a graded message ({', '.join(pre)}); one trace takes the "
               "payload, the other only that a message came [LAVA]")
    for kind, found, variables in (("presynaptic traces", pre, "pre_variables"), ("factors", post, "post_variables")):
        if len(found) > limits.traces(variables):
            yield (f"it reads {len(found)} {kind} ({', '.join(found)}); {limits.hardware.name} has "
                   f"{limits.traces(variables)} {limits.source(variables)}")


def _parts(draft: Draft, index: int) -> tuple[str, ...]:
    low, high = _range(draft, draft.factors[index].written)
    signed = draft.limits.flag("trace_signed")
    return ("",) if signed or low >= 0 or high <= 0 else ("positive part of ", "negative part of ")


def _range(draft: Draft, written: Polynomial) -> Range:
    def of(atom: Atom) -> Range:
        values = draft.terms.post.ranges.of(without_side(draft.terms.expression(atom[1])))
        return values.low, values.high
    return NormalForm(lambda node: ZERO, ranges=of).range(written)


def _words(draft: Draft) -> Iterator[str]:
    """What the form is written with: products, what they depend on, variables of the synapse."""
    limits, states = draft.limits, list(draft.terms.changes)
    products, limit = len(draft.products) + 2 * bool(draft.terms.applied), limits.number("max_products")
    if limit is not None and products > limit:
        yield (f"it is a sum of {products} products; {limits.hardware.name} has {limit:.0f} "
               + limits.source("max_products"))
    variables = [v for v in ("t", "d") if v in limits.names("synaptic_variables")]
    if len(states) > len(variables):
        yield (f"it keeps {len(states)} states per synapse ({', '.join(states)}); {limits.hardware.name} has "
               f"{len(variables)} ({', '.join(variables)}) {limits.source('synaptic_variables')}")
    if len(states) == 2 and sum(_may_be_negative(draft, s) for s in states) == 2:
        yield (f"states {states[0]} and {states[1]} can both be negative; d, the second variable of a synapse, cannot "
               "[LAVA]")
    if any("w" in p.own for p in draft.products) and "w" not in limits.names("synaptic_variables"):
        yield f"{limits.hardware.name} has no variable of the synapse 'w' {limits.source('synaptic_variables')}"
    depends = {"u" if word == "u0" else word for word in map(dependency, draft.products)}
    for missing in sorted(depends - set(limits.names("dependencies"))):
        yield f"{limits.hardware.name} has no dependency '{missing}' {limits.source('dependencies')}"


def _may_be_negative(draft: Draft, state: str) -> bool:
    """Whether what a state gains, besides what it keeps of itself, can be negative."""
    kept = sum((p.scale for p in draft.products if p.target == state and p.own == (state,) and not p.words),
               Fraction(0))
    gains = [p for p in draft.products if p.target == state and (p.own != (state,) or p.words)]
    return kept < -1 or any(_gain(draft, p)[0] < 0 for p in gains)


def _gain(draft: Draft, product: Product) -> Range:
    low = high = float(product.scale)
    for word in product.words:
        ends = [a * b if a and b else 0.0 for a in (low, high) for b in _values(draft, word)]
        low, high = min(ends), max(ends)
    return EVERYTHING if product.own else (low, high)


def _values(draft: Draft, word: Word) -> Range:
    if word[0] == "Y":
        return _range(draft, draft.factors[word[1]].written)
    sent = draft.terms.pre.ranges.of(Name(draft.terms.message))
    return EVERYTHING if word[0] in ("payload", "x") and not sent.never_negative else (0.0, float("inf"))


# ---- text


def dependency(product: Product) -> str:
    kinds = {w[0] for w in product.words}
    return "x0" if kinds & {"x0", "payload"} else "y0" if "y0" in kinds else "u0"


def text(draft: Draft) -> str:
    products = sorted(draft.products, key=lambda p: _order(draft, p))
    names, roles = _named(draft, products), _roles(draft)
    sums = {role: [_product_text(p, names, roles) for p in products if p.target == state]
            for state, role in roles.items()}
    if draft.terms.applied:
        gate = f"y{1 + sum(w[0] in 'yY' for w in names)}"
        sums["t"].append(f"-u0*{gate}*t")
        sums["w"].append(f"u0*{gate}*t")
    parts = [f"d{role} = {' + '.join(sums[role] or ['0']).replace('+ -', '- ')}" for role in ("t", "d", "w")
             if role in sums]
    parts += _bindings(draft, names)
    if draft.terms.applied:
        parts.append(f"{gate} = 1 at gate '{draft.terms.applied}', in a step of its own")
    if draft.late:
        parts.append(f"w moves one step after {' and '.join(sorted(r for r in roles.values() if r != 'w'))}")
    return "; ".join(parts)


def _order(draft: Draft, product: Product) -> tuple[Any, ...]:
    """What is independent of names first."""
    words = [w[0] for w in product.words]
    return (not product.words, dependency(product) == "u0", dependency(product) == "x0", len(words), words,
            [float(w[1]) for w in product.words if w[0] in "xy" and len(w) > 1],
            [_text_of(draft, w) for w in product.words if w[0] == "Y"], float(product.scale))


def _named(draft: Draft, products: list[Product]) -> dict[Word, str]:
    names: dict[Word, str] = {}
    for word in (w for p in products for w in sorted(p.words, key=lambda w: w[0].lower() != "x")):
        letter = "x" if word[0] in ("x", "payload") else "y"
        if word not in names and word[0] not in ("x0", "y0"):
            names[word] = f"{letter}{1 + sum(n[0] == letter for n in names.values())}"
    return names


def _roles(draft: Draft) -> dict[str, str]:
    """State -> t or d; of two, the one that cannot be negative is d."""
    states = sorted(draft.terms.changes, key=lambda s: not _may_be_negative(draft, s))
    return {**dict(zip(states, ("t", "d"), strict=False)), "w": "w"}


def _product_text(product: Product, names: dict[Word, str], roles: dict[str, str]) -> str:
    first = dependency(product)
    rest = sorted(names.get(w, str(w[0])) for w in product.words)
    if first in rest:
        rest.remove(first)
    scale = {1.0: "", -1.0: "-"}.get(float(product.scale), scale_text(float(product.scale)) + "*")
    return scale + "*".join([first, *rest, *sorted((roles[v] for v in product.own), reverse=True)])


def _bindings(draft: Draft, names: dict[Word, str]) -> Iterator[str]:
    """What x, y are: spikes, payloads, traces with their decay and impulse, factors."""
    used = {w for p in draft.products for w in p.words}
    binary = draft.terms.binary
    if binary and any(w[0] in ("x0", "x") for w in used):
        yield f"x0 = {_message(draft)}"
    for word, name in sorted(names.items(), key=lambda item: item[1]):
        if word[0] == "x":
            yield _trace(draft, word, name, "x0" if binary else _message(draft))
        elif word[0] == "payload":
            yield f"{name} = {_message(draft)}"
    if any(w[0] in ("y0", "y") for w in used):
        yield f"y0 = {_spike_text(draft)}"
    for word, name in sorted(names.items(), key=lambda item: item[1]):
        if word[0] == "y":
            yield _trace(draft, word, name, "y0")
        elif word[0] == "Y":
            yield f"{name} = {_text_of(draft, word)}"


def _trace(draft: Draft, word: Word, name: str, source: str) -> str:
    impulse = draft.impulses.get(word, Fraction(1))
    return f"{name} = {number(float(word[1]))}*{name} + " + (
        source if impulse == 1 else f"{number(float(impulse))}*{source}")


def _message(draft: Draft) -> str:
    name, depth = f"pre.{draft.terms.message}", draft.terms.arrival + draft.early
    return show(Prev(name, depth) if depth else Name(name))


def _spike_text(draft: Draft) -> str:
    """The quantity that is y0, as the cell or the rule names it."""
    assert draft.spike is not None
    return show(name_of(draft, of_atom(draft.spike)) or Name(f"post.{draft.spike[1]}"))


def _text_of(draft: Draft, word: Word) -> str:
    if word[0] == "Y":
        return factor_text(draft, draft.factors[word[1]])
    if word[0] == "payload":
        return _message(draft)
    source = _spike_text(draft) if word[0] == "y" else _message(draft)
    return f"trace of {source}"
