"""Codes that Python, the environment or a fault brings about, one case each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cortexc.compiler.backends.kernels import c_text
from cortexc.compiler.backends.lowering import lower
from cortexc.compiler.bench import circuit_speed, networks, sweep
from cortexc.compiler.cli.app import execute
from cortexc.compiler.cli.command import guarded
from cortexc.compiler.cli.output import Output
from cortexc.compiler.experiments.simulation import simulate
from cortexc.compiler.experiments.underflow import Underflow, announce
from cortexc.compiler.ir import CortexError, Graph, parse_graph
from cortexc.compiler.ir.errors import CortexWarning
from cortexc.compiler.ir.expressions import Call, Name
from cortexc.compiler.ir.protocol import Phase, Protocol
from cortexc.compiler.mapping.fit import fit
from cortexc.compiler.microcircuits import circuit
from cortexc.compiler.microcircuits.eprop import Eprop, normal_start
from cortexc.compiler.microcircuits.rivals import Ann, build_ann
from cortexc.compiler.microcircuits.starts import drawn_by_rule
from cortexc.compiler.passes import Request
from cortexc.compiler.passes.partition import Partition
from cortexc.compiler.passes.quantise import Quantise
from cortexc.compiler.verify import Setup, verify_setup
from cortexc.hardware_maps import load_map

LEAKY = """graph g
  dt 1
  gate learn
cell source
  input value
  send rate = value
  message rate
cell leaky
  port drive
  state u = 0
  receive u = 0.5 * prev(u) + drive
rule hebb
  increment post.u * pre.rate
synapse s
  message rate
  port drive
  rule hebb
population a source 2
population b leaky 3
projection W s a -> b gate=learn
"""
PROTOCOL = Protocol((Phase("all", 3, 1),), ("all",))


def leaky(**options: Any) -> Graph:
    """The circuit; `group` of population b, `lowering` and `increment` of the projection."""
    graph = parse_graph(LEAKY.replace("post.u * pre.rate", options.get("increment", "post.u * pre.rate"))).with_(
        arrays={"W.w": np.zeros((3, 2))})
    a, b = graph.populations
    (w,) = graph.projections
    return graph.with_(populations=(a, replace(b, group=options.get("group", ""))),
                       projections=(replace(w, lowering=options.get("lowering", "")),))


def no_memory() -> int:
    raise MemoryError


CASES: dict[str, Callable[[], Any]] = {
    "E300 circuit 'palm'": lambda: circuit("palm"),
    "E316 start 'zero' takes no ranges, got W": lambda: drawn_by_rule(None, None, ["W"]),
    "E316 start 'normal' takes no ranges, got W": lambda: normal_start(Eprop(), [1], {"W": (0, 1)}),
    "E327 circuit 'ann' has no lateral weights that 'eta_IP'": lambda: build_ann(Ann((2, 2, 1), eta_IP=(0.1,))),
    "E513 group 'x:1[+]y:3' of 'b' divides 4 cells; population 'b' has 3": lambda: lower(leaky(group="x:1+y:3")),
    "E514 cannot lower": lambda: c_text.CText({}).value(Call("sine", (Name("x"),))),
    "E602 granularity 'population' .* projections W are lowered across steps":
        lambda: Partition("population").apply(leaky(lowering="fused")),
    "E603 population of the mapping 'c'": lambda: Partition("neurocore", (("c", "core_0"),)).apply(leaky()),
    "E614 rounding 'up' is unknown": lambda: Quantise({}, rounding="up").apply(leaky(), Request()),
    "M112 graph 'g' has no population to place": lambda: fit(leaky().with_(
        populations=leaky().populations[:1], projections=(), arrays={}), load_map("loihi1")),
    "V124 the interpreter would be compared with itself": lambda: verify_setup(Setup(leaky(), PROTOCOL, np.ones((3, 2))), "interpreter"),
    "X186 there is no Python '/nowhere/python' for nest": lambda: networks.python_of("nest", {"nest": "/nowhere/python"})}


@pytest.mark.parametrize("says", CASES)
def test_what_is_refused(says: str) -> None:
    with pytest.raises(CortexError, match=says.replace(" ", " (unknown )?", 1)):
        CASES[says]()


@pytest.mark.parametrize("arguments, says", [
    (["verify", "--golden", "x.npz", "--steps", "3"], "X209 verify --golden does not use --steps"),
    (["sweep", "pal_digits", "--over", "run.seeds=1", "-o", "x", "--sampler", "random"], "X215 sampler 'random'")])
def test_options_that_do_not_go_together(capsys: Any, arguments: list[str], says: str) -> None:
    assert execute(arguments) == 2 and says in capsys.readouterr().err.replace("unknown ", "")


def test_a_variable_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXC_KERNELS", "rust")
    with pytest.raises(CortexError, match="X159 .*CORTEXC_KERNELS.*'rust'"):
        simulate(leaky(), 3)


def test_recordings_without_memory_are_refused_before_it_is_taken() -> None:
    with pytest.raises(CortexError, match=r"E528 the recordings of graph 'g' need .* 4,000,000,000,000 rows of 16 numbers"):
        simulate(leaky(), 4 * 10**12, record=["W.w"], gates={"learn": 1.0})


def test_no_memory_is_no_traceback(capsys: Any) -> None:
    assert guarded(Output(False), no_memory) == 2 and capsys.readouterr().err.startswith("X192 there is not enough memory")


def test_what_becomes_0_of_what_a_cell_sends_is_a_warning() -> None:
    lost = Underflow("P0.rate", "signal", 0.95, 95, 100, 0.25, 0.2, "run")
    with pytest.warns(CortexWarning, match=r"E622 95 of 100 non-zero values of 'P0.rate' \(95 %\).*0\.25; the limit is 90 %"):
        announce([lost])
    announce([replace(lost, share=0.85, zero=85)])


def test_a_run_whose_workers_died_is_a_row() -> None:
    assert sweep._lost(3)["error"].startswith("X212 workers died in this run again and again.")


def test_a_yardstick_of_another_circuit_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit_speed, "LIMIT", -1.0)
    monkeypatch.setattr(circuit_speed, "CHECKED", 2)
    with circuit_speed._session("native", 1) as session, pytest.raises(CortexError, match="X183 the numpy yardstick differs"):
        circuit_speed._numpy(session)
