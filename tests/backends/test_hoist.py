"""Hoisting: the trajectory of the plain lowering to rounding, and bits that do not depend on where blocks are cut."""

import numpy as np
import pytest

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.bench.speed import LEARNING, random_weights
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.passes import Request, pipeline, run_passes
from cortexc.compiler.passes.hoist_constant_input import HoistConstantInput

NAMES = ("WPP_0.w", "WPP_0.low_pass", "WPP_1.w", "BPP_0.w", "P0.rate")
QUIET = tuple(g for g in LEARNING if g not in ("learn_forward", "target"))


def protocol(presentations: int, every: int) -> Protocol:
    quiet = Phase("quiet", presentations // 4, 20, gates=tuple((g, (1.0,)) for g in QUIET))
    learn = Phase("learn", presentations - quiet.count, 20, (quiet.count,), "order",
                  tuple((g, (1.0,)) for g in LEARNING), (("all", Record(every=every)),) if every else ())
    partly = Phase("partly", 10, 7, gates=(("learn_forward", (1.0, 0.0, 0.0, 1.0, 1.0)), ("noise", (1.0,))))
    return Protocol((quiet, learn, partly), ("quiet", "learn", "partly", "learn"),
                    (Stream("all", ("P1.breve", "WPP_0.w")),) if every else ())


def run(variant="PAL", hoist=True, block=1000, every=0, presentations=100, low_pass=None):
    circuit = Pal((40, 12, 5), variant, eta_fw=(1.0, 0.05), eta_IP=(0.2,), eta_PI=(0.2,), eta_bw=(2.0,), sigma=(0.05,),
                  low_pass=low_pass)
    names = ["fold", "eliminate-lookahead", *(["hoist-constant-input"] if hoist else []), "fuse-update"]
    observed = frozenset(n for n in NAMES if "low_pass" not in n and (variant == "PAL" or "BPP" not in n))
    graph = run_passes(random_weights(build(circuit), 1), pipeline(names), Request(observed)).graph
    assert any(q.lowering == "hoisted" for q in graph.projections) == hoist
    samples = np.random.default_rng(2).uniform(0, 1, (presentations, 45))
    native = Native(lower(graph, observed), protocol(presentations, every), samples, [3])
    native.run(block=block)
    return native


@pytest.mark.parametrize("variant, low_pass", [("PAL", None), ("FA", None), ("FA", True)])
@pytest.mark.parametrize("every", [0, 33])
def test_the_trajectory_is_that_of_the_plain_lowering(variant, low_pass, every):
    plain, hoisted = (run(variant, hoist, 137, every, low_pass=low_pass) for hoist in (False, True))
    for name in NAMES:
        if name in plain.group.offsets:
            assert np.abs(plain.value(name) - hoisted.value(name)).max() < 1e-12, name
    assert np.abs(plain.value("WPP_0.w") - plain.program.graph.arrays["WPP_0.w"]).max() > 1e-4
    if every:
        for name in ("P1.breve", "WPP_0.w"):
            assert np.abs(plain.records.rows("all", name) - hoisted.records.rows("all", name)).max() < 1e-12


def test_bits_do_not_depend_on_blocks():
    one, other = run(block=1), run(block=97)
    for name in NAMES:
        assert np.array_equal(one.value(name), other.value(name)), name


def test_a_long_run_stays_on_the_trajectory():
    plain, hoisted = run(hoist=False, presentations=2900), run(presentations=2900)
    assert plain.feed.position > 100_000
    for name in NAMES:
        assert np.abs(plain.value(name) - hoisted.value(name)).max() < 1e-9, name


def test_what_would_not_be_the_same_is_left_alone():
    graph = random_weights(build(Pal((40, 12, 5))), 1)

    def lowered(changed, observed=frozenset()):
        return [q.name for q in HoistConstantInput().apply(changed, Request(observed)).projections if q.lowering]

    assert lowered(graph) == ["WPP_0"]
    assert lowered(graph, frozenset({"WPP_0.increment"})) == []
    clipped = graph.synapse("bottom_up")
    from dataclasses import replace

    assert lowered(graph.with_(synapses=tuple(replace(s, limits=(-1.0, 1.0)) if s is clipped else s
                                              for s in graph.synapses))) == []
    assert lowered(graph.with_(seeds=2)) == []
    assert lowered(random_weights(build(Pal((4, 12, 5))), 1)) == []
