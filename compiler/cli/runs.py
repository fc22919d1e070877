"""Commands that run circuits: run, verify, sweep, bench."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from cortexc.compiler.bench import BENCHMARKS
from cortexc.compiler.cli.command import (
    DataDir,
    Folder,
    Granularity,
    Named,
    Set,
    Steps,
    command,
    experiments,
    load,
    runs_code_in,
)
from cortexc.compiler.cli.output import Output, progress_bar
from cortexc.compiler.ir.errors import CortexError, unknown
from cortexc.compiler.ir.text import aligned


@command()
def run(out: Output, experiment: Named, output: Folder = None,
        backend: Annotated[str | None, Option(help="lava, native or interpreter.")] = None,
        granularity: Granularity = None, steps: Steps = None,
        resume: Annotated[bool, Option("--resume", help="Go on from the checkpoint, if there is one.")] = False,
        force: Annotated[bool, Option("--force", help="Replace the run that the folder holds.")] = False,
        data_dir: DataDir = None, set_: Set = None,
        progress: Annotated[bool | None, Option("--progress/--no-progress", help="Progress bar on stderr.")] = None) \
        -> None:
    """Run an experiment and keep its results in a folder."""
    from cortexc.compiler.experiments.session import run_experiment

    loaded = load(experiment, set_, backend=backend, granularity=granularity, data_dir=data_dir)
    edited = Path(experiment) if (Path(experiment) / "network_lava.py").exists() else None
    if edited and loaded.run.backend == "lava":  # with whatever was edited in it
        runs_code_in(f"{edited}: network_lava.py, kernels.c, kernels.py")
    folder = Path(output) if output else _run_folder(Path(experiment), loaded.name, edited is not None, resume)
    with out.captured(), out.warnings(), progress_bar(progress, loaded.name) as bar:
        results = run_experiment(loaded, folder, steps=steps, resume=resume, force=force, progress=bar, edited=edited)
    out.result(results, run_summary(results))


def _run_folder(named: Path, name: str, compiled: bool, resume: bool) -> Path:
    """The run folder that was named; or the next free `runs/NAME`, of a compiled folder `FOLDER/run` (with --resume:
    the last one)."""
    if named.is_dir() and not compiled:
        return named
    base = named / "run" if compiled else Path("runs") / name
    taken = [base.with_name(f"{base.name}-{i}") if i > 1 else base for i in range(1, 10_000)]
    free = next(i for i, path in enumerate(taken) if not path.exists())
    return taken[max(free - 1, 0)] if resume else taken[free]


def run_summary(results: Mapping[str, Any]) -> str:
    seconds = {name: value for name, value in results["seconds"].items() if value >= 0.005}
    lines = [f"{results['name']} ({results['circuit']}) on {results['backend']}, granularity {results['granularity']}",
             f"  steps            {results['steps']:,} of {results['total_steps']:,}, "
             f"{results['steps_per_second']:,.0f} per second",
             f"  time             {results['wall_s']:.2f} s: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items())]
    if results["test_accuracy"] is not None:
        lines.append(f"  test accuracy    {100 * results['test_accuracy']:.2f} % (seeds "
                     + ", ".join(f"{s['seed']}: {100 * s['test_accuracy']:.2f}" for s in results["seeds"]) + ")")
    if results.get("test_error") is not None:
        lines.append(f"  test error       {results['test_error']:.4g} (median; seeds "
                     + _numbers([e for e in results["errors"] if e["phase"] == "test"][-1]["error"]) + ")")
    if results.get("precision"):
        lines += _saturation(results["precision"])
    for test in results.get("control", ()):
        lines.append(f"  falls            {_numbers(test['failures'])} (after {test['epochs']} epochs)")
    for name, own in results.get("spikes", {}).items():
        lines.append(f"  {name:<17}" + ", ".join(f"{what} {_numbers([v for v in values if v is not None]) or '-'}"
                                                 for what, values in own.items()))
    for name, curve in results["curves"].items():
        if curve["rows"]:
            lines.append(f"  {name}: {_numbers(curve['first'])} -> {_numbers(curve['last'])}")
    lines.append(f"  weights sha256   {results['weights_sha256']}")
    return "\n".join([*lines, f"  folder           {results['output']}"])


def _saturation(precision: Mapping[str, Any]) -> list[str]:
    """What is at either end of its format."""
    from cortexc.compiler.experiments.underflow import LISTED, Underflow

    found = [f"{name} {100 * share:.2g} %" for name, share in precision["weights_at_limit"].items() if share > 0]
    lines = [f"  at the limit     of the weights of {', of '.join(found)}"] if found else []
    counts = [f"{name} {count:,} times" for name, count in (precision["saturated"] or {}).items()]
    lines.append(f"  saturated        {', '.join(counts) or 'nothing'}" if precision["saturated"] is not None else
                 "  saturated        not counted (--set precision.count=true counts)")
    lost = [each for table in precision["underflow"] if (each := Underflow(**table)).share >= LISTED]
    less = len(precision["underflow"]) - len(lost)
    words = [*(each.text for each in lost), *([f"of {less} others below {100 * LISTED:.0f} %"] if less else [])]
    return [*lines, f"  became 0         {', '.join(words) or 'nothing'}"]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


@command()
def verify(out: Output,
           experiment: Annotated[str | None, Argument(help="A TOML file or a shipped name.",
                                                      autocompletion=experiments)] = None,
           golden: Annotated[str | None, Option(help="A recorded trajectory (.npz).")] = None,
           on: Annotated[str | None, Option(help="reference, interpreter, native or lava.")] = None,
           granularity: Annotated[str | None, Option(help="population, area, network, neurocore or all.")] = None,
           steps: Steps = None,
           reference: Annotated[str | None, Option(help="FILE.py:function to compare with, or interpreter.")] = None,
           passes: Annotated[bool, Option("--passes", help="Compare what is left after the passes.")] = False,
           data_dir: DataDir = None, set_: Set = None) -> int:
    """Check that what runs is the circuit: 0 verified, 1 not verified (the outcome says why), 2 the input is wrong."""
    from cortexc.compiler.experiments.questions import verify_experiment, verify_recording_file

    if (experiment is None) == (golden is None):
        raise CortexError("X193", "verify takes either an experiment or --golden FILE.npz.")
    named = {"--steps": steps, "--reference": reference, "--data-dir": data_dir, "--set": set_ or None}
    unused = [option for option, value in named.items() if value is not None]
    if golden is not None and unused:
        raise CortexError("X209", f"verify --golden does not use {', '.join(unused)}.", "Leave it out.")
    with out.captured():
        if golden is not None:
            found = verify_recording_file(golden, on, granularity, passes)
        else:
            found = verify_experiment(load(str(experiment), set_, data_dir=data_dir), on, granularity, steps, reference)
    table = found.as_dict()
    each_of = table.get("granularities", [table])
    out.result(table, "\n".join(map(_verify_summary, each_of)))
    return 0 if all(each["passed"] for each in each_of) else 1


VERDICTS = {"verified": "verified", "diverged": "DIVERGED", "not-a-number": "NOT A NUMBER", "incomplete": "INCOMPLETE",
            "nothing-compared": "NOTHING COMPARED", "nothing-learnt": "NOTHING LEARNT"}


def _verify_summary(table: Mapping[str, Any]) -> str:
    lines = [f"{VERDICTS[table['outcome']]} against {table['evidence']} on {table['on']}, granularity "
             f"{table['granularity']}"]
    for line in table["lines"]:
        steps = f"{line['steps']:,} steps" if line["compared_steps"] == line["steps"] else \
            f"{line['compared_steps']:,} of {line['steps']:,} steps"
        absolute, relative = ("not finite" if line[key] is None else f"{line[key]:.1e}"
                              for key in ("max_abs_error", "max_rel_error"))
        lines.append(f"  {line['line']:<11} {VERDICTS[line['outcome']]}: {len(line['variables'])} variables, {steps}, "
                     f"largest error {absolute}, {relative} of the range"
                     + (f"; after {', '.join(line['passes'])}" if line["passes"] else ""))
    if table["on"] == "native32":
        lines.append(f"  single precision: errors may be {table['limits']['relative']:.0e} of the range")
    where = table["first_divergence"]
    if where:
        lines.append(f"  first divergence: step {where['step']}, {where['variable']}{where['index']}: "
                     f"{where['got']} instead of {where['expected']}")
    return "\n".join([*lines, *(f"  {reason}" for reason in table.get("reasons", ()))])


@command()
def sweep(out: Output, experiment: Named,
          over: Annotated[list[str], Option(help="Values of a key: run.seeds=0..9, model.eta=0.1,0.2 or KEY=[...] "
                                                 "(repeatable).")],
          output: Annotated[str, Option("-o", "--output", help="Folder for the table, the page and the runs; what it "
                                                               "holds already is not run again.")],
          on: Annotated[str, Option(help="local, dask:ADDRESS or slurm.")] = "local",
          jobs: Annotated[int, Option(min=0, help="Processes at once (0: one per processor).")] = 0,
          batch: Annotated[int, Option(min=0, help="Seeds that share a run, which is faster (0: up to 8 where each "
                                                   "learns what it learns alone).")] = 0,
          sampler: Annotated[str, Option(help="grid: all combinations; optuna: looks for the best values in ranges "
                                              "KEY=log(1e-3,1e-1), KEY=uniform(0,1), KEY=1..9.")] = "grid",
          trials: Annotated[int, Option(min=1, help="Of optuna.")] = 20,
          objective: Annotated[str, Option(help="Of optuna: validation_accuracy, validation_error, or a number of "
                                                "results.json; -NAME is made small.")] = "validation_accuracy",
          seed: Annotated[int, Option(min=0, help="Of optuna.")] = 0, set_: Set = None) -> None:
    """Run an experiment over values of its keys; one table, one page."""
    from cortexc.compiler.bench.sweep import SEEDS, Search, summary
    from cortexc.compiler.bench.sweep import sweep as run_sweep
    from cortexc.compiler.experiments.config import parse_override

    if sampler not in ("grid", "optuna"):
        raise unknown("X215", "sampler", sampler, ("grid", "optuna"))
    keys = [key for key in (text.partition("=")[0].strip() for text in over) if key != SEEDS]
    search = Search(trials, objective, seed) if sampler == "optuna" else None
    with out.captured():
        given = dict(parse_override(text) for text in set_ or ())
        rows = run_sweep(experiment, over, output, given, on, jobs, batch, search=search)
    found = summary(rows, keys, "objective") if search else summary(rows, keys)
    best = search.best(found) if search else None
    out.result({"rows": rows, "summary": found} | ({"best": best} if search else {}), _table(found))


def _benchmarks(begun: str) -> list[str]:
    return [name for name in BENCHMARKS if name.startswith(begun)]


@command(epilog="\n".join(f"{name:<24}{each.what}" for name, each in BENCHMARKS.items()))
def bench(out: Output,
          name: Annotated[str, Argument(help="Which benchmark, of those below.", autocompletion=_benchmarks)],
          output: Folder = None,
          golden: Annotated[str | None, Option(help="Folder of the recordings (or CORTEXC_GOLDEN).")] = None,
          set_: Set = None) -> None:
    """Measure, and print rows with the machine they were measured on."""
    from cortexc.compiler.bench import recordings
    from cortexc.compiler.experiments.config import parse_override
    from cortexc.compiler.experiments.files import writable_folder, write_json
    from cortexc.compiler.experiments.results import machine

    if name not in BENCHMARKS:
        raise unknown("X185", "benchmark", name, BENCHMARKS)
    options = dict(parse_override(text) for text in set_ or ())
    options |= recordings(name, golden)
    folder = writable_folder(output) if output else None
    start = time.perf_counter()
    with out.captured():
        rows = BENCHMARKS[name].rows({**options, **({"output": output} if output else {})})
    table = {"name": name, "rows": rows, "machine": machine(), "options": options,
             "wall_s": time.perf_counter() - start}
    if folder:
        write_json(folder / f"{name}.json", table)
    out.result(table, _table(rows))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_cell(row.get(key)) for key in keys] for row in rows)]
    return "\n".join(aligned(cells))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_cell, value))
    return "" if value is None else str(value)
