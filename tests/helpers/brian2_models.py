"""Models written for Brian2, each a function that gives (network, duration, names of its constants).

Nothing in them is drawn while they run, so that two simulators have to agree spike by spike.
"""
import brian2 as b2
import numpy as np
from brian2 import Hz, Mohm, amp, cm, ms, mV, mvolt, nA, namp, nS, pA, pF, second, siemens, uF, ufarad, um, volt  # noqa: F401


def pairs(rng, pre, post, p):
    """(i, j) of all pairs with this probability."""
    return np.nonzero(rng.random((pre, post)) < p)


def spiking(rng, cells, steps, rate, dt=0.1):
    """A SpikeGeneratorGroup with independent spikes, in steps of dt ms; rate per ms."""
    when, which = np.nonzero(rng.random((steps, cells)) < rate * dt)
    return b2.SpikeGeneratorGroup(cells, which, when * dt * ms, name="source")


def network(*objects):
    return b2.Network(*objects)


def cuba(cells=100):
    """Current-based integrate-and-fire cells, solved exactly; delays of excitation differ."""
    rng = np.random.default_rng(1)
    taum, taue, taui, vt, vr, el = 20 * ms, 5 * ms, 10 * ms, -50 * mV, -60 * mV, -48.8 * mV
    we, wi = 1.62 * mV, -9 * mV
    group = b2.NeuronGroup(cells, """
        dv/dt = (ge + gi - (v - el)) / taum : volt (unless refractory)
        dge/dt = -ge / taue : volt
        dgi/dt = -gi / taui : volt""", threshold="v > vt", reset="v = vr", refractory=5 * ms, method="exact", name="cuba")
    group.v = vr + rng.random(cells) * (vt - vr)
    inner = int(0.8 * cells)
    exc = b2.Synapses(group[:inner], group, on_pre="ge += we", name="exc")
    inh = b2.Synapses(group[inner:], group, on_pre="gi += wi", delay=1 * ms, name="inh")
    i, j = pairs(rng, inner, cells, 0.1)
    exc.connect(i=i, j=j)
    exc.delay = rng.random(len(i)) * 3 * ms
    i, j = pairs(rng, cells - inner, cells, 0.1)
    inh.connect(i=i, j=j)
    return network(group, exc, inh, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "ge"], [0, 3], dt=0.5 * ms, name="states"),
                   b2.PopulationRateMonitor(group[:inner], name="rate")), 60 * ms, locals()


def cobahh(cells=20):
    """Hodgkin-Huxley cells with conductances that synapses add to; a spike is a rise above -20 mV."""
    rng = np.random.default_rng(2)
    area = 20000 * um**2
    cm_, gl, g_na, g_kd = 1 * ufarad * cm**-2 * area, 5e-5 * siemens * cm**-2 * area, 100e-3 * siemens * cm**-2 * area, \
        30e-3 * siemens * cm**-2 * area
    el, ek, ena, vt = -60 * mV, -90 * mV, 50 * mV, -63 * mV
    taue, taui, ee, ei, we, wi = 5 * ms, 10 * ms, 0 * mV, -80 * mV, 6 * nS, 67 * nS
    group = b2.NeuronGroup(cells, """
        dv/dt = (gl*(el - v) + ge*(ee - v) + gi*(ei - v) - g_na*(m*m*m)*h*(v - ena) - g_kd*(n*n*n*n)*(v - ek))/cm_ : volt
        dm/dt = alpha_m*(1 - m) - beta_m*m : 1
        dn/dt = alpha_n*(1 - n) - beta_n*n : 1
        dh/dt = alpha_h*(1 - h) - beta_h*h : 1
        dge/dt = -ge/taue : siemens
        dgi/dt = -gi/taui : siemens
        alpha_m = 0.32*(mV**-1)*4*mV/exprel((13*mV - v + vt)/(4*mV))/ms : Hz
        beta_m = 0.28*(mV**-1)*5*mV/exprel((v - vt - 40*mV)/(5*mV))/ms : Hz
        alpha_h = 0.128*exp((17*mV - v + vt)/(18*mV))/ms : Hz
        beta_h = 4./(1 + exp((40*mV - v + vt)/(5*mV)))/ms : Hz
        alpha_n = 0.032*(mV**-1)*5*mV/exprel((15*mV - v + vt)/(5*mV))/ms : Hz
        beta_n = .5*exp((10*mV - v + vt)/(40*mV))/ms : Hz""", threshold="v > -20*mV", refractory="v > -40*mV",
                           method="exponential_euler", name="hh")
    group.v = el + (rng.normal(0, 5, cells) - 5) * mV
    group.ge, group.gi = (rng.normal(0, 1.5, cells) + 4) * 10 * nS, (rng.normal(0, 12, cells) + 20) * nS
    inner = int(0.8 * cells)
    exc = b2.Synapses(group[:inner], group, on_pre="ge_post += we", name="exc")
    inh = b2.Synapses(group[inner:], group, on_pre="gi_post += wi", name="inh")
    exc.connect(**_ij(rng, inner, cells, 0.2))
    inh.connect(**_ij(rng, cells - inner, cells, 0.2))
    return network(group, exc, inh, b2.SpikeMonitor(group, name="spikes"),
                   b2.StateMonitor(group, ["v", "m", "n", "h", "alpha_m"], [0, 1], dt=0.5 * ms, name="states")), 30 * ms, locals()


