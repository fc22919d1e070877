"""What emitted circuits need besides Lava and numpy. Pieces of this file are copied into them; nothing imports it."""

import math
from functools import reduce

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPortVectorDense
from lava.magma.core.model.sub.model import AbstractSubProcessModel
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var

from cortexc.compiler.backends.runtime import CHUNK, WEIGHTS, counter_generator, step_keys


def full(shape, init):
    """An array of this shape, from a number or an array."""
    return np.full(shape, init, float)


def numbers(values):
    """A Var that holds a parameter: one number for all cells, or one per cell."""
    values = np.array(values, float, ndmin=1)
    return Var(shape=values.shape, init=values)


def message(value, port):
    """The value for every cell."""
    return np.broadcast_to(value, port._shape)


def send_nothing(port):
    port.send(np.zeros(port._shape))


def fixed_of(arrays, name):
    """First values of a process in fixed point, by its Vars."""
    return {key.split("/")[2]: array for key, array in arrays.items() if key.startswith(f"fixed/{name}/")}


def remember(past, value):
    """Earlier values, newest first, one step on."""
    past[1:] = past[:-1]
    past[0] = value


def weighted_sum(w, values):
    """Sums of each row of w times the values, from left to right: the same bits on every machine."""
    return np.add.accumulate(w * values, axis=1)[:, -1] + 0.0


def weighted_sums(w, values):
    """The same for every seed and sample, of which the weights may have a copy each, or share one."""
    w, total = beside(w, values), np.zeros((len(w), *values.shape[1:]))
    for j, value in enumerate(values):
        total += w[:, j] * value
    return total


def beside(w, values, own=2):
    """The weights, which have so many axes of `own`, with an axis of length 1 for each that only the values have."""
    return w.reshape(*w.shape, *[1] * (values.ndim - 1 + own - w.ndim))


def added_up(*given):
    """What the last argument is of every sample, or seed and sample, one after the other; the others are how many."""
    *lengths, increment = given
    first, *others = np.ndindex(*lengths)
    total = np.array(increment(*first), float)
    for at in others:
        total += increment(*at)
    return total


def clipped(total, norm, order=slice(None), copies=0):
    """Scaled down to a norm of at most so much over all synapses, summed cell by cell, of a list in its order; every
    copy on its own, along so many of the last axes."""
    if copies:
        parts = total.reshape(*total.shape[:-copies], -1)
        each = [clipped(parts[..., i], norm, order) for i in range(parts.shape[-1])]
        return np.stack(each, axis=-1).reshape(total.shape)
    cells = total.shape[:-3] if total.ndim > 3 else total.shape[:1]
    rows = np.square(total[order]).reshape(math.prod(cells), -1)
    size = np.sqrt(np.add.accumulate(np.add.accumulate(rows, axis=1)[:, -1])[-1])
    return total * (norm / size) if size > norm else total


def limited(w, low, high):
    w = np.where(w < low, low, w)
    return np.where(w > high, high, w)


def sign(w):
    return np.where(w > 0, 1.0, np.where(w < 0, -1.0, 0.0))


def truncated(w, shape):
    """Cut, or filled with zeros."""
    cut, (rows, columns) = np.zeros(shape), np.minimum(w.shape[:2], shape[:2])
    cut[:rows, :columns] = w[:rows, :columns]
    return cut


def lookup(table, x):
    """Entry floor(x) of a table, the first or last one outside."""
    return table[within(table, x).astype(int)]


def interpolate(table, x):
    """Between the entries on both sides of x."""
    x = within(table, x)
    whole = x.astype(int)
    below, above = table[whole], table[np.minimum(whole + 1, len(table) - 1)]
    return below + (x - whole) * (above - below)


def within(table, x):
    return np.clip(np.where(np.isnan(x), 0.0, x), 0.0, len(table) - 1.0)


def each(function, arguments):
    """A function of numbers, for every element of arrays."""
    of_arrays = np.frompyfunc(function, arguments, 1)
    return lambda *values: np.asarray(of_arrays(*values), float)


def libm(name, arguments):
    """Python's, where it raises numpy's: an infinity or nan."""
    def call(*values):
        try:
            return getattr(math, name)(*values)
        except (OverflowError, ValueError):
            return getattr(np, {"pow": "power"}.get(name, name))(*map(np.float64, values))
    return each(call, arguments)


class Arriving(PyInPortVectorDense):
    """What arrives at a port, added up; -0.0 stays what it is."""

    @property
    def connected(self):
        return len(self.csp_ports) > 0

    def recv(self):
        arrived = [self._transformer.transform(port.recv(), port) for port in self.csp_ports]
        return reduce(np.add, arrived).astype(float) if arrived else np.zeros(self._shape)


class Model(PyLoihiProcessModel):
    """Divisions by zero and overflows are infinities and nan, without a warning."""

    def __init__(self, proc_params):
        super().__init__(proc_params)
        np.seterr(all="ignore")


class Once:
    """A port that is used once in each step of Lava's: what the circuit does not send is 0, what it does not take is
    dropped."""

    def __init__(self, port):
        self.port, self.used, self.arrived = port, False, None

    @property
    def connected(self):
        return self.port.connected

    def recv(self):
        if not self.used:
            self.used, self.arrived = True, self.port.recv()
        return self.arrived

    def send(self, values):
        self.used = True
        self.port.send(values)


