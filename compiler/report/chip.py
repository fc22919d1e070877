"""A chip as a drawing: tiles and cores in their places, cores coloured by utilisation, traffic as arrows.

Up to MOST_CHIPS chips are drawn core by core; larger systems chip by chip. What is used beyond the system, or beyond
the tiles of a chip, is drawn where it would be, and marked as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cortexc.compiler.mapping.fit import Fit
from cortexc.compiler.mapping.limits import chips_of, holds
from cortexc.compiler.mapping.report import percent
from cortexc.compiler.report.drawing import Drawing, Shape, rect, words
from cortexc.compiler.report.parts import heat

CORE, GAP, PAD, CHIP_GAP = 24, 4, 5, 30
MOST_CHIPS, CHIPS_IN_A_ROW, MOST_ARROWS = 8, 2, 48


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


def chip_drawing(fit: Fit) -> Drawing:
    chips = np.unique(chips_of(fit.problem, fit.mapping))
    large = len(chips) > MOST_CHIPS
    nodes, frames, (width, height) = _chip_nodes(fit, chips) if large else _core_nodes(fit, chips)
    label = f"{fit.hardware.title}: {fit.mapping.cores:,} cores in use"
    beyond = int(fit.mapping.positions.max(initial=0)) >= fit.problem.geometry.cores
    missing = [("box missing", "not there: the system has fewer chips")] * beyond
    return Drawing(label, (-14, -26, width + 28, height + 40), 1.25 * width + 40,
                   [*frames, *map(_node, nodes), *_arrows(fit, nodes, large)],
                   [("ramp", "0 to 100 % of the limit that is nearest"), ("box over", "over a limit"), *missing,
                    ("line plastic", "packets per step")], min(0.6 * width, 560))


# ---- core by core


def _plan(fit: Fit) -> Plan:
    g = fit.problem.geometry
    if g.cores_per_chip > 4096:
        side = max(1, math.ceil(math.sqrt(fit.mapping.cores)))
        return Plan(side, math.ceil(fit.mapping.cores / side), 1, g.cores_per_chip, 1)
    rows = max(g.rows, -(-g.cores_per_chip // (g.cores_per_tile * g.columns)))
    return Plan(g.columns, rows, g.cores_per_tile, g.cores_per_chip, g.chip_columns)


def _core_nodes(fit: Fit, chips: np.ndarray) -> tuple[list[Node], list[Shape], tuple[float, float]]:
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


def _frame(fit: Fit, plan: Plan, chip: int, at: tuple[float, float]) -> Iterator[Shape]:
    """The chip, its tiles, and the cores that are empty or cannot be used."""
    there = chip < fit.problem.geometry.chips
    yield rect("die" if there else "die missing", *at, plan.width, plan.height, 10)
    if fit.chips > 1 or not there:
        yield words("name", at[0] + 4, at[1] - 8, f"chip {chip}{'' if there else ', not there'}")
    tiles = plan.columns * plan.rows
    for tile in range(tiles):
        x, y = plan.core(tile * plan.per_tile)
        yield rect("tile", at[0] + x - PAD, at[1] + y - PAD, plan.tile, plan.tile, 5)
    for core in range(tiles * plan.per_tile if plan.per_tile > 1 else 0):
        x, y = plan.core(core)
        yield rect("empty" if core < plan.per_chip else "closed", at[0] + x, at[1] + y, CORE, CORE)


def _core_told(fit: Fit, core: int) -> str:
    lines = [f"core {core}", holds(fit.problem, fit.mapping, core)]
    for resource, amount, share in zip(fit.problem.columns, fit.used[core], fit.shares[core], strict=True):
        if amount:
            of = f" of {resource.bound:,.0f} ({percent(float(share))})" if np.isfinite(resource.bound) else ""
            lines.append(f"{resource.name.partition('.')[2]}: {amount:,.0f}{of}")
    return "\n".join(lines)


# ---- chip by chip


def _chip_nodes(fit: Fit, chips: np.ndarray) -> tuple[list[Node], list[Shape], tuple[float, float]]:
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
    frames = [rect("empty" if r * columns + c < total else "missing", c * (CORE + GAP), r * (CORE + GAP), CORE, CORE)
              for r in range(rows) for c in range(columns)]
    return nodes, frames, (columns * (CORE + GAP) - GAP, rows * (CORE + GAP) - GAP)


def _node(node: Node) -> Shape:
    half = node.side / 2
    return rect(f"core h{heat(node.share)}", node.x - half, node.y - half, node.side, node.side, told=node.told,
                node=node.name)


def _arrows(fit: Fit, nodes: list[Node], large: bool) -> Iterator[Shape]:
    """The strongest flows between nodes, the widest first drawn."""
    chips = chips_of(fit.problem, fit.mapping)
    label = np.unique(chips, return_inverse=True)[1] if large else np.arange(fit.mapping.cores)
    between = fit.sent.between(label, label)
    flows = [(a, b, rate) for a, b, rate in zip(between.row, between.col, between.data, strict=True) if a != b]
    strongest = sorted(flows, key=lambda found: -found[2])[:MOST_ARROWS]
    for a, b, rate in strongest:
        yield _arrow(nodes[a], nodes[b], float(rate), float(strongest[0][2]))


def _arrow(a: Node, b: Node, rate: float, top: float) -> Shape:
    dx, dy = b.x - a.x, b.y - a.y
    length = math.hypot(dx, dy) or 1.0
    bend = min(0.18 * length, 40.0)
    mx, my = (a.x + b.x) / 2 - dy / length * bend, (a.y + b.y) / 2 + dx / length * bend
    strength = math.sqrt(rate / top)
    end = (b.x - dx / length * b.side * 0.42, b.y - dy / length * b.side * 0.42)
    path = f"M{a.x:.1f} {a.y:.1f}Q{mx:.1f} {my:.1f} {end[0]:.1f} {end[1]:.1f}"
    return Shape("path", {"class": "flow plastic", "d": path, "data-from": a.name, "data-to": b.name,
                          "data-tip": "plastic", "stroke-width": f"{0.5 + 1.9 * strength:.2f}",
                          "opacity": f"{0.2 + 0.5 * strength:.2f}"}, "",
                 f"{a.name} to {b.name}: {rate:,.4g} packets per step")