def _ij(rng, pre, post, p):
    i, j = pairs(rng, pre, post, p)
    return {"i": i, "j": j}


def stdp():
    """Pairs of spikes, with traces that are kept at events; a conductance that grows onto one cell."""
    rng = np.random.default_rng(3)
    taum, taupre, taupost, taue = 10 * ms, 20 * ms, 20 * ms, 5 * ms
    ee, vt, vr, el, gmax = 0 * mV, -54 * mV, -60 * mV, -74 * mV, 0.05
    dapre, dapost = 0.01 * gmax, -0.0105 * gmax
    source = spiking(rng, 50, 1000, 0.06)
    group = b2.NeuronGroup(2, """
        dv/dt = (ge*(ee - v) + el - v)/taum : volt
        dge/dt = -ge/taue : 1""", threshold="v > vt", reset="v = vr", method="euler", name="target")
    group.v = el
    synapses = b2.Synapses(source, group, """
        w : 1
        dapre_/dt = -apre_/taupre : 1 (event-driven)
        dapost_/dt = -apost_/taupost : 1 (event-driven)""", on_pre="""
            ge += w
            apre_ += dapre
            w = clip(w + apost_, 0, gmax)""", on_post="""
            apost_ += dapost
            w = clip(w + apre_, 0, gmax)""", name="plastic")
    synapses.connect()
    synapses.w = rng.random(len(synapses)) * gmax
    return network(source, group, synapses, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(synapses, "w", [0, 17, 60], dt=0.5 * ms, name="weights"),
                   b2.StateMonitor(group, ["v", "ge"], True, dt=0.5 * ms, name="states")), 100 * ms, locals()


def adaptive_threshold():
    """Every spike of a cell lifts its threshold, which falls back."""
    rng = np.random.default_rng(4)
    source = spiking(rng, 80, 600, 0.08)
    group = b2.NeuronGroup(3, """
        dv/dt = -v/(10*ms) : volt
        dvt/dt = (10*mV - vt)/(15*ms) : volt""", threshold="v > vt", reset="v = 0*mV; vt += 3*mV", method="exact",
                           name="adapting")
    group.vt = [10, 11, 12] * mV
    synapses = b2.Synapses(source, group, "w : volt (constant)", on_pre="v += w", name="drive")
    synapses.connect(p=1)
    synapses.w = rng.random(len(synapses)) * 1.2 * mV
    return network(source, group, synapses, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "vt"], True, dt=0.5 * ms, name="states")), \
        60 * ms, locals()


