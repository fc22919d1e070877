"""Runs of experiments: a backend, its checkpoints, and signals.

    experiment = load_experiment("pal_digits", ["run.backend=native"])
    results = run_experiment(experiment, "runs/digits")
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.backends.blocks import Blocks
from cortexc.compiler.experiments import quantities
from cortexc.compiler.experiments.checkpoints import NAME, open_checkpoint, save_checkpoint
from cortexc.compiler.experiments.compilation import make_runner
from cortexc.compiler.experiments.config import Experiment
from cortexc.compiler.experiments.files import held, user_path, writable_folder, write_json
from cortexc.compiler.experiments.results import (
    RESULTS,
    check_finite,
    check_not_compiled,
    check_run_folder,
    remove_results,
    results,
    still_numbers,
    write_arrays,
    write_report,
    write_start,
)
from cortexc.compiler.experiments.running import Running
from cortexc.compiler.experiments.tasks.plans import check_steps
from cortexc.compiler.experiments.underflow import announce
from cortexc.compiler.ir import CortexError

Progress = Callable[[int, int, float], None]
"""Called as progress(position, end, steps per second) after every block."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TWICE = 0.5
"""Seconds within which two signals are taken for one, sent to the process and to its group."""


class Interrupted(Exception):
    """A signal ended the run at a block boundary. `checkpoint`: where it can be resumed, if it was written."""

    def __init__(self, signal_number: int, position: int, checkpoint: Path | None):
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} after {position} steps")
        self.signal, self.position, self.checkpoint = signal_number, position, checkpoint

    def __reduce__(self) -> tuple[type, tuple[int, int, Path | None]]:
        return type(self), (self.signal, self.position, self.checkpoint)


class Session(Running):
    """One run of an experiment. `folder`: its run folder (for checkpoints and results), or None.

    `code`: where the Lava backend puts its code. `edited`: a compiled folder whose Lava code is run instead.
    `force`: a checkpoint that is in the folder already may be overwritten.
    """

    def __init__(self, experiment: Experiment, folder: str | Path | None = None, *, progress: Progress | None = None,
                 code: Path | None = None, edited: Path | None = None, force: bool = False):
        super().__init__(experiment, None if folder is None else writable_folder(folder), code, edited)
        self.progress = progress
        announce(self.compiled.underflow)
        pace = replace(self.runner.pace, most=min(self.runner.pace.most, self.windows.most))
        self.blocks = Blocks(pace, experiment.run.block_ms)
        self.signal, self.signalled = 0, 0.0
        self.last_checkpoint = time.monotonic()
        self.owns_checkpoint, self.closed, self.numbers = force, False, True
        self.parameters: dict[str, np.ndarray] = {}

    def close(self) -> None:
        """Ends the backend; what was read before stays, and `run` raises X207."""
        self.closed = True
        self.runner.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what is read and set between steps

    def get(self, name: str) -> np.ndarray:
        """A quantity after the last step, by its name in the graph: `W.w`, `B.v`, `B.tau`, `W.eta`; a copy, in the
        shape of an array of the graph. Raises X201, X202."""
        return quantities.get(self, name)

    def set(self, name: str, value: Any) -> None:
        """Sets a weight, a state or a parameter, from the next step on; a part of the checkpoint. Of a state it is the
        latest value, which the next step reads as `prev`; older ones stay. Raises X201 to X204, and changes nothing
        then. On Lava, a parameter starts the network anew."""
        if name in quantities.parameters(self.compiled.graph):
            self._set_parameters({name: quantities.fitting_parameter(self.compiled.graph, name, value)})
        else:
            quantities.set_state(self, name, value)
        self.changes.append([self.position, name])

    def _set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """A runner of the program with these values goes on where the present one is."""
        compiled = quantities.with_parameters(self, values)
        for name in quantities.waiting(self.compiled.report.graph):
            self.runner.put(name, self.runner.value(name))
        state = self.runner.state()
        runner = make_runner(compiled, self.code, self.edited)
        fresh = runner.state()
        kept = {name: array for name, array in state.items() if name.removeprefix("memory.") not in values}
        runner.restore({**fresh, **kept})
        self.runner.close()
        self.runner, self.compiled = runner, compiled
        self.parameters |= values

    # ---- running

    def step(self, steps: int = 1) -> int:
        """Advances by so many network steps (fewer at the end of the protocol); returns the position."""
        return self.run(steps)

    def run(self, steps: int | None = None) -> int:
        """Advances by `steps`, or to `run.until_epoch`; returns the position. Raises Interrupted on a signal.

        The first checkpoint is written before the first step; X146 if another run's is in the folder. Raises X205
        and X207.
        """
        check_steps(steps)
        if self.closed:
            raise CortexError("X207", "the session is closed.", "Begin a new one; it can resume from a checkpoint.")
        end = self.plan.end_of_epoch(self.experiment.run.until_epoch) if steps is None else self.position + steps
        end = min(end, self.total)
        if self.checkpoints and not self.owns_checkpoint:
            self.checkpoint()
        if self.position < end:
            with self.timed("start"):  # compiles; Ctrl-C ends it at once, since nothing can be lost yet
                self._advance(1)
        with self._signals(), self.timed("run"):
            self._run_to(end)
        return self.position

    def _run_to(self, end: int) -> None:
        position = first = self.position
        start = time.perf_counter()
        while position < end:
            self._stop_if_asked()
            before = time.perf_counter()
            position = self._advance(min(self.blocks.steps, end - position))
            self.blocks.took(time.perf_counter() - before)
            if self.progress:
                self.progress(position, end, (position - first) / (time.perf_counter() - start))
            if self.checkpoints and time.monotonic() - self.last_checkpoint >= self.experiment.run.checkpoint_seconds:
                before = time.perf_counter()
                self.checkpoint()
                self.numbers = self.numbers and still_numbers(self)
                self.run_checkpoints += time.perf_counter() - before
        self.steps_run += position - first
        self._stop_if_asked()

    def _advance(self, steps: int) -> int:
        """One call of the backend; a signal that it reports becomes Interrupted."""
        try:
            position = self.runner.run(steps, block=steps)
            self.windows.take(self.runner)
            return position
        except CortexError as error:
            number = getattr(error.__cause__, "signal", None)
            if error.code == "E704" and number is not None:
                raise self._interrupted(number, getattr(error.__cause__, "consistent", False)) from None
            if not (self.folder and (self.folder / NAME).exists()):
                raise
            hint = f"{error.hint} The last checkpoint is intact; go on with --resume."
            raise type(error)(error.code, error.message, hint.strip()) from error

    # ---- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP stop the run at the next block boundary; a second one at once.

        Those that the program ignores stay ignored, and other threads than the main one get none.
        """
        here = threading.current_thread() is threading.main_thread()
        handlers = {number: signal.getsignal(number) for number in SIGNALS if here}
        held = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
        try:
            for number in held:
                signal.signal(number, self._on_signal)
            yield
        except KeyboardInterrupt:
            if not self.signal:
                raise
            raise self._interrupted(self.signal, False) from None
        finally:
            for number, handler in held.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if self.signal and now - self.signalled > TWICE:
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self.signalled = number, now

    def _stop_if_asked(self) -> None:
        if self.signal:
            raise self._interrupted(self.signal, True)

    def _interrupted(self, number: int, consistent: bool) -> Interrupted:
        path = self.checkpoint() if self.checkpoints and consistent else None
        if path is None and self.folder and (self.folder / NAME).exists():
            path = self.folder / NAME
        return Interrupted(number, self.position, path)

    # ---- checkpoints

    @property
    def checkpoints(self) -> bool:
        """Whether they are written; stock Lava processes keep buffers of their own."""
        return self.folder is not None and not self.experiment.run.stock

    def checkpoint(self) -> Path:
        """Writes the checkpoint into the folder. Raises X131, X146; the previous one is then intact."""
        assert self.folder is not None
        if not self.owns_checkpoint:
            check_run_folder(self.folder, (NAME,))
        save_checkpoint(self.folder / NAME, self.runner, self.identity, self.parameters, self.changes,
                        self.windows.arrays())
        self.owns_checkpoint = True
        self.last_checkpoint = time.monotonic()
        return self.folder / NAME

    def resume(self) -> int:
        """Continues from the folder's checkpoint; returns its position. Raises X140 to X145."""
        assert self.folder is not None
        with self.timed("resume"):
            found = open_checkpoint(self.folder / NAME, self.identity)
            if found.parameters:
                self._set_parameters(found.parameters)
            self.resumed_from = found.restore(self.runner)
            self.windows.restore(found.taken, self.runner)
            self.parameters, self.changes = found.parameters, found.changes
        self.owns_checkpoint = True
        return self.resumed_from


