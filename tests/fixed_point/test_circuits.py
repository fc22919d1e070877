"""Quantised circuits against the integer references: every integer of every step is equal, learning included."""

import os
from dataclasses import replace

import pytest
from fixed_point_setups import PLASTIC, quantised, setup_of, summed

from compiler.experiments.checks import verify_experiment
from compiler.experiments.config import load_experiment
from compiler.ir import CortexError
from compiler.ir.expressions import Call, Name, Number, transform
from compiler.passes.fixed_point import Format
from compiler.verify import verify_quantised
from compiler.verify.compare import Comparison
from compiler.verify.oracles import integers as integer_circuits
from compiler.verify.runs import aligned, quantities, trajectory
from reference import integer_areas, integer_rivals, integers

CASES = [(name, hardware) for name in PLASTIC for hardware in ("", "loihi2")]
STEPS = int(os.environ.get("CORTEXC_STEPS", "1500"))
"""Of the long comparisons; CORTEXC_STEPS=10000 makes them as long, and of every circuit."""
LAVA = [(name, granularity) for name in (PLASTIC if STEPS > 1500 else ("spiking", "pal", "errors-FA"))
        for granularity in ("population", "area", "network")]
LONG = CASES if STEPS > 1500 else [("spiking", "loihi2"), ("pal", ""), ("errors-FA", "loihi2"), ("dendritic-BP", ""),
                                   ("dpc-FA", "loihi2"), ("ann-BP", "")]


def check(name, setup, steps, on="native", granularity="network", **options):
    result = verify_quantised(PLASTIC[name], setup, steps, on, granularity, **options)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error, result.steps) == ("independent-reference", 0.0, steps)
    assert set(result.variables) == set(quantities(setup.graph))
    return result


@pytest.mark.parametrize(("name", "hardware"), CASES)
def test_the_interpreter_computes_the_integers_of_the_reference(name, hardware):
    check(name, quantised(setup_of(name, 100), hardware=hardware), 100, "interpreter", mapped=bool(hardware))


@pytest.mark.parametrize(("rounding", "weights"), [("shared", 8), ("lava", 12), ("nearest", 16)])
@pytest.mark.parametrize("name", PLASTIC)
def test_other_roundings(name, rounding, weights):
    """Rounded to the nearest, increments move only weights of many bits."""
    check(name, quantised(setup_of(name, 400), rounding, weights=weights), 400)


def test_a_number_of_lava_that_is_drawn_too_early_is_noticed(monkeypatch):
    setup = quantised(setup_of("errors-FA", 300), "lava")
    assert _same(setup, integer_circuits.bridged(PLASTIC["errors-FA"], setup), 300)
    offset = integers.LavaDraws.offset
    monkeypatch.setattr(integers.LavaDraws, "offset", lambda self, step: offset(self, step + 1))
    assert not _same(setup, integer_circuits.bridged(PLASTIC["errors-FA"], setup), 300)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hardware"), LONG)
def test_many_plastic_steps(name, hardware):
    check(name, quantised(setup_of(name, STEPS), hardware=hardware), STEPS, mapped=bool(hardware))


@pytest.mark.parametrize(("hardware", "credit"), [("", "held"), ("loihi2", "held"), ("loihi2", "settled")])
def test_increments_that_are_summed_over_a_presentation(hardware, credit):
    setup = quantised(summed(setup_of("pal", 800)), hardware=hardware, credit=credit)
    check("pal", setup, 800, mapped=bool(hardware))


@pytest.mark.parametrize("options", [{"least_scale": 2.0**-4}, {"messages": 10, "factors": 7}])
@pytest.mark.parametrize("name", ["spiking", "pal"])
def test_factors_rounded_at_random_and_messages_wider_than_factors(name, options):
    check(name, quantised(setup_of(name, 500), hardware="loihi2", **options), 500, mapped=True)


@pytest.mark.parametrize("name", PLASTIC)
def test_all_factors_rounded_at_random(name):
    """A factor that is less than half a unit moves weights all the same, now and then."""
    setup = quantised(setup_of(name, 300), factor_rounding="stochastic")
    assert any(noise.endswith("_jitter") for cell in setup.graph.cells for noise, _ in cell.noise)
    check(name, setup, 300)


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize(("name", "granularity"), LAVA)
def test_lava_computes_the_integers_of_the_reference(name, granularity):
    steps = STEPS if STEPS > 1500 else 300
    check(name, quantised(setup_of(name, steps)), steps, "lava", granularity)


