"""No name of the user's meets one of ours: a circuit full of our own names has the bits of one with harmless names."""

from __future__ import annotations

import ast
import importlib.util
import keyword
import os
from collections.abc import Iterator

import numpy as np
import pytest
from hostile_circuits import KINDS, circuit, setup

from cortexc.compiler.backends.interpreter import Interpreter
from cortexc.compiler.backends.lava.naming import class_names, local_names
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.backends.start import check_names
from cortexc.compiler.ir import CortexError, Graph, problems
from cortexc.compiler.ir.functions import ARITY
from cortexc.compiler.ir.model import Mirror
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.verify.mutation.campaign import plain_python
from cortexc.compiler.verify.runs import compiled, interpreted, quantities

MINE = {kind: f"own_{i}_" for i, kind in enumerate((*KINDS, "K"))}
"""Names that nothing else has."""
STEPS = 7


def words(text: str) -> set[str]:
    """Every identifier in a piece of Python."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        found |= {getattr(node, field) for field in ("id", "name", "arg", "attr", "asname") if
                  isinstance(getattr(node, field, None), str)}
    return {part for name in found for part in (name, name.rpartition(".")[2]) if part.isidentifier()}


def our_names() -> list[str]:
    """Names in emitted modules, of slots, of Lava's classes and their attributes, of the language and of Python."""
    graph = circuit(MINE)
    program = lower(Partition("population").apply(graph))
    texts = {program.source, lower(circuit(MINE), frozenset(quantities(graph, increments=True))).source}
    names = {name for text in texts for name in words(text)} | set(ARITY) | set(keyword.kwlist)
    names |= {slot.split(".", 1)[1].partition("#")[0] for slot in program.slots.sizes if "." in slot}
    names |= {"tick", "pre", "post", "gate", "table", "mirror", "network", "host", "core_0", "P0", "Q0", "P1", "unsigned",
              "unsigned_8", "draw_low", "constant", "in_port", "out_port", "group_model", "abstract_process", "cpu",
              "protocol", "lif", "dense", "learning_dense", "py_in_port", "np", "sys", "works", "MODELS", "none", "true",
              "__init__", "__class__", "_x", "__x", "work", "samples", "unsigned_" + "9" * 40, "list", "print", "super", "self",
              "float"}
    if importlib.util.find_spec("lava"):
        names |= lava_names(program)
    return sorted(name for name in names if name.isidentifier() and "own_" not in name)


def lava_names(program) -> set[str]:
    from lava.magma.core.process.process import AbstractProcess

    from cortexc.compiler.backends.lava.emit import network_source
    from cortexc.lava_procs.group import AsyncGroupModel, LoihiGroupModel

    return words(network_source(program)) | {n for each in (AbstractProcess, AsyncGroupModel, LoihiGroupModel)
                                             for n in dir(each)}


NAMES = our_names()


def hostile(number: int) -> dict[str, str]:
    """A name of ours for every kind of the circuit, other ones for every number; those that are refused with a code
    stay as they were."""
    chosen = {kind: NAMES[(number + 53 * i) % len(NAMES)] for i, kind in enumerate((*KINDS, "K"))}
    return {**MINE, **chosen} if valid({**MINE, **chosen}) else {
        kind: name if valid({**MINE, kind: name}) else MINE[kind] for kind, name in chosen.items()}


def valid(names: dict[str, str]) -> bool:
    try:
        graph = circuit(names)
        check_names(graph)
    except CortexError:
        return False
    return not problems(graph)


def trajectory(graph: Graph, on: str, granularity: str = "network") -> list[np.ndarray]:
    """Every quantity of a run, in the order in which the graph declares them."""
    wanted, case = quantities(graph), setup(graph, STEPS)
    chunks = list(interpreted(case, wanted) if on == "interpreter" else compiled(case, wanted, on, granularity))
    return [np.concatenate([chunk[name] for chunk in chunks]) for name in wanted]


def same(graph: Graph, wanted: list[np.ndarray], on: str, granularity: str = "network") -> bool:
    found = trajectory(graph, on, granularity)
    return len(found) == len(wanted) and all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.fixture(scope="module")
def harmless() -> Iterator[list[np.ndarray]]:
    with plain_python():
        yield trajectory(circuit(MINE), "interpreter")


def test_our_names_are_found():
    assert len(NAMES) > 250 and {"m", "row", "unsigned", "np", "njit", "exp", "held"} <= set(NAMES)


def check_rounds(rounds: range, harmless: list[np.ndarray]) -> None:
    replaced = 0
    with plain_python():
        for number in rounds:
            names = hostile(number)
            replaced += sum(names[kind] != MINE[kind] for kind in names)
            graph = circuit(names)
            for on, granularity in (("interpreter", "network"), ("native", "network"), ("native", "population")):
                assert same(graph, harmless, on, granularity), (number, on, granularity, names)
    assert replaced > 0.7 * len(rounds) * len(MINE)


