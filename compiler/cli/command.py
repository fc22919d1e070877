"""What a command is: a function of its output and its options, stated once. `--help`, `--json`, exit codes and messages
come from here. What commands need is imported when they run, so that `--help` and `models` are quick.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cortexc.compiler.cli.output import Output
from cortexc.compiler.ir.errors import CortexError

if TYPE_CHECKING:
    from cortexc.compiler.experiments.config import Experiment

EXIT_CODES = ("Exit codes: 0 done or verified; 1 diverged; 2 the input is wrong; 3 the run failed: a process raised, "
              "died, was lost or made no progress; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM.")
app = typer.Typer(name="cortexc", no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Compiles cortical microcircuits that learn by local rules to Lava process graphs.",
                  epilog=EXIT_CODES)


def experiments(begun: str) -> list[str]:
    """The shipped ones whose names begin so."""
    from cortexc.compiler.experiments.files import shipped_experiments

    return [name for name in shipped_experiments() if name.startswith(begun)]


Named = Annotated[str, typer.Argument(help="A TOML file, a shipped experiment's name, or a run folder.",
                                      autocompletion=experiments)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override: a.b=value (TOML; repeatable).")]
Granularity = Annotated[str | None, typer.Option(help="population, area, network or neurocore.")]
Steps = Annotated[int | None, typer.Option(min=0, help="Network steps.")]
Folder = Annotated[str | None, typer.Option("-o", "--output", help="Folder for the results.")]
DataDir = Annotated[str | None, typer.Option(help="Folder with the data sets (or CORTEXC_DATA).")]
JSON = inspect.Parameter("json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout.")])
PATHS = ("experiment", "output", "data_dir", "golden", "reference", "folder", "map_", "maps")
"""Options that may be paths."""
Command = Callable[..., int | None]


def command(name: str = "", **settings: Any) -> Callable[[Command], Command]:
    """A command by the function's name or another one. The function takes the output and its options; it returns an
    exit code, or None for 0."""
    def registered(function: Command) -> Command:
        own = inspect.signature(function, eval_str=True)
        parameters = [*list(own.parameters.values())[1:], JSON]

        def run(json: bool, **options: Any) -> int:
            out = Output(json)
            return guarded(out, lambda: function(out, **{k: _expanded(k, v) for k, v in options.items()}) or 0)

        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name or function.__name__, help=function.__doc__, **settings)(run)
        return function

    return registered


def _expanded(key: str, value: Any) -> Any:
    """An option that may be a path, with the home folder for `~`, also where a shell leaves it. Raises X133."""
    from cortexc.compiler.experiments.files import user_path

    if key not in PATHS or not value:
        return value
    if isinstance(value, list):
        return [_expanded(key, each) for each in value]
    return str(user_path(value)) if value.startswith("~") else value


def guarded(out: Output, call: Callable[[], int]) -> int:
    """What the call returns; what it raises becomes a message and an exit code."""
    try:
        return call()
    except CortexError as error:
        out.error(error.code, error.message, error.hint)
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
        checkpoint = getattr(error, "checkpoint", None)
        out.error("X191", f"{error}.", f"Go on with --resume ('{checkpoint}')." if checkpoint else "")
        return 128 + int(error.signal)


def load(experiment: str, overrides: Sequence[str] | None, **run: Any) -> Experiment:
    """The experiment with --set, and with options such as --backend that are short for it; says on stderr where the
    circuit is a function, whose code is about to run. Raises D409."""
    from cortexc.compiler.experiments.config import load_experiment, parse_override
    from cortexc.compiler.experiments.data.loading import named_folder

    extra = {"data.folder" if key == "data_dir" else f"run.{key}": value for key, value in run.items()
             if value is not None}
    if "data.folder" in extra:
        named_folder(extra["data.folder"])
    loaded = load_experiment(experiment, {**dict(map(parse_override, overrides or ())), **extra})
    if ".py:" in loaded.model.circuit:
        runs_code_in(loaded.model.circuit.rpartition(":")[0])
    return loaded


def runs_code_in(place: object) -> None:
    print(f"runs code in {place}", file=sys.stderr, flush=True)
