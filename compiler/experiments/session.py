"""Runs experiments: graph, passes, program, backend, results.

    experiment = load_experiment("pal_digits", ["run.backend=native"])
    results = run_experiment(experiment, "runs/digits")

X150 the backend is not installed; X151 a pass or a quantity that is not there; X152 non-finite weights at the end.
"""

from __future__ import annotations

import contextlib
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compiler.experiments import records as figures
from compiler.experiments.checkpoints import (
    NAME,
    Identity,
    arrays_sha256,
    graph_sha256,
    load_checkpoint,
    save_checkpoint,
)
from compiler.experiments.circuits import build_circuit
from compiler.experiments.config import Experiment, Model
from compiler.experiments.files import writable_folder, write_json, write_npz, write_safetensors, write_text
from compiler.experiments.protocols import Plan, make_plan, teacher_plan
from compiler.ir import CortexError, Graph, show_graph, unknown
from compiler.ir.protocol import Protocol
from compiler.passes import PIPELINE, PassReport, Request, observable, pipeline, run_passes
from compiler.passes.partition import Partition

Progress = Callable[[int, int, float], None]
"""Called as progress(position, end, steps per second) a few times a second."""

ACROSS_STEPS = ("hoist-constant-input", "fuse-update")
"""Passes that lower a projection across steps; they need granularity `network`."""
BLOCK_BYTES = 32 * 2**20


class Interrupted(Exception):
    """A signal ended the run at a block boundary. `checkpoint`: where it can be resumed, if it was written."""

    def __init__(self, signal_number: int, position: int, checkpoint: Path | None):
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} after {position} steps")
        self.signal, self.position, self.checkpoint = signal_number, position, checkpoint


@dataclass
class Compiled:
    """An experiment up to the passes. `graph` is the source, `report.graph` what is lowered."""

    experiment: Experiment
    graph: Graph
    plan: Plan
    report: PassReport
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def observed(self) -> frozenset[str]:
        return observed_quantities(self.plan.protocol)

    def identity(self) -> Identity:
        samples = {"samples": self.plan.samples, **self.plan.labels}
        return Identity(graph_sha256(self.graph), self.experiment.sha256(), arrays_sha256(samples))


def observed_quantities(protocol: Protocol) -> frozenset[str]:
    return frozenset(quantity for stream in protocol.streams for quantity in stream.quantities)


def compile_experiment(experiment: Experiment) -> Compiled:
    """Builds the circuit, its data and protocol, and runs the passes. Raises coded errors only."""
    start = time.perf_counter()
    run = experiment.run
    graph = build_circuit(experiment.model, run.seeds, run.noise)
    plan = make_plan(experiment, graph, lambda inputs, seed: teacher_targets(experiment, inputs, seed))
    _check_recorded(plan.protocol, graph)
    built = time.perf_counter()
    report = run_passes(graph, chosen_passes(experiment), Request(observed_quantities(plan.protocol)))
    seconds = {"build": built - start, "passes": time.perf_counter() - built}
    return Compiled(experiment, graph, plan, report, seconds)


def circuit_after_passes(experiment: Experiment, passes: bool = True) -> tuple[Graph, PassReport]:
    """The graph as written and what the passes make of it; no data are loaded. The seeds axis has length 1."""
    graph = build_circuit(experiment.model, experiment.run.seeds[:1], experiment.run.noise)
    observed = frozenset(quantity for table in experiment.record.values() for quantity in table.recorded)
    chosen = chosen_passes(experiment) if passes else []
    return graph, run_passes(graph, chosen, Request(observed))


def chosen_passes(experiment: Experiment) -> list:
    """The pipeline without what is disabled or does not fit the granularity. Raises X151."""
    run, disabled = experiment.run, set(experiment.passes.disable)
    for name in disabled - set(PIPELINE):
        raise unknown("X151", "pass in passes.disable", name, PIPELINE)
    granularity = run.granularity if run.backend == "lava" else "network"
    skipped = disabled | {"partition"} | set(ACROSS_STEPS if granularity != "network" else ())
    return [*pipeline(name for name in PIPELINE if name not in skipped), Partition(granularity)]


