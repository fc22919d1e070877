"""Projections between feature maps, in integers.

Lower maps are (S, channels * height * width), channel-major; upper maps the same. Kernels are the forward direction's:
(S, channels above, channels below, kernel, kernel), or with an axis of positions each for both axes of the upper maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.integers import Exact


class Maps:
    """shape: of the weights. kind: `convolution`, `local` or `transposed_` one. Raises ValueError for pools whose mean
    is no binary fraction."""

    def __init__(self, data: Mapping[str, Any], kind: str) -> None:
        (below, height, width), (above, rows, columns) = data["pre"], data["post"]
        kernel, pool, self.padding = data["kernel"], data["pool"], data["padding"]
        if pool & (pool - 1):
            raise ValueError(f"means over {pool} x {pool} pixels")
        self.local, self.down, self.pool = kind.endswith("local"), kind.startswith("transposed"), pool
        self.lower = (below, height // pool, width // pool)
        self.above, self.positions, self.taps = above, rows * columns, below * kernel * kernel
        self.shape = (above, *((rows, columns) if self.local else ()), below, kernel, kernel)
        padded = (below, height // pool + 2 * self.padding, width // pool + 2 * self.padding)
        places = torch.arange(padded[0] * padded[1] * padded[2]).view(padded)
        seen = places.unfold(1, kernel, data["stride"]).unfold(2, kernel, data["stride"])[:, :rows, :columns]
        self.padded, self.seen = padded, seen.permute(1, 2, 0, 3, 4).reshape(self.positions, self.taps)

    @property
    def bits(self) -> int:
        """Of the fraction that a mean adds."""
        return 2 * (self.pool.bit_length() - 1)

    def patches(self, message: Exact) -> Exact:
        """(S, positions, taps): what every position sees of the lower maps."""
        channels, height, width = self.lower
        pixels = message.units.view(-1, channels, height, self.pool, width, self.pool).sum((3, 5))
        padded = torch.nn.functional.pad(pixels, [self.padding] * 4)
        return Exact(padded.flatten(1)[:, self.seen], message.fraction + self.bits)

    def kernels(self, units: Tensor) -> Tensor:
        """(S, channels above, positions or 1, taps)."""
        return units.reshape(len(units), self.above, self.positions if self.local else 1, self.taps)

    def deliver(self, weights: Exact, message: Exact) -> Exact:
        w = self.kernels(weights.units)
        if self.down:
            return self._deliver_down(w, message, weights.fraction)
        seen = self.patches(message)
        return Exact((w * seen.units.unsqueeze(1)).sum(-1).flatten(1), weights.fraction + seen.fraction)

    def _deliver_down(self, w: Tensor, message: Exact, fraction: int) -> Exact:
        upper = message.units.view(-1, self.above, self.positions, 1)
        shares = (w * upper).sum(1).flatten(1)
        padded = torch.zeros(len(shares), self.padded[0] * self.padded[1] * self.padded[2], dtype=torch.int64)
        padded.index_add_(1, self.seen.flatten(), shares)
        end = (-self.padding or None)
        inside = padded.view(-1, *self.padded)[:, :, self.padding:end, self.padding:end]
        spread = inside.repeat_interleave(self.pool, 2).repeat_interleave(self.pool, 3)
        return Exact(spread.flatten(1), fraction + message.fraction + self.bits)
