"""The feed: blocks of a protocol do not depend on how they are cut, and a restored feed goes on with the same bits."""

import numpy as np
import pytest

from cortexc.compiler.backends import runtime
from cortexc.compiler.backends.runtime import CHUNK, Feed, NoiseSpec, counter_generator
from cortexc.compiler.ir import CortexError
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.lava_procs.work import GroupWork

SETTLE = Phase("settle", 3, 10)
TRAIN = Phase("train", 5, 10, order="train", gates=(("learn", (1.0,)), ("late", (0.0,) * 9 + (1.0,))),
              records=(("weights", Record(every=20, offset=19)), ("output", Record(at=(3, 9)))))
PROTOCOL = Protocol((SETTLE, TRAIN), ("settle", "train", "train", "train"),
                    (Stream("weights", ("a",), 4), Stream("output", ("b",), 2)))


def feed(kind="counter", seeds=(1, 2), gate=1, columns=((3, 4, "normal"), (5, 2, "uniform"))) -> Feed:
    return Feed(PROTOCOL.as_data(), ["learn", "late"], NoiseSpec(kind, list(seeds), list(columns), gate))


def everything(source: Feed, sizes) -> list[np.ndarray]:
    blocks, sizes = [], iter(sizes)
    while source.position < source.total:
        blocks.append(source.block(next(sizes)))
    return [np.concatenate([getattr(b, name) for b in blocks]) for name in ("rows", "gates", "noise", "positions")]


@pytest.mark.parametrize("kind", ["counter", "legacy"])
def test_blocks_do_not_depend_on_the_cut(kind):
    columns = ((3, 4, "normal"),) if kind == "legacy" else ((3, 4, "normal"), (5, 2, "uniform"))
    whole = everything(feed(kind, columns=columns), [180])
    pieces = everything(feed(kind, columns=columns), [1, 7, 30, 2, 50, 11, 100])
    assert all(np.array_equal(a, b) for a, b in zip(whole, pieces, strict=True))


@pytest.mark.parametrize("kind", ["counter", "legacy"])
def test_a_restored_feed_goes_on_with_the_same_bits(kind):
    columns = ((3, 4, "normal"),)
    first = feed(kind, columns=columns)
    first.block(77)
    second = feed(kind, columns=columns)
    second.restore(first.state())
    after_first, after_second = vars(first.block(60)), vars(second.block(60))
    for name, array in after_first.items():
        assert np.array_equal(array, after_second[name]), name


@pytest.mark.parametrize("kind", ["counter", "legacy"])
def test_who_follows_draws_no_noise_that_the_step_tells(kind, monkeypatch):
    """What comes after has the same bits."""
    columns = ((3, 4, "normal"),)
    ahead, follower = feed(kind, columns=columns), feed(kind, columns=columns)
    assert ahead.block(77).noise.any()
    with monkeypatch.context() as patch:
        patch.setattr(follower, "_counter", None)
        follower.block(77, drawn=False)
    after, followed = vars(ahead.block(60)), vars(follower.block(60))
    for name, array in after.items():
        assert np.array_equal(array, followed[name]), name


def test_the_parent_of_a_run_draws_nothing_again(monkeypatch):
    work = GroupWork("all", np.zeros(1), {}, 0, None, feed(), False, np.zeros(1, np.int64), 77)
    work._fetch(77)
    work.at[:] = 77
    work.feed = feed()
    monkeypatch.setattr(work.feed, "_counter", None)
    assert work.feed_now().position == 77


def test_legacy_draws_shuffle_and_noise_from_one_generator():
    columns = ((0, 2, "normal"), (1, 3, "normal"))
    rows, _, noise, _ = everything(feed("legacy", seeds=(5,), columns=columns), [30, 50, 50, 50])
    generator, order = np.random.RandomState(5), np.arange(5)
    for epoch in range(3):
        generator.shuffle(order)
        part = slice(30 + 50 * epoch, 80 + 50 * epoch)
        assert np.array_equal(rows[part, 0], order.repeat(10))
        assert np.array_equal(noise[part], generator.normal(0, 1, (50, 5)))
    assert not noise[:30].any()


def test_counter_noise_depends_on_seed_population_and_step_only():
    noise = everything(feed(columns=((3, 4, "normal"),)), [180])[2]
    alone = counter_generator(2, 3, 0).standard_normal((CHUNK, 4))
    assert np.array_equal(noise[30:180].reshape(150, 4, 2)[:, :, 1], alone[30:180])
    assert len(np.unique(noise[30:180])) == noise[30:180].size


@pytest.mark.parametrize("sizes", [[180], [1, 7, 30, 2, 50, 11, 100]])
def test_noise_that_is_not_drawn_ahead_has_the_same_bits(sizes, monkeypatch):
    """Across chunks, and from the middle of one."""
    monkeypatch.setattr(runtime, "CHUNK", 32)
    ahead, restored = everything(feed(), [180]), feed()
    monkeypatch.setattr(runtime, "MOST_DRAWN", 0)
    source = feed()
    assert np.array_equal(everything(source, sizes)[2], ahead[2]) and not source.chunks
    started = feed()
    started.block(77)
    restored.restore(started.state())
    assert np.array_equal(everything(restored, [3, 100])[2], ahead[2][77:])


def test_gates_and_recordings_follow_the_pattern():
    _, gates, _, positions = everything(feed(), [180])
    assert gates[:, 0].all() and not gates[:30, 1:].any()
    assert np.array_equal(gates[30:, 2], np.tile([0.0] * 9 + [1.0], 15))
    assert np.array_equal(np.flatnonzero(positions[:, 0] >= 0), 30 + np.array([19, 39, 69, 89, 119, 139]))
    written = positions[:, 1][positions[:, 1] >= 0]
    assert np.array_equal(written, 6 * 4 + 2 * np.arange(30))


def test_an_empty_protocol_ends_at_once():
    empty = Feed(Protocol((Phase("none", 0, 5),), ("none",)).as_data(), [], NoiseSpec("counter", [1], [], 0))
    assert empty.total == 0 and len(empty.block(10).rows) == 0


@pytest.mark.parametrize("protocol, code", [
    (Protocol((SETTLE,), ("settel",)), "E271"), (Protocol((Phase("a", -1, 1),), ("a",)), "E272"),
    (Protocol((Phase("a", 1, 1, gates=(("lern", (1.0,)),)),), ("a",)), "E273"),
    (Protocol((Phase("a", 1, 1, records=(("w", Record(every=1)),)),), ("a",)), "E274")])
def test_a_protocol_that_does_not_fit_is_refused(protocol, code):
    with pytest.raises(CortexError) as error:
        protocol.check(("learn",))
    assert error.value.code == code
