"""Integrators against solutions on paper, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import CortexError, Graph, parse_graph, verify
from cortexc.compiler.ir.model import cell_parameters, rule_parameters
from cortexc.compiler.passes.base import Request
from cortexc.compiler.passes.discretise import Discretise
from cortexc.compiler.passes.integrators import propagators

HEAD = "graph g\n  dt {dt}\ncell c\n  input drive\n  parameter tau = 10\n"
LEAK = HEAD + "  state v = 1\n  receive dv/dt = (drive - v) / tau\n  integrator {integrator}\npopulation a c 3\n"
PAIR = HEAD + ("  state v = 0\n  state i = 2\n  receive dv/dt = (i - v) / tau\n  receive di/dt = -i / 4\n"
               "  integrator {integrator}\npopulation a c 1\n")
OSCILLATOR = HEAD + ("  state x = 1\n  state y = 0\n  receive dx/dt = y\n  receive dy/dt = -x\n  integrator {integrator}\n"
                     "population a c 1\n")


def after(text: str, time: float, dt: float, integrator: str, quantity: str, drive: float = 0.0) -> float:
    graph = parse_graph(text.format(dt=dt, integrator=integrator))
    found = simulate(graph, round(time / dt), inputs={"a.drive": drive}, record=[quantity], backend="interpreter")
    return float(found[quantity].ravel()[-1])


@pytest.mark.parametrize("dt", [0.5, 10.0])
@pytest.mark.parametrize("integrator", ["exact", "exponential_euler"])
def test_a_leak_is_solved_exactly_whatever_the_step(integrator: str, dt: float) -> None:
    assert after(LEAK, 30.0, dt, integrator, "a.v", 5.0) == pytest.approx(5 - 4 * math.exp(-3), rel=1e-13)


def test_coupled_equations_are_solved_exactly_also_with_equal_time_constants() -> None:
    solution = 2 / (1 - 10 / 4) * (math.exp(-12 / 4) - math.exp(-12 / 10))
    assert after(PAIR, 12.0, 1.0, "exact", "a.v") == pytest.approx(solution, rel=1e-13)
    alike = PAIR.replace("-i / 4", "-i / tau")
    assert after(alike, 12.0, 1.0, "exact", "a.v") == pytest.approx(2 * 1.2 * math.exp(-1.2), rel=1e-13)


def test_an_oscillator_is_solved_exactly() -> None:
    assert after(OSCILLATOR, 7.0, 0.5, "exact", "a.x") == pytest.approx(math.cos(7.0), rel=1e-12)


@pytest.mark.parametrize("integrator, order", [("euler", 1), ("rk4", 4)])
def test_the_error_falls_with_the_order_of_the_integrator(integrator: str, order: int) -> None:
    coarse, fine = (abs(after(OSCILLATOR, 2.0, dt, integrator, "a.x") - math.cos(2.0)) for dt in (0.1, 0.05))
    assert coarse / fine == pytest.approx(2**order, rel=0.25)


def test_exponential_euler_takes_each_equation_with_the_others_as_they_were() -> None:
    graph = parse_graph(PAIR.format(dt=2.0, integrator="exponential_euler"))
    found = simulate(graph, 2, record=["a.v", "a.i"], backend="interpreter")
    v, i = 0.0, 2.0
    for step in range(2):
        v, i = v * math.exp(-0.2) + i * (1 - math.exp(-0.2)), i * math.exp(-0.5)
        assert found["a.v"].ravel()[step] == pytest.approx(v, rel=1e-14) and found["a.i"].ravel()[step] == pytest.approx(i, rel=1e-14)


@pytest.mark.parametrize("rate", ["0", "1e-18", "-1e-9"])
def test_exponential_euler_is_right_where_the_rate_is_small_or_none(rate: str) -> None:
    text = HEAD + f"  state v = 1\n  receive dv/dt = 3 - {rate} * v\n  integrator {{integrator}}\npopulation a c 1\n"
    z = -0.5 * float(rate)
    wanted = math.exp(z) + 1.5 * (math.expm1(z) / z if z else 1.0)
    assert after(text, 0.5, 0.5, "exponential_euler", "a.v") == pytest.approx(wanted, rel=3e-16, abs=0)


def test_exact_takes_parameters_of_every_population_and_of_every_cell() -> None:
    text = LEAK.format(dt=2.0, integrator="exact") + "population b c 1\n  tau = 4\n"
    graph = parse_graph(text).with_(arrays={"a.tau": np.array([5.0, 10.0, 20.0])})
    found = simulate(graph, 3, inputs={"a.drive": 2.0, "b.drive": 2.0}, record=["a.v", "b.v"])
    for name, taus in (("a", [5.0, 10.0, 20.0]), ("b", [4.0])):
        wanted = [2 - math.exp(-6 / tau) for tau in taus]
        assert found[f"{name}.v"][-1].ravel() == pytest.approx(wanted, rel=1e-13)


def test_exact_takes_parameters_of_every_seed_and_of_every_sample_at_once() -> None:
    text = LEAK.format(dt=2.0, integrator="exact").replace("cell c", "  batch seeds 2 samples 2\ncell c", 1)
    text = text.replace("drive - v", "drive - k * v").replace("  state v", "  parameter k 1 = 1\n  state v", 1)
    k, tau = np.array([[1.0], [2.0]]) + np.zeros(3), np.array([[5.0], [10.0], [20.0], [40.0]]) + np.zeros(3)
    arrays = {"a.k": k, "a.tau": tau}
    found = simulate(parse_graph(text).with_(arrays=arrays), 1, inputs={"a.drive": 0.0}, record="a.v", seed=[1, 2])
    wanted = np.exp(-2 * np.repeat(k, 2, axis=0) / tau)
    assert found["a.v"].reshape(4, 3) == pytest.approx(wanted, rel=1e-13)


def test_inputs_are_held_over_the_step_and_every_integrator_reads_them() -> None:
    for integrator in ("euler", "exponential_euler", "exact", "rk4"):
        found = simulate(parse_graph(LEAK.format(dt=1.0, integrator=integrator)), 2, inputs={
            "a.drive": np.array([[0.0] * 3, [9.0] * 3])}, record="a.v", backend="interpreter")["a.v"]
        assert found[0, 0, 0] < 1.0 < found[1, 0, 0]


def test_the_matrix_exponential_is_that_of_series_and_squares() -> None:
    m = np.random.default_rng(1).normal(size=(7, 4, 4)) * 3
    values, vectors = np.linalg.eig(m)
    wanted = (vectors * np.exp(values)[:, None]) @ np.linalg.inv(vectors)
    moved, summed = propagators(m)
    assert np.abs(moved - wanted).max() < 1e-12 * np.abs(wanted).max()
    assert np.abs(m @ summed - (moved - np.eye(4))).max() < 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("code, integrator, slope, says", [
    ("E265", "exact", "-v * v", "dv/dt of cell 'c' is not linear in v"), ("E265", "exact", "drive * v", "changes with drive"),
    ("E265", "exact", "exp(v)", "not linear"), ("E265", "exact", "1 / v", "not linear"), ("E265", "exact", "prev(v) * v", "changes with v"),
    ("E265", "exponential_euler", "-v * v", "Use integrator rk4"), ("E266", "exact", "-v / (tau - 10)", "population 'a' is not finite")])
def test_what_an_integrator_cannot_solve_is_refused(code: str, integrator: str, slope: str, says: str) -> None:
    text = LEAK.replace("(drive - v) / tau", slope).format(dt=1.0, integrator=integrator)
    verify(parse_graph(text))
    with pytest.raises(CortexError, match=f"{code} .*{says}"):
        Discretise().apply(parse_graph(text), Request())


def test_a_rate_that_changes_is_solved_with_its_value_of_the_step() -> None:
    text = LEAK.replace("(drive - v) / tau", "drive * v")
    assert after(text, 2.0, 0.5, "exponential_euler", "a.v", -0.3) == pytest.approx(math.exp(-0.6), rel=1e-14)


FORMULAS = """graph g
  dt 0.5
  gate learn
