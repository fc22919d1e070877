"""Kernels of minibatches for several threads: whatever the order in which threads come to do their part between two
meetings, a kernel has the bits of one thread."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, zip_longest

import numpy as np
import pytest
from random_graphs.choices import Kinds, RandomChoices
from random_graphs.circuits import random_setup

from cortexc.compiler.backends.kernels.c_text import sizes_of
from cortexc.compiler.backends.kernels.nest import Accumulation, Array, Axis, For, Kernel, Meet, Store
from cortexc.compiler.backends.kernels.operations import Key, Operation, Slot
from cortexc.compiler.backends.kernels.python_text import PythonText, arguments_source
from cortexc.compiler.backends.kernels.sharing import Share, Sharing
from cortexc.compiler.backends.kernels.whole import Index
from cortexc.compiler.backends.loading import c_compiler
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.native import Native
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.session import Session
from cortexc.compiler.ir.expressions import Name, Number
from cortexc.compiler.verify.mutation.campaign import plain_python


def tables(model: dict, seeds: list[int], **protocol) -> dict:
    return {"model": model, "data": {"name": "digits", "limits": {"train": 60, "test": 20}, "target": [1.0, 0.0]},
            "protocol": {"task": "classify", "epochs": 1, "presentation_steps": 5, **protocol},
            "run": {"backend": "native", "seeds": seeds}}


SIGNS = {"circuit": "sign-concordant", "start": "normal", "optimiser": "adam", "rate": 5e-4, "eta": 0.01}
MAPS = ["1x8x8", "3c3", "m2", 7, 10]
CASES = {
    "sign-concordant": tables({**SIGNS, "layers": [64, 21, 10]}, [1], minibatch=6),
    "convolutional": tables({**SIGNS, "layers": ["1x8x8", "3c3", "p2", "4c2", 7, 10]}, [1], minibatch=6),
    "pal": tables({"circuit": "pal", "layers": [64, 9, 10], "eta_fw": [0.1, 0.1]}, [1, 2, 3]),
    "layered-pal": tables({"circuit": "layered-pal", "layers": MAPS, "start": "normal", "sigma": [0, 0.05, 0.05, 0.05],
                           "activation": ["logistic", "linear", "logistic", "linear"],
                           "eta_fw": [0.1, 0, 0.1, 0.1], "eta_bw": [0, 0, 0.1, 0.1]}, [1], minibatch=9)}


class Yielding(PythonText):
    """Generators, which give way where threads meet."""

    def statement(self, statement):
        return ["yield"] if isinstance(statement, Meet) else super().statement(statement)

    def block(self, head, body):
        return super().block(head, body or ["pass"])


def shared(kernel: Kernel, operation: Operation, share: Share, namespace: dict):
    slots = {name: a.name for name, a in zip(kernel.arguments, operation.arguments, strict=False)
             if isinstance(a, Slot | Key)}
    printer = Yielding()
    lines = printer.lines(Sharing(share, sizes_of(kernel, operation.arguments), slots).body(kernel.body))
    body = "\n    ".join([*arguments_source(kernel.arguments), *lines, "yield"])
    found = dict(namespace, **{f"unsigned_{n}": n for n in printer.literals})
    exec(f"def function(m, indices, program, i, gates, rows_of_samples, t, pending, end_of_block):\n    {body}", found)
    return found["function"]


def together(functions, arguments) -> None:
    """One after the other, from meeting to meeting."""
    for ends in zip_longest(*(function(*arguments) for function in functions), fillvalue="ended"):
        assert "ended" not in ends, "threads meet as often as each other"


def idle_threads(runner: Native, start: np.ndarray) -> list[str]:
    """Of a step that begins with this memory: kernels of which the first thread does all. Fails where an order of the
    threads gives other bits than one thread."""
    block, kernels, group = runner.feed.block(2), runner.program.kernels.kernels, runner.kernels
    block.gates[:] = 1.0
    idle = []
    for i, operation in enumerate(runner.group.step):
        if operation.kernel not in kernels:
            continue
        kernel, namespace = kernels[operation.kernel], vars(group.module)
        threads = [shared(kernel, operation, Share(number, 3), namespace) for number in range(3)]

        def run(functions, i=i) -> np.ndarray:
            memory = start.copy()
            with np.errstate(all="ignore"):
                together(functions, (memory, group.indices, group.table, i, block.gates, block.rows, 1, True, 0))
            return memory.view(np.uint64)

        expected = run([shared(kernel, operation, Share(0, 1), namespace)])
        for order in permutations(threads):
            assert (run(order) == expected).all(), operation.kernel
        idle += [] if (run(threads[:1]) != expected).any() else [operation.kernel]
    return idle


@pytest.mark.parametrize("case", CASES)
def test_every_kernel_of_a_step_in_every_order_of_threads(case, monkeypatch):
    monkeypatch.setenv("CORTEXC_JIT", "0")
    with Session(load_experiment(CASES[case])) as session:
        session.run(7)
        memory = session.runner.memory
        assert idle_threads(session.runner, memory + np.random.default_rng(0).uniform(0, 0.1, len(memory))) == []


def test_kernels_of_random_circuits_in_every_order_of_threads():
    with plain_python():
        for seed in range(500, 508):
            setup = random_setup(RandomChoices(seed), Kinds(steps=16))
            runner = Native(lower(setup.graph), setup.protocol, setup.samples, list(setup.seeds), setup.noise)
            runner.run(5)
            idle_threads(runner, runner.memory)


@pytest.mark.skipif(c_compiler() is None, reason="threads run in C")
def test_minibatches_in_two_threads_have_the_bits_of_one():
    finals = []
    for threads in (1, 2):
        with Session(load_experiment(CASES["convolutional"], [f"run.threads={threads}"])) as session:
            assert session.runner.program.threads == threads
            session.run()
            finals.append(session.runner.memory[:].view(np.uint64).copy())
    assert (finals[0] == finals[1]).all()


def loops(*statements) -> Kernel:
    """total = 0; for j below 4: for k below 6: `statements` of (j, k)."""
    kernel = Kernel("of the test")
    rows, width = kernel.size("rows", 4), kernel.size("width", 6)
    with kernel.loop("j", rows) as j, kernel.loop("k", width) as k:
        for statement in statements:
            statement(kernel, Array("w", (rows, width)), Array("row", (width,)), j, k)
    return kernel


def of_second(kernel: Kernel) -> list:
    return Sharing(Share(1, 2), {"rows": 4, "width": 6}, {}).body(kernel.body)


def test_turns_that_touch_places_of_their_own_are_cut():
    loop, = of_second(loops(lambda kernel, w, row, j, k: kernel.add(w[j, k], row[k])))
    assert (loop.start, loop.stop) == (2, 4)


def test_a_loop_whose_turns_use_the_same_memory_is_taken_together():
    loop, = of_second(loops(lambda kernel, w, row, j, k: kernel.store(row[k], w[j, k])))
    inner, meeting = loop.body
    assert (loop.start, loop.stop.name, inner.start, inner.stop, meeting) == (0, "rows", 3, 6, Meet())


@pytest.mark.parametrize("place", [
    lambda j, k: Array("w", (6, 3))[k, j], lambda j, k: Array("w", (6,))[k + j], lambda j, k: Array("w", (6, 6))[j // 2, k],
    lambda j, k: Array("w", (1, 1))[j, 3 - j]], ids=["wider than its axis", "windows that overlap", "halves", "all the same"])
def test_places_that_turns_may_share_are_not_cut(place):
    found = of_second(loops(lambda kernel, w, row, j, k: kernel.add(place(j, k), row[k])))
    assert not any(isinstance(s, For) and s.start == 2 for s in found)


@pytest.mark.parametrize(("wide", "cut"), [(11, True), (10, False)])
def test_what_varies_below_an_axis_stays_within_it(wide, cut):
    """j * wide + k + i, of k and i below 6."""
    kernel = Kernel("of the test")
    w = Array("w", (4, wide))
    with kernel.loop("j", 4) as j, kernel.loop("k", 6) as k, kernel.loop("i", 6) as i:
        kernel.store(w[j, k + i], 1.0)
    assert any(isinstance(s, For) and s.start == 2 for s in of_second(kernel)) == cut


def test_blocks_of_an_axis_are_cut():
    kernel = Kernel("of the test")
    w = Array("w", (6, 64))
    with kernel.loop("first", 64, 0, 16) as first, kernel.loop("k", 6) as k, kernel.loop("i", 16) as i:
        kernel.store(w[k, first + i], 1.0)
    loop, = of_second(kernel)
    assert (loop.start, loop.stop, loop.step) == (32, 64, 16)


def test_what_another_turn_reads_is_not_cut():
    found = of_second(loops(lambda kernel, w, row, j, k: kernel.store(w[j, k], w[j + 1, k])))
    assert not any(isinstance(s, For) and s.start == 2 for s in found)


def test_a_sum_of_all_turns_is_made_by_all_threads():
    kernel = Kernel("of the test")
    total, w = kernel.let("total", 0.0), Array("w", (4,))
    with kernel.loop("j", kernel.size("rows", 4)) as j:
        kernel.set(total, total + w[j])
        kernel.store(w[j], 0.0)
    _, loop = of_second(kernel)
    assert (loop.start, loop.stop.name) == (0, "rows") and [type(s).__name__ for s in loop.body] == [
        "Let", "Meet", "Meet"]


def test_sums_whose_rows_store_are_not_cut():
    k, j, w = Index("k"), Index("j"), Array("w", (4, 32))
    plain = Accumulation(Array("sum", (32,))[k], Axis(k, 32), (Axis(j, 4),), w[j, k])
    storing = replace(plain, row=(Store(Array("now", (1,))[0], Number(1.0)),))
    assert Sharing(Share(1, 2), {}, {}).body([plain]) == [replace(plain, lanes=Axis(k, 16, 16))]
    assert Sharing(Share(1, 2), {}, {}).body([storing]) == []


def test_what_one_thread_alone_stores_is_met_for():
    kernel = Kernel("of the test")
    power = Array("power", (1,))
    kernel.store(power[0], power[0] * Name("beta"))
    kernel.let("left", power[0])
    assert [type(s).__name__ for s in of_second(kernel)] == ["Meet", "Let"]
    first = Sharing(Share(0, 2), {}, {}).body(kernel.body)
    assert [type(s).__name__ for s in first] == ["Store", "Meet", "Let"] and isinstance(first[0], Store)
