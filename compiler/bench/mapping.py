"""`cortexc bench mapping`: cores, traffic, hops and the busiest link of the baselines and of our mapping.

Circuits and random graphs on `loihi1` and `loihi2`; planted communities on 16 cores against the communities packed onto
them; a sheet of up to 1,000 columns of 1,000 cells on `hala_point`, with time and memory. Graded messages are sent once
per neuron and step, spikes at an assumed 0.1.

Options: parts = ["circuits", "planted", "scale"], seeds = [0, 1, 2, 3, 4], sizes = [1, 10, 100, 1000] (columns).
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from cortexc.compiler.bench import checked
from cortexc.compiler.bench.workers import in_processes
from cortexc.compiler.experiments.config import load_experiment
from cortexc.compiler.experiments.cores import mapped_graphs
from cortexc.compiler.mapping.accounting import account
from cortexc.compiler.mapping.geometry import geometry_of
from cortexc.compiler.mapping.items import Rates
from cortexc.compiler.mapping.items import resource as limit_of
from cortexc.compiler.mapping.methods import PARTITIONED, SEQUENTIAL, SINGLE, mapped
from cortexc.compiler.mapping.partition import Partitioner, baselines, groups_kept, partition
from cortexc.compiler.mapping.place import place
from cortexc.compiler.mapping.problem import (
    Mapping,
    MappingProblem,
    Resource,
    usage,
    violations,
)
from cortexc.compiler.mapping.published import comparison
from cortexc.compiler.mapping.synthetic import Planted, Sheet, packed, planted, sheet_problem
from cortexc.compiler.mapping.traffic import busiest_link, flow, hops
from cortexc.hardware_maps import HardwareMap, load_map

MAPS = ("loihi1", "loihi2")
CIRCUITS = {"pal": ("pal_mnist", "model.layers=[784, 400, 10]"),
            "error-neuron": ("depth_error-neuron", "model.layers=[784, 400, 10]"),
            "sign-concordant": ("sign_concordant_mnist", "model.layers=[784, 400, 10]")}
"""Circuit -> shipped experiment, and its size here."""
PACKED = "planted communities, packed"
CORES = 16
"""Cores of the planted graphs, each with 1/16 of the neurons."""


def rows(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the parts that are wanted."""
    checked(options, "parts", "seeds", "sizes")
    parts = {"circuits": circuits, "planted": random_graphs, "scale": scales}
    return [row for name in options.get("parts") or parts for row in parts[name](options)]


def measured(problem: MappingProblem, mapping: Mapping) -> dict[str, Any]:
    """The figures of one mapping."""
    sent = flow(problem, mapping)
    way, link = hops(problem, mapping, sent), busiest_link(problem, mapping, sent)
    return {"cores": mapping.cores, "violations": len(violations(problem, mapping)),
            "packets_per_step": float(sent.leaving.sum()), "hops_per_step": way.hops, "weighted_hops": way.weighted,
            "chip_crossings": way.crossings, "busiest_link": link.packets}


