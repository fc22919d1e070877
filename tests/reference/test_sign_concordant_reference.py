"""The oracle of the sign-concordant circuit: the printed golden trace, both levels against each other, autograd.

Levels 0 and 1 add in another order, so they agree to 1e-12, not to the bit; pipelined and phase-locked timing do the
same operations in the same order and agree to the bit.
"""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from protocols.sign_concordant import draw_weights, from_signed, present, readout, split_signed, train_minibatches
from torch.nn import functional

from cortexc.reference import plain_spiking_net as plain
from cortexc.reference.sign_concordant import SignConcordantNetwork
from cortexc.reference.sign_concordant_cells import Synapses, ThreeCellNetwork
from cortexc.reference.sign_concordant_geometry import parse_layers
from cortexc.reference.sign_concordant_parameters import (
    Moments,
    SignConcordantParameters,
    optimise,
    surrogate,
    target_train,
)

pytestmark = pytest.mark.usefixtures("one_thread")
TOY, DENSE = (3, 4, 3, 2), (6, 12, 9, 4)
CNN = ("1x8x8", "3c3", "p2", "4c2", 10)
NETS = [DENSE, CNN, ("2x7x9", "p2", "3c2p1", "p2", 5, 4), ("1x8x8", "3l3", "p2", "4l2", 10), ("1x6x6", "2l3p1", "3c3", 3)]


