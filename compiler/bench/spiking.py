"""Benchmarks of the sign-concordant circuit, trained on Lava: accuracy by feedback policy, measures of the claim.

`cortexc bench mnist-sign-concordant`, `fashion-sign-concordant`, `cnn-sign-concordant`. With `-o FOLDER` every run
keeps its results there and is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.bench import overrides_of, run_all
from cortexc.compiler.bench.runs import Job, accuracy, by_label, kept_run, mean_seconds
from cortexc.compiler.experiments.circuits import circuit_options
from cortexc.compiler.experiments.config import Experiment, load_experiment
from cortexc.compiler.experiments.results import angle, results
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.microcircuits.sign_concordant import build, presentation
from cortexc.compiler.microcircuits.sign_concordant_options import FEEDBACK, SignConcordant

Row = dict[str, Any]
Net = tuple[str, str, str, Mapping[str, Any]]
"""An experiment, what its net and its feedback are called, and keys of its own."""
SEEDS = (1, 2, 3)
SHORT = ("backend", "granularity", "epochs")
PROBE = 100
"""Training samples on which updates are compared with backprop's."""


def _run(experiment: Experiment, measured: bool) -> Row:
    """Trains to the end, an epoch with the test that follows it at a time, with the measures after each."""
    with Session(experiment) as session:
        rows = [_measured(session)] if measured else []
        ends = [session.plan.end_of_epoch(n) for n in range(1, experiment.protocol.epochs)] + [session.total]
        for end in ends:
            session.run(end - session.position)
            rows += [_measured(session)] if measured else []
        return {**results(session), "measures": rows}


def _measured(session: Session) -> dict[str, list[float]]:
    """By the weights of the first seed."""
    circuit = circuit_options(session.experiment.model)
    rows = session.plan.samples[:PROBE]
    inputs = circuit.shapes[0].size
    return measures(circuit, lambda name: np.array(session.runner.value(name)[0]), rows[:, :inputs], rows[:, inputs:])


def _table(nets: Iterable[Net], options: Mapping[str, Any], seeds: Sequence[int] = SEEDS) -> list[Row]:
    """A row per net: mean, spread and list over seeds, and the last measures averaged over seeds."""
    jobs = [job for net in nets for job in _jobs(*net, options, options.get("seeds", seeds))]
    run = partial(kept_run, run=partial(_run, measured=options.get("measured", True)))
    found = run_all(run, jobs, int(options.get("jobs", 2)))
    return [_row(label, runs) for label, runs in by_label(jobs, found)]


def _row(label: Row, runs: list[Row]) -> Row:
    curves = [[test["mean"] for test in run["tests"]] for run in runs]
    row = {**label, **accuracy(runs), "wall_s": mean_seconds(runs), "per_epoch": np.mean(curves, axis=0).tolist()}
    if runs[0]["measures"]:
        for name in runs[0]["measures"][0]:
            curve = np.array([[after[name] for after in run["measures"]] for run in runs], dtype=float).mean(axis=0)
            row[name] = curve[-1].tolist()
            row[f"{name}_per_epoch"] = curve.tolist()
    return row | {"backend": runs[0]["backend"], "granularity": runs[0]["granularity"], "simulated": True}


def _jobs(experiment: str, net: str, feedback: str, own: Mapping[str, Any], options: Mapping[str, Any],
          seeds: Sequence[int]) -> list[Job]:
    table = {**overrides_of(options, *SHORT), **own}
    how = ("none", "online") if experiment.endswith("online") else ("adam", "minibatch")
    epochs = load_experiment(experiment, dict(table)).protocol.epochs
    label = {"net": net, "feedback": feedback, "optimiser": how[0], "mode": how[1], "epochs": epochs}
    return [Job(experiment, tuple(label.items()), {**table, "run.seeds": [seed]},
                _file(options.get("output"), [*label.values(), seed])) for seed in seeds]


def _file(folder: str | None, words: Sequence[Any]) -> Path | None:
    name = "_".join(map(str, words)).replace(" ", "-").replace(",", "")
    return Path(folder) / f"{name}.json" if folder else None


# ---- the benchmarks


def _policies(experiment: str, net: str, policies: Iterable[str]) -> list[Net]:
    return [(experiment, net, feedback, {"model.feedback": feedback}) for feedback in policies]


def mnist(options: Mapping[str, Any]) -> list[Row]:
    """Rows {net, feedback, optimiser, mode, epochs, accuracy, spread, wall_s, ...}: every policy in minibatches with
    Adam, `locked` online with the plain rule, the 400-400-10 net on images cut to 20 x 20, hidden layer frozen."""
    batch, online = "sign_concordant_mnist", "sign_concordant_mnist_online"
    small = {"model.layers": [400, 400, 10], "data.crop": 4}
    nets = _policies(batch, "784-400-10", options.get("feedback", FEEDBACK))
    if "feedback" not in options:
        nets += [(online, "784-400-10", "locked", {}), (batch, "400-400-10", "locked", small),
                 (online, "400-400-10", "locked", small),
                 (batch, "784-400-10, hidden layer frozen", "locked", {"model.eta": [0.0, 0.01]})]
    return _table(nets, options) + _linear("mnist", options)


