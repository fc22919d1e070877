"""How what arrives at a node is weighted, as connectivity of the IR; and which edges carry a value of this step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cortexc.compiler.front.nir.reading import Edge, Node
from cortexc.compiler.front.nir.shapes import CONVOLUTIONS, POOLS, Shape, own_shape, same_size, windows
from cortexc.compiler.ir import Convolution
from cortexc.compiler.ir.schedule import reached


@dataclass(frozen=True)
class Wiring:
    """`steps`: how many steps later than it was sent a value arrives."""

    connectivity: str = "identity"
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    convolution: Convolution | None = None
    steps: int = 0


def weighted(kind: str) -> bool:
    """Whether the node multiplies the sum of what arrives."""
    return kind in ("Linear", "Affine", "Scale", *CONVOLUTIONS, *POOLS)


def wirings(node: Node, arriving: Shape, sent: Shape, steps: np.ndarray | None) -> list[Wiring]:
    """The projections of one edge into the node. `steps`: of a Delay, per element."""
    if steps is not None:
        return _delayed(steps)
    if node.kind in ("Linear", "Affine"):
        return [Wiring("dense", {"w": _floats(node, "weight")})]
    if node.kind == "Scale":
        return [Wiring("one_to_one", {"w": _floats(node, "scale").reshape(-1)})]
    if node.kind in (*CONVOLUTIONS, *POOLS):
        return [_mapped(node, own_shape(node, arriving) or arriving, sent)]
    return [Wiring()]


def _floats(node: Node, name: str) -> np.ndarray:
    return np.array(node.fields[name], np.float64)


def _delayed(steps: np.ndarray) -> list[Wiring]:
    """One projection for every delay that occurs, with weight 1 where it is the cell's."""
    found = np.unique(steps)
    if found.size == 1:
        return [Wiring(steps=int(found[0]))]
    return [Wiring("one_to_one", {"w": np.where(steps == n, 1.0, 0.0)}, steps=int(n)) for n in found]


def _mapped(node: Node, arriving: Shape, sent: Shape) -> Wiring:
    """`convolution` where that can say it, else a list of synapses."""
    _, kernel, stride, front, dilation = windows(node, arriving)
    even = all(len(set(axis)) == 1 for axis in (kernel, stride, front)) and not same_size(node)
    if node.kind == "Conv2d" and even and set(dilation) == {1} and int(node.fields["groups"]) == 1:
        lower, upper = ((shape[0], shape[1], shape[2]) for shape in (arriving, sent))
        return Wiring("convolution", {"w": _floats(node, "weight")},
                      Convolution(lower, upper, kernel[0], stride[0], front[0]))
    return Wiring("sparse", _listed(node, arriving, sent))


def _listed(node: Node, arriving: Shape, sent: Shape) -> dict[str, np.ndarray]:
    """Every synapse: channel c of a group of the input, at pixel stride * x + dilation * k - front along every axis."""
    pixels, kernel, stride, front, dilation = windows(node, arriving)
    weight, groups = _kernels(node, arriving, kernel)
    axes, inner = len(pixels), weight.shape[1]
    grid = np.indices((*sent, inner, *kernel)).reshape(1 + axes + 1 + axes, -1)
    out, at, channel, tap = grid[0], grid[1:1 + axes], grid[1 + axes], grid[2 + axes:]
    place = [at[i] * stride[i] + tap[i] * dilation[i] - front[i] for i in range(axes)]
    inside = np.logical_and.reduce([(p >= 0) & (p < n) for p, n in zip(place, pixels, strict=True)])
    source = (out // (sent[0] // groups) * inner + channel, *place)
    pre = np.ravel_multi_index(tuple(axis[inside] for axis in source), arriving)
    post = np.ravel_multi_index(tuple(axis[inside] for axis in (out, *at)), sent)
    used = (out, channel, *tap)
    return {"pre": pre, "post": post, "w": weight[used][inside]}


def _kernels(node: Node, arriving: Shape, kernel: Shape) -> tuple[np.ndarray, int]:
    """(channels, channels of a group, *kernel), and the number of groups; a pool has a group per channel."""
    if node.kind in POOLS:
        value = 1.0 / math.prod(kernel) if node.kind == "AvgPool2d" else 1.0
        return np.full((arriving[0], 1, *kernel), value), arriving[0]
    return _floats(node, "weight"), int(node.fields["groups"])


# ---- the order of a step


ARRIVALS = ("same", "next")


class Order:
    """`stateful`: the names of what keeps a state."""

    def __init__(self, names: Iterable[str], edges: Collection[Edge], stateful: Collection[str]):
        self.names, self.edges, self.stateful = tuple(names), edges, set(stateful)

    @cached_property
    def _follows(self) -> dict[str, set[str]]:
        """Name -> itself and all that it leads to."""
        after = {name: [b for a, b in self.edges if a == name] for name in self.names}
        return {name: reached([name], after.__getitem__) for name in self.names}

    def on_circle(self, edge: Edge) -> bool:
        return edge[0] in self._follows[edge[1]]

    def arrives(self, edge: Edge) -> bool:
        """Whether it leads from something with a state to something else that has one."""
        return edge[0] in self.stateful and bool(self.stateful & self._follows[edge[1]])

    def depth(self, edge: Edge, arrival: str) -> int:
        """How many steps before this one what arrives was sent."""
        return int(self.arrives(edge) and (arrival == "next" or self.on_circle(edge)))
