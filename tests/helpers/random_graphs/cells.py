"""Random cell types: sources, relays, spiking cells and cells of random equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from random_graphs.choices import NUMBERS, Choices, Kinds, maybe
from random_graphs.expressions import Words, bounded, expression

from cortexc.compiler.ir.model import INTEGRATORS, STREAMS

DTYPES = ("int8 0.5", "int16 0.125", "int4 1")


@dataclass
class Cell:
    """A cell under construction. `offered`: what rules may read now; `stored`: what may be read through prev()."""

    name: str
    lines: list[str] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"cell {self.name}\n" + "".join(f"  {line}\n" for line in self.lines)


def past(c: Choices, states: Sequence[str]) -> list[str]:
    return [f"{'prev(' * d}{s}{')' * d}" for s in states for d in [c.integer(1, 3)]]


def source_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    """Passes its input on; without a state where nobody looks back."""
    if maybe(c, 4):
        lines = ["input x", "input y", "send rate = x", "send other = x * y", "message rate", "message other"]
        return Cell(name, lines, offered=["rate", "other", "x", "y"])
    lines = ["input x", f"state rate = {c.pick(NUMBERS)}", "send rate = x", "message rate"]
    return Cell(name, lines, offered=["rate", "x"], stored=["rate"])


def relay_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    cell = Cell(name, ports=["a"], parameters=["p"], offered=["out"])
    inputs = ["input x"] if maybe(c, 4) else []
    leaves = ["a", "p", *(["x"] if inputs else [])]
    cell.lines = ["port a", "parameter p 1", *inputs,
                  f"send out = {bounded(c, kinds.words, leaves, 2)} + tanh(a)", "message out"]
    if maybe(c, 3):
        cell.lines.append(f"factor f = {bounded(c, kinds.words, ['out', *leaves], 1)}")
        cell.offered.append("f")
    return cell


def spiking_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    cell = Cell(name, ports=["a"], parameters=["p"], offered=["spike", "trace", "v"], stored=["spike", "trace", "v"])
    cell.lines = ["port a @ dendrite", "parameter p", "state v = 0.2", "state spike = 0", "state trace = 0",
                  "receive v = where(prev(spike) > 0, 0, prev(v) + 0.4 * (a - prev(v)) + 0.1) @ soma",
                  "receive spike = v >= 0.1 * p", "receive trace = 0.8 * prev(trace) + spike", "message spike"]
    if maybe(c):
        cell.lines[-1:] = ["message trace", "message spike"]
    return cell


def written_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    """In the words that there are for cells: integrators, thresholds, resets, jumps, noise with arguments, formulas."""
    cell = Cell(name, ports=["a"], parameters=["p"], offered=["spike", "v", "k", "u"], stored=["spike", "v", "u"])
    drive = bounded(c, kinds.words, ["a", "p", "k"], 2)
    shape = c.pick(("poisson(0.7)", "poisson(abs(p))", "gaussian(0.1, 0.2)", "uniform(-1, p)"))
    cell.lines = ["port a @ soma", "parameter p", "parameter tau = 3", "parameter rate = 1 / (tau + dt)",
                  f"noise k {shape}", "state v = 0.2", "state u = 0", f"integrator {c.pick(INTEGRATORS)}",
                  f"receive dv/dt = {drive} - rate * v + 0.1 * u @ soma", "receive du/dt = 0.2 * v - u / tau",
                  "jump v = v + 0.1 * a", "spike when 0.3 <= v ** 2 < 100", "reset v = 0.1 * u", "reset u = u + 0.2"]
    cell.lines += [f"hold {c.integer(1, 3)} steps"] if maybe(c) else []
    return cell


def integer_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    """A state on a grid, saturated and rounded at random."""
    dtype = c.pick(DTYPES)
    scale, bits = dtype.split()[1], int(dtype.split()[0][3:])
    low, high = -2 ** (bits - 1), 2 ** (bits - 1) - 1
    cell = Cell(name, ports=["a"], offered=["u", "sent"], stored=["u"])
    cell.lines = ["port a", "noise y uniform", f"state u = {scale} : {dtype}",
                  f"send sent = shift_right(prev(u) / {scale}, {c.integer(0, 2)})",
                  f"receive u = {scale} * saturate(stochastic_round((0.5 * prev(u) + a) / {scale}, y), {low}, {high})",
                  "message sent", "message u"]
    return cell


def general_cell(c: Choices, kinds: Kinds, name: str) -> Cell:
    """States, sends `m0 ..`, receives `r0 ..` and factors `f0 ..` of random expressions."""
    cell = Cell(name, ports=["a", "b"][:2 - c.integer(0, 5) // 2], parameters=["p", "q"][:c.integer(0, 2)])
    inputs, draws = ["x", "x2"][:c.integer(0, 3) // 2], _draws(c)
    sends, receives = [f"m{i}" for i in range(c.integer(1, 2))], [f"r{i}" for i in range(c.integer(1, 3))]
    factors = [f"f{i}" for i in range(c.integer(0, 2))]
    cell.lines = [*(f"port {p}" + " @ soma" * maybe(c, 3) for p in cell.ports),
                  *(f"parameter {p}{c.pick((' 1', ''))}{c.pick(('', ' = 0.3'))}" for p in cell.parameters),
                  *(f"input {x}" for x in inputs), *(f"noise {z}" for z in draws)]
    cell.stored = [*sends, *receives, *(f for f in factors if maybe(c))]
    _states(c, kinds.words, cell)
    free = [*cell.parameters, *inputs, *(z.split()[0] for z in draws), "dt"]
    equations = _equations(c, kinds.words, cell, [("send", sends), ("receive", receives), ("factor", factors)], free)
    cell.lines += _shuffled(c, equations) if maybe(c, 4) else equations
    cell.lines += [f"message {m}" for m in (*sends, *receives)]
    cell.offered = [*sends, *receives, *factors, *inputs]
    return cell


def _draws(c: Choices) -> list[str]:
    names = ["z", "y", "k"][:c.integer(0, 2) if maybe(c) else 0]
    return [f"{name} {c.pick(STREAMS)}" for name in names]


def _states(c: Choices, words: Words, cell: Cell) -> None:
    """Initial values read parameters and the states above."""
    known = list(cell.parameters)
    for state in cell.stored:
        initial = expression(c, replace(words, gates=False), [*known, "0.3"], 1)
        cell.lines.append(f"state {state} = tanh({initial})")
        known.append(state)


def _equations(c: Choices, words: Words, cell: Cell, stages: list[tuple[str, list[str]]],
               free: list[str]) -> list[str]:
    """What reads no port may stand in any stage: now and then a message is sent from this step's state."""
    if maybe(c, 8):
        stages = [stages[1], stages[0], stages[2]]
    leaves, result = list(free), []
    rates = [name for _, names in stages for name in names if name in cell.stored and maybe(c, 8)]
    for stage, names in stages:
        ports = cell.ports if stage != "send" else []
        for name in names:
            body = bounded(c, words, [*leaves, *ports, *past(c, cell.stored)], 3)
            if name in rates:
                result.append(f"{stage} d{name}/dt = {body} - {name}")
            elif name in cell.stored:
                result.append(f"{stage} {name} = 0.5 * prev({name}) + {body}")
            else:
                result.append(f"{stage} {name} = {body}")
            leaves.append(name)
    return [line + " @ soma" * maybe(c, 6) for line in result]


def _shuffled(c: Choices, lines: list[str]) -> list[str]:
    left, result = list(lines), []
    while left:
        result.append(left.pop(c.integer(0, len(left) - 1)))
    return result


CELLS = (general_cell, written_cell, spiking_cell, relay_cell, source_cell, general_cell, integer_cell, relay_cell)
