"""Random plasticity rules: sums of products, traces, random numbers, every optimiser."""

from __future__ import annotations

import re

from random_graphs.cells import Cell, past
from random_graphs.choices import Choices, Kinds, maybe
from random_graphs.expressions import bounded

from cortexc.compiler.ir.model import DRAWS, OPTIMISERS

ARGUMENTS = {"rate": "0.3 * eta", "norm": "0.2 + eta", "beta1": "0.9", "beta2": "0.99", "epsilon": "1e-4"}


def rule_text(c: Choices, kinds: Kinds, name: str, pre: Cell, post: Cell, synaptic: bool, drawn: bool) -> str:
    """A rule over what both cells offer. `synaptic`: with states of its own; `drawn`: with random numbers."""
    leaves = _leaves(c, pre, post)
    lines = ["parameter eta"]
    for index in range(c.integer(1, 2) if drawn else 0):
        lines.append(f"noise n{index} {c.pick(DRAWS)}")
        leaves.append(f"n{index}")
    if synaptic:
        lines += _traces(c, kinds, leaves)
    words = kinds.words
    terms = [f"eta * {bounded(c, words, leaves, 2)} * {c.pick(leaves)}" for _ in range(c.integer(1, 2))]
    lines += ["increment " + " - ".join(terms), *optimiser_line(c)]
    return _text(name, lines)


def spiking_text(c: Choices, kinds: Kinds, name: str, pre: Cell, post: Cell, synaptic: bool) -> str:
    """Terms with a factor that is 0 or 1, on one side or on both, beside traces of one side. `synaptic`: with states."""
    before, after = (_event(c, side, cell) for side, cell in (("pre", pre), ("post", post)))
    free = ["w", "eta", *past(c, [f"pre.{s}" for s in pre.stored] + [f"post.{s}" for s in post.stored])]
    lines = ["parameter eta"]
    for state, event in (("x", before), ("y", after)) if synaptic else ():
        lines += [f"state {state} = {c.pick(('0', '0.5 * eta'))}", f"update {state} = 0.8 * prev({state}) + {event}"]
        free += [state, f"prev({state})"]
    grown, fallen = (f"{c.pick(free)} * {event}" for event in (after, before))
    terms = c.pick(([grown, fallen], [grown], [fallen], [grown, f"min({fallen}, 0.6 - w)"], [f"where({after} > 0, {grown}, 0)"]))
    return _text(name, [*lines, f"increment eta * ({' - '.join(terms)})"])


def _event(c: Choices, side: str, cell: Cell) -> str:
    return f"{side}.spike" if "spike" in cell.offered else f"({side}.{c.pick(cell.offered)} > 0.2)"


def product_text(c: Choices, kinds: Kinds, name: str, pre: Cell, post: Cell) -> str:
    """One postsynaptic factor times one presynaptic quantity: what is lowered between feature maps, and in rows."""
    factor = bounded(c, kinds.words, [f"post.{x}" for x in post.offered], 2)
    while "post." not in factor:
        factor = f"({factor} + post.{c.pick(post.offered)})"
    read = c.pick([*(f"pre.{x}" for x in pre.offered), *(f"prev(pre.{s})" for s in pre.stored)])
    return _text(name, ["parameter eta = 0.1", f"increment eta * {factor} * {read}", *optimiser_line(c)])


def delivered_line(c: Choices, rule: str) -> str:
    """What a message is multiplied with on its way through a synapse of this rule."""
    states = re.findall(r"^  state (\w+)", rule, re.MULTILINE)
    return f"  deliver {c.pick(('w * eta', 'min(w, 0.3)', *(f'w * tanh({s})' for s in states)))}\n"


def optimiser_line(c: Choices) -> list[str]:
    kind = c.pick(("none", "none", "low_pass", *OPTIMISERS))
    if kind == "none":
        return []
    arguments = ", ".join(ARGUMENTS[name] for name in OPTIMISERS[kind].arguments)
    return [f"optimiser {kind}" + f"({arguments})" * bool(arguments)]


def _leaves(c: Choices, pre: Cell, post: Cell) -> list[str]:
    now = [*(f"pre.{x}" for x in pre.offered), *(f"arrived.{s}" for s in pre.stored),
           *(f"post.{x}" for x in post.offered), "w"]
    stored = [f"{side}.{s}" for side, cell in (("pre", pre), ("arrived", pre), ("post", post)) for s in cell.stored]
    return [*now, *past(c, stored), "gate.ga", "eta", "dt"]


def _traces(c: Choices, kinds: Kinds, leaves: list[str]) -> list[str]:
    """One or two states; the second reads the first, of this step or of the last one."""
    lines, count = [], c.integer(1, 2)
    for t in ("t", "s")[:count]:
        lines.append(f"state {t} = {c.pick(('0.1', '0.5 * eta', 'tanh(eta) - dt'))}")
        leaves += [f"prev({t})"]
    for t in ("t", "s")[:count]:
        body = bounded(c, kinds.words, leaves, 2)
        slope = maybe(c, 6)
        lines.append(f"update d{t}/dt = {body} - {t}" if slope else f"update {t} = 0.7 * prev({t}) + {body}")
        leaves.append(t)
    return lines


def integer_rule(c: Choices, kinds: Kinds, name: str, pre: Cell, post: Cell, synaptic: bool, drawn: bool) -> str:
    """Sums of products, traces and tags, with a low-pass or a sum on demand: what has an integer form."""
    after, before = [f"post.{x}" for x in post.offered], [f"pre.{x}" for x in pre.offered]
    kept = _tags(c, after, before)
    own = [f"{state}" for line in kept if line.startswith("state") for state in (line.split()[1], f"prev({line.split()[1]})")]
    terms = [f"eta * {c.pick(after)} * {c.pick([*before, *own])}", *c.pick(([], ["0.125 * eta * w"])),
             *([f"0.25 * {c.pick(own)} * {c.pick(after)}"] if own else [])]
    optimiser = c.pick(("", "optimiser low_pass(0.3 * eta)", "optimiser accumulate"))
    return _text(name, ["parameter eta 1", *kept, f"increment {' - '.join(terms)}", *([optimiser] if optimiser else [])])


def _tags(c: Choices, after: list[str], before: list[str]) -> list[str]:
    """None, one or two states that decay; the second may read the first."""
    lines, read = list[str](), [*before, *after, "w"]
    for state in c.pick(((), ("t",), ("t", "s"))):
        x, y = c.pick(before), c.pick(after)
        gain = c.pick((x, y, f"{x} * {y}", f"where({x} > 0.2, {y}, 0) - 0.125 * {c.pick(read)}", f"eta * {y} * {c.pick(read)}"))
        lines += [f"state {state} = {c.pick(('0', '0.3', '0.5 * eta'))}",
                  f"update {state} = {c.pick(('0.75', '0.9375', '0.97'))} * prev({state}) + {gain}"]
        read += [state, f"prev({state})"]
    return lines


def _text(name: str, lines: list[str]) -> str:
    return f"rule {name}\n" + "".join(f"  {line}\n" for line in lines)
