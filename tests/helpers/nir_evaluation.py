"""NIR graphs, evaluated node by node in plain numpy: written from NIR's documentation, knowing nothing of the compiler.

Times in seconds, forward Euler. `late` edges carry the value of the step before: those from a node with state to another
one that lie on a circle, and, if `arrival` is "next", all of them.
"""

from __future__ import annotations

from itertools import product

import numpy as np

STATEFUL = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


def flat(graph, prefix=""):
    """Nodes and edges; a nested graph's inputs and outputs pass on what they get."""
    nodes, edges, doors = {}, [], {}
    for name, node in graph.nodes.items():
        if type(node).__name__ == "NIRGraph":
            inner, more = flat(node, f"{prefix}{name}.")
            nodes, edges = {**nodes, **inner}, edges + more
            doors[name] = [f"{name}." + next(k for k, n in node.nodes.items() if type(n).__name__ == kind)
                           for kind in ("Input", "Output")]
        else:
            nodes[prefix + name] = node
    edges += [(prefix + doors.get(a, (a, a))[1], prefix + doors.get(b, (b, b))[0]) for a, b in graph.edges]
    return nodes, edges


class Evaluation:
    """`run(inputs)`: node -> (steps, n) of what it sends. `inputs`: name of an Input node -> (steps, n)."""

    def __init__(self, graph, dt, reset, current, arrival):
        self.nodes, self.edges = flat(graph)
        self.dt, self.reset, self.current, self.arrival = dt, reset, current, arrival
        self.shapes = {}

    def run(self, inputs):
        steps = len(next(iter(inputs.values())))
        self.sent, self.states, self.inputs = {}, {}, inputs
        for t in range(steps):
            for name in self.nodes:
                self.value(name, t)
        return {name: np.stack([np.ravel(self.sent[name, t]) for t in range(steps)]) for name in self.nodes}

    def value(self, name, t):
        if (name, t) not in self.sent:
            self.sent[name, t] = self.computed(name, self.nodes[name], t)
        return self.sent[name, t]

    def arriving(self, name, t):
        found = [self.past(a, t - self.late(a, name)) for a, b in self.edges if b == name]
        return sum(found[1:], found[0])

    def past(self, name, t):
        return self.value(name, t) if t >= 0 else 0.0 * self.value_of_first(name)

    def value_of_first(self, name):
        """Only its shape counts."""
        node, kind = self.nodes[name], type(self.nodes[name]).__name__
        return np.zeros(node.r.shape if kind in STATEFUL else self.sent[name, 0].shape)

    def late(self, a, b):
        if type(self.nodes[a]).__name__ not in STATEFUL:
            return False
        ahead = self.ahead(b)
        return a in ahead or self.arrival == "next" and any(type(self.nodes[n]).__name__ in STATEFUL for n in ahead)

    def ahead(self, name):
        found, size = {name}, 0
        while size < len(found):
            size = len(found)
            found |= {b for a, b in self.edges if a in found}
        return found

    def computed(self, name, node, t):
        kind = type(node).__name__
        if kind == "Input" and name in self.inputs:
            return np.reshape(self.inputs[name][t], node.input_type["input"])
        if kind == "Delay":
            return self.delayed(name, node, t)
        x = self.arriving(name, t)
        if kind in ("Linear", "Affine"):
            return np.asarray(node.weight, float) @ np.ravel(x) + getattr(node, "bias", 0.0)
        if kind in STATEFUL:
            return self.neuron(name, node, kind, x)
        return {"Input": lambda: x, "Output": lambda: x, "Flatten": lambda: np.ravel(x),
                "Scale": lambda: node.scale * x, "Threshold": lambda: np.where(x > node.threshold, 1.0, 0.0),
                "Conv1d": lambda: convolved(node, x), "Conv2d": lambda: convolved(node, x),
                "SumPool2d": lambda: pooled(node, x, np.sum), "AvgPool2d": lambda: pooled(node, x, np.mean)}[kind]()

    def delayed(self, name, node, t):
        before = [self.arriving(name, s) for s in range(t + 1)]
        steps = np.rint(np.asarray(node.delay, float) / self.dt).astype(int)
        return np.array([before[t - d][i] if t >= d else 0.0 for i, d in enumerate(steps)])

    def neuron(self, name, node, kind, x):
        v, i = self.states.get(name, (np.zeros(node.r.shape), np.zeros(node.r.shape)))
        drive = x
        if kind.startswith("Cuba"):
            new = i + self.dt / node.tau_syn * (-i + node.w_in * x)
            drive, i = (i if self.current == "together" else new), new
        leak = 0.0 if kind in ("I", "IF") else node.v_leak - v
        tau = 1.0 if kind in ("I", "IF") else getattr(node, "tau", getattr(node, "tau_mem", None))
        spiked = kind.endswith("IF") and v > node.v_threshold  # in the step before, where nothing was reset since
        v = v + self.dt / tau * (leak + node.r * drive)
        v = self.after(node, v, spiked) if self.reset.endswith("next") else v
        z = np.where(v > node.v_threshold, 1.0, 0.0) if kind.endswith("IF") else None
        self.states[name] = v if z is None or self.reset.endswith("next") else self.after(node, v, z > 0), i
        return v if z is None else z

    def after(self, node, v, spiked):
        """The v of cells that spiked, reset."""
        if not np.any(spiked):
            return v
        new = {"v": node.v_reset, "z": 0.0 * v, "s": v - node.v_threshold + node.v_reset}[self.reset[0]]
        return np.where(spiked, new, v)


def axes(value, n):
    return tuple(np.ravel(value).astype(int)) * (n if np.size(value) == 1 else 1)


def padded(node, x, size):
    n = x.ndim - 1
    if isinstance(node.padding, str):
        total = [d * (k - 1) if node.padding == "same" else 0 for k, d in zip(size, axes(node.dilation, n), strict=True)]
        return np.pad(x, [(0, 0), *((p // 2, p - p // 2) for p in total)])
    return np.pad(x, [(0, 0), *((p, p) for p in axes(node.padding, n))])


def windows(x, size, stride, dilation):
    """Every place of the kernel, with what it sees there."""
    room = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[1:], size, stride, dilation, strict=True)]
    for place in product(*map(range, room)):
        cut = (slice(p * s, p * s + d * (k - 1) + 1, d) for p, k, s, d in zip(place, size, stride, dilation, strict=True))
        yield room, place, x[(slice(None), *cut)]


def convolved(node, x):
    w, n = np.asarray(node.weight, float), np.ndim(node.weight) - 2
    out, own = {}, w.shape[1]
    for _, place, seen in windows(padded(node, x, w.shape[2:]), w.shape[2:], axes(node.stride, n), axes(node.dilation, n)):
        for o in range(len(w)):
            g = o // (len(w) // int(node.groups))
            out[(o, *place)] = np.sum(w[o] * seen[g * own:(g + 1) * own]) + node.bias[o]
    return np.reshape([out[k] for k in sorted(out)], (len(w), *np.add(max(out)[1:], 1)))


def pooled(node, x, how):
    size = axes(node.kernel_size, 2)
    found = [(room, how(seen, axis=(1, 2))) for room, _, seen in windows(padded(node, x, size), size, axes(node.stride, 2), (1, 1))]
    return np.stack([values for _, values in found], axis=1).reshape(len(x), *found[0][0])
