"""Geometry of the sign-concordant network: dense, convolutional and locally connected layers, average pooling.

Both levels of the oracle share it (`sign_concordant`, `sign_concordant_cells`). Units of a map are flattened
channel-major (C, H, W); activities are (N, n) with a leading axis of samples.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Projection:
    """The synapses from one layer to the next: `dense`, `convolution` or `local` (section 4.1).

    source: (C, H, W) of the layer below, (n, 1, 1) without maps. pool: side of the average pooling of that
    layer, rows and columns that fill no window dropped. channels: output channels, or units if dense.
    Raises ValueError if a kernel or a pooling window is larger than the map.
    """

    kind: str
    source: Shape
    channels: int
    pool: int = 1
    kernel: int = 0
    padding: int = 0

    def __post_init__(self) -> None:
        if min(self.pooled[1:] + self.target[1:]) < 1:
            window = f"{self.kind} of kernel {self.kernel}, padding {self.padding}, after pooling {self.pool}"
            raise ValueError(f"{window}: too large for maps (C, H, W) of {self.source}")

    @property
    def pooled(self) -> Shape:
        """(C, H, W) that the synapses see."""
        return self.source[0], self.source[1] // self.pool, self.source[2] // self.pool

    @property
    def target(self) -> Shape:
        """(C, H, W) of the layer above, (n, 1, 1) if dense."""
        if self.kind == "dense":
            return self.channels, 1, 1
        height, width = (size + 2 * self.padding - self.kernel + 1 for size in self.pooled[1:])
        return self.channels, height, width

    @property
    def fan_in(self) -> int:
        """Synapses onto one unit, those from the padding included."""
        return math.prod(self.pooled) if self.kind == "dense" else self.pooled[0] * self.kernel**2

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Dense (n, C H W); convolution (C_out, C_in, k, k); local (C_out, H_out, W_out, C_in, k, k)."""
        if self.kind == "dense":
            return self.channels, self.fan_in
        positions = self.target[1:] if self.kind == "local" else ()
        return self.channels, *positions, self.pooled[0], self.kernel, self.kernel

    def patches(self, below: Tensor) -> Tensor:
        """What each position sees of the pooled layer below: (N, n_pre) to (N, positions, fan_in)."""
        maps = below.reshape(-1, *self.source)
        if self.pool > 1:
            maps = functional.avg_pool2d(maps, self.pool)
        if self.kind == "dense":
            return maps.flatten(1).unsqueeze(1)
        return functional.unfold(maps, self.kernel, padding=self.padding).transpose(1, 2)

    def drive(self, weight: Tensor, below: Tensor) -> Tensor:
        """weight times the layer below: (N, n_pre) to (N, n_post)."""
        patches = self.patches(below)
        return torch.einsum("cpf,npf->ncp", self._per_position(weight), patches).flatten(1)

    def send_back(self, weight: Tensor, message: Tensor) -> Tensor:
        """The transpose of `drive`: (N, n_post) to (N, n_pre)."""
        posts = message.reshape(len(message), self.channels, -1)
        patches = torch.einsum("cpf,ncp->nfp", self._per_position(weight), posts)
        if self.kind == "dense":
            return self._unpool(patches.reshape(-1, *self.pooled)).flatten(1)
        maps = functional.fold(patches, self.pooled[1:], self.kernel, padding=self.padding)
        return self._unpool(maps).flatten(1)

    def correlate(self, message: Tensor, below: Tensor) -> Tensor:
        """message x below summed over samples, (N, n_post) and (N, n_pre), per weight: `weight_shape`.

        A convolution's weight collects all its positions (section 4.1).
        """
        posts = message.reshape(len(message), self.channels, -1)
        per_position = torch.einsum("ncp,npf->cpf", posts, self.patches(below))
        return (per_position if self.kind == "local" else per_position.sum(1)).reshape(self.weight_shape)

    def _per_position(self, weight: Tensor) -> Tensor:
        """`weight_shape` to (channels, positions, fan_in)."""
        return weight.reshape(self.channels, -1, self.fan_in).expand(-1, math.prod(self.target[1:]), -1)

    def _unpool(self, maps: Tensor) -> Tensor:
        """Transpose of the average pooling: (N, *pooled) to (N, *source)."""
        if self.pool == 1:
            return maps
        shared = maps.repeat_interleave(self.pool, 2).repeat_interleave(self.pool, 3) / self.pool**2
        bottom, right = self.source[1] - shared.shape[2], self.source[2] - shared.shape[3]
        return functional.pad(shared, (0, right, 0, bottom))


def parse_layers(layers: Sequence[int | str]) -> tuple[Projection, ...]:
    """Projections 1..L of a description: first the input, n or "CxHxW"; then the items.

    n: dense layer. "15c5", "15c5p2": convolution of 15 output channels, kernel 5, padding 2, stride 1.
    "15l5", "15l5p2": the same with an own weight per position. "p2": average pooling of the layer below, part of
    the next projection. Raises ValueError on any other item, and on a pooling without a layer after it.
    """
    shape, pool, found = _input_shape(layers[0] if layers else ""), 1, []
    for item in layers[1:]:
        if isinstance(item, str) and (window := re.fullmatch(r"p([1-9]\d*)", item)) and pool == 1:
            pool = int(window[1])
            continue
        found.append(_projection(item, shape, pool))
        shape, pool = found[-1].target, 1
    if not found or pool > 1:
        raise ValueError(f"layers {tuple(layers)!r} end without a layer of cells")
    return tuple(found)


def _input_shape(item: int | str) -> Shape:
    if isinstance(item, int) and item > 0:
        return item, 1, 1
    if found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", str(item)):
        return int(found[1]), int(found[2]), int(found[3])
    raise ValueError(f"input {item!r}: expected a number of units > 0, or channels x height x width as '1x28x28'")


def _projection(item: int | str, source: Shape, pool: int) -> Projection:
    if isinstance(item, int) and item > 0:
        return Projection("dense", source, item, pool)
    if found := re.fullmatch(r"([1-9]\d*)([cl])([1-9]\d*)(?:p(\d+))?", str(item)):
        kind = {"c": "convolution", "l": "local"}[found[2]]
        return Projection(kind, source, int(found[1]), pool, int(found[3]), int(found[4] or 0))
    raise ValueError(f"layer {item!r}: expected units > 0, '15c5', '15c5p2', '15l5', or one 'p2' before a layer")
