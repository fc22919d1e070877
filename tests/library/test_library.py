"""Every part of the library: its text, and up to 1,000 steps of it on the interpreter and native, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, verify
from cortexc.compiler.ir.expressions import Number
from cortexc.compiler.ir.library import parts
from cortexc.compiler.mapping.accounting import stored

ABOUT = ("Source: ", "Equations: ", "Units: ", "Verified: ")
STEPS, CELLS, SOURCES = 1000, 5, 8
DRIVES = {"lif_delta": 1.5, "lif_exp": 300.0, "lif_alpha": 100.0, "lif_cond_exp": 40.0, "lif_cond_alpha": 40.0, "adex": 120.0, "adex_alpha": 120.0, "hodgkin_huxley_alpha": 2000.0, "izhikevich": 5.0,
          "hodgkin_huxley": 20.0, "urbanczik_senn_cell": 15.0, "eprop_lif": 25.0}
"""Weights that make a cell spike."""
RATES = """cell x
  port arriving
  input target
  state rate = 0
  receive rate = 0.5 * tanh(arriving) + 0.5 * target
  state spike = 0
  receive spike = where(rate > 0.4, 1, 0)
  state dopamine = 0
  receive dopamine = 0.9 * prev(dopamine) + 0.1 * target
  state v = -70
  receive v = 60 * rate - 70
  state u_plus = -70
  receive u_plus = 0.9 * prev(u_plus) + 0.1 * v
  state u_minus = -70
  receive u_minus = 0.8 * prev(u_minus) + 0.2 * v
  receive mismatch = spike - rate
  receive psi = max(0, 1 - abs(rate))
  receive signal = target - rate
"""
SENDER = """cell sender
  input value
  send rate = value
  send spike = where(value > 0.9, 1, 0)
  message rate
  message spike