def against(row: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """The row with what it is of the best baseline (fewest violations, then cores, then packets)."""
    best = min(others, key=lambda r: (r["violations"], r["cores"], r["packets_per_step"]))
    ratios = {name: row[name] / best[name] if best[name] else None
              for name in ("cores", "packets_per_step", "hops_per_step", "busiest_link")}
    return {**row, **{f"{name}_of_best_baseline": ratio for name, ratio in ratios.items()}}


def published(options: dict[str, Any]) -> list[dict[str, Any]]:
    """`cortexc bench published-learning`: nets of published on-chip learning, one row per result and cost profile; the
    ratio is measured over estimated. Raises X182."""
    checked(options)
    return comparison()


# ---- circuits


def circuits(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, (experiment, size) in CIRCUITS.items():
        graph = mapped_graphs(load_experiment(experiment, [size]))[1]
        for target in map(load_map, MAPS):
            accounts = account(graph, target)
            found: list[dict[str, Any]] = []
            for method in (SEQUENTIAL, SINGLE, PARTITIONED):
                start = time.perf_counter()
                every = [(p, m, measured(p, m)) for p, m in mapped(graph, accounts, method, Rates())]
                problem, mapping, row = min(every, key=lambda e: (e[2]["violations"], e[2]["cores"],
                                                                  e[2]["packets_per_step"], e[2]["weighted_hops"]))
                kept, groups = groups_kept(problem, mapping)
                row = {"graph": name, "size": size.partition("=")[2], "map": target.name, "method": method, **row,
                       "groups_kept": kept, "groups": groups, "seconds": time.perf_counter() - start}
                found.append(against(row, found) if method == PARTITIONED else row)
            yield from found


# ---- random graphs


def random_graphs(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for shuffled in (False, True):
        for seed in options.get("seeds") or range(5):
            yield from planted_rows(Planted(shuffled=shuffled), seed)
            for target in map(load_map, MAPS):
                yield from on_map(Planted(shuffled=shuffled), seed, target)


def planted_rows(options: Planted, seed: int) -> Iterator[dict[str, Any]]:
    """On 16 cores that the neurons fill; the reference: whole communities, packed as well as swaps of them can."""
    limit = Resource("compartments", options.neurons // CORES, "compartments")
    problem, community = planted(options, seed, (limit,), np.ones(1), geometry=geometry_of(load_map("loihi1")))
    reference = {} if options.shuffled else {PACKED: packed(problem, community, CORES, seed)}
    found = list(_compared(problem, seed, reference))
    packing = next((row["packets_per_step"] for row in found if row["method"] == PACKED), None)
    label = {"graph": "shuffled" if options.shuffled else "planted", "map": f"{CORES} cores", "seed": seed}
    for row in found:
        ratio = row["packets_per_step"] / packing if packing else None
        yield {**label, **row, "packets_of_planted": ratio}


def on_map(options: Planted, seed: int, target: HardwareMap) -> Iterator[dict[str, Any]]:
    """On a map: 8 bits per weight, in lists of 64-bit words; one compartment and two words of state per neuron."""
    limits = tuple(limit_of(target, name) for name in ("core.compartments", "core.synapse_bits", "core.memory_bits"))
    bits = options.fan_out * 64.0
    problem, _ = planted(options, seed, limits, np.array([1.0, bits, bits + 128.0]), geometry=geometry_of(target),
                         axons_in=limit_of(target, "core.axons_in"), axons_out=limit_of(target, "core.axons_out"))
    for row in _compared(problem, seed, {}):
        yield {"graph": "shuffled" if options.shuffled else "planted", "map": target.name, "seed": seed, **row}


def _compared(problem: MappingProblem, seed: int, more: dict[str, Mapping]) -> Iterator[dict[str, Any]]:
    found = [{"method": name, **measured(problem, mapping)}
             for name, mapping in {**baselines(problem), **more}.items()]
    yield from found
    start = time.perf_counter()
    ours = place(problem, partition(problem, Partitioner(seed)))
    row = {"method": PARTITIONED, **measured(problem, ours), "seconds": time.perf_counter() - start}
    yield against(row, [each for each in found if each["method"] not in more])


# ---- scale


def scales(options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each size in a process of its own, so that its peak memory is its own; exponents are of time and memory against
    the number of neurons, from the size before."""
    last: dict[str, Any] = {}
    for columns in options.get("sizes") or (1, 10, 100, 1000):
        row = in_processes(scale, [(columns,)], 1)[0]
        grown = np.log(row["neurons"] / last["neurons"]) if last else 1.0
        exponents = {f"{name}_exponent": float(np.log(row[name] / last[name]) / grown)
                     for name in ("map_seconds", "cpu_seconds", "peak_gib") if last}
        yield {**row, **exponents}
        last = row


def scale(columns: int, target: str = "hala_point") -> dict[str, Any]:
    """One sheet: `map_seconds` (wall; `cpu_seconds`) for problem, partition and placement."""
    sheet, start, busy = Sheet(columns=columns), time.perf_counter(), time.process_time()
    problem = sheet_problem(sheet, load_map(target))
    mapping = partition(problem)
    placed = place(problem, mapping)
    seconds, cpu, used = time.perf_counter() - start, time.process_time() - busy, usage(problem, placed)
    unit = 2**30 if sys.platform == "darwin" else 2**20
    baseline = measured(problem, mapping)
    row = {"graph": "sheet", "size": f"{columns} x {sheet.cells:,}", "map": target, "method": PARTITIONED,
           "neurons": sheet.neurons, "synapses": sheet.neurons * sheet.fan_in, "blocks": problem.items,
           **measured(problem, placed), "chips": len(np.unique(placed.positions // problem.geometry.cores_per_chip)),
           "memory_of_fullest_core": float(used[:, 1].max() / problem.limits[1]), "quantile": sheet.quantile,
           "axons_in_most": float(used[:, 2].max()), "axons_out_most": float(used[:, 3].max()),
           "axons_unchecked_limit": load_map(target).number("core.axons_in"), "map_seconds": seconds,
           "cpu_seconds": cpu, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}
    return against(row, [baseline])
