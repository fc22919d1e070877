"""Discretise: derivatives become explicit Euler steps, whose error has order one."""

import math

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show, show_graph, verify
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.discretise import Discretise

LEAKY = """
graph leaky
  dt 0.5
cell unit
  input drive
  parameter tau ms = 4
  state u = 1
  receive du/dt = (drive - u) / tau
population p unit 1
"""

OSCILLATOR = """
cell oscillator
  state x = 1
  state y = 0
  receive dx/dt = -y
  receive dy/dt = x
population p oscillator 1
"""

TRACE = """
graph trace
  dt 0.25
cell source
  input value
  send rate = value
  message rate
cell unit
  port basal @ basal
  receive u = basal
rule eligible
  state e = 1
  update de/dt = pre.rate - e
  increment e
synapse plastic
  message rate
  port basal
  rule eligible
population a source 1
population b unit 1
projection W plastic a -> b
"""


def discretised(text: str, **arrays: np.ndarray) -> Graph:
    graph = parse_graph(text).with_(arrays={f"{name}.w": array for name, array in arrays.items()})
    verify(graph)
    result = Discretise().apply(graph, Request())
    verify(result)
    return result


def test_the_derivative_becomes_an_euler_step() -> None:
    assert show(discretised(LEAKY).cells[0].equations[0].expression) == \
        "prev(u) + dt * ((drive - prev(u)) / tau)"
    assert "receive u = prev(u) + dt * ((drive - prev(u)) / tau)" in show_graph(discretised(LEAKY))


def test_a_step_by_hand() -> None:
    values = Interpreter(discretised(LEAKY)).step({"p.drive": np.array([5.0])}, {}, {})
    assert values["p.u"].tolist() == [[1 + 0.5 * (5 - 1) / 4]]


def test_coupled_derivatives_read_each_others_earlier_values() -> None:
    graph = discretised(OSCILLATOR).with_(dt=0.5)
    interpreter = Interpreter(graph)
    first, second = (dict(interpreter.step({}, {}, {})) for _ in range(2))
    assert (first["p.x"].item(), first["p.y"].item()) == (1.0, 0.5)
    assert (second["p.x"].item(), second["p.y"].item()) == (0.75, 1.0)


def error(dt: float) -> float:
    """Distance from exp(-1/4) after 1 ms without drive."""
    interpreter = Interpreter(discretised(LEAKY).with_(dt=dt))
    for _ in range(round(1 / dt)):
        values = interpreter.step({"p.drive": np.array([0.0])}, {}, {})
    return abs(values["p.u"].item() - math.exp(-0.25))


def test_the_order_is_one() -> None:
    order = math.log2(error(1 / 64) / error(1 / 128))
    assert 0.95 < order < 1.05


def test_states_of_a_synapse_are_discretised_too() -> None:
    graph = discretised(TRACE, W=np.zeros((1, 1)))
    assert show(graph.rules[0].updates[0].expression) == "prev(e) + dt * (pre.rate - prev(e))"
    values = Interpreter(graph).step({"a.value": np.array([3.0])}, {}, {})
    assert values["W.e"].item() == 1 + 0.25 * (3 - 1)


def test_a_graph_without_derivatives_stays_as_it_is(pal) -> None:
    graph = pal()
    assert Discretise().apply(graph, Request()) == graph
    assert Discretise().apply(discretised(LEAKY), Request()) == discretised(LEAKY)


def test_an_unknown_integrator_is_refused() -> None:
    with pytest.raises(CortexError, match="E264 unknown integrator 'heun'; known: euler"):
        Discretise(integrator="heun").apply(parse_graph(LEAKY), Request())


def test_the_interpreter_does_not_run_derivatives() -> None:
    with pytest.raises(CortexError, match="E255 equation 'du/dt' of cell 'unit'"):
        Interpreter(parse_graph(LEAKY))
