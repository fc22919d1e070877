"""Which limits a mapping breaks, where, by how much, and by whose word: one coded breach each.

M201..M209 are limits of a core, M210..M213 of one cell or projection, M214..M219 of chips and systems. A breach of an
assumed limit is shown, but excludes nothing. What lies between the amount up to which a limit is sure and its value
breaks nothing and is reported as open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.ir import CortexError
from cortexc.compiler.mapping.accounting import Accounting
from cortexc.compiler.mapping.connectivity import synapses_in
from cortexc.compiler.mapping.problem import Mapping, MappingProblem, usage
from cortexc.hardware_maps import FIELDS, HardwareMap, Scalar

BREACHES = {
    "core.compartments": ("M201", "Spread the population over more cores, or use fewer compartments per cell."),
    "core.synapse_bits": ("M202", "Use fewer bits per weight, sparser projections, or more cores."),
    "core.memory_bits": ("M203", "Use fewer bits per weight, sparser projections, or more cores."),
    "core.axons_in": ("M204", "Reduce the fan-in of one cell, share axons, or send through fewer relay cells."),
    "core.axons_out": ("M205", "Reach fewer cores: keep targets together, or split the senders."),
    "core.compartment_configurations": ("M206", "Give the cells of one core the same parameters."),
    "core.threshold_configurations": ("M207", "Give the cells of one core the same threshold."),
    "core.synapse_formats": ("M208", "Join synapse classes, or put their targets onto different cores."),
    "core.pre_trace_configurations": ("M209", "Let the rules of one core read the same traces."),
    "core.state_bytes": ("M210", "Keep fewer or narrower states, or run eliminate-lookahead."),
    "numeric.delay_steps": ("M211", "Shorten the delay, or pass it on through a relay cell."),
    "numeric.message_bits": ("M212", "Send spikes, or choose a chip with graded messages."),
    "learning.synaptic_states": ("M213", "Use an optimiser that keeps less per synapse (none, low_pass)."),
    "chip.usable_cores": ("M214", "Use a larger system, or fewer and smaller populations."),
    "chip.neurons": ("M215", "Use more chips."),
    "chip.synapses": ("M216", "Use more chips."),
    "system.chips": ("M217", "Use a larger system, or a smaller circuit."),
    "system.neurons": ("M218", "Use a larger system, or a smaller circuit."),
    "system.synapses": ("M219", "Use a larger system, or sparser projections."),
}
"""Limit -> the code of its breach, and what to change."""
UNCHECKED_ALWAYS = {"core.routing_bytes": "the size of an entry", "core.program_bytes": "the size of an instruction"}
"""Limits that cannot be checked even where they are known -> what was never published."""


@dataclass(frozen=True)
class Breach:
    """`amount` of what `limit` bounds is more than its value. `where`: `core 3`, `chip 0`, `the system`; `who`: the
    populations or the projection there."""

    limit: str
    amount: float
    where: str
    who: str
    hardware: str
    scalar: Scalar

    @property
    def code(self) -> str:
        return BREACHES[self.limit][0]

    @property
    def value(self) -> float:
        return float(self.scalar.value)  # type: ignore[arg-type]

    @property
    def excludes(self) -> bool:
        """Whether the limit is a fact about the chip, not an assumption."""
        return self.scalar.kind != "assumed"

    @property
    def message(self) -> str:
        unit, what = FIELDS[self.limit]
        over = f"{self.amount - self.value:,.0f} too many ({self.amount / self.value:.2f} times)" if self.value else ""
        return (f"{self.where} ({self.who}): {self.amount:,.0f} {unit}, limit {self.value:,.0f} [{self.limit}: {what}; "
                f"{self.hardware}, {self.scalar.kind}, {self.scalar.source}], {over}.")

    @property
    def error(self) -> CortexError:
        return CortexError(self.code, self.message, BREACHES[self.limit][1])

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "limit": self.limit, "amount": self.amount, "value": self.value,
                "unit": FIELDS[self.limit][0], "where": self.where, "who": self.who, "kind": self.scalar.kind,
                "source": self.scalar.source, "excludes": self.excludes, "message": self.message,
                "advice": BREACHES[self.limit][1]}


def breaches(accounts: Accounting, problem: MappingProblem, mapping: Mapping,
             used: np.ndarray | None = None) -> tuple[Breach, ...]:
    """Every limit that is broken: those that exclude the map first, then by how much."""
    used = usage(problem, mapping) if used is None else used
    found, hardware = [*_of_cells(accounts, problem, mapping)], accounts.hardware
    for core, column in zip(*np.nonzero(used > problem.limits * (1 + 1e-10)), strict=True):
        found += _breach(hardware, problem.columns[column].name, float(used[core, column]),
                         f"{hardware.name} core {core}", holds(problem, mapping, int(core)))
    found += _of_chips(accounts, problem, mapping)
    return tuple(sorted(found, key=lambda b: (not b.excludes, -b.amount / max(b.value, 1e-9))))


def _breach(hardware: HardwareMap, limit: str, amount: float, where: str, who: str) -> Iterator[Breach]:
    if amount > hardware.number(limit) * (1 + 1e-10):
        yield Breach(limit, amount, where, who, hardware.name, hardware.scalar(limit))


def holds(problem: MappingProblem, mapping: Mapping, core: int, most: int = 6) -> str:
    """What is on a core: `P0[0:100], I0[0:10]`, neighbouring blocks joined."""
    parts: list[tuple[str, int, int]] = []
    for name, first, last in map(problem.block, np.flatnonzero(mapping.core_of_item == core).tolist()):
        if parts and parts[-1][0] == name and parts[-1][2] == first:
            first = parts.pop()[1]
        parts.append((name, first, last))
    shown = [f"{name}[{first}:{last}]" for name, first, last in parts[:most]]
    return ", ".join(shown) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def _of_cells(accounts: Accounting, problem: MappingProblem, mapping: Mapping) -> Iterator[Breach]:
    """What a single cell or projection needs, on the first core that holds it."""
    hardware = accounts.hardware
    for p in accounts.placed:
        where = f"{hardware.name} core {_first_core(problem, mapping, p.name)}"
        each = math.ceil(p.state_bits / 8 / p.compartments)
        yield from _breach(hardware, "core.state_bytes", each, where, f"state of one compartment of {p.name}")
    for q in accounts.projections.values():
        where = f"{hardware.name} core {_first_core(problem, mapping, q.post)}"
        who = f"projection {q.name}, {q.pre} -> {q.post}"
        yield from _breach(hardware, "numeric.delay_steps", q.delay, where, who)
        if not accounts.populations[q.pre].external:
            yield from _breach(hardware, "numeric.message_bits", q.message_bits, where, f"{who}, message {q.message}")
        yield from _breach(hardware, "learning.synaptic_states", q.states, where, who)


def _first_core(problem: MappingProblem, mapping: Mapping, population: str) -> int:
    if population not in problem.populations:
        return 0
    items = np.flatnonzero(problem.population_of == problem.populations.index(population))
    return int(mapping.core_of_item[items].min(initial=mapping.cores))


def _of_chips(accounts: Accounting, problem: MappingProblem, mapping: Mapping) -> Iterator[Breach]:
    hardware, cores = accounts.hardware, mapping.cores
    system = int(min(hardware.number("chip.usable_cores") * hardware.number("system.chips"), 1e15))
    everything = ", ".join(problem.populations[:6])
    if cores > system:
        where = f"{hardware.name} core {system} (the first beyond)"
        if hardware.number("system.chips") == 1:
            yield from _breach(hardware, "chip.usable_cores", cores, where, everything)
        chips = math.ceil(cores / max(hardware.number("chip.usable_cores"), 1))
        yield from _breach(hardware, "system.chips", chips, where, everything)
    chip = chips_of(problem, mapping)
    cells = (problem.stop - problem.start).astype(float)
    synapses = item_synapses(accounts, problem)
    for limit, amounts in (("neurons", cells), ("synapses", synapses)):
        total = np.bincount(chip[mapping.core_of_item], amounts)
        worst = int(np.argmax(total)) if len(total) else 0
        core = int(np.flatnonzero(chip == worst)[0]) if len(chip) else 0
        where = f"{hardware.name} chip {worst}, from core {core} on"
        yield from _breach(hardware, f"chip.{limit}", float(total.max(initial=0)), where, everything)
        yield from _breach(hardware, f"system.{limit}", float(amounts.sum()),
                           f"{hardware.name}, all cores from core 0 on", everything)


def chips_of(problem: MappingProblem, mapping: Mapping) -> np.ndarray:
    """Chip of every core."""
    return np.asarray(mapping.positions // max(1, problem.geometry.cores_per_chip), dtype=np.int64)


def item_synapses(accounts: Accounting, problem: MappingProblem) -> np.ndarray:
    """Synapses onto every item."""
    blocks = map(problem.block, range(problem.items))
    return np.array([sum(synapses_in(accounts.projections[p].connectivity, first, last)
                         for p in accounts.into.get(name, ())) for name, first, last in blocks], float)


def open_limits(accounts: Accounting, problem: MappingProblem, mapping: Mapping) -> dict[str, str]:
    """Limits that are kept, but not for certain -> who uses how much, and what is known."""
    hardware, chip = accounts.hardware, chips_of(problem, mapping)
    cores = np.bincount(chip)
    late = max(accounts.projections.values(), key=lambda q: q.delay, default=None)
    used = [("chip.usable_cores", int(cores.max(initial=0)), f"chip {int(np.argmax(cores)) if len(cores) else 0}"),
            ("numeric.delay_steps", late.delay if late else 0, f"projection {late.name}" if late else "")]
    every = [(limit, hardware.scalar(limit), amount, who) for limit, amount, who in used]
    return {limit: _open(scalar, FIELDS[limit][0], amount, who) for limit, scalar, amount, who in every
            if scalar.sure is not None and scalar.sure < amount <= hardware.number(limit)}


def _open(scalar: Scalar, unit: str, amount: float, who: str) -> str:
    known = "; ".join(text for text in (scalar.quote, scalar.remark) if text)
    return f"{who}: {amount:,} {unit}, sure up to {scalar.sure:,}, limit {scalar.value:,} ({known}; {scalar.source})"


def unchecked(hardware: HardwareMap) -> dict[str, str]:
    """Limits that are not checked -> why."""
    found = {name: hardware.scalar(name).source for name in hardware.unpublished}
    for name, what in UNCHECKED_ALWAYS.items():
        if name not in found and not hardware.scalar(name).unlimited:
            found[name] = f"{what} was never published"
    if hardware.scalar("learning.max_products").kind == "unpublished":
        found["learning.max_products"] = hardware.scalar("learning.max_products").source
    return found