def brunel(cells=100):
    """Sparse excitation and inhibition whose synapses are jumps of the voltage, with given spikes from outside."""
    rng = np.random.default_rng(5)
    tau, theta, vr, jump, g = 20 * ms, 20 * mV, 10 * mV, 0.6 * mV, 5.0
    source = spiking(rng, cells, 500, 2.2)
    group = b2.NeuronGroup(cells, "dv/dt = -v/tau : volt (unless refractory)", threshold="v > theta", reset="v = vr",
                           refractory=2 * ms, method="exact", name="brunel")
    group.v = rng.random(cells) * 20 * mV
    inner = int(0.8 * cells)
    drive = b2.Synapses(source, group, on_pre="v += jump", name="drive")
    drive.connect(j="i")
    exc = b2.Synapses(group[:inner], group, on_pre="v += jump", delay=1.5 * ms, name="exc")
    exc.connect(**_ij(rng, inner, cells, 0.1))
    inh = b2.Synapses(group[inner:], group, on_pre="v -= g*jump", delay=1.5 * ms, name="inh")
    inh.connect(**_ij(rng, cells - inner, cells, 0.1))
    return network(source, group, drive, exc, inh, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, "v", [0, 1], dt=0.5 * ms, name="states")), \
        50 * ms, locals()


def short_term():
    """Depression and facilitation after Tsodyks and Markram; what a spike brings is what it has just released."""
    rng = np.random.default_rng(6)
    source = spiking(rng, 20, 800, 0.05)
    tau, taur, tauf, u0 = 10 * ms, 100 * ms, 50 * ms, 0.3
    group = b2.NeuronGroup(2, "dv/dt = (i_syn - v)/tau : volt\ndi_syn/dt = -i_syn/(3*ms) : volt", threshold="v > 8*mV",
                           reset="v = 0*mV", method="exact", name="target")
    synapses = b2.Synapses(source, group, """
        w : volt
        dx/dt = (1 - x)/taur : 1 (event-driven)
        du/dt = (u0 - u)/tauf : 1 (event-driven)""", on_pre="""
            u += u0*(1 - u)
            r = u*x
            x -= r
            i_syn_post += w*r""", delay=0.7 * ms, name="stp")
    synapses.connect()
    synapses.x, synapses.u = 1, u0
    synapses.w = (5 + 20 * rng.random(len(synapses))) * mV
    return network(source, group, synapses, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "i_syn"], True, dt=0.5 * ms, name="states")), \
        80 * ms, locals()


def adex():
    """Adaptive exponential cells with different currents, by Runge and Kutta's method."""
    c, gl, el, vt, delta, vr = 281 * pF, 30 * nS, -70.6 * mV, -50.4 * mV, 2 * mV, -70.6 * mV
    tauw, a, b = 144 * ms, 4 * nS, 0.0805 * nA
    group = b2.NeuronGroup(4, """
        dv/dt = (gl*(el - v) + gl*delta*exp((v - vt)/delta) + current - w)/c : volt
        dw/dt = (a*(v - el) - w)/tauw : amp
        current : amp""", threshold="v > -40*mV", reset="v = vr; w += b", method="rk4", name="adex")
    group.v, group.current = el, [0.6, 0.8, 1.0, 1.3] * nA
    return network(group, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "w", "current"], True, dt=0.5 * ms, name="states")), 80 * ms, locals()


