"""`cortexc.from_brian2` against Brian2's own runs: recorded ones of written models, live ones of random networks."""
from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import cortexc
from cortexc.compiler.ir import CortexError, show_graph

b2 = pytest.importorskip("brian2")
import brian2_models  # noqa: E402
from brian2 import Hz, ms, nS, pF, second  # noqa: E402
from brian2_compare import distance, monitored  # noqa: E402
from brian2_models import MODELS  # noqa: E402
from brian2_random import Random  # noqa: E402

CLOSE = 1e-11
"""Of the largest value of a state. Numbers are in other units here, and sums have another order."""
RECORDED = np.load(Path(__file__).with_name("brian2_models.npz"))


@pytest.fixture(autouse=True)
def plain_brian():
    b2.prefs.codegen.target = "numpy"
    b2.prefs.logging.console_log_level = "ERROR"
    b2.defaultclock.dt = 0.1 * ms
    b2.start_scope()


def recorded(model):
    found: dict[str, dict[str, np.ndarray]] = {}
    for key in RECORDED.files:
        name, monitor, variable = key.split("/")
        if name == model:
            found.setdefault(monitor, {})[variable] = RECORDED[key]
    return found


def simulated(model, **options):
    return model.read(cortexc.simulate(model.graph, **model.run, **options))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_what_brian2_has_recorded(name):
    network, duration, constants = MODELS[name]()
    model = cortexc.from_brian2(network, duration, namespace={**vars(brian2_models), **constants})
    same, spikes, worst = distance(recorded(name), simulated(model))
    assert same and worst < CLOSE
    assert spikes > 2 or name == "rates"


@pytest.mark.parametrize("seed", [0, 2, 4, 14, 22])
def test_random_networks_run_as_brian2_runs_them(seed):
    random = Random(seed)
    model = cortexc.from_brian2(random.network, random.duration, namespace=random.namespace)
    random.network.run(random.duration, namespace=random.namespace)
    same, _, worst = distance(monitored(random.network), simulated(model))
    assert same and worst < 1e-9


def test_constants_and_objects_are_those_around():
    tau = 10 * ms
    cells = b2.NeuronGroup(2, "dv/dt = (2*mV - v)/tau : volt", method="exact", name="cells")
    states = b2.StateMonitor(cells, "v", 0, name="states")
    model = cortexc.from_brian2(b2.collect(), 5 * ms)
    found = simulated(model)["states"]
    assert len(cells) == 2 and states.record == [0]
    assert np.allclose(found["v"][0], 2e-3 * (1 - np.exp(-found["t"] / float(tau))), rtol=1e-12)


def test_the_graph_keeps_equations_names_and_units():
    capacitance, leak = 200 * pF, 10 * nS
    cells = b2.NeuronGroup(3, """dv/dt = (leak*(-70*mV - v) - w)/capacitance : volt
                                 dw/dt = -w/(100*ms) : amp""", threshold="v > -50*mV", reset="v = -60*mV; w += 20*pA",
                           method="euler", name="cells", namespace={"leak": leak, "capacitance": capacitance})
    text = show_graph(cortexc.from_brian2(b2.Network(cells), 1 * ms).graph)
    for line in ("parameter leak nS = 10", "parameter capacitance pF = 200", "state w_ pA = 0",
                 "send dv_free/dt mV = (leak * (-70 mV - v_free) - w_free) / capacitance from prev(v)",
                 "receive w_ = where(spike > 0, w_free + 20 pA, w_free)", "send spike = where(v_free > -50 mV, 1, 0)"):
        assert f"  {line}\n" in text


def test_a_poisson_group_has_brian2s_distribution():
    """Brian2's own uniform numbers, replayed, give its spikes."""
    stimulus = b2.TimedArray([20, 400, 90] * Hz, dt=5 * ms)
    cells = b2.PoissonGroup(8, "stimulus(t)*(1 + i)", name="noise", namespace={"stimulus": stimulus})
    spikes = b2.SpikeMonitor(cells, name="spikes")
    network = b2.Network(cells, spikes)
    model = cortexc.from_brian2(network, 15 * ms)
    drawn = np.random.RandomState(3).rand(model.steps, 8)
    b2.seed(3)
    network.run(15 * ms)
    replayed = model.graph.with_(noise=cortexc.Noise("recorded", ("noise",)))
    found = model.read(cortexc.simulate(replayed, **model.run, noise=drawn))
    same, number, _ = distance(monitored(network), found)
    assert same and number > 10


