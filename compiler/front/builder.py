"""A circuit, built piece by piece in Python: cells and rules from lines of the language, the rest from calls.

    net = Network(dt=0.1)
    net.cell("leaky", "port dendrite; parameter tau ms = 5; state u = 0; message u;"
                      "receive du/dt = (dendrite - u) / tau")
    net.input("stimulus", 3)
    net.add("hidden", 2, "leaky", tau=[4, 6])
    net.connect("stimulus", "hidden", w=weights, rule="increment 0.1 * post.u * pre.rate", gate="learn")
    graph = net.graph

Every piece is text of the language, read and checked when it is given (`text` is all of it), and arrays beside it.
B101: a name or value that is no single piece of text; B102: a name that is taken; B103: a name that is not there; B104:
a cell has several messages or ports, or none; B105: options of a connection that do not go together; B106: a value of
the wrong kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, parse_graph, show_graph, unknown, verify

SOURCE = "input value; send rate = value; message rate"
RULES = {"p": "probability", "indegree": "fixed_indegree", "outdegree": "fixed_outdegree", "total": "fixed_total",
         "distance": "distance"}
"""Options of `connect` that draw synapses, and what the language calls them."""
Value = Any
"""A number, an array, or a distribution as text: `normal(20, 2)`."""


class Network:
    """A growing circuit. `graph` is the circuit as it is now; `cortexc.simulate` and the others take either.

    `dt`: ms per step; `seeds`, `samples`: lengths of the batch axis. Lines are given as text, separated by line ends or
    semicolons, or as a sequence of strings.
    """

    def __init__(self, name: str = "network", *, dt: float = 1.0, seeds: int = 1, samples: int = 1):
        self._graph = _piece(f"graph {_word(name)}", [
            f"dt {_number('dt', dt)}", f"batch seeds {_whole('seeds', seeds)} samples {_whole('samples', samples)}"])

    @property
    def graph(self) -> Graph:
        """The circuit. Raises what `cortexc.check_graph` raises."""
        verify(self._graph)
        return self._graph

    def _repr_html_(self) -> str:
        return self.graph._repr_html_()

    @property
    def text(self) -> str:
        """The circuit in the language, without its arrays."""
        return show_graph(self._graph)

    def __repr__(self) -> str:
        g = self._graph
        return f"Network({g.name!r}: {len(g.populations)} populations, {len(g.projections)} projections)"

    # ---- kinds of things

    def cell(self, name: str, lines: str | Iterable[str] = ()) -> str:
        """A type of cell: `net.cell("leaky", "state u = 0; receive du/dt = -u / 5; message u")`, or
        `net.cell("lif", "library.lif_exp")`, after which lines may replace some of the library's. Returns its name."""
        return self._kind("cell", name, lines)

    def rule(self, name: str, lines: str | Iterable[str]) -> str:
        """A rule: `net.rule("hebb", "increment 0.1 * post.u * pre.rate")`, or `library.RULE`. Returns its name."""
        return self._kind("rule", name, lines)

    def synapse(self, name: str, lines: str | Iterable[str]) -> str:
        """A synapse class in full, for what `connect` has no option for. Returns its name."""
        return self._kind("synapse", name, lines)

    def _kind(self, keyword: str, name: str, lines: str | Iterable[str]) -> str:
        body = _lines(lines)
        if body and re.fullmatch(r"library\.\w+", body[0]):
            name, body = f"{_word(name)} = {body[0]}", body[1:]
        return self._take(_piece(f"{keyword} {name}" if " = " in name else f"{keyword} {_word(name)}", body))

    # ---- populations

    def input(self, name: str, size: int) -> str:
        """Cells that pass on what they are given: `simulate(net, inputs={"NAME.value": x})`. Returns the name."""
        if "source" not in self._names("cells"):
            self.cell("source", SOURCE)
        return self.add(name, size, "source")

    def add(self, name: str, size: int, cell: str, *, area: str = "", place: str = "", **values: Value) -> str:
        """A population of `size` cells. `values`: its parameters, as numbers, distributions (`tau="normal(20, 2)"`) or
        arrays, which may also give first values of states: (n,), (seeds, n) or (batch, n). `place`: where cells are,
        `"grid 40x40 on 1 mm x 1 mm wrapped"`, or `"given on 1 mm x 1 mm"` with arrays x and y. Returns the name."""
        arrays, said = _sorted(name, values)
        said += [f"place {place}"] * bool(place)
        with self._all_or_nothing():
            head = f"population {_word(name)} {self._cell(cell)} {_whole('size', size)}"
            return self._take(_piece(head + (f" area={_word(area)}" if area else ""), said), arrays)

    def _cell(self, cell: str) -> str:
        """Its name; a cell of the library is fetched when it is named first."""
        if (match := re.fullmatch(r"library\.(\w+)", cell)) and match[1] not in self._names("cells"):
            return self.cell(match[1], cell)
        return _known("cell", match[1] if match else cell, self._names("cells"))

    # ---- projections

    def connect(self, pre: str, post: str, *, name: str = "", w: Value = None, delay: int | str = 1,
                p: float | None = None, indegree: int | None = None, outdegree: int | None = None,
                total: int | None = None, distance: str = "", seed: int = 0, autapses: bool = False,
                multapses: bool = False,
                rule: str | Iterable[str] = "", gate: str = "", apply: str = "", synapse: str = "", message: str = "",
                port: str = "", connectivity: str = "", sign: str = "", limits: tuple[float, float] | None = None,
                role: str = "", arrays: Mapping[str, Any] | None = None, **parameters: Value) -> str:
        """A projection; returns its name (PRE_POST unless said).

        Which synapses: all pairs; or `p`, `indegree`, `outdegree`, `total` draw them from `seed`, with `autapses` and
        `multapses` where allowed, and `distance="gaussian(0.2 mm)"` with probability `p` (1) times that; or
        `arrays={"pre": i, "post": j}` lists them. `w`: a number, a distribution as text, or an array, (n_post, n_pre)
        or one per listed synapse. `delay`: steps, or text with its unit, `"1.5 ms"`, for synapses that are drawn or
        listed also `"normal(1.5 ms, 0.7 ms)"` or `"1 ms + distance / (0.3 mm/ms)"`. `rule`: a name, `library.RULE`, or
        its lines; it learns where `gate` is on, `parameters` are the rule's. `message`, `port`: where the cells have
        several. `synapse` names a class that is there already, in the place of the options from `message` to `role`.
        """
        name = name or f"{_word(pre)}_{_word(post)}"
        bound, said = _sorted(name, {**(arrays or {}), **({} if w is None else {"w": w}), **parameters})
        rules = {"p": None if distance else p, "indegree": indegree, "outdegree": outdegree, "total": total,
                 "distance": (1.0 if p is None else p) if distance else None}
        said += _wiring(name, rules, bound, seed, [*[distance] * bool(distance), *["autapses"] * autapses,
                                                   *["multapses"] * multapses])
        listed = bool(bound.keys() & {f"{name}.pre", f"{name}.post"}) or any(s.startswith("connect") for s in said)
        options = {"connectivity": connectivity, "sign": sign, "role": role, "message": message, "port": port,
                   "limits": "" if limits is None else " ".join(_number("limits", each) for each in limits)}
        if synapse and (given := [key for key, value in {**options, "rule": rule}.items() if value]):
            raise CortexError("B105", f"projection '{name}' has synapse class '{synapse}' and the option {given[0]}.",
                              "Leave one out.")
        with self._all_or_nothing():
            if not synapse:
                options["connectivity"] = connectivity or ("sparse" if listed else "")
                options["message"] = self._only("message", pre, message)
                options["port"] = self._only("port", post, port)
                options["rule"] = self._rule(name, rule)
                synapse = self.synapse(f"{name}_synapse", [f"{key} {value}" for key, value in options.items() if value])
            words, lines = self._delay(name, delay, listed)
            words += [f"{key}={_word(value)}" for key, value in (("gate", gate), ("apply", apply)) if value]
            _known("synapse class", synapse, self._names("synapses"))
            head = " ".join([f"projection {_word(name)} {synapse} {_word(pre)} -> {_word(post)}", *words])
            return self._take(_piece(head, [*said, *lines]), bound)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = self._graph
        try:
            yield
        except CortexError:
            self._graph = before
            raise

    def mirror(self, target: str, source: str, *operations: str, after: bool = False, gate: str = "") -> None:
        """Weights that are copied in every step: `net.mirror("feedback", "forward", "transpose")`."""
        words = [*operations, *["after"] * after, *[f"gate={gate}"] * bool(gate)]
        self._take(_piece(f"mirror {_word(target)} = {_word(source)} : {' '.join(words)}", []))

    def _only(self, what: str, population: str, said: str) -> str:
        """The one message or port of a population's cell, or the one that was said."""
        _known("population", population, self._names("populations"))
        cell = self._graph.cell_of(population)
        there = cell.messages if what == "message" else tuple(p.name for p in cell.ports)
        if said:
            return _known(f"{what} of cell '{cell.name}'", said, there)
        if len(there) != 1:
            raise CortexError("B104", f"cell '{cell.name}' of population '{population}' has {len(there)} {what}s: "
                                      f"{', '.join(there) or 'none'}.", f"Say {what}=NAME." if there else "")
        return there[0]

    def _rule(self, projection: str, rule: str | Iterable[str]) -> str:
        if not isinstance(rule, str) or not re.fullmatch(r"(library\.)?\w*", rule):
            return self.rule(f"{projection}_rule", rule)
        own = rule.removeprefix("library.")
        if own != rule and own not in self._names("rules"):
            return self.rule(own, rule)
        return own and _known("rule", own, self._names("rules"))

    def _delay(self, name: str, delay: int | str, listed: bool) -> tuple[list[str], list[str]]:
        """Words of the head, and lines."""
        if not isinstance(delay, str):
            return [f"delay={_whole('delay', delay)}"], []
        if listed:
            return [], [f"delay = {delay}"]
        match = re.fullmatch(r"([0-9.]+) *ms", delay.strip())
        steps = float(match[1]) / self._graph.dt if match and match[1].count(".") < 2 else -1.0
        if abs(steps - round(steps)) > 1e-6 or steps < 0:
            raise CortexError("B106", f"delay of projection '{name}' is {delay!r}, no whole number of steps of "
                                      f"{self._graph.dt:g} ms.", 'Give steps, or such as "1.5 ms"; a distribution is '
                                      "for synapses that are drawn or listed.")
        return [f"delay={round(steps)}"], []

    # ---- pieces

    def _names(self, kind: str) -> list[str]:
        return [part.name for part in getattr(self._graph, kind)]

    def _take(self, piece: Graph, arrays: Mapping[str, Any] | None = None) -> str:
        """Adds the one part of a piece; returns its name."""
        (kind,) = [kind for kind in PARTS if getattr(piece, kind)]
        (part,) = getattr(piece, kind)
        name = getattr(part, "name", "")
        taken = ("populations", "projections") if kind in ("populations", "projections") else (kind,)
        if name and any(name in self._names(each) for each in taken):
            raise CortexError("B102", f"network '{self._graph.name}' has a part '{name}' already.",
                              "Give it another name.")
        gates = re.findall(r"\bgate[.=](\w+)", show_graph(piece)) + [
            word for q in piece.projections for word in (q.gate, q.apply) if word]
        self._graph = self._graph.with_(
            **{kind: (*getattr(self._graph, kind), part)}, gates=tuple(dict.fromkeys((*self._graph.gates, *gates))),
            arrays={**self._graph.arrays, **(arrays or {})})
        return name