@pytest.fixture(scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(layers, batch, seed=0):
    """Inputs in [0, 4] and one-hot labels."""
    first, last = parse_layers(layers)[0], parse_layers(layers)[-1]
    x = 4 * torch.rand(batch, math.prod(first.source), generator=generator(seed), dtype=torch.float64)
    labels = torch.randint(last.channels, (batch,), generator=generator(seed + 1))
    return x, torch.eye(last.channels, dtype=torch.float64)[labels]


def build(parameters, level=0, seed=0, scale=3.0, **options):
    weights, feedback = draw_weights(parameters, generator(seed))
    bound = 0.99 * parameters.limit  # many weights are about to reach it
    weights = [(scale * weight).clamp(-bound, bound) for weight in weights]
    make = from_signed if level else SignConcordantNetwork
    return make(parameters, weights, feedback, **options)


def toy_network(level, timing="phase_locked", **options):
    weights, magnitudes = [], []
    for layer, (pre, post) in enumerate(zip(TOY, TOY[1:], strict=False)):
        i, j = torch.arange(post).double()[:, None], torch.arange(pre).double()
        weight = ((7 * i + 5 * j + 3 * layer) % 11 - 5) / 4
        weights.append(weight.where(weight != 0, 0.25))
        magnitudes.append(0.2 + ((3 * i + 4 * j + layer) % 5) / 5)
    parameters = SignConcordantParameters(TOY, learning_rate=0.1, timing=timing)
    make = from_signed if level else SignConcordantNetwork
    return make(parameters, weights, magnitudes[1:], **options)


def layer_numbers(parameters):
    return range(1, len(parameters.projections) + 1)


def worst(first, second):
    """Largest difference of what two snapshots share; they share all of `first` but Adam's moments."""
    shared = [name for name in first if name in second]
    assert {name for name in first if name not in second and "moment" not in name} == set()
    return max(float((first[name] - second[name]).abs().max()) for name in shared)


# Section 7, printed to 6 decimals: kernel, d of the label, spikes, and delta = -q of layers 1 to 3.
KERNEL = [0.333333, 0.555556, 0.703704, 0.802469, 0.868313]
TEACHER = [0, 0.333333, 0.555556, 0.703704, 0.802469]
SPIKES = [[[0, 0, 0, int(t > 0)], [0, 0, int(t in (2, 4))], [0, 0]] for t in range(5)]
DELTA = [
    [[0] * 4, [0] * 3, [0] * 2],
    [[-1e-06, 7e-06, 1e-06, -0.000215], [-0.0005, 6.5e-05, -0.00054], [-0.01108, 0]],
    [[-3e-05, 0.000455, 0, -0.005888], [-0.003964, 4.8e-05, -0.006921], [-0.027819, 0]],
    [[1.1e-05, 0.000139, 0, -0.006369], [-0.017912, 1.9e-05, -0.009745], [-0.042616, 0]],
    [[0.000121, -0.008228, 0, -0.007006], [-0.056951, 9e-06, -0.002131], [-0.077336, 0]],
]
INCREMENTS = [
    [[-9e-06, -4e-06, -7e-06], [0.000671, 0.000268, 0.000537], [0, 0, 0], [0.001546, 0.000618, 0.001237]],
    [[0, 0, 0, 0.006068], [0, 0, 0, -7e-06], [0, 0, 0, 0.001259]],
    [[0, 0, 0.005598], [0, 0, 0]],
]


TOY_X, TOY_LABEL = torch.tensor([[1.0, 0.4, 0.8]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("level, options", [(0, {}), (1, {}), (1, {"dale_strict": True})])
def test_golden_trace(level, options):
    network = toy_network(level, **options)
    for t in range(5):
        network.step(t == 0, TOY_X, TOY_LABEL * (t > 0), True, False)
        taken = network.snapshot()
        assert float(taken["kernel"]) == pytest.approx(KERNEL[t], abs=5.1e-7)
        assert taken["teacher"][0].tolist() == pytest.approx([TEACHER[t], 0], abs=5.1e-7)
        for layer in (1, 2, 3):
            assert taken[f"spike_{layer}"][0].tolist() == SPIKES[t][layer - 1]
            assert (-taken[f"error_{layer}"][0]).tolist() == pytest.approx(DELTA[t][layer - 1], abs=5.1e-7)
    for layer, printed in enumerate(INCREMENTS, 1):
        assert torch.allclose(taken[f"dW_{layer}"], torch.tensor(printed).double(), rtol=0, atol=5.1e-7)


@pytest.mark.parametrize("level, timing", product((0, 1), ("phase_locked", "pipelined")))
def test_golden_increments_reach_the_weights(level, timing):
    start, taken = toy_network(0).weights, present(toy_network(level, timing), TOY_X, TOY_LABEL)
    assert len(taken) == (5 if timing == "phase_locked" else 11)
    assert taken[-2]["dW_3"].any() and not taken[-1]["dW_3"].any()
    for layer, printed in enumerate(INCREMENTS, 1):
        change = taken[-1][f"W_{layer}"] - start[layer - 1]
        assert torch.allclose(change, torch.tensor(printed).double(), rtol=0, atol=5.1e-7)


@pytest.mark.parametrize("steps, train", [(5, [0, 1, 1, 1, 1]), (8, [0, 1, 1, 1, 1, 0, 1, 1]), (20, [0, 1] * 10)])
def test_target_train(steps, train):
    assert target_train(steps).tolist() == train


@pytest.mark.parametrize("steps, message", [(4, "too short for the target train"), (15, "no multiple of 10")])
def test_target_train_refuses(steps, message):
    with pytest.raises(ValueError, match=message):
        SignConcordantParameters(DENSE, steps=steps)


def test_surrogates():
    p, u = SignConcordantParameters(DENSE), torch.tensor([0.0, 0.5, 0.6, 1.0, 1.4, 30.0], dtype=torch.float64)
    s = torch.sigmoid((u - 1) / 0.2)
    assert torch.allclose(surrogate(p, u), s * (1 - s) / 0.2, rtol=1e-12, atol=1e-15)
    assert float(surrogate(p, u)[3]) == 1.25
    assert surrogate(replace(p, surrogate="boxcar"), u).tolist() == [0, 0, 1, 1, 1, 0]


@pytest.mark.parametrize("level", [0, 1])
def test_neurons_and_traces_against_scalars(level):
    """Section 2 and the membrane trace, in plain Python numbers, with the spikes of one step and the one before."""
    p = SignConcordantParameters((2, 1, 1), steps=20, trace="membrane", tau_m=4.0, tau_s=2.5)
    weights = [torch.tensor([[1.5, -0.4]], dtype=torch.float64), torch.tensor([[2.0]], dtype=torch.float64)]
    make = from_signed if level else SignConcordantNetwork
    network = make(p, weights, [torch.tensor([[0.7]], dtype=torch.float64)])
    taken = present(network, torch.tensor([[0.6, 0.3]], dtype=torch.float64), torch.ones(1, 1).double(), learn=False)
    kernel, u, s, a, trace, spikes = 0.0, [0.0, 0.0], [0, 0], [0.0, 0.0], 0.0, [0, 0]
    for step in taken:
        kernel = kernel * 0.6 + 0.4
        currents = [0.9 * kernel - 0.12 * kernel, None]
        for layer in (0, 1):
            current = currents[0] if layer == 0 else 2.0 * a[0]
            u[layer] = current if s[layer] else 0.75 * u[layer] + current
            s[layer] = int(u[layer] > 1)
            a[layer] = 0.6 * a[layer] + 0.4 * s[layer]
            spikes[layer] += s[layer]
        trace = 0.75 * trace + a[0]
        found = [float(step[name]) for name in ("u_1", "u_2", "psc_1", "psc_2", "trace_2")]
        assert found == pytest.approx([*u, *a, trace], abs=1e-14)
    assert min(spikes) >= 4 and max(spikes) < 20


@pytest.mark.parametrize("level", [0, 1])
def test_threshold_is_strict(level):
    p, weight = SignConcordantParameters((1, 1), tau_s=2.0), torch.tensor([[2.0]], dtype=torch.float64)
    network = (from_signed if level else SignConcordantNetwork)(p, [weight], [])
    first, second, *_ = present(network, torch.ones(1, 1).double(), torch.ones(1, 1).double(), learn=False)
    assert float(first["u_1"]) == 1 and not first["spike_1"].any() and second["spike_1"].all()


def torch_drive(projection, weight, below):
    """The geometry in torch's own layers; locally connected ones position by position."""
    maps = below.reshape(-1, *projection.source)
    maps = functional.avg_pool2d(maps, projection.pool) if projection.pool > 1 else maps
    if projection.kind == "dense":
        return functional.linear(maps.flatten(1), weight)
    if projection.kind == "convolution":
        return functional.conv2d(maps, weight, padding=projection.padding).flatten(1)
    maps, k, (height, width) = functional.pad(maps, [projection.padding] * 4), projection.kernel, projection.target[1:]
    windows = {(y, x): maps[:, :, y : y + k, x : x + k] for y in range(height) for x in range(width)}
    units = [torch.einsum("nckl,ockl->no", window, weight[:, y, x]) for (y, x), window in windows.items()]
    return torch.stack(units, 2).flatten(1)


def test_layer_descriptions():
    assert [projection.target for projection in parse_layers(("1x28x28", "15c5", "p2", "40l5p2", "p2", 300, 10))] == [
        (15, 24, 24), (40, 12, 12), (300, 1, 1), (10, 1, 1)]
    assert [projection.weight_shape for projection in parse_layers(("1x28x28", "15c5", "p2", "40l5p2", "p2", 300))] == [
        (15, 1, 5, 5), (40, 12, 12, 15, 5, 5), (300, 1440)]
    assert [projection.fan_in for projection in parse_layers(("3x9x9", "4c3", "p2", 7))] == [27, 36]


@pytest.mark.parametrize("layers", [
    (), (5,), (0, 3), (5, 0), ("1x8", 3), (5, "p2"), ("1x8x8", "p2"), ("1x8x8", "3c9", 2), ("1x8x8", "3d3", 2), (9, "3c3"),
    ("1x8x8", "p2", "p2", 3), ("1x8x8", "p9", 3), ("1x8x8", 3.0)])
def test_bad_layers_are_refused(layers):
    with pytest.raises(ValueError, match="layer|input|maps"):
        SignConcordantParameters(layers)


@pytest.mark.parametrize("projection", [projection for net in NETS for projection in parse_layers(net)], ids=str)
def test_geometry_against_autograd(projection):
    shape, sizes = projection.weight_shape, (math.prod(projection.source), math.prod(projection.target))
    weight = torch.randn(shape, generator=generator(1), dtype=torch.float64, requires_grad=True)
    below = torch.randn(3, sizes[0], generator=generator(2), dtype=torch.float64, requires_grad=True)
    message = torch.randn(3, sizes[1], generator=generator(3), dtype=torch.float64)
    driven = torch_drive(projection, weight, below)
    to_weight, to_below = torch.autograd.grad((driven * message).sum(), (weight, below))
    for found, expected in (
        (projection.drive(weight, below), driven),
        (projection.send_back(weight, message), to_below),
        (projection.correlate(message, below), to_weight),
    ):
        assert found.shape == expected.shape and torch.allclose(found, expected, rtol=0, atol=1e-12)


def autograd_increments(p, weights, x, labels):
    """Gradient of 1/2 sum (a_L - d)^2 through the paths within a step: what remembers is detached, da/du = g(u)."""
    weights = [weight.clone().requires_grad_() for weight in weights]
    sizes = [math.prod(projection.target) for projection in p.projections]
    u, s, a = ([torch.zeros(len(x), size, dtype=torch.float64) for size in sizes] for _ in range(3))
    loss, d = torch.zeros(()).double(), torch.zeros_like(labels)
    for t, target in enumerate(target_train(p.steps)):
        below, d = x * (1 - (1 - 1 / p.tau_s) ** (t + 1)), (1 - 1 / p.tau_s) * d + labels * target / p.tau_s
        for layer, (projection, weight) in enumerate(zip(p.projections, weights, strict=True)):
            current = torch_drive(projection, weight, below)
            potential = torch.where(s[layer] > 0, 0, u[layer] * (1 - 1 / p.tau_m)) + current
            u[layer], s[layer] = potential.detach(), (potential.detach() > p.threshold).double()
            a[layer] = (1 - 1 / p.tau_s) * a[layer] + s[layer] / p.tau_s
            below = a[layer] + surrogate(p, u[layer]) * (potential - u[layer])
        loss = loss + 0.5 * ((below - d) ** 2).sum()
    return [-gradient for gradient in torch.autograd.grad(loss, weights)]


@pytest.mark.parametrize("layers, kind", [*product(NETS, ["logistic"]), (CNN, "boxcar")])
def test_bp_against_autograd(layers, kind):
    p = SignConcordantParameters(layers, policy="BP", surrogate=kind, steps=10)
    network, (x, labels) = build(p), sample(layers, 7)
    start = list(network.weights)
    found = present(network, x, labels)
    increments = autograd_increments(p, start, x, labels)
    for layer, expected in enumerate(increments, 1):
        assert float(found[-1][f"spike_{layer}"].mean()) > 0 and float(expected.abs().max()) > 1e-3
        assert torch.allclose(found[-1][f"W_{layer}"], (start[layer - 1] + expected).clamp(-4, 4), rtol=0, atol=1e-12)


OPTIMISERS = {"none": {"learning_rate": 1.0}, "adam": {"optimiser": "adam", "adam_rate": 0.05}}
OPTIMISERS |= {"step": {"learning_rate": 0.3, "update": "step"}, "membrane": {"learning_rate": 0.2, "trace": "membrane"}}


LEVEL_CASES = [*product(NETS, (1, 7), ("none", "adam")), (CNN, 7, "step"), (DENSE, 1, "step"), (DENSE, 7, "membrane")]


@pytest.mark.parametrize("layers, batch, chosen", LEVEL_CASES)
def test_levels_agree(layers, batch, chosen):
    """Every shared quantity, over minibatches in which every layer fires and weights reach 0 and the limit.

    Learning amplifies the last bits: by 10 per minibatch at rates four times as high.
    """
    p = SignConcordantParameters(layers, limit=1.5, **OPTIMISERS[chosen])
    p = replace(p, learning_rate=p.learning_rate * (1 if batch == 7 else 2))
    networks = [build(p), build(p, 1), build(p, 1, dale_strict=True)]
    start, fired, zeroed, limited = list(networks[0].weights), set(), False, False
    for minibatch in range(4):
        records = [present(network, *sample(layers, batch, minibatch)) for network in networks]
        for signed, cells, strict in zip(*records, strict=True):
            assert max(worst(signed, cells), worst(signed, strict)) <= 1e-12
            fired |= {layer for layer in layer_numbers(p) if signed[f"spike_{layer}"].any()}
        for weight, old in zip(networks[0].weights, start, strict=True):
            assert ((weight * old >= 0) & (weight.abs() <= 1.5)).all()
            zeroed, limited = zeroed or (weight == 0).any(), limited or (weight.abs() == 1.5).any()
    assert fired == set(layer_numbers(p)) and zeroed and limited


@pytest.mark.parametrize("layers, level, trace", product([DENSE, CNN], (0, 1), ("psc", "membrane")))
def test_pipelined_equals_phase_locked(layers, level, trace):
    p = SignConcordantParameters(layers, learning_rate=0.1, limit=1.5, trace=trace)
    locked, pipelined = build(p, level), build(replace(p, timing="pipelined"), level)
    count = len(p.projections)
    for minibatch in range(3):
        x, labels = sample(layers, 3, minibatch)
        direct, hops = present(locked, x, labels), present(pipelined, x, labels)
        assert len(hops) == p.steps + 2 * count and torch.equal(readout(locked, direct), readout(pipelined, hops))
        for t, layer in product(range(p.steps), range(1, count + 1)):
            for name in ("u", "spike", "psc"):
                assert torch.equal(direct[t][f"{name}_{layer}"], hops[t + layer - 1][f"{name}_{layer}"])
            for name in ("error", "gate", "trace", "apical"):
                assert torch.equal(direct[t][f"{name}_{layer}"], hops[t + 2 * count - layer - 1][f"{name}_{layer}"])
        for layer in range(1, count + 1):
            assert torch.equal(direct[-1][f"W_{layer}"], hops[-1][f"W_{layer}"])
    assert direct[-1]["spike_1"].any()


def test_dale_strict_lines_are_not_negative():
    p = SignConcordantParameters(CNN, learning_rate=0.1)
    strict, signed = build(p, 1, dale_strict=True), build(p, 1)
    records = present(strict, *sample(CNN, 3)), present(signed, *sample(CNN, 3))
    names = ("basal", "parvalbumin", "apical_excitation", "somatostatin", "error_positive", "error_negative")
    values = [value for taken in records[0] for name, value in taken.items() if name[:-2] in names]
    assert len(values) == 5 * 3 * 6 and all((value >= 0).all() for value in values)
    assert any((taken["somatostatin_1"] < 0).any() for taken in records[1])
    assert any((taken["error_1"] < 0).any() for taken in records[0])
    for taken in records[0]:
        assert torch.equal(taken["error_1"], taken["error_positive_1"] - taken["error_negative_1"])


def test_cells_store_one_type_per_pair():
    network = build(SignConcordantParameters(DENSE, learning_rate=0.1), 1)
    taken = present(network, *sample(DENSE, 7))[-1]
    for layer in (1, 2, 3):
        assert torch.equal(taken[f"E_{layer}"] + taken[f"I_{layer}"], torch.ones_like(taken[f"E_{layer}"]))
        assert not (taken[f"wE_{layer}"] * taken[f"I_{layer}"]).any() and not (taken[f"wI_{layer}"] * taken[f"E_{layer}"]).any()
    assert not (taken["cE_2"] * taken["I_2"]).any() and torch.equal(taken["B_2"].sign(), taken["E_2"] - taken["I_2"])


def change_of(network, x, labels):
    before = list(network.weights)
    present(network, x, labels)
    return [new - old for new, old in zip(network.weights, before, strict=True)]


@pytest.mark.parametrize("policy", ["locked", "frSF", "brSF", "uSF", "FA", "DFA", "BP"])
def test_feedback_after_an_update(policy):
    p = SignConcordantParameters(DENSE, policy=policy, learning_rate=2.0)
    magnitudes = [torch.full((9, 12), 0.25).double(), torch.full((4, 9), 0.75).double()]
    network = build(p, redraw=(lambda count: [count * size for size in magnitudes]) if policy == "brSF" else None)
    given, before, signs = network.magnitudes, network.feedback, [weight.sign() for weight in network.weights[1:]]
    for index in (1, 2):
        change_of(network, *sample(DENSE, 7, index))
    flipped = [weight.sign() != sign for weight, sign in zip(network.weights[1:], signs, strict=True)]
    assert any(flip.any() for flip in flipped)
    expected = {"BP": network.weights[1:], "locked": before, "FA": given, "DFA": given}
    sizes = {"frSF": given, "brSF": [2 * size for size in magnitudes], "uSF": [math.sqrt(2 / 12), math.sqrt(2 / 9)]}
    if policy in sizes:
        expected = {policy: [w.sign() * size for w, size in zip(network.weights[1:], sizes[policy], strict=True)]}
    for found, wanted in zip(network.feedback, expected[policy], strict=True):
        assert torch.equal(found, wanted)
    if policy == "locked":
        assert all(not (flip & (w != 0)).any() for flip, w in zip(flipped, network.weights[1:], strict=True))
        assert all(torch.equal(b.sign(), sign) for b, sign in zip(network.feedback, signs, strict=True))


def test_sign_of_zero_sends_nothing():
    p, (weights, feedback) = SignConcordantParameters((2, 2, 2), policy="frSF"), ([torch.eye(2)] * 2, [torch.ones(2, 2)])
    assert torch.equal(SignConcordantNetwork(p, weights, feedback).feedback[0], torch.eye(2).double())


def test_types_let_a_zero_grow():
    p, types = SignConcordantParameters((2, 2, 2)), [torch.ones(2, 2).double(), torch.tensor([[1, -1], [-1, 0]]).double()]
    weights = [torch.full((2, 2), 2.0).double(), torch.zeros(2, 2).double()]
    options = {"weights": weights, "types": types}
    signed = SignConcordantNetwork(p, feedback=[torch.ones(2, 2)], **options)
    cells = from_signed(p, magnitudes=[torch.ones(2, 2).double()], **options)
    assert torch.equal(signed.feedback[0], types[1])
    for taken in (present(network, torch.ones(1, 2).double(), TOY_LABEL)[-1] for network in (signed, cells)):
        assert taken["W_2"][0, 0] > 0 and not taken["W_2"][0, 1] and not taken["W_2"][1].any()


def test_direct_feedback():
    p = SignConcordantParameters(CNN, policy="DFA")
    network = build(p)
    assert [tuple(b.shape) for b in network.feedback] == [(10, 108), (10, 16)]
    for taken in present(network, *sample(CNN, 2)):
        for layer in (1, 2):
            sent = torch.einsum("oi,no->ni", taken[f"B_{layer}"], taken["error_3"])
            assert torch.allclose(taken[f"apical_{layer}"], sent, rtol=0, atol=1e-14)
            assert torch.equal(taken[f"error_{layer}"], surrogate(p, taken[f"u_{layer}"]) * taken[f"apical_{layer}"])


def test_adam_against_torch():
    p = SignConcordantParameters(DENSE, optimiser="adam", adam_rate=0.01, beta1=0.8, beta2=0.95, epsilon=1e-3)
    mine = theirs = torch.randn(4, 5, generator=generator(), dtype=torch.float64)
    theirs, moments = theirs.clone().requires_grad_(), Moments(torch.zeros(4, 5).double(), torch.zeros(4, 5).double())
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.8, 0.95), eps=1e-3, maximize=True)
    for count in range(1, 6):
        total = torch.randn(4, 5, generator=generator(count), dtype=torch.float64)
        increment, moments = optimise(p, total, moments, count)
        mine, theirs.grad = mine + increment, total
        adam.step()
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-14)