def test_a_poisson_input_is_binomial():
    """Mean and variance of what 4000 cells get, and cells outside of the target get nothing."""
    cells = b2.NeuronGroup(4001, "v : 1", name="cells")
    given = b2.PoissonInput(cells[:4000], "v", 12, 1500 * Hz, 0.5)
    states = b2.StateMonitor(cells, "v", True, when="end", name="states")
    model = cortexc.from_brian2(b2.Network(cells, given, states), 0.5 * ms)
    found = np.diff(simulated(model)["states"]["v"], axis=1, prepend=0.0)
    counts, p = found[:-1] / 0.5, 0.15
    assert not found[-1].any() and counts.min() == 0
    assert abs(counts.mean() - 12 * p) < 5 * np.sqrt(12 * p * (1 - p) / counts.size)
    assert abs(counts.var() / (12 * p * (1 - p)) - 1) < 5 * np.sqrt(2 / counts.size)


def test_cells_that_a_poisson_input_drives_spike_as_often_as_brian2s():
    network, duration, _ = brian2_models.poisson_driven()
    found = simulated(cortexc.from_brian2(network, duration))["spikes"]["count"]
    expected = recorded("poisson_driven")["spikes"]["count"]
    error = np.sqrt(found.var() / found.size + expected.var() / expected.size)
    assert expected.mean() > 1 and abs(found.mean() - expected.mean()) < 4 * error
    assert 0.7 < found.var() / expected.var() < 1.4


def test_noise_in_equations_has_its_variance():
    """dv = -v/tau dt + sigma sqrt(2/tau) xi: the variance approaches sigma**2."""
    cells = b2.NeuronGroup(3000, "dv/dt = -v/(2*ms) + 3*mV*sqrt(2/(2*ms))*xi : volt", method="euler", name="cells")
    states = b2.StateMonitor(cells, "v", True, name="states")
    model = cortexc.from_brian2(b2.Network(cells, states), 12 * ms)
    settled = simulated(model)["states"]["v"][:, -1]
    expected = 9e-6 / (1 - 0.1 / 4)  # of Euler's method
    assert abs(settled.var() / expected - 1) < 5 * np.sqrt(2 / len(settled))


def test_integers_truths_and_numbers_of_cells():
    cells = b2.NeuronGroup(4, """dv/dt = (1.2 + 0.1*i - v)/(3*ms) : 1
                                 kept : integer
                                 odd : boolean""", threshold="v > 1", method="euler", name="cells",
                           reset="kept = kept + 1.7*v; odd = not odd; v = 0")
    part = cells[2:]
    synapses = b2.Synapses(part, cells, on_pre="v += 0.01*(i + 10*j)", name="syn")
    synapses.connect()
    network = b2.Network(cells, synapses, b2.SpikeMonitor(cells, name="spikes"),
                         b2.StateMonitor(cells, ["v", "kept", "odd"], True, name="states"))
    model = cortexc.from_brian2(network, 15 * ms)
    network.run(15 * ms)
    same, number, worst = distance(monitored(network), simulated(model))
    assert same and number > 10 and worst < CLOSE


@pytest.mark.parametrize("name", ["a_synapses", "z_synapses"])
def test_synapses_go_on_before_or_after_their_groups_by_name(name):
    cells = b2.NeuronGroup(3, "dv/dt = (1.5 + 0.2*i + s_all - v)/(2*ms) : 1\ns_all : 1", threshold="v > 1", reset="v = 0",
                           method="euler", name="cells")
    synapses = b2.Synapses(cells, cells, """ds/dt = (v_pre - 0.5*v_post - s)/(3*ms) : 1 (clock-driven)
                                            s_all_post = 0.1*s : 1 (summed)""", method="euler", name=name)
    synapses.connect()
    network = b2.Network(cells, synapses, b2.SpikeMonitor(cells, name="spikes"),
                         b2.StateMonitor(synapses, "s", True, name="states"))
    model = cortexc.from_brian2(network, 10 * ms)
    network.run(10 * ms)
    same, number, worst = distance(monitored(network), simulated(model))
    assert same and number > 5 and worst < CLOSE