class Phased(Model):
    """A step of the circuit takes `phases` of Lava's, since what a stock process sends arrives one later. `step` does
    one, and yields where the next phase begins."""

    running = None

    @property
    def step_number(self):
        return (self.time_step - 1) // self.phases + 1

    @property
    def learns(self):
        return self.time_step % self.phases == 0

    def run_spk(self):
        self.running = self.running or self.steps()
        for port in (*self.ins, *self.outs):
            port.used = False
        next(self.running)
        for port in self.outs:
            if not port.used:
                port.send(np.zeros(port.port._shape, port.port._d_type))
        for port in self.ins:
            port.recv()

    def steps(self):
        while True:
            yield from self.step()
            yield

    def __setattr__(self, key, value):
        if key.endswith(("_in", "_out")) and hasattr(value, "csp_ports"):
            super().__setattr__(f"lava_{key}", value)
            value = Once(value)
            self.__dict__.setdefault("ins" if key.endswith("_in") else "outs", []).append(value)
        super().__setattr__(key, value)

    ins, outs = (), ()


class FixedModel(Model):
    """Begins with the integers of the circuit in fixed point, each times its unit."""

    def __setattr__(self, key, value):
        begins = dict(value["fixed"]) if key == "proc_params" else self.__dict__.get("begins", {})
        if key == "proc_params":
            self.__dict__["begins"] = begins
        elif key in begins and key not in self.__dict__:
            value[:] = begins[key]
        super().__setattr__(key, value)


class Draws:
    """Random numbers of one stream, of this shape in every step; every seed and sample has a generator of its own."""

    def __init__(self, seed, stream, shape, kind):
        seeds, self.shape, self.kind, self.next = seeds_of(seed), shape, kind, 0
        samples = math.prod(shape[1:]) // len(seeds)
        self.streams = [(each, stream * samples + i) for each in seeds for i in range(samples)]

    def __call__(self, step):
        """Of step 1, 2 ..., which begin anew at every chunk."""
        place = (step - 1) % CHUNK
        if not 0 < self.next <= place or step - place != self.begun:
            self.begun, self.next = step - place, 0
            self.generators = [counter_generator(*each, (step - 1) // CHUNK) for each in self.streams]
        for _ in range(place + 1 - self.next):
            drawn = [self.draw(each) for each in self.generators]
        self.next = place + 1
        return np.stack(drawn, axis=-1).reshape(self.shape)

    def draw(self, generator):
        return (generator.standard_normal if self.kind == "normal" else generator.random)(self.shape[0])


def seeds_of(seed):
    return seed if isinstance(seed, list) else [seed]


def every_seed(seed, seeds):
    """One for every copy: as given, or from a number on."""
    return [seed + i for i in range(seeds)] if np.ndim(seed) == 0 else [int(each) for each in seed]


def step_key(seed, stream, step):
    """Both halves of the keys of step 1, 2 ... of a synapse's rule, one for every seed."""
    key = np.concatenate([step_keys(each, stream, np.array([step - 1])) for each in seeds_of(seed)])
    return key & np.uint64(2**32 - 1), key >> np.uint64(32)


def redrawn(w, factor, seed, stream, step):
    """The weights times the factor and the magnitude of a normal number each, of every seed."""
    generators = [counter_generator(each, WEIGHTS + stream, step - 1) for each in seeds_of(seed)]
    normal = [each.standard_normal(factor.size // len(generators)) for each in generators]
    return w * (factor * np.abs(np.stack(normal, axis=-1).reshape(factor.shape)))


class Gate:
    """A gate of the circuit: on where it is above 0. It is a Var in every process that reads it."""

    def __init__(self, variables):
        self.variables = variables

    def get(self):
        return float(np.ravel(self.variables[0].get())[0]) if self.variables else 0.0

    def set(self, value):
        """Before the run, or while it is paused."""
        for variable in self.variables:
            if variable.process.runtime:
                variable.set(np.full(1, float(value)))
            else:
                variable.init[:] = value


class Part:
    """Vars and ports that the circuit has of one of its processes, by their names there."""


class Whole(AbstractProcess):
    """A process that has all Vars of its parts, and the ports of those that are populations."""

    def __init__(self, name, parts, populations, gates):
        super().__init__(name=name, parts=parts)
        self.inside, fed = [], [port for ports in gates.values() for port in ports]
        views = {each: self.exposed(each, part, each in populations, fed) for each, part in parts.items()}
        self.populations = {each: view for each, view in views.items() if each in populations}
        self.projections = {each: view for each, view in views.items() if each not in populations}
        self.gates = {}
        for gate, ports in gates.items():
            self.gates[gate] = Gate([getattr(port.process, port.name.removesuffix("_in")) for port in ports])
            self.member(f"gate_{gate}_in", InPort(shape=(1,)), *ports)

    def exposed(self, name, part, ports, fed):
        view, members = Part(), [(var, Var(shape=var.shape, init=var.init)) for var in part.vars
                                 if not isinstance(var.init, str)]
        if ports:
            members += [(port, InPort(shape=port.shape)) for port in part.in_ports if port not in fed]
            members += [(port, OutPort(shape=port.shape)) for port in part.out_ports]
        for inner, own in members:
            setattr(view, inner.name, self.member(f"{name}_{inner.name}", own, inner))
        return view

    def member(self, name, own, *inner):
        setattr(self, name, own)
        self.inside += [(own, each) for each in inner]
        return own


class Wired(AbstractSubProcessModel):
    """The parts, with what is connected outside."""

    def __init__(self, proc):
        for name, part in proc.proc_params["parts"].items():
            setattr(self, f"part_{name}", part)
        for own, inner in proc.inside:
            if isinstance(own, Var):
                own.alias(inner)
            elif isinstance(own, InPort) and own.get_src_ports():
                own.connect(inner)
            elif isinstance(own, OutPort) and own.get_dst_ports():
                inner.connect(own)
