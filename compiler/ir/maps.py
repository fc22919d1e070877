"""The shapes of a projection between feature maps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """Shapes (channels, height, width) of the lower maps `pre` and the upper maps `post`, whichever way the
    projection goes; `kernel` and `stride` in pixels, zero padding on all sides.

    The weight array is (channels_post, channels_pre, kernel, kernel), `local` (channels_post, height_post, width_post,
    channels_pre, kernel, kernel). `pool` averages pool x pool pixels of the lower maps first.
    """

    pre: tuple[int, int, int]
    post: tuple[int, int, int]
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: int = 1

    @property
    def taps(self) -> int:
        """Weights into one unit of the upper maps."""
        return self.pre[0] * self.kernel * self.kernel

    @property
    def positions(self) -> int:
        return self.post[1] * self.post[2]