# ---- what the comparison must notice


def faulty(setup, name, steps=200):
    result = verify_quantised(PLASTIC[name], setup, steps)
    assert not result.passed
    assert result.max_abs_error > 0
    return result


def rewritten(setup, change, kind="cells"):
    """The setup with one equation of one cell, or the increment of one rule, changed."""
    def cell(c):
        return replace(c, equations=tuple(replace(e, expression=transform(e.expression, change)) for e in c.equations))

    def rule(r):
        return replace(r, increment=transform(r.increment, change),
                       updates=tuple(replace(u, expression=transform(u.expression, change)) for u in r.updates))

    graph = setup.graph
    changed = graph.with_(cells=tuple(map(cell, graph.cells))) if kind == "cells" else graph.with_(
        rules=tuple(map(rule, graph.rules)))
    assert changed != graph
    return replace(setup, graph=changed)


def offset(value):
    def change(e):
        rounds = isinstance(e, Call) and e.function == "fixed" and e.arguments[3] == Number(0.5)
        return Call("fixed", (*e.arguments[:3], Number(value))) if rounds else e

    return change


@pytest.fixture(scope="module")
def spiking():
    return quantised(setup_of("spiking", 400))


@pytest.mark.parametrize("value", [0.0, 0.4999])
def test_a_dropped_rounding_offset_is_noticed(spiking, value):
    faulty(rewritten(spiking, offset(value)), "spiking")


def swapped(e):
    names = {"rounding": "tag_rounding", "tag_rounding": "rounding"}
    return Name(names[e.name]) if isinstance(e, Name) and e.name in names else e


def test_swapped_random_numbers_are_noticed(spiking):
    faulty(rewritten(spiking, swapped, "rules"), "spiking")


def test_a_limit_of_the_weights_that_is_off_by_one_is_noticed():
    setup = quantised(setup_of("spiking", 400), formats={"wE_1.w": Format(4, 5, True), "wI_1.w": Format(4, 5, True)})
    synapses = tuple(replace(s, limits=(s.limits[0], s.limits[1] + s.unit)) if s.rule else s
                     for s in setup.graph.synapses)
    wider = replace(setup, graph=setup.graph.with_(synapses=synapses))
    assert _same(setup, integer_circuits.bridged(PLASTIC["spiking"], setup))
    assert not _same(wider, integer_circuits.bridged(PLASTIC["spiking"], setup))


def test_a_limit_of_the_tags_that_is_off_by_one_is_noticed():
    setup = quantised(summed(setup_of("pal", 400)), tags=3)
    narrow = rewritten(setup, _tag_limit, "rules")
    assert _same(setup, integer_circuits.bridged(PLASTIC["pal"], setup))
    assert not _same(narrow, integer_circuits.bridged(PLASTIC["pal"], setup))


def _tag_limit(e):
    if isinstance(e, Call) and e.function == "fixed":
        return Call("fixed", (*e.arguments[:2], Number(e.arguments[2].value - 1), e.arguments[3]))
    return e


def _same(setup, model, steps=400):
    """Whether a program and a reference that was made from another one agree."""
    comparison, wanted = Comparison(exact=True), quantities(setup.graph)
    for _, got, expected in aligned(trajectory(setup, wanted, "native", steps=steps), model.trajectory(setup, steps)):
        comparison.add(got, expected)
    return comparison.first_divergence() is None


def test_another_stream_is_noticed(spiking, monkeypatch):
    true = integers.uniform
    monkeypatch.setattr(integers, "uniform", lambda seeds, stream, step, index: true(seeds, stream + 1, step, index))
    faulty(spiking, "spiking")


def test_a_step_too_late_in_the_stream_is_noticed(spiking, monkeypatch):
    true = integers.uniform
    monkeypatch.setattr(integers, "uniform", lambda seeds, stream, step, index: true(seeds, stream, step + 1, index))
    faulty(spiking, "spiking")


def test_a_tenth_of_a_per_cent_of_a_constant_is_dishonest(spiking):
    def scaled(e):
        return Number(e.value * 1.001) if isinstance(e, Number) and 0.6 < e.value < 0.7 else e

    with pytest.raises(CortexError, match=r"V128.*significant bits"):
        verify_quantised(PLASTIC["spiking"], rewritten(spiking, scaled), 10)


