"""Cells and synapses beside stock Lava processes: a step of the circuit in several of Lava's (`passes.stock_phases`).

    def step(self):
        rate = ...
        self.rate_units_out.send(integers(rate, 0.015625))
        yield
        basal = self.basal_in.recv() * 0.000244140625
        ...
        self.rate_units_out.send(graded(self.rate_before, 0.015625, 0))
        self.mismatch_y1_out.send(integers(mismatch * (self.gate_learn[0] > 0), 0.0078125))
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cortexc.compiler.backends.lava.ordinary.cells import Cell, CellWriter
from cortexc.compiler.backends.lava.ordinary.naming import visible
from cortexc.compiler.backends.lava.ordinary.synapses import Read, Synapse, SynapseWriter
from cortexc.compiler.ir.expressions import Name, Prev, number
from cortexc.compiler.ir.model import Equation, Graph, Projection
from cortexc.compiler.passes.stock_phases import PhasePlan
from cortexc.compiler.passes.stock_products import Quantity


@dataclass(frozen=True)
class Feed:
    """What goes to an in-port `into` of stock processes: a message `late` steps old, where `message` is named; in the
    last phase a factor of their rule, or where an `event` is, in phase `traced` the factor for all cells."""

    into: str
    unit: float
    message: str = ""
    late: int = 0
    factor: Quantity | None = None
    factor_unit: float = 1.0
    offset: int = 0
    gate: str = ""
    event: Quantity | None = None
    traced: int = -1


def feeds_of(graph: Graph, plan: PhasePlan, population: str) -> dict[Feed, list[str]]:
    """With the stock projections that each goes to."""
    found: dict[Feed, list[str]] = {}
    for name, stock in plan.stock.items():
        q, rule = graph.projection(name), stock.rule
        if q.pre == population:
            feed = Feed("s_in", stock.message_unit, graph.class_of(name).message, stock.late)
            feed = replace(feed, factor=rule.pre, factor_unit=rule.pre_unit, offset=rule.offset, event=rule.event,
                           traced=plan.traced.get(name, -1)) if rule else feed
            found.setdefault(feed, []).append(name)
        for i, third in enumerate(rule.thirds if rule and q.post == population else (), 1):
            feed = Feed(f"s_in_y{i}", 1.0, factor=third.quantity, factor_unit=third.unit, gate=q.gate or "")
            found.setdefault(feed, []).append(name)
    return found


class PhasedCell(CellWriter):
    def __init__(self, graph: Graph, population: str, order: list[Equation], sends: list[str], plan: PhasePlan):
        self.plan, self.phase = plan, 0
        self.feeds, self.feed_ports = feeds_of(graph, plan, population), dict[Feed, str]()
        self.received: set[tuple[str, int]] = set()
        order = sorted(order, key=lambda e: plan.made[population, e.name])
        super().__init__(graph, population, order, sends)

    def write(self) -> Cell:
        self._name_all()
        self._declare()
        self.made.text.phases = self.plan.phases
        ports = self.feed_ports = {feed: self._declare_feed(feed, names) for feed, names in self.feeds.items()}
        for feed, port in ports.items():
            if feed.late:
                self._send_units(port, self._value(port, Prev(feed.message, feed.late), -1), feed.unit)
        for position, equation in enumerate(self.order):
            while self.phase < self.plan.made[self.population, equation.name]:
                self._end_of_phase()
            self._equation(position, equation)
            for feed, port in ports.items():
                if feed.message == equation.name and not feed.late:
                    self._send_units(port, self._value(port, Name(feed.message)), feed.unit)
        while self.phase < self.plan.phases - 1:
            self._end_of_phase()
        self._receive_all()
        self._learn()
        self.made.text.methods["step"] = [line.replace("self.time_step", "self.step_number") for line in self.lines]
        return self.made

    def _gates(self) -> list[str]:
        return list(dict.fromkeys([*super()._gates(), *(feed.gate for feed in self.feeds if feed.gate)]))

    def _senders(self, port: str) -> int:
        return max(1, len(self.graph.into(self.population, port)))

    def _earlier(self, state: str) -> list[tuple[int, int]]:
        late = [(-1, feed.late) for feed in self.feeds if feed.message == state]
        factors = [(self._ready(at), leaf) for feed in self.feeds for at, leaf in (
            (-1, feed.factor), (feed.traced, feed.factor), (-1, feed.event)) if leaf and leaf.name == state]
        depths = [(place, 0 if isinstance(leaf, Name) else leaf.depth) for place, leaf in factors]
        return [*super()._earlier(state), *late, *depths]

    def _ready(self, phase: int) -> int:
        """How many equations are done at the end of a phase; -1: of the last."""
        return sum(phase < 0 or self.plan.made[self.population, e.name] <= phase for e in self.order)

    def _declare_feed(self, feed: Feed, projections: list[str]) -> str:
        text = self.made.text
        word = visible(feed.message or feed.factor.name)  # type: ignore[union-attr]
        word += "_units" if feed.message else feed.into.removeprefix("s_in")
        taken = {*text.members(), *self.made.names.values()}
        name = next(n for n in (word, *(f"{word}{i}" for i in range(2, 100_000))) if f"{n}_out" not in taken)
        port = text.port(name, "Out", "(size,)", "to stock processes")
        text.integers.add(port)
        self.made.stock |= {(projection, feed.into): port for projection in projections}
        return port

    # ---- the step

    def _send_units(self, port: str, value: str, unit: float) -> None:
        self.lines.append(f"self.{port}.send(integers({value}, {number(unit)}))")

    def _value(self, port: str, leaf: Quantity, position: int = 0) -> str:
        if isinstance(leaf, Prev):
            return self._before(leaf.name, leaf.depth, position)
        value = self._now(leaf.name)
        return value if leaf.name in self.vectors else f"message({value}, self.{port}.port)"

    def _end_of_phase(self) -> None:
        self._receive_all()
        for feed, port in self.feed_ports.items():
            if feed.traced == self.phase:
                self.lines.append(f"self.{port}.send({self._graded(feed, port, self._ready(self.phase))})")
        self.lines.append("yield")
        self.phase += 1

    def _receive_all(self) -> None:
        """What arrives in this phase and nothing has read yet."""
        if self.phase == 0:
            for name in (*(f"gate.{gate}" for gate in self.made.gates), *self.cell.inputs,
                         *(name for name, _ in self.cell.noise)):
                self._arrive(name)
        for port in self.cell.ports:
            self._receive(port.name)

    def _arrive(self, name: str) -> None:
        if all(name != port.name for port in self.cell.ports):
            super()._arrive(name)
            return
        self._receive(name)

    def _receive(self, port: str) -> None:
        """From every sender of this phase; where it is the last one, their sum."""
        senders = self.graph.into(self.population, port)
        before = len(self.received)
        for i, q in enumerate(senders):
            if self.plan.arrives[q.name] == self.phase and (port, i) not in self.received:
                self.received.add((port, i))
                self.lines.append(f"{self._local(port, i)} = self.{self.made.ports[port, i]}.recv(){self._unit(q)}")
        whole = all((port, i) in self.received for i in range(len(senders)))
        if whole and len(senders) > 1 and len(self.received) > before:
            self.lines.append(f"{self.made.names[port]} = " + " + ".join(
                self._local(port, i) for i in range(len(senders))))
        if not senders and port not in self.arrived:
            self.arrived.add(port)
            self.lines.append(f"{self.made.names[port]} = self.{self.made.ports[port, 0]}.recv()")

    def _local(self, port: str, i: int) -> str:
        alone = len(self.graph.into(self.population, port)) == 1
        return self.made.names[port] if alone else self.made.ports[port, i].removesuffix("_in") + "_arrived"

    def _unit(self, q: Projection) -> str:
        stock = self.plan.stock.get(q.name)
        return f" * {number(stock.unit * stock.message_unit)}" if stock else ""

    def _graded(self, feed: Feed, port: str, position: int) -> str:
        assert feed.factor
        return f"graded({self._value(port, feed.factor, position)}, {number(feed.factor_unit)}, {feed.offset})"

    def _learn(self) -> None:
        for feed, port in self.feed_ports.items():
            if feed.factor is None:
                continue
            if feed.message:
                event = f" * ({self._value(port, feed.event, len(self.order))} > 0)" if feed.event else ""
                self.lines.append(f"self.{port}.send({self._graded(feed, port, len(self.order))}{event})")
                continue
            gated = f" * (self.gate_{feed.gate}[0] > 0)" if feed.gate else ""
            self._send_units(port, f"{self._value(port, feed.factor, len(self.order))}{gated}", feed.factor_unit)


class PhasedSynapse(SynapseWriter):
    """A projection that is no stock process, beside others that are: it learns in the last phase."""

    def __init__(self, graph: Graph, projection: Projection, plan: PhasePlan):
        self.plan = plan
        super().__init__(graph, projection)

    def write(self) -> Synapse:
        made = super().write()
        methods, made.text.phases = made.text.methods, self.plan.phases
        methods["step"] = methods.pop("run_spk")
        if "lrn_guard" in methods:
            methods["lrn_guard"] = [methods["lrn_guard"][0].replace("return ", "return self.learns and (") + ")"]
        for name, lines in methods.items():
            methods[name] = [line.replace("self.time_step", "self.step_number") for line in lines]
        return made

    def _before_learning(self) -> list[str]:
        lines: list[list[str]] = [[] for _ in range(self.plan.phases)]
        lines[0] += self._gates_in()
        lines[0 if self.depth else self._when(self.message)] += self._deliver()
        for read in self.made.pasts:
            if read != self.message or self.depth:
                lines[self._when(read)] += self._receive(read)
        return [line for i, found in enumerate(lines) for line in (["yield"] if i else []) + found]

    def _when(self, read: Read) -> int:
        side, quantity = read
        owner = self.projection.pre if side == "pre" else self.projection.post
        return self.plan.made.get((owner, quantity), 0)
