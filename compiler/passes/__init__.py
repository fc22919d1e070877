"""Transformations from graph to graph, one per file.

`run_pipeline(graph, request, target)` runs them all, `run_passes(graph, pipeline(names), request)` some. A pass that is
not in the table may be given too: any frozen dataclass with a `name` and `apply(graph, request)`.
"""

from __future__ import annotations

from cortexc.compiler.passes.base import BITS, Pass, PassReport, Record, Request, observable, run_passes
from cortexc.compiler.passes.pipeline import FLOAT, PASSES, PIPELINE, Target, pipeline, run_pipeline

__all__ = [
    "BITS", "FLOAT", "PASSES", "PIPELINE", "Pass", "PassReport", "Record", "Request", "Target", "observable",
    "pipeline", "run_passes", "run_pipeline"]
