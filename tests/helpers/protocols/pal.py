"""The published experiments of the PAL microcircuit with its reference, and its measures; "section" refers to the PAL
specification."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import mul
from typing import Any, NamedTuple

import numpy
import torch
from protocols.drawn_pal import PalParameters, initial_state
from replays.pal import published
from torch import Tensor

from cortexc.reference.pal import PalReference, PalState, outer, product, transposed_feedback
from cortexc.reference.pal_parameters import ACTIVATIONS, DERIVATIVES, WEIGHTS, Layers


class Stimulus(NamedTuple):
    """Arguments of one call of `PalReference.step`."""

    r0: Tensor
    u_target: Tensor | None = None
    learn_weights: bool = False
    learn_lateral: bool = False
    learn_feedback: bool = False
    white: Layers | None = None


@dataclass(frozen=True)
class Protocol:
    """A published run: settling, then epochs of shuffled presentations (section 4, Protocol).

    task: bw_only (lateral and feedback learn) or fw_bw (all learn, teacher targets). Lengths are in steps.
    first_seed: the first student's, from which inputs and teacher follow. teacher: the teacher's parameters.
    """

    task: str
    dataset_size: int
    presentation_steps: int
    settling_steps: int
    epochs: int
    first_seed: int
    teacher: PalParameters

    @classmethod
    def from_golden_json(cls, text: str) -> "Protocol":
        """The protocol part of a published configuration."""
        options, parameters = json.loads(text), published(PalParameters, text)
        bounds = {name: tuple(options[f"init_teacher_{name}_range"]) for name in WEIGHTS}
        ranges: dict[str, Any] = {f"init_{name}_range": pair for name, pair in bounds.items()}
        return cls(
            task=options["task"],
            dataset_size=options["dataset_size"],
            presentation_steps=round(options["Tpres"] / options["dt"]),
            settling_steps=round(options["settling_time"] / options["dt"]),
            epochs=options["epochs"],
            first_seed=options["random_seed"][0],
            teacher=replace(parameters, **ranges),
        )


def input_samples(seed: int, dataset_size: int, n0: int) -> numpy.ndarray:
    """Input rates, uniform in [0, 1). (dataset_size, n0)"""
    return numpy.random.RandomState(seed).uniform(0, 1, size=(dataset_size, n0))


def teacher_seed(first_seed: int) -> int:
    """Seed of the one teacher of all students, 873630 for first seed 123 (section 4, RNG)."""
    return int(numpy.random.RandomState(first_seed).randint(100000, 999999))


def protocol_inputs(protocol: Protocol) -> Tensor:
    """Unshuffled samples: from the first student's seed in bw_only, the teacher's in fw_bw. (samples, n_0)"""
    seed = protocol.first_seed if protocol.task == "bw_only" else teacher_seed(protocol.first_seed)
    return torch.from_numpy(input_samples(seed, protocol.dataset_size, protocol.teacher.layers[0]))


def settling(protocol: Protocol, seeds: int) -> Iterator[Stimulus]:
    """The first unshuffled samples, without target or learning."""
    inputs = protocol_inputs(protocol)
    for step in range(protocol.settling_steps):
        yield Stimulus(inputs[step // protocol.presentation_steps].expand(seeds, -1))


def teacher_output(protocol: Protocol) -> Tensor:
    """The teacher's output voltage, read before each call of its unshuffled, settled epoch. (steps, n_N)"""
    start = initial_state(protocol.teacher, teacher_seed(protocol.first_seed))
    teacher = PalReference(protocol.teacher, start)
    for stimulus in settling(protocol, 1):
        teacher.step(*stimulus)
    read = []
    for sample in protocol_inputs(protocol).repeat_interleave(protocol.presentation_steps, 0):
        read.append(teacher.output_voltage())
        teacher.step(*Stimulus(sample.unsqueeze(0)))
    return torch.cat(read)


