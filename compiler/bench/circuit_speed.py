"""Circuits side by side with others' loops, in one run, on one core: `cortexc bench speed-depth`,
`speed-sign-concordant`. Rows {metric, value, unit, baseline}.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from cortexc.compiler.backends.kernels.c_library import library
from cortexc.compiler.backends.loading import c_compiler, load_c
from cortexc.compiler.backends.lowering.c_module import head
from cortexc.compiler.bench import checked
from cortexc.compiler.bench.depth import published
from cortexc.compiler.bench.speed import best, clocked, one_core, row, timed
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.experiments.tasks.teacher_student import PARTS
from cortexc.compiler.ir import CortexError
from cortexc.compiler.microcircuits.error_neuron import ErrorNeuron

# ---- the error-neuron circuit

NET, CHECKED, LIMIT = (16, 8, 4, 2, 1), 200, 1e-10


def depth(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The error-neuron circuit of 16-8-4-2-1: native against careful numpy, Lava against native, ten seeds as one batch
    against one by one. The numpy loop, area by area with buffers that are filled in place, is checked against the
    compiled circuit before anything is timed: one seed, wiring `areas` or `layered`, copied feedback, prospective
    coding in its short form (a delay of one step per connection, as after the pass eliminate-lookahead). Option: steps
    per measurement."""
    checked(options, "steps")
    steps = int(options.get("steps", 40_000))
    with one_core(), _session("native", 1) as native, _session("lava", 1) as lava, _session("native", 10) as batch:
        fed, gap = _numpy(native)
        for session in (native, lava, batch):
            session.run(CHECKED)
        works = {"native": native.run, "Lava": lava.run, "batch": batch.run}
        times = best({name: partial(clocked, partial(run, steps), steps) for name, run in works.items()}
                     | {"numpy": lambda: clocked(lambda: fed(steps // 20), steps // 20)})
    found = [row(f"{name}, microseconds per step", value, "us", "") for name, value in times.items()]
    return [*found, row("numpy differs from native by", gap, "absolute", "native"),
            row("numpy / native", times["numpy"] / times["native"], "ratio", "native"),
            row("Lava network / native", times["Lava"] / times["native"], "ratio", "native"),
            row("ten seeds one by one / as one batch", 10 * times["native"] / times["batch"], "ratio", "batch")]


def _session(backend: str, seeds: int) -> Session:
    overrides = {**published("error-neuron", NET), "run.backend": backend, "protocol.settling_steps": 0,
                 "protocol.validation_every": 0, "protocol.epochs": 10_000, "protocol.shuffle": False}
    experiment = load_experiment("depth_error-neuron", overrides)
    return Session(experiment.with_run(seeds=experiment.run.seeds[:seeds]))


def _numpy(session: Session) -> tuple[Callable[[int], None], float]:
    """The yardstick as a function of steps, and its largest difference in weights after `CHECKED` steps. Raises X183 if
    that is not small."""
    graph, samples = session.compiled.graph, session.plan.samples
    circuit = circuit_options(session.experiment.model)
    count = len(samples) // len(PARTS)
    hold, delay, n = session.experiment.protocol.steps, circuit.target_delay, circuit.layers[0]

    def feed(model: NumpyErrorNeuron, steps: int) -> None:
        for t in range(steps):
            late = t - delay if t >= delay else t
            model.step(samples[t // hold % count, :n], samples[late // hold % count, n:n + 1])

    with _session("native", 1) as fresh:
        fresh.run(CHECKED)
        model = NumpyErrorNeuron(circuit, graph.arrays)
        feed(model, CHECKED)
        names = [(circuit.forward_name(to, k), next(w for j, w, _ in model.forward[to] if j == k + 1))
                 for to, k in circuit.forward_pairs()]
        gap = max(float(np.abs(fresh.runner.value(f"{name}.w")[0] - w).max()) for name, w in names)
    if not gap < LIMIT:
        raise CortexError("X183", f"the numpy yardstick differs by {gap:.3g} after {CHECKED} steps; it would time "
                                  "another circuit.")
    return partial(feed, NumpyErrorNeuron(circuit, graph.arrays)), gap


class NumpyErrorNeuron:
    """The yardstick. All state as one array per area; `step(r0, target)` learns with a target (n_L,)."""

    def __init__(self, circuit: ErrorNeuron, arrays: Mapping[str, np.ndarray]):
        c = self.circuit = circuit
        areas, tau = range(c.areas), 1 / (c.gl + c.gbas + c.gapi)
        self.forward = [[(k + 1, arrays[f"{c.forward_name(to, k)}.w"].copy(), c.dt * c.forward_rate(to, k))
                         for t, k in c.forward_pairs() if t == to] for to in areas]
        self.feedback = [[(k, arrays[f"{c.feedback_name(to, k)}.w"].copy())
                          for t, k in c.feedback_pairs() if t == to] for to in areas]
        self.copies = [(to, i, k, next(n for n, pair in enumerate(self.forward[k]) if pair[0] == to + 1),
                        arrays[f"{c.feedback_name(to, k)}.copy_error"])
                       for to in areas for i, (k, _) in enumerate(self.feedback[to]) if (k, to) in c.forward_pairs()]
        self.gating = [arrays[f"WIP_{i}.w"] for i in areas]
        self.apical = [arrays[f"BPI_{i}.w"] for i in areas]
        self.attenuation, self.into_soma = tau * c.gbas, tau * c.gapi
        self.into_error = [c.gden / (c.gl + c.gden)] * (c.areas - 1) + [c.gntgt / (c.gl + c.gntgt)]
        self.prospective = [arrays[f"R{i}.u"].copy() for i in areas]
        self.rates = [np.zeros(c.layers[0]), *(np.tanh(u) for u in self.prospective)]
        self.errors = [arrays[f"E{i}.u"].copy() for i in areas]
        self.basal = [np.zeros(n) for n in c.layers[1:]]

    def step(self, r0: np.ndarray, target: np.ndarray) -> None:
        before, basal_before = self.rates, self.basal
        rates = [r0, *(np.tanh(u) for u in self.prospective)]
        slopes = [1.0 - r * r for r in rates[1:]]
        mismatches = [u - self.attenuation * v for u, v in zip(self.prospective, basal_before, strict=True)]
        self.basal = [_sum(w @ rates[k] for k, w, _ in into) for into in self.forward]
        top = len(self.errors) - 1
        drives = [self.into_error[i] * (self.gating[i] @ slopes[i]) * _sum(w @ self.errors[k] for k, w in into)
                  for i, into in enumerate(self.feedback[:top])]
        drives.append(self.into_error[top] * (self.gating[top] @ (slopes[top] * (target - rates[-1]))))
        self.prospective = [self.attenuation * v + self.into_soma * (b @ e)
                            for v, b, e in zip(self.basal, self.apical, self.errors, strict=True)]
        for to, i, k, n, error in self.copies:
            np.add(self.forward[k][n][1].T, error, out=self.feedback[to][i][1])
        for into, mismatch in zip(self.forward, mismatches, strict=True):
            for k, w, rate in into:
                w += np.outer(rate * mismatch, before[k])
        self.errors, self.rates = drives, rates


def _sum(parts: object) -> np.ndarray:
    total = None
    for part in parts:  # type: ignore[attr-defined]
        total = part if total is None else total + part
    return total  # type: ignore[return-value]


# ---- the sign-concordant circuit

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


def sign_concordant(options: Mapping[str, Any]) -> list[Row]:
    """Processor time per training sample: 784-400-10 and the convolutional net in minibatches of 100 with Adam beside
    the same algorithms in torch (float32, one thread), 784-400-10 online beside a hand-written loop in C (float64); in
    turns, the least of `REPEATS`. Options: samples, cnn_samples (multiples of 100). Raises X182 for an unknown
    option."""
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
