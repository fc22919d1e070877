"""NIR networks for tests: random ones, and one of every kind of feature maps."""

from __future__ import annotations

import nir
import numpy as np
from nir_evaluation import STATEFUL

DT = 1e-3
RESETS = ("v_reset", "subtract", "subtract_next")
CURRENTS, ARRIVALS = ("together", "first"), ("same", "next")


def neuron(draw, kind, n):
    """With time constants of 2 to 12 steps."""
    tau, one = lambda: draw.uniform(2, 12, n) * DT, lambda: draw.uniform(0.5, 1.5, n)
    leak, threshold, reset = draw.normal(0, 0.1, n), draw.uniform(0.2, 0.6, n), draw.normal(0, 0.1, n)
    return {"I": lambda: nir.I(r=one() * 40), "LI": lambda: nir.LI(tau(), one(), leak),
            "IF": lambda: nir.IF(one() * 200, threshold, reset),
            "LIF": lambda: nir.LIF(tau(), one(), leak, threshold, reset),
            "CubaLI": lambda: nir.CubaLI(tau(), tau(), one(), leak, one()),
            "CubaLIF": lambda: nir.CubaLIF(tau(), tau(), one(), leak, threshold, reset, one())}[kind]()


def node(draw, kind, n):
    if kind in STATEFUL:
        return neuron(draw, kind, n)
    return {"Scale": lambda: nir.Scale(draw.normal(size=n)), "Threshold": lambda: nir.Threshold(draw.normal(size=n)),
            "Delay": lambda: nir.Delay(draw.integers(0, 5, n) * DT), "Flatten": lambda: nir.Flatten(np.array([n]), 0),
            "Linear": lambda: nir.Linear(draw.normal(size=(n, n))),
            "Affine": lambda: nir.Affine(draw.normal(size=(n, n)), draw.normal(size=n))}[kind]()


def random_network(seed, depth=0):
    """A chain of nodes, with ways that lead back from neurons and others that skip, perhaps a network in the network."""
    draw = np.random.default_rng(seed)
    n, size = depth or int(draw.integers(1, 5)), int(draw.integers(3, 8))
    kinds = draw.choice([*STATEFUL, *STATEFUL, "Scale", "Threshold", "Delay", "Flatten", "Linear", "Affine"], size)
    nodes = {f"{i}.{kind}" if i % 2 else f"a{i}": node(draw, kind, n) for i, kind in enumerate(kinds)}
    if not depth and seed % 3 == 0:
        nodes["inner"] = random_network(seed + 1000, n)
    names = ["input", *nodes, "output"]
    edges = dict.fromkeys(zip(names, names[1:], strict=False))
    for _ in range(2):
        a, b = sorted(draw.integers(1, len(names) - 1, 2))
        edges[names[a], names[b + 1]] = None
    back = [i for i, name in enumerate(names) if type(nodes.get(name)).__name__ in STATEFUL]
    for i in draw.choice(back, min(2, len(back)), replace=False):
        edges[names[i], "back"], edges["back", names[int(draw.integers(1, i + 1))]] = None, None
    nodes["back"] = nir.Linear(draw.normal(size=(n, n)) * 0.3)
    edges = [e for e in edges if "back" not in e or back]
    nodes = {k: v for k, v in nodes.items() if k != "back" or back}
    shape = np.array([n])
    return nir.NIRGraph({"input": nir.Input(shape), **nodes, "output": nir.Output(shape)}, edges, type_check=False)


MAPS = {
    "square": ((2, 6, 6), nir.Conv2d(None, np.ones((3, 2, 3, 3)), 2, 1, 1, 1, np.ones(3))),
    "axes": ((2, 5, 7), nir.Conv2d((5, 7), np.ones((3, 2, 2, 3)), (1, 2), (0, 1), (2, 1), 1, np.ones(3))),
    "groups": ((4, 4, 5), nir.Conv2d((4, 5), np.ones((6, 2, 2, 2)), 1, 0, 1, 2, np.ones(6))),
    "same": ((2, 5, 4), nir.Conv2d((5, 4), np.ones((3, 2, 4, 3)), 1, "same", 1, 1, np.ones(3))),
    "valid": ((1, 5, 5), nir.Conv2d((5, 5), np.ones((2, 1, 3, 3)), 1, "valid", 1, 1, np.ones(2))),
    "one": ((2, 9), nir.Conv1d(9, np.ones((3, 2, 3)), 2, 1, 2, 1, np.ones(3))),
    "sum": ((2, 5, 6), nir.SumPool2d(np.array([2, 3]), np.array([2, 1]), np.array([1, 0]))),
    "average": ((2, 6, 6), nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])))}
