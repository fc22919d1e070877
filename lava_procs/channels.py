"""Lava's channels without their threads: who sends or receives works on the semaphores of the channel itself.

Lava gives each end of a channel a thread that waits for a semaphore and hands over to the process's own thread, through
a queue: two changes of threads for every message. Here a message costs a copy into shared memory and one out of it, and
one semaphore; one that is there when it is wanted costs no change of tasks at all. An end that somebody observes, since
several channels are waited for at once, gets Lava's thread from then on. Only imported when a network starts.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from lava.magma.compiler.channels.pypychannel import CspRecvPort, CspRecvQueue, CspSelector, CspSendPort
from lava.utils.sparse import find
from scipy.sparse import csr_matrix

_SPINS = 30
"""Looks at a semaphore, a few microseconds in all, before a process goes to sleep."""


def taken(semaphore: Any) -> bool:
    """Waits for the semaphore; True."""
    for _ in range(_SPINS):
        if semaphore.acquire(False):
            return True
    return bool(semaphore.acquire())


def slots(port: Any) -> list[Any]:
    """The channel's memory, a view per message that it can hold."""
    dtype, step = (np.int32 if port._dtype == 4 else port._dtype), port._nbytes  # Lava's code for a C type
    return [np.ndarray(port._shape, dtype, port._shm.buf[step * k:step * (k + 1)]) for k in range(port._size)]


class SendPort(CspSendPort):
    """The sending end. `free`: messages that fit before the receiver has to say that it took one."""

    free: int
    _idx: int

    def start(self) -> None:
        self._array, self.free = slots(self), self._size

    def probe(self) -> bool:
        if not self.free and self._ack.acquire(False):
            self.free = 1
        return self.free > 0

    def send(self, data: Any) -> None:
        """Raises AssertionError for data of another shape, as Lava does."""
        if data.shape != self._shape:
            raise AssertionError(f"{data.shape=} {self._shape=} Mismatch")
        if isinstance(data, csr_matrix):
            data = find(data, explicit_zeros=True)[2]
        if self.free or taken(self._ack):
            self.free = max(self.free - 1, 0)
        self._array[self._idx][:] = data
        self._idx = (self._idx + 1) % self._size
        self._req.release()


class ReceivePort(CspRecvPort):
    """The receiving end. `there`: messages whose semaphore has been taken already."""

    there: int
    thread: threading.Thread | None
    _idx: int
    _seen: Callable[[], None] | None = None

    def start(self) -> None:
        self._array, self.there = slots(self), 0

    @property
    def observer(self) -> Callable[[], None] | None:
        """What is called when a first message comes; whoever sets one has the port use a thread from then on."""
        return self._seen

    @observer.setter
    def observer(self, call: Callable[[], None] | None) -> None:
        self._seen = call
        if call is not None and self.thread is None:
            self._queue = CspRecvQueue(self._size)
            for _ in range(self.there):
                self._queue.put_nowait(0)
            self.thread = threading.Thread(target=self._req_callback, name=f"{self._name}.recv", args=(self._req,),
                                           daemon=True)
            self.thread.start()

    def probe(self) -> bool:
        if self.thread is not None:
            return bool(self._queue.qsize())
        if not self.there and self._req.acquire(False):
            self.there = 1
        return self.there > 0

    def await_message(self) -> None:
        """Waits until there is one."""
        if self.thread is None and not self.there and taken(self._req):
            self.there = 1
        elif self.thread is not None:
            self._queue.get(peek=True)

    def peek(self) -> Any:
        self.await_message()
        return self._array[self._idx].copy()

    def recv(self) -> Any:
        self.await_message()
        if self.thread is None:
            self.there -= 1
        else:
            self._queue.get()
        message = self._array[self._idx].copy()
        self._idx = (self._idx + 1) % self._size
        self._ack.release()
        return message


_select = CspSelector.select


def select(self: CspSelector, *channel_actions: Any) -> Any:
    """Waits for one channel directly, for several as Lava does."""
    port, action = channel_actions[0]
    if len(channel_actions) > 1 or not isinstance(port, ReceivePort):
        return _select(self, *channel_actions)
    port.await_message()
    return action()


CspSelector.select = select


def make_direct(port: Any) -> None:
    """A port of Lava's that has not been started."""
    port.__class__ = SendPort if isinstance(port, CspSendPort) else ReceivePort