def test_some_of_our_names_everywhere(harmless):
    check_rounds(range(0, len(NAMES), len(NAMES) // 10), harmless)


@pytest.mark.slow
def test_more_of_our_names_everywhere(harmless):
    """`make test-long` takes every fifth."""
    check_rounds(range(1, len(NAMES), int(os.environ.get("CORTEXC_NAMES", "25"))), harmless)


PAIRS = [
    {"hebb": "P0", "eta": "P0", "trace": "Q0", "draw": "x"}, {"trace": "post_factor0", "kept": "clipped_sums"},
    {"draw": "a", "trace": "a_low"}, {"eta": "pre", "trace": "post"}, {"T": "post", "noise": "key"},
    {"noise": "redrawn", "unit": "unsigned", "source": "unsigned_8"}, {"u": "u_1", "spike": "u"},
    {"port": "m", "other_port": "m_0", "u": "k", "spike": "n", "tau": "t", "gain": "i"}]


@pytest.mark.parametrize("names", PAIRS, ids=lambda names: "-".join(names.values()))
def test_names_that_once_met(names, harmless):
    with plain_python():
        graph = circuit({**MINE, **names})
        assert problems(graph) == []
        assert same(graph, harmless, "native") and same(graph, harmless, "native", "population")


@pytest.mark.parametrize("kind, name", [("hidden", "gate"), ("W", "table"), ("trace", "increment"), ("trace", "current"),
                                        ("kept", "mask"), ("trace", "low_pass"), ("draw", "adam")])
def test_what_would_have_two_meanings_is_refused(kind, name):
    with pytest.raises(CortexError, match="E512"):
        lower(circuit({**MINE, kind: name}))


@pytest.mark.parametrize("array", ["__metadata__", "table.T"])
def test_arrays_of_mirrors(array):
    graph = circuit({})
    mirrors = (Mirror("V", "W", (f"add:{array}",)),)
    graph = graph.with_(mirrors=mirrors, arrays={array: np.ones((2, 3)), **graph.arrays})
    for make in (lower, Interpreter):
        with pytest.raises(CortexError, match="E512|E2"):
            make(graph)


# ---- Lava: names of ports and classes


def test_ports_of_a_process_are_apart():
    graph = circuit({})
    slots = ["a_b.c", "a.b_c", "a.x#1", "a.x_before1", "a.__y", "a.own__y", "hidden.u", "a.hidden_u"]
    names = local_names(graph, "hidden", slots)
    assert len(set(names.values())) == len(slots)
    assert all(name.isidentifier() and name[0] != "_" for name in names.values())


def test_classes_are_apart_from_each_other_and_from_ours():
    cells = ["in_port", "abstract_process", "protocol", "none", "ab_c", "AbC", "abc", "x", "x_model", "x2", "__", "cpu"]
    text = "graph g\n" + "".join(f"cell {cell}\n  input i\n  send r = i\npopulation p{i} {cell} 1\n"
                                 for i, cell in enumerate(cells))
    from cortexc.compiler.ir import parse_graph

    graph = parse_graph(text)
    groups = {f"p{i}": (i,) for i in range(len(cells))} | {"other": (3,)}
    classes = class_names(graph, groups, ("Dense", "LIF"))
    taken = [name for each in classes.values() for name in (each, f"{each}Model")]
    assert len(set(taken)) == len(taken) and not set(taken) & {"InPort", "AbstractProcess", "Protocol", "None", "CPU"}
    assert all(name.isidentifier() and not keyword.iskeyword(name) for name in taken)


@pytest.mark.lava
@pytest.mark.parametrize("names", [
    {"rate": "tick", "unit": "in_port", "relay": "abstract_process", "source": "group_model", "forward": "protocol",
     "back": "py_out_port", "pass": "out_port", "summed": "none", "hidden": "np", "input": "sys", "W": "works", "B": "p",
     "u": "name", "spike": "run", "plain": "model", "K": "build", "top": "MODELS", "area": "run", "I": "work"},
    {"rate": "__rate", "u": "_u", "spike": "step", "unit": "a", "relay": "a_model", "source": "a2", "hidden": "a_b",
     "top": "a", "input": "self", "side": "super", "W": "list", "V": "print", "T": "tick"}])
def test_lava_with_our_names(names, harmless):
    graph = circuit({**MINE, **names})
    wanted, case = quantities(graph), setup(graph, STEPS)
    found = list(compiled(case, wanted, "lava", "population"))
    for name, values in zip(wanted, harmless, strict=True):
        assert np.array_equal(np.concatenate([chunk[name] for chunk in found]), values), name