def linked():
    first, second_ = b2.NeuronGroup(1, "v : 1"), b2.NeuronGroup(1, "u : 1 (linked)")
    second_.u = b2.linked_var(first, "v")
    return first, second_


def joined(model="", on_pre="v += 1", on_post=None, refractory=False):
    cells = b2.NeuronGroup(3, "v : 1\nu : 1", threshold="v > 1", reset="v = 0", refractory=refractory, name="cells")
    synapses = b2.Synapses(cells, cells, model, on_pre=on_pre, on_post=on_post, name="syn")
    synapses.connect()
    return cells, synapses


def with_delays(pathway, values, *objects):
    getattr(objects[1], pathway).delay = values * ms
    return objects


def monitor(kind, *arguments, **options):
    cells = b2.NeuronGroup(2, "v : 1", threshold="v > 1", reset="v = 0")
    return cells, kind(cells, *arguments, **options)


def regularly():
    cells = b2.NeuronGroup(1, "v : 1")
    cells.run_regularly("v += 1", dt=0.1 * ms)
    return (cells,)


def late_lastspike():
    cells = b2.NeuronGroup(1, "v : 1", threshold="v > 1", reset="v = 0", refractory=2 * ms)
    cells.lastspike = -1 * ms
    return (cells,)


def poisson(rate):
    cells = b2.NeuronGroup(1, "v : 1")
    return cells, b2.PoissonInput(cells, "v", 100000, rate, 1)


def lazily_watched():
    objects = joined("dx/dt = -x/(5*ms) : 1 (event-driven)", "x += 1; v += x")
    return *objects, b2.StateMonitor(objects[1], "x", True)


def _into(part):
    synapses = b2.Synapses(part, part, on_pre="v_post += i_post")
    synapses.connect()
    return synapses


