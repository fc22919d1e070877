"""The list of passes: verified, timed, and a failing pass named with those before it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from cortexc.compiler.ir import CortexError, Graph, show_graph
from cortexc.compiler.passes import PASSES, PIPELINE, Request, Target, observable, pipeline, run_passes, run_pipeline


@dataclass(frozen=True)
class Rename:
    to: str = "renamed"
    name: ClassVar[str] = "rename"

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(name=self.to)


@dataclass(frozen=True)
class Break(Rename):
    name: ClassVar[str] = "break"

    def apply(self, graph: Graph, request: Request) -> Graph:
        return graph.with_(cells=tuple(replace(cell, equations=()) for cell in graph.cells))


@dataclass(frozen=True)
class Crash(Rename):
    name: ClassVar[str] = "crash"

    def apply(self, graph: Graph, request: Request) -> Graph:
        raise KeyError("nothing")


@dataclass(frozen=True)
class Refuse(Rename):
    name: ClassVar[str] = "refuse"

    def apply(self, graph: Graph, request: Request) -> Graph:
        raise CortexError("E999", "too large.", "Shrink it.")


def test_the_report_keeps_the_text_and_the_time_of_each_pass(pal) -> None:
    report = run_passes(pal(), [Rename("one"), Rename("two")])
    assert [record.name for record in report.records] == ["rename", "rename"]
    assert all(record.seconds > 0 for record in report.records)
    assert report.graph.name == "two" and report.records[0].text.startswith("graph one\n")
    assert report.records[-1].text == show_graph(report.graph)


def test_the_text_after_a_pass(pal) -> None:
    report = run_passes(pal(), pipeline())
    assert [record.name for record in report.records] == list(PIPELINE)
    assert "prev(prev(u))" in report.after("fold") and "prev(prev(u))" not in report.after("eliminate-lookahead")
    assert pipeline("fold") == pipeline(["fold"])
    with pytest.raises(CortexError, match="E261 unknown pass 'flod'; known: .*Did you mean 'fold'"):
        report.after("flod")


def test_arrays_travel_with_the_graph(pal) -> None:
    graph = pal()
    assert set(run_passes(graph, []).graph.arrays) == set(graph.arrays)


@pytest.mark.parametrize("fault, says", [
    (Break(), "E263 pass 'break' \\(after rename, rename\\) left a graph that is not valid: E2"),
    (Crash(), "E263 pass 'crash' \\(after rename, rename\\) failed on graph 'renamed': KeyError: 'nothing'"),
    (Refuse(), "E999 pass 'refuse' \\(after rename, rename\\): too large. Shrink it.")])
def test_a_failing_pass_is_named_with_those_before_it(pal, fault: Rename, says: str) -> None:
    with pytest.raises(CortexError, match=says) as caught:
        run_passes(pal(), [Rename(), Rename(), fault])
    assert caught.value.__cause__ is not None


def test_the_pipeline_names_all_passes_before_a_failing_one(pal) -> None:
    with pytest.raises(CortexError, match="E263 pass 'crash' \\(after discretise, fold, eliminate-lookahead\\) failed"):
        run_pipeline(pal(), target=Target(hoist=Crash()))


@pytest.mark.parametrize("granularity, across", [("network", ["hoist-constant-input", "fuse-update", "defer-decay"]), ("area", [])])
def test_passes_across_steps_need_one_group(pal, granularity: str, across: list[str]) -> None:
    records = run_pipeline(pal(), target=Target(granularity, without=frozenset({"fold"}))).records
    assert [r.name for r in records] == ["discretise", "eliminate-lookahead", *across, "partition"]


def test_an_invalid_graph_is_refused_before_the_first_pass(pal) -> None:
    with pytest.raises(CortexError, match="E243"):
        run_passes(pal().with_(arrays={}), [Crash()])


def test_an_unknown_observed_name_is_refused(pal) -> None:
    with pytest.raises(CortexError, match="E262 unknown observed quantity of graph 'pal-2-3-2' 'P0.rats'.*'P0.rate'"):
        run_passes(pal(), [], Request(frozenset({"P0.rats"})))


def test_what_can_be_observed(pal) -> None:
    known = observable(pal())
    assert {"P0.u", "P0.basal", "P0.white", "input.value", "WPP_0.w", "WPP_0.increment", "WPP_0.current",
            "WPP_0.low_pass", "twin_0.current"} <= known
    assert {"twin_0.w", "twin_0.increment", "P0.tau"}.isdisjoint(known)


def test_a_request_observes() -> None:
    assert Request(frozenset({"a.u"})).observes("a.v", "a.u") and not Request().observes("a.u")
    assert Request(everything=True).observes("a.u")


def test_the_table_names_its_passes() -> None:
    assert all(PASSES[name]().name == name for name in PIPELINE)
    with pytest.raises(CortexError, match="E261 unknown pass 'hoist'"):
        pipeline(["hoist"])