def legacy_protocol(
    parameters: PalParameters, protocol: Protocol, seeds: Sequence[int]
) -> Iterator[Stimulus]:
    """All calls of a batch of students in order, shuffles and noise from one legacy stream per seed.

    Shuffles compound over epochs. Of each presentation the teacher's entry Tpres/dt - 1 is the target.
    """
    last, learns = protocol.presentation_steps - 1, protocol.task == "fw_bw"
    inputs = protocol_inputs(protocol)
    targets = teacher_output(protocol)[last :: last + 1] if learns else None
    yield from settling(protocol, len(seeds))
    generators = [numpy.random.RandomState(seed) for seed in seeds]
    orders = [numpy.arange(protocol.dataset_size) for _ in seeds]
    for _ in range(protocol.epochs):
        for generator, order in zip(generators, orders, strict=True):
            generator.shuffle(order)
        for samples in map(list, zip(*orders, strict=True)):
            target = None if targets is None else targets[samples]
            for white in _draws(parameters, protocol.presentation_steps, generators):
                yield Stimulus(inputs[samples], target, learns, True, True, white)


def _draws(parameters: PalParameters, steps: int, generators: Sequence[Any]) -> Iterator[Layers | None]:
    """White noise of a presentation's steps, per hidden layer (S, n), in step-wise order; None off PAL."""
    if parameters.variant != "PAL":
        yield from [None] * steps
        return
    hidden = parameters.layers[1:-1]
    drawn = [generator.normal(0, 1, size=(steps, sum(hidden))) for generator in generators]
    for step in torch.from_numpy(numpy.stack(drawn, axis=1)):
        yield list(step.split(hidden, dim=1))


def angle(first: Tensor, second: Tensor) -> Tensor:
    """Degrees between matrices under the Frobenius product (section 5.1). (S, a, b) twice: (S,)"""
    cosine = (first * second).sum((1, 2)) / (first.norm(dim=(1, 2)) * second.norm(dim=(1, 2)))
    return torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))


def transpose_angles(state: PalState) -> Tensor:
    """WPPT_BPP: BPP_i against WPP_{i+1}^T (section 5.1), degrees. (S, H)"""
    return torch.stack(list(map(angle, state.feedback, transposed_feedback(state.forward)[0])), dim=1)


def jacobian_angles(parameters: PalParameters, state: PalState) -> Tensor:
    """BPP_RHS: BPP_i against phi'(s_h vbas_i) WPP_{i+1}^T phi'(s_h vbas_{i+1}), s_h everywhere. (S, H)"""
    attenuation = parameters.basal_attenuation[0]
    layers = zip(parameters.activation, state.basal, strict=True)
    slopes = [DERIVATIVES[name](attenuation * basal) for name, basal in layers]
    expected = map(mul, map(outer, slopes[:-1], slopes[1:]), transposed_feedback(state.forward)[0])
    return torch.stack(list(map(angle, state.feedback, expected)), dim=1)


def backprop_update(parameters: PalParameters, forward: Layers, r0: Tensor, target: Tensor) -> Layers:
    """-dE/dW of E = |target - v_N|^2 / 2 in the layered net v_i = s_i W_i phi(v_{i-1}), phi(v_0) = r0.

    s is the basal attenuation; the error is one of voltages, so phi' of the output does not enter
    (section 5.1, BP). r0 (S, n_0), target (S, n_N): N arrays (S, post, pre).
    """
    rates, slopes, updates, voltage = [r0], [], list[Tensor](), r0
    for name, scale, weight in zip(parameters.activation, parameters.basal_attenuation, forward, strict=True):
        voltage = scale * product(weight, rates[-1])
        rates.append(ACTIVATIONS[name](voltage))
        slopes.append(DERIVATIVES[name](voltage))
    error = target - voltage
    for layer in reversed(range(len(forward))):
        error = error * parameters.basal_attenuation[layer]
        updates.insert(0, outer(error, rates[layer]))
        if layer:
            transposed = forward[layer].transpose(1, 2).contiguous()
            error = product(transposed, error) * slopes[layer - 1]
    return updates
