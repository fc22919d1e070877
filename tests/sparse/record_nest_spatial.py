"""Records what NEST 3.10.0 connects by distance: python record_nest_spatial.py FOLDER.

Each of SEEDS networks of 40 x 40 cells on 1 mm x 1 mm: of every pair in one, how far apart its cells are (`distance`,
in bins of 0.02 mm), and how many synapses cells receive (`indegree`). Of one network also the delays of synapses, with
their distances. Run it outside the project's environment: it needs nest-simulator alone.
"""

import sys
from pathlib import Path

import nest
import numpy as np

SEEDS, SIDE = 20, 40
BINS = np.arange(-0.017, 0.77, 0.02)
"""Of which no end is a distance of the grid."""
far = nest.spatial.distance
RULES = {
    "gaussian_wrapped": (True, {"p": 0.8 * nest.spatial_distributions.gaussian(far, std=0.1)}),
    "gaussian": (False, {"p": 0.8 * nest.spatial_distributions.gaussian(far, std=0.1)}),
    "exponential": (False, {"p": nest.spatial_distributions.exponential(far, beta=0.1)}),
    "linear_wrapped": (True, {"p": nest.logic.conditional(far < 0.2, 1 - far / 0.2, 0.0)}),
    "box": (False, {"p": 0.5, "mask": {"circular": {"radius": 0.21}}})}


def connected(seed: int, wrapped: bool, rule: dict):
    """(distances of all synapses, in-degrees, delays in ms)"""
    nest.ResetKernel()
    nest.SetKernelStatus({"rng_seed": seed, "resolution": 0.1})
    places = nest.spatial.grid(shape=[SIDE, SIDE], extent=[1.0, 1.0], edge_wrap=wrapped)
    cells = nest.Create("iaf_psc_exp", positions=places)
    nest.Connect(cells, cells, {"rule": "pairwise_bernoulli", "allow_autapses": False, **rule},
                 {"delay": 0.5 + far / 0.3})
    found = nest.GetConnections().get(["source", "target", "delay"])
    pre, post = (np.array(found[end]) - 1 for end in ("source", "target"))
    along = np.abs(np.array(nest.GetPosition(cells))[pre] - np.array(nest.GetPosition(cells))[post])
    along = np.minimum(along, 1 - along) if wrapped else along
    return np.hypot(*along.T), np.bincount(post, minlength=SIDE**2), np.array(found["delay"])


def record(folder: Path) -> None:
    arrays = {"bins": BINS, "seeds": np.array(SEEDS)}
    for name, (wrapped, rule) in RULES.items():
        found = [connected(seed, wrapped, rule) for seed in range(1, SEEDS + 1)]
        arrays[f"{name}.distance"] = np.array([np.histogram(distances, BINS)[0] for distances, _, _ in found])
        arrays[f"{name}.indegree"] = np.array([np.bincount(degrees, minlength=400) for _, degrees, _ in found]).sum(0)
        distances, _, delays = found[0]
        of, first = np.unique(np.round(distances, 9), return_index=True)
        arrays |= {f"{name}.delay_of": of, f"{name}.delay": delays[first]}
    np.savez_compressed(folder / "nest_spatial.npz", **arrays)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
