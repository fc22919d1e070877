"""The teacher-student experiment of the error-neuron paper against depth (section 8.3), step by step.

Steps are Euler steps of 0.01 ms; a presentation holds a sample for 20 of them. In this order:

1. Teacher seed: the first `randint(100000, 999999)` of RandomState(first student seed of the list), 123055 for
   `SEEDS`. The teacher is an `ann` of that seed with the student's layers, tanh, WPP in U(-1, 1), no learning.
2. Samples: RandomState(teacher seed).uniform(0, 1, (300, n_0)); rows 0-99 train, 100-199 validate, 200-299 test.
   Raw stream: every sample held for 20 steps.
3. The teacher takes the raw training stream once (20 ms, 2000 steps: settling), then train, validation and test
   in one run. Target n is what it shows *before* the step that takes input n: the rate r_L of the last call
   (errormc, ann), or u_L after the last call (sacramento2018, dPC; section 10, Q11).
4. A student starts from its seed; its class generator RandomState(seed) has drawn N (`draw_feedback_noise`).
   It settles on the raw training stream, 2000 steps, without target or learning; B is not refreshed.
5. Epoch e = 0, 1, ..: a `generator.permutation(100)` reorders the training samples, which keep the order of the
   epoch before (permutations compound). Input and target of the *last* step of every presentation are held
   for 20 steps, and the target stream is then delayed by L steps, its first L entries being those of the
   undelayed stream. Training: 2000 steps, target given, all learning on.
6. After epoch e, if e is a multiple of epochs // 10 (if epochs < 20, always): validation, 2000 steps without
   target, all learning on. It takes the validation samples in their present order, at first the raw one; then
   a permutation reorders them for the next time.
7. After the last epoch a permutation reorders the test samples, held and delayed as in 5: 2000 steps, no target,
   no learning, B not refreshed. Error: (r_L - phi(target))^2 summed over outputs (phi only where targets are
   voltages), r_L from the call that takes input n, target n of the stream, averaged over the steps from 10 on.

Recorded numbers fix this order: the error of the untrained 4-2-1 errormc, to its last digit, that the test has
the third permutation of a run of one epoch and follows steps without target; the medians of ann after 20, 100
and 1000 epochs the rest (2-1 after 20 epochs: 2.8e-10, which neither independent permutations nor another place
of the validation gives).

Untrained: one epoch in which B is refreshed and increments are computed but never applied.

Angle: of area l and sample, in degrees, between the increment of W_{l,l-1} at the last step of the sample's
presentation in training and the exact backprop update for the sample and its target in the layered net of the
hierarchical blocks alone (`backprop_update`); mean over samples and epochs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
import torch
from protocols.drawn_error_neuron import ErrorNeuronParameters, draw_feedback_noise, initial_state, stack_states
from protocols.pal import angle, teacher_seed
from torch import Tensor

from cortexc.reference.error_neuron import ErrorNeuronReference, reference_model
from cortexc.reference.error_neuron_state import (
    activate_area,
    hierarchical_blocks,
    slopes,
    transposed,
)
from cortexc.reference.pal import Layers, outer, product

SEEDS = (56789, 12345, 23456, 34567, 76543, 111, 222, 333, 444, 555)
SAMPLES, HOLD, SKIPPED = 100, 20, 10

# Sizes of a net -> eta_fw of errormc, of ann, of sacramento2018 and dPC, and the lateral rates of the last two.
Rates = tuple[float, ...]
RATES: dict[tuple[int, ...], tuple[Rates, Rates, Rates, Rates]] = {
    (2, 1): ((1,), (1,), (1,), (0,)),
    (4, 2, 1): ((2, 0.2), (2, 0.2), (0.1, 0.02), (0.04,)),
    (8, 4, 2, 1): ((1, 0.2, 0.05), (1, 0.2, 0.05), (0.1, 0.02, 0.002), (0.04, 0.004)),
    (16, 8, 4, 2, 1): (
        (2, 0.5, 0.125, 0.03125),
        (2, 0.5, 0.1, 0.01),
        (0.1, 0.01, 0.002, 0.001),
        (0.02, 0.004, 0.002),
    ),
    (32, 16, 8, 4, 2, 1): (
        (1, 0.2, 0.1, 0.05, 0.01),
        (1, 0.2, 0.1, 0.05, 0.01),
        (1, 0.2, 0.1, 0.05, 0.01),
        (0.4, 0.2, 0.1, 0.02),
    ),
}


def student_parameters(model: str, layers: tuple[int, ...]) -> ErrorNeuronParameters:
    """The published student of section 8.3."""
    errormc, ann, others, lateral = RATES[layers]
    if model == "errormc":
        lateral_range = (-0.3, 0.3)
        return ErrorNeuronParameters(
            layers, eta_fw=errormc, eta_fw_conversion="fill_scaled", fw_connection_mode="skip",
            bw_connection_mode="skip", init_realistic_connectivity=True, WT_noise=0.5,
            init_WIP_range=lateral_range, init_BPI_range=lateral_range,
        )  # fmt: skip
    if model == "ann":
        return ErrorNeuronParameters(layers, "ann", eta_fw=ann)
    if model == "sacramento2018":
        return ErrorNeuronParameters(
            layers, model, eta_fw=others, eta_IP=lateral, WT_noise=0.5, dWPP_use_activation=True
        )  # fmt: skip
    return ErrorNeuronParameters(layers, model, eta_fw=others, eta_PI=lateral, WT_noise=0.5)


class Stream(NamedTuple):
    """Inputs (T, n_0) and targets (T, n_L) of consecutive steps; with S students (T, S, n)."""

    inputs: Tensor
    targets: Tensor


def raw_streams(layers: tuple[int, ...], voltages: bool, first_seed: int = SEEDS[0]) -> list[Stream]:
    """Training, validation and test stream of the settled teacher (steps 1 to 3)."""
    seed = teacher_seed(first_seed)
    samples = numpy.random.RandomState(seed).uniform(0, 1, (3 * SAMPLES, layers[0]))
    inputs = torch.from_numpy(samples).repeat_interleave(HOLD, 0)
    parameters = ErrorNeuronParameters(layers, "ann")
    teacher, shown = reference_model(parameters, initial_state(parameters, seed)), []
    for step, r0 in enumerate(torch.cat([inputs[: SAMPLES * HOLD], inputs])):
        if step >= SAMPLES * HOLD:
            shown.append(teacher.state.pyramidal_potential[-1] if voltages else teacher.output_rate())
        teacher.step(r0.unsqueeze(0), None, False, False, False)
    return list(map(Stream, inputs.split(SAMPLES * HOLD), torch.cat(shown).split(SAMPLES * HOLD)))


def shuffled(stream: Stream, orders: numpy.ndarray, delay: int) -> Stream:
    """The last step of every presentation in S new orders (S, SAMPLES), held again, the targets delayed (step 5)."""
    inputs, targets = (
        torch.stack([values[HOLD - 1 :: HOLD][order] for order in orders], 1).repeat_interleave(HOLD, 0)
        for values in stream
    )
    return Stream(inputs, torch.cat([targets[:delay], targets[: len(targets) - delay]]))


class Result(NamedTuple):
    """Mean squared test error (S,), angles to backprop in degrees (S, L), and the network after the test."""

    test_error: Tensor
    angles: Tensor
    model: ErrorNeuronReference


def run(parameters: ErrorNeuronParameters, seeds: Sequence[int], epochs: int = 1, learn: bool = False) -> Result:
    """Steps 4 to 7 for a batch of students; `learn` False is the untrained network."""
    train, validation, test = raw_streams(parameters.layers, parameters.mc_model in ("sacramento2018", "dPC"))
    model = reference_model(parameters, stack_states([initial_state(parameters, seed) for seed in seeds]))
    generators, silent, flags = _generators(parameters, seeds), (False, False, False), (learn, learn, True)
    _rest(model, train.inputs.unsqueeze(1).expand(-1, len(seeds), -1), silent)
    trained, watched, tested = (numpy.tile(numpy.arange(SAMPLES), (len(seeds), 1)) for _ in range(3))
    angles = list[Tensor]()
    for epoch in range(epochs):
        trained = _reordered(trained, generators)
        angles.append(_train(model, shuffled(train, trained, parameters.areas), flags))
        if epoch % max(1, epochs // 10) == 0:
            _rest(model, shuffled(validation, watched, parameters.areas).inputs, flags)
            watched = _reordered(watched, generators)
    inputs, targets = shuffled(test, _reordered(tested, generators), parameters.areas)
    error = _rest(model, inputs, silent) - _as_rates(model, targets)
    return Result((error[SKIPPED:] ** 2).sum(2).mean(0), torch.stack(angles).mean(0), model)


def _generators(parameters: ErrorNeuronParameters, seeds: Sequence[int]) -> list[Any]:
    """The class generator of each student, behind the draws of N."""
    generators = [numpy.random.RandomState(seed) for seed in seeds]
    for generator in generators:
        draw_feedback_noise(parameters, generator)
    return generators


def _reordered(orders: numpy.ndarray, generators: list[Any]) -> numpy.ndarray:
    """Every student's order in a new order. (S, SAMPLES)"""
    pairs = zip(orders, generators, strict=True)
    return numpy.stack([order[generator.permutation(SAMPLES)] for order, generator in pairs])


