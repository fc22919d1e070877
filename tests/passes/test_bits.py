"""What a pass says of bits: a pass that keeps them does, on random circuits; of the others there is a witness."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pytest
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup

import cortexc.compiler.passes
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Grouped, Native
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.passes import BITS, PASSES, Request, pipeline, run_passes
from cortexc.compiler.passes.count_underflow import CountUnderflow
from cortexc.compiler.passes.defer_decay import DeferDecay
from cortexc.compiler.passes.eliminate_lookahead import EliminateLookahead
from cortexc.compiler.passes.fold import Fold
from cortexc.compiler.passes.fuse_update import FuseUpdate
from cortexc.compiler.passes.group_weights import GroupWeights
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.passes.specialise import Specialise
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import Setup, interpreted, quantities

IN_THE_INTERPRETER = (Fold, Specialise, CountUnderflow)
IN_THE_LOWERING = {FuseUpdate: FuseUpdate(), Partition: Partition("population")}
"""What these change is read by the lowering alone."""


@pytest.fixture(autouse=True)
def kernels_as_plain_python():
    with plain_python():
        yield


def all_passes() -> set[type]:
    modules = [importlib.import_module(f"cortexc.compiler.passes.{m.name}") for m in pkgutil.iter_modules(cortexc.compiler.passes.__path__)]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type) and c.__module__ == m.__name__}
    return {c for c in classes if isinstance(getattr(c, "name", None), str) and hasattr(c, "apply")}


def test_every_pass_says_what_it_does_to_bits():
    assert set(PASSES.values()) <= all_passes()
    unstated = {c.name for c in all_passes() if getattr(c, "fidelity", "unstated") not in set(BITS) - {"unstated"}}
    assert not unstated, "a pass has `fidelity`, a key of BITS, and where it keeps bits a test here"


def test_all_that_claim_to_keep_bits_are_tested_here():
    assert {c for c in all_passes() if c.fidelity == "same"} == {*IN_THE_INTERPRETER, *IN_THE_LOWERING}
    assert {c for c in all_passes() if c.fidelity == "algebra"} == {
        EliminateLookahead, HoistConstantInput, GroupWeights, DeferDecay}


def test_the_report_says_it_for_this_circuit(pal):
    records = {r.name: r for r in run_passes(pal(), pipeline()).records}
    assert not records["discretise"].changed and records["discretise"].keeps_bits
    assert records["discretise"].effect == "nothing to do" and records["partition"].effect == "to the bit"
    assert records["fuse-update"].changed and records["fuse-update"].keeps_bits
    assert records["eliminate-lookahead"].changed and not records["eliminate-lookahead"].keeps_bits
    assert records["hoist-constant-input"].keeps_bits, "two inputs are too few to hoist"


# ---- those that keep bits


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))


def rows(setup: Setup) -> dict[str, np.ndarray]:
    chunks = list(interpreted(setup, quantities(setup.graph)))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


@pytest.mark.parametrize("each", IN_THE_INTERPRETER, ids=lambda c: c.name)
@pytest.mark.parametrize("seed", range(12))
def test_the_interpreter_has_the_same_bits_before_and_after(each, seed):
    setup = random_setup(RandomChoices(300 + seed), Kinds(fused=False))
    after = run_passes(setup.graph, [each()], Request()).graph
    before, found = rows(setup), rows(replace(setup, graph=after))
    assert {name for name in before if name.endswith(".w")} <= set(found)
    assert all(same_bits(before[name], found[name]) for name in found.keys() & before.keys())


def test_an_integer_program_that_counts_has_the_same_bits():
    from cortexc.compiler.experiments.compilation import compile_experiment
    from cortexc.compiler.experiments.config import load_experiment
    from cortexc.compiler.experiments.questions import learning_first

    found = compile_experiment(load_experiment("pal_digits", [
        "precision.weights=8", "precision.calibration_steps=60", "run.backend=native", "run.seeds=[1]",
        "data.limits={train=8, valid=2, test=2}", "model.layers=[64,4,10]"]))
    setup = Setup(found.report.graph, learning_first(found.plan.protocol, 30), found.plan.samples, (1,))
    after = run_passes(setup.graph, [CountUnderflow()])
    first, second = (_first(replace(setup, graph=g), 30) for g in (setup.graph, after.graph))
    assert after.records[0].changed and len(second) > len(first)
    assert all(same_bits(first[name], second[name]) for name in first)


def _first(setup: Setup, steps: int) -> dict[str, np.ndarray]:
    return next(iter(interpreted(setup, quantities(setup.graph), steps)))


def weights(graph: Graph, setup: Setup, kind: type[Native] = Native) -> dict[str, np.ndarray]:
    """Weights and outputs after every block of a run, of uneven length, of which only outputs are observed."""
    names = [f"{q.name}.w" for q in graph.projections if graph.rule_of(q)] + [q for _, q in graph.outputs]
    run = kind(lower(graph), setup.protocol, setup.samples, list(setup.seeds), setup.noise)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names if name in run.program.slots.sizes}
    for steps in (1, 4, 2, 30):
        run.run(min(steps, setup.steps - run.position))
        for name, past in found.items():
            past.append(run.value(name))
    return {name: np.stack(past) for name, past in found.items()}


@pytest.mark.parametrize("each", IN_THE_LOWERING, ids=lambda c: c.name)
@pytest.mark.parametrize("seed", range(15))
def test_the_lowering_has_the_same_bits_before_and_after(each, seed):
    setup = random_setup(RandomChoices(420 + seed), Kinds(fused=False))
    after = run_passes(setup.graph, [IN_THE_LOWERING[each]], Request()).graph
    before = weights(Partition().apply(setup.graph), setup)
    found = weights(after, setup, Grouped) if each is Partition else weights(Partition().apply(after), setup)
    assert before.keys() == found.keys() and all(same_bits(before[name], found[name]) for name in before)


def test_random_circuits_have_something_to_keep():
    """Otherwise the tests above would prove nothing."""
    setups = [random_setup(RandomChoices(420 + seed), Kinds(fused=False)) for seed in range(15)]
    fused = [q.lowering for s in setups for q in run_passes(s.graph, [FuseUpdate()]).graph.projections]
    folded = [run_passes(random_setup(RandomChoices(300 + s), Kinds(fused=False)).graph, [Fold()]).records[0].changed
              for s in range(15)]
    assert fused.count("fused") > 5 and sum(folded) > 5


# ---- those that do not


def digits() -> Setup:
    """The digits circuit, small, learning, with an input that is held."""
    from cortexc.compiler.ir.arrays import expected_shapes as shapes
    from cortexc.compiler.microcircuits.pal import Pal, build

    rng, graph = np.random.default_rng(3), build(Pal((40, 5, 3), eta_fw=(2.0, 0.5), eta_bw=(50.0,), eta_PI=(5.0,),
                                                 eta_IP=(1.0,), sigma=(0.05,)))
    graph = graph.with_(arrays={name: rng.uniform(-1, 1, shape) for name, shape in shapes(graph).items()
                                if name.endswith((".w", ".u")) and shape})
    gates = tuple((gate, (1.0,)) for gate in graph.gates)
    return Setup(graph, Protocol((Phase("all", 6, 7, gates=gates),), ("all",)), rng.uniform(0, 1, (6, 43)), (1,))


def largest(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(a[name] - b[name]).max()) for name in a.keys() & b.keys())


def test_a_witness_for_the_lookahead():
    setup = digits()
    after = run_passes(setup.graph, [Fold(), EliminateLookahead()]).graph
    assert 0 < largest(rows(setup), rows(replace(setup, graph=after))) < 1e-11


def test_a_witness_for_the_hoisted_input_and_so_for_the_granularities():
    """What a run at `network` has other bits by than one at `population`, which has no hoisting."""
    setup, cut = digits(), pipeline(["fold", "eliminate-lookahead"])
    plain = run_passes(setup.graph, [*cut, Partition("population")]).graph
    hoisted = run_passes(setup.graph, [*cut, HoistConstantInput(), FuseUpdate(), Partition()])
    fused = run_passes(setup.graph, [*cut, FuseUpdate(), Partition()]).graph
    assert not {r.name: r.keeps_bits for r in hoisted.records}["hoist-constant-input"]
    population = weights(plain, setup, Grouped)
    assert 0 < largest(population, weights(hoisted.graph, setup)) < 1e-12
    assert largest(population, weights(fused, setup)) == 0


def test_a_witness_for_groups_of_weights():
    """A sum of groups adds in another order than the projection as a whole."""
    setup = digits()
    spread = setup.graph.arrays["WPP_0.w"] * 10.0 ** np.random.default_rng(1).uniform(-5, 0, (5, 40))
    graph = setup.graph.with_(arrays={**setup.graph.arrays, "WPP_0.w": spread})
    after = run_passes(graph, [GroupWeights(8, 3)]).graph
    found = [rows(replace(setup, graph=g)) for g in (graph, after)]
    assert len(after.projections) > len(graph.projections) and 0 < largest(*found) < 1e-10


def test_recordings_do_not_change_the_bits_of_a_fused_run():
    """A weight that is recorded is flushed in every such step."""
    setup = digits()
    graph = run_passes(setup.graph, [FuseUpdate(), Partition()]).graph
    stream = Stream("s", ("WPP_0.w",))
    phases = tuple(replace(p, records=(("s", Record(every=3)),)) for p in setup.protocol.phases)
    watched = replace(setup, protocol=replace(setup.protocol, phases=phases, streams=(stream,)))
    assert largest(weights(graph, setup), weights(graph, watched)) == 0
