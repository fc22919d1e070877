"""Eliminate-lookahead: the same circuit with less state, wherever the look-ahead cancels the membrane exactly."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import Graph, parse_graph, show, show_graph, verify
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.passes import Request, pipeline, run_passes
from cortexc.compiler.passes.eliminate_lookahead import EliminateLookahead, lookaheads

GOLDEN = Path(os.environ.get("CORTEXC_GOLDEN", Path(__file__).parents[2] / ".." / "shared" / "golden"))
PASSES = pipeline(("discretise", "fold", "eliminate-lookahead"))
LEARNING = dict(sigma=(0.05,), eta_fw=(2.0, 0.5), eta_bw=(50.0,), eta_PI=(5.0,), eta_IP=(1.0,))
VARIANTS = [LEARNING, {**LEARNING, "variant": "FA"}, {**LEARNING, "variant": "BP"},
            {**LEARNING, "use_activation": False}, {**LEARNING, "activation": ("tanh", "relu")}]

CELL = """
cell source
  input value
  send rate = value
  message rate
cell unit
  port basal @ basal
  parameter tau 1 = 4
  parameter taur 1 = 4
  state u = 0.25
  state rate = logistic(u)
  send breve = prev(prev(u)) + tau * (prev(u) - prev(prev(u))) / dt
  send rate = logistic(breve)
  receive drive = 2 * basal
  receive u = prev(u) + dt * (drive - prev(u)) / tau
  factor slope = rate - prev(rate)
  message rate
synapse plain
  message rate
  port basal
population a source 2
population b unit 2
projection W plain a -> b
output result = b.rate
output slope = b.slope
"""


def graph_of(*changes: tuple[str, str], **arrays: np.ndarray) -> Graph:
    text = CELL
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    bound = {name.replace("__", "."): array for name, array in arrays.items()}
    graph = parse_graph(text).with_(arrays={"W.w": np.array([[1.0, -1.0], [0.5, 2.0]]), **bound})
    verify(graph)
    return graph


def eliminated(graph: Graph, *observed: str) -> Graph:
    result = EliminateLookahead().apply(graph, Request(frozenset(observed)))
    verify(result)
    return result


def breve(graph: Graph) -> str:
    return show(graph.cell("unit").equation("breve").expression)


def deviating(before: list[dict], after: list[dict], tolerance: float) -> dict[str, float]:
    """The largest error of each quantity of the new run that leaves the tolerance (nan leaves it too)."""
    errors = {name: max(float(np.abs(new[name] - old[name]).max()) for old, new in zip(before, after, strict=True))
              for name in after[-1]}
    return {name: error for name, error in errors.items() if not error <= tolerance}


def agree(run, before: Graph, after: Graph) -> None:
    """Every quantity of the new graph has the old one's values, and the circuit is not at rest."""
    old, new = run(before, 50), run(after, 50)
    assert deviating(old, new, 1e-13) == {}
    assert np.ptp([row["b.rate"] for row in new]) > 1e-3


# --- the rewrite ----------------------------------------------------------------------------------------------


def test_the_text_before_and_after() -> None:
    cell = eliminated(graph_of()).cell("unit")
    text = show_graph(Graph("only", cells=(cell,)))
    assert "  state drive = 0.25\n  state rate = logistic(drive)\n  send breve = prev(drive)\n" in text
    assert "u = " not in text and "tau" not in text


def test_the_circuit_stays_the_same(run) -> None:
    agree(run, graph_of(), eliminated(graph_of()))


def test_an_array_bound_to_the_voltage_moves_to_the_drive(run) -> None:
    graph = graph_of(b__u=np.array([0.5, -3.0]))
    result = eliminated(graph)
    assert "b.u" not in result.arrays and result.arrays["b.drive"].tolist() == [0.5, -3.0]
    agree(run, graph, result)


@pytest.mark.parametrize("bound", [{}, {"b__u": np.array([0.5, -3.0])}], ids=["declared", "bound"])
def test_an_observed_voltage_stays(run, bound: dict) -> None:
    graph = graph_of(**bound)
    result = eliminated(graph, "b.u")
    cell = result.cell("unit")
    assert breve(result) == "prev(drive)" and cell.equation("u") == graph.cell("unit").equation("u")
    assert [(s.name, show(s.initial)) for s in cell.states] == [
        ("u", "0.25"), ("drive", "u"), ("rate", "logistic(u)")]
    agree(run, graph, result)


@pytest.mark.parametrize("reader", [
    ("factor slope = rate - prev(rate)", "factor slope = rate - prev(rate) + u"),
    ("factor slope = rate - prev(rate)", "factor slope = rate - prev(rate) + prev(u)"),
    ("output result = b.rate", "output result = b.rate\noutput voltage = b.u")])
