"""What a run is fed with, checked against the circuit before the first step, so that no step reads beyond it.

E276 samples that do not fit; E277 recorded draws that do not fit; E278 seeds that do not fit; E528 recordings that
need more memory than there is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexc.compiler.backends.draws import noise_spec
from cortexc.compiler.backends.runtime import Feed
from cortexc.compiler.ir import CortexError, Graph
from cortexc.compiler.ir.arrays import available
from cortexc.compiler.ir.model import Array
from cortexc.compiler.ir.protocol import Protocol


def make_feed(graph: Graph, protocol: Protocol, seeds: Sequence[int], recorded: Array | None = None) -> Feed:
    """The feed of a protocol whose streams have their widths. Raises E271 to E275, E277, E278 and
    E528."""
    protocol.check(graph.gates)
    check_seeds(graph, seeds)
    for phase in protocol.phases:
        if not phase.first or graph.batch % len(phase.first):
            raise CortexError("E276", f"phase '{phase.name}' begins at {len(phase.first)} rows, but {graph.batch} "
                                      "samples are shown at a time.", "Give one row, or one per sample.")
    spec = noise_spec(graph, list(seeds))
    if spec.kind == "recorded" and spec.cells:
        _check_recorded(graph, recorded, protocol.total, spec.cells)
    elif recorded is not None and np.size(recorded):
        raise CortexError("E277", f"graph '{graph.name}' draws its own noise ({spec.kind}): the {np.shape(recorded)} "
                                  "draws that are given would not be used.",
                          "Write 'noise recorded', or leave them out.")
    feed = Feed(protocol.as_data(), list(graph.gates), spec, recorded)
    _afford_recordings(graph, protocol, feed)
    return feed


def check_seeds(graph: Graph, seeds: Sequence[int]) -> None:
    """Raises E278."""
    if len(seeds) != graph.seeds:
        raise CortexError("E278", f"graph '{graph.name}' runs {graph.seeds} seeds, got {len(seeds)}.",
                          "Give one per element of the seeds axis.")


def _afford_recordings(graph: Graph, protocol: Protocol, feed: Feed) -> None:
    """Raises E528 where what is recorded needs more memory than there is; none has been taken yet."""
    needed, free = 8 * feed.record_size, available()
    if needed > free:
        rows = ", ".join(f"'{stream.name}' {count:,} rows of {stream.width:,} numbers"
                         for stream, count in zip(protocol.streams, feed.counts, strict=True))
        raise CortexError("E528", f"the recordings of graph '{graph.name}' need {needed / 2**30:.4g} GiB ({rows}); "
                                  f"{free / 2**30:.4g} GiB are free.", "Record less, or less often.")


def _check_recorded(graph: Graph, recorded: Array | None, steps: int, width: int) -> None:
    shape = None if recorded is None else np.shape(recorded)
    if shape is None or len(shape) != 2 or shape[0] < steps or shape[1] != width:
        raise CortexError("E277", f"the noise of graph '{graph.name}' is recorded: it needs {steps} rows of {width} "
                                  f"draws, got {'none' if shape is None else 'an array of shape ' + str(shape)}.",
                          "Give the draws, or use noise counter or legacy.")


def sample_table(graph: Graph, protocol: Protocol, samples: Array) -> Array:
    """The samples as (rows, width) float64, width that of all exogenous inputs. Raises E276."""
    width = sum(p.size for p in graph.populations for _ in graph.cell(p.cell).inputs)
    table = np.ascontiguousarray(samples, dtype=np.float64)
    if not width:
        return np.zeros((len(table) if table.ndim else 0, 0))
    if table.size % width or table.ndim > 1 and table.shape[-1] != width:
        raise CortexError("E276", f"samples of shape {table.shape} do not fit graph '{graph.name}', whose exogenous "
                                  f"inputs take {width} values a row.")
    table = table.reshape(-1, width)
    for phase in protocol.phases:
        least, most = min(phase.first), max(phase.first) + (phase.rows or phase.count) - 1
        if phase.name in protocol.sequence and phase.total and (least < 0 or most >= len(table)):
            raise CortexError("E276", f"phase '{phase.name}' shows rows {least} to {most}, but there are {len(table)} "
                                      "samples.", "Give more samples, or show fewer.")
    return table
