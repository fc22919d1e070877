"""The command line: `cortexc`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cortexc.compiler.cli.stopping import run_stoppable


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code (see `cortexc.compiler.cli.command.EXIT_CODES`).

    Signals are handled for the program's own arguments only, not for a caller's.
    """
    sys.exit(run_stoppable(_execute, sys.argv[1:]) if arguments is None else _execute(list(arguments)))


def _execute(arguments: list[str]) -> int:
    from cortexc.compiler.cli.app import execute

    return execute(arguments)