def _rest(model: ErrorNeuronReference, inputs: Tensor, flags: tuple[bool, bool, bool]) -> Tensor:
    """Output rates r_L of a run without target. (T, S, n_L)"""
    rates = []
    for r0 in inputs:
        model.step(r0, None, *flags)
        rates.append(model.output_rate())
    return torch.stack(rates)


def _as_rates(model: ErrorNeuronReference, targets: Tensor) -> Tensor:
    """phi of targets that are voltages; rates as they are. (T, S, n_L)"""
    p = model.parameters
    if p.mc_model in ("errormc", "ann"):
        return targets
    return activate_area(p, p.areas - 1, targets)


def _train(model: ErrorNeuronReference, stream: Stream, flags: tuple[bool, bool, bool]) -> Tensor:
    """An epoch with targets; the mean angle over samples. (S, L)"""
    angles = []
    for step, (r0, target) in enumerate(zip(*stream, strict=True)):
        weights = model.state.forward
        model.step(r0, target, *flags)
        if step % HOLD == HOLD - 1:
            updates = backprop_update(model.parameters, weights, r0, target)
            changes = hierarchical_blocks(model.parameters, model.state.forward_change)
            angles.append(torch.stack(list(map(angle, changes, updates)), 1))
    return torch.stack(angles).mean(0)


