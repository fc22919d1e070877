"""Units: what they are, against pint; what fits and what does not, in every construct and in random cells."""

import random
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.experiments.circuits import build_circuit
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import CortexError, parse, parse_graph, problems, show, show_graph, verify
from cortexc.compiler.ir.dimensions import FIRST, SAME, SLOPES, units_fit
from cortexc.compiler.ir.expressions import Binary, Expression, Number, children, rebuild, walk
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.ir.library import parts
from cortexc.compiler.ir.units import PLAIN, PREFIXES, UNITS, factor_between, shown_unit, times, unit

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


def found(text: str) -> list[str]:
    return [str(problem) for problem in units_fit(parse_graph(text))]


# ---- units


def test_every_symbol_is_what_pint_says() -> None:
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    base = {"s": "[time]", "m": "[length]", "g": "[mass]", "A": "[current]", "K": "[temperature]", "mol": "[substance]",
            "cd": "[luminosity]"}
    for symbol in [*UNITS, *(prefix + symbol for prefix in PREFIXES for symbol in UNITS - {"cd"}), *(PLAIN.keys() - {"1", "spike"})]:
        theirs = registry.Quantity(1, {"Ohm": "ohm", "M": "molar"}.get(symbol, symbol.replace("Ohm", "ohm"))).to_base_units()
        ours = unit(symbol)
        assert {base[k]: p for k, p in ours.items() if k in base} == dict(theirs.dimensionality), symbol
        scale = 3.141592653589793 ** float(ours.get("pi", 0))
        for prime in ("2", "3", "5"):
            scale *= float(prime) ** float(ours.get(prime, 0))
        assert theirs.magnitude == pytest.approx(scale * 1e-3 ** float(ours.get("g", 0)), rel=1e-12), symbol


def test_the_systems_of_the_field_fit_and_mixed_ones_do_not() -> None:
    for one, other in (("pA/pF", "mV/ms"), ("nA/nF", "mV/ms"), ("nS*mV", "pA"), ("uA/cm^2", "mS*mV/cm^2"), ("1/ms", "kHz"),
                       ("pA/nS", "mV"), ("MOhm*nA", "mV"), ("MOhm*pF", "us")):
        assert unit(one) == unit(other)
    assert factor_between(unit("nA/pF"), unit("mV/ms")) == 1000 and factor_between(unit("mV"), unit("pA")) is None
    assert unit("deg") != unit("rad") and unit("percent") != unit("1") == unit("spike") == {}


@pytest.mark.parametrize("text", ["mV", "pA", "mV/ms", "1/ms", "uA/cm^2", "nS", "ms", "1", "Hz", "pA*ms"])
def test_a_unit_is_shown_as_people_write_it(text: str) -> None:
    assert shown_unit(unit(text)) == text


def test_a_unit_without_a_name_is_shown_with_a_factor_or_in_base_units() -> None:
    assert shown_unit(unit("nV")) == "1e-06 mV" and shown_unit(unit("mol*cd")) == "mol cd"
    assert unit(shown_unit(times(unit("mV"), unit("ms"), -1))) == unit("mV/ms")


@pytest.mark.parametrize("text", ["-65 mV", "(v + 40 mV) / 10 mV", "0.1 1/mV/ms * v", "2 nS/um^2 + x", "1e-3 A*s"])
def test_numbers_with_units_are_read_and_shown(text: str) -> None:
    assert show(parse(text)) == text.replace("1e-3", "0.001") and parse(show(parse(text))) == parse(text)


def test_pint_is_never_imported_and_units_of_the_core_import_nothing() -> None:
    code = "import sys, cortexc; cortexc.check_graph(cortexc.parse_graph('cell c = library.lif_exp')); print('pint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ---- what fits


@pytest.mark.parametrize("name", parts())
def test_the_library_says_its_units_and_they_fit(name: str) -> None:
    part = parts()[name]
    graph = parse_graph(f"{part.keyword} x = library.{name}")
    assert problems(graph) == [] and parse_graph(show_graph(graph)) == graph
    if part.keyword == "cell":
        assert {*(p.name for p in graph.cells[0].ports)} <= {*dict(graph.cells[0].units)}


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_shipped_circuits_fit(path: Path) -> None:
    experiment = load_experiment(path)
    assert list(units_fit(build_circuit(experiment.model, [1]))) == []


