"""The command line with all its commands, and how it is run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cortexc.compiler.cli import commands, runs
from cortexc.compiler.cli.command import app
from cortexc.compiler.cli.output import Output

__all__ = ["app", "commands", "execute", "runs"]
ClickException: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def _print_version(asked: bool) -> None:
    if asked:
        import cortexc

        print(f"cortexc {cortexc.__version__}")
        raise typer.Exit


@app.callback()
def cortexc(version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True,
                                                  help="Print the version.")] = False) -> None:
    pass


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
