"""The answer of a fit as one JSON object and as text: a table across maps, then each map's limits and cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cortexc.compiler.ir.text import aligned
from cortexc.compiler.mapping.fit import NO, OPEN, YES, Fit

ORDER = (NO, OPEN, YES)
SHOWN_CORES = 12


def fit_table(experiment: str, found: Sequence[Fit]) -> dict[str, Any]:
    """The object of `fit --json`: that of the map with the worst answer, and all of them in `maps`."""
    tables = [each.as_dict() for each in found]
    worst = min(tables, key=lambda table: ORDER.index(table["fits"]))
    return {"experiment": experiment, "circuit": found[0].graph.name, **worst, "maps": tables}


def fit_text(experiment: str, found: Sequence[Fit]) -> str:
    tables = [each.as_dict() for each in found]
    rows = [("map", "fits", "cores", "chips", "busiest core", "packets/step", "what binds"), *map(_row, tables)]
    lines = [f"{experiment}: {found[0].graph.name}", *(f"  {line}" for line in aligned(rows))]
    for table in tables:
        lines += ["", *_detail(table)]
    return "\n".join(lines)


def _row(table: dict[str, Any]) -> tuple[str, ...]:
    return (table["map"], table["fits"], f"{table['cores']:,}", f"{table['chips']:,}",
            percent(max((core["share"] for core in table["utilisation"]), default=0.0)),
            f"{table['traffic']['packets_per_step']:,.4g}",
            binds(table))


def binds(table: dict[str, Any]) -> str:
    """What binds, in a few words."""
    binding = table["binding"]
    if not binding:
        return "nothing"
    at = binding["where"] if binding["share"] is None else percent(binding["share"])
    return f"{binding['limit']} at {at}"


def percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 10 else f"{share:,.0f} times"


def _detail(table: dict[str, Any]) -> Iterator[str]:
    yield f"{table['map']}: {table['fits']}  ({table['title']}; {table['method']})"
    for breach in table["violations"][:4]:
        yield f"  {breach['code']} {breach['message']}"
        yield f"      {'nearest legal rule: ' if breach['code'] == 'M290' else ''}{breach['advice']}"
    if len(table["violations"]) > 4:
        yield f"  and {len(table['violations']) - 4} more (--json has all)"
    for name, why in table["assumed"].items():
        yield f"  assumed      {name}: {why}"
    for name, why in table["open"].items():
        yield f"  open         {name}: {why}"
    if table["unchecked"]:
        yield f"  not checked  {', '.join(table['unchecked'])} (not published)"
    yield f"  counted      {counting(table)}"
    yield from _cores(table)
    if table["learning_loops"]:
        yield "  loops        " + ", ".join(f"area {area} on {cores:,} core{'s' if cores > 1 else ''}"
                                            for area, cores in table["learning_loops"].items())
    yield f"  rates        {table['traffic']['rates']}"
    yield f"  plasticity   {table['plasticity']}"
    for estimate in table["estimates"]:
        yield from _estimate(estimate)


def counting(table: dict[str, Any]) -> str:
    """Whether amounts are exact or expected."""
    if not table["expected"]:
        return "exactly, synapse by synapse"
    drawn = len(table["expected"]["projections"])
    quantile = table["expected"]["memory_quantile"]
    return (f"{drawn} projection{'s are' if drawn > 1 else ' is'} drawn by rule: their synapses, axons and packets "
            f"are expected numbers, their memory is the {quantile:g} quantile; the rest is exact")


def _cores(table: dict[str, Any]) -> Iterator[str]:
    cores = sorted(table["utilisation"], key=lambda core: -core["share"])
    for core in cores[:SHOWN_CORES]:
        held = core["holds"] if len(core["holds"]) < 60 else core["holds"][:57] + "..."
        yield f"  core {core['core']:<5}{bar(core['share'])} {percent(core['share']):>8}  {held}"
    if len(cores) > SHOWN_CORES:
        yield f"  and {len(cores) - SHOWN_CORES:,} cores with less"


def bar(share: float, width: int = 20) -> str:
    full = round(min(share, 1.0) * width)
    return "#" * full + "." * (width - full)


def _estimate(table: dict[str, Any]) -> Iterator[str]:
    learning = table["always_on_plasticity"]
    share = (f"always-on plasticity is {percent(learning['share'])} of the upper energy" if learning["priced"]
             else "learning is not priced in this profile")
    fitted = ", as if it fitted" if table["as_if_it_fitted"] else ""
    yield (f"  estimate     {table['profile']}{fitted}: {energies(table)}, {times(table)} per sample of "
           f"{table['steps_per_sample']} steps; {share}; {priced(table)}{table['boundary']}; {table['conditions']}")


def energies(table: dict[str, Any]) -> str:
    """`at least 1.2 uJ to 3.4 uJ` of an estimate: a figure in it was published as a minimum, or one is missing."""
    low, high = (quantity(value, "J") for value in table["energy_per_sample_J"])
    return f"{'at least ' if table['at_least'] else ''}{low} to {high}"


def times(table: dict[str, Any]) -> str:
    """`1.2 us to at most 3.4 us` of an estimate: a figure in it was published as a maximum."""
    low, high = (quantity(value, "s") for value in table["time_per_sample_s"])
    return f"{low} to {'at most ' if table['at_most_time'] else ''}{high}"


def priced(table: dict[str, Any]) -> str:
    """What an estimate leaves out, each part ending in a semicolon."""
    parts = [("not priced: ", table["not_priced"]),
             ("published as a maximum and not in the lower time: ", table["time_low_without"])]
    return "".join(f"{what}{', '.join(names)}; " for what, names in parts if names)


def quantity(value: float, unit: str) -> str:
    """`1.52 mJ`"""
    if value <= 0:
        return f"0 {unit}"
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
