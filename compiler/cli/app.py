"""The commands. What they need is imported when they run, so that `--help` and `models` are quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cortexc.compiler.bench.table import BENCHMARKS
from cortexc.compiler.cli.output import Output
from cortexc.compiler.ir.errors import CortexError

EXIT_CODES = """Exit codes: 0 done or verified; 1 diverged; 2 the input is wrong; 3 the run failed: a process raised,
died, was lost or made no progress; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM."""
app = typer.Typer(name="cortexc", no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Compiles cortical microcircuits that learn by local rules to Lava process graphs.",
                  epilog=EXIT_CODES)
ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")



def _experiments(begun: str) -> list[str]:
    from cortexc.compiler.experiments.files import shipped_experiments

    return [name for name in shipped_experiments() if name.startswith(begun)]


def _benchmarks(begun: str) -> list[str]:
    return [name for name in BENCHMARKS if name.startswith(begun)]


Experiment = Annotated[str, typer.Argument(help="A TOML file, a shipped experiment's name, or a run folder.",
                                           autocompletion=_experiments)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override: a.b=value (TOML; repeatable).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Granularity = Annotated[str | None, typer.Option(help="population, area, network or neurocore.")]
Backend = Annotated[str | None, typer.Option(help="lava, native or interpreter.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Network steps.")]
Folder = Annotated[str | None, typer.Option("-o", "--output", help="Folder for the results.")]
DataDir = Annotated[str | None, typer.Option(help="Folder with the data sets (or CORTEXC_DATA).")]
ShowProgress = Annotated[bool | None, typer.Option("--progress/--no-progress", help="Progress bar on stderr.")]


def _print_version(asked: bool) -> None:
    if asked:
        import cortexc

        print(f"cortexc {cortexc.__version__}")
        raise typer.Exit


@app.callback()
def cortexc(version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True,
                                                  help="Print the version.")] = False) -> None:
    pass


@app.command()
def init(folder: Annotated[str, typer.Argument(help="A new or empty folder.")] = "my_project",
         json: Json = False) -> int:
    """Begin a project: a cell, a rule and data of your own, an experiment, a test."""
    return _run(json, "init", folder=folder)


@app.command()
def models(json: Json = False) -> int:
    """List the shipped circuits and experiments."""
    return _run(json, "models")


@app.command()
def show(experiment: Experiment, after: Annotated[str | None, typer.Option(help="After this pass.")] = None,
         granularity: Granularity = None, set_: Set = None, json: Json = False) -> int:
    """Print the circuit as IR text, as written or after a pass."""
    return _run(json, "show", experiment=experiment, after=after, granularity=granularity, overrides=set_)


@app.command()
def explain(experiment: Experiment,
            stock: Annotated[bool, typer.Option("--stock", help="Where stock LIF and Dense could stand, and why not "
                                                                "elsewhere.")] = False,
            map_: Annotated[str | None, typer.Option("--map", help="Whether this chip's learning engine can run the "
                                                                   "rules: a map's name or file.")] = None,
            formats: Annotated[bool, typer.Option("--formats", help="Fixed point: every quantity's format, its worst "
                                                                    "error and the measured one.")] = False,
            set_: Set = None, json: Json = False) -> int:
    """Say what every learning rule reads, where that is computed, and whether it is local."""
    return _run(json, "explain", experiment=experiment, stock=stock, map_=map_, formats=formats, overrides=set_)


@app.command("compile")
def compile_(experiment: Experiment,
             output: Annotated[str, typer.Option("-o", "--output", help="Folder for the code.")],
             granularity: Granularity = None,
             map_: Annotated[str | None, typer.Option("--map", help="A hardware map that it has to fit; its mapping is "
                                                                    "stored.")] = None,
             circuit: Annotated[bool, typer.Option("--circuit", help="Write the circuit as one process for Lava "
                                                                     "networks of your own, without data and "
                                                                     "protocol.")] = False,
             force: Annotated[bool, typer.Option("--force", help="Replace code that was edited.")] = False,
             data_dir: DataDir = None, set_: Set = None, json: Json = False) -> int:
    """Write the Lava program: graph, arrays, kernels, network_lava.py, manifest."""
    return _run(json, "compile_folder", experiment=experiment, output=output, granularity=granularity, map_=map_,
                circuit=circuit, force=force, data_dir=data_dir, overrides=set_)


@app.command()
def fit(experiment: Experiment,
        map_: Annotated[list[str] | None, typer.Option("--map", help="A hardware map's name or file (repeatable; all "
                                                                     "shipped ones by default).")] = None,
        rate: Annotated[float, typer.Option(min=0, max=1, help="Spikes per neuron and step, where none was "
                                                               "measured.")] = 0.1,
        measure: Annotated[int, typer.Option(min=0, help="Run so many steps natively to see how often messages are "
                                                         "sent.")] = 0,
        rule: Annotated[list[str] | None, typer.Option(help="Connectivity that is not built: W=probability:0.1 or "
                                                            "W=distance:PEAK:SCALE:COLUMNS (repeatable).")] = None,
        data_dir: DataDir = None, output: Folder = None, set_: Set = None, json: Json = False) -> int:
    """Say whether the circuit fits a chip, which limit binds, where it goes and what it would cost."""
    return _run(json, "fit", experiment=experiment, maps=map_, rate=rate, measure=measure, rules=rule,
                data_dir=data_dir, output=output, overrides=set_)


@app.command()
def run(experiment: Experiment, output: Folder = None, backend: Backend = None, granularity: Granularity = None,
        steps: Steps = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint, if there is one.")] = False,
        force: Annotated[bool, typer.Option("--force", help="Replace the run that the folder holds.")] = False,
        data_dir: DataDir = None, set_: Set = None, progress: ShowProgress = None, json: Json = False) -> int:
    """Run an experiment and keep its results in a folder."""
    return _run(json, "run", experiment=experiment, output=output, backend=backend, granularity=granularity,
                steps=steps, resume=resume, force=force, data_dir=data_dir, overrides=set_, progress=progress)


@app.command()
def verify(experiment: Annotated[str | None, typer.Argument(help="A TOML file or a shipped name.",
                                                            autocompletion=_experiments)] = None,
           golden: Annotated[str | None, typer.Option(help="A recorded trajectory (.npz).")] = None,
           on: Annotated[str | None, typer.Option(help="reference, interpreter, native or lava.")] = None,
           granularity: Annotated[str | None, typer.Option(help="population, area, network, neurocore or "
                                                              "all.")] = None,
           steps: Steps = None,
           reference: Annotated[str | None, typer.Option(help="FILE.py:function to compare with, or "
                                                            "interpreter.")] = None,
           passes: Annotated[bool, typer.Option("--passes", help="Compare what is left after the passes.")] = False,
           data_dir: DataDir = None, set_: Set = None, json: Json = False) -> int:
    """Check that what runs is the circuit: 0 verified, 1 not verified (the outcome says why), 2 the input is wrong."""
    return _run(json, "verify", experiment=experiment, golden=golden, on=on, granularity=granularity, steps=steps,
                reference=reference, passes=passes, data_dir=data_dir, overrides=set_)


@app.command()
def export(run: Annotated[str, typer.Argument(help="A run folder.")],
           to: Annotated[str, typer.Option(help="npz, torch, lava or nir.")], output: Folder = None,
           json: Json = False) -> int:
    """Export what a run has learnt."""
    return _run(json, "export", folder=run, to=to, output=output)


@app.command()
def sweep(experiment: Experiment,
          over: Annotated[list[str], typer.Option(help="Values of a key: run.seeds=0..9, model.eta=0.1,0.2 or "
                                                       "KEY=[...] (repeatable).")],
          output: Annotated[str, typer.Option("-o", "--output", help="Folder for the table, the page and the runs; "
                                                                     "what it holds already is not run again.")],
          on: Annotated[str, typer.Option(help="local, dask:ADDRESS or slurm.")] = "local",
          jobs: Annotated[int, typer.Option(min=0, help="Processes at once (0: one per processor).")] = 0,
          batch: Annotated[int, typer.Option(min=0, help="Seeds that share a run, which is faster (0: up to 8 where "
                                                         "each learns what it learns alone).")] = 0,
          sampler: Annotated[str, typer.Option(help="grid: all combinations; optuna: looks for the best values in "
                                                    "ranges KEY=log(1e-3,1e-1), KEY=uniform(0,1), KEY=1..9.")] = "grid",
          trials: Annotated[int, typer.Option(min=1, help="Of optuna.")] = 20,
          objective: Annotated[str, typer.Option(help="Of optuna: validation_accuracy, validation_error, or a number "
                                                      "of results.json; -NAME is made small.")] = "validation_accuracy",
          seed: Annotated[int, typer.Option(min=0, help="Of optuna.")] = 0,
          set_: Set = None, json: Json = False) -> int:
    """Run an experiment over values of its keys; one table, one page."""
    return _run(json, "sweep", experiment=experiment, over=over, output=output, on=on, jobs=jobs, batch=batch,
                overrides=set_, sampler=sampler, trials=trials, objective=objective, seed=seed)


@app.command(epilog="\n".join(f"{name:<24}{each.what}" for name, each in BENCHMARKS.items()))
def bench(name: Annotated[str, typer.Argument(help="Which benchmark, of those below.", autocompletion=_benchmarks)],
          output: Folder = None,
          golden: Annotated[str | None, typer.Option(help="Folder of the recordings (or CORTEXC_GOLDEN).")] = None,
          set_: Set = None, json: Json = False) -> int:
    """Measure, and print rows with the machine they were measured on."""
    return _run(json, "bench", name=name, output=output, golden=golden, overrides=set_)


@app.command("explain-error")
def explain_error(code: Annotated[str | None, typer.Argument(help="A code such as E231; by default all.")] = None,
                  json: Json = False) -> int:
    """Say what an error code means, and what to do."""
    return _run(json, "explain_error", code=code)


def _run(json: bool, command: str, **options: Any) -> int:
    """Runs a command of `commands` and turns what it raises into a message and an exit code."""
    out = Output(json)

    def call() -> int:
        from cortexc.compiler.cli import commands

        return getattr(commands, command)(out, **{key: _expanded(key, value) for key, value in options.items()}) or 0

    return _guarded(out, call)


PATHS = ("experiment", "output", "data_dir", "golden", "reference", "folder", "map_", "maps")


def _expanded(key: str, value: Any) -> Any:
    """An option that may be a path, with the home folder for `~`, also where a shell leaves it. Raises X133."""
    from cortexc.compiler.experiments.files import user_path

    if key not in PATHS or not value:
        return value
    if isinstance(value, list):
        return [_expanded(key, each) for each in value]
    return str(user_path(value)) if value.startswith("~") else value


def _guarded(out: Output, call: Callable[[], int]) -> int:
    try:
        return call()
    except CortexError as error:
        out.coded(error)
        return error.exit_code
    except KeyboardInterrupt:
        out.error("X191", "interrupted.")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        out.system(error)
        return 2
    except MemoryError:
        out.error("X192", "there is not enough memory.", "Use fewer samples, seeds or recordings.")
        return 2
    except Exception as error:
        if not hasattr(error, "signal"):
            raise
        return _interrupted(out, error)


def _interrupted(out: Output, error: Any) -> int:
    hint = f"Go on with --resume ('{error.checkpoint}')." if getattr(error, "checkpoint", None) else ""
    out.error("X191", f"{error}.", hint)
    return 128 + int(error.signal)


def execute(arguments: list[str]) -> int:
    """Parses the arguments and runs the command; returns the exit code."""
    json = "--json" in arguments
    try:
        result = typer.main.get_command(app).main(arguments, prog_name="cortexc", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ClickException as error:
        if json:
            Output(True).error("X100", error.format_message().rstrip("."), "See cortexc --help.")
        else:
            error.show()
        return int(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return 130
