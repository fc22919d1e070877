"""Where the cores of a system are: cores in tiles, tiles in the mesh of a chip, chips in a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.hardware_maps import HardwareMap


@dataclass(frozen=True)
class Geometry:
    """Cores in tiles, tiles in a mesh of `rows` x `columns` per chip, chips in a grid of `chip_rows` x `chip_columns`.

    Costs are weights of one tile-to-tile hop: east-west, north-south, and one that leaves a chip.
    """

    cores_per_chip: int = 128
    chips: int = 1
    rows: int = 4
    columns: int = 8
    cores_per_tile: int = 4
    chip_rows: int = 1
    chip_columns: int = 1
    east_west: float = 1.0
    north_south: float = 1.0
    chip_cost: float = 30.0

    @property
    def cores(self) -> int:
        return self.cores_per_chip * self.chips

    def tiles(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each position's tile in the mesh of the whole system.

        Position = chip x cores_per_chip + core; chips and tiles are numbered row by row. Cores for which the mesh has
        no tile share the last one (a chip without a mesh: one tile, no hops).
        """
        chip, core = np.divmod(positions, self.cores_per_chip)
        tile = np.minimum(core // self.cores_per_tile, self.rows * self.columns - 1)
        return (chip // self.chip_columns * self.rows + tile // self.columns,
                chip % self.chip_columns * self.columns + tile % self.columns)


def geometry_of(target: HardwareMap) -> Geometry:
    """The geometry of a map, with its usable cores; a hop costs 1, one that leaves a chip its `link_slowdown`."""
    number = target.number
    return Geometry(
        cores_per_chip=_count(number("chip.usable_cores"), _count(number("chip.cores"), UNLIMITED)),
        chips=_count(number("system.chips"), UNLIMITED),
        rows=_count(number("chip.mesh_rows"), 1), columns=_count(number("chip.mesh_columns"), 1),
        cores_per_tile=_count(number("chip.cores_per_tile"), 1),
        chip_rows=_count(number("system.rows"), 1), chip_columns=_count(number("system.columns"), 1),
        chip_cost=number("system.link_slowdown") if np.isfinite(number("system.link_slowdown")) else 1.0)


UNLIMITED = 1 << 20
"""Cores or chips of a map without limit."""


def _count(value: float, otherwise: int) -> int:
    return int(value) if np.isfinite(value) else otherwise
