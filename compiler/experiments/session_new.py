Progress = Callable[[int, int, float], None]
"""Called as progress(position, end, steps per second) a few times a second."""


class Interrupted(Exception):
    """A signal ended the run at a block boundary. `checkpoint`: where it can be resumed, if it was written."""

    def __init__(self, signal_number: int, position: int, checkpoint: Path | None):
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} after {position} steps")
        self.signal, self.position, self.checkpoint = signal_number, position, checkpoint


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