def test_a_voltage_that_something_else_reads_stays(run, reader: tuple[str, str]) -> None:
    graph = graph_of(reader)
    result = eliminated(graph)
    assert breve(result) == "prev(drive)" and result.cell("unit").equation("u") is not None
    agree(run, graph, result)


def test_two_prospective_quantities_share_a_drive(run) -> None:
    second = "prev(u) + (tau / dt - 1) * (prev(u) - prev(prev(u)))"
    sent = f"  send ahead = {second}\n  send rate = logistic(ahead) + breve"
    graph = graph_of(("  send rate = logistic(breve)", sent))
    result = eliminated(graph)
    assert breve(result) == show(result.cell("unit").equation("ahead").expression) == "prev(drive)"
    assert result.cell("unit").equation("u") is None
    agree(run, graph, result)


def test_a_first_value_other_than_the_voltage_is_kept_as_an_expression(run) -> None:
    """A membrane with a leak to rest e: breve starts at u + tau * 0 / dt - e."""
    rest = ("dt * (drive - prev(u)) / tau", "dt * (drive + 3 - prev(u)) / tau")
    graph = graph_of(rest, ("- prev(prev(u))) / dt", "- prev(prev(u))) / dt - 3"))
    result = eliminated(graph)
    drive = result.cell("unit").state("drive")
    assert breve(result) == "prev(drive)" and result.cell("unit").equation("u") is not None
    assert show(drive.initial) == "u + tau * (u - u) / dt - 3"
    agree(run, graph, result)


@pytest.mark.parametrize("membrane", [
    "(1 - dt / tau) * prev(u) + dt / tau * drive", "prev(u) - (prev(u) - drive) * dt / tau",
    "prev(u) + dt / tau * drive - dt / tau * prev(u)"])
def test_other_ways_to_write_the_membrane(run, membrane: str) -> None:
    graph = graph_of(("prev(u) + dt * (drive - prev(u)) / tau", membrane))
    assert breve(eliminated(graph)) == "prev(drive)"
    agree(run, graph, eliminated(graph))


def test_after_discretising_too() -> None:
    graph = graph_of(("receive u = prev(u) + dt * (drive - prev(u)) / tau", "receive du/dt = (drive - u) / tau"))
    assert breve(run_passes(graph, PASSES).graph) == "prev(drive)"


@pytest.mark.parametrize("change", [
    ("+ tau * (prev(u)", "+ taur * (prev(u)"),
    ("+ tau * (prev(u)", "+ 1.000001 * tau * (prev(u)"),
    ("+ tau * (prev(u)", "+ (prev(u)"),
    ("- prev(prev(u))) / dt", "- prev(prev(u))) / dt + basal_now"),
    ("prev(prev(u)) + tau", "prev(u) + tau"),
    ("/ tau\n", "/ tau + 0.001 * prev(rate)\n"),
    ("drive - prev(u)) / tau", "2 * drive - prev(u)) / tau"),
    ("drive - prev(u)) / tau", "2 * basal - prev(u)) / tau"),
    ("drive - prev(u)) / tau", "basal - prev(u)) / tau"),
    ("u = prev(u) + dt", "u = where(prev(u) > 1, 0, prev(u)) + dt"),
    ("state u = 0.25", "state u = 0.25 : int8 1"),
    ("= prev(prev(u)) + tau", "= prev(rate) + prev(prev(u)) + tau")], ids=lambda change: change[1])
def test_what_does_not_cancel_is_left_untouched(change: tuple[str, str]) -> None:
    extra = ("  send breve", "  send basal_now = 1\n  send breve")
    graph = graph_of(extra, change)
    assert list(lookaheads(graph, graph.cell("unit"))) == []
    assert eliminated(graph) is graph


@pytest.mark.parametrize("initial, bound, eliminates", [
    ("u", {}, True), ("u + 0 * tau", {}, True), ("0.25", {}, False), ("u", {"b__drive": np.ones(2)}, False)])
def test_a_drive_with_a_first_value_of_its_own(initial: str, bound: dict, eliminates: bool) -> None:
    declared = ("  state rate", f"  state drive = {initial}\n  state rate")
    result = eliminated(graph_of(declared, **bound))
    assert (breve(result) == "prev(drive)") is eliminates


def test_a_second_elimination_changes_nothing(pal) -> None:
    once = eliminated(pal(**LEARNING))
    assert eliminated(once) is once


# --- the PAL circuit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [(2, 3), (2, 3, 2), (2, 3, 4, 2)])
def test_applies_to_every_cell_type_of_pal(pal, layers: tuple[int, ...]) -> None:
    graph = run_passes(pal(layers, eta_bw=(1.0,)), PASSES).graph
    dynamic = [cell for cell in graph.cells if cell.name != "source"]
    assert len(dynamic) == (3 if len(layers) > 2 else 1)
    for cell in dynamic:
        assert show(cell.equation("breve").expression) == "prev(drive)" and cell.equation("u") is None
    assert {name for name in graph.arrays if name.endswith(".u")} == set()