PARTS = ("cells", "rules", "synapses", "populations", "projections", "mirrors")


def _piece(head: str, lines: Iterable[str]) -> Graph:
    """One block of the language. Raises B101 for text that holds more than that, and what `parse_graph` raises."""
    lines = list(lines)
    if broken := [line for line in (head, *lines) if "\n" in line or "\r" in line or "#" in line]:
        raise CortexError("B101", f"{broken[0]!r} has a line end or a comment in it.", "Give one line, without.")
    return parse_graph("\n".join([head, *(f"  {line}" for line in lines if line.strip())]))


def _lines(text: str | Iterable[str]) -> list[str]:
    """Without comments and empty ones."""
    given = [text] if isinstance(text, str) else [str(line) for line in text]
    parts = [part.split("#")[0].strip() for each in given for line in each.splitlines() for part in line.split(";")]
    return [part for part in parts if part]


def _wiring(name: str, rules: Mapping[str, float | None], bound: Mapping[str, Any], seed: int,
            words: list[str]) -> list[str]:
    given = {key: value for key, value in rules.items() if value is not None}
    if len(given) > 1 or given and bound.keys() & {f"{name}.pre", f"{name}.post"} or words and not given:
        raise CortexError("B105", f"projection '{name}': synapses are drawn by one of {', '.join(RULES)}, perhaps with "
                                  "autapses and multapses, or listed by the arrays pre and post.", "Give one of them.")
    return [" ".join([f"connect {RULES[key]} {_number(key, value)}", *words, f"seed={_whole('seed', seed)}"])
            for key, value in given.items()]


