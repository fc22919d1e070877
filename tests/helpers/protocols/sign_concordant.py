"""How the sign-concordant oracle is started and shown samples; "section" refers to the circuit's specification."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cortexc.reference.sign_concordant import SignConcordantNetwork
from cortexc.reference.sign_concordant_cells import Synapses, ThreeCellNetwork
from cortexc.reference.sign_concordant_parameters import Layers, SignConcordantParameters, Snapshot, target_train

Network = SignConcordantNetwork | ThreeCellNetwork


def draw_weights(parameters: SignConcordantParameters, generator: torch.Generator) -> tuple[Layers, Layers]:
    """W_1..W_L ~ N(0, 2/fan_in) of `Projection.weight_shape`, then the feedback argument of the policy.

    locked, frSF, brSF: |N(0, 2/fan_in)| for l = 2..L; uSF: the constants sqrt(2/fan_in); FA: N(0, 2/fan_in);
    DFA: N(0, 2/n_l), (n_L, n_l) for l = 1..L-1; BP: nothing (sections 1.4 and 2).
    """
    projections, policy = parameters.projections, parameters.policy
    weights = [_normal(projection.weight_shape, projection.fan_in, generator) for projection in projections]
    if policy in ("BP", "uSF"):
        return weights, []
    if policy == "DFA":
        sizes = [math.prod(projection.target) for projection in projections]
        return weights, [_normal((sizes[-1], size), size, generator) for size in sizes[:-1]]
    drawn = [_normal(projection.weight_shape, projection.fan_in, generator) for projection in projections[1:]]
    return weights, drawn if policy == "FA" else [feedback.abs() for feedback in drawn]


def _normal(shape: Sequence[int], fan: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * math.sqrt(2 / fan)


def split_signed(weight: Tensor, magnitude: Tensor | None = None, types: Tensor | None = None) -> Synapses:
    """Synapses with wE - wI = W and cE + cI = Bmag (none: 0), typed by the sign of `types` (default: of W).

    A pair of type 0 has no synapse. Raises ValueError if W has not the sign of its type.
    """
    types = weight.sign() if types is None else types
    size = torch.zeros_like(weight) if magnitude is None else magnitude
    excitatory_mask, inhibitory_mask = (types > 0).double(), (types < 0).double()
    if bool((weight * (excitatory_mask - inhibitory_mask) != weight.abs()).any()):
        raise ValueError("weights have not the sign of their types")
    forward = excitatory_mask * weight, inhibitory_mask * -weight
    return Synapses(*forward, excitatory_mask * size, inhibitory_mask * size, excitatory_mask, inhibitory_mask)


def from_signed(parameters: SignConcordantParameters, weights: Sequence[Tensor], magnitudes: Sequence[Tensor],
                types: Sequence[Tensor] | None = None, dale_strict: bool = False) -> ThreeCellNetwork:
    """The circuit of W_1..W_L, of Bmag of layers 2..L and of types +1, -1, 0 (default: sign(W_l))."""
    sizes: list[Tensor | None] = [None, *magnitudes]
    kinds: Sequence[Tensor | None] = types or [None] * len(weights)
    return ThreeCellNetwork(parameters, list(map(split_signed, weights, sizes, kinds)), dale_strict)


def duration(p: SignConcordantParameters) -> int:
    """Steps of one presentation: T, or T + 2L if pipelined (section 6.3)."""
    return p.steps + 2 * len(p.projections) * p.pipelined


def output_start(p: SignConcordantParameters) -> int:
    """Step, from 0, at which layer L and its teacher see the first time of the sample."""
    return len(p.projections) - 1 if p.pipelined else 0


def present(network: Network, x: Tensor, labels: Tensor, learn: bool = True) -> list[Snapshot]:
    """Present x (N, n_0) with one-hot labels (N, n_L) from states 0; a snapshot per step.

    If pipelined, the target is shifted to layer L's time, and layer l learns in its T valid steps only, from 2L - l - 1.
    """
    p, snapshots = network.parameters, []
    train, first = target_train(p.steps), output_start(p)
    for step in range(duration(p)):
        target = labels * train[step - first] if 0 <= step - first < p.steps else torch.zeros_like(labels)
        gates = [learn and first + delay // 2 <= step < first + delay // 2 + p.steps for delay in p.delays]
        applied = learn and (step == duration(p) - 1 or p.update == "step")
        network.step(step == 0, x, target, gates, applied)
        snapshots.append(network.snapshot())
    return snapshots


def readout(network: Network, taken: list[Snapshot]) -> Tensor:
    """Sum over a presentation of a_L, (N, n_L); its argmax is the prediction (section 3.1)."""
    p = network.parameters
    window = taken[output_start(p):output_start(p) + p.steps]
    return torch.stack([snapshot[f"psc_{len(p.projections)}"] for snapshot in window]).sum(0)


def train_minibatches(network: Network, x: Tensor, labels: Tensor, batch: int) -> None:
    """One epoch in the given order: x (samples, n_0), one-hot labels (samples, n_L), `batch` at a time."""
    for inputs, targets in zip(x.split(batch), labels.split(batch), strict=True):
        present(network, inputs, targets)