def _check_recorded(protocol: Protocol, graph: Graph) -> None:
    known = observable(graph)
    for stream in protocol.streams:
        for quantity in stream.quantities:
            if quantity not in known:
                raise unknown("X151", f"quantity in [record.{stream.name}]", quantity, known)


def teacher_targets(experiment: Experiment, inputs: np.ndarray, seed: int) -> np.ndarray:
    """Targets (samples, n) of the task fw_bw: the output of the teacher, run natively. Raises X122."""
    from compiler.backends.lowering.program import lower
    from compiler.backends.native import Native

    model = experiment.model
    options = {"circuit": model.circuit, "start": "legacy", "ranges": experiment.protocol.teacher}
    graph = build_circuit(Model(**options, options=model.options), [seed])
    plan = teacher_plan(experiment.protocol, graph, inputs)
    observed = observed_quantities(plan.protocol)
    plain = run_passes(graph, pipeline(["discretise", "fold"]), Request(observed)).graph
    runner = Native(lower(plain, observed), plan.protocol, plan.samples, [seed])
    runner.run()
    return runner.records.rows("target", graph.outputs[0][1])[:, 0]


def make_runner(compiled: Compiled, folder: Path | None = None, reuse: bool = False) -> Any:
    """The backend's runner: `run`, `value`, `records`, `feed`, `state`, `restore`, `close`. Raises X150.

    `folder`: where the Lava backend puts its code, or, with `reuse`, where it finds it.
    """
    experiment, plan = compiled.experiment, compiled.plan
    protocol, samples, seeds = plan.protocol, plan.samples, list(experiment.run.seeds)
    if experiment.run.backend == "interpreter":
        from compiler.backends.interpreter_run import InterpreterRun

        return InterpreterRun(compiled.report.graph, protocol, samples, seeds)
    from compiler.backends.lowering.program import lower

    program = lower(compiled.report.graph, compiled.observed)
    if experiment.run.backend == "native":
        from compiler.backends.native import Native

        return Native(program, protocol, samples, seeds)
    block = first_block(program, experiment.run.block_ms)
    options: dict[str, Any] = {"reuse": True} if reuse else {}
    return lava_run()(program, protocol, samples, seeds, folder=folder, block=block, **options)


def lava_run() -> Any:
    """The Lava backend's runner class. Raises X150 where Lava is not installed."""
    import importlib.util

    if importlib.util.find_spec("lava") is None:
        raise CortexError("X150", "the backend 'lava' is not installed.",
                          "pip install 'cortexc[lava]' on Python 3.10, or use --backend native.")
    from compiler.backends.lava import LavaRun

    return LavaRun


def first_block(program: Any, milliseconds: float) -> int:
    """Steps in a block of about that duration, estimated from operations and synapses."""
    synapses = sum(size for name, size in program.slots.sizes.items() if name.endswith(".w"))
    microseconds = 0.04 * len(program.step) + 0.0015 * synapses + 0.02 * program.noise_width
    return int(np.clip(milliseconds * 1000 / max(microseconds, 1e-3), 1, _most_steps(program.noise_width)))


