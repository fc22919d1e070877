"""Quantised circuits against the integers that their equations give: all of every step are equal, learning included."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixed_point_setups import NEVER_BY_HAND, PLASTIC, program, setup_of, summed
from random_graphs.integers import integer_program
from underflow_cases import SCALES, learns, scales, scales_arrays

from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.questions import verify_experiment
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.functions import ARITY, VECTOR
from cortexc.compiler.passes.widths import is_counter
from cortexc.compiler.verify import verify_quantised
from cortexc.compiler.verify.runs import quantities
from cortexc.reference.equations import REAL

CASES = [(name, hardware) for name in PLASTIC for hardware in ("", "loihi2")]
STEPS = int(os.environ.get("CORTEXC_STEPS", "600"))
"""Of the long comparisons; CORTEXC_STEPS=10000 makes them as long, and of every circuit."""
LAVA = [(name, granularity) for name in (PLASTIC if STEPS > 1500 else ("spiking", "pal", "errors-FA"))
        for granularity in ("population", "area", "network")]
LONG = CASES if STEPS > 1500 else [("spiking", "loihi2"), ("pal", ""), ("errors-FA", "loihi2"), ("dendritic-BP", ""),
                                   ("dpc-FA", "loihi2"), ("ann-BP", "")]


def check(found, steps, on="native", granularity="network"):
    setup, source = found
    result = verify_quantised(setup, source, steps, on, granularity)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error, result.steps) == ("independent-reference", 0.0, steps)
    assert set(result.variables) == set(quantities(setup.graph))
    return result


@pytest.mark.parametrize(("name", "hardware"), CASES)
def test_the_interpreter_computes_the_integers_of_the_reference(name, hardware):
    check(program(setup_of(name, 100), hardware=hardware), 100, "interpreter")


@pytest.mark.parametrize(("rounding", "weights"), [("shared", 8), ("lava", 12), ("nearest", 16)])
@pytest.mark.parametrize("name", PLASTIC)
def test_other_roundings(name, rounding, weights):
    """Rounded to the nearest, increments move only weights of many bits."""
    check(program(setup_of(name, 400), rounding, weights=weights), 400)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hardware"), LONG)
def test_many_plastic_steps(name, hardware):
    check(program(setup_of(name, STEPS), hardware=hardware), STEPS)


@pytest.mark.parametrize(("hardware", "credit"), [("", "held"), ("loihi2", "held"), ("loihi2", "settled")])
def test_increments_that_are_summed_over_a_presentation(hardware, credit):
    check(program(summed(setup_of("pal", 800)), hardware=hardware, credit=credit), 800)


@pytest.mark.parametrize("options", [{"least_scale": 2.0**-4}, {"messages": 10, "factors": 7}])
@pytest.mark.parametrize("name", ["spiking", "pal"])
def test_factors_rounded_at_random_and_messages_wider_than_factors(name, options):
    check(program(setup_of(name, 500), hardware="loihi2", **options), 500)


@pytest.mark.parametrize("name", PLASTIC)
def test_all_factors_rounded_at_random(name):
    """A factor that is less than half a unit moves weights all the same, now and then."""
    found = program(setup_of(name, 300), factor_rounding="stochastic")
    assert any(noise.endswith("_jitter") for cell in found[0].graph.cells for noise, _ in cell.noise)
    check(found, 300)


@pytest.mark.parametrize("hardware", ["", "loihi2"])
@pytest.mark.parametrize("name", NEVER_BY_HAND)
def test_circuits_of_which_nobody_wrote_the_integers_by_hand(name, hardware):
    check(program(setup_of(name, 200), hardware=hardware, steps=200), 200)


def test_random_circuits():
    """Ports, delays, mirrors, tables, products and draws as no shipped circuit combines them."""
    compared = 0
    for seed in range(0, 60):
        found = integer_program(seed)
        if found is None:
            continue
        try:
            result = verify_quantised(*found)
        except CortexError as error:
            assert error.code in ("V122", "E503"), (seed, error)
            continue
        assert result.outcome in ("verified", "nothing-learnt"), (seed, result.reasons)
        assert result.max_abs_error == 0, seed
        if all(p.size for p in found[0].graph.populations):
            assert all(map(is_counter, result.not_compared)), seed
        compared += 1
    assert compared > 5


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize(("name", "granularity"), LAVA)
def test_lava_computes_the_integers_of_the_reference(name, granularity):
    steps = STEPS if STEPS > 1500 else 300
    check(program(setup_of(name, steps)), steps, "lava", granularity)


# ---- experiments


OPTIONS = ["precision.weights=8", "run.backend=native", "precision.calibration_steps=200", "protocol.epochs=1"]


@pytest.mark.parametrize("name", ["pal_digits", "depth_dendritic", "depth_dpc", "depth_ann"])
def test_verify_of_a_quantised_experiment_uses_the_integer_reference(name):
    experiment = load_experiment(name, [*OPTIONS, "run.seeds=[1]"])
    result = verify_experiment(experiment, steps=300)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)


def test_verify_of_a_circuit_of_which_nobody_wrote_the_integers():
    result = verify_experiment(load_experiment("error_neuron_digits", [*OPTIONS, "model.variant=noise"]), steps=100)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)


def test_verify_of_a_circuit_of_ones_own_uses_the_integer_reference(tmp_path):
    result = verify_experiment(learns(tmp_path, "run.backend=native", steps=60, eta=0.1))
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)


def test_verify_of_a_circuit_without_an_integer_reference_falls_back_to_the_interpreter(tmp_path):
    """Rounded at random without random numbers."""
    silent = SCALES.replace("graph scales", "graph scales\n  noise none")
    assert verify_experiment(scales(tmp_path, "run.backend=native", circuit=silent), steps=20).evidence == "interpreter"


def test_messages_that_leave_at_the_end_of_a_step(tmp_path):
    late = SCALES.replace("  send spike = where(prev(v) > 1, 1, 0)\n  receive v = where(spike > 0, 0, 0.9 * prev(v)) + d",
                          "  receive v = where(prev(spike) > 0, 0, 0.9 * prev(v)) + d\n  receive spike = where(force > 0, 1, 0)")
    late = late.replace("  port d @ d\n", "  port d @ d\n  input force\n").replace("  message spike\nsynapse", "  message spike late\nsynapse")
    late = late.replace("projection parallel", "synapse back\n  message spike\n  port d\n  connectivity identity\nprojection again back B -> B\nprojection parallel")
    result = verify_experiment(forced(tmp_path, late), steps=40)
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0), result.reasons


def forced(folder, circuit):
    """The experiment of two magnitudes whose second cells fire when they are told to."""
    scales(folder, "run.backend=native", circuit=circuit)
    force = (np.random.default_rng(5).random((300, 3)) < 0.4).astype(float)
    np.savez(folder / "inputs.npz", **{"A.value": scales_arrays()[0], "B.force": force})
    return load_experiment(folder / "exp.toml", ["run.backend=native"])


def test_what_the_integer_reference_has_no_form_of_is_refused():
    """Lists of synapses, of which it would otherwise take the weights for a matrix."""
    setup, source = program(setup_of("spiking", 20), steps=20)
    listed = tuple(replace(s, connectivity="sparse") for s in source.graph.synapses)
    with pytest.raises(CortexError, match="V122 .*connectivity sparse"):
        verify_quantised(setup, replace(source, graph=source.graph.with_(synapses=listed)), 10)


def test_the_reference_knows_every_function():
    """But those that round, which are the compiler's own way to write a format."""
    assert set(ARITY) - set(REAL) == {"fixed", "stochastic_round"}
    uniform, rate = torch.linspace(0, 0.9999, 500), torch.tensor([0.0, 0.3, 7.0, 80.0])[:, None]
    found = REAL["poisson"](uniform, rate).numpy()
    assert np.array_equal(found, VECTOR["poisson"](*map(np.asarray, np.broadcast_arrays(uniform.double(), rate.double()))))
