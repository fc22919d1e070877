"""The answer of a fit as one self-contained HTML page: verdicts, the chip drawn, limits, costs, sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from cortexc.compiler.mapping.chip_svg import OVER, RAMP, chip_svg, colour
from cortexc.compiler.mapping.fit import NO, OPEN, YES, Fit
from cortexc.compiler.mapping.report import binds, energies, percent, priced, times
from cortexc.hardware_maps import FIELDS

SHADES = {NO: "no", OPEN: "open", YES: "yes"}
MOST_ROWS = 24


def fit_page(experiment: str, found: Sequence[Fit]) -> str:
    """The page; it needs nothing but itself."""
    sections = "".join(_section(fit, fit.as_dict()) for fit in found)
    rows = "".join(_summary(fit.as_dict()) for fit in found)
    title = f"{escape(found[0].graph.name)} on {len(found)} hardware map{'s' if len(found) > 1 else ''}"
    style, script = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<style>\n{style}</style></head><body>'
            f"<header><p class=\"eyebrow\">cortexc fit &middot; {escape(experiment)}</p><h1>{title}</h1>"
            f"<p class=\"lead\">{escape(_lead([fit.as_dict() for fit in found]))}</p></header>"
            f"<main><table class=\"maps\"><thead><tr><th>map</th>"
            f"<th>fits</th><th>cores</th><th>chips</th><th>busiest core</th><th>packets / step</th><th>what binds</th>"
            f"</tr></thead><tbody>{rows}</tbody></table>{sections}</main><script>\n{script}</script>"
            "</body></html>\n")


def _lead(tables: Sequence[dict[str, Any]]) -> str:
    """What the answers rest on, and whether costs were estimated."""
    assumed, unchecked = (sorted({name for table in tables for name in table[kind]})
                          for kind in ("assumed", "unchecked"))
    said = [f"Limits are those of the maps; assumed are {', '.join(assumed)}." if assumed else
            "Limits are published ones, or follow from such.",
            f"Never published and not checked: {', '.join(unchecked)}." if unchecked else "Every limit was checked."]
    costs = any(table["estimates"] for table in tables)
    return " ".join([*said, "Costs are estimates, never measurements."] if costs else said)


def _summary(table: dict[str, Any]) -> str:
    share = max((c["share"] for c in table["utilisation"]), default=0.0)
    return (f'<tr><td><a href="#{escape(table["map"])}">{escape(table["title"])}</a></td><td>{_badge(table["fits"])}'
            f"</td><td>{table['cores']:,}</td><td>{table['chips']:,}</td><td>{_meter(share)}</td>"
            f"<td>{table['traffic']['packets_per_step']:,.4g}</td><td>{escape(binds(table))}</td></tr>")


def _badge(verdict: str) -> str:
    return f'<span class="badge {SHADES[verdict]}">{verdict}</span>'


def _meter(share: float) -> str:
    width = 100 * min(share, 1.0)
    return (f'<span class="meter"><i style="width:{width:.1f}%;background:{colour(share)}"></i></span>'
            f'<span class="number">{percent(share)}</span>')


def _section(fit: Fit, table: dict[str, Any]) -> str:
    parts = [f'<section id="{escape(table["map"])}"><h2>{escape(table["title"])} {_badge(table["fits"])}</h2>',
             f"<p>{_sentence(table)}</p>", f'<div class="stage"><figure>{chip_svg(fit)}<figcaption>{_legend(fit)}'
             "</figcaption></figure></div>", *_breaches(table), *_open_limits(table), _cores(fit), *_costs(table),
             "</section>"]
    return "".join(parts)


def _sentence(table: dict[str, Any]) -> str:
    binding, traffic = table["binding"], table["traffic"]
    text = (f"{table['cores']:,} core{'s' if table['cores'] > 1 else ''} on {table['chips']:,} "
            f"chip{'s' if table['chips'] > 1 else ''}; {traffic['packets_per_step']:,.4g} packets between cores per "
            f"step over {traffic['hops_per_step']:,.4g} tile hops ({escape(traffic['rates'])}).")
    if not binding:
        return text + " No limit binds."
    if binding["share"] is None:
        return text + f" What binds is a learning rule: {escape(binding['source'])}. {escape(binding['advice'])}"
    value = "no limit" if binding["value"] is None else f"{binding['value']:,.0f}"
    return text + (f" What binds is <b>{escape(binding['limit'])}</b>: {binding['amount']:,.0f} of {value} "
                   f"{escape(binding['unit'])} at {escape(binding['where'])} "
                   f'<span class="source">{escape(binding["source"])}</span>. {escape(binding["advice"])}')


def _legend(fit: Fit) -> str:
    beyond = int(fit.mapping.positions.max(initial=0)) >= fit.problem.geometry.cores
    missing = '<span class="key missing"></span> not there: the system has fewer chips &nbsp; ' if beyond else ""
    stops = ", ".join(f"{colour(at)} {100 * at:.0f}%" for at, _ in RAMP)
    return (f'<span class="ramp" style="background:linear-gradient(90deg, {stops})"></span> 0 to 100 % of the limit '
            f'that is nearest &nbsp; <span class="key" style="background:{OVER}"></span> over a limit &nbsp; '
            f'{missing}'
            f'<span class="key line"></span> packets per step (the {len(fit.mapping.positions):,} cores in use are '
            "drawn where they are; point at one to see its traffic)")


def _breaches(table: dict[str, Any]) -> Iterator[str]:
    if not table["violations"]:
        return
    yield f"<h3>Limits that are broken ({len(table['violations'])})</h3><ol class=\"breaches\">"
    for breach in table["violations"][:MOST_ROWS]:
        yield (f"<li><code>{breach['code']}</code> {escape(breach['message'])} "
               f'<em>{escape(breach["advice"])}</em></li>')
    yield "</ol>"
    if len(table["violations"]) > MOST_ROWS:
        yield f"<p>and {len(table['violations']) - MOST_ROWS} more</p>"


def _open_limits(table: dict[str, Any]) -> Iterator[str]:
    if not table["unchecked"] and not table["open"] and not table["assumed"]:
        return
    yield "<h3>What the answer does not rest on</h3><table class=\"limits\"><tbody>"
    for name, why in table["open"].items():
        yield _limit("open", name, why)
    for name, why in table["unchecked"].items():
        yield _limit("not checked", name, why)
    for name, text in table["assumed"].items():
        yield _limit("assumed", name, text)
    yield "</tbody></table>"


def _limit(kind: str, name: str, why: str) -> str:
    return (f'<tr><td><span class="badge open">{kind}</span></td><td><b>{escape(name)}</b><br>'
            f'{escape(FIELDS[name][1])}</td><td class="source">{escape(why)}</td></tr>')


def _cores(fit: Fit) -> str:
    """The busiest cores, resource by resource."""
    order = np.argsort(-fit.shares.max(axis=1, initial=0.0), kind="stable")[:MOST_ROWS]
    shown = [i for i, r in enumerate(fit.problem.columns) if fit.used[:, i].max(initial=0.0) > 0]
    heads = "".join(f"<th>{escape(fit.problem.columns[i].name.partition('.')[2].replace('_', ' '))}</th>"
                    for i in shown)
    rows = "".join(_core(fit, int(core), shown) for core in order)
    more = fit.mapping.cores - len(order)
    return (f"<h3>Cores</h3><div class=\"wide\"><table class=\"cores\"><thead><tr><th>core</th><th>holds</th>{heads}"
            f"</tr></thead><tbody>{rows}</tbody></table></div>" + (f"<p>and {more:,} with less</p>" if more else ""))


def _core(fit: Fit, core: int, shown: list[int]) -> str:
    cells = "".join(_use(float(fit.used[core, i]), float(fit.shares[core, i]), fit.problem.columns[i].bound)
                    for i in shown)
    held = fit.core(core)["holds"]
    return f"<tr><td>{core}</td><td>{escape(held if len(held) < 90 else held[:87] + '...')}</td>{cells}</tr>"


def _use(amount: float, share: float, bound: float) -> str:
    if not np.isfinite(bound):
        return f"<td>{amount:,.0f}</td>"
    return f'<td title="{amount:,.0f} of {bound:,.0f}">{_meter(share)}</td>'


def _costs(table: dict[str, Any]) -> Iterator[str]:
    bench = table["neurobench"]
    yield ("<h3>Counts</h3><p class=\"source\">NeuroBench's names, counted from the structure and the rates; and "
           "Connections, of which several can share a parameter</p>"
           "<dl class=\"counts\">")
    for name in ("Footprint", "ParameterCount", "Connections", "ConnectionSparsity", "ActivationSparsity"):
        yield f"<div><dt>{name}</dt><dd>{bench[name]:,.4g}</dd></div>"
    for name, value in {**bench["per_step"]["SynapticOperations"], "MembraneUpdates": bench["per_step"][
            "MembraneUpdates"], "NeuronOperations": bench["per_step"]["NeuronOperations"]}.items():
        yield f"<div><dt>{name} / step</dt><dd>{value:,.6g}</dd></div>"
    yield f"</dl><p>{escape(table['plasticity'])}.</p>"
    yield "<h3>Energy and time <span class=\"badge open\">estimate</span></h3>"
    if not table["estimates"]:
        yield "<p>The map has no figures per operation, so none are given.</p>"
    for estimate in table["estimates"]:
        yield _estimate(estimate)


def _estimate(table: dict[str, Any]) -> str:
    learning = table["always_on_plasticity"]
    fitted = ' <span class="badge no">as if it fitted</span>' if table["as_if_it_fitted"] else ""
    share = f"{percent(learning['share'])} of the upper figure" if learning["priced"] else "not priced"
    return (f'<div class="cost"><b>{escape(table["profile"])}</b>{fitted}<span>{energies(table)}</span>'
            f"<span>{times(table)}</span><span>per sample of {table['steps_per_sample']} steps</span>"
            f"<span>always-on plasticity: {share}</span><p class=\"source\">{escape(priced(table))}boundary: "
            f"{escape(table['boundary'])}; {escape(table['conditions'])}; {escape('; '.join(table['sources']))}"
            "</p></div>")
