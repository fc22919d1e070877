"""What the comparison of integers must notice: faults of the program, of the passes that made it, of the reference."""

from dataclasses import replace

import pytest
from fixed_point_setups import PLASTIC, program, setup_of, summed

from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.expressions import Call, Name, Number, Prev, transform
from cortexc.compiler.passes import quantise, quantised_cells, quantised_rules
from cortexc.compiler.passes.fixed_point import Format
from cortexc.compiler.passes.name_products import _Cell
from cortexc.compiler.passes.quantised_formats import Formats
from cortexc.compiler.verify import verify_quantised
from cortexc.compiler.verify.compare import EXACT, Comparison
from cortexc.compiler.verify.oracles.integers import trajectory as expected_integers
from cortexc.compiler.verify.runs import aligned, quantities, trajectory
from cortexc.reference import integers
from cortexc.reference.equations import Cell
from cortexc.reference.fixed_point_cells import Population
from cortexc.reference.fixed_point_synapses import Projection


def faulty(setup, source, steps=200):
    result = verify_quantised(setup, source, steps)
    assert not result.passed
    assert result.max_abs_error > 0
    return result


def rewritten(setup, change, kind="cells"):
    """The setup with the equations of its cells, or those of its rules, changed."""
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


def same(changed, setup, source, steps=400):
    """Whether a program and the integers of another one agree."""
    comparison, wanted = Comparison(precision=EXACT), quantities(changed.graph)
    both = aligned(trajectory(changed, wanted, "native", steps=steps), expected_integers(setup, source, wanted, steps))
    for _, got, expected in both:
        comparison.add(got, expected)
    return comparison.first_divergence() is None


@pytest.fixture(scope="module")
def spiking():
    return program(setup_of("spiking", 400))


# ---- of the program


def offset(value):
    def change(e):
        rounds = isinstance(e, Call) and e.function == "fixed" and e.arguments[3] == Number(0.5)
        return Call("fixed", (*e.arguments[:3], Number(value))) if rounds else e

    return change


@pytest.mark.parametrize("value", [0.0, 0.4999])
def test_a_dropped_rounding_offset_is_noticed(spiking, value):
    faulty(rewritten(spiking[0], offset(value)), spiking[1])


@pytest.mark.parametrize("name", ["dendritic-FA", "dpc-BP", "ann-FA"])
def test_a_dropped_rounding_offset_of_a_compared_model_is_noticed(name):
    setup, source = program(setup_of(name, 200))
    faulty(rewritten(setup, offset(0.4999)), source)


def swapped(e):
    names = {"rounding": "tag_rounding", "tag_rounding": "rounding"}
    return Name(names[e.name]) if isinstance(e, Name) and e.name in names else e


def test_swapped_random_numbers_are_noticed(spiking):
    faulty(rewritten(spiking[0], swapped, "rules"), spiking[1])


def test_a_limit_of_the_weights_that_is_off_by_one_is_noticed():
    found = program(setup_of("spiking", 400), formats={"wE_1.w": Format(4, 5, True), "wI_1.w": Format(4, 5, True)})
    setup = found[0]
    synapses = tuple(replace(s, limits=(s.limits[0], s.limits[1] + s.unit)) if s.rule else s
                     for s in setup.graph.synapses)
    assert same(setup, *found)
    assert not same(replace(setup, graph=setup.graph.with_(synapses=synapses)), *found)


def test_a_limit_of_the_tags_that_is_off_by_one_is_noticed():
    found = program(summed(setup_of("pal", 400)), tags=3)
    assert same(found[0], *found)
    assert not same(rewritten(found[0], _tag_limit, "rules"), *found)


def _tag_limit(e):
    if isinstance(e, Call) and e.function == "fixed":
        return Call("fixed", (*e.arguments[:2], Number(e.arguments[2].value - 1), e.arguments[3]))
    return e


def test_a_tenth_of_a_per_cent_of_a_constant_is_dishonest(spiking):
    def scaled(e):
        return Number(e.value * 1.001) if isinstance(e, Number) and 0.6 < e.value < 0.7 else e

    with pytest.raises(CortexError, match=r"V128.*significant bits"):
        verify_quantised(rewritten(spiking[0], scaled), spiking[1], 10)


