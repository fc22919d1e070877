"""Experiments in which 8 bits are not enough: weights of two magnitudes, and increments far below a unit."""

from pathlib import Path

import numpy as np

from cortexc.compiler.experiments.config import Experiment, load_experiment

SCALES = """graph scales
cell spikes
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
cell lif
  port d @ d
  state v = 0
  state spike = 0
  send spike = where(prev(v) > 1, 1, 0)
  receive v = where(spike > 0, 0, 0.9 * prev(v)) + d
  message spike
synapse static
  message spike
  port d
population A spikes 52
population B lif 3
projection parallel static A -> B
output v = B.v
"""
LEARNS = """graph underflow
  gate learn
cell spikes
  input value
  state spike = 0
  send spike = where(value > 0, 1, 0)
  message spike
cell out
  port d @ d
  input force
  state v = 0
  state spike = 0
  send spike = where(force > 0, 1, 0)
  receive v = 0.5 * prev(v) + d
  message spike
rule hebb
  parameter eta 1 = {eta}
  increment eta * post.spike * pre.spike
{optimiser}synapse plastic
  message spike
  port d
  limits 0 2
  rule hebb
population A spikes 4
population B out 2
projection W plastic A -> B gate=learn
"""
TOML = """[model]
circuit = "circuit.ir"
arrays = "start.npz"
[data]
path = "inputs.npz"
[protocol]
task = "stream"
[run]
backend = "interpreter"
[precision]
weights = 8
[record.all]
quantities = {quantities}
every = 1
"""


def scales(folder: Path, *overrides: str, circuit: str = SCALES) -> Experiment:
    """50 cells with weights of 0.012 that are often active, two with weights of 9 that seldom are: 216 spikes."""
    inputs, weights = scales_arrays()
    return _written(folder, circuit, {"A.value": inputs}, weights, ["B.spike", "B.v", "parallel.w"], overrides)


def learning_scales(folder: Path, *overrides: str, optimiser: str = "") -> Experiment:
    """60 steps of the same with weights that learn, each in proportion to itself."""
    rule = "rule grow\n  increment 0.1 * w * (post.spike - 0.3) * pre.spike\n" + optimiser
    text = SCALES.replace("synapse static", rule + "synapse static").replace("d\npop", "d\n  rule grow\npop")
    text = text.replace("graph scales", "graph scales\n  gate learn").replace("A -> B\n", "A -> B gate=learn\n")
    experiment = scales(folder, *overrides, circuit=text)
    np.savez(folder / "inputs.npz", **{"A.value": scales_arrays()[0][:60]})
    return experiment


def scales_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Inputs (steps, 52) and weights (3, 52)."""
    g, steps = np.random.default_rng(0), 300
    inputs = np.concatenate([g.random((steps, 50)) < 0.5, g.random((steps, 2)) < 0.02], 1).astype(float)
    return inputs, np.concatenate([np.full((3, 50), 0.012), np.full((3, 2), 9.0)], 1)


def learns(folder: Path, *overrides: str, steps: int = 2000, optimiser: str = "", eta: float = 0.001) -> Experiment:
    """Every pair of spikes adds `eta` to a weight whose unit is 1/64 (1/128 for few steps, in which it grows less)."""
    g = np.random.default_rng(0)
    inputs = {name: (g.random((steps, size)) < 0.5).astype(float) for name, size in (("A.value", 4), ("B.force", 2))}
    text = LEARNS.format(optimiser=f"  optimiser {optimiser}\n" if optimiser else "", eta=eta)
    return _written(folder, text, inputs, np.full((2, 4), 0.5), ["W.w"], overrides, "W.w")


def _written(folder: Path, circuit: str, inputs: dict[str, np.ndarray], weights: np.ndarray, quantities: list[str],
             overrides: tuple[str, ...], name: str = "parallel.w") -> Experiment:
    (folder / "circuit.ir").write_text(circuit)
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "start.npz", **{name: weights})
    (folder / "exp.toml").write_text(TOML.format(quantities=str(quantities).replace("'", '"')))
    return load_experiment(folder / "exp.toml", list(overrides))