def test_an_entry_of_a_table_that_is_one_unit_off_is_dishonest(spiking):
    arrays = dict(spiking.graph.arrays)
    name = next(name for name in arrays if name.startswith("table."))
    arrays[name] = arrays[name].copy()
    arrays[name][len(arrays[name]) // 2 + 3] += 2.0**-13
    with pytest.raises(CortexError, match=r"V128.*entry 515"):
        verify_quantised(PLASTIC["spiking"], replace(spiking, graph=spiking.graph.with_(arrays=arrays)), 10)


# ---- the models that the error-neuron circuit is compared with


def early(model, i, learns, applies):
    """Lateral learning with what the cells are in this step."""
    kind = "" if isinstance(model, integer_rivals.IntegerPredictiveCoding) else "twin_"
    pre = model.message_read(f"{kind}rate_{i}", late=True)
    model.hebbian(f"BPI_{i}", f"apical_{i}", pre, learns, applies, late=not kind)


FAULTS = {
    "inhibition by the rate of this step": ("dpc-FA", "IntegerPredictiveCoding", "_cancelling",
                                            lambda model, i: model.sent(f"rate_{i}")),
    "inhibition that learns a step early": ("dpc-BP", "IntegerPredictiveCoding", "_learn_laterals", early),
    "apical potential of this step": ("dendritic-FA", "IntegerDendriticMicrocircuit", "_learn_laterals", early),
    "inhibition that is not copied": ("dendritic-BP", "IntegerDendriticMicrocircuit", "_copy_down",
                                      integer_areas.IntegerAreas.copy_feedback),
    "feedback that is not copied": ("ann-BP", "IntegerLayeredNetwork", "copy_feedback", lambda model: None),
    "an error that a unit hears late": ("ann-FA", "IntegerLayeredNetwork", "read",
                                        lambda model, name, late=False: model._copy(name, "factor", model.steps_done > 0)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_reference_is_noticed(fault, monkeypatch):
    name, kind, method, wrong = FAULTS[fault]
    setup = quantised(setup_of(name, 200))
    monkeypatch.setattr(getattr(integer_rivals, kind), method, wrong)
    faulty(setup, name)


def nearer(graph):
    """dpc: inhibition a step too early."""
    return graph.with_(projections=tuple(replace(q, delay=1) for q in graph.projections))


def kept(graph):
    """dendritic: inhibition is not the negative of what it copies."""
    return graph.with_(mirrors=tuple(replace(m, operations=()) if m.operations == ("negate",) else m
                                     for m in graph.mirrors))


def uncopied(graph):
    return graph.with_(mirrors=())


@pytest.mark.parametrize(("name", "change"), [("dpc-FA", nearer), ("dendritic-BP", kept), ("ann-BP", uncopied),
                                              ("spiking-BP", uncopied)])
def test_a_fault_of_the_program_is_noticed(name, change):
    setup = quantised(setup_of(name, 200))
    changed = change(setup.graph)
    assert changed != setup.graph
    model = integer_circuits.bridged(PLASTIC[name], setup)
    assert not _same(replace(setup, graph=changed), model, 200)


@pytest.mark.parametrize("name", ["dendritic-FA", "dpc-BP", "ann-FA"])
def test_a_dropped_rounding_offset_of_a_compared_model_is_noticed(name):
    faulty(rewritten(quantised(setup_of(name, 200)), offset(0.4999)), name)


# ---- experiments


OPTIONS = ["precision.weights=8", "run.backend=native", "precision.calibration_steps=200", "protocol.epochs=1"]


@pytest.mark.parametrize("name", ["pal_digits", "depth_dendritic", "depth_dpc", "depth_ann"])
def test_verify_of_a_quantised_experiment_uses_the_integer_reference(name):
    experiment = load_experiment(name, [*OPTIONS, "run.seeds=[1]"])
    result = verify_experiment(experiment, steps=300)
    assert result.passed, result.reasons
    assert (result.evidence, result.max_abs_error) == ("independent-reference", 0.0)


def test_verify_of_a_circuit_without_an_integer_reference_falls_back_to_the_interpreter():
    experiment = load_experiment("error_neuron_digits", [*OPTIONS, "model.variant=noise"])
    result = verify_experiment(experiment, steps=100)
    assert result.evidence == "interpreter"
