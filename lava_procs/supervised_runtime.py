"""What processes of a supervised network have for a runtime. It imports Lava: only imported when a network starts."""

import sys
from typing import Any

from lava.magma.core.process.message_interface_enum import ActorType
from lava.magma.core.run_conditions import AbstractRunCondition, RunContinuous, RunSteps
from lava.magma.runtime.runtime import Runtime


class SupervisedRuntime(Runtime):
    """What the processes of a supervised network have for a runtime."""

    def __init__(self, executable: Any, supervisor: Any) -> None:
        super().__init__(executable, ActorType.MultiProcessing)
        self.supervisor = supervisor

    def start(self, run_condition: AbstractRunCondition) -> None:
        """Raises what the supervisor raises, ValueError for a condition that Lava does not know."""
        if isinstance(run_condition, RunSteps):
            run = self.supervisor.run if run_condition.blocking else self.supervisor.begin
            run(run_condition.num_steps)
        elif isinstance(run_condition, RunContinuous):
            self.supervisor.begin(sys.maxsize)
        else:
            raise ValueError(f"Lava knows RunSteps and RunContinuous, not {type(run_condition).__name__}")

    def wait(self) -> None:
        self.supervisor.wait()

    def pause(self) -> None:
        self.supervisor.pause()

    def stop(self) -> None:
        self.supervisor.stop()

    def get_var(self, var_id: int, idx: Any = None) -> Any:
        with self.supervisor.talking():
            return super().get_var(var_id, idx)

    def set_var(self, var_id: int, value: Any, idx: Any = None) -> None:
        with self.supervisor.talking():
            super().set_var(var_id, value, idx)
