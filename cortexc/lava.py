"""Circuits inside Lava networks of one's own: `cortexc.lava.Circuit` is a process like any other."""

import lava_procs.continuing  # noqa: F401  run again after a pause, and after a stop
from compiler.experiments.lava_circuits import Circuit

__all__ = ["Circuit"]
