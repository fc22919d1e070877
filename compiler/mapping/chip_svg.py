"""A chip as a drawing: tiles and cores in their places, cores coloured by utilisation, traffic as arrows.

Up to MOST_CHIPS chips are drawn core by core; larger systems chip by chip. What is used beyond the system, or beyond
the tiles of a chip, is drawn where it would be, and marked as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from cortexc.compiler.mapping.fit import Fit
from cortexc.compiler.mapping.limits import chips_of, holds
from cortexc.compiler.mapping.problem import packets
from cortexc.compiler.mapping.report import percent

CORE, GAP, PAD, CHIP_GAP = 24, 4, 5, 30
MOST_CHIPS, CHIPS_IN_A_ROW, MOST_ARROWS = 8, 2, 48
RAMP = ((0.0, (223, 236, 240)), (0.35, (126, 196, 193)), (0.7, (38, 132, 155)), (1.0, (24, 62, 112)))
OVER = "#d1345b"


@dataclass(frozen=True)
class Node:
    """A core, or a chip of a large system: its centre, side, colour value and what is told about it."""

    name: str
    x: float
    y: float
    side: float
    share: float
    told: str


@dataclass(frozen=True)
class Plan:
    """Where cores are: `columns` x `rows` tiles per chip, `inside` cores along a tile's side."""

    columns: int
    rows: int
    per_tile: int
    per_chip: int
    chip_columns: int

    @property
    def inside(self) -> int:
        return math.ceil(math.sqrt(self.per_tile))

    @property
    def tile(self) -> float:
        return self.inside * (CORE + GAP) - GAP + 2 * PAD

    @property
    def width(self) -> float:
        return self.columns * (self.tile + GAP) - GAP + 2 * PAD

    @property
    def height(self) -> float:
        return self.rows * (self.tile + GAP) - GAP + 2 * PAD

    def core(self, core: int) -> tuple[float, float]:
        """Top left corner of a core in its chip."""
        tile, within = divmod(core, self.per_tile)
        down, right = divmod(within, self.inside)
        return (PAD + tile % self.columns * (self.tile + GAP) + PAD + right * (CORE + GAP),
                PAD + tile // self.columns * (self.tile + GAP) + PAD + down * (CORE + GAP))


def colour(share: float) -> str:
    """Of a utilisation: pale to dark; red beyond the limit."""
    if share > 1.0 + 1e-9:
        return OVER
    for (low, a), (high, b) in zip(RAMP, RAMP[1:], strict=False):
        if share <= high:
            t = (share - low) / (high - low)
            return "#" + "".join(f"{round(x + t * (y - x)):02x}" for x, y in zip(a, b, strict=True))
    return OVER


def chip_svg(fit: Fit) -> str:
    """The drawing, as one inline SVG element."""
    chips = np.unique(chips_of(fit.problem, fit.mapping))
    large = len(chips) > MOST_CHIPS
    nodes, frames, size = _chip_nodes(fit, chips) if large else _core_nodes(fit, chips)
    body = [*frames, *map(_node, nodes), *_arrows(fit, nodes, large)]
    label = f"{fit.hardware.title}: {fit.mapping.cores} cores in use"
    box = f"-14 -26 {size[0] + 28:.0f} {size[1] + 40:.0f}"
    return (f'<svg class="chip" style="max-width:{2 * size[0] + 56:.0f}px" role="img" aria-label="{escape(label)}" '
            f'viewBox="{box}" xmlns="http://www.w3.org/2000/svg">{HEAD}{"".join(body)}</svg>')


HEAD = ('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0.8 L8 4 L0 7.2 z" class="tip"/></marker>'
        "</defs>")


# ---- core by core


def _plan(fit: Fit) -> Plan:
    g = fit.problem.geometry
    if g.cores_per_chip > 4096:
        side = max(1, math.ceil(math.sqrt(fit.mapping.cores)))
        return Plan(side, math.ceil(fit.mapping.cores / side), 1, g.cores_per_chip, 1)
    rows = max(g.rows, -(-g.cores_per_chip // (g.cores_per_tile * g.columns)))
    return Plan(g.columns, rows, g.cores_per_tile, g.cores_per_chip, g.chip_columns)


def _core_nodes(fit: Fit, chips: np.ndarray) -> tuple[list[Node], list[str], tuple[float, float]]:
    plan = _plan(fit)
    wide, tall = plan.width + CHIP_GAP, plan.height + CHIP_GAP
    corner = {int(chip): (i % CHIPS_IN_A_ROW * wide, i // CHIPS_IN_A_ROW * tall) for i, chip in enumerate(chips)}
    frames = [part for chip, at in corner.items() for part in _frame(fit, plan, chip, at)]
    nodes = []
    for core, position in enumerate(map(int, fit.mapping.positions)):
        chip, index = divmod(position, plan.per_chip)
        x, y = plan.core(index)
        nodes.append(Node(f"core {core}", corner[chip][0] + x + CORE / 2, corner[chip][1] + y + CORE / 2, CORE,
                          float(fit.shares[core].max(initial=0.0)), _core_told(fit, core)))
    across, down = min(len(chips), CHIPS_IN_A_ROW), -(-len(chips) // CHIPS_IN_A_ROW)
    return nodes, frames, (across * wide - CHIP_GAP, down * tall - CHIP_GAP)


def _frame(fit: Fit, plan: Plan, chip: int, at: tuple[float, float]) -> Iterator[str]:
    """The chip, its tiles, and the cores that are empty or cannot be used."""
    yield f'<g transform="translate({at[0]:.1f} {at[1]:.1f})">'
    there = chip < fit.problem.geometry.chips
    yield (f'<rect class="die{"" if there else " missing"}" width="{plan.width:.1f}" height="{plan.height:.1f}" '
           'rx="10"/>')
    yield f'<text class="name" x="4" y="-8">chip {chip}{"" if there else ", not there"}</text>'
    tiles = plan.columns * plan.rows
    for tile in range(tiles):
        x, y = plan.core(tile * plan.per_tile)
        yield (f'<rect class="tile" x="{x - PAD:.1f}" y="{y - PAD:.1f}" width="{plan.tile:.1f}" '
               f'height="{plan.tile:.1f}" rx="5"/>')
    if plan.per_tile > 1:
        for core in range(tiles * plan.per_tile):
            x, y = plan.core(core)
            kind = "empty" if core < plan.per_chip else "closed"
            yield f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{CORE}" height="{CORE}" rx="4"/>'
    yield "</g>"


def _core_told(fit: Fit, core: int) -> str:
    lines = [f"core {core}", holds(fit.problem, fit.mapping, core)]
    for resource, amount, share in zip(fit.problem.columns, fit.used[core], fit.shares[core], strict=True):
        if amount:
            of = f" of {resource.bound:,.0f} ({percent(float(share))})" if np.isfinite(resource.bound) else ""
            lines.append(f"{resource.name.partition('.')[2]}: {amount:,.0f}{of}")
    return "\n".join(lines)


# ---- chip by chip


def _chip_nodes(fit: Fit, chips: np.ndarray) -> tuple[list[Node], list[str], tuple[float, float]]:
    of_core, columns = chips_of(fit.problem, fit.mapping), fit.problem.geometry.chip_columns
    nodes = []
    for chip in map(int, chips):
        cores = np.flatnonzero(of_core == chip)
        share = float(fit.shares[cores].max(initial=0.0))
        there = "" if chip < fit.problem.geometry.chips else f"\nthe system has {fit.problem.geometry.chips} chips"
        told = f"chip {chip}\n{len(cores)} cores in use, the busiest at {percent(share)}{there}"
        nodes.append(Node(f"chip {chip}", chip % columns * (CORE + GAP) + CORE / 2,
                          chip // columns * (CORE + GAP) + CORE / 2, CORE, share, told))
    total = fit.problem.geometry.chips
    used = int(chips.max()) // columns + 1
    rows = max(used, min(math.ceil(total / columns), used + 1))
    frames = [f'<rect class="{"empty" if r * columns + c < total else "missing"}" x="{c * (CORE + GAP)}" '
              f'y="{r * (CORE + GAP)}" width="{CORE}" height="{CORE}" rx="4"/>'
              for r in range(rows) for c in range(columns)]
    return nodes, frames, (columns * (CORE + GAP) - GAP, rows * (CORE + GAP) - GAP)


def _node(node: Node) -> str:
    half = node.side / 2
    return (f'<rect class="core" data-node="{escape(node.name)}" tabindex="0" x="{node.x - half:.1f}" '
            f'y="{node.y - half:.1f}" width="{node.side}" height="{node.side}" rx="4" fill="{colour(node.share)}">'
            f"<title>{escape(node.told)}</title></rect>")


def _arrows(fit: Fit, nodes: list[Node], large: bool) -> Iterator[str]:
    """The strongest flows between nodes, the widest first drawn."""
    between = packets(fit.problem, fit.mapping).tocoo()
    label = {f"{node.name}": i for i, node in enumerate(nodes)}
    chip = chips_of(fit.problem, fit.mapping)
    flows: dict[tuple[int, int], float] = {}
    for a, b, rate in zip(between.row, between.col, between.data, strict=True):
        pair = ((label[f"chip {chip[a]}"], label[f"chip {chip[b]}"]) if large else (int(a), int(b)))
        if pair[0] != pair[1]:
            flows[pair] = flows.get(pair, 0.0) + float(rate)
    strongest = sorted(flows.items(), key=lambda item: -item[1])[:MOST_ARROWS]
    top = strongest[0][1] if strongest else 1.0
    for (a, b), rate in strongest:
        yield _arrow(nodes[a], nodes[b], rate, top)


def _arrow(a: Node, b: Node, rate: float, top: float) -> str:
    dx, dy = b.x - a.x, b.y - a.y
    length = math.hypot(dx, dy) or 1.0
    bend = min(0.18 * length, 40.0)
    mx, my = (a.x + b.x) / 2 - dy / length * bend, (a.y + b.y) / 2 + dx / length * bend
    strength = math.sqrt(rate / top)
    end = (b.x - dx / length * b.side * 0.42, b.y - dy / length * b.side * 0.42)
    return (f'<path class="flow" data-from="{escape(a.name)}" data-to="{escape(b.name)}" d="M{a.x:.1f} {a.y:.1f} '
            f'Q{mx:.1f} {my:.1f} {end[0]:.1f} {end[1]:.1f}" stroke-width="{0.5 + 1.9 * strength:.2f}" '
            f'opacity="{0.2 + 0.5 * strength:.2f}" marker-end="url(#head)"><title>{escape(a.name)} to '
            f"{escape(b.name)}: {rate:,.4g} packets per step</title></path>")