def conductances():
    """Conductance-based cells; the voltage stands still while a cell is refractory, for a time of its own."""
    rng = np.random.default_rng(8)
    source = spiking(rng, 60, 500, 0.1)
    group = b2.NeuronGroup(5, """
        dv/dt = (-65*mV - v + ge*(0*mV - v) + gi*(-80*mV - v))/(20*ms) : volt (unless refractory)
        dge/dt = -ge/(5*ms) : 1
        dgi/dt = -gi/(10*ms) : 1
        pause : second (constant)""", threshold="v > -50*mV", reset="v = -60*mV", refractory="pause",
                           method="exponential_euler", name="cells")
    group.v, group.pause = -65 * mV, [0, 0.1, 0.2, 1, 3.14] * ms
    exc = b2.Synapses(source, group, on_pre="ge += 0.04", name="exc")
    exc.connect(p=1)
    inh = b2.Synapses(group, group, on_pre="gi += 0.1\nv_post -= 0.1*mV", name="inh")
    inh.connect(condition="i != j")
    return network(source, group, exc, inh, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "ge", "gi"], True, dt=0.5 * ms, name="states")), \
        50 * ms, locals()


def delays():
    """Every synapse has a delay of its own, from none on; two pathways of one synapse have different ones."""
    rng = np.random.default_rng(9)
    source = b2.SpikeGeneratorGroup(6, [0, 1, 2, 3, 4, 5, 0], [0, 0.1, 0.5, 1, 2, 3.3, 4] * ms, period=8 * ms, name="source")
    group = b2.NeuronGroup(6, "dv/dt = -v/(5*ms) : 1\ndz/dt = -z/(9*ms) : 1", threshold="v > 1.4", reset="v = 0",
                           method="exact", name="cells")
    synapses = b2.Synapses(source, group, "w : 1", on_pre={"fast": "v += w", "slow": "z += 2*w"}, name="twice")
    synapses.connect(p=1)
    synapses.w = rng.random(len(synapses))
    synapses.fast.delay = rng.integers(0, 30, len(synapses)) * 0.1 * ms
    synapses.slow.delay = 1.23 * ms
    again = b2.Synapses(group, group, on_pre="v += 0.3", on_post="z -= 0.2", delay={"pre": 0.4 * ms, "post": 0.3 * ms},
                        name="again")
    again.connect(condition="i != j")
    return network(source, group, synapses, again, b2.SpikeMonitor(group, name="spikes"), b2.SpikeMonitor(source, name="given"),
                   b2.StateMonitor(group, ["v", "z"], True, when="end", dt=0.5 * ms, name="states")), 40 * ms, locals()


def gap_junctions():
    """Cells that share currents through gap junctions, and phases that pull each other."""
    rng = np.random.default_rng(10)
    group = b2.NeuronGroup(8, """
        dv/dt = (v0 - v + gap)/(10*ms) : 1
        dphase/dt = (omega + pull)*2*pi/second : 1
        v0 : 1 (constant)
        omega : 1 (constant)
        gap : 1
        pull : 1""", threshold="v > 1", reset="v = 0", method="euler", name="cells")
    group.v0, group.omega, group.v = 1.05 + 0.3 * rng.random(8), 5 + rng.random(8), rng.random(8)
    synapses = b2.Synapses(group, group, """
        w : 1
        gap_post = w*(v_pre - v_post) : 1 (summed)""", name="gaps")
    synapses.connect(condition="i != j", p=1)
    synapses.w = 0.1 * rng.random(len(synapses))
    pulls = b2.Synapses(group, group, "pull_post = sin(phase_pre - phase_post)/N_post : 1 (summed)", name="pulls")
    pulls.connect()
    return network(group, synapses, pulls, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "gap", "phase"], True, dt=0.5 * ms, name="states")), \
        40 * ms, locals()


def slow_synapses():
    """A synapse with a saturating conductance of its own, which goes on in every step and is summed."""
    rng = np.random.default_rng(11)
    source = spiking(rng, 10, 500, 0.05)
    group = b2.NeuronGroup(3, """
        dv/dt = (-70*mV - v + g_tot*(0*mV - v))/(20*ms) : volt
        g_tot : 1""", threshold="v > -50*mV", reset="v = -60*mV", method="euler", name="cells")
    group.v = -70 * mV
    synapses = b2.Synapses(source, group, """
        g_tot_post = w*s : 1 (summed)
        ds/dt = -s/(50*ms) + 0.5/ms*x*(1 - s) : 1 (clock-driven)
        dx/dt = -x/(2*ms) : 1 (clock-driven)
        w : 1""", on_pre="x += 1", delay=0.5 * ms, method="euler", name="nmda")
    synapses.connect()
    synapses.w = 0.3 * rng.random(len(synapses))
    return network(source, group, synapses, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(group, ["v", "g_tot"], True, dt=0.5 * ms, name="states"),
                   b2.StateMonitor(synapses, ["s", "x"], [0, 4], dt=0.5 * ms, name="weights")), 50 * ms, locals()