def test_clipped_norms():
    p = SignConcordantParameters(DENSE, optimiser="clipped", clip_norm=0.01, limit=99)
    (x, labels), unlimited = sample(DENSE, 7), build(replace(p, optimiser="none"), scale=1)
    free, clipped = change_of(unlimited, x, labels), change_of(build(p, scale=1), x, labels)
    for full, short in zip(free, clipped, strict=True):
        assert float(full.norm()) > 0.011 and float(short.norm()) <= 0.01 + 1e-15
    cells = build(p, 1, scale=1)
    first, *_, last = present(cells, x, labels)
    for name in ("wE_2", "wI_2", "wE_3", "wI_3"):
        assert 0.005 < float((last[name] - first[name]).norm()) <= 0.01 + 1e-15


@pytest.mark.parametrize("level", [0, 1])
def test_flags_of_a_step(level):
    """Sums grow only where `learn`, survive a reset, are applied and cleared only by `apply`."""
    p = SignConcordantParameters(DENSE, learning_rate=0.1)
    network, (x, labels) = build(p, level), sample(DENSE, 7)
    with pytest.raises(ValueError, match="no step with `first`"):
        network.step(False, x, labels, True, False)
    x = 4 * x  # so that spikes and increments come at once
    network.step(True, x, labels, True, False)
    one = network.snapshot()
    network.step(False, x, labels, False, False)
    two = network.snapshot()
    network.step(True, x, labels, [True, False, True], False)
    three = network.snapshot()
    network.step(False, x, labels, False, True)
    four = network.snapshot()
    assert one["dW_3"].any() and torch.equal(two["dW_3"], one["dW_3"]) and not torch.equal(two["psc_0"], one["psc_0"])
    assert torch.equal(three["u_1"], one["u_1"]) and torch.equal(three["kernel"], one["kernel"])
    assert torch.equal(three["dW_3"], 2 * one["dW_3"]) and torch.equal(three["dW_2"], one["dW_2"])
    assert torch.equal(three["W_3"], one["W_3"]) and not four["dW_3"].any()
    assert torch.allclose(four["W_3"], one["W_3"] + three["dW_3"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("level, layers", product((0, 1), (DENSE, CNN)))
def test_a_minibatch_sums_its_samples(level, layers):
    p, (x, labels) = SignConcordantParameters(layers, optimiser="none", learning_rate=0.01), sample(layers, 7)
    together = present(build(p, level), x, labels)[-2]
    alone = [present(build(p, level), x[i : i + 1], labels[i : i + 1])[-2] for i in range(7)]
    for layer in (1, 2, 3):
        summed = torch.stack([taken[f"dW_{layer}"] for taken in alone]).sum(0)
        assert torch.allclose(together[f"dW_{layer}"], summed, rtol=0, atol=1e-13)
        psc = torch.cat([taken[f"psc_{layer}"] for taken in alone])
        assert torch.allclose(together[f"psc_{layer}"], psc, rtol=0, atol=1e-13)


@pytest.mark.parametrize("level", [0, 1])
def test_update_after_every_step(level):
    p = SignConcordantParameters(DENSE, learning_rate=0.02, update="step")
    network, (x, labels) = build(p, level), sample(DENSE, 7)
    taken = present(network, x, labels)
    for before, now in zip(taken, taken[1:], strict=False):
        change = torch.einsum("ni,nj->ij", now["error_3"], now["psc_2"]) * 0.02
        kept = (before["W_3"] + change).clamp(-4, 4)
        assert torch.allclose(now["W_3"], torch.where(kept * taken[0]["W_3"] > 0, kept, 0.0), rtol=0, atol=1e-14)
    assert network.update_count == 5 and not torch.equal(taken[1]["W_3"], taken[4]["W_3"])


@pytest.mark.parametrize("level", [0, 1])
def test_presentation_without_learning(level):
    network, (x, labels) = build(SignConcordantParameters(DENSE), level), sample(DENSE, 7)
    first, *_, last = taken = present(network, x, labels, learn=False)
    assert torch.equal(first["W_1"], last["W_1"]) and not last["dW_1"].any() and network.update_count == 0
    assert torch.equal(readout(network, taken), sum(step["psc_3"] for step in taken)) and len(taken) == 5


def test_draws_have_the_stated_law():
    layers, drawn = (400, 300, 200), {}
    for policy in ("locked", "FA", "DFA", "uSF", "BP"):
        drawn[policy] = draw_weights(SignConcordantParameters(layers, policy=policy), generator())
    assert float(drawn["FA"][0][0].std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert float(drawn["FA"][1][0].std()) == pytest.approx(math.sqrt(2 / 300), rel=0.02)
    assert torch.equal(drawn["locked"][1][0], drawn["FA"][1][0].abs()) and drawn["BP"][1] == []
    assert drawn["DFA"][1][0].shape == (200, 300)
    uniform = SignConcordantNetwork(SignConcordantParameters(layers, policy="uSF"), *drawn["uSF"])
    assert uniform.magnitudes == [math.sqrt(2 / 300)]


GOOD = [torch.ones(2, 2).double(), torch.ones(2, 2).double()]


@pytest.mark.parametrize("message, make", [
    ("expected", lambda p: SignConcordantNetwork(p, GOOD[:1], GOOD[1:])),
    ("expected", lambda p: SignConcordantNetwork(p, GOOD, [])),
    ("expected", lambda p: SignConcordantNetwork(p, GOOD, [torch.ones(2, 3)])),
    ("at least 0", lambda p: SignConcordantNetwork(p, GOOD, [-GOOD[1]])),
    ("sign of their types", lambda p: SignConcordantNetwork(p, GOOD, GOOD[1:], [-GOOD[0], GOOD[1]])),
    ("sign of their types", lambda p: split_signed(GOOD[0], GOOD[0], -GOOD[0])),
    ("only 'locked'", lambda p: from_signed(replace(p, policy="frSF"), GOOD, GOOD[1:])),
    ("1 of 2", lambda p: ThreeCellNetwork(p, [split_signed(GOOD[0])])),
    ("expected shape", lambda p: ThreeCellNetwork(p, [split_signed(torch.ones(3, 2).double())] * 2)),
    ("one connectivity type", lambda p: ThreeCellNetwork(p, [Synapses(*GOOD, *GOOD, *GOOD)] * 2)),
    ("at least 0", lambda p: from_signed(p, GOOD, [-GOOD[1]])),
    ("brSF needs", lambda p: present(SignConcordantNetwork(replace(p, policy="brSF"), GOOD, GOOD[1:]), *2 * [GOOD[0]])),
    ("shapes of the states", lambda p: present(SignConcordantNetwork(p, GOOD, GOOD[1:]), GOOD[0][:, :1], GOOD[0])),
    ("shapes of the states", lambda p: present(from_signed(p, GOOD, GOOD[1:]), GOOD[0], GOOD[0][:1])),
    ("unknown", lambda p: replace(p, policy="sign")),
    ("tau_m", lambda p: replace(p, tau_m=0.5)),
    ("pipelined", lambda p: replace(p, timing="pipelined", update="step")),
    ("pipelined", lambda p: replace(p, timing="pipelined", policy="DFA")),
])
def test_refusals(message, make):
    with pytest.raises(ValueError, match=message):
        make(SignConcordantParameters((2, 2, 2)))


def blobs(samples=600, seed=0):
    """Five noisy prototypes of 20 inputs in [0, 1.2]: x, labels."""
    prototypes = torch.rand(5, 20, generator=generator(9), dtype=torch.float64).round()
    labels = torch.randint(5, (samples,), generator=generator(seed))
    noise = torch.rand(samples, 20, generator=generator(seed + 1), dtype=torch.float64)
    return 0.6 * (prototypes[labels] + noise), labels


@pytest.mark.parametrize("level", [0, 1])
def test_a_network_learns(level):
    p = SignConcordantParameters((20, 30, 5), optimiser="adam", adam_rate=5e-3)
    network, (x, labels), (unseen, truth) = build(p, level, scale=1), blobs(), blobs(200, 5)
    one_hot = torch.eye(5, dtype=torch.float64)
    for _ in range(3):
        train_minibatches(network, x, one_hot[labels], 20)
    assert network.update_count == 90
    shown = readout(network, present(network, unseen, one_hot[truth], learn=False))
    assert float((shown.argmax(1) == truth).double().mean()) > 0.9


def dense(*sizes):
    return tuple(zip(sizes[1:], sizes[:-1], strict=True))


@pytest.mark.parametrize("policy", plain.POLICIES)
def test_plain_net_has_the_increments_of_level_0(policy):
    net, (x, labels) = plain.build(dense(*DENSE), policy), sample(DENSE, 7)
    net.weights, net.feedback = ([2 * part.double() for part in parts] for parts in (net.weights, net.feedback))
    feedback = [part if policy == "FA" else part.abs() for part in net.feedback]
    p = SignConcordantParameters(DENSE, policy=policy)
    network = SignConcordantNetwork(p, [weight.clone() for weight in net.weights], feedback if policy != "BP" else [])
    for t, target in enumerate(target_train(5)):
        network.step(t == 0, x, labels * target, True, False)
    plain.learn(net, x, labels.argmax(1))
    for weight, total in zip(net.weights, network.sums, strict=True):
        assert total.any() and torch.allclose(7 * weight.grad, total, rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", plain.POLICIES)
def test_plain_net_learns(policy):
    net, (x, labels) = plain.build(dense(20, 30, 5), policy, rate=5e-3), blobs()
    signs, before = [weight.sign() for weight in net.weights], accuracy(net)
    for index in torch.randperm(3 * len(x), generator=generator()).split(20):
        plain.learn(net, x[index % len(x)].float(), labels[index % len(x)])
    assert accuracy(net) > max(0.8, before)
    crossed = [(weight * sign < 0).any() for weight, sign in zip(net.weights, signs, strict=True)]
    assert any(crossed) == (policy != "locked")


def accuracy(net):
    """Of level 0 with its weights, on samples that it has not seen."""
    unseen, truth = blobs(200, 5)
    parameters = SignConcordantParameters((20, 30, 5), policy="BP")
    network = SignConcordantNetwork(parameters, [weight.detach() for weight in net.weights])
    shown = readout(network, present(network, unseen, torch.eye(5, dtype=torch.float64)[truth], learn=False))
    return float((shown.argmax(1) == truth).double().mean())