cell c
  parameter tau ms = 10
  parameter decay 1 = exp(-dt / tau)
  parameter gain = 2 * decay
  port p
  state v = gain
  receive v = decay * prev(v) + p
  message v
rule r
  parameter tau ms = 5
  parameter keep = exp(-dt / tau)
  state x = keep
  update x = keep * prev(x)
  increment x
  optimiser low_pass(1 - keep)
synapse s
  message v
  port p
  rule r
population a c 2
  tau = 20
population b c 1
projection W s a -> b gate=learn
"""


def test_formulas_read_the_parameters_of_their_instance() -> None:
    graph = parse_graph(FORMULAS).with_(arrays={"W.w": np.zeros((1, 2)), "b.tau": np.array([2.0])})
    found = simulate(graph, 2, gates={"learn": 1.0}, record=["a.v", "b.v", "W.x", "W.w"])
    assert found["a.v"][0].ravel() == pytest.approx([2 * math.exp(-0.05)] * 2, rel=1e-14)
    assert found["b.v"][0].ravel() == pytest.approx([2 * math.exp(-0.5)], rel=1e-14)
    assert found["W.x"][1].ravel() == pytest.approx([math.exp(-0.3)] * 2, rel=1e-14)
    assert found["W.w"][0].ravel() == pytest.approx([(1 - math.exp(-0.1)) * math.exp(-0.2)] * 2, rel=1e-14)


def test_what_looks_at_a_circuit_as_it_is_written_knows_the_values_of_formulas() -> None:
    graph = parse_graph(FORMULAS).with_(arrays={"W.w": np.zeros((1, 2)), "b.tau": np.array([2.0])})
    found = cell_parameters(graph, graph.population("a"))
    assert found["decay"] == math.exp(-0.025) and found["gain"] == 2 * found["decay"]
    assert "decay" not in cell_parameters(graph, graph.population("b"))
    assert rule_parameters(graph, graph.projection("W"))["keep"] == pytest.approx(math.exp(-0.1), rel=1e-15)


def drawn(*lines: str, arrays: dict | None = None) -> Graph:
    body = "".join(f"  {line}\n" for line in lines)
    graph = parse_graph(LEAK.format(dt=1.0, integrator="euler").replace("a c 3\n", f"a c 2000\n{body}"))
    return Discretise().apply(graph.with_(arrays=arrays or {}), Request())


def test_distributions_are_drawn_from_their_seed_for_parameters_and_first_values() -> None:
    arrays = drawn("tau = normal(20, 2, 1, 90)", "v = uniform(-3, 5) seed=4").arrays
    assert abs(arrays["a.tau"].mean() - 20) < 0.2 and abs(arrays["a.tau"].std() - 2) < 0.1
    assert -3 <= arrays["a.v"].min() < -2.9 and 4.9 < arrays["a.v"].max() < 5
    assert np.array_equal(arrays["a.tau"], drawn("v = normal(0, 1)", "tau = normal(20, 2, 1, 90)").arrays["a.tau"])
    assert not np.array_equal(arrays["a.tau"], drawn("tau = normal(20, 2, 1, 90) seed=1").arrays["a.tau"])
    assert not np.array_equal(arrays["a.tau"], drawn("v = normal(20, 2)").arrays["a.v"])


def test_limits_clip_and_arrays_go_before_distributions() -> None:
    tau = drawn("tau = lognormal(2, 1, 3, 30)").arrays["a.tau"]
    assert tau.min() == 3.0 and tau.max() == 30.0 and 6 < np.median(tau) < 9
    assert drawn("tau = normal(20, 2, 1, 90)", arrays={"a.tau": np.full(2000, 7.0)}).arrays["a.tau"][0] == 7.0


def test_backends_run_no_formula_and_no_distribution_before_the_pass() -> None:
    for text in (LEAK.format(dt=1, integrator="euler").replace("dv/dt = (drive - v) / tau", "v = drive") + "  v = normal(1, 2)\n",
                 HEAD.format(dt=1) + "  parameter k = 2 * tau\n  send y = k * drive\npopulation a c 1\n"):
        with pytest.raises(CortexError, match="E255 .*(formula|distribution)"):
            Interpreter(parse_graph(text))


@pytest.mark.parametrize("integrator", ["exact", "exponential_euler", "rk4"])
def test_a_population_without_cells_is_no_trouble(integrator: str) -> None:
    graph = parse_graph(LEAK.format(dt=1.0, integrator=integrator).replace("a c 3", "a c 0"))
    assert simulate(graph.with_(arrays={"a.tau": np.zeros(0)}), 2, record="a.v")["a.v"].shape == (2, 1, 0)