def backprop_update(parameters: ErrorNeuronParameters, forward: Layers, r0: Tensor, target: Tensor) -> Layers:
    """-dE/dW of E = |target - r_L|^2 / 2 in the net u_l = c_l W_{l,l-1} r_{l-1}, r_l = phi(u_l), without skips.

    c is the model's own gain without target or error: the basal attenuation, in ann g_bas/(g_l + g_bas)
    throughout. Where the target is a voltage E is |target - u_L|^2 / 2. r0 (S, n_0), target (S, n_L).
    """
    p, blocks, gains = parameters, hierarchical_blocks(parameters, forward), parameters.basal_attenuation
    if p.mc_model == "ann":
        gains = [p.gbas / (p.gl + p.gbas)] * p.areas
    rates, voltages = [r0], list[Tensor]()
    for area, gain in enumerate(gains):
        voltages.append(gain * product(blocks[area], rates[-1]))
        rates.append(activate_area(p, area, voltages[-1]))
    slope, updates = slopes(p, voltages), list[Tensor]()
    of_rates = p.mc_model in ("errormc", "ann")
    error = slope[-1] * (target - rates[-1]) if of_rates else target - voltages[-1]
    for area in reversed(range(p.areas)):
        updates.insert(0, outer(gains[area] * error, rates[area]))
        if area:
            error = slope[area - 1] * product(transposed(blocks[area]), gains[area] * error)
    return updates
