"""The circuits: starts, wiring, learned feedback, options that do not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from error_neuron_files import golden_arrays

from cortexc.compiler.ir import CortexError, parse_graph, show_graph, verify
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.error_neuron import AREA_MATRIX, ErrorNeuron, build
from cortexc.compiler.microcircuits.error_neuron_cells import activated
from cortexc.compiler.microcircuits.error_neuron_start import legacy_start
from cortexc.compiler.microcircuits.pal_start import ann_start, dendritic_start, dpc_start, random_dendritic_start
from cortexc.compiler.microcircuits.rivals import Ann, Dendritic, Dpc, build_ann, build_dendritic, build_dpc
from cortexc.compiler.passes.read_sets import explain_text, read_sets
from cortexc.compiler.verify import Setup, verify_against_reference, verify_setup
from cortexc.compiler.verify.oracles.error_neuron import reference_setup

RANGES = {"WIP": (-0.3, 0.3), "BPI": (-0.3, 0.3), "copy_error": (-0.25, 0.25)}


def started(circuit, build_it=build, start=legacy_start, ranges=None):
    return build_it(replace(circuit, arrays=start(circuit, 1, ranges or {})))


# ---- starts


@pytest.mark.parametrize("name, options", [
    ("2-3-2_on", {}), ("2-3-2_FA_on", dict(variant="FA")), ("4-2-1_skipreal_on", dict(wiring="areas")),
    ("4-3-2-1_skip_on", dict(wiring="skip", skip_rates="all")),
    ("4-3-2-1_skipFA_on", dict(wiring="skip", skip_rates="all", variant="FA"))])
def test_start_is_the_published_one_to_the_bit(name, options):
    arrays = golden_arrays(f"errormc_{name}")
    circuit = ErrorNeuron(tuple(int(n) for n in name.split("_")[0].split("-")), **options)
    found = legacy_start(circuit, 1234, RANGES)
    for i in range(circuit.areas):
        for kind, ours in (("uP", f"R{i}.u"), ("uI", f"E{i}.u"), ("WIP", f"WIP_{i}.w"), ("BPI", f"BPI_{i}.w")):
            assert np.array_equal(found[ours], arrays[f"init_{kind}_{i}"])
    for kind, pairs, naming, sizes, first in (
            ("WPP", circuit.forward_pairs(), circuit.forward_name, circuit.layers, 1),
            ("BII", circuit.feedback_pairs(), circuit.feedback_name, circuit.errors, 0)):
        ends = np.cumsum([0, *sizes])
        for to, k in pairs:
            block = arrays[f"init_{kind}_{to}"] if circuit.layered else arrays[f"init_{kind}_0"][
                ends[to + first]:ends[to + first + 1], ends[k + first]:ends[k + first + 1]]
            assert np.array_equal(found[f"{naming(to, k)}.w"], block)


@pytest.mark.parametrize("name, kind, start", [
    ("sacramento2018_2-3-2_on", Dendritic, dendritic_start), ("dPC_2-3-2_on", Dpc, dpc_start),
    ("sacramento2018_2-3-2_FA_on", Dendritic, random_dendritic_start), ("ann_2-3-2_on", Ann, ann_start)])
def test_rivals_start_as_published_to_the_bit(name, kind, start):
    arrays = golden_arrays(name)
    ranges = {"copy_error": (-0.25, 0.25)} | ({"WIP": (-0.3, 0.3), "BPI": (-0.3, 0.3)} if "FA" in name else {})
    found = start(kind((2, 3, 2), variant="FA" if "FA" in name else "BP"), 1234, ranges)
    names = {"uP": "R" if kind is Ann else "P", "uI": "E" if kind is Ann else "I"}
    checked = 0
    for key, value in arrays.items():
        variable, _, i = key.removeprefix("init_").rpartition("_")
        ours = f"{names[variable]}{i}.u" if variable in names else f"{variable}_{i}.w"
        if key.startswith("init_") and ours in found:
            assert np.array_equal(found[ours], value), key
            checked += 1
    assert checked >= 6


def test_unequal_populations_start_with_a_cut_identity():
    found = legacy_start(ErrorNeuron((3, 4, 2), error_layers=(2, 2)), 1)
    assert np.array_equal(found["WIP_0.w"], np.eye(2, 4)) and np.array_equal(found["BPI_0.w"], np.eye(4, 2))
    assert np.array_equal(found["BII_0.w"], found["WPP_1.w"].T[:2, :2])


# ---- wiring


def test_area_matrix_wires_the_areas():
    circuit = ErrorNeuron((8, 4, 2, 1), wiring="areas")
    assert circuit.forward_pairs() == [(0, -1), (1, 0), (2, 0), (2, 1)]
    rates = {q.name: dict(q.parameters).get("eta") for q in started(circuit).projections if q.name.startswith("WPP")}
    assert rates == {"WPP_0_in": 1.0, "WPP_1_0": 1.0, "WPP_2_0": pytest.approx(0.1 ** 1.5), "WPP_2_1": 1.0}
    assert len(AREA_MATRIX) == 7 and all(AREA_MATRIX[i][i] == 0 for i in range(7))


def test_error_neurons_of_one_area_are_coupled_by_the_copies_error_only_where_published():
    names = {q.name for q in started(ErrorNeuron((8, 4, 2, 1), wiring="areas")).projections}
    assert {"BII_0_0", "BII_1_1"} <= names and "BII_2_2" not in names
    without = {q.name for q in started(ErrorNeuron((8, 4, 2, 1), wiring="areas", within_area_noise=False)).projections}
    assert names - without == {"BII_0_0", "BII_1_1"}


@pytest.mark.parametrize("graph", [
    started(ErrorNeuron((4, 3, 2, 1), wiring="skip")), started(ErrorNeuron((4, 3, 2), variant="noise", target_delay=2)),
    started(ErrorNeuron((4, 3, 2), variant="KP", reset=True)), started(ErrorNeuron((4, 4, 1), plant="cartpole")),
    started(Dendritic((4, 3, 2)), build_dendritic, dendritic_start), started(Dpc((4, 3, 2)), build_dpc, dpc_start),
    started(Ann((4, 3, 2), target_delay=2), build_ann, ann_start)], ids=lambda g: g.name)
def test_text_reads_back(graph):
    verify(graph)
    again = parse_graph(show_graph(graph)).with_(arrays=graph.arrays)
    assert again == graph


def test_dendritic_is_pal_without_noise():
    from cortexc.compiler.microcircuits.pal import Pal
    from cortexc.compiler.microcircuits.pal import build as build_pal

    ours = started(Dendritic((4, 3, 2), variant="FA"), build_dendritic, dendritic_start)
    theirs = build_pal(Pal((4, 3, 2), "FA", ("tanh",), arrays=ours.arrays))
    assert ours.cells == theirs.cells and ours.rules == theirs.rules and ours.populations == theirs.populations
    assert {q.name for q in ours.projections} == {q.name for q in theirs.projections}


# ---- locality


def test_explain_names_the_copy_as_not_local_and_learned_feedback_passes():
    for variant in ("BP", "FA", "noise", "KP"):
        graph = started(ErrorNeuron((8, 4, 2, 1), variant=variant))
        local = {found.projection: found.local for found in read_sets(graph)}
        assert all(local[name] for name in local if not name.startswith("BII"))
        assert all(local[name] == (variant != "BP") for name in local if name.startswith("BII"))
    assert "weight transport: a mirror copies projection 'WPP_1'" in explain_text(started(ErrorNeuron((8, 4, 2, 1))))


def learning_setup(circuit, steps=400, feedback=True, seed=3):
    graph = build(replace(circuit, arrays=legacy_start(circuit, seed, {"copy_error": (-0.5, 0.5)})))
    on = [(gate, (1.0,)) for gate in graph.gates if feedback or gate not in ("learn_feedback", "noise")]
    samples = np.random.default_rng(seed).uniform(0, 1, (steps // 20, circuit.layers[0] + circuit.layers[-1]))
    return Setup(graph, Protocol((Phase("learn", steps // 20, 20, gates=tuple(on)),), ("learn",)), samples, (seed,))


@pytest.mark.parametrize("variant", ["noise", "KP"])
@pytest.mark.parametrize("on, granularity", [("native", "network"), ("native", "population"), pytest.param(
    "lava", "area", marks=pytest.mark.lava)])
def test_learned_feedback_has_the_interpreters_bits(variant, on, granularity):
    circuit = ErrorNeuron((3, 4, 2, 2), variant=variant, wiring="skip", eta_bw=(50.0,), alpha=(1e-3,), tau_LO=1.0)
    result = verify_setup(learning_setup(circuit), on, granularity)
    assert result.passed and result.max_abs_error == 0.0, result.reasons


def rows_of(setup, names):
    from cortexc.compiler.verify.runs import interpreted

    chunk = next(interpreted(setup, names))
    return [chunk[name][:, 0] for name in names]


def test_kolen_pollack_increment_is_its_formula():
    circuit = ErrorNeuron((3, 4, 2), variant="KP", eta_fw=(1.0, 0.5), decay=0.1)
    error, rate, w, increment = rows_of(learning_setup(circuit, 40), ["E1.rate", "R0.rate", "BII_0.w",
                                                                      "BII_0.increment"])
    gain = 0.06 / 0.19
    expected = 0.01 * 0.5 * (gain * rate[:-1, :, None] * error[:-1, None, :] - 0.1 * w[:-1])
    assert np.abs(increment[1:] - expected).max() < 1e-15 and np.abs(expected).max() > 1e-5


def test_noise_circuit_is_its_equations():
    circuit = ErrorNeuron((3, 4, 2), variant="noise", eta_bw=(7.0,), alpha=(0.2,), sigma=(0.3,), multiplex=0.4,
                          tau_xi=0.2, tau_HP=0.3, tau_LO=2.0)
    setup = learning_setup(circuit, 40)
    names = ["E0.xi", "E1.companion_high_pass", "E1.rate_high_pass", "E1.rate", "E1.breve", "R1.rate", "BII_0.w",
             "BII_0.increment", "WPP_1.increment", "WPP_1.low_pass"]
    xi, companion, high_pass, rate, breve, heard, w, increment, raw, filtered = rows_of(setup, names)
    draws = (xi[1:] * 0.2 - xi[:-1] * (0.2 - 0.01)) / (np.sqrt(0.01 * 0.2) * 0.3)
    assert 0.8 < draws.std() < 1.2 and abs(draws.mean()) < 0.3
    for now, fed in ((companion, heard), (high_pass, rate)):
        assert np.abs(now[1:] - (now[:-1] * (1 - 0.01 / 0.3) + fed[1:] - fed[:-1])).max() < 1e-14
    assert np.abs(rate[1:] - breve[1:] - 0.4 * companion[:-1]).max() < 1e-15
    expected = 0.01 * 7 * (xi[1:, :, None] * high_pass[:-1, None, :] - 0.2 * w[:-1])
    assert np.abs(increment[1:] - expected).max() < 1e-15
    assert np.abs(filtered[1:] - (filtered[:-1] + 0.01 / 2 * (raw[1:] - filtered[:-1]))).max() < 1e-16


@pytest.mark.parametrize("phi, expected", [
    ("tanh", "tanh(3.0 * (x - 0.5))"), ("logistic", "logistic(3.0 * (x - 0.5))"), ("relu", "3.0 * relu((x - 0.5))"),
    ("linear", "3.0 * linear((x - 0.5))")])
def test_gain_is_inside_saturating_activations(phi, expected):
    assert activated(phi, 3.0, 0.5, "x") == expected


def angle_of_feedback(setup, steps):
    from cortexc.compiler.experiments.results import angle
    from cortexc.compiler.verify.runs import trajectory

    last = {}
    for chunk in trajectory(setup, ["BII_0.w", "WPP_1.w"], "native", steps=steps):
        last = chunk
    return float(angle(last["BII_0.w"][-1, 0], last["WPP_1.w"][-1, 0].T))


def test_kolen_pollack_aligns_feedback_jit():
    circuit = ErrorNeuron((6, 8, 4), variant="KP", eta_fw=(2.0,), decay=0.05)
    setup = learning_setup(circuit, 40_000)
    assert angle_of_feedback(setup, 1) > 60 and angle_of_feedback(setup, 40_000) < 10


def test_noise_aligns_feedback_jit():
    circuit = ErrorNeuron((6, 8, 4), variant="noise", eta_fw=(0.0,), eta_bw=(300.0,), alpha=(1e-5,), sigma=(1.0,),
                          tau_xi=1.0, tau_HP=1.0)
    setup = learning_setup(circuit, 200_000)
    quiet = replace(setup, protocol=Protocol((replace(setup.protocol.phases[0], gates=tuple(
        (gate, (1.0,)) for gate in ("learn_feedback", "noise"))),), ("learn",)))
    assert angle_of_feedback(quiet, 1) > 60 and angle_of_feedback(quiet, 200_000) < 30


# ---- against the reference


@pytest.mark.parametrize("circuit", [
    ErrorNeuron((5, 4, 3, 2), eta_fw=(1.0, 0.5, 0.2)), ErrorNeuron((5, 4, 3, 2), wiring="areas", target_delay=3),
    ErrorNeuron((5, 4, 3, 2), wiring="skip", variant="FA", activation=("logistic",), use_activation=True),
    ErrorNeuron((3, 4, 2), error_layers=(2, 3), eta_IP=(1.0,), eta_PI=(0.5,), rep_lookahead=(False, True)),
    Dendritic((5, 4, 3, 2), eta_fw=(0.5,), eta_IP=(0.2,)), Dpc((5, 4, 3, 2), eta_fw=(0.2,), eta_PI=(0.1,)),
    Ann((5, 4, 3, 2), variant="FA", eta_fw=(0.5,))], ids=lambda c: f"{type(c).__name__}-{c.variant}")
def test_native_is_the_reference_jit(circuit):
    result = verify_against_reference(circuit, 2000, (7, 8))
    assert result.passed and result.evidence == "independent-reference", result.reasons
    assert result.max_abs_error <= 1e-10 and len(result.variables) >= 12


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["network", "area", "population"])
@pytest.mark.parametrize("circuit", [ErrorNeuron((5, 4, 3, 2), wiring="areas", eta_fw=(1.0,)),
                                     Dendritic((4, 3, 2), eta_IP=(0.2,)), Dpc((4, 3, 2), eta_PI=(0.1,)),
                                     Ann((4, 3, 2))], ids=lambda c: type(c).__name__)
def test_lava_is_the_reference_jit(circuit, granularity):
    result = verify_against_reference(circuit, 5000, (7, 8), "lava", granularity)
    assert result.passed and result.max_abs_error <= 1e-10, result.reasons


def test_a_circuit_with_other_rates_is_not_the_reference():
    circuit = ErrorNeuron((4, 3, 2))
    setup = reference_setup(circuit, 400, (7,))
    result = verify_against_reference(replace(circuit, eta_fw=(1.001,)), 400, (7,), setup=setup)
    assert not result.passed


@pytest.mark.parametrize("circuit", [ErrorNeuron((4, 3, 2), variant="KP"), ErrorNeuron((4, 3, 2), variant="noise"),
                                     ErrorNeuron((4, 3, 2), activation=("hard_sigmoid",)),
                                     Dpc((4, 3, 2), activation=("tanh",))])
def test_what_the_reference_does_not_model_is_said(circuit):
    with pytest.raises(CortexError) as error:
        verify_against_reference(circuit, 100, (7,))
    assert error.value.code == "V122"


# ---- options


@pytest.mark.parametrize("code, words, circuit", [
    ("E320", "variant of circuit 'error-neuron' 'PAL'", ErrorNeuron((2, 2), variant="PAL")),
    ("E320", "wiring", ErrorNeuron((2, 2), wiring="full")), ("E320", "activation 'sine'", ErrorNeuron((2, 2), activation=("sine",))),
    ("E320", "plant", ErrorNeuron((4, 1), plant="car")), ("E321", "at least one area", ErrorNeuron((2,))),
    ("E321", "none of them empty", ErrorNeuron((2, 0, 1))),
    ("E322", "'eta_fw' has 2 entries, expected 1 or 3", ErrorNeuron((4, 3, 2, 1), eta_fw=(1.0, 2.0))),
    ("E323", r"error_layers \[3\] do not fit", ErrorNeuron((4, 3, 2), error_layers=(3,))),
    ("E323", "none of them 0", ErrorNeuron((4, 3, 2), error_layers=(3, 0))),
    ("E324", "4 rows of .* entries; 5 areas", ErrorNeuron((6, 5, 4, 3, 2, 1), wiring="areas",
                                                       area_matrix=tuple((1.0,) * 4 for _ in range(4)))),
    ("E324", "square", ErrorNeuron((4, 3, 2), wiring="areas", area_matrix=((1.0, 1.0), (1.0,)))),
    ("E324", "connects no lower area to area 2", ErrorNeuron((4, 3, 2), wiring="areas",
                                                              area_matrix=((0.0, 1.0), (0.0, 0.0)))),
    ("E324", "9 areas above", ErrorNeuron(tuple(range(11, 1, -1)), wiring="skip", skip_rates="scaled")),
    ("E325", "target_delay is -1", ErrorNeuron((4, 3, 2), target_delay=-1)),
    ("E326", "4 states and takes 1 force", ErrorNeuron((3, 2, 1), plant="cartpole"))])
def test_bad_options(code, words, circuit):
    with pytest.raises(CortexError, match=words) as error:
        build(circuit)
    assert error.value.code == code


@pytest.mark.parametrize("code, circuit", [
    ("E320", Dendritic((2, 2), variant="PAL")), ("E320", Dendritic((2, 2), activation=("sine",))),
    ("E321", Dendritic((2,))), ("E322", Dendritic((4, 3, 2), eta_fw=(1.0, 2.0, 3.0))),
    ("E322", Dendritic((5, 4, 3, 2), eta_IP=(1.0, 2.0, 3.0))), ("E325", Dendritic((4, 3), target_delay=-2))])
@pytest.mark.parametrize("build_it", [build_dendritic, build_dpc, build_ann])
def test_bad_options_of_the_rivals(code, circuit, build_it):
    with pytest.raises(CortexError) as error:
        build_it(circuit)
    assert error.value.code == code


@pytest.mark.parametrize("circuit, build_it", [(Ann((4, 3, 2), eta_IP=(0.1,)), build_ann),
                                               (Ann((4, 3, 2), eta_PI=(0.1,)), build_ann),
                                               (Dpc((4, 3, 2), eta_IP=(0.1,)), build_dpc)])
def test_rates_without_weights_are_refused(circuit, build_it):
    with pytest.raises(CortexError, match="no lateral weights"):
        build_it(circuit)