def _most_steps(noise_width: int) -> int:
    """A block's arrays stay within BLOCK_BYTES."""
    return max(1, min(50_000, BLOCK_BYTES // (8 * (noise_width + 16))))


class Session:
    """One run of an experiment. `folder`: its run folder (checkpoints and results go there), or None."""

    def __init__(self, experiment: Experiment, folder: str | Path | None = None, *, progress: Progress | None = None,
                 code_folder: Path | None = None, reuse: bool = False):
        self.experiment = experiment
        self.folder = None if folder is None else writable_folder(folder)
        self.compiled = compile_experiment(experiment)
        self.identity = self.compiled.identity()
        self.progress, self.seconds = progress, dict(self.compiled.seconds)
        with self._timed("compile"):
            self.runner = make_runner(self.compiled, code_folder, reuse)
        self.resumed_from = 0
        self.steps_run = 0
        self.signal = 0
        self.last_checkpoint = time.monotonic()
        self.chunk = 0

    @property
    def plan(self) -> Plan:
        return self.compiled.plan

    @property
    def position(self) -> int:
        """Network steps done."""
        return int(self.runner.feed.position)

    @property
    def total(self) -> int:
        return self.plan.protocol.total

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    # ---- running

    def resume(self) -> int:
        """Continues from the folder's checkpoint; returns its position. Raises X140 to X145."""
        assert self.folder is not None
        with self._timed("resume"):
            self.resumed_from = load_checkpoint(self.folder / NAME, self.runner, self.identity)
        return self.resumed_from

    def run(self, steps: int | None = None) -> int:
        """Advances by `steps`, or to `run.until_epoch`; returns the position. Raises Interrupted on a signal."""
        end = self.plan.end_of_epoch(self.experiment.run.until_epoch) if steps is None else self.position + steps
        end = min(end, self.total)
        with self._signals():
            if self.position < end:
                with self._timed("start"):
                    self._advance(1)
            with self._timed("run"):
                self._run_to(end)
        return self.position

    def _run_to(self, end: int) -> None:
        position, start, first = self.position, time.perf_counter(), self.position
        while position < end:
            self._stop_if_asked(position)
            before = time.perf_counter()
            position = self._advance(min(self._chunk(), end - position))
            self._adapt(time.perf_counter() - before)
            self._report(position, end, (position - first) / (time.perf_counter() - start))
            if self.folder and time.monotonic() - self.last_checkpoint >= self.experiment.run.checkpoint_seconds:
                self.checkpoint()
        self._stop_if_asked(position)
        self.steps_run += position - first

    def _advance(self, steps: int) -> int:
        """One call of the backend; its report of a signal becomes ours."""
        try:
            return self.runner.run(steps, block=steps)
        except CortexError as error:
            number = getattr(error.__cause__, "signal", None)
            if error.code != "E704" or number is None:
                raise
            consistent = getattr(error.__cause__, "consistent", False)
            raise self._interrupted(number, consistent) from None

    def _chunk(self) -> int:
        if not self.chunk:
            program = getattr(self.runner, "program", None)
            self.chunk = 20 if program is None else first_block(program, self.experiment.run.block_ms)
        return self.chunk

    def _adapt(self, seconds: float) -> None:
        """The next call takes about `block_ms` (on Lava, where a call costs more, at least half a second)."""
        aimed = self.experiment.run.block_ms / 1000
        aimed = max(aimed, 0.5) if self.experiment.run.backend == "lava" else aimed
        width = self.runner.feed.noise.width
        factor = np.clip(aimed / max(seconds, 1e-6), 0.25, 4.0)
        most = 10**7 if self.experiment.run.backend == "lava" else _most_steps(width)
        self.chunk = int(np.clip(self.chunk * factor, 1, most))

    def _report(self, position: int, end: int, speed: float) -> None:
        if self.progress:
            self.progress(position, end, speed)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the run at the next block boundary; a second SIGINT at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for number in held:
                signal.signal(number, self._on_signal)
            yield
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def _stop_if_asked(self, position: int) -> None:
        if self.signal:
            raise self._interrupted(self.signal, True)

    def _interrupted(self, number: int, consistent: bool) -> Interrupted:
        path = self.checkpoint() if self.folder and consistent else None
        if path is None and self.folder and (self.folder / NAME).exists():
            path = self.folder / NAME
        return Interrupted(number, self.position, path)

    def checkpoint(self) -> Path:
        """Writes the checkpoint into the folder. Raises X131; the previous one is then intact."""
        assert self.folder is not None
        with self._timed("checkpoints"):
            save_checkpoint(self.folder / NAME, self.runner, self.identity)
        self.last_checkpoint = time.monotonic()
        return self.folder / NAME

    def close(self) -> None:
        self.runner.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- results

    def weights(self) -> dict[str, np.ndarray]:
        """All weights now: `projection.w` -> (copies, n_post, n_pre)."""
        graph = self.compiled.report.graph
        kept = [q.name for q in graph.projections if graph.class_of(q.name).connectivity != "identity"]
        return {f"{name}.w": self.runner.value(f"{name}.w") for name in kept}

    def states(self) -> dict[str, np.ndarray]:
        """Every state of every population that the program keeps: `population.state` -> (batch, n)."""
        graph = self.compiled.report.graph
        names = [f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states]
        return {name: value for name in names if (value := self._value(name)) is not None}

    def arrays(self) -> dict[str, np.ndarray]:
        """What a new run of the circuit can start from: weights, optimiser and synaptic states, and the states of
        those populations of which a pass has removed none; in the shape in which a graph binds them."""
        graph, states = self.compiled.graph, self.states()
        found = self.weights()
        for q in graph.projections:
            rule = graph.rule_of(q)
            keys = [rule.optimiser.kind, *(s.name for s in rule.states)] if rule else []
            values = {f"{q.name}.{key}": self._value(f"{q.name}.{key}") for key in keys if key != "none"}
            found |= {name: value for name, value in values.items() if value is not None}
        for p in graph.populations:
            names = [f"{p.name}.{s.name}" for s in graph.cell(p.cell).states]
            found |= {name: states[name] for name in names} if set(names) <= set(states) else {}
        return found if graph.batch > 1 else {name: array[0] for name, array in found.items()}

    def _value(self, name: str) -> np.ndarray | None:
        try:
            return self.runner.value(name)
        except KeyError:
            return None

    def scores(self) -> list[figures.Score]:
        return figures.scores(self.plan, self.experiment, self.runner.records, self.position)

    def results(self) -> dict[str, Any]:
        """What `run --json` prints and `results.json` holds. Raises X152 for weights that are not finite."""
        with self._timed("readout"):
            weights, found = self.weights(), self.scores()
            summaries = figures.summaries(self.plan, self.experiment,
                                          figures.curves(self.experiment, self.runner.records))
        tests = [score for score in found if score.phase == "test"]
        check_finite(weights)
        return {**self._basics(), **self._speed(), **self._seeds(weights, tests),
                "tests": _score_table(tests), "validations": _score_table([s for s in found if s.phase == "validation"]),
                "curves": summaries, "output": str(self.folder) if self.folder else None}

    def _basics(self) -> dict[str, Any]:
        run, backend = self.experiment.run, self.experiment.run.backend
        return {"name": self.experiment.name, "circuit": self.compiled.graph.name,
                "variant": self.experiment.model.options.get("variant"), "backend": backend,
                "granularity": run.granularity if backend == "lava" else "network", "completed": self.position >= self.total,
                "data": self.plan.source, "graph_sha256": self.identity.graph,
                "experiment_sha256": self.identity.experiment, "machine": machine(),
                "passes": [{"name": r.name, "seconds": r.seconds} for r in self.compiled.report.records]}

    def _speed(self) -> dict[str, Any]:
        seconds = self.seconds.get("run", 0.0) - self.seconds.get("checkpoints", 0.0)
        return {"steps": self.position, "total_steps": self.total, "resumed_from": self.resumed_from,
                "steps_per_second": self.steps_run / seconds if self.steps_run and seconds > 0 else 0.0,
                "wall_s": sum(v for k, v in self.seconds.items() if k != "checkpoints"), "seconds": dict(self.seconds)}

    def _seeds(self, weights: Mapping[str, np.ndarray], tests: list[figures.Score]) -> dict[str, Any]:
        seeds = self.experiment.run.seeds
        digests = [seed_sha256(weights, i, len(seeds)) for i in range(len(seeds))]
        last = tests[-1].accuracy if tests else [None] * len(seeds)
        rows = [{"seed": s, "test_accuracy": a, "weights_sha256": d} for s, a, d in zip(seeds, last, digests, strict=True)]
        whole = digests[0] if len(seeds) == 1 else arrays_sha256(dict(weights))
        return {"test_accuracy": tests[-1].mean if tests else None, "weights_sha256": whole, "seeds": rows}

    def save(self) -> dict[str, Any]:
        """Writes the run folder: graph, arrays, experiment, final arrays, recordings, checkpoint, results."""
        results = self.results()
        if self.folder is None:
            return results
        write_run_files(self.folder, self.compiled)
        write_safetensors(self.folder / "final.safetensors", self.arrays())
        write_safetensors(self.folder / "states.safetensors", self.states())
        arrays = figures.recorded_arrays(self.plan, self.runner.records)
        write_npz(self.folder / "records.npz", arrays | figures.curves(self.experiment, self.runner.records))
        self.checkpoint()
        write_json(self.folder / "results.json", results)
        return results


def write_run_files(folder: Path, compiled: Compiled) -> None:
    """graph.ir, arrays.safetensors and experiment.toml: what the run started from."""
    write_text(folder / "graph.ir", show_graph(compiled.graph))
    write_safetensors(folder / "arrays.safetensors", compiled.graph.arrays)
    write_text(folder / "experiment.toml", compiled.experiment.text())


def run_experiment(experiment: Experiment, folder: str | Path | None = None, *, steps: int | None = None,
                   resume: bool = False, progress: Progress | None = None,
                   compiled: Path | None = None) -> dict[str, Any]:
    """Runs an experiment and returns its results; with a folder, everything is kept there.

    `resume` continues from the folder's checkpoint. `compiled`: a folder whose Lava code is run as it is. Raises
    coded errors, and Interrupted on SIGINT or SIGTERM.
    """
    if resume and folder is None:
        raise CortexError("X140", "there is no run folder to resume from.", "Name it with -o.")
    code = compiled or code_folder(experiment, folder)
    reuse = compiled is not None and experiment.run.backend == "lava"
    with Session(experiment, folder, progress=progress, code_folder=code, reuse=reuse) as session:
        if resume:
            session.resume()
        if session.folder:
            (session.folder / "results.json").unlink(missing_ok=True)
            write_run_files(session.folder, session.compiled)
            session.checkpoint()
        session.run(steps)
        return session.save()


def code_folder(experiment: Experiment, folder: str | Path | None) -> Path | None:
    """Where the Lava backend puts its code: `lava` in the run folder."""
    return Path(folder) / "lava" if folder is not None and experiment.run.backend == "lava" else None


def seed_sha256(weights: Mapping[str, np.ndarray], index: int, seeds: int) -> str:
    """Digest of one seed's weights; the same whether the seed ran alone or in a batch."""
    own = {}
    for name, array in weights.items():
        share = len(array) // seeds or 1
        own[name] = array[0] if len(array) < seeds else array[index * share:(index + 1) * share]
        own[name] = own[name][0] if own[name].ndim > 2 and len(own[name]) == 1 else own[name]
    return arrays_sha256(own)


def check_finite(weights: Mapping[str, np.ndarray]) -> None:
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise CortexError("X152", f"'{name}' has {int((~np.isfinite(array)).sum())} values that are not finite at "
                                      "the end of the run.", "Lower the learning rates.")


def _score_table(found: list[figures.Score]) -> list[dict[str, Any]]:
    return [{"epoch": s.epoch + 1, "step": s.position, "accuracy": list(s.accuracy), "mean": s.mean} for s in found]


def machine() -> dict[str, Any]:
    """What ran it: for speed figures."""
    import os

    return {"system": platform.platform(), "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__}
