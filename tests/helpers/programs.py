"""Programs that tests start: they end with the tests, also where these are killed."""

import os
import subprocess
from collections.abc import Sequence
from functools import partial
from typing import Any

from cortexc.lava_procs.heartbeat import die_with_parent


def start_program(command: Sequence[str], **options: Any) -> subprocess.Popen:
    """Started as by `Popen`. A session of its own (`start_new_session`) keeps the signals of a terminal away from it,
    and would let it outlive us."""
    return subprocess.Popen(command, preexec_fn=partial(die_with_parent, os.getpid()), **options)
