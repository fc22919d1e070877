"""A ring of processes that fail on demand. Safe to import: Lava executes the files beside a process class."""

import os
import signal
import time

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol


class OddError(Exception):
    """An exception that cannot be unpickled: its constructor takes keywords only."""

    def __init__(self, *, code: str) -> None:
        super().__init__(f"odd failure {code}")


class Member(AbstractProcess):
    """One member of a ring: it sends what it received in the last step, plus one.

    receive_first: receive before sending; if all members do, the ring waits for ever. fault: what goes wrong
    in step `at`. seconds: duration of a step from step `at` on. arena: shared memory, float64 (members,).
    """

    def __init__(self, *, name: str, **parameters: object) -> None:
        super().__init__(name=name, **parameters)
        self.current_in = InPort(shape=(3,))
        self.current_out = OutPort(shape=(3,))
        self.value = Var(shape=(3,), init=0)


@implements(proc=Member, protocol=LoihiProtocol)
@requires(CPU)
class MemberModel(PyLoihiProcessModel):
    """Behaviour of a member."""

    current_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    current_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    value: np.ndarray = LavaPyType(np.ndarray, float)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.fault = proc_params.get("fault")
        self.at = proc_params.get("at", 0)
        self.seconds = proc_params.get("seconds", 0.0)
        self.arena = proc_params.get("arena")
        self.index = proc_params.get("index", 0)
        if str(self.fault).startswith("constructor"):
            fail(self.fault)

    def run_spk(self) -> None:
        """One step: exchange values with the neighbours, fail if it is time to."""
        if self.time_step >= self.at:
            time.sleep(self.seconds)
            fail(self.fault)
        if self.proc_params.get("receive_first"):
            self.value = self.current_in.recv() + 1
            self.current_out.send(self.value)
        else:
            self.current_out.send(self.value + 1)
            self.value = self.current_in.recv()
        if self.fault == "product" and self.time_step == 1:
            self.arena[self.index] = threads_of_product()
        elif self.fault != "product" and self.arena is not None:
            self.arena[self.index] = self.time_step


def fail(fault: str | None) -> None:
    """Fail in the way that is asked for."""
    if fault in ("raise", "constructor"):
        raise ZeroDivisionError("the weights are gone")
    if fault == "odd":
        raise OddError(code="E42")
    if fault in ("exit", "constructor_exit"):
        os._exit(3)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "constructor_slow":
        time.sleep(2.0)
    while fault == "endless":
        time.sleep(0.1)


def threads_of_product() -> int:
    """Returns how many threads a matrix product starts in this process."""
    before = len(os.listdir("/proc/self/task"))
    matrix = np.ones((400, 400))
    _ = matrix @ matrix
    return len(os.listdir("/proc/self/task")) - before
