"""Random networks of Brian2: equations, connections and delays from a small grammar, nothing drawn while they run."""
import brian2 as b2
import numpy as np
from brian2 import ms, mV

STEPS = 200
METHODS = ("exact", "exponential_euler", "euler", "rk4", "rk2", "heun")


class Random:
    """One network. `namespace` has the constants that its equations name."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.namespace = {"mV": mV, "ms": ms}
        self.count = 0
        self.stimulus = b2.TimedArray(self.rng.uniform(0, 12, (5, 6)) * mV, dt=self.rng.choice([0.5, 5, 7.3]) * ms)
        self.namespace["stimulus"] = self.stimulus
        self.plastic = False
        groups = [self.group(f"cells{k}") for k in range(self.rng.integers(1, 3))]
        self.source = self.generator()
        synapses = [self.synapses(f"syn{k}", groups) for k in range(self.rng.integers(2, 5))]
        self.monitored = groups
        monitors = [m for g in groups for m in (b2.SpikeMonitor(g, name=f"{g.name}_spikes"), b2.StateMonitor(
            g, self.variables[g.name], True, when=self.one("start", "end"), name=f"{g.name}_states"))]
        monitors += [b2.StateMonitor(s, self.own[s.name], True, name=f"{s.name}_states") for s in synapses
                     if self.own[s.name] and len(s)]
        self.network = b2.Network(*groups, self.source, *synapses, *monitors)
        self.duration = STEPS * 0.1 * ms

    variables: dict
    own: dict

    def one(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def chance(self, p=0.5):
        return self.rng.random() < p

    def constant(self, low, high, unit):
        """The name of a new one."""
        name = f"c{self.count}"
        self.count += 1
        self.namespace[name] = round(float(self.rng.uniform(low, high)), 3) * unit
        return name

    def group(self, name):
        self.variables = getattr(self, "variables", {})
        tau, other = self.constant(5, 20, ms), self.constant(2, 30, ms)
        drive = self.one("stimulus(t, i)", "bias", "stimulus(t, i % 3) + bias", self.constant(8, 14, mV))
        terms = [f"{drive} - v"]
        lines, found = ["bias : volt (constant)"], ["v"]
        flag = self.one("", " (unless refractory)")
        if self.chance():
            terms.append("+ ge")
            lines.append(f"dge/dt = -ge/{other} : volt")
            found.append("ge")
        if self.chance(0.4):
            terms.append("- a")
            lines.append(f"da/dt = ({self.one('0.2*v', '0.1*v + 0.3*mV', '0*mV')} - a)/{self.constant(20, 60, ms)} : volt")
            found.append("a")
        if self.chance(0.3):
            terms.append("+ cond*(20*mV - v)")
            lines.append(f"dcond/dt = -cond/{self.constant(3, 9, ms)} : 1")
            found.append("cond")
        if self.chance(0.3):
            terms.append("+ extra")
            lines.append(self.one("extra = 0.5*v*(v/(30*mV)) : volt", "extra = 2*mV*tanh(v/(5*mV)) : volt",
                                  "extra = 2*mV*sin(t/(3*ms)) : volt (constant over dt)",
                                  "extra = clip(v, 0*mV, 4*mV) : volt (constant over dt)"))
            found.append("extra")
        if self.chance(0.4):
            terms.append("+ total")
            lines.append("total : volt")
            found.append("total")
        lines.insert(0, f"dv/dt = ({' '.join(terms)})/{tau} : volt{flag}")
        reset = self.one("v = 0*mV", "v -= 6*mV", "v = bias/4; level += 1", "v *= 0.3")
        if "a" in found and self.chance():
            reset += "\na += 1.5*mV"
        lines.append("level : 1")
        threshold = self.one("v > 8*mV", "v > 7*mV + level*0.5*mV", "v >= bias*0.7 and v > 3*mV")
        cells = int(self.rng.integers(2, 7))
        group = b2.NeuronGroup(cells, "\n".join(lines), threshold=threshold, reset=reset, name=name,
                               refractory=self.one(False, 1.3 * ms, "ref", "v > 4*mV", "level*0.1*ms + 1*ms")
                               if "level" not in reset else self.one(False, 0.7 * ms, "ref"),
                               method=self.one(*(METHODS[1:] if {"a", "cond", "extra"} & set(found) else METHODS)))
        self.namespace["ref"] = 2.1 * ms
        group.v, group.bias = self.rng.uniform(0, 8, cells) * mV, self.rng.uniform(4, 14, cells) * mV
        self.variables[name] = [*found, "bias", "level"]
        return group

    def generator(self):
        cells = int(self.rng.integers(2, 6))
        when, which = np.nonzero(self.rng.random((STEPS, cells)) < 0.03)
        return b2.SpikeGeneratorGroup(cells, which, when * 0.1 * ms, name="source")

    def synapses(self, name, groups):
        self.own = getattr(self, "own", {})
        source, target = self.one(self.source, *groups), self.one(*groups)
        if source is not self.source and self.chance(0.3):
            source = source[:len(source) - 1]
        variables = self.variables[target.name]
        if "total" in variables and self.chance(0.7) and source is not self.source and "v" in source.variables:
            self.variables[target.name] = [v for v in variables if v != "total"]
            value = self.one("g*(v_pre - v_post)", "g*v_pre", "2*mV*g*tanh(v_pre/(4*mV))", "g*v_pre*(1 + level_post*0.1)")
            synapses = b2.Synapses(source, target, f"g : 1\ntotal_post = {value} : volt (summed)", name=name)
            own = []
        else:
            synapses, own = self._spiking(name, source, target, [v for v in variables if v in ("v", "ge", "a")])
        synapses.connect(p=1) if self.chance(0.3) else synapses.connect(**self.pairs(len(source), len(target)))
        for variable in ("w", "g", "u", "x"):
            if variable in synapses.variables and synapses.variables[variable].owner.name == name:
                size = self.rng.uniform(0.05, 0.9, len(synapses))
                setattr(synapses, variable, size * (3 * mV if variable == "w" else 0.4 if variable == "g" else 1))
        self._delays(synapses)
        self.own[name] = own
        return synapses

    def pairs(self, pre, post):
        i, j = np.nonzero(self.rng.random((pre, post)) < 0.6)
        return {"i": i if len(i) else [0], "j": j if len(j) else [0]}

    def _spiking(self, name, source, target, variables):
        post = self.one(*variables)
        tau = self.constant(3, 20, ms)
        kinds = {
            "plain": ("w : volt", f"{post} += w", "", []),
            "scaled": ("w : volt\nk : 1 (shared)", f"{post}_post += w*{self.one('2', 'cos(w/mV)', '(bias_post/(10*mV))')}", "",
                       []),
            "driving": ("w : volt", "v_post += w*(1 - level_post*0.02)", "", []),
            "depressing": (f"w : volt\ndx/dt = (1 - x)/{tau} : 1 (event-driven)", f"r = 0.4*x\nx -= r\n{post} += w*r", "", []),
            "clocked": (f"w : volt\ndx/dt = -x/{tau} : 1 (clock-driven)", f"{post} += w*x\nx += 0.2", "", ["x"]),
            "pairs": (f"w : volt\ndx/dt = -x/{tau} : 1 (event-driven)\ndy/dt = -y/(7*ms) : 1 (event-driven)",
                      f"{post} += w\nx += 1\nw = clip(w - 0.1*mV*y, 0*mV, 4*mV)", "y += 1\nw = clip(w + 0.1*mV*x, 0*mV, 4*mV)",
                      ["w"]),
            "voltage": ("w : volt\nx : 1", {"a_bring": f"{post} += w", "learn": "w += 0.02*(bias_post - 6*mV)\nx += 0.1"},
                        "x *= 0.9", ["w", "x"])}
        model, on_pre, on_post, own = kinds[self.one(*kinds)]
        if source is self.source and self.chance(0.2) and on_post == "":
            on_post = f"{post}_post -= 0.3*mV"
        return b2.Synapses(source, target, model, on_pre=on_pre, on_post=on_post or None, name=name,
                           method="exact"), own

    def _delays(self, synapses):
        kind = self.one("none", "one", "many")
        for pathway in synapses._pathways:
            if pathway.prepost == "pre" and kind != "none":
                steps = self.rng.integers(0, 25, len(synapses) if kind == "many" else 1)
                self.steps = getattr(self, "steps", None)
                if kind == "many" and pathway is not synapses._pathways[0]:
                    pathway.delay = synapses._pathways[0].delay[:]
                else:
                    pathway.delay = steps * 0.1 * ms if kind == "many" else int(steps[0]) * 0.1 * ms
            elif pathway.prepost == "post" and self.chance(0.3):
                pathway.delay = 0.3 * ms
