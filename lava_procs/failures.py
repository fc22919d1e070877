"""What the supervisor reports. Imports nothing of Lava."""

import signal


class SupervisorError(RuntimeError):
    """Base of everything the supervisor reports."""


class NotUsable(SupervisorError):
    """The network has not been started, or has ended: a network is used once."""


class ChildRaised(SupervisorError):
    """A process raised an exception. process_name: its name; traceback_text: the traceback and exception.

    coded: code, message and hint of an exception that has them, or None.
    """

    def __init__(self, process_name: str, traceback_text: str, coded: tuple[str, str, str] | None = None) -> None:
        super().__init__(f"{process_name} raised an exception:\n{traceback_text}")
        self.process_name = process_name
        self.traceback_text = traceback_text
        self.coded = coded


class ChildDied(SupervisorError):
    """A process ended without an exception. exit_code: or None; signal: the number of the signal, or None."""

    def __init__(self, process_name: str, exit_code: int | None) -> None:
        self.process_name = process_name
        self.signal = -exit_code if exit_code is not None and exit_code < 0 else None
        self.exit_code = exit_code if self.signal is None else None
        by_signal = f"was ended by {signal_name(self.signal)}" if self.signal is not None else None
        super().__init__(f"{process_name} {by_signal or f'ended with exit code {exit_code}'}")


class ChildLost(SupervisorError):
    """A process is gone and nobody knows how it ended: something else in this program has collected it."""

    def __init__(self, process_name: str) -> None:
        super().__init__(f"{process_name} is gone; its exit status was collected by another part of the program")
        self.process_name = process_name


class Stalled(SupervisorError):
    """Nothing has moved for `seconds`. waits: a sentence for each process that is not idle."""

    def __init__(self, seconds: float, waits: list[str]) -> None:
        idle = ["all processes are idle: Lava's runtime service does not answer"]
        super().__init__("\n  ".join([f"no progress for {seconds:.1f} s:", *(waits or idle)]))
        self.seconds = seconds
        self.waits = waits


class Interrupted(SupervisorError):
    """A signal ended the run; the processes have ended.

    signal: its number. steps_done: Lava steps completed in this call of run. consistent: all processes had
    completed the same step, so what they left in shared memory belongs to one block boundary.
    """

    def __init__(self, signal_number: int, steps_done: int, consistent: bool) -> None:
        where = f"after {steps_done} steps" if consistent else "in the middle of a step"
        super().__init__(f"interrupted by {signal_name(signal_number)} {where}")
        self.signal = signal_number
        self.steps_done = steps_done
        self.consistent = consistent


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