def test_an_entry_of_a_table_that_is_one_unit_off_is_dishonest(spiking):
    setup, source = spiking
    arrays = dict(setup.graph.arrays)
    name = next(name for name in arrays if name.startswith("table."))
    arrays[name] = arrays[name].copy()
    arrays[name][len(arrays[name]) // 2 + 3] += 2.0**-13
    with pytest.raises(CortexError, match=r"V128.*entry 515"):
        verify_quantised(replace(setup, graph=setup.graph.with_(arrays=arrays)), source, 10)


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
    setup, source = program(setup_of(name, 200))
    changed = change(setup.graph)
    assert changed != setup.graph
    faulty(replace(setup, graph=changed), source)


# ---- planted in the passes


def hasty(true):
    """No message is late."""
    def projection(formats, q):
        synapse, rule, found = true(formats, q)
        return synapse, rule, replace(found, delay=min(found.delay, 1))

    return projection


def downward(true):
    """Rounded down instead of to the nearest."""
    return lambda self, expression, offset=None: true(self, expression, offset or Number(0.0))


def coarser(true):
    """Coefficients of rules with a bit less."""
    return lambda expression, significant: true(expression, significant - 1)


def as_factor(true):
    """A rule reads a copy of its own of what its synapse gets."""
    return lambda self, q, name: "factor"


def truncated(true):
    """An increment is cut before the random number is added."""
    return lambda found, units, offset: true(found, Call("floor", (units,)), offset)


def late_tag(true):
    """A weight moves by the sum of the step before: applied first, added afterwards."""
    def tagged(*arguments):
        changed, projection = true(*arguments)
        change = lambda e: Prev("tag", 1) if isinstance(e, Call) and e.function == "fixed" else e  # noqa: E731
        return replace(changed, increment=transform(changed.increment, change)), projection

    return tagged


def swapped_numbers(true):
    """The random number of the tag rounds the weight."""
    names = {"rounding": "tag_rounding", "tag_rounding": "rounding"}
    return lambda options, name: (Name(names[name]), true(options, name)[1])


def products_first(true):
    """A product within a sum is not stored: one rounding less."""
    return lambda self, coefficient, factors: factors


def rounded_twice(true):
    """What a rule reads is rounded from what is sent."""
    def copies(self, e):
        found = true(self, e)
        if len(found) < 2:
            return found
        change = lambda node: Name(found[0].name) if node == Name(e.name) else node  # noqa: E731
        return [found[0], *(replace(c, expression=transform(c.expression, change)) for c in found[1:])]

    return copies


PASSES = {
    "a delay": ("dpc-FA", quantise, "quantised_projection", hasty, {}),
    "rounding": ("pal", Format, "wrap", downward, {}),
    "coefficients": ("errors-FA", quantised_rules, "normal", coarser, {}),
    "the copy that a rule reads": ("pal", Formats, "kind", as_factor, {"factors": 10}),
    "an increment": ("dpc-FA", quantised_rules, "whole", truncated, {}),
    "the order of sum and step": ("spiking", quantised_rules, "_tagged", late_tag, {}),
    "random numbers": ("spiking", quantised_rules, "_offset", swapped_numbers, {}),
    "products": ("errors-BP", _Cell, "_stored", products_first, {"states": 16}),
    "a second rounding": ("spiking", quantised_cells._Cell, "_copies", rounded_twice, {"messages": 6, "factors": 8}),
}


@pytest.mark.parametrize("fault", PASSES)
def test_a_fault_that_is_planted_in_a_pass_is_noticed(fault, monkeypatch):
    name, owner, method, wrong, widths = PASSES[fault]
    setup = setup_of(name, 200)
    found = program(setup, steps=200, **widths)
    assert same(found[0], *found, 200)
    monkeypatch.setattr(owner, method, wrong(getattr(owner, method)))
    changed, source = program(setup, steps=200, **widths)
    try:
        assert not same(changed, changed, source, 200)
    except CortexError as error:
        assert error.code == "V128", error


# ---- of the reference


def test_another_stream_is_noticed(spiking, monkeypatch):
    true = integers.uniform
    monkeypatch.setattr("cortexc.reference.fixed_point_synapses.uniform",
                        lambda seeds, stream, step, index: true(seeds, stream + 1, step, index))
    faulty(*spiking)


def test_a_step_too_late_in_the_stream_is_noticed(spiking, monkeypatch):
    true = integers.uniform
    monkeypatch.setattr("cortexc.reference.fixed_point_synapses.uniform",
                        lambda seeds, stream, step, index: true(seeds, stream, step + 1, index))
    faulty(*spiking)


def test_a_number_of_lava_that_is_drawn_too_early_is_noticed(monkeypatch):
    found = program(setup_of("errors-FA", 300), "lava")
    assert same(found[0], *found, 300)
    offset = integers.LavaDraws.offset
    monkeypatch.setattr(integers.LavaDraws, "offset", lambda self, step: offset(self, step + 1))
    assert not same(found[0], *found, 300)


REFERENCE = {
    "inhibition by the rate of this step": ("dpc-FA", Projection, "_message",
                                            lambda q: q.memory.populations[q.pre].get(f"{q.message}")),
    "a rule that reads this step": ("dpc-BP", Projection, "_read",
                                    lambda q, side, quantity, age, true=Projection._read: true(q, side, quantity, 0)),
    "copies that are not taken": ("ann-BP", Projection, "take", lambda q, w, operations: None),
    "inhibition that is not turned": ("dendritic-BP", Projection, "take",
                                      lambda q, w, operations, true=Projection.take: true(
                                          q, w, [word for word in operations if word != "negate"])),
    "jitter that is forgotten": ("ann-FA", Population, "_offset", lambda p, copy: integers.HALF),
    "products that are not stored": ("errors-FA", Cell, "_stored", lambda cell, factors: factors),
}


@pytest.mark.parametrize("fault", REFERENCE)
def test_a_fault_of_the_reference_is_noticed(fault, monkeypatch):
    name, kind, method, wrong = REFERENCE[fault]
    assert name in PLASTIC
    found = program(setup_of(name, 200), factor_rounding="stochastic")
    monkeypatch.setattr(kind, method, wrong)
    faulty(*found)