def test_every_function_has_its_units() -> None:
    assert SAME | FIRST | SLOPES | {"sqrt", "pow"} < set(ARITY)


LIF = """
graph g
  dt 0.1
cell source
  input rate Hz
  noise spike poisson(rate * dt / 1000 ms/s)
  state spike = 0
  message spike late
cell lif
  port synapses pA @ soma
  parameter tau = 10 ms
  parameter capacitance pF = 250
  parameter rest mV = -65
  parameter pause ms = 2
  parameter gain 1/mV = 0.1
  noise current normal(0 pA, 5 pA)
  state v mV = rest
  state u = 0 pA
  receive dv/dt = (rest - v) / tau + (synapses + current - u) / capacitance
  receive du/dt = -u / tau
  jump u = u + synapses
  spike when v >= -50
  reset v = rest
  reset u = u + 3 pA
  hold pause ms
  factor rate = logistic(gain * (v - rest))
  factor burst = where(v > rest and u > 0, 2, 1)
  factor depolarised = max(v, -70 mV)
rule growth
  parameter amplitude pA = 1
  parameter tau ms = 20
  state x = 0
  update x = exp(-dt / tau) * prev(x) + pre.spike
  update y = prev(y) + dt * (post.depolarised - prev(y)) / tau
  state y mV = 0
  increment dt / tau * amplitude * x * post.rate - dt * 0.5 1/s / 1000 ms/s * w
  optimiser low_pass(dt / tau)
synapse fast
  message spike
  port synapses
  connectivity sparse
  rule growth
  weight pA
synapse slow
  message spike
  port synapses
population a source 3
population b lif 4
  tau = 12 ms
  v = normal(-65 mV, 5 mV) seed=3
projection W fast a -> b
  connect fixed_indegree 2
  w = normal(5 pA, 1 pA)
  amplitude = 2 pA
projection B slow b -> b
projection C slow b -> b
mirror C = B : transpose negate
"""


def test_the_example_fits_and_is_read_back() -> None:
    assert found(LIF) == []
    graph = parse_graph(LIF)
    assert parse_graph(show_graph(graph)) == graph


@pytest.mark.parametrize("old, new, says", [
    ("(rest - v) / tau +", "(rest - v) * tau +", "equation 'dv/dt' of cell 'lif'.*'.rest - v. \\* tau' is mV\\*ms and .* is mV/ms"),
    (" / capacitance\n", "\n", "'synapses \\+ current - u' is pA"),
    ("pF = 250", "nF = 250", "mV/s; they differ by a factor of 1000.*one system"),
    ("receive du/dt = -u / tau", "receive du/dt = -u", "equation 'du/dt' .* the left side is pA/ms, the right side is pA"),
    ("jump u = u + synapses", "jump u = v + synapses", "equation 'u_free'|'v' is mV and 'synapses' is pA"),
    ("when v >= -50", "when v >= -50 nA", "'v >= -50 nA', 'v' is mV and '-50 nA' is nA"),
    ("when v >= -50", "when v >= u", "'v >= u', 'v' is mV and 'u' is pA"),
    ("reset v = rest", "reset v = tau", "'tau' is ms and 'where.prev.refractory. > 0, prev.v., v.' is mV"),
    ("reset u = u + 3 pA", "reset u = u + 3 nA", "they differ by a factor of 0.001"),
    ("hold pause ms", "hold rest ms", "floor.rest / dt . 0.5.' takes a plain number, and 'rest / dt . 0.5' is mV/ms"),
    ("gain * (v - rest)", "v - rest", "logistic.v - rest.* takes a plain number, and 'v - rest' is mV"),
    ("v > rest and", "v > tau and", "'v' is mV and 'tau' is ms"),
    ("max(v, -70 mV)", "max(v, u)", "'v' is mV and 'u' is pA"),
    ("poisson(rate * dt / 1000 ms/s)", "poisson(rate * dt)", "'rate \\* dt' is ms/s; they differ by a factor of 0.001"),
    ("normal(0 pA, 5 pA)", "normal(0 pA, 5 mV)", "is mV"),
    ("state u = 0 pA", "state u = rest", "is mV|is pA"),
    ("port synapses pA", "port synapses nS", "is nS"),
    ("amplitude pA = 1", "amplitude mV = 1", "rule 'growth' of projection 'W'.*'w' to be mV, which is pA|'amplitude' is given in pA"),
    ("exp(-dt / tau)", "exp(-tau)", "'exp.-tau.' takes a plain number, and '-tau' is ms"),
    ("low_pass(dt / tau)", "low_pass(dt)", "rate 'dt' is ms, and must be 1"),
    ("(post.depolarised - prev(y))", "(post.rate - prev(y))", "rule 'growth' of projection 'W': it takes '[a-z.]+' to be .*, which is "),
    ("0.5 1/s / 1000 ms/s", "0.5 1/s", "is 0.001 |they differ by a factor"),
    ("weight pA", "weight nS", "projection 'W': its weights are"),
    ("normal(5 pA, 1 pA)", "normal(5 nA, 1 nA)", "projection 'W'.*they differ by a factor of"),
    ("tau = 12 ms", "tau = 12 s", "population 'b': 'tau' is given in s, and cell 'lif' has it in ms"),
    ("normal(-65 mV, 5 mV)", "normal(-65 V, 5 V)", "population 'b': 'v' is given in V"),
    ("  increment dt", "  deliver w * x / tau\n  increment dt", "what the rule delivers . 'spike' is pA/ms"),
    ("amplitude = 2 pA", "amplitude = 2 mV", "projection 'W': 'amplitude' is given in mV"),
])
def test_what_does_not_fit_is_named_with_both_sides(old: str, new: str, says: str) -> None:
    assert old in LIF
    texts = found(LIF.replace(old, new))
    assert texts and all(text.startswith("E267 ") for text in texts)
    assert re.search(says, texts[0]), texts


