"""The command line: `cortexc`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 1 diverged, 2 the input is wrong, 130 interrupted."""
    from compiler.cli.app import execute

    sys.exit(execute(list(sys.argv[1:] if arguments is None else arguments)))
