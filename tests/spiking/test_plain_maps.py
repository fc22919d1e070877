"""The plain torch yardstick of speed computes what the convolutional circuit does."""

from __future__ import annotations

import numpy as np
import pytest
from circuits import options, started, training

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native

torch = pytest.importorskip("torch")


def test_one_minibatch_leaves_the_weights_of_the_circuit() -> None:
    from cortexc.reference import plain_spiking_net as plain

    samples, shapes = 8, ((3, 1, 3, 3), (4, 3, 3, 3), (9, 16), (3, 9))
    circuit = options(("1x14x14", "3c3", "p2", "4c3", "p2", 9, 3), feedback="BP", optimiser="adam", rate=5e-4,
                      eta=(1 / samples,))
    graph, (protocol, rows) = started(circuit, samples), training(circuit, 1, samples)
    graph = graph.with_(arrays={name: 3.0 * array for name, array in graph.arrays.items()})  # every layer fires
    native = Native(lower(graph), protocol, rows, [3])
    native.run()
    net, names = plain.build(shapes, "BP"), [f"W_{i}.w" for i in range(1, 5)]
    for weight, name, shape in zip(net.weights, names, shapes, strict=True):
        weight.data = torch.tensor(graph.arrays[name]).reshape(shape)
    x = torch.tensor(rows[:, :196]).reshape(samples, 1, 14, 14)
    plain.learn(net, x, torch.tensor(rows[:, 196:].argmax(1)))
    for weight, name in zip(net.weights, names, strict=True):
        now = native.value(name).reshape(-1)
        assert np.abs(now - graph.arrays[name].reshape(-1)).max() > 1e-4
        np.testing.assert_allclose(weight.numpy().reshape(-1), now, rtol=0, atol=1e-9, err_msg=name)
