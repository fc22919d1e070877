"""Figures of what `cortexc.simulate` recorded: `cortexc.plots.raster(found, "hidden.spike")`."""

from cortexc.compiler.experiments.plots import angles, circuit, raster, sheet, traces, weights

__all__ = ["angles", "circuit", "raster", "sheet", "traces", "weights"]
