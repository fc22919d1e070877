"""Layers of a spiking net, written as in the field: [784, 400, 10] or ["1x28x28", "15c5", "p2", "40c5", "p2", 300, 10].

`15c5`: a convolution with 15 channels and kernel 5; `15c5p2` pads by 2; `15l5`: the same, with weights of its own at
every position; `p2`: averages 2 x 2 pixels of the layer below; `m2`: a layer of cells that each follow the strongest of
2 x 2; a number: a dense layer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.model import Convolution

MAPS = re.compile(r"(\d+)([cl])(\d+)(?:p(\d+))?")
STRONGEST = re.compile(r"m([2-9])")


@dataclass(frozen=True)
class Layer:
    """One layer of cells and the connectivity from the layer below it. `maps`: (channels, height, width) or None;
    `strongest`: side of the square of pixels whose strongest a cell follows, or 0."""

    size: int
    maps: tuple[int, int, int] | None = None
    connectivity: str = "dense"
    convolution: Convolution | None = None
    strongest: int = 0

    @property
    def fan_in(self) -> int:
        """Synapses onto one cell; dense layers have to be told (`taps` of the layer below)."""
        return self.convolution.taps if self.convolution else 0

    @property
    def backward(self) -> str:
        """Connectivity of the way back."""
        return f"transposed_{self.connectivity}" if self.convolution else "dense"


def read_layers(items: tuple[int | str, ...], strongest: bool = False) -> list[Layer]:
    """The input and the layers of cells; `strongest`: whether `m2` is known. Raises E310 for what cannot be read or
    does not fit."""
    if len([i for i in items if not _is_pool(i)]) < 2:
        raise CortexError("E310", f"layers {list(items)} name no layer of cells.", "Give an input and a layer.")
    layers, pool = [_input(items[0])], 1
    for item in items[1:]:
        if _is_pool(item):
            pool *= int(str(item)[1:])
        elif strongest and pool == 1 and (found := STRONGEST.fullmatch(str(item))):
            layers.append(_strongest(layers[-1], int(found[1]), item))
        else:
            layers.append(_layer(layers[-1], item, pool))
            pool = 1
    if pool > 1:
        raise CortexError("E310", f"layers {list(items)} end with pooling; pooling belongs to the layer after it.")
    return layers


def _is_pool(item: int | str) -> bool:
    return isinstance(item, str) and re.fullmatch(r"p[1-9]\d*", item) is not None


def _input(item: int | str) -> Layer:
    if isinstance(item, str) and re.fullmatch(r"\d+x\d+x\d+", item):
        channels, height, width = map(int, item.split("x"))
        return Layer(channels * height * width, (channels, height, width))
    return Layer(_size(item))


def _size(item: int | str) -> int:
    if isinstance(item, int) or item.isdigit():
        return int(item)
    raise CortexError("E310", f"layer '{item}' cannot be read.",
                      "Write a number of cells, '15c5' (channels c kernel), '15l5', 'p2', or '1x28x28' for the input.")


def _layer(below: Layer, item: int | str, pool: int) -> Layer:
    found = MAPS.fullmatch(item) if isinstance(item, str) else None
    if not found:
        return _dense(below, _size(item), pool)
    channels, kind, kernel, padding = int(found[1]), found[2], int(found[3]), int(found[4] or 0)
    if below.maps is None:
        raise CortexError("E310", f"layer '{item}' is a map, but the layer below has no maps.",
                          "Write the input as 'CHANNELSxHEIGHTxWIDTH'.")
    height, width = (_pixels(n, pool, item) + 2 * padding - kernel + 1 for n in below.maps[1:])
    if min(height, width, kernel, channels) < 1:
        raise CortexError("E310", f"layer '{item}' has maps of {height} x {width} pixels; the kernel does not fit.")
    maps = (channels, height, width)
    convolution = Convolution(below.maps, maps, kernel, 1, padding, pool)
    return Layer(math.prod(maps), maps, "convolution" if kind == "c" else "local", convolution)


def _strongest(below: Layer, side: int, item: int | str) -> Layer:
    if below.maps is None:
        raise CortexError("E310", f"layer '{item}' needs maps below it.", "Put it after a layer such as '15c5'.")
    maps = (below.maps[0], *(_pixels(n, side, item) for n in below.maps[1:]))
    return Layer(math.prod(maps), maps, "sparse", strongest=side)  # type: ignore[arg-type]


def _dense(below: Layer, size: int, pool: int) -> Layer:
    """All to all; over pooled maps it is a convolution whose kernel covers them."""
    if pool == 1:
        return Layer(size)
    if below.maps is None or below.maps[1] != below.maps[2]:
        raise CortexError("E310", f"a dense layer of {size} cells over pooling needs square maps below.")
    kernel = _pixels(below.maps[1], pool, size)
    return Layer(size, (size, 1, 1), "convolution", Convolution(below.maps, (size, 1, 1), kernel, 1, 0, pool))


def _pixels(count: int, pool: int, item: int | str) -> int:
    if count % pool:
        raise CortexError("E310", f"layer '{item}': maps of {count} pixels cannot be pooled by {pool}.")
    return count // pool