"""


def of_cell(name: str) -> Graph:
    ports = parse_graph(f"graph g\ncell x = library.{name}\n").cells[0].ports
    dt = 0.02 if name.startswith("hodgkin_huxley") else 0.1
    text = f"graph g\n  dt {dt}\n{SENDER}cell x = library.{name}\npopulation s sender {SOURCES}\npopulation a x {CELLS}\n"
    for port in ports:
        text += f"synapse to_{port.name}\n  message spike\n  port {port.name}\nprojection P_{port.name} to_{port.name} s -> a delay=0\n"
    g, scale = np.random.default_rng(1), DRIVES.get(name, 1.0)
    weights = {f"P_{port.name}.w": scale * g.uniform(0.5, 1.0, (CELLS, SOURCES)) * (0.1 if i else 1.0)
               for i, port in enumerate(ports)}
    return parse_graph(text).with_(arrays=weights)


def of_rule(name: str) -> Graph:
    text = f"graph g\n  dt 0.1\n  gate learn\n{SENDER}{RATES}rule r = library.{name}\nsynapse s\n  message rate\n  port arriving\n  sign non_negative\n" \
           f"  rule r\npopulation s sender {SOURCES}\npopulation a x {CELLS}\nprojection W s s -> a delay=0 gate=learn\n"
    return parse_graph(text).with_(arrays={"W.w": np.random.default_rng(2).uniform(0, 0.5, (CELLS, SOURCES))})


def steps_of(graph: Graph) -> int:
    return STEPS // 3 if graph.cell("x").integrator == "rk4" else STEPS


def inputs(graph: Graph) -> dict[str, np.ndarray]:
    g = np.random.default_rng(3)
    return {f"{p.name}.{name}": g.random((steps_of(graph), p.size)) * (40.0 if name == "rate" else 1.0)
            for p in graph.populations for name in graph.cell(p.cell).inputs}


@pytest.mark.parametrize("name", parts())
def test_a_part_says_what_it_is_and_has_the_name_of_its_file(name: str) -> None:
    part = parts()[name]
    assert part.name == name and part.about[0].endswith(".")
    heads = [line.split(" ")[0] + " " for line in part.about if line.startswith(ABOUT)]
    assert tuple(heads) == ABOUT


@pytest.mark.parametrize("name", parts())
def test_a_part_runs_with_the_same_bits_on_interpreter_and_native(name: str) -> None:
    graph = of_cell(name) if parts()[name].keyword == "cell" else of_rule(name)
    verify(graph)
    assert parse_graph(show_graph(graph)) == graph
    recorded = [f"a.{e.name}" for e in graph.cell("x").equations if e.name in {s.name for s in graph.cell("x").states}]
    recorded = [*(recorded or ["a.spike"]), *(f"{q.name}.w" for q in graph.projections)]
    recorded += [f"W.{state.name}" for rule in graph.rules for state in rule.states]
    runs = [simulate(graph, steps_of(graph), inputs=inputs(graph), gates={gate: 1.0 for gate in graph.gates}, record=recorded,
                     backend=backend) for backend in ("interpreter", "native")]
    for quantity in recorded:
        found, other = (run[quantity] for run in runs)
        assert np.isfinite(found).all() and np.array_equal(found.view(np.int64), other.view(np.int64)), quantity
    if parts()[name].keyword == "cell" and "a.spike" in runs[0]:
        assert 4 < runs[0]["a.spike"].sum() < STEPS * CELLS / 2
    else:
        moving = ["a.v"] if not graph.rules else ["W.w"] if graph.rules[0].increment != Number(0.0) else [f"W.{state.name}" for state in graph.rules[0].states]
        assert min(np.ptp(runs[0][quantity], axis=0).min() for quantity in moving) > 0


def test_lines_of_a_circuit_go_before_those_of_the_library() -> None:
    cell = parse_graph("graph g\ncell c = library.lif_exp\n  parameter tau_m ms = 30\n  integrator rk4\n  reset v = v - 1\n"
                       "  state g = 1\n  factor g = prev(g)\n").cells[0]
    assert {p.name: p.default for p in cell.parameters}["tau_m"] == 30.0 and cell.integrator == "rk4"
    assert cell.state("g") is not None and "v_free - 1" in show_graph(Graph("g", cells=(cell,)))
    assert len(cell.parameters) == len(parse_graph("graph g\ncell c = library.lif_exp\n").cells[0].parameters)


@pytest.mark.parametrize("line", ["receive dv / dt = 3 @ soma", "receive  dv/dt=3@soma", "receive v=3", "parameter tau_m=3", "port excitatory@soma",
                                  "reset v=3", "jump i_excitatory=3", "state v=3", "hold 3 ms", "integrator euler"])
def test_a_line_of_a_circuit_goes_before_the_library_s_however_it_is_spaced(line: str) -> None:
    def lines(text: str) -> int:
        return len(show_graph(parse_graph(text)).splitlines())

    assert lines(f"graph g\ncell c = library.lif_exp\n  {line}\n") <= lines("graph g\ncell c = library.lif_exp\n")


def test_a_parameter_of_a_circuit_stands_where_the_library_had_it() -> None:
    """What the library computes from it comes after it."""
    text = "graph g\n  dt 0.1\ncell c = library.lif_alpha\n  parameter tau_excitatory ms = 0.5\n  factor twice = 2 * v\npopulation a c 1\n"
    graph = parse_graph(text)
    verify(graph)
    names = [p.name for p in graph.cells[0].parameters]
    assert names == [p.name for p in parse_graph("graph g\ncell c = library.lif_alpha\n").cells[0].parameters]
    assert graph.cells[0].equation("twice") is not None


@pytest.mark.parametrize("line, near", [("cell c = library.lif_ex", "lif_exp"), ("rule r = library.stdp_aditive", "stdp_additive"),
                                        ("synapse s = library.oja", ""), ("cell c = library.oja", "")])
def test_a_part_that_is_not_there_names_those_that_are(line: str, near: str) -> None:
    with pytest.raises(CortexError, match=f"E270 line 2: unknown {line.split()[0]} of the library.*{near}"):
        parse_graph(f"graph g\n{line}\n")


def test_a_poisson_source_has_the_mean_and_variance_of_its_rate() -> None:
    graph = parse_graph("graph g\n  dt 0.1\ncell x = library.poisson_source\npopulation a x 500\n")
    counts = simulate(graph, 400, inputs={"a.rate": 7000.0}, record=["a.spike"], seed=4)["a.spike"]
    assert abs(counts.mean() - 0.7) < 0.006 and abs(counts.var() - 0.7) < 0.012
    assert abs((counts == 0).mean() - np.exp(-0.7)) < 0.004 and counts.max() < 10


def test_ojas_rule_finds_the_first_principal_component() -> None:
    text = "graph g\n  dt 1\n  gate learn\n" + SENDER + "cell x\n  port arriving\n  state rate = 0\n  receive rate = arriving\n" \
           "rule r = library.oja\nsynapse s\n  message rate\n  port arriving\n  rule r\npopulation s sender 3\npopulation a x 1\n" \
           "projection W s s -> a delay=0 gate=learn\n  learning_rate = 0.003\n"
    g = np.random.default_rng(5)
    values = g.normal(size=(6000, 3)) @ np.array([[1.0, 0.8, 0.0], [0.0, 0.5, 0.2], [0.0, 0.0, 0.3]])
    graph = parse_graph(text).with_(arrays={"W.w": g.normal(size=(1, 3))})
    w = simulate(graph, 6000, inputs={"s.value": values}, gates={"learn": 1.0}, record=["W.w"])["W.w"].reshape(6000, 3)[-1000:].mean(0)
    first = np.linalg.eigh(values.T @ values)[1][:, -1]
    assert abs(np.linalg.norm(w) - 1.0) < 0.05 and abs(abs(w @ first) / np.linalg.norm(w) - 1.0) < 0.01


def test_bcm_selects_one_of_two_inputs() -> None:
    text = "graph g\n  dt 1\n  gate learn\n" + SENDER + "cell x\n  port arriving\n  state rate = 0\n  receive rate = relu(arriving)\n" \
           "rule r = library.bcm\nsynapse s\n  message rate\n  port arriving\n  sign non_negative\n  rule r\npopulation s sender 2\n" \
           "population a x 1\nprojection W s s -> a delay=0 gate=learn\n  learning_rate = 0.002\n  tau = 50\n"
    shown = np.eye(2)[np.random.default_rng(6).integers(0, 2, 20000)]
    graph = parse_graph(text).with_(arrays={"W.w": np.array([[0.5, 0.6]])})
    w = simulate(graph, 20000, inputs={"s.value": shown}, gates={"learn": 1.0}, record=["W.w"])["W.w"].reshape(-1, 2)[-1]
    assert w.max() > 1.2 and w.min() < 0.2


@pytest.mark.parametrize("name, dt, bias, order", [
    ("hodgkin_huxley", 0.02, 5.0, 4), ("lif_cond_exp", 1.0, 200.0, 4), ("adex", 0.5, 500.0, 4), ("lif_cond_exp", 2.0, 200.0, 5)])
def test_the_error_between_spikes_falls_with_a_power_of_the_step(name: str, dt: float, bias: float, order: int) -> None:
    def voltages(share: int) -> np.ndarray:
        graph = parse_graph(f"graph g\n  dt {dt / share!r}\ncell x = library.{name}\n  integrator rk{order}\npopulation a x 1\n"
                            f"  bias = {bias}\n")
        return simulate(graph, 200 * share, record=["a.v"], every=share)["a.v"].ravel()

    exact = voltages(32)
    coarse, fine = (np.abs(voltages(share)[-150:] - exact[-150:]).max() for share in (1, 2))
    assert np.ptp(exact) > 0.5 and 0.75 < coarse / fine / 2**order < 1.4 and coarse < 0.01


def test_a_chip_keeps_the_states_of_a_cell_and_nothing_of_ours_but_the_refractory_time() -> None:
    graph = of_cell("lif_exp")
    assert stored(graph, graph.population("a")) == {"v": 1, "i_excitatory": 1, "i_inhibitory": 1, "refractory": 1}


TAUGHT = """graph taught
  dt 0.5
  gate learn
