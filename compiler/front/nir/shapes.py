"""The shapes of what nodes send, and whether they fit.

N106: a node that cannot be said; N107: sizes that do not fit along an edge, or are told nowhere.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortexc.compiler.front.nir.reading import Network, Node
from cortexc.compiler.ir.errors import CortexError

Shape = tuple[int, ...]
POOLS = ("SumPool2d", "AvgPool2d")
CONVOLUTIONS = ("Conv1d", "Conv2d")
PER_ELEMENT = {"Scale": "scale", "Threshold": "threshold", "Delay": "delay", "I": "r", "LI": "r", "IF": "r", "LIF": "r",
               "CubaLI": "r", "CubaLIF": "r"}
"""Kind -> the field that has one value per element."""


def shapes(network: Network) -> dict[str, Shape]:
    """Node -> the shape of what it sends. Raises N106, N107."""
    found = dict[str, Shape]()
    while len(found) < len(network.nodes):
        known = len(found)
        for name, node in network.nodes.items():
            arriving = next((found[a] for a in network.before(name) if a in found), None)
            if name not in found and (shape := _sent(node, arriving)) is not None:
                found[name] = shape
        if len(found) == known:
            name = next(name for name in network.nodes if name not in found)
            raise CortexError("N107", f"{network.nodes[name].shown} does not say the shape of what arrives, and "
                                      "nothing before it does.", "Give it an input_shape, or an Input node a shape.")
    _check(network, found)
    return found


def windows(node: Node, arriving: Shape) -> tuple[Shape, Shape, Shape, Shape, Shape]:
    """Of a convolution or a pooling, per axis: pixels, kernel, stride, padding in front, dilation. N106."""
    axes, fields = len(arriving) - 1, node.fields
    if node.kind in POOLS:
        kernel, dilation = _per_axis(fields["kernel_size"], axes), (1,) * axes
    else:
        kernel, dilation = np.shape(fields["weight"])[2:], _per_axis(fields["dilation"], axes)
    stride, padding = _per_axis(fields["stride"], axes), fields["padding"]
    if same_size(node) and any(s != 1 for s in stride):
        raise CortexError("N106", f"{node.shown} has padding 'same' with stride {stride}; it is defined for stride 1.")
    if isinstance(padding, str):
        front = tuple(d * (k - 1) // 2 if same_size(node) else 0 for d, k in zip(dilation, kernel, strict=True))
    else:
        front = _per_axis(padding, axes)
    return arriving[1:], kernel, stride, front, dilation


def same_size(node: Node) -> bool:
    """Whether its padding is 'same': as many pixels out as in."""
    padding = node.fields["padding"]
    return isinstance(padding, str) and padding == "same"


def _sent(node: Node, arriving: Shape | None) -> Shape | None:
    """None while that is not known."""
    fields, kind = node.fields, node.kind
    if kind in PER_ELEMENT:
        return np.shape(fields[PER_ELEMENT[kind]])
    if kind in ("Linear", "Affine"):
        return _matrix(node)[:1]
    if kind in ("Input", "Output"):
        return _declared(fields["output_type"]["output"])
    if kind == "Flatten":
        return None if arriving is None else (math.prod(arriving),)
    if kind in (*CONVOLUTIONS, *POOLS):
        return _mapped(node, own_shape(node, arriving))
    if kind == "Sum":
        return arriving
    raise CortexError("N106", f"{node.shown}: nodes of this kind cannot be imported.",
                      f"Known: {', '.join((*PER_ELEMENT, 'Linear', 'Affine', 'Flatten', *CONVOLUTIONS, *POOLS))}.")


def own_shape(node: Node, arriving: Shape | None) -> Shape | None:
    """Channels and pixels of what a convolution or pooling gets: as it says, or as what arrives."""
    told = node.fields.get("input_shape")
    if told is None:
        return arriving
    channels = np.shape(node.fields["weight"])[1] * int(node.fields["groups"])
    return channels, *_declared(told)


def _mapped(node: Node, arriving: Shape | None) -> Shape | None:
    if arriving is None:
        return None
    wanted = 2 if node.kind == "Conv1d" else 3
    if len(arriving) != wanted:
        raise CortexError("N107", f"{node.shown} gets the shape {arriving}; it needs channels and {wanted - 1} axes.")
    pixels = [n if same_size(node) else (n + 2 * p - d * (k - 1) - 1) // s + 1
              for n, k, s, p, d in zip(*windows(node, arriving), strict=True)]
    if min(pixels) < 1:
        raise CortexError("N107", f"{node.shown} gets {arriving[1:]} pixels, fewer than its kernel covers.")
    channels = arriving[0] if node.kind in POOLS else np.shape(node.fields["weight"])[0]
    return channels, *pixels


def _matrix(node: Node) -> Shape:
    shape = np.shape(node.fields["weight"])
    if len(shape) != 2:
        raise CortexError("N106", f"{node.shown} has a weight of {len(shape)} axes; only (to, from) can be said.")
    return shape


def _declared(shape: Any) -> Shape:
    return tuple(int(n) for n in np.ravel(shape))


def _per_axis(value: Any, axes: int) -> Shape:
    found = _declared(value)
    return found * axes if len(found) == 1 else found


def _check(network: Network, found: dict[str, Shape]) -> None:
    for a, b in network.edges:
        node, sent = network.nodes[b], math.prod(found[a])
        if node.kind in ("Linear", "Affine"):
            wanted = _matrix(node)[1]
        elif node.kind in (*CONVOLUTIONS, *POOLS):
            wanted = math.prod(own_shape(node, found[a]) or ())
        else:
            wanted = math.prod(found[b])
        if sent != wanted:
            raise CortexError("N107", f"{node.shown} takes {wanted} values, but '{a}' sends {sent}.")