def test_verify_refuses_and_what_passes_leave_is_not_asked() -> None:
    text = "graph g\ncell c\n  parameter tau ms = 10\n  state v mV = 1\n  receive dv/dt = {}\npopulation a c 2\n"
    good, bad = parse_graph(text.format("-v / tau")), parse_graph(text.format("-v * tau"))
    with pytest.raises(CortexError, match="E267 equation 'dv/dt' of cell 'c': the left side is mV/ms, the right side is mV.ms"):
        verify(bad)
    assert problems(bad, units=False) == problems(good) == []
    assert simulate(good, 3, record="a.v", backend="interpreter")["a.v"].shape == (3, 1, 2)
    with pytest.raises(CortexError, match="E267"):
        simulate(bad, 3, record="a.v", backend="interpreter")


def test_units_change_no_bit() -> None:
    plain = re.sub(r"(?<=parameter )(\w+) [^ =\n]+ =", r"\1 =", LIF)
    plain = re.sub(r"(state \w+|port \w+|input \w+) [^ =@\n]+(?= =| @|\n)", r"\1", plain)
    plain = re.sub(r"(?<=[0-9]) (mV|pA|ms/s|1/s|ms)(?=[,)*\n ])", "", plain).replace("  weight pA\n", "").replace("tau = 10 ms", "tau = 10")
    assert not re.search("mV|pA|pF|1/s", plain)
    ones = {"B.w": np.ones((4, 4)), "C.w": -np.ones((4, 4))}
    runs = [simulate(parse_graph(text.replace(">= -50", ">= -64.9")).with_(arrays=ones), 200, inputs={"a.rate": 900.0}, record=["b.v", "b.spike"], backend="interpreter")
            for text in (LIF, plain)]
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0]) and runs[0]["b.spike"].any()


@pytest.mark.parametrize("text", [
    "cell c\n  state x = 1\n  state y = 0\n  receive dx/dt = y\n  receive dy/dt = -x\n",
    "cell c\n  parameter tau 1 = 5\n  state x = 1\n  receive x = prev(x) + dt * exp(-dt)\n",
    "cell c\n  parameter tau ms = 5\n  state x = 1\n  receive dx/dt = 0.4 * (3 - x) - x / tau\n",
    "cell c\n  parameter tau ms = 5\n  state x mV = 1\n  receive dx/dt = (3 - x) / 20 + 2 * exp(x / 10) / tau\n",
])
def test_what_says_no_unit_may_have_any(text: str) -> None:
    assert found(text + LIF.replace("graph g\n  dt 0.1", "")) == []


def test_a_unit_of_nothing_is_refused() -> None:
    graph = parse_graph("cell c\n  state x mV = 1\n  receive x = prev(x)\n")
    cell = replace(graph.cells[0], units=(("y", "mV"),))
    assert [p.code for p in problems(graph.with_(cells=(cell,)))] == ["E268"]


