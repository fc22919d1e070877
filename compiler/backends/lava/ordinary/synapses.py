"""A projection as a Lava process: it delivers, takes what its rule reads, and learns; in `run_lrn` where that is the
circuit's order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cortexc.compiler.backends.lava.ordinary.batch import INDEX, added_axes, batch_axes, weight_axes, with_axes
from cortexc.compiler.backends.lava.ordinary.equations import Text
from cortexc.compiler.backends.lava.ordinary.learning import learning
from cortexc.compiler.backends.lava.ordinary.mirroring import Mirroring, mirroring
from cortexc.compiler.backends.lava.ordinary.naming import attribute, camel
from cortexc.compiler.backends.lava.ordinary.text import ClassText, Past, table_variables
from cortexc.compiler.ir.arrays import connection_mask
from cortexc.compiler.ir.expressions import WEIGHT_SUM, leaves, number, previous, show
from cortexc.compiler.ir.model import LAVA_DRAWS, SUMMED, Graph, PlasticityRule, Projection, weight_shape
from cortexc.compiler.ir.schedule import message_depth
from cortexc.compiler.ir.synapses import synapses_of

Read = tuple[str, str]
"""("pre", quantity) or ("post", quantity)."""
LIST = ("pre", "post", "cells", "late", "order")
"""Arguments of lists of synapses."""
MAPS = ("cells", "maps")
"""Arguments of projections between feature maps."""
OWN = frozenset({"w", "mask", "gate", "apply", "current", "increment", "low_pass", *SUMMED, "adam_first", "adam_second",
                 "adam_powers"})


@dataclass
class Synapse:
    """The class of a projection. `takes`: what arrives of its cells -> in-port; `starts`: of these the Vars that begin
    with the cells' own first values; `gates`: gate -> in-ports."""

    text: ClassText
    called: set[str]
    names: dict[str, str] = field(default_factory=dict)
    takes: dict[Read, str] = field(default_factory=dict)
    starts: dict[Read, str] = field(default_factory=dict)
    gates: dict[str, list[str]] = field(default_factory=dict)
    mirrors: Mirroring = field(default_factory=Mirroring)
    pasts: dict[Read, Past] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    draws: dict[str, str] = field(default_factory=dict)


def rule_reads(rule: PlasticityRule | None, age: int = 0) -> dict[Read, int]:
    """What a rule reads of its cells, and how many steps back; `age`: of the oldest message that arrives."""
    found: dict[Read, int] = {}
    for expression in rule.expressions if rule else ():
        for node in leaves(expression):
            side, dot, quantity = node.name.partition(".")
            depth = previous(expression).get(node.name, 0)
            if side == "arrived":
                side, depth = "pre", depth + age
            if dot and side in ("pre", "post") and node.name != WEIGHT_SUM:
                found[side, quantity] = max(found.get((side, quantity), 0), depth)
    return found


def synapse_class(graph: Graph, projection: Projection, learning_phase: bool = True) -> Synapse:
    """`learning_phase`: whether it learns there where the circuit's order allows it, or when all has arrived."""
    return SynapseWriter(graph, projection, learning_phase).write()


