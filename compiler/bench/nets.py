"""The nets that the speed figures are about, with seeded weights and stimuli."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cortexc.compiler.backends.lowering import Program, lower
from cortexc.compiler.ir import Graph
from cortexc.compiler.ir.model import weight_shape
from cortexc.compiler.ir.protocol import Phase, Protocol, Record, Stream
from cortexc.compiler.microcircuits.pal import Pal, build
from cortexc.compiler.passes import PIPELINE, Request, Target, run_pipeline
from cortexc.compiler.passes.partition import Partition

HOLD = 100
"""Steps per presentation."""
FIG3 = Pal((5, 20, 10, 20, 5), eta_bw=(50.0,), eta_PI=(5.0,), sigma=(0.05,))
DIGITS = Pal((64, 30, 10), eta_fw=(1.0, 0.005), eta_IP=(0.02,), eta_PI=(0.02,), eta_bw=(0.2,), alpha=(1e-6,),
             sigma=(0.01,))
LEARNING = ("learn_forward", "learn_lateral", "learn_feedback", "noise", "target")
NETS = {"fig3": (FIG3, ("learn_lateral", "learn_feedback", "noise")), "digits": (DIGITS, LEARNING)}


@dataclass(frozen=True)
class Job:
    """A lowered net with `steps` steps of stimulus; the anchors' settings (all that learns is on)."""

    program: Program
    protocol: Protocol
    samples: np.ndarray
    recorded_noise: np.ndarray | None


def random_weights(graph: Graph, seed: int, span: float = 1.0) -> Graph:
    """Uniform weights and normal somata from one generator."""
    rng = np.random.default_rng(seed)
    arrays = {f"{q.name}.w": rng.uniform(-span, span, weight_shape(graph, q)) for q in graph.projections
              if weight_shape(graph, q)}
    arrays |= {f"{p.name}.u": rng.normal(size=p.size) for p in graph.populations if graph.cell(p.cell).state("u")}
    return graph.with_(arrays=arrays)


def job(circuit: Pal, gates: tuple[str, ...], steps: int, passes: tuple[str, ...], *, granularity: str = "network",
        noise: str = "recorded", record_every: int = 0, graph: Graph | None = None) -> Job:
    """`noise` recorded draws everything beforehand; legacy and counter draw while running."""
    graph = random_weights(build(replace(circuit, noise=noise)), 1) if graph is None else graph
    observed = frozenset(f"{q.name}.w" for q in graph.projections if q.name.startswith("BPP"))
    target = Target(granularity, without=frozenset(PIPELINE) - {*passes, Partition.name})
    program = lower(run_pipeline(graph, Request(observed), target).graph)
    rng = np.random.default_rng(2)
    presentations = -(-steps // HOLD)
    phase = Phase("all", presentations, HOLD, gates=tuple((g, (1.0,)) for g in gates),
                  records=(("weights", Record(every=record_every, offset=record_every - 1)),) if record_every else ())
    streams = (Stream("weights", tuple(sorted(observed))),) if record_every else ()
    draws = rng.normal(size=(presentations * HOLD, program.noise_width)) if noise == "recorded" else None
    samples = rng.uniform(0.0, 1.0, (presentations, program.sample_width))
    return Job(program, Protocol((phase,), ("all",), streams), samples, draws)