def test_a_unit_that_is_said_twice_is_refused() -> None:
    with pytest.raises(CortexError, match="E105.*'the unit of x' is said twice in cell 'c'"):
        parse_graph("cell c\n  state x mV = 1\n  receive x mV = 1\n")


# ---- random cells


SYMBOLS = ("mV", "ms", "pA")
Powers = tuple[int, int, int]


def text_of(powers: Powers) -> str:
    return "*".join(f"{symbol}^{power}" for symbol, power in zip(SYMBOLS, powers, strict=True) if power) or "1"


class Writer:
    """Expressions of a unit over named quantities, and over numbers with units."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.units = {name: tuple(self.random.randint(-2, 2) for _ in SYMBOLS) for name in ("a", "b", "c", "u", "v")}
        self.units["one"] = (0, 0, 0)

    def of(self, powers: Powers, depth: int) -> str:
        if depth == 0 or max(map(abs, powers)) > 4:
            known = [name for name, unit_of in self.units.items() if unit_of == powers]
            return self.random.choice([*known, f"2.5 {text_of(powers)}" if any(powers) else "one"])
        kind = self.random.choice(("sum", "product", "quotient", "choice", "function", "root"))
        name, own = self.random.choice(list(self.units.items()))
        less = tuple(p - o for p, o in zip(powers, own, strict=True))
        if kind == "product":
            return f"{name} * ({self.of(less, depth - 1)})"
        if kind == "quotient":
            return f"({self.of(tuple(p + o for p, o in zip(powers, own, strict=True)), depth - 1)}) / {name}"
        if kind == "root":
            return f"sqrt({self.of(tuple(2 * p for p in powers), depth - 1)})"
        if kind == "function" and powers == (0, 0, 0):
            return f"{self.random.choice(('exp', 'tanh', 'logistic', 'cos'))}({self.of(powers, depth - 1)})"
        first, second = self.of(powers, depth - 1), self.of(powers, depth - 1)
        if kind == "choice":
            return f"where({self.of(own, depth - 1)} > {name}, {first}, {second})"
        return self.random.choice((f"({first}) - ({second})", f"max({first}, {second})", f"clip({first}, -{second}, 3)"))

    def cell(self) -> str:
        rate = {name: tuple(p - (i == 1) for i, p in enumerate(self.units[name])) for name in "uv"}
        lines = [f"parameter {name} {text_of(self.units[name])} = 1" for name in ("a", "b", "c", "one")]
        lines += [f"port p {text_of(self.units['a'])}", *(f"state {name} {text_of(self.units[name])} = 0" for name in "uv")]
        lines += [f"receive du/dt = {self.of(rate['u'], 3)}", f"receive v = {self.of(self.units['v'], 3)}",
                  f"factor f {text_of(self.units['a'])} = p - ({self.of(self.units['a'], 2)})"]
        return "cell c\n  " + "\n  ".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(60))
def test_random_cells_fit_and_a_planted_factor_is_found(seed: int) -> None:
    writer = Writer(seed)
    graph = parse_graph(writer.cell())
    assert [str(problem) for problem in units_fit(graph)] == []
    cell = graph.cells[0]
    for index, equation in enumerate(cell.equations):
        places = list(walk(equation.expression))
        at = writer.random.randrange(len(places))
        for factor in (Number(1000.0, "pA/nA"), Number(2.0, "ms"), Number(1.0, "V/mV")):
            wrong = with_factor(equation.expression, at, factor)
            equations = (*cell.equations[:index], replace(equation, expression=wrong), *cell.equations[index + 1:])
            broken = graph.with_(cells=(replace(cell, equations=equations),))
            if not (isinstance(places[at], Binary) and places[at].operator == ">"):
                assert [p.code for p in units_fit(broken)][:1] == ["E267"], (show(wrong), at)


def with_factor(expression: Expression, at: int, factor: Expression) -> Expression:
    """The node that `walk` gives as number `at`, times a factor."""
    if at == 0:
        return expression * factor
    below, before = list(children(expression)), 1
    for index, child in enumerate(below):
        size = sum(1 for _ in walk(child))
        if before <= at < before + size:
            below[index] = with_factor(child, at - before, factor)
        before += size
    return rebuild(expression, tuple(below))
