"""Lava's channels as our networks use them: what is sent comes, in order, however the two ends wait."""

import threading

import numpy as np
import pytest

from cortexc.lava_procs.children import import_lava

pytestmark = pytest.mark.lava
SIZE = 4


@pytest.fixture
def ends():
    import_lava()
    from lava.magma.compiler.channels.pypychannel import PyPyChannel

    from cortexc.lava_procs.channels import make_direct
    from cortexc.lava_procs.infrastructure import Infrastructure

    channel = PyPyChannel(Infrastructure(), "out", "in", (3,), np.int32, SIZE)
    ends = channel.src_port, channel.dst_port
    for port in ends:
        make_direct(port)
        port.start()
    yield ends
    for port in ends:
        port.observer = None
        port.join()


def message(k: int) -> np.ndarray:
    return np.array([k, -k, 7 * k])


def test_messages_come_in_order_round_the_memory(ends):
    sender, receiver = ends
    for k in range(5 * SIZE):
        sender.send(message(k))
        assert receiver.probe() and list(receiver.peek()) == list(receiver.recv()) == list(message(k))
        assert not receiver.probe()


def test_a_full_channel_waits_for_its_receiver(ends):
    sender, receiver = ends
    for k in range(SIZE):
        assert sender.probe()
        sender.send(message(k))
    assert not sender.probe()
    late = threading.Thread(target=sender.send, args=(message(SIZE),))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    assert list(receiver.recv()) == list(message(0))
    late.join(5)
    assert not late.is_alive()
    assert [receiver.recv()[0] for _ in range(SIZE)] == list(range(1, SIZE + 1))


def test_a_message_is_what_it_was_when_it_was_sent(ends):
    sender, receiver = ends
    values = np.array([1.75, -1.75, 2.0])
    sender.send(values)
    values[:] = 0
    got = receiver.recv()
    sender.send(message(3))
    assert got.dtype == np.int32 and list(got) == [1, -1, 2]


def test_another_shape_is_refused(ends):
    with pytest.raises(AssertionError, match="Mismatch"):
        ends[0].send(np.zeros(4))


def test_who_begins_to_observe_misses_nothing(ends):
    sender, receiver = ends
    for k in range(3):
        sender.send(message(k))
    assert receiver.probe()  # takes a semaphore before there is a thread
    seen = threading.Event()
    receiver.observer = seen.set
    assert [receiver.recv()[0] for _ in range(3)] == [0, 1, 2]
    seen.clear()
    sender.send(message(3))
    assert seen.wait(5) and list(receiver.peek()) == list(message(3))
    receiver.observer = None
    assert receiver.recv()[0] == 3 and not receiver.probe()


def test_a_selector_waits_for_one_and_for_several(ends):
    from lava.magma.compiler.channels.pypychannel import CspSelector

    sender, receiver = ends
    for others in ([], [(FakePort(), lambda: "other")]):
        later = threading.Timer(0.05, sender.send, [message(1)])
        later.start()
        assert CspSelector().select((receiver, lambda: "message"), *others) == "message"
        later.join()
        assert receiver.recv()[0] == 1


class FakePort:
    """A channel on which nothing comes."""

    observer = None

    @staticmethod
    def probe() -> bool:
        return False
