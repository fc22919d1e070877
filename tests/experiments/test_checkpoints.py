"""Checkpoints: a resumed run ends with the same bits, and whatever is wrong with a file is a coded error."""

import errno
import os
import pickle
import signal
import time
import warnings

import numpy as np
import pytest

from cortexc.compiler.experiments import files
from cortexc.compiler.experiments.checkpoints import NAME, read_checkpoint
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Interrupted, Session, run_experiment
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.errors import CortexWarning


def records_of(folder):
    with np.load(folder / "records.npz") as archive:
        return {name: archive[name] for name in archive.files}


def split_run(tables, folder, stops, **overrides):
    """Runs in pieces, each in a session of its own, and to the end."""
    for stop in stops:
        with Session(load_experiment(tables, overrides), folder) as session:
            if (folder / NAME).exists():
                session.resume()
            session.run(stop - session.position)
            session.checkpoint()
    return run_experiment(load_experiment(tables, overrides), folder, resume=True)


@pytest.mark.parametrize("backend", ["native", "interpreter"])
@pytest.mark.parametrize("noise", ["counter", "legacy"])
def test_a_resumed_run_ends_with_the_same_bits(tiny_classification, tmp_path, noise, backend):
    tiny_classification["run"] |= {"noise": noise, "backend": backend}
    tiny_classification["record"] = {"w": {"every": 17, "quantities": ["BPP_0.w", "P0.rate"]}}
    whole = run_experiment(load_experiment(tiny_classification), tmp_path / "whole")
    pieces = split_run(tiny_classification, tmp_path / "pieces", [3, 77, 195])
    assert pieces["weights_sha256"] == whole["weights_sha256"] and pieces["tests"] == whole["tests"]
    assert pieces["validations"] == whole["validations"] and pieces["resumed_from"] == 195
    ours, theirs = records_of(tmp_path / "pieces"), records_of(tmp_path / "whole")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_the_published_task_resumes_in_the_middle_of_an_epoch(tiny_feedback, tmp_path):
    whole = run_experiment(load_experiment(tiny_feedback), tmp_path / "whole")
    pieces = split_run(tiny_feedback, tmp_path / "pieces", [5, 14, 43])
    assert pieces["weights_sha256"] == whole["weights_sha256"] and pieces["curves"] == whole["curves"]


def test_states_are_the_same_too(tiny_feedback, tmp_path):
    run_experiment(load_experiment(tiny_feedback), tmp_path / "whole")
    split_run(tiny_feedback, tmp_path / "pieces", [20])
    arrays = [read_checkpoint(tmp_path / run / NAME)[1] for run in ("whole", "pieces")]
    assert set(arrays[0]) == set(arrays[1])
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


def test_a_run_goes_on_with_another_epoch_limit(tiny_classification, tmp_path):
    whole = run_experiment(load_experiment(tiny_classification))
    run_experiment(load_experiment(tiny_classification, {"run.until_epoch": 1}), tmp_path)
    assert run_experiment(load_experiment(tiny_classification), tmp_path, resume=True)["tests"] == whole["tests"]


def test_a_second_signal_does_not_wait_for_the_block(tiny_feedback, tmp_path):
    def press(position, end, speed):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # the same one, from the process's group
        time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the run went on")

    with pytest.raises(Interrupted) as caught:
        run_experiment(load_experiment(tiny_feedback), tmp_path, progress=press)
    assert caught.value.signal == signal.SIGTERM and caught.value.checkpoint == tmp_path / NAME
    assert pickle.loads(pickle.dumps(caught.value)).checkpoint == tmp_path / NAME
    resumed = run_experiment(load_experiment(tiny_feedback), tmp_path, resume=True)
    assert resumed["weights_sha256"] == run_experiment(load_experiment(tiny_feedback))["weights_sha256"]