cell x
  input spike_
  send spike = spike_
  message spike
cell y
  port arriving
  input mismatch
  input psi
  input signal
  receive seen = arriving
rule r = library.{rule}
synapse s
  message spike
  port arriving
  rule r
population P x 4
population N y 3
projection W s P -> N delay=0 gate=learn
"""


def taught(rule: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(presynaptic spikes (T, 4), what the postsynaptic cells have (T, 3), weights after every step (T, 3, 4))."""
    g, steps = np.random.default_rng(8), 400
    spikes, mine = (g.random((steps, 4)) < 0.1) * 1.0, g.normal(size=(2, steps, 3))
    inputs = {"P.spike_": spikes, "N.mismatch": mine[0], "N.psi": mine[0], "N.signal": mine[1]}
    graph = parse_graph(TAUGHT.format(rule=rule)).with_(arrays={"W.w": np.zeros((3, 4))})
    run = simulate(graph, steps, inputs=inputs, gates={"learn": 1.0}, record=["W.w"])
    return spikes, mine, run["W.w"][:, 0]


def test_the_rule_of_urbanczik_and_senn_is_its_equations() -> None:
    spikes, mine, w = taught("urbanczik_senn")
    ages = 0.5 * np.arange(len(spikes))
    kernel = (np.exp(-ages / 10) - np.exp(-ages / 3)) / 7
    psp = np.array([np.convolve(train, kernel)[:len(train)] for train in spikes.T]).T
    change, delta, found = np.zeros((3, 4)), np.zeros((3, 4)), []
    for mismatch, arrived in zip(mine[0], psp, strict=True):
        delta = delta * (1 - 0.5 / 100) + 0.5 / 100 * np.outer(mismatch, arrived)
        change = change + 0.5 * 0.07 * delta
        found.append(change)
    assert np.abs(np.array(found)).max() > 1e-3 and np.abs(w - np.array(found)).max() < 1e-12


def test_e_prop_is_its_equations() -> None:
    spikes, mine, w = taught("eprop\n  parameter beta mV = 0.4")
    ages = 0.5 * np.arange(len(spikes))
    trace = np.array([np.convolve(train, np.exp(-ages / 20))[:len(train)] for train in spikes.T]).T
    rho, kappa = np.exp(-0.5 / 200), np.exp(-0.5 / 20)
    slow, eligible, change, found = *np.zeros((3, 3, 4)), []
    for psi, signal, arrived in zip(*mine, trace, strict=True):
        change = change - 0.005 * signal[:, None] * eligible
        e = psi[:, None] * (arrived - 0.4 * slow)
        slow, eligible = rho * slow + e, kappa * eligible + e
        found.append(change)
    assert np.abs(np.array(found)).max() > 1e-2 and np.abs(w - np.array(found)).max() < 1e-12
