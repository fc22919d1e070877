"""Circuits in Lava networks, each a program of its own: python circuit_scenarios.py NAME. Prints one JSON object."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
from lava.magma.core.run_conditions import RunContinuous, RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import PySendModelFloat, RingBuffer
from lava.proc.lif.process import LIF
from lava.proc.monitor.process import Monitor

import cortexc
import cortexc.lava
from cortexc.compiler.experiments.lava_circuits import graph_of, stock_circuit
from cortexc.compiler.passes.stock_phases import phase_plan

SMALL = ["model.layers=[5,4,3]"]


def vars_are_recordings(steps):
    """PAL on Lava, every Var against what native recorded."""
    graph = graph_of(cortexc.load("pal_digits", SMALL))
    gates, rng = dict.fromkeys(graph.gates, 1.0), np.random.default_rng(3)
    feed = {"input.value": rng.uniform(0, 1, (steps, 5)), "teacher.value": rng.uniform(0, 1, (steps, 3))}
    circuit = cortexc.lava.Circuit(graph, gates=gates)
    sources = [RingBuffer(data=feed["input.value"].T), RingBuffer(data=feed["teacher.value"].T)]
    sources[0].s_out.connect(circuit.input_value_in)
    sources[1].s_out.connect(circuit.teacher_value_in)
    circuit.run(RunSteps(steps), Loihi2SimCfg())
    names = [f"{q.name}.w" for q in graph.projections if f"{q.name}.w" in graph.arrays]
    names += [f"{p.name}.{s.name}" for p in graph.populations for s in graph.cell(p.cell).states]
    recorded = cortexc.simulate(graph, steps, inputs=feed, record=names, gates=gates, granularity="population")
    parts = {**circuit.populations, **circuit.projections}
    wrong = []
    for name in names:
        owner, quantity = name.split(".")
        if getattr(parts[owner], quantity).get().tobytes() != recorded[name][-1, 0].tobytes():
            wrong.append(name)
    circuit.stop()
    return {"compared": len(names), "wrong": wrong}


def cycles():
    """Run, pause, look, change, go on, stop, run again: w grows by the step only where learning is on."""
    text = (Path(__file__).parents[2] / "examples/lava/oja.ir").read_text()
    circuit = cortexc.lava.Circuit(text, arrays={"W.w": np.full((2, 4), 0.25)}, gates={"learn": 1})
    source = RingBuffer(data=np.ones((4, 1)))
    source.s_out.connect(circuit.retina_value_in)
    w, found = circuit.projections["W"].w, {}
    for round in range(2):
        circuit.run(RunSteps(5), Loihi2SimCfg())
        found[f"first {round}"] = w.get().tolist()
        for _ in range(3):
            circuit.run(RunContinuous())
            time.sleep(0.03)
            circuit.pause()
        found[f"moved {round}"] = bool((w.get() != np.array(found[f"first {round}"])).any())
        circuit.gates["learn"].set(0)
        w.set(np.full((2, 4), 0.5))
        circuit.run(RunSteps(7))
        found[f"set {round}"] = w.get().tolist() == [[0.5] * 4] * 2 and circuit.gates["learn"].get() == 0
        circuit.run(RunContinuous())
        circuit.stop()
    return found


def fixed_point():
    """One circuit twice, with Lava's fixed-point LIF before it; Lava's tag chooses the models of both."""
    eight = ["model.layers=[64,4,10]", "precision.weights=8", "precision.calibration_steps=50", "protocol.epochs=1"]
    made, found = type(cortexc.lava.Circuit("error_neuron_digits", overrides=eight)), {}
    for tag in ("fixed_pt", "floating_pt"):
        circuit = made(gates={"learn_forward": 1, "target": 1})
        bias = np.arange(64) * 5 if tag == "fixed_pt" else np.arange(64) / 50
        spikes = LIF(shape=(64,), bias_mant=bias, vth=2, du=4095 if tag == "fixed_pt" else 1.0, dv=0)
        spikes.s_out.connect(circuit.input_value_in)
        circuit.run(RunSteps(60), Loihi2SimCfg(select_tag=tag))
        w = circuit.projections["WPP_0"].w
        units = w.get() * 2**12
        found[tag] = {"moved": int((w.get() != w.init).sum()), "whole": bool((units == np.round(units)).all()),
                      "spikes": bool(circuit.populations["input"].rate.get().any())}
        circuit.stop()
    return found


def coupled_minibatches(steps=40):
    """What the cortex of circuit A says is what the retina of B sees: samples of two seeds, on Lava and on native."""
    text, rng = (Path(__file__).parents[2] / "examples/lava/oja.ir").read_text(), np.random.default_rng(3)
    first = cortexc.parse_graph(text).with_(samples=3, arrays={"W.w": rng.uniform(0, 0.5, (2, 4))})
    second = cortexc.parse_graph(text.replace("source 4", "source 2")).with_(
        samples=3, arrays={"W.w": rng.uniform(0, 0.5, (2, 2))})
    a, b = (cortexc.lava.Circuit(graph, gates={"learn": 1}, seed=[4, 9], name=name)
            for graph, name in ((first, "A"), (second, "B")))
    data, monitor = rng.uniform(0, 1, (4, 2, 3, steps)), Monitor()
    source = RingBuffer(data=data)
    source.s_out.connect(a.retina_value_in)
    a.cortex_rate_out.connect(b.retina_value_in)
    monitor.probe(b.cortex_v, steps)
    b.run(RunSteps(steps), Loihi2SimCfg())
    seen = np.moveaxis(data.reshape(4, 6, steps), (2, 1), (0, 1))
    ran = cortexc.simulate(first, inputs={"retina.value": seen}, record=["cortex.rate", "W.w"], gates={"learn": 1},
                           granularity="population", seed=[4, 9])
    then = cortexc.simulate(second, inputs={"retina.value": ran["cortex.rate"]}, record=["cortex.v", "W.w"],
                            gates={"learn": 1}, granularity="population", seed=[4, 9])
    v = monitor.get_data()["B"]["cortex_v"]
    found = {"A.w": (a.W_w.get(), np.moveaxis(ran["W.w"][-1], 0, -1)), "B.w": (b.W_w.get(), np.moveaxis(
        then["W.w"][-1], 0, -1)), "v": (v, np.moveaxis(then["cortex.v"].reshape(steps, 2, 3, 2), -1, 1))}
    b.stop()
    return {"shapes": [list(ours.shape) for ours, _ in found.values()], "moved": bool((found["B.w"][0] != b.W_w.init).all()),
            "equal": [ours.tobytes() == np.ascontiguousarray(theirs).tobytes() for ours, theirs in found.values()]}


NINE_BITS = ["model.layers=[64,4,10]", "model.variant=FA", "model.low_pass=false", "model.eta_fw=[3000,300]",
             "precision.weights=9", "precision.messages=7", "precision.factors=7", "precision.rounding=lava",
             "precision.map=loihi2", "precision.calibration_steps=50", "protocol.epochs=1", "run.seeds=[1]"]


def stock(steps=40):
    """PAL on Lava's own Dense and LearningDense, every Var against what native recorded."""
    experiment = cortexc.load("pal_digits", NINE_BITS)
    graph = stock_circuit(experiment, graph_of(experiment))
    plan, gates, rng = phase_plan(graph), dict.fromkeys(graph.gates, 1.0), np.random.default_rng(3)
    feed = {f"{p}.value": rng.uniform(0, 1, (steps, n)) for p, n in (("input", 64), ("teacher", 10))}
    circuit = cortexc.lava.Circuit(experiment, gates=gates, stock=True)
    sources = {name: RingBuffer(data=np.repeat(rows, plan.phases, axis=0).T) for name, rows in feed.items()}
    for name, port in (("input.value", circuit.input_value_in), ("teacher.value", circuit.teacher_value_in)):
        sources[name].s_out.connect(port)
    circuit.run(RunSteps(steps * plan.phases), Loihi2SimCfg(
        select_tag="fixed_pt", exception_proc_model_map={RingBuffer: PySendModelFloat}))
    names = [f"{q}.w" for q in plan.stock] + [f"{p.name}.{s.name}" for p in graph.populations
                                             for s in graph.cell_of(p.name).states]
    recorded = cortexc.simulate(graph, steps, inputs=feed, record=names, gates=gates, granularity="population")
    found = {}
    for name in names:
        owner, quantity = name.split(".")
        each = plan.stock.get(owner)
        halved = 0.5 if each and not each.rule and each.sign == "MIXED" else 1
        found[name] = circuit.projections[owner].weights.get() * each.unit * halved if each else \
            getattr(circuit.populations[owner], quantity).get()
    kinds = sorted({type(circuit.proc_params["parts"][name]).__name__ for name in plan.stock})
    circuit.stop()
    return {"compared": len(names), "processes": kinds, "wrong": [n for n in names if (found[n] != recorded[n][-1, 0]).any()],
            "moved": sum(bool((recorded[f"{q}.w"][-1] != recorded[f"{q}.w"][0]).any()) for q in plan.stock)}


def soak(cycles=25):
    """Threads, file descriptors and memory while a circuit runs, pauses, stops and runs again."""
    text = (Path(__file__).parents[2] / "examples/lava/oja.ir").read_text()
    circuit = cortexc.lava.Circuit(text, arrays={"W.w": np.full((2, 4), 0.25)}, gates={"learn": 1})
    source, found = RingBuffer(data=np.ones((4, 1))), []
    source.s_out.connect(circuit.retina_value_in)
    for _ in range(cycles):
        circuit.run(RunSteps(3), Loihi2SimCfg())
        circuit.run(RunContinuous())
        circuit.pause()
        circuit.run(RunSteps(2))
        circuit.stop()
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * 4
        found.append([threading.active_count(), len(os.listdir("/proc/self/fd")), memory])
    return {"first": found[4], "last": found[-1]}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*map(int, sys.argv[2:]))))