def fashion(options: Mapping[str, Any]) -> list[Row]:
    """784-400-400-10 on Fashion-MNIST, every policy, and the hidden layers frozen."""
    nets = _policies("sign_concordant_fashion", "784-400-400-10", options.get("feedback", FEEDBACK))
    frozen = {"model.eta": [0.0, 0.0, 0.01]}
    nets.append(("sign_concordant_fashion", "784-400-400-10, hidden layers frozen", "locked", frozen))
    return _table(nets, options) + _linear("fashion_mnist", options)


def cnn(options: Mapping[str, Any]) -> list[Row]:
    """The convolutional net: BP, FA, `locked`, `uSF`; accuracy and angles after every epoch, one seed."""
    name = "sign_concordant_cnn"
    net = "-".join(map(str, load_experiment(name, overrides_of(options, *SHORT)).model.options["layers"]))
    return _table(_policies(name, net, options.get("feedback", ("BP", "FA", "locked", "uSF"))), options, SEEDS[:1])


def _linear(name: str, options: Mapping[str, Any]) -> list[Row]:
    if options.get("baselines") is False:
        return []
    from cortexc.compiler.experiments.data.baselines import linear_classifier
    from cortexc.compiler.experiments.data.datasets import load_dataset

    found = linear_classifier(load_dataset(name, split="full"))
    return [{"net": "linear classifier", "feedback": "", "optimiser": "L-BFGS", "mode": "scikit-learn", "epochs": 0,
             "accuracy": found.test_accuracy, "spread": 0.0, "seeds": 1, "wall_s": found.seconds}]


# ---- the claim of sign-concordant feedback: is the circuit's update backprop's, is B like W, are signs equal
#
# With weights as they are, on a probe of samples whose labels are known, with the circuit itself: once with its own
# feedback, once with the transposed forward weights, nothing applied.

Read = Callable[[str], np.ndarray]
"""Gives a weight by name, without an axis of copies."""


def measures(circuit: SignConcordant, read: Read, x: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Per layer: `update_angle` (1 .. L) between the circuit's update and backprop's, degrees; `feedback_angle` and
    `concordant` (2 .. L) between B and W: degrees, and the share of equal signs where W is not 0 (`DFA` has neither).

    x: (samples, n_0), labels: one-hot (samples, n_L).
    """
    forward, back = effective(circuit, read)
    direct = circuit.feedback == "DFA"
    own = updates(circuit, forward, back, "DFA" if direct else "FA", x, labels)
    exact = updates(circuit, forward, forward, "BP", x, labels)
    pairs = [] if direct else [(forward[i], back[i]) for i in range(2, circuit.top + 1)]
    return {"update_angle": [_angle(own[i], exact[i]) for i in range(1, circuit.top + 1)],
            "feedback_angle": [_angle(b, w) for w, b in pairs],
            "concordant": [float(np.mean(np.sign(b)[w != 0] == np.sign(w)[w != 0])) for w, b in pairs]}


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    return float(angle(first.reshape(1, -1), second.reshape(1, -1)))


def effective(circuit: SignConcordant, read: Read) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Signed W_l and B_l, both in the forward direction's shape (`DFA`: as the projection has it)."""
    def signed(letter: str, i: int) -> np.ndarray:
        if circuit.locked:
            return read(f"{letter.lower()}E_{i}.w") - read(f"{letter.lower()}I_{i}.w")
        return read(f"{'W' if letter == 'w' else 'B'}_{i}.w")

    forward = {i: signed("w", i) for i in range(1, circuit.top + 1)}
    back = {i: signed("c", i) for i in range(2, circuit.top + 1)}
    turned = {i: b if circuit.shapes[i].convolution or circuit.feedback == "DFA" else b.T for i, b in back.items()}
    return forward, turned


def updates(circuit: SignConcordant, forward: dict[int, np.ndarray], back: dict[int, np.ndarray], feedback: str,
            x: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    """Summed increments of every layer, signed weights, over one presentation of the probe."""
    turn = {i: circuit.shapes[i].convolution is None and feedback != "DFA" for i in back}
    arrays = {f"W_{i}.w": w for i, w in forward.items()}
    arrays |= {f"B_{i}.w": np.ascontiguousarray(b.T if turn[i] else b) for i, b in back.items() if i > 1}
    probe = replace(circuit, feedback=feedback, optimiser="none", message="graded", update="presentation",
                    timing="phase_locked", eta=(1.0,), arrays=arrays)
    shown = presentation(probe, 5)
    gates = tuple((name, (0.0,) if name == "apply" else pattern) for name, pattern in shown.train.items())
    phase = Phase("probe", 1, shown.steps, gates=gates, rows=len(x))
    native = Native(lower(build(probe).with_(samples=len(x))), Protocol((phase,), ("probe",)),
                    np.concatenate([x, labels], axis=1), [0])
    native.run()
    return {i: native.value(f"W_{i}.accumulate")[0] for i in forward}
