"""`cortexc bench speed-sign-concordant`: processor time per training sample beside plain torch and a loop in C.

Rows {metric, value, unit, baseline}: 784-400-10 and the convolutional net in minibatches of 100 with Adam beside the
same algorithms in torch (float32, one thread), 784-400-10 online beside a hand-written loop (float64); in turns, the
least of `REPEATS`. Options: samples, cnn_samples (multiples of 100).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from cortexc.compiler.backends.kernels.c_library import library
from cortexc.compiler.backends.loading import c_compiler, load_c
from cortexc.compiler.backends.lowering.c_module import head
from cortexc.compiler.bench import checked
from cortexc.compiler.bench.speed import best, one_core, row, timed
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session

Row = dict[str, Any]
REPEATS = 5
TORCH, LOOP = "torch, float32", "hand-written C loop, float64, one signed matrix"
Shapes = tuple[tuple[int, ...], ...]
DENSE: Shapes = ((400, 784), (10, 400))
MAPS: Shapes = ((15, 1, 5, 5), (40, 15, 5, 5), (300, 640), (10, 300))
"""Weights of the convolutional net."""

ONLINE = """
typedef long Size;
static double u[2][400], s[2][400], a[2][400], gate[2][400], q[400], drive[400], error[400];

static void cells(const int layer, const Size n, const double *const in, const double scale) {
    for (Size k = 0; k < n; k++) {
        const double v = 0.8 * u[layer][k] * (1.0 - s[layer][k]) + scale * in[k];
        const double z = exp(-(v > 1.0 ? v - 1.0 : 1.0 - v) / 0.2);
        u[layer][k] = v, s[layer][k] = v > 1.0;
        a[layer][k] = (1.0 - 1.0 / 3.0) * a[layer][k] + s[layer][k] / 3.0;
        gate[layer][k] = z / (0.2 * (1.0 + z) * (1.0 + z));
    }
}

/* One sample: w (784, 400), v (400, 10) with their signs, b (10, 400), sums (400, 10). */
static void sample(const double *const x, const Size label, double *const w, const double *const signs, double *const v,
                   const double *const v_signs, const double *const b, double *const sums) {
    double kernel = 0.0, d = 0.0;
    for (Size k = 0; k < 400; k++) drive[k] = q[k] = u[0][k] = s[0][k] = a[0][k] = u[1][k] = s[1][k] = a[1][k] = 0.0;
    for (Size j = 0; j < 784; j++)
        for (Size k = 0; k < 400; k++) drive[k] += w[400 * j + k] * x[j];
    for (int step = 0; step < 5; step++) {
        double in[10] = {0.0};
        kernel = (1.0 - 1.0 / 3.0) * kernel + 1.0 / 3.0, d = (1.0 - 1.0 / 3.0) * d + (step > 0) / 3.0;
        cells(0, 400, drive, kernel);
        for (Size j = 0; j < 400; j++)
            for (Size k = 0; k < 10; k++) in[k] += v[10 * j + k] * a[0][j];
        cells(1, 10, in, 1.0);
        for (Size k = 0; k < 400; k++) error[k] = 0.0;
        for (Size o = 0; o < 10; o++) {
            const double e = gate[1][o] * ((o == label ? d : 0.0) - a[1][o]);
            for (Size k = 0; k < 400; k++) error[k] += b[400 * o + k] * e, sums[10 * k + o] += e * a[0][k];
        }
        for (Size k = 0; k < 400; k++) q[k] += kernel * gate[0][k] * error[k];
    }
    for (Size j = 0; j < 784; j++)
        for (Size k = 0; k < 400; k++) {
            const double y = w[400 * j + k] + 0.001 * q[k] * x[j];
            w[400 * j + k] = y * signs[400 * j + k] < 0.0 ? 0.0 : y > 4.0 ? 4.0 : y < -4.0 ? -4.0 : y;
        }
    for (Size i = 0; i < 4000; i++) {
        const double y = v[i] + 0.001 * sums[i];
        v[i] = y * v_signs[i] < 0.0 ? 0.0 : y > 4.0 ? 4.0 : y < -4.0 ? -4.0 : y, sums[i] = 0.0;
    }
}