def _sorted(owner: str, values: Mapping[str, Value]) -> tuple[dict[str, np.ndarray], list[str]]:
    """(arrays by their full names, lines of the language)."""
    arrays, lines = {}, []
    for key, value in values.items():
        if isinstance(value, str):
            lines.append(f"{_word(key)} = {value}")
        elif not isinstance(value, Sequence | np.ndarray):
            lines.append(f"{_word(key)} = {_number(key, value)}")
        else:
            arrays[f"{owner}.{_word(key)}"] = _array(f"{owner}.{key}", value)
    return arrays, lines


def _array(name: str, value: Value) -> np.ndarray:
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError) as error:
        raise CortexError("B106", f"'{name}' is no array of numbers: {error}.") from None


def _word(name: object) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", name, re.ASCII):
        raise CortexError("B101", f"{name!r} is no name.", "A letter or _, then letters, digits or _.")
    return name


def _number(what: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise CortexError("B106", f"{what} is {value!r}; it must be a number.")
    return repr(float(value))


def _whole(what: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise CortexError("B106", f"{what} is {value!r}; it must be a whole number, 0 or more.")
    return str(int(value))


def _known(what: str, name: str, there: Iterable[str]) -> str:
    if name not in set(there):
        raise unknown("B103", what, name, there)
    return name