class SynapseWriter:
    def __init__(self, graph: Graph, projection: Projection, learning_phase: bool = True):
        self.graph, self.projection, self.learning_phase = graph, projection, learning_phase
        self.synapse = graph.class_of(projection.name)
        self.rule = graph.rule_of(projection)
        self.depth = message_depth(graph, projection)
        self.message: Read = ("pre", self.synapse.message)
        self.delayed = f"{projection.name}.delay" in graph.arrays or projection.delays is not None
        self.reads = rule_reads(self.rule, self._age() if self.rule and self.rule.arrivals else 0)
        learns = f", which learn by rule '{self.rule.name}'" if self.rule else ""
        text = ClassText(camel(self.synapse.name), f"Synapses '{self.synapse.name}'{learns}: message "
                         f"'{self.synapse.message}' into port '{self.synapse.port}'.", axes=batch_axes(graph))
        self.copies, self.added = weight_axes(graph, projection.name), added_axes(graph, projection.name)
        self.made = Synapse(text, set())

    def _age(self) -> int:
        """Steps since the oldest message left that arrives now."""
        return self.depth + (synapses_of(self.graph, self.projection).slots - 1 if self.delayed else 0)

    def write(self) -> Synapse:
        made, text = self.made, self.made.text
        self._name_all()
        self._declare()
        mirrors = made.mirrors = mirroring(self.graph, self.projection, text)
        spike = self._before_learning()
        learn = learning(self.graph, self.projection, self._text(), made.names, text)
        spike += learn.updates
        if not self.rule:
            text.methods["run_spk"] = [*spike, *mirrors.before, *mirrors.after]
        elif mirrors.after or mirrors.overwritten or not self.learning_phase:
            copied = ", since mirrors copy weights in the same step" if self.learning_phase else ""
            text.says = f"Learns in the spiking phase{copied}."
            inside = ["    " + line for line in learn.step] if learn.guard != "True" else learn.step
            guarded = [f"if {learn.guard}:", *inside] if learn.guard != "True" else inside
            text.methods["run_spk"] = [*spike, *learn.increment, *mirrors.before, *guarded, *mirrors.after]
        else:
            text.says = "Learns in the learning phase."
            text.methods |= {"run_spk": [*spike, *mirrors.before], "lrn_guard": [f"return {learn.guard}"],
                             "run_lrn": [*learn.increment, *learn.step]}
        return made

    # ---- names and members

    def _name_all(self) -> None:
        taken, rule = self.made.names, self.rule
        words = [".".join(read) for read in dict.fromkeys([self.message, *self.reads])]
        words += [*(p.name for p in rule.parameters), *(s.name for s in rule.states), *(n for n, _ in rule.noise)] \
            if rule else []
        kind = self.synapse.kind
        own = {*OWN, *(LIST if kind.listed else MAPS if kind.maps else ())}
        for word in words:
            taken[word] = attribute(word.replace(".", "_"), {*taken.values(), *own})

    def _kept(self, read: Read) -> bool:
        return read in self.reads or self.depth > 0

    def _rows(self, read: Read) -> int:
        return max(self.reads.get(read, 0), self.depth - 1 if read == self.message else 0)

    def _declare(self) -> None:
        made, text, kind = self.made, self.made.text, self.synapse.kind
        if kind.matrix:
            text.arguments, sizes = ["w"], {"pre": "w.shape[1]", "post": "w.shape[0]"}
        elif kind.weighted:
            text.arguments, sizes = ["w"], {"pre": "len(w)", "post": "len(w)"}
        else:
            text.arguments, sizes = ["size"], {"pre": "size", "post": "size"}
        if kind.listed or kind.maps:
            sizes = self._declare_list() if kind.listed else self._declare_maps()
        for read in dict.fromkeys([self.message, *self.reads]):
            made.takes[read] = text.port(made.names[".".join(read)], "In", text.shape(sizes[read[0]]))
        text.port("current", "Out", text.shape(sizes["post"]))
        if kind.weighted:
            text.setup.insert(0, "w = np.array(w, float)")
            text.variable("w", "w.shape", "w", f"({', '.join(('postsynaptic', 'presynaptic', *self.copies))})"
                          if kind.matrix else "")
        if connection_mask(self.graph, self.projection) is not None and self.rule:
            text.arguments.append("mask")
            text.variable("mask", "w.shape", "mask")
        self._declare_rule()
        made.tables = table_variables(text, self.rule.expressions if self.rule else (), made.names.values())
        self._declare_noise()
        for read in made.takes:
            if self._kept(read):
                self._declare_taken(read, sizes[read[0]])
        for name in self._named_gates():
            made.gates.setdefault(name, []).append(text.port(f"gate_{name}", "In", "(1,)"))
            text.variable(f"gate_{name}", "(1,)", "0.0")
        text.arguments.append('name=""')

    def _declare_list(self) -> dict[str, str]:
        """The cells of all synapses, and the order in which they are added; sizes of both sides."""
        text = self.made.text
        text.arguments = ["w", "pre", "post", "cells", "late=0", "order=None"]
        text.parameters += LIST
        text.start.append(f"self.synapses = Synapses(*(proc_params[each] for each in {LIST}))")
        if self.delayed:
            text.arguments.append("underway=0.0")
            rows = text.shape("int(np.max(late, initial=0)) + 1", "cells[1]")
            text.variable("underway", rows, "underway", "currents of this step and of later ones")
        return {"pre": "cells[0]", "post": "cells[1]"}

    def _declare_maps(self) -> dict[str, str]:
        text = self.made.text
        text.arguments = ["w", *MAPS]
        text.parameters += MAPS
        text.start.append('self.maps = Maps(*proc_params["maps"])')
        return {"pre": "cells[0]", "post": "cells[1]"}

    def _declare_rule(self) -> None:
        made, text = self.made, self.made.text
        if self.rule is None:
            return
        text.about += f"\n\n    increment = {show(self.rule.increment)}\n    "
        for p in self.rule.parameters:
            name = made.names[p.name]
            text.arguments.append(name if p.default is None else f"{name}={number(p.default)}")
            text.setup.append(f"self.{name} = numbers({name})" + f"  # {p.unit}" * (p.unit != "1"))
            text.variables.append(name)
        text.arguments.sort(key=lambda argument: "=" in argument)
        for role, gate in (("gate", self.projection.gate), ("apply", self.projection.apply)):
            if gate:
                made.gates.setdefault(gate, []).append(text.port(role, "In", "(1,)"))
                text.variable(role, "(1,)", "0.0", "learns where it is on" if role == "gate" else "")

    def _declare_noise(self) -> None:
        """Numbers per synapse and step, from the named streams."""
        made, text = self.made, self.made.text
        redraws = any(word.startswith("redraw:") for m in self.graph.mirrors if m.target == self.projection.name
                      for word in m.operations)
        if not (self.rule and self.rule.noise) and not redraws:
            return
        text.arguments += ["seed=1", "stream=0"]
        text.parameters += ["seed", "stream"]
        text.start.append('self.seed, self.stream = proc_params["seed"], proc_params["stream"]')
        text.start += ["self.seed = every_seed(self.seed, seeds)"] if "seeds" in text.axes else []
        for k, (name, kind) in enumerate(self.rule.noise if self.rule else ()):
            made.draws[name] = self._drawn(k, kind)

    def _drawn(self, k: int, kind: str) -> str:
        """Of every seed of which the weights have a copy, or of that whose increment is computed."""
        seed = "self.seed[seed]" if "seeds" in self.added else "self.seed"
        silent = self.graph.noise.kind == "none"
        if kind in LAVA_DRAWS:
            drawn = f"lava_numbers({list(LAVA_DRAWS[kind])}, {seed}, np.array([self.time_step - 1]))"
            if "seeds" in self.copies:
                drawn = f"np.hstack([{drawn.replace(seed, 'each')} for each in self.seed])"
            return "0.0" if silent else self._of_copies(drawn)
        rank = len(weight_shape(self.graph, self.projection))
        shape = f"self.w.shape[:{rank}]" if self.copies else "self.w.shape"
        index = "0" if kind == "shared" else "self.synapses.numbers" if self.synapse.kind.listed else \
            f"np.arange(math.prod({shape})).reshape({shape})"
        index = with_axes(index, "seeds" in self.copies and kind == "uniform")
        key = "np.uint64(0), np.uint64(0)" if silent else f"*step_key({seed}, self.stream + {k}, self.time_step)"
        drawn = self._of_copies(f"uniform({key}, {index})")
        return self._synaptic(drawn) if kind == "uniform" else drawn

    def _of_copies(self, drawn: str) -> str:
        """Samples have the numbers of their seed."""
        drawn = with_axes(drawn, "samples" in self.copies)
        return f"full(self.w.shape, {drawn})" if self.copies and self.synapse.kind.maps else drawn

    def _declare_taken(self, read: Read, size: str) -> None:
        made, text = self.made, self.made.text
        name = made.names[".".join(read)]
        past = made.pasts[read] = Past(name, self._rows(read))
        text.arguments.append(f"{name}=0.0")
        text.variable(name, text.shape(size), name)
        if past.rows:
            text.variable(past.kept, text.shape(*past.sizes(size)), name, "before that")
        if past.rows or read == self.message and self.depth > 0:
            made.starts[read] = name

    def _named_gates(self) -> list[str]:
        """Of the rule's equations and of mirrors."""
        expressions = self.rule.expressions if self.rule else ()
        read = [node.name[5:] for e in expressions for node in leaves(e) if node.name.startswith("gate.")]
        copied = [m.gate for m in self.graph.mirrors if m.target == self.projection.name and m.gate]
        return list(dict.fromkeys([*read, *copied]))

    # ---- the step

    def _before_learning(self) -> list[str]:
        late = [read for read in self.made.pasts if read != self.message or self.depth]
        return [*self._gates_in(), *self._deliver(), *(line for read in late for line in self._receive(read))]

    def _gates_in(self) -> list[str]:
        ports = [port for found in self.made.gates.values() for port in found]
        return [line for port in ports for line in (
            f"if self.{port}.connected:", f"    self.{port.removesuffix('_in')}[:] = self.{port}.recv()")]

    def _deliver(self) -> list[str]:
        """What arrived so many steps ago leaves first; what arrives in this step is waited for."""
        if self.depth:
            return [f"self.current_out.send({self._current(self.made.pasts[self.message].read(self.depth - 1))})"]
        port = f"self.{self.made.takes[self.message]}.recv()"
        if self.message not in self.made.pasts:
            return [f"self.current_out.send({self._current(port)})"]
        name = f"self.{self.made.names['.'.join(self.message)]}"
        return [*self._receive(self.message), f"self.current_out.send({self._current(name)})"]

    def _current(self, message: str) -> str:
        kind = self.synapse.kind
        if not kind.weighted:
            return message
        w = self._delivered()
        if kind.listed:
            method = "currents" if self.made.text.axes else "current"
            return f"self.synapses.{method}({w}, {message}{', self.underway' * self.delayed})"
        if kind.maps:
            return f"self.maps.current({w}, {message})"
        if kind.matrix:
            return f"{'weighted_sums' if self.made.text.axes else 'weighted_sum'}({w}, {message})"
        return f"{with_axes(w, len(self.added))} * {message}"

    def _delivered(self) -> str:
        """What messages are multiplied with; a mask holds for what is made of the weights too."""
        if self.rule is None or not self.rule.shapes:
            return "self.w"
        text = replace(self._text(), now=lambda name: self._now(name, delivered=True))
        value = text.value(self.rule.deliver)
        masked = connection_mask(self.graph, self.projection) is not None
        whole = f"full(self.w.shape, {value})"
        return f"({whole} * self.mask)" if masked else whole

    def _receive(self, read: Read) -> list[str]:
        past = self.made.pasts[read]
        return [*past.shift(), f"self.{past.variable}[:] = self.{self.made.takes[read]}.recv()"]

    def _text(self) -> Text:
        return Text(self._now, self._before, self.made.called)

    def _now(self, name: str, delivered: bool = False) -> str:
        if name == "dt":
            return "dt"
        if name.startswith("gate."):
            return f"self.gate_{name[5:]}"
        if name.startswith("table."):
            return f"self.{self.made.tables[name[6:]]}"
        if name in self.made.draws:
            return self.made.draws[name]
        if name == WEIGHT_SUM and self.synapse.kind.listed:
            return "self.synapses.sums(self.w)"
        if name == WEIGHT_SUM:
            return "weighted_sum(self.w, 1)[:, None]" if self.synapse.kind.matrix else "self.w"
        side, dot, quantity = name.partition(".")
        if side == "arrived":
            return self._arrived(quantity, 0)
        own = f"self.{self.made.names.get(name, name)}"
        if not dot and not delivered and (name == "w" or self.rule and any(s.name == name for s in self.rule.states)):
            return self._synaptic(own)
        return self._beside(self._counted(own), side) if dot else own

    def _before(self, name: str, depth: int) -> str:
        side, dot, quantity = name.partition(".")
        if side == "arrived":
            return self._arrived(quantity, depth)
        if dot:
            return self._beside(self._counted(self.made.pasts[side, quantity].read(depth)), side)
        return self._synaptic(f"self.{self.made.names[name]}_before")

    def _arrived(self, quantity: str, earlier: int) -> str:
        """What the presynaptic cell had when the message that arrives now, or some steps earlier, was computed."""
        past, age = self.made.pasts["pre", quantity], self.depth + earlier
        if not self.delayed or not past.rows:
            return self._beside(self._counted(past.read(age)), "pre")
        now, kept = (self._counted(f"self.{each}") for each in (past.variable, past.kept))
        return f"self.synapses.arrived({now}, {kept}, {age})"

    def _counted(self, text: str) -> str:
        """What cells have in the sample whose increment is computed."""
        return f"{text}[..., {', '.join(INDEX[axis] for axis in self.added)}]" if self.added else text

    def _synaptic(self, text: str) -> str:
        """What every synapse has, between feature maps with an axis for the positions."""
        return f"self.maps.synaptic({text})" if self.synapse.kind.maps else text

    def _beside(self, text: str, side: str) -> str:
        """Postsynaptic values stand along the rows of a matrix; of a list, every synapse has those of its cells."""
        kind = self.synapse.kind
        if kind.listed:
            return f"{text}[self.synapses.{side}]"
        if kind.maps:
            return f"self.maps.{'lower' if (side == 'pre') != kind.back else 'upper'}({text})"
        return f"{text}[:, None]" if side == "post" and kind.matrix else text
