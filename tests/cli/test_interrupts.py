"""Signals from the first line of a command on: one coded line, the right exit code, nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import start_program

ROOT = Path(__file__).resolve().parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def started(code, folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CORTEXC_JIT": "0", "TMPDIR": str(folder)}
    return start_program([sys.executable, *code, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, start_new_session=True)


def handles_signals(process):
    """Waits until the program has handlers: before that, it is Python that starts."""
    deadline, bit = time.monotonic() + 20, 1 << (signal.SIGTERM - 1)
    while time.monotonic() < deadline and process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if int(status.split("SigCgt:")[1].split()[0], 16) & bit:
            return
        time.sleep(0.002)
    raise AssertionError("the program has no handlers")


def ended(process, seconds=15):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err.splitlines()


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("number", CODES)
def test_a_command_that_is_starting(tmp_path, number, delay):
    process = started(["-m", "cortexc.compiler.cli"], tmp_path, "run", "pal_digits", "--set", "run.backend=native")
    handles_signals(process)
    time.sleep(delay)
    process.send_signal(number)
    code, out, lines = ended(process)
    assert (code, out, len(lines)) == (CODES[number], "", 1)  # a slow sender may find it under way already
    assert re.match(rf"X191 interrupted by {signal.Signals(number).name}( after \d+ steps\. .*--resume.*)?\.", lines[0])


def test_a_module_that_is_being_imported_is_whole_before_the_command_ends(tmp_path):
    """Modules in C that are torn up while they import others print a traceback, and raise something else."""
    (tmp_path / "slow.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"
                                      "for _ in range(1000): pass\nopen('whole', 'w').close()\n")
    code = "import sys, time\nfrom cortexc.compiler.cli.stopping import run_stoppable\nsys.path.insert(0, '.')\n" \
           "def command(_):\n    import slow\n    time.sleep(20)\nsys.exit(run_stoppable(command, []))"
    assert ended(started(["-c", code], tmp_path)) == (143, "", ["X191 interrupted by SIGTERM."])
    assert (tmp_path / "whole").exists()


def test_with_json_the_line_is_an_object(tmp_path):
    process = started(["-m", "cortexc.compiler.cli"], tmp_path, "run", "pal_digits", "--json")
    handles_signals(process)
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process)
    assert (code, err) == (143, []) and json.loads(out)["error"]["code"] == "X191"


def test_what_is_ignored_stays_ignored(tmp_path):
    process = started(["-c", "import signal, os, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
                             "os.execv(sys.executable, [sys.executable, '-m', 'cortexc.compiler.cli', 'models'])"], tmp_path)
    handles_signals(process)
    process.send_signal(signal.SIGHUP)
    assert ended(process)[0] == 0


PROGRAM = """
import sys, time
from cortexc.compiler.cli import stopping

def ready():
    open("ready", "w").close()
    return time.sleep(30)

BODY
sys.exit(stopping.run_stoppable(command, sys.argv[1:]))
"""
SWALLOWING = """
def command(arguments):
    try:
        ready()
    except BaseException:
        pass
    time.sleep(30)
"""
HIDDEN = """
stopping.PATIENCE = 0.5
found = []

def command(arguments):
    while True:
        try:
            ready()
        except BaseException as error:
            found.append(error)
"""
DESTRUCTOR = """
class Waits:
    def __del__(self):
        ready()

def command(arguments):
    Waits()
    time.sleep(30)
"""
TORN = """
class Torn:
    def __init__(self):
        ready()
        self.handle = 1

    def __del__(self):
        del self.handle

def command(arguments):
    Torn()
"""
PRINTED = """
import ctypes

def command(arguments):
    ctypes.pythonapi.PyRun_SimpleString(b"ready()")  # prints what comes, as an import in C does
    raise ImportError("another one")
"""
HANGING = """
import multiprocessing, tempfile

def command(arguments):
    folder = tempfile.TemporaryDirectory(prefix="cortexc_")
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,)).start()
    try:
        ready()
    finally:
        time.sleep(30)
"""


def program(body, folder):
    process = started(["-c", PROGRAM.replace("BODY", body)], folder)
    deadline = time.monotonic() + 20
    while not (folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("body", [SWALLOWING, HIDDEN, DESTRUCTOR, TORN, PRINTED],
                         ids=["swallowed", "kept", "in a destructor", "torn", "printed"])
def test_a_signal_that_gets_lost_ends_the_command_all_the_same(tmp_path, body):
    process = program(body, tmp_path)
    process.send_signal(signal.SIGTERM)
    assert ended(process, 8) == (143, "", ["X191 interrupted by SIGTERM."])


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_fault_of_the_compiler_is_neither_diverged_nor_wrong_input(tmp_path, arguments):
    process = started(["-c", PROGRAM.replace("BODY", "def command(arguments):\n    return 1 // 0")], tmp_path, *arguments)
    code, out, err = ended(process)
    assert code == 3 and err[0].startswith("Traceback")
    assert (json.loads(out)["error"]["code"] if arguments else err[-1].split()[0]) == "X196"


def test_a_second_signal_ends_at_once_and_leaves_nothing(tmp_path):
    process = program(HANGING, tmp_path)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # the same one, from the terminal and from its group
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process, 5) == (130, "", ["X191 interrupted by SIGINT."])
    assert not list(tmp_path.glob("cortexc_*"))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