def voltage_rule():
    """Plasticity that reads the voltage of the postsynaptic cell, with a postsynaptic pathway that is delayed."""
    rng = np.random.default_rng(12)
    source = spiking(rng, 12, 600, 0.06)
    drive = b2.TimedArray([0, 12, 6, 16, 3] * mV, dt=10 * ms)
    group = b2.NeuronGroup(2, """
        dv/dt = (drive(t)*(1 + i) - v + g)/(10*ms) : volt
        dg/dt = -g/(4*ms) : volt""", threshold="v > 10*mV", reset="v = 0*mV", method="rk2", name="cells")
    synapses = b2.Synapses(source, group, """
        w : volt
        theta : volt (constant)
        dr/dt = -r/(20*ms) : 1 (event-driven)""", on_pre={"bring": "g += w", "learn": """
            w += 0.01*(v_post - theta)
            r += 1"""}, on_post="w = clip(w + 0.05*mV*r, 0*mV, 5*mV)", delay={"post": 0.4 * ms, "learn": 0.4 * ms,
                                                                       "bring": 0.4 * ms}, name="plastic")
    synapses.connect()
    synapses.w, synapses.theta = 2 * mV * rng.random(len(synapses)), rng.random(len(synapses)) * 10 * mV
    return network(source, group, synapses, b2.SpikeMonitor(group, name="spikes"), b2.StateMonitor(synapses, ["w", "theta"], [0, 3], dt=0.5 * ms, name="weights"),
                   b2.StateMonitor(group, "v", True, dt=0.5 * ms, name="states")), 60 * ms, locals()


def rates():
    """A rate network with an input over time, a threshold-linear gain and values that hold for a step."""
    rng = np.random.default_rng(13)
    stimulus = b2.TimedArray(rng.random((6, 10)), dt=5 * ms)
    group = b2.NeuronGroup(10, """
        dr/dt = (-r + clip(drive, 0, 100))/tau : 1
        drive = total + stimulus(t, i) + sin(2*pi*t/(20*ms)) : 1 (constant over dt)
        total : 1
        tau : second (shared, constant)""", method="exponential_euler", name="units")
    group.tau = 7 * ms
    synapses = b2.Synapses(group, group, "w : 1\ntotal_post = w*r_pre : 1 (summed)", name="recurrent")
    synapses.connect()
    synapses.w = rng.normal(0, 0.3, len(synapses))
    return network(group, synapses, b2.StateMonitor(group, ["r", "drive", "total"], True, dt=0.5 * ms, name="states")), 40 * ms, locals()


def poisson_driven(cells=400):
    """Cells that only a PoissonInput drives: drawn while it runs, so only its statistics can agree."""
    group = b2.NeuronGroup(cells, "dv/dt = -v/(10*ms) : volt (unless refractory)", threshold="v > 10*mV", reset="v = 0*mV",
                           refractory=2 * ms, method="exact", name="cells")
    given = b2.PoissonInput(group, "v", 60, 15 * Hz, 1.2 * mV)
    return network(group, given, b2.SpikeMonitor(group, name="spikes")), 100 * ms, locals()


MODELS = {f.__name__: f for f in (cuba, cobahh, stdp, adaptive_threshold, brunel, short_term, adex, conductances, delays,
                                  gap_junctions, slow_synapses, voltage_rule, rates)}