@pytest.mark.parametrize("taur", [0.0, 0.5])
def test_leaves_pal_with_another_lookahead_as_it_is(pal, taur: float) -> None:
    graph = pal(taur=taur)
    assert eliminated(graph) is graph


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_300_steps_of_learning(pal, run, options: dict) -> None:
    graph = pal(**options)
    result = eliminated(graph)
    assert result.cells != graph.cells
    before, after = run(graph, 300), run(result, 300)
    assert deviating(before, after, 2e-12) == {}
    learnt = ["WPP_0.w", "WPP_1.w", "WIP_0.w"] + (["BPP_0.w"] if "variant" not in options else [])
    assert all(np.abs(after[-1][name] - graph.arrays[name]).max() > 1e-6 for name in learnt)


# --- recorded trajectories ------------------------------------------------------------------------------------

RECORDED = {"uP": "P{}.u", "uP_breve": "P{}.breve", "rP_breve": "P{}.rate", "vbas": "P{}.basal_potential",
            "vapi": "P{}.apical_potential", "vapi_noise": "P{}.noisy_apical", "noise": "P{}.xi",
            "rP_breve_HI": "P{}.rate_high_pass", "uI": "I{}.u", "uI_breve": "I{}.breve", "rI_breve": "I{}.rate",
            "vden": "I{}.dendritic_potential", "dWPP_LO": "WPP_{}.low_pass",
            **{w: w + "_{}.w" for w in ("WPP", "WIP", "BPP", "BPI")},
            **{f"d{w}": w + "_{}.increment" for w in ("WPP", "WIP", "BPP", "BPI")}}
NAMES = {"model_type": "variant", "noise_scale": "sigma", "tauxi": "tau_xi", "tauHP": "tau_HP", "tauLO": "tau_LO",
         "dWPP_use_activation": "use_activation"}
FILES = ["111_bw_only_noise", "111_fw_bw_FA", "111_fw_bw_noise", "232_bw_only_noise", "232_bw_only_nonoise",
         "232_bw_only_taur0", "232_fw_bw_BP", "232_fw_bw_FA", "232_fw_bw_noise", "232_fw_bw_nonoise"]


def load(name: str) -> dict[str, np.ndarray]:
    path = GOLDEN / f"pal_{name}.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path) as file:
        return dict(file)


def recorded_circuit(file: dict[str, np.ndarray]) -> Graph:
    """The circuit of a file, with its first weights and voltages."""
    options = {NAMES.get(name, name): value for name, value in json.loads(str(file["params_json"])).items()}
    known = set(Pal.__dataclass_fields__) - {"noise"}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items() if k in known}
    given["activation"] = (given["activation"],)
    starts = {**{f"init_{w}": w + "_{}.w" for w in ("WPP", "WIP", "BPP", "BPI")},
              "init_uP": "P{}.u", "init_uI": "I{}.u"}
    arrays = {name.format(i): file[f"{key}_{i}"] for key, name in starts.items() for i in range(2)
              if f"{key}_{i}" in file}
    return build(Pal(**given, arrays=arrays))


def replay(graph: Graph, file: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What survives of the recorded variables, by the file's names."""
    interpreter, rows = Interpreter(graph), []
    for n, (value, target, (learn, lateral, feedback)) in enumerate(
            zip(file["r0"], file["u_tgt"], file["flags"], strict=True)):
        gates = dict(learn_forward=learn, learn_lateral=lateral, learn_feedback=feedback, noise=feedback,
                     target=not np.isnan(target).any())
        given = {"input.value": value, "teacher.value": np.nan_to_num(target)}
        given |= {f"P{i}.white": file[f"white_{i}"][n] for i in range(2) if f"white_{i}" in file}
        rows.append(dict(interpreter.step(given, gates, {})))
    names = {f"{key}_{i}": name.format(i) for key, name in RECORDED.items() for i in range(2)}
    return {key: np.stack([row[name][0] for row in rows]) for key, name in names.items()
            if key in file and name in rows[0]}


@pytest.mark.parametrize("request_, least", [(Request(), 12), (Request(everything=True), 20)], ids=["least", "all"])
@pytest.mark.parametrize("name", FILES)
def test_the_transformed_circuit_follows_the_recorded_one(name: str, request_: Request, least: int) -> None:
    file = load(name)
    graph = recorded_circuit(file)
    result = run_passes(graph, PASSES, request_).graph
    assert ("taur" in name) == (show(result.cell("hidden_pyramidal").equation("breve").expression) != "prev(drive)")
    computed = replay(result, file)
    assert len(computed) >= least
    for key, values in computed.items():
        error = np.abs(values - file[key])
        assert error.max() <= 1e-10, key
        assert np.all(error.max(0) <= 1e-8 * np.ptp(file[key], axis=0) + 1e-16), key