def test_signals_that_the_program_ignores_stay_ignored(tiny_feedback):
    held = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        found = run_experiment(load_experiment(tiny_feedback), progress=lambda *_: os.kill(os.getpid(), signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, held)
    assert found["steps"] == found["total_steps"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_a_block_and_the_run_resumes(tiny_feedback, tmp_path, number):
    tiny_feedback["protocol"]["epochs"] = 400
    held = signal.getsignal(number)

    def press(position, end, speed):
        if position > 30:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted) as caught:
        run_experiment(load_experiment(tiny_feedback, {"run.block_ms": 1}), tmp_path, progress=press)
    assert signal.getsignal(number) is held
    error = caught.value
    assert error.signal == number and error.checkpoint == tmp_path / NAME
    assert int(read_checkpoint(tmp_path / NAME)[0]["position"]) == error.position > 0
    resumed = run_experiment(load_experiment(tiny_feedback), tmp_path, resume=True, steps=40)
    whole = run_experiment(load_experiment(tiny_feedback), steps=error.position + 40)
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_checkpoints_come_by_the_clock(tiny_feedback, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("cortexc.compiler.experiments.session.save_checkpoint",
                        lambda path, runner, *more: made.append(int(runner.feed.position)))
    tiny_feedback["protocol"]["epochs"] = 30
    with Session(load_experiment(tiny_feedback, {"run.checkpoint_seconds": 0, "run.block_ms": 5}), tmp_path) as session:
        session.run()
    assert len(made) > 3 and made == sorted(made)


def test_a_run_that_is_no_longer_numbers_says_so_at_its_next_checkpoint(tiny_feedback, tmp_path):
    tiny_feedback["protocol"]["epochs"] = 30
    found = load_experiment(tiny_feedback, {"run.checkpoint_seconds": 0, "run.block_ms": 5})
    with warnings.catch_warnings(record=True) as said, Session(found, tmp_path) as session:
        warnings.simplefilter("always")
        session.run(20)
        weights = session.runner.value("WPP_0.w")
        session.runner.put("WPP_0.w", np.full(weights.shape, np.nan))
        session.run()
    (told,) = [str(each.message) for each in said if each.category is CortexWarning]
    assert told.startswith("X206 'WPP_0.w'") and 20 < int(told.split(" after ")[1].split()[0]) < session.total


@pytest.mark.parametrize("damage, code", [
    (lambda b: b[:len(b) // 2], "X141"), (lambda b: b[:5], "X141"), (lambda b: b"", "X141"),
    (lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:], "X141"), (lambda b: b"not a checkpoint at all", "X141"),
    (lambda b: b.replace(b'"format":"1"', b'"format":"9"'), "X142")])
def test_damaged_checkpoints_are_coded(tiny_feedback, tmp_path, damage, code):
    run_experiment(load_experiment(tiny_feedback), tmp_path)
    content = (tmp_path / NAME).read_bytes()
    assert damage(content) != content
    (tmp_path / NAME).write_bytes(damage(content))
    assert resume_code(tiny_feedback, tmp_path) == code


def resume_code(tables, folder, **overrides):
    with pytest.raises(CortexError) as caught:
        run_experiment(load_experiment(tables, overrides), folder, resume=True)
    return caught.value.code


def test_foreign_checkpoints_are_coded(tiny_feedback, tmp_path):
    run_experiment(load_experiment(tiny_feedback), tmp_path)
    assert resume_code(tiny_feedback, tmp_path, **{"model.eta_bw": 3}) == "X143"
    assert resume_code(tiny_feedback, tmp_path, **{"run.seeds": [123, 457]}) == "X143"
    assert resume_code(tiny_feedback, tmp_path, **{"protocol.epochs": 5}) == "X144"
    assert resume_code(tiny_feedback, tmp_path, **{"run.backend": "interpreter"}) == "X145"
    with Session(load_experiment(tiny_feedback), tmp_path / "nothing") as session, pytest.raises(CortexError) as caught:
        session.resume()
    assert caught.value.code == "X140"
    with pytest.raises(CortexError) as caught:
        run_experiment(load_experiment(tiny_feedback), None, resume=True)
    assert caught.value.code == "X140"


def test_a_session_neither_overwrites_nor_misses_a_checkpoint(tiny_feedback, tmp_path):
    with Session(load_experiment(tiny_feedback), tmp_path) as session:
        session.run(5)
        assert read_checkpoint(tmp_path / NAME)[0]["position"] == "0"
        session.checkpoint()
    for act in (Session.run, Session.checkpoint):
        with Session(load_experiment(tiny_feedback), tmp_path) as session, pytest.raises(CortexError) as caught:
            act(session)
        assert caught.value.code == "X146" and read_checkpoint(tmp_path / NAME)[0]["position"] == "5"
    with Session(load_experiment(tiny_feedback), tmp_path, force=True) as session:
        session.checkpoint()
    assert read_checkpoint(tmp_path / NAME)[0]["position"] == "0"


def test_other_data_are_another_experiment(tiny_classification, tmp_path):
    run_experiment(load_experiment(tiny_classification), tmp_path / "run")
    with np.load(tiny_classification["data"]["name"]) as archive:
        arrays = dict(archive)
    np.savez(tiny_classification["data"]["name"], **{**arrays, "train_x": arrays["train_x"] + 1e-9})
    assert resume_code(tiny_classification, tmp_path / "run") == "X144"


def test_a_full_disk_is_an_error_and_the_last_checkpoint_stays(tiny_feedback, tmp_path, monkeypatch):
    with Session(load_experiment(tiny_feedback), tmp_path) as session:
        session.run(20)
        session.checkpoint()
        session.run(7)
        monkeypatch.setattr(files, "open", FullDisk, raising=False)
        with pytest.raises(CortexError) as caught:
            session.checkpoint()
    assert caught.value.code == "X131" and "No space left" in str(caught.value)
    monkeypatch.undo()
    monkeypatch.setenv("CORTEXC_JIT", "0")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert read_checkpoint(tmp_path / NAME)[0]["position"] == "20"
    whole = run_experiment(load_experiment(tiny_feedback))
    assert run_experiment(load_experiment(tiny_feedback), tmp_path, resume=True)["curves"] == whole["curves"]


class FullDisk:
    """A file that takes 100 bytes."""

    def __init__(self, path, mode):
        self.file = open(path, mode)  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        self.file.write(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_interrupted_write_leaves_nothing_half_written(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        files.write_text(tmp_path / "a.txt", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "old")]


def test_checkpoints_are_quick(tiny_feedback, tmp_path):
    with Session(load_experiment(tiny_feedback), tmp_path) as session:
        session.run(5)
        start = time.perf_counter()
        session.checkpoint()
        assert time.perf_counter() - start < 1
