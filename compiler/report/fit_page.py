"""The answer of a fit as a page: verdicts, the chip drawn, limits, costs, sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cortexc.compiler.mapping.fit import NO, OPEN, YES, Fit
from cortexc.compiler.mapping.report import binds, counting, energies, percent, priced, times
from cortexc.compiler.report.chip import chip_drawing
from cortexc.compiler.report.parts import Cell, Facts, Listing, Page, Section, Table, Text, counted, number, rendered
from cortexc.hardware_maps import FIELDS

MARKS = {NO: "bad", OPEN: "open", YES: "good"}
MOST_ROWS, LETTERS = 24, 90


def fit_page(experiment: str, found: Sequence[Fit]) -> str:
    """The page; it needs nothing but itself."""
    tables = [fit.as_dict() for fit in found]
    heads = ("map", "fits", "cores", "chips", "busiest core", "packets / step", "what binds")
    overview = Section("Hardware maps", [Table("Hardware maps", heads, [_row(table) for table in tables])])
    sections = [Section(table["title"], [Text(sentence(table)), chip_drawing(fit), *_limits(table),
                                         Text("Cores", "heading"), _cores(fit), *_costs(table)],
                        table["map"], (table["fits"], MARKS[table["fits"]]))
                for fit, table in zip(found, tables, strict=True)]
    title = f"{found[0].graph.name} on {counted(len(found), 'hardware map')}"
    return rendered(Page(title, f"cortexc fit · {experiment}", lead(tables), None, [overview, *sections]))


def lead(tables: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The verdicts, what they rest on, and whether costs were estimated."""
    words = (("Fits", YES), ("Not excluded", OPEN), ("Does not fit", NO))
    verdicts = [f"{word}: {'; '.join(names)}" for word, mark in words
                if (names := [table["title"] for table in tables if table["fits"] == mark])]
    assumed, unchecked = (sorted({name for table in tables for name in table[kind]})
                          for kind in ("assumed", "unchecked"))
    said = [f"Limits are those of the maps; assumed are {', '.join(assumed)}." if assumed else
            "Limits are published ones, or follow from such.",
            f"Never published and not checked: {', '.join(unchecked)}." if unchecked else "Every limit was checked."]
    costs = any(table["estimates"] for table in tables)
    said += ["Costs are estimates, never measurements."] if costs else []
    return ". ".join([*verdicts, ""]).strip(), " ".join(said)


def _row(table: dict[str, Any]) -> list[Cell]:
    return [Cell(table["title"], href=table["map"]), Cell(table["fits"], mark=MARKS[table["fits"]]),
            number(table["cores"], ","), number(table["chips"], ","),
            _share(max((c["share"] for c in table["utilisation"]), default=0.0)),
            number(table["traffic"]["packets_per_step"], ",.4g"), Cell(binds(table))]


def _share(share: float, note: str = "") -> Cell:
    return Cell(percent(share), share, share=share, note=note)


def sentence(table: dict[str, Any]) -> str:
    binding, traffic = table["binding"], table["traffic"]
    text = (f"{counted(table['cores'], 'core')} on {counted(table['chips'], 'chip')}; "
            f"{traffic['packets_per_step']:,.4g} packets between cores per step over {traffic['hops_per_step']:,.4g} "
            f"tile hops ({traffic['rates']}). Counted: {counting(table)}.")
    if not binding:
        return text + " No limit binds."
    if binding["share"] is None:
        return text + f" What binds is a learning rule: {binding['source']}. {binding['advice']}"
    value = "no limit" if binding["value"] is None else f"{binding['value']:,.0f}"
    return text + (f" What binds is {binding['limit']}: {binding['amount']:,.0f} of {value} {binding['unit']} at "
                   f"{binding['where']} ({binding['source']}). {binding['advice']}")


def _limits(table: dict[str, Any]) -> Iterator[Any]:
    """Those that are broken, and those that the answer does not rest on."""
    found = table["violations"]
    if found:
        more = f", the first {MOST_ROWS}" if len(found) > MOST_ROWS else ""
        yield Text(f"Limits that are broken ({len(found)}{more})", "heading")
        yield Listing([(b["code"], b["message"], b["advice"]) for b in found[:MOST_ROWS]])
    rows = [[Cell(kind, mark="open"), Cell(name), Cell(FIELDS[name][1]), Cell(why)]
            for key, kind in (("open", "open"), ("unchecked", "not checked"), ("assumed", "assumed"))
            for name, why in table[key].items()]
    if rows:
        yield Text("What the answer does not rest on", "heading")
        yield Table("What the answer does not rest on", ("", "limit", "what it is", "why"), rows)


def _cores(fit: Fit) -> Table:
    """The busiest cores, resource by resource."""
    order = np.argsort(-fit.shares.max(axis=1, initial=0.0), kind="stable")[:MOST_ROWS]
    shown = [i for i, r in enumerate(fit.problem.columns) if fit.used[:, i].max(initial=0.0) > 0]
    heads = [fit.problem.columns[i].name.partition(".")[2].replace("_", " ") for i in shown]
    rows = []
    for core in map(int, order):
        holds = fit.core(core)["holds"]
        short = holds if len(holds) < LETTERS else holds[:LETTERS - 3] + "..."
        rows.append([number(core, "d"), Cell(short, note=holds), *(_use(fit, core, i) for i in shown)])
    more = fit.mapping.cores - len(order)
    return Table("The busiest cores", ("core", "holds", *heads), rows, f"and {more:,} with less" if more else "")


def _use(fit: Fit, core: int, column: int) -> Cell:
    amount, bound = float(fit.used[core, column]), fit.problem.columns[column].bound
    if not np.isfinite(bound):
        return number(amount, ",.0f")
    return _share(float(fit.shares[core, column]), f"{amount:,.0f} of {bound:,.0f}")


def _costs(table: dict[str, Any]) -> Iterator[Any]:
    bench = table["neurobench"]
    whole = {name: _amount(bench[name]) for name in
             ("Footprint", "ParameterCount", "Connections", "ConnectionSparsity", "ActivationSparsity")}
    steps = {**bench["per_step"]["SynapticOperations"], **{name: bench["per_step"][name] for name in
                                                          ("MembraneUpdates", "NeuronOperations")}}
    yield Text("Counts", "heading")
    yield Facts([(name, value, "") for name, value in whole.items()]
                + [(name, _amount(value), "per step") for name, value in steps.items()])
    yield Text("NeuroBench's names, counted from the structure and the rates; and Connections, of which several can "
               f"share a parameter. {table['plasticity']}.", "note")
    yield Text("Energy and time, estimated", "heading")
    if not table["estimates"]:
        yield Text("The map has no figures per operation, so none are given.")
    for estimate in table["estimates"]:
        yield from _estimate(estimate)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def _estimate(table: dict[str, Any]) -> Iterator[Any]:
    learning = table["always_on_plasticity"]
    yield Facts([("Profile", table["profile"], "as if it fitted" if table["as_if_it_fitted"] else "estimate"),
                 ("Energy", energies(table), f"per sample of {table['steps_per_sample']} steps"),
                 ("Time", times(table), f"per sample of {table['steps_per_sample']} steps"),
                 ("Always-on plasticity", percent(learning["share"]) if learning["priced"] else "not priced",
                  "of the upper energy" if learning["priced"] else "")])
    sources = "; ".join(table["sources"])
    yield Text(f"{priced(table)}boundary: {table['boundary']}; {table['conditions']}; {sources}", "note")
