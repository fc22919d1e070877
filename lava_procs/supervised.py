"""Lava networks of one's own, supervised: `process.run`, `wait`, `pause`, `stop`, `var.get` and `var.set` never hang.

Only imported when a network starts, since it imports Lava.
"""

from typing import Any

from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import AbstractRunCondition

from cortexc.lava_procs.continuing import forget_channels
from cortexc.lava_procs.supervisor import Supervisor


class Supervised:
    """A Lava network whose commands are supervised; as a context manager it ends at the end of the block.

        with cortexc.lava.supervised(neurons) as neurons:
            neurons.run(RunSteps(100), Loihi2SimCfg())
            print(neurons.v.get())

    What happens to a process of the network is raised by the command that waits for it, or by the next one: ChildRaised
    with the traceback of the process, ChildDied, Stalled with who waits for whom, Interrupted after Ctrl-C. The network
    has ended then, without a process or memory left behind, and the next `run` begins anew.

    process: any of the network; the first `run` is a run of this one. limits: those of `Supervisor`.
    """

    def __init__(self, process: AbstractProcess, **limits: Any) -> None:
        self.process, self._limits, self._executable = process, limits, None
        process.run, process.create_runtime = self._run, self._start

    def __enter__(self) -> AbstractProcess:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def _run(self, condition: AbstractRunCondition, run_cfg: Any = None, compile_config: Any = None) -> None:
        if self.process.runtime is None:
            self._start(run_cfg, self._executable, compile_config)
        self.process.runtime.start(condition)

    def _start(self, run_cfg: Any = None, executable: Any = None, compile_config: Any = None) -> None:
        if run_cfg is None and executable is None:
            raise ValueError("the first run of a network needs a run configuration: run(condition, run_cfg)")
        if executable is not None:
            forget_channels(executable)
        supervisor = Supervisor([self.process], run_cfg, compile_config=compile_config, executable=executable,
                                **self._limits)
        try:
            supervisor.start()
        finally:
            self._executable = supervisor.executable
