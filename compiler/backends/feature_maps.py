"""Connectivity between feature maps, in plain numpy: what a `Convolution` means. Used by the interpreter.

Lower maps are (batch, channels * height * width), channel-major. Sums run left to right over the taps (channel,
kernel row, kernel column) of the forward direction, and over (upper channel, kernel row, kernel column) of the
transposed one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexc.compiler.ir.model import Array, Convolution


def patches(c: Convolution, message: Array) -> Array:
    """(batch, positions, taps): what every position of the upper maps sees of the lower ones, after pooling."""
    padded = np.pad(pooled(c, message), ((0, 0), (0, 0), (c.padding, c.padding), (c.padding, c.padding)))
    rows_and_columns: Any = (2, 3)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (c.kernel, c.kernel), rows_and_columns)
    seen: Array = windows[:, :, ::c.stride, ::c.stride].transpose(0, 2, 3, 1, 4, 5)
    return seen.reshape(len(message), c.positions, c.taps)


def pooled(c: Convolution, message: Array) -> Array:
    """(batch, channels, height / pool, width / pool): averages, summed row by row."""
    channels, height, width = c.pre
    pixels = message.reshape(-1, channels, height // c.pool, c.pool, width // c.pool, c.pool)
    total = np.zeros((len(message), channels, height // c.pool, width // c.pool))
    for y in range(c.pool):
        for x in range(c.pool):
            total = total + pixels[:, :, :, y, :, x]
    return total / float(c.pool * c.pool) if c.pool > 1 else total


def positions(c: Convolution, values: Array) -> Array:
    """(batch, positions, channels) of the upper maps."""
    return values.reshape(len(values), c.post[0], -1).transpose(0, 2, 1)


def forward(c: Convolution, w: Array, message: Array) -> Array:
    """Lower to upper maps. `w`: (batch, channels_post, taps), or (batch, channels_post, positions, taps) if local."""
    seen = patches(c, message)
    total = np.zeros((len(message), c.post[0], c.positions))
    for j in range(c.taps):
        weights = w[..., j] if w.ndim == 4 else w[:, :, None, j]
        total = total + weights * seen[:, None, :, j]
    return total.reshape(len(message), -1)


def transposed(c: Convolution, w: Array, message: Array) -> Array:
    """Upper to lower maps, with the weights of the forward direction; every pooled pixel shares its sum out."""
    batch, (channels, height, width) = len(message), c.pre
    rows, columns = height // c.pool + 2 * c.padding, width // c.pool + 2 * c.padding
    total = np.zeros((batch, channels, rows, columns))
    upper = message.reshape(batch, *c.post)
    kernels = w.reshape(*w.shape[:2], -1, channels, c.kernel, c.kernel)  # one position, or all of them
    for o in range(c.post[0]):
        for y in range(c.kernel):
            for x in range(c.kernel):
                own = kernels[:, o, :, :, y, x].transpose(0, 2, 1)
                own = own[..., None] if own.shape[2] == 1 else own.reshape(*own.shape[:2], *c.post[1:])
                at = np.s_[:, :, y:y + c.stride * c.post[1]:c.stride, x:x + c.stride * c.post[2]:c.stride]
                total[at] = total[at] + own * upper[:, o, None]
    total = total[:, :, c.padding:rows - c.padding, c.padding:columns - c.padding]
    shared = total / float(c.pool * c.pool) if c.pool > 1 else total
    return np.repeat(np.repeat(shared, c.pool, axis=2), c.pool, axis=3).reshape(batch, -1)
