"""Fixtures for passes: PAL circuits with drawn weights, and runs of the interpreter under drawn inputs."""

from collections.abc import Callable

import numpy as np
import pytest

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.arrays import expected_shapes
from cortexc.compiler.microcircuits.pal import Pal, build

Rows = list[dict[str, np.ndarray]]


@pytest.fixture
def pal() -> Callable[..., Graph]:
    """`pal(layers, **options)`: a PAL circuit whose weights and voltages are drawn from a fixed seed."""

    def make(layers: tuple[int, ...] = (2, 3, 2), **options: object) -> Graph:
        draws, graph = np.random.default_rng(7), build(Pal(layers, **options))  # type: ignore[arg-type]
        wanted = {name: shape for name, shape in expected_shapes(graph).items() if name.endswith((".w", ".u"))}
        return graph.with_(arrays={name: draws.uniform(-1, 1, shape) for name, shape in wanted.items() if shape})

    return make


@pytest.fixture
def run() -> Callable[..., Rows]:
    """`run(graph, steps, **gates)`: the values after each step; every gate is 1 unless given."""

    def play(graph: Graph, steps: int, **gates: float) -> Rows:
        draws, interpreter = np.random.default_rng(11), Interpreter(graph)
        columns = {name: 1.0 for name in graph.gates} | gates
        rows = []
        for _ in range(steps):
            given = {}
            for population in graph.populations:
                cell = graph.cell(population.cell)
                for name in (*cell.inputs, *(name for name, _ in cell.noise)):
                    given[f"{population.name}.{name}"] = draws.normal(size=population.size)
            rows.append(dict(interpreter.step(given, columns, {})))
        return rows

    return play
