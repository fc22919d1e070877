"""Lava networks of one's own: `Circuit` is a process like any other, and `supervised` a network that never hangs."""

import cortexc.lava_procs.continuing  # noqa: F401  run again after a pause, and after a stop
from cortexc.compiler.experiments.lava_circuits import Circuit
from cortexc.lava_procs.failures import ChildDied, ChildRaised, Interrupted, NotUsable, Stalled, SupervisorError
from cortexc.lava_procs.supervised import Supervised as supervised

__all__ = ["ChildDied", "ChildRaised", "Circuit", "Interrupted", "NotUsable", "Stalled", "SupervisorError",
           "supervised"]