void train(const Size count, const double *const x, const Size *const labels, double *const w,
           const double *const signs, double *const v, const double *const v_signs, const double *const b,
           double *const sums) {
    for (Size n = 0; n < count; n++) sample(x + 784 * n, labels[n], w, signs, v, v_signs, b, sums);
}
"""
"""A presentation of 5 steps by hand, with one signed matrix per layer and the input's product made once."""


def rows(options: Mapping[str, Any]) -> list[Row]:
    """Raises X182 for an unknown option."""
    import torch

    options = checked(options, "samples", "cnn_samples")
    torch.set_num_threads(1)
    count, few = int(options.get("samples", 3000)), int(options.get("cnn_samples", 300))
    with one_core():
        dense = _torch(count, DENSE, (784,))
        found = [*_compared("784-400-10, minibatch", "sign_concordant_mnist", count, dense, TORCH)]
        for policy in ("BP", "locked"):
            maps = _torch(few, MAPS, (1, 28, 28), policy)
            found += _compared(f"convolutional net, {policy}", "sign_concordant_cnn", few, maps, TORCH,
                               **{"model.feedback": policy})
        return [*found, *_compared("784-400-10, online", "sign_concordant_mnist_online", count, _loop(count), LOOP)]


def _compared(what: str, experiment: str, count: int, peer: Callable[[], object] | None, baseline: str,
              **overrides: Any) -> Iterator[Row]:
    with ExitStack() as stack:
        works = {backend: _training(stack, experiment, count, {"run.backend": backend, **overrides})
                 for backend in ("native", "native32")}
        works |= {"peer": peer} if peer else {}
        times = best({name: timed(work, count) for name, work in works.items()}, REPEATS)
    yield from (row(f"{name}, {what}", times[name], "us per sample", "processor time, one core")
                for name in ("native", "native32"))
    if peer:
        yield row(f"{baseline}, {what}", times["peer"], "us per sample", "processor time, one core")
        yield from (row(f"{name} / peer, {what}", times[name] / times["peer"], "ratio", baseline)
                    for name in ("native", "native32"))


def _training(stack: ExitStack, experiment: str, count: int, overrides: dict[str, Any]) -> Callable[[], object]:
    """Shows as many samples; kernels are compiled."""
    loaded = load_experiment(experiment, {"data.limits": {"train": count, "test": 100}, "protocol.epochs": REPEATS + 2,
                                          "protocol.test_every": 0, **overrides})
    session = stack.enter_context(Session(loaded))
    steps = count // (loaded.protocol.minibatch or 1) * loaded.protocol.steps
    session.run(steps)
    return lambda: session.run(steps)


def _torch(count: int, shapes: Shapes, image: tuple[int, ...], policy: str = "locked") -> Callable[[], object]:
    import torch

    from cortexc.reference.plain_spiking_net import build, learn

    generator, net = torch.Generator().manual_seed(1), build(shapes, policy)
    x, labels = torch.rand(count, *image, generator=generator), torch.randint(0, 10, (count,), generator=generator)
    return lambda: [learn(net, *pair) for pair in zip(x.split(100), labels.split(100), strict=True)]


def _loop(count: int) -> Callable[[], object] | None:
    """None where there is no C compiler."""
    compiler = c_compiler()
    if compiler is None:
        return None
    train, rng = load_c(head() + library({"exp"}) + ONLINE, compiler).train, np.random.default_rng(1)
    x, labels = rng.uniform(size=(count, 784)), rng.integers(0, 10, count)
    w, v, b = (rng.normal(size=shape) * 0.05 for shape in ((784, 400), (400, 10), (10, 400)))
    arrays = (x, labels, w, np.sign(w), v, np.sign(v), b, np.zeros((400, 10)))
    return lambda: train(ctypes.c_long(count), *(ctypes.c_void_p(array.ctypes.data) for array in arrays))
