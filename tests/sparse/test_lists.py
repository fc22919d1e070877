"""Projections whose synapses are a list: their meaning, their order, and the same bits on every backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_graphs.differences import bits, differences, expected, outcome, watched
from sparse_circuits import STEPS, circuit, currents_by_hand, graph_of, lists, setup_of

from cortexc.compiler.backends.kernels.operations import Slot
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.backends.rewritten import InterpreterRun
from cortexc.compiler.experiments.tasks.resets import with_reset
from cortexc.compiler.ir import CortexError, problems
from cortexc.compiler.ir.synapses import synapses_of
from cortexc.compiler.passes import Request, run_passes
from cortexc.compiler.passes.fold import Fold
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import compiled, trajectory


def joined(setup, wanted, on="interpreter"):
    parts = list(trajectory(setup, wanted, on))
    return {name: np.concatenate([part[name] for part in parts]) for name in wanted}


@pytest.mark.parametrize("seed", range(3))
def test_a_current_is_the_sum_by_definition(seed):
    setup = circuit(seed, most_delay=5)
    graph = setup.graph
    graph = graph.with_(synapses=tuple(replace(s, rule=None) for s in graph.synapses))
    found = joined(replace(setup, graph=graph), ["R.current", "C.spike"])
    listed = (graph.arrays[f"R.{key}"] for key in ("pre", "post", "w", "delay"))
    by_hand = currents_by_hand(*listed, found["C.spike"][:, 0], 8)
    assert found["C.spike"].sum() > 20
    assert (bits(found["R.current"][:, 0]) == bits(by_hand)).all()


@pytest.mark.parametrize("options", [
    {}, {"most_delay": 1}, {"most_delay": 6}, {"seeds": 2, "role": "per_seed", "most_delay": 3},
    {"samples": 2, "role": "per_sample"}], ids=str)
def test_native_has_the_interpreters_bits(options):
    setup = circuit(1, **options)
    wanted = watched(setup.graph, increments=False)
    reference = expected(setup, wanted)
    with plain_python():
        assert [outcome(setup, reference, wanted, "native", granularity)
                for granularity in ("network", "population", "area")] == [("equal", [])] * 3


def test_compiled_kernels_have_the_interpreters_bits():
    setup = circuit(2, most_delay=4)
    wanted = watched(setup.graph, increments=False)
    assert outcome(setup, expected(setup, wanted), wanted) == ("equal", [])


@pytest.mark.slow
def test_kernels_of_numba_have_the_interpreters_bits(monkeypatch):
    monkeypatch.setenv("CORTEXC_KERNELS", "numba")
    setup = circuit(2, most_delay=4)
    wanted = watched(setup.graph, increments=False)
    assert outcome(setup, expected(setup, wanted), wanted) == ("equal", [])


@pytest.mark.lava
@pytest.mark.parametrize("granularity", ["network", "population"])
def test_lava_has_the_interpreters_bits(granularity):
    setup = circuit(2, most_delay=4)
    wanted = watched(setup.graph, increments=False)
    assert outcome(setup, expected(setup, wanted), wanted, "lava", granularity) == ("equal", [])


def test_a_list_without_repeats_has_the_bits_of_a_mask():
    """A silent cell adds 0 times a finite weight in the one and nothing in the other: sums begin at 0.0 and are never
    -0.0, so both are the same."""
    rng = np.random.default_rng(4)
    masked, arrays, as_list = graph_of("masked"), {}, {}
    for name, n_pre in (("W", 6), ("R", 8)):
        mask, w = rng.random((8, n_pre)) < 0.5, rng.uniform(-1, 1, (8, n_pre))
        post, pre = np.nonzero(mask)
        arrays |= {f"{name}.w": w, f"{name}.mask": mask.astype(float)}
        as_list |= {f"{name}.pre": pre, f"{name}.post": post, f"{name}.w": w[mask]}
    one, other = (setup_of(g.with_(arrays=a)) for g, a in ((masked, arrays), (graph_of(), as_list)))
    wanted = ["C.v", "C.spike", "W.current", "R.current"]
    found, dense = joined(one, [*wanted, "R.w"]), joined(other, [*wanted, "R.w"])
    assert all((bits(found[name]) == bits(dense[name])).all() for name in wanted)
    assert (found["R.w"][-1] != found["R.w"][0]).any()
    assert (bits(found["R.w"][:, :, mask]) == bits(dense["R.w"])).all()


@pytest.mark.parametrize("on", ["interpreter", "native"])
def test_what_is_read_back_is_in_the_users_order(on):
    setup = circuit(5, most_delay=3)
    pairs = np.random.default_rng(0).permutation(64)[:50]
    arrays = setup.graph.arrays | {"R.pre": pairs // 8, "R.post": pairs % 8}
    mixed = np.random.default_rng(1).permutation(50)
    others = arrays | {name: array[mixed] for name, array in arrays.items() if name.startswith("R.")}
    with plain_python():
        one, two = (joined(replace(setup, graph=setup.graph.with_(arrays=a)), ["R.w", "R.tag", "C.v"], on)
                    for a in (arrays, others))
    assert (one["R.w"][-1] != arrays["R.w"]).any() and not np.array_equal(one["R.w"], two["R.w"])
    for name in ("R.w", "R.tag"):
        assert (bits(one[name][:, :, mixed]) == bits(two[name])).all()
    assert (bits(one["C.v"]) == bits(two["C.v"])).all()


@pytest.mark.parametrize("kind", [InterpreterRun, Native])
def test_a_resumed_run_has_the_same_messages_under_way(kind):
    setup = circuit(6, most_delay=6)

    def run():
        made = setup.graph if kind is InterpreterRun else lower(setup.graph)
        return kind(made, setup.protocol, setup.samples, list(setup.seeds))

    with plain_python():
        whole, first, second = run(), run(), run()
        whole.run()
        first.run(17)
        second.restore(first.state())
        second.run()
        assert second.position == STEPS
        assert (bits(whole.value("C.v")) == bits(second.value("C.v"))).all()
        assert (bits(whole.value("R.w")) == bits(second.value("R.w"))).all()


def test_messages_from_before_the_first_step_arrive():
    text = graph_of()
    cell = text.cell("spiking")
    started = replace(cell, states=tuple(replace(s, initial=type(s.initial)(1.0)) if s.name == "spike" else s
                                         for s in cell.states))
    setup = circuit(7, most_delay=4)
    graph = setup.graph.with_(cells=(text.cell("source"), started),
                              synapses=tuple(replace(s, rule=None) for s in setup.graph.synapses))
    setup = replace(setup, graph=graph)
    listed = [graph.arrays[f"R.{key}"] for key in ("pre", "post", "w", "delay")]
    before = np.ones((10, 8))
    found = joined(setup, ["R.current", "C.spike"])
    by_hand = currents_by_hand(*listed, np.concatenate([before, found["C.spike"][:, 0]]), 8)[10:]
    assert (bits(found["R.current"][:, 0]) == bits(by_hand)).all()
    with plain_python():
        assert (bits(joined(setup, ["R.current"], "native")["R.current"]) == bits(found["R.current"])).all()


def test_a_synapse_takes_at_most_16_bytes():
    rng = np.random.default_rng(0)
    arrays = lists(rng, "W", 6, 8, 5000) | lists(rng, "R", 8, 8, 7000, 9)
    graph = graph_of().with_(arrays=arrays)
    graph = graph.with_(synapses=tuple(replace(s, rule=None) for s in graph.synapses))
    group = lower(graph).select()
    assert group.memory().nbytes + group.indices().nbytes <= 16 * 12000 + 8 * 1000


def test_canonical_order_is_stable():
    graph = graph_of().with_(arrays={
        "R.pre": np.array([1, 0, 1, 0, 1]), "R.post": np.array([2, 3, 2, 1, 0]), "R.w": np.arange(5.0),
        **lists(np.random.default_rng(0), "W", 6, 8, 4)})
    found = synapses_of(graph, graph.projection("R"))
    assert found.ordered(graph.arrays["R.w"]).tolist() == [3, 1, 4, 0, 2]
    assert found.given(found.ordered(graph.arrays["R.w"])).tolist() == [0, 1, 2, 3, 4]
    assert found.starts.tolist() == [0, 2, 5, 5, 5, 5, 5, 5, 5] and found.post.tolist() == [1, 3, 0, 2, 2]


WRONG = {
    "a cell beyond the population": ("E257", {"R.pre": np.array([0, 8])}),
    "a negative cell": ("E257", {"R.post": np.array([-1, 0])}),
    "a fraction of a cell": ("E257", {"R.post": np.array([0.5, 0])}),
    "a cell that is not finite": ("E242", {"R.post": np.array([np.nan, 0])}),
    "too few weights": ("E241", {"R.w": np.ones(1)}),
    "too many delays": ("E241", {"R.delay": np.ones(3)}),
    "a list per seed": ("E241", {"R.post": np.zeros((1, 2), int)}),
    "no delay": ("E258", {"R.delay": np.array([1, 0])}),
    "a delay between steps": ("E258", {"R.delay": np.array([1, 1.5])}),
    "a delay beyond the limit": ("E258", {"R.delay": np.array([1, 10_001])})}


@pytest.mark.parametrize(("code", "arrays"), WRONG.values(), ids=WRONG)
def test_wrong_lists_are_refused(code, arrays):
    good = lists(np.random.default_rng(0), "W", 6, 8, 4) | {
        "R.pre": np.array([0, 1]), "R.post": np.array([0, 7]), "R.w": np.ones(2)}
    assert problems(graph_of().with_(arrays=good)) == []
    assert problems(graph_of().with_(arrays=good | arrays))[0].code == code


def test_a_list_needs_its_cells():
    arrays = lists(np.random.default_rng(0), "W", 6, 8, 4) | lists(np.random.default_rng(1), "R", 8, 8, 4, 3)
    graph = graph_of().with_(arrays=arrays)
    missing = graph.with_(arrays={k: v for k, v in arrays.items() if k != "R.post"})
    assert "E243" in [p.code for p in problems(missing)]


@pytest.mark.parametrize("delay", [2, 4])
def test_a_delay_of_the_projection_comes_on_top(delay):
    setup = circuit(1, most_delay=3)
    graph, arrays = setup.graph, setup.graph.arrays
    bare = graph.with_(synapses=tuple(replace(s, rule=None) for s in graph.synapses))
    late = bare.with_(projections=tuple(replace(q, delay=delay) if q.name == "R" else q for q in bare.projections))
    alone = bare.with_(arrays=arrays | {"R.delay": arrays["R.delay"] + delay - 1})
    wanted = ["C.v", "R.current"]
    one, two = (joined(replace(setup, graph=g), wanted) for g in (late, alone))
    with plain_python():
        three = joined(replace(setup, graph=late), wanted, "native")
    assert all((bits(one[name]) == bits(two[name])).all() for name in wanted)
    assert all((bits(one[name]) == bits(three[name])).all() for name in wanted)


def test_a_delayed_message_needs_a_first_value():
    setup = circuit(0, most_delay=2)
    cell = setup.graph.cell("spiking")
    bare = replace(cell, states=tuple(s for s in cell.states if s.name != "spike"))
    found = problems(setup.graph.with_(cells=(setup.graph.cell("source"), bare)))
    assert [p.code for p in found] == ["E232"]


def test_an_index_that_is_not_followed_is_seen(monkeypatch):
    """The comparison with the definition fails where a kernel takes the wrong target."""
    from cortexc.compiler.backends.lowering.listed import ListedAxes
    setup = circuit(1)
    wanted = ["R.current"]
    reference = expected(setup, wanted)
    monkeypatch.setattr(ListedAxes, "post_place", lambda self, k: (self.indices("post")[k] + 1) % 8)
    with plain_python():
        assert list(differences(reference, compiled(setup, wanted, "native", "network")))


def test_no_array_of_a_program_is_a_matrix():
    graph = circuit(0).graph
    program = lower(graph)
    assert max(program.slots.sizes[a.name] for o in program.step for a in o.arguments if isinstance(a, Slot)) <= 56


def test_a_state_whose_messages_are_under_way_is_not_reset():
    with pytest.raises(CortexError, match="X122 .*'spike' of 'C' are under way in projection 'R'"):
        with_reset(circuit(0, most_delay=3).graph, "states")
    assert "reset" in with_reset(circuit(0).graph, "states").gates


def test_fold_keeps_the_first_value_of_a_delayed_message():
    graph = circuit(0, most_delay=3).graph
    bare = graph.with_(rules=(), synapses=tuple(replace(s, rule=None) for s in graph.synapses))
    folded = run_passes(bare, [Fold()], Request(frozenset({"C.v"}))).graph
    assert folded.cell("spiking").state("spike") is not None


def test_cells_of_a_population_may_lie_in_several_processes():
    setup = circuit(3, most_delay=4)
    graph = setup.graph
    parts = graph.with_(populations=tuple(replace(p, group="one:5+two:3" if p.name == "C" else "three")
                                          for p in graph.populations),
                        projections=tuple(replace(q, group="two" if q.name == "W" else "three")
                                          for q in graph.projections))
    names = ["C.v", "R.w"]
    with plain_python():
        run = Grouped(lower(parts), setup.protocol, setup.samples, [0])
        run.run()
    expected_values = joined(setup, names)
    assert all((bits(run.value(name)) == bits(expected_values[name][-1])).all() for name in names)
