"""Random modular graphs: communities that are hidden behind shuffled ids, as in specs/hardware.md 6.

4,096 neurons in 64 communities, fan-out 32 of which 27 inside the community, rates drawn uniformly; every neuron is an
item. With `shuffled` targets the same graph has no communities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexc.compiler.mapping.problem import Mapping, MappingProblem, Resource, compact, contract
from cortexc.compiler.mapping.traffic import traffic


@dataclass(frozen=True)
class Planted:
    """`fan_out` targets per neuron, `local` of them inside its community; rates from 0 to `rate` packets per step."""

    neurons: int = 4096
    communities: int = 64
    fan_out: int = 32
    local: int = 27
    rate: float = 1.0
    shuffled: bool = False


def planted(options: Planted, seed: int, resources: tuple[Resource, ...], demand: np.ndarray,
            **more: object) -> tuple[MappingProblem, np.ndarray]:
    """The problem, with `demand` (resources,) of every neuron, and the hidden community of every item."""
    generator = np.random.default_rng(seed)
    ids = generator.permutation(options.neurons)
    community = np.empty(options.neurons, dtype=np.int64)
    size = options.neurons // options.communities
    community[ids] = np.arange(options.neurons) // size
    starts, targets = _targets(options, generator, ids, community, size)
    items = np.arange(options.neurons)
    problem = MappingProblem(
        ("neurons",), np.zeros(options.neurons, dtype=np.int64), items, items + 1, resources,
        np.tile(demand, (options.neurons, 1)), items, starts, targets, generator.uniform(0, options.rate, len(items)),
        np.ones(options.neurons), **more)  # type: ignore[arg-type]
    return problem, community


def _targets(options: Planted, generator: np.random.Generator, ids: np.ndarray, community: np.ndarray,
             size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hyperedges: distinct targets of every neuron, never itself."""
    rows = []
    for neuron in range(options.neurons):
        inside = ids[community[neuron] * size:(community[neuron] + 1) * size]
        local = 0 if options.shuffled else options.local
        near = generator.choice(inside[inside != neuron], local, replace=False)
        far = generator.permutation(options.neurons)[:options.fan_out + local + 1]
        far = far[(far != neuron) & ~np.isin(far, near)][:options.fan_out - local]
        rows.append(np.concatenate([near, far]))
    lengths = np.array([0, *map(len, rows)])
    return np.cumsum(lengths), np.concatenate(rows)


def packed(problem: MappingProblem, community: np.ndarray, cores: int, seed: int = 0, restarts: int = 20) -> Mapping:
    """The reference: whole communities, as many to a core, packed as well as swaps of whole communities can.

    From random packings (and METIS's), communities are moved and swapped while the traffic falls; the best is kept.
    """
    from cortexc.compiler.mapping.partition import cut, expanded
    from cortexc.compiler.mapping.refine import refined

    count = int(community.max()) + 1
    whole = contract(problem, community)
    limit = Resource("communities", -(-count // cores), "communities")
    whole = _only(whole, limit)
    generator = np.random.default_rng(seed)
    starts = [generator.permutation(count) % cores for _ in range(restarts)]
    starts += [cut(expanded(whole), np.ones(count, dtype=np.int64), cores, seed + n, 1) for n in range(3)]
    found = [refined(whole, start, cores, seed + n, 40) for n, start in enumerate(starts)]
    fits = [m for m in found if np.bincount(m.core_of_item).max() <= (limit.limit or 0)]
    best = min(fits, key=lambda mapping: traffic(whole, mapping))
    return compact(best.core_of_item[community])


def _only(problem: MappingProblem, resource: Resource) -> MappingProblem:
    """The problem with one resource, of which every item takes 1."""
    from dataclasses import replace

    unlimited = Resource("axons", None)
    return replace(problem, resources=(resource,), demand=np.ones((problem.items, 1)), axons_in=unlimited,
                   axons_out=unlimited, tables=())
