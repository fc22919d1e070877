"""A seeded fuzzer of every door into the product: `python tests/fuzz/fuzz.py --inputs 100000` (or `make fuzz`).

A worker makes input after input from (seed, number) and says what came of each: `accepted`, `refused CODE`, or what must
never be: `uncaught TYPE`, `executed`, `memory`, `hang`, `died`. The parent ends a worker that takes over ten seconds for
an input, and goes on with the next. Exits with 1 if anything happened that must not; `--only N` repeats one input.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import CodeType

HERE = Path(__file__).resolve().parent
LONGEST, STARTING, MEMORY = 10.0, 120.0, 2 * 2**30
"""Seconds for one input and for the worker's start; bytes beyond those of the worker before its first input."""
FINE = ("accepted", "refused")


# ---- the worker


def work(seed: int, first: int, last: int) -> None:
    """Says a line of JSON per input: number, door, outcome, and where it is not fine the traceback."""
    sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]
    voice = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory(prefix="cortexc_fuzz_") as folder:
        os.chdir(folder)
        os.environ |= {"CORTEXC_CACHE": folder, "CORTEXC_JIT": "0"}
        import doors as module
        from mutations import MARK

        exec(os.environ.get("CORTEXC_FUZZ_FAULT", ""), {"doors": module})  # a fault that the fuzzer's own test plants
        doors, watch = module.Doors(Path(folder)), Watch(MARK)
        _limit_memory()
        for number in range(first, last):
            print(json.dumps({"number": number}), file=voice)
            print(json.dumps({"number": number, **outcome(doors, watch, seed, number)}), file=voice)


def _limit_memory() -> None:
    now = next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").read_text().splitlines()
               if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


class Watch:
    """Whether data has run as code: a file of the mark's name, or a code object that holds it."""

    def __init__(self, mark: str):
        self.mark, self.seen = mark, False
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "exec" and isinstance(arguments[0], CodeType) and self._holds(arguments[0]):
            self.seen = True
        if event in ("os.system", "subprocess.Popen") and self.mark in str(arguments):
            self.seen = True

    def _holds(self, code: CodeType) -> bool:
        """In a name, or in a string that is called upon; a docstring that quotes the mark is data."""
        parts = [c for c in code.co_consts if isinstance(c, CodeType)]
        return any(self.mark in name for name in code.co_names) or any(map(self._holds, parts))

    def fired(self) -> bool:
        files = [Path(self.mark), *Path().glob(f"*/{self.mark}")]
        there = [path for path in files if path.exists()]
        for path in there:
            path.unlink()
        found, self.seen = self.seen or bool(there), False
        return found


def outcome(doors, watch: Watch, seed: int, number: int) -> dict:
    import numpy as np

    rng = np.random.default_rng([seed, number])
    names = list(doors.table)
    door = names[number % len(names)]
    result: dict = {"door": door}
    try:
        doors.table[door](rng)
        result["outcome"] = "accepted"
    except MemoryError:
        result |= {"outcome": "memory", "traceback": traceback.format_exc(limit=-6)}
    except RecursionError:
        result |= {"outcome": "uncaught RecursionError", "traceback": traceback.format_exc(limit=-4)}
    except Exception as error:
        code = getattr(error, "code", None)
        result["outcome"] = f"refused {code}" if isinstance(code, str) else f"uncaught {type(error).__name__}"
        if not isinstance(code, str):
            result["traceback"] = traceback.format_exc(limit=-6)
    if watch.fired():
        result |= {"outcome": "executed", "traceback": ""}
    return result


# ---- the parent


class Worker:
    def __init__(self, seed: int, first: int, last: int):
        command = [sys.executable, str(HERE / "fuzz.py"), "--worker", str(seed), str(first), str(last)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True, bufsize=1)
        self.started: int | None = None

    def line(self, seconds: float) -> dict | None:
        """The next line; None where none came in time, or none will."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        text = self.process.stdout.readline() if ready else ""
        return json.loads(text) if text else None

    def end(self) -> str:
        """How it ended: `hang` if it had to be ended."""
        hung = self.process.poll() is None and self.process.stdout is not None and not self._closed()
        if hung:
            self.process.kill()
        self.process.wait()
        return "hang" if hung else f"died {self.process.returncode}"

    def _closed(self) -> bool:
        try:
            self.process.wait(timeout=2)
            return True
        except subprocess.TimeoutExpired:
            return False

    def said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-2000:]


def fuzz(inputs: int, seed: int, first: int = 0, longest: float = LONGEST, show: bool = False) -> list[dict]:
    """Outcomes of all inputs, in order."""
    found: list[dict] = []
    last = first + inputs
    worker = Worker(seed, first, last)
    started, patience = first, STARTING
    while len(found) < inputs:
        line = worker.line(patience)
        if line is None:
            how = worker.end()
            found.append({"number": started, "door": "", "outcome": how, "traceback": worker.said()})
            worker, started, patience = Worker(seed, started + 1, last), started + 1, STARTING
        elif "outcome" not in line:
            started, patience = line["number"], longest
        else:
            found.append(line)
            started, patience = line["number"] + 1, STARTING
        if show and found and len(found) % 1000 == 0 and (line is None or "outcome" in line):
            print(f"{len(found)} of {inputs}: {len(wrong(found))} wrong", file=sys.stderr, flush=True)
    worker.process.wait()
    return found


def wrong(found: list[dict]) -> list[dict]:
    return [each for each in found if each["outcome"].split()[0] not in FINE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds for one input")
    parser.add_argument("--only", type=int, help="repeat one input")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(*options.worker)
    begin = time.monotonic()
    first, inputs = (options.first, options.inputs) if options.only is None else (options.only, 1)
    found = fuzz(inputs, options.seed, first, options.longest, show=not options.json)
    counts = Counter((each["door"], each["outcome"]) for each in found)
    kinds = Counter(each["outcome"].split()[0] for each in found)
    report = {"inputs": len(found), "seed": options.seed, "seconds": round(time.monotonic() - begin, 1),
              "outcomes": dict(kinds), "doors": {}, "wrong": wrong(found)[:200]}
    for (door, what), count in sorted(counts.items()):
        report["doors"].setdefault(door, {})[what] = count
    print(json.dumps(report, indent=1) if options.json else told(report))
    sys.exit(bool(report["wrong"]))


def told(report: dict) -> str:
    lines = [f"{report['inputs']} inputs in {report['seconds']} s: "
             + ", ".join(f"{count} {kind}" for kind, count in sorted(report["outcomes"].items()))]
    for door, outcomes in report["doors"].items():
        lines += [f"  {door}: " + ", ".join(f"{count} {what}" for what, count in outcomes.items())]
    for each in report["wrong"]:
        lines += [f"input {each['number']} ({each['door']}): {each['outcome']}", each.get("traceback", "")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
