"""E-prop against backpropagation through time, both of the reference; and the circuit against the reference."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cortexc.compiler.microcircuits.eprop import FEEDBACK, Eprop, build  # noqa: E402
from cortexc.compiler.verify.oracles.eprop import reference_setup, trajectory, wanted  # noqa: E402
from cortexc.compiler.verify.runs import compiled, interpreted, quantities  # noqa: E402
from cortexc.reference import eprop  # noqa: E402

CUES, CELLS, STEPS = 5, 6, 150


def weights(recurrent):
    generator = torch.Generator().manual_seed(3)

    def normal(rows, columns):
        return torch.randn(1, rows, columns, generator=generator, dtype=torch.float64)

    w_out = normal(2, CELLS)
    return {"W_in": 0.7 * normal(CELLS, CUES), "W": recurrent * normal(CELLS, CELLS) * (1 - torch.eye(CELLS)),
            "W_out": w_out, "B": w_out.transpose(1, 2).clone()}


def sums(parameters, start, level, uniform, target):
    """What a trial adds up, of e-prop, and its spikes."""
    model = eprop.EpropReference(parameters, eprop.fresh_state(parameters, start))
    spikes, inputs = 0.0, []
    for t in range(STEPS):
        model.step(level, uniform[t], target, t == 0, t >= STEPS - 40, True, False)
        spikes += float(model.state.seen["z"].sum())
        inputs.append(model.state.seen["x"])
    return {name: adam.total for name, adam in model.state.adam.items()}, spikes, torch.stack(inputs)


def gradients(recurrent):
    beta = torch.where(torch.arange(CELLS) < 3, 0.0, 0.15).to(torch.float64)
    parameters = eprop.EpropParameters(beta, regularisation=0.0, highest_rate=150.0, tau_a=200.0)
    start, generator = weights(recurrent), torch.Generator().manual_seed(5)
    uniform = torch.rand(STEPS, 1, CUES, generator=generator, dtype=torch.float64)
    level, target = torch.ones(1, CUES, dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    found, spikes, x = sums(parameters, start, level, uniform, target)
    assert spikes > 20
    exact = eprop.bptt_gradient(parameters, start, x, target, torch.arange(STEPS) >= STEPS - 40)
    return found, exact


def test_without_recurrent_weights_it_is_the_gradient():
    found, exact = gradients(0.0)
    off_diagonal = 1 - torch.eye(CELLS, dtype=torch.float64)
    for name in eprop.PLASTIC:
        wanted_ = -exact[name] * (off_diagonal if name == "W" else 1)
        assert wanted_.abs().max() > 1e-3
        assert (found[name] - wanted_).abs().max() < 1e-12 * wanted_.abs().max(), name


def test_with_them_it_leaves_out_what_passes_through_other_cells():
    found, exact = gradients(0.5)
    apart = (found["W_in"] + exact["W_in"]).flatten()
    assert apart.norm() > 1e-3 * exact["W_in"].norm()
    assert torch.cosine_similarity(found["W_in"].flatten(), -exact["W_in"].flatten(), dim=0) > 0.5


def small(feedback):
    return Eprop(cues=6, cells=7, adaptive=4, feedback=feedback, highest_rate=300.0, beta=0.2)


@pytest.mark.parametrize("feedback", FEEDBACK)
def test_the_circuit_is_the_reference(feedback):
    circuit, steps = small(feedback), 500
    setup = reference_setup(circuit, steps, (1, 2))
    names = wanted(circuit, set(quantities(setup.graph)))
    missing = set(quantities(setup.graph)) - set(names)
    assert {name.split(".")[1] for name in missing} <= {"current", "w", "adapting", "excess", "distance", "own"}
    assert {name for name in missing if name.endswith(".w")} == {"rivals.w"}
    expected = list(trajectory(circuit, setup, set(names), steps))
    native = compiled(setup, names, "native", "network", steps, chunk=200)
    for chunk, ours, fast in zip(expected, interpreted(setup, names, steps, 200), native, strict=True):
        for name in names:
            scale = np.abs(chunk[name]).max() or 1.0
            assert np.abs(ours[name] - chunk[name]).max() <= 1e-9 * scale, name
            assert name not in fast or (fast[name] == ours[name]).all(), name
    moved = np.concatenate([chunk["W.w"] for chunk in expected])
    assert np.abs(moved[-1] - moved[0]).max() > 1e-3


@pytest.mark.parametrize("options", [{"feedback": "none"}, {"adaptive": 51}, {"cells": 0, "adaptive": 0}])
def test_what_cannot_be_built(options):
    with pytest.raises(Exception, match="E360"):
        build(Eprop(**options))