def run_experiment(experiment: Experiment, folder: str | Path | None = None, *, steps: int | None = None,
                   resume: bool = False, force: bool = False, progress: Progress | None = None,
                   edited: Path | None = None) -> dict[str, Any]:
    """Runs an experiment and returns its results; with a folder, everything is kept there.

    `resume` continues from the folder's checkpoint, and starts at the beginning, saying so on stderr, where there is
    none. `force` replaces the run that the folder holds. `edited`: a compiled folder whose Lava code is run. Raises
    coded errors (X146 for a folder with a run, before any work; X149 for one that another run writes to; X147 for
    `resume` with `force`; X152 for weights that are not finite at the end), and Interrupted on SIGINT, SIGTERM or
    SIGHUP.
    """
    folder = None if folder is None else user_path(folder)
    with held(folder):
        goes_on = _goes_on(folder, resume, force)
        code = folder / "lava" if folder is not None else None
        with Session(experiment, folder, progress=progress, code=code, edited=edited, force=force) as session:
            if goes_on:
                session.resume()
            return _to_the_end(session, steps)


def _to_the_end(session: Session, steps: int | None) -> dict[str, Any]:
    """Its results, which its folder has, too."""
    if session.checkpoints:
        session.checkpoint()
    if session.folder:
        remove_results(session.folder)
        write_start(session.folder, session.compiled)
    session.run(steps)
    table = results(session)
    if session.folder:
        write_arrays(session, session.folder)
        write_report(session, session.folder, table)
        if session.checkpoints:
            session.checkpoint()
        write_json(session.folder / RESULTS, table)
    announce(session.underflow, session.compiled.underflow)
    check_finite(session)
    return table


def _goes_on(folder: Path | None, resume: bool, force: bool) -> bool:
    """Whether the run continues from the folder's checkpoint. Raises X132, X140, X146, X147."""
    if resume and force:
        raise CortexError("X147", "--resume goes on with the run that the folder holds, --force replaces it; both were "
                                  "given.", "Give one of them.")
    if folder is None:
        if resume:
            raise CortexError("X140", "there is no run folder to resume from.", "Name it with -o.")
        return False
    check_not_compiled(folder)
    if resume and (folder / NAME).exists():
        return True
    if not force:
        check_run_folder(folder)
    if resume:
        print(f"no checkpoint in '{folder}': the run starts at the beginning.", file=sys.stderr)
    return False
