"""A population as a Lava process: its equations in the order of the step, with a receive before the first use of a
port and a send behind every quantity that leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from cortexc.compiler.backends.lava.ordinary.batch import batch_axes
from cortexc.compiler.backends.lava.ordinary.equations import Text
from cortexc.compiler.backends.lava.ordinary.naming import attribute, camel, visible
from cortexc.compiler.backends.lava.ordinary.text import ClassText, Past, table_variables
from cortexc.compiler.ir.expressions import Call, Expression, Name, Number, Prev, leaves, number, previous, reads
from cortexc.compiler.ir.model import CellType, Equation, Graph, State


@dataclass
class Cell:
    """The class of a population, and its members by the circuit's names. `ports`: (port, number of the sender) ->
    in-port; `inputs` and `gates`: in-ports; `sends`: quantity -> out-port; `states`: state -> Var."""

    text: ClassText
    called: set[str]
    names: dict[str, str] = field(default_factory=dict)
    ports: dict[tuple[str, int], str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    gates: dict[str, list[str]] = field(default_factory=dict)
    sends: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    pasts: dict[str, Past] = field(default_factory=dict)
    stock: dict[tuple[str, str], str] = field(default_factory=dict)
    """Stock projection, its port -> out-port."""


def cell_class(graph: Graph, population: str, order: list[Equation], sends: list[str]) -> Cell:
    """`order`: the equations of the cell as the step runs them; `sends`: quantities that leave."""
    return CellWriter(graph, population, order, sends).write()


class CellWriter:
    def __init__(self, graph: Graph, population: str, order: list[Equation], sends: list[str]):
        self.graph, self.population, self.order, self.sent = graph, population, order, sends
        self.cell: CellType = graph.cell_of(population)
        self.at = {e.name: i for i, e in enumerate(order)}
        self.states = {s.name: s for s in self.cell.states}
        self.parameters = [p.name for p in self.cell.parameters]
        about = f"Cells '{self.cell.name}'."
        text = ClassText(camel(self.cell.name), about, ["size"], ["size"], axes=batch_axes(graph))
        self.made, self.per_cell = Cell(text, set()), text.shape("size")
        self.lines: list[str] = []
        self.arrived: set[str] = set()
        self.vectors = {*self.states, *(p.name for p in self.cell.ports), *self.cell.inputs,
                        *(name for name, _ in self.cell.noise)}

    def write(self) -> Cell:
        self._name_all()
        self._declare()
        for position, equation in enumerate(self.order):
            self._equation(position, equation)
        self._take_the_rest()
        self.made.text.methods["run_spk"] = self.lines
        return self.made

    # ---- names

    def _name_all(self) -> None:
        cell, taken = self.cell, self.made.names
        words = [*self.parameters, *self.states, *self.at, *(p.name for p in cell.ports), *cell.inputs,
                 *(name for name, _ in cell.noise)]
        for word in dict.fromkeys(words):
            taken[word] = attribute(word, taken.values())
        self.made.pasts = {s: Past(taken[s], self._rows(s)) for s in self.states}

    def _rows(self, state: str) -> int:
        """How many earlier values must be kept besides the one that the state's Var holds when the step begins."""
        assigned = self.at.get(state)
        if assigned is None:
            return 0
        return max((depth - (i <= assigned) for i, depth in self._earlier(state) if depth), default=0)

    def _earlier(self, state: str) -> list[tuple[int, int]]:
        """(place in the order, steps back) of what reads earlier values."""
        return [(i, previous(e.expression).get(state, 0)) for i, e in enumerate(self.order)]

    def _gates(self) -> list[str]:
        noise = [self.graph.noise.gate] if self.cell.noise and self.graph.noise.gate else []
        read = [node.name[5:] for e in self.order for node in leaves(e.expression) if node.name.startswith("gate.")]
        return list(dict.fromkeys([*noise, *read]))

    # ---- members

    def _declare(self) -> None:
        made, text = self.made, self.made.text
        for port in self.cell.ports:
            for i in range(self._senders(port.name)):
                name = visible(port.name) + f"_{i + 1}" * (i > 0)
                says = f"@ {port.compartment}" if i == 0 else ""
                made.ports[port.name, i] = text.port(name, "In", self.per_cell, says)
        for each in self.cell.inputs:
            made.inputs[each] = text.port(visible(each), "In", self.per_cell)
        for gate in self._gates():
            made.gates[gate] = [text.port(f"gate_{gate}", "In", "(1,)")]
        for quantity in self.sent:
            made.sends[quantity] = text.port(visible(quantity), "Out", self.per_cell)
        self._declare_variables()

    def _senders(self, port: str) -> int:
        """Ports that more than two projections reach have one each, so that their order is fixed."""
        senders = len(self.graph.into(self.population, port))
        return senders if senders > 2 else 1

    def _declare_variables(self) -> None:
        text, names = self.made.text, self.made.names
        for parameter in self.cell.parameters:
            name = names[parameter.name]
            default = "" if parameter.default is None else f"={number(parameter.default)}"
            text.arguments.insert(1 + self.parameters.index(parameter.name), f"{name}{default}")
            text.setup.append(f"self.{name} = numbers({name})" + f"  # {parameter.unit}" * (parameter.unit != "1"))
            text.variables.append(name)
        required = [a for a in text.arguments if "=" not in a]
        text.arguments = required + [a for a in text.arguments if "=" in a]
        self.made.tables = table_variables(text, [*(e.expression for e in self.order),
                                                  *(s.initial for s in self.states.values())], names.values())
        for state in self.states.values():
            self._declare_state(state)
        for gate in self.made.gates:
            text.variable(f"gate_{gate}", "(1,)", "0.0")
        self._declare_noise()
        text.arguments.append('name=""')

    def _declare_state(self, state: State) -> None:
        text, name, past = self.made.text, self.made.names[state.name], self.made.pasts[state.name]
        if isinstance(state.initial, Number):
            text.arguments.append(f"{name}={number(state.initial.value)}")
        else:
            text.arguments.append(f"{name}=None")
            names = {**self.made.names, **{f"table.{t}": f"self.{own}.init" for t, own in self.made.tables.items()}}
            first = Text(lambda n: names.get(n, n), lambda n, _: names.get(n, n), self.made.called).value(state.initial)
            text.setup.append(f"{name} = {first} if {name} is None else {name}")
        text.variable(name, self.per_cell, name)
        if past.rows:
            text.variable(past.kept, text.shape(*past.sizes("size")), name, "before that")

    def _declare_noise(self) -> None:
        made, text = self.made, self.made.text
        for name, kind in self.cell.noise:
            text.variable(made.names[name], self.per_cell, "0.0", f"{kind} noise, the last draw")
        if not self.cell.noise or self.graph.noise.kind == "none":
            return
        if self.graph.noise.kind != "counter":  # somebody else draws
            for name, _ in self.cell.noise:
                made.inputs[name] = text.port(visible(name), "In", self.per_cell)
            return
        made.called.add("Draws")
        text.arguments += ["seed=1", "stream=0"]
        text.parameters += ["seed", "stream"]
        text.start.append('seed, stream, size = (proc_params[each] for each in ("seed", "stream", "size"))')
        text.start += ["seed = every_seed(seed, seeds)"] if "seeds" in text.axes else []
        for i, (name, kind) in enumerate(self.cell.noise):
            stream = f"stream + {i} * DRAWS" if i else "stream"
            text.start.append(f'self.{made.names[name]}_draws = Draws(seed, {stream}, {self.per_cell}, "{kind}")')

    # ---- the step

    def _equation(self, position: int, equation: Equation) -> None:
        for node in dict.fromkeys(leaves(equation.expression)):
            if isinstance(node, Name):
                self._arrive(node.name)
        text = Text(self._now, lambda name, depth: self._before(name, depth, position), self.made.called)
        value, name = text.value(equation.expression), self.made.names[equation.name]
        if equation.name in self.states:
            past = self.made.pasts[equation.name]
            if past.rows and previous(equation.expression).get(equation.name, 0) > 1:
                self.lines.append(f"{name} = {value}")
                value = name
            self.lines += [*past.shift(), f"self.{name}[:] = {value}"]
        else:
            self.lines.append(f"{name} = {value}" + ".copy()" * self._is_a_state(equation.expression))
            self.vectors |= {equation.name} if self.vectors & reads(equation.expression) else set()
        if equation.name in self.sent:
            self._send(equation.name)

    def _send(self, quantity: str) -> None:
        port, value = self.made.sends[quantity], self._now(quantity)
        value = value if quantity in self.vectors else f"message({value}, self.{port})"
        self.lines.append(f"self.{port}.send({value})")

    def _is_a_state(self, expression: Expression) -> bool:
        """Whether a value would be the array of a Var, which changes during the step."""
        while isinstance(expression, Call) and expression.function == "linear":
            expression = expression.arguments[0]
        return isinstance(expression, Name | Prev) and self._now(expression.name).startswith("self.")

    def _arrive(self, name: str) -> None:
        """Takes what a name needs from outside, once."""
        if name in self.arrived:
            return
        self.arrived.add(name)
        made, names = self.made, self.made.names
        kinds = dict(self.cell.noise)
        if name.startswith("gate."):
            port, = made.gates[name[5:]]
            self.lines += [f"if self.{port}.connected:", f"    self.gate_{name[5:]}[:] = self.{port}.recv()"]
        elif name in kinds:
            self._draw(name)
        elif name in made.inputs:
            self.lines.append(f"{names[name]} = self.{made.inputs[name]}.recv()")
            if name in self.sent:
                self._send(name)
        elif (name, 0) in made.ports:
            found = [port for (each, _), port in made.ports.items() if each == name]
            self.lines.append(f"{names[name]} = " + " + ".join(f"self.{port}.recv()" for port in found))

    def _draw(self, name: str) -> None:
        """While the noise gate is off, the last draw stays."""
        own, gate = self.made.names[name], self.graph.noise.gate
        if self.graph.noise.kind == "none":
            return
        if gate:
            self._arrive(f"gate.{gate}")
        if name in self.made.inputs:
            self.lines.append(f"drawn = self.{self.made.inputs[name]}.recv()")
        source = "drawn" if name in self.made.inputs else f"self.{own}_draws(self.time_step)"
        self.lines += [f"if self.gate_{gate}[0] > 0:", f"    self.{own}[:] = {source}"] if gate else \
            [f"self.{own}[:] = {source}"]

    def _take_the_rest(self) -> None:
        """What nobody reads must not fill its channel."""
        read = [*(port.name for port in self.cell.ports), *self.made.inputs]
        for name in read:
            if name in self.sent or name in dict(self.cell.noise):
                self._arrive(name)
            elif name not in self.arrived:
                found = [self.made.inputs[name]] if name in self.made.inputs else \
                    [port for (each, _), port in self.made.ports.items() if each == name]
                self.lines += [f"self.{port}.recv()  # nothing reads it" for port in found]
        for gate in self.made.gates:
            self._arrive(f"gate.{gate}")

    def _now(self, name: str) -> str:
        if name == "dt":
            return "dt"
        if name.startswith("gate."):
            return f"self.gate_{name[5:]}"
        if name.startswith("table."):
            return f"self.{self.made.tables[name[6:]]}"
        own = self.made.names[name]
        local = name not in self.states and name not in self.parameters and name not in dict(self.cell.noise)
        return own if local else f"self.{own}"

    def _before(self, name: str, depth: int, position: int) -> str:
        assigned = self.at.get(name)
        if assigned is None:
            return self._now(name)
        return self.made.pasts[name].read(depth - (position <= assigned))