REFUSED = {
    "a network operation": ("U102", "NetworkOperation", lambda: (b2.NetworkOperation(lambda: None),)),
    "code that runs regularly": ("U102", "run_regularly", regularly),
    "an event": ("U102", "event 'rise'", lambda: (b2.NeuronGroup(1, "v : 1", events={"rise": "v > 1"}),)),
    "a group outside": ("U102", "is not in the network", lambda: joined()[1:]),
    "several steps": ("U103", "0.1 ms.*0.5 ms|0.5 ms.*0.1 ms", lambda: (b2.NeuronGroup(1, "v : 1"),
                                                                 b2.NeuronGroup(1, "v : 1", dt=0.5 * ms))),
    "another order": ("U103", "runs at 'end'", lambda: (lambda c, s: (setattr(s.pre, "when", "end"), (c, s))[1])(*joined())),
    "a function": ("U104", "no function 'arcsin'", lambda: (b2.NeuronGroup(1, "dv/dt = arcsin(v)/second : 1", method="euler"),)),
    "a name": ("U104", "nonsense", lambda: (b2.NeuronGroup(1, "dv/dt = nonsense/second : 1", method="euler"),)),
    "the last spike": ("U104", "lastspike", lambda: (b2.NeuronGroup(
        1, "v : 1", threshold="t - lastspike > 1*ms", refractory=1 * ms),)),
    "refractoriness after the threshold": ("U104", "not_refractory", lambda: (b2.NeuronGroup(
        1, "v : 1", threshold="v > 1", reset="v = int(not_refractory)", refractory=1 * ms),)),
    "an inactive object": ("U102", "is not active", lambda: (lambda c, s: (setattr(s, "active", False), (c, s))[1])(*joined())),
    "an order of one's own": ("U103", "order 3", lambda: (b2.NeuronGroup(1, "dv/dt = -v/ms : 1", order=3, method="euler"),)),
    "events that read what changes": ("U105", "between events", lambda: joined(
        "dx/dt = (v_post - x)/(5*ms) : 1 (event-driven)", "x += 1")),
    "a sum that is changed": ("U106", "is summed", lambda: joined("u_post = v_pre : 1 (summed)", "u_post += 1")),
    "numbers within a part": ("U104", "'i_post'", lambda: (lambda c: (c, _into(c[1:])))(joined()[0])),
    "an adaptive method": ("U105", "gsl", lambda: (b2.NeuronGroup(1, "dv/dt = -v/second : 1", method="gsl"),)),
    "setting a cell": ("U106", "v_post = 3", lambda: joined(on_pre="v_post = 3")),
    "a mixed function": ("U106", "no sum of products", lambda: joined("w : 1", "u_post += exp(w*v_post)")),
    "what was just added": ("U106", "in the same step", lambda: joined("w : 1", "v_post += w; w += v_post")),
    "a late presynaptic value": ("U106", "spike arrives", lambda: with_delays("pre", 1, *joined(on_pre="u_post += v_pre"))),
    "change that goes back": ("U106", "postsynaptic cell spikes", lambda: joined("w : 1", None, "u_pre += w; w += 1")),
    "a last spike at a synapse": ("U106", "'lastspike'", lambda: joined("w : second", "w = lastspike_post", refractory=1 * ms)),
    "time at a synapse": ("U106", "'t'", lambda: joined("w : second", "w = t")),
    "delays that differ behind": ("U107", "of its own", lambda: with_delays("post", np.arange(9), *joined(
        "w : 1", "v += w", "w += 1"))),
    "too long a delay behind": ("U107", "100 steps", lambda: with_delays("post", 10, *joined("w : 1", "v += w", "w += 1"))),
    "linked variables": ("U108", "linked", linked),
    "times of last spikes": ("U109", "last spikes", late_lastspike),
    "a changing refractory time": ("U109", "changes", lambda: (b2.NeuronGroup(
        1, "v : second", threshold="v > 1*ms", reset="v += 1*ms", refractory="v"),)),
    "variables of spikes": ("U110", "records v", lambda: monitor(b2.SpikeMonitor, variables="v")),
    "what is no variable": ("U110", "records 'not_refractory'", lambda: (lambda c: (c, b2.StateMonitor(
        c, "not_refractory", True)))(b2.NeuronGroup(1, "v : 1", threshold="v > 1", refractory=1 * ms))),
    "what another group has": ("U110", "records 'v_post'", lambda: (lambda c, s: (c, s, b2.StateMonitor(
        s, "v_post", True)))(*joined())),
    "another slot": ("U110", "at 'resets'", lambda: monitor(b2.StateMonitor, "v", True, when="resets")),
    "what is kept as it was": ("U110", "events alone", lazily_watched),
    "too many spikes": ("U111", "more than", lambda: poisson(200 * Hz)),
    "impossible rates": ("U111", "At most 1", lambda: poisson(20000 * Hz))}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_said_is_refused(what):
    code, says, objects = REFUSED[what]
    with pytest.raises(CortexError, match=f"{code} .*({says})"):
        cortexc.from_brian2(b2.Network(*objects()), 1 * ms, namespace={"second": second, "ms": ms})


def test_a_network_that_has_run_is_refused():
    network = b2.Network(b2.NeuronGroup(1, "v : 1"))
    network.run(0.1 * ms)
    with pytest.raises(CortexError, match="U103 .*has run"):
        cortexc.from_brian2(network, 1 * ms)


def test_the_example_of_the_docs_runs():
    page = (Path(__file__).parents[2] / "docs/brian2.md").read_text()
    names: dict[str, object] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    network, model, found = names["network"], names["model"], names["found"]
    network.run(model.steps * 0.1 * ms, namespace=names)
    same, spikes, worst = distance(monitored(network), model.read(found))
    assert same and spikes and worst < CLOSE


def test_the_example_learns_what_brian2_learns(capsys):
    names = runpy.run_path(str(Path(__file__).parents[2] / "examples/brian2/stdp.py"))
    same, spikes, worst = distance(monitored(names["network"]), names["found"])
    assert same and spikes and worst < CLOSE
    assert "rule synapses_rule: local" in capsys.readouterr().out


def test_without_brian2_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "brian2", None)
    with pytest.raises(CortexError, match=r"U101 .*cortexc\[brian2\]"):
        cortexc.from_brian2([], 1.0)


@pytest.mark.parametrize(("duration", "code"), [(5 * b2.mV, "U103"), (float("nan"), "U103"), ("10*ms", "E237"), (-1 * ms, "U103")])
def test_a_duration_is_a_time(duration, code):
    with pytest.raises(CortexError, match=code):
        cortexc.from_brian2([b2.NeuronGroup(1, "v : 1")], duration)
