"""The reader of the language: text in, graph out. Names and forms are checked here, with the line; `verify` decides
whether the graph is valid.

Two-level text: a keyword opens a block, indented lines (spaces or tabs) describe it. `#` starts a comment. `BLOCKS` is
the grammar: what may stand in which block, in which form, and how often. E101: a keyword or option that is not there;
E102, E104: a line of another form; E103: an indented line without a block; E105: said twice; E106: characters that are
no text; E107: too long; E109: no graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cortexc.compiler.ir import model, wiring_text
from cortexc.compiler.ir.errors import CortexError, check_type, unknown
from cortexc.compiler.ir.expressions import Number, parse
from cortexc.compiler.ir.language import FIELDS, AnyDomain, part_problems
from cortexc.compiler.ir.library import library_lines, merged
from cortexc.compiler.ir.limits import LINE_LENGTH, TEXT_LENGTH, shown
from cortexc.compiler.ir.lines import (
    CALL,
    LINES,
    PARAMETER,
    STATE,
    TWO_WORDS,
    WORD,
    Line,
    Measured,
    as_word,
    build_cell,
    equation,
    measured,
    named_options,
    real,
    split,
    twice,
    whole,
    wholes,
    without_units,
)
from cortexc.compiler.ir.model import Graph


class Statement(NamedTuple):
    """A line of text: its number, its words with one space between them, and whether it is indented."""

    number: int
    text: str
    indented: bool


@dataclass(frozen=True)
class Block:
    """`keyword FORM` and what may stand below it; `build(words, body)` gives what it `fills` the graph's field with.
    `part`: whether the library may have one."""

    form: str
    fills: str
    build: Callable[[list[str], dict[str, Any]], Any]
    kind: type = Graph
    part: bool = False
    lines: dict[str, Line] = field(default_factory=dict)


def parse_graph(text: str) -> Graph:
    """A circuit, or parts of one: without a `graph` line it is called 'unnamed'.

    Raises E101 to E115 and E209 with the line's number; the result is not verified yet.
    """
    check_type("parse_graph", text, str, "text")
    graph, parts = None, dict[str, list[Any]]()
    for head, body in _blocks(text):
        word, *words = head.text.split(" ")
        block = BLOCKS.get(word)
        if block is None:
            raise unknown("E101", f"keyword in line {head.number}", word, BLOCKS)
        if block.part:
            with _located(head):
                words, body = _from_library(word, words, body)
        found = _body(block, f"{word} {shown(words[0])}" if words else word, body)
        with _located(head):
            part = _named(block, block.build(words, found))
            if word == "graph" and graph:
                raise twice("graph", f"the text (it is called {shown(graph.name)})")
        graph = part if word == "graph" else graph
        parts.setdefault(block.fills, []).append(part)
    parts.pop("", None)
    return (graph or Graph("unnamed")).with_(**{name: tuple(found) for name, found in parts.items()})


def parse_circuit(text: str) -> Graph:
    """A whole circuit, as a file holds it. Raises E109 without a `graph` line, and what `parse_graph` raises."""
    graph = parse_graph(text)
    if not any(head.text.startswith("graph ") for head, _ in _blocks(text)):
        raise CortexError("E109", "the text has no line 'graph NAME'.", "A circuit begins with one.")
    return graph


def _blocks(text: str) -> Iterator[tuple[Statement, list[Statement]]]:
    head: Statement | None = None
    body: list[Statement] = []
    for statement in _statements(text):
        if not statement.indented:
            if head:
                yield head, body
            head, body = statement, []
        elif head is None:
            raise CortexError("E103", f"line {statement.number} is indented but opens no block: "
                                      f"{shown(statement.text)}.")
        else:
            body.append(statement)
    if head is None:
        raise CortexError("E109", "the text is empty: it holds no statement.", "A circuit begins with 'graph NAME'.")
    yield head, body


def _statements(text: str) -> Iterator[Statement]:
    """Lines that are not empty, without comments. E106, E107."""
    if len(text) > TEXT_LENGTH:
        raise CortexError("E107", f"the text has {len(text)} characters; the limit is {TEXT_LENGTH}.")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, raw in enumerate(lines, 1):
        if len(raw) > LINE_LENGTH:
            raise CortexError("E107", f"line {number} has {len(raw)} characters; the limit is {LINE_LENGTH}.")
        if control := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", raw):
            raise CortexError("E106", f"line {number} holds the character {ascii(control[0])}; the language is text.",
                              "Save the file as plain text (UTF-8).")
        words = re.findall(r"[^ \t]+", raw.split("#", 1)[0])
        if words:
            yield Statement(number, " ".join(words), raw[0] in " \t")


def _body(block: Block, owner: str, body: list[Statement]) -> dict[str, Any]:
    """Field -> its value, or the tuple of its values."""
    found: dict[str, Any] = {}
    for statement in body:
        word, _, rest = statement.text.partition(" ")
        line = _line(block, word, rest)
        if line is None:
            raise unknown("E101", f"keyword in line {statement.number}", word, block.lines)
        with _located(statement):
            if line.once and line.fills in found:
                raise twice(word, owner)
            value = _value(word, line, rest)
            plain = value.said if isinstance(value, Measured) else value
            _check_names(FIELDS[block.kind].get(line.fills), line.fills, owner, plain if line.once else (plain,))
        found[line.fills] = value if line.once else (*found.get(line.fills, ()), value)
    return found


def _from_library(word: str, words: list[str], body: list[Statement]) -> tuple[list[str], list[Statement]]:
    """`NAME = library.PART` as `NAME`, and the part's lines with those of the block, which go before them."""
    match = re.fullmatch(r"([^ =]+) ?= ?library\.([^ ]+)", " ".join(words))
    if match is None:
        return words, body
    once = frozenset(key for key, line in BLOCKS[word].lines.items() if line.once)
    return [match[1]], merged(library_lines(word, match[2]), body, lambda own: own.text,
                              lambda text: Statement(0, text, True), once)


def _line(block: Block, word: str, rest: str) -> Line | None:
    """The line of this keyword; a name of the user's is one where the rest is of a name's form alone."""
    line, named = block.lines.get(word), block.lines.get("NAME")
    if line and named and not re.fullmatch(line.pattern, rest) and re.fullmatch(named.pattern, rest):
        return named
    return line or named


def _value(word: str, line: Line, rest: str) -> Any:
    match = re.fullmatch(line.pattern, rest)
    if match is None:
        raise CortexError("E104", f"{shown(rest)} must have the form {word} {line.form}.")
    return line.read(word, *match.groups())


def _named(block: Block, part: Any) -> Any:
    """The part, after a check of its names; an output is a pair, not a part."""
    if block.fills == "outputs":
        _check_names(FIELDS[Graph]["outputs"], "outputs", "the graph", (part,))
    else:
        _raise_names(part_problems(part))
    return part


def _check_names(domain: AnyDomain | None, label: str, owner: str, value: object) -> None:
    if domain is not None:
        _raise_names(domain.problems(label, owner, value))


def _raise_names(problems: Iterator[CortexError]) -> None:
    for problem in problems:
        if problem.code == "E209":
            raise problem


@contextmanager
def _located(statement: Statement) -> Iterator[None]:
    """Errors of a line say which line it is."""
    try:
        yield
    except CortexError as error:
        raise CortexError(error.code, f"line {statement.number}: {error.message}", error.hint) from None
    except (ValueError, IndexError, TypeError) as error:
        raise CortexError("E102", f"line {statement.number}: cannot read {shown(statement.text)}: {error}.") from None


# ---- lines


def _batch(_: str, first: str, one: str, second: str, other: str) -> dict[str, int]:
    found = {first: whole(one), second: whole(other)}
    if found.keys() != {"seeds", "samples"}:
        raise twice(first, "the line")
    return found


def _noise(_: str, rest: str) -> model.Noise:
    kind, *words = rest.split(" ")
    found = named_options([word for word in words if "=" in word], {"gate"})
    return model.Noise(kind, tuple(word for word in words if "=" not in word), found.get("gate"))


def _optimiser(_: str, kind: str, arguments: str | None) -> model.Optimiser:
    return model.Optimiser(kind, tuple(map(parse, split(arguments))) if arguments else ())


def _given(word: str, value: str, unit: str | None) -> Any:
    return measured((word, real(value)), word, unit)


def _given_or_drawn(word: str, value: str | None, unit: str | None, kind: str | None, arguments: str | None,
                    seed: str | None) -> Any:
    if value is not None:
        return _given(word, value, unit)
    numbers, units = zip(*(_quantity(argument) for argument in (arguments or "").split(",")), strict=True)
    if len(set(units)) > 1:
        raise ValueError("the arguments have different units")
    drawn = model.Distribution(kind or "", numbers, whole(seed or "0"))
    return measured((word, drawn), word, units[0] or None)


def _quantity(text: str) -> tuple[float, str]:
    value, _, unit = text.strip().partition(" ")
    return real(value), unit


# ---- blocks


def _graph(words: list[str], body: dict[str, Any]) -> Graph:
    if len(words) != 1:
        raise ValueError(f"the form is graph {BLOCKS['graph'].form}")
    return Graph(words[0], **body.pop("batch", {}), **body)


def _one_word(kind: Callable[..., Any], **defaults: Any) -> Callable[[list[str], dict[str, Any]], Any]:
    def build(words: list[str], body: dict[str, Any]) -> Any:
        if len(words) != 1:
            raise ValueError("the form is KEYWORD NAME")
        return kind(words[0], **{**defaults, **body})

    return build


def _rule(words: list[str], body: dict[str, Any]) -> Any:
    body = without_units(f"rule {shown(words[0])}" if words else "a rule", body, ("states",))
    return _one_word(model.PlasticityRule, increment=Number(0.0))(words, body)


def _population(words: list[str], body: dict[str, Any]) -> model.Population:
    if len(words) < 3:
        raise ValueError(f"the form is population {BLOCKS['population'].form}")
    options: dict[str, Any] = {**named_options(words[3:], {"area", "group"})}
    body = without_units(f"population {shown(words[0])}", body, ("parameters",))
    given = body.pop("parameters", ())
    drawn = tuple(setting for setting in given if isinstance(setting[1], model.Distribution))
    numbers = tuple(setting for setting in given if setting not in drawn)
    return model.Population(words[0], words[1], whole(words[2]), parameters=numbers, drawn=drawn, **options, **body)


def _projection(words: list[str], body: dict[str, Any]) -> model.Projection:
    if len(words) < 5 or words[3] != "->":
        raise CortexError("E104", f"{shown(' '.join(words))} must have the form {BLOCKS['projection'].form}.")
    known = {"delay", "gate", "apply", "group", "lowering", *_READ_OPTION}
    options: dict[str, Any] = {**named_options(words[5:], known)}
    options |= {key: read(options[key]) for key, read in _READ_OPTION.items() if key in options}
    body = without_units(f"projection {shown(words[0])}", body, ("parameters",))
    return model.Projection(words[0], words[1], words[2], words[4], **options, **body)


def _areas(text: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]]:
    post, pre, pairs = text.split("/")
    return wholes(post), wholes(pre), tuple(wholes(pair, ":") for pair in pairs.split(",") if pair)


def _convolution(text: str) -> model.Convolution:
    pre, post, rest = text.split("/")
    return model.Convolution(wholes(pre, "x"), wholes(post, "x"), *wholes(rest))  # type: ignore[arg-type]


_READ_OPTION: dict[str, Callable[[str], Any]] = {"delay": whole, "blocks": _areas, "convolution": _convolution}


def _mirror(words: list[str], body: dict[str, Any]) -> model.Mirror:
    match = re.fullmatch(r"([^ =]+) ?= ?([^ :]+) ?(?:: ?(.*))?", " ".join(words))
    if match is None:
        raise CortexError("E104", f"{shown(' '.join(words))} must have the form {BLOCKS['mirror'].form}.")
    operations = (match[3] or "").split(" ") if match[3] else []
    if operations.count("after") > 1:
        raise twice("after", "the line")
    found = named_options([word for word in operations if word.startswith("gate=")], {"gate"})
    plain = tuple(word for word in operations if word != "after" and not word.startswith("gate="))
    return model.Mirror(match[1], match[2], plain, "after" in operations, found.get("gate"))


def _output(words: list[str], body: dict[str, Any]) -> tuple[str, str]:
    match = re.fullmatch(r"([^ =]+) ?= ?([^ =]+)", " ".join(words))
    if match is None:
        raise CortexError("E104", f"{shown(' '.join(words))} must have the form {BLOCKS['output'].form}.")
    return match[1], match[2]


# ---- the grammar

UPDATE = "(?:d([^ /=]+) ?/ ?dt|([^ =]+))() ?= ?(.+)()()"
GIVEN = {"NAME": Line("= NUMBER [UNIT]", "parameters", "= ?([^ ]+)(?: ([^ ]+))?", _given)}

BLOCKS: dict[str, Block] = {
    "graph": Block("NAME", "", _graph, Graph, lines={
        "dt": Line("MILLISECONDS", "dt", WORD, lambda _, text: real(text), once=True),
        "batch": Line("seeds COUNT samples COUNT", "batch", "(seeds|samples) ([^ ]+) (seeds|samples) ([^ ]+)", _batch,
                      once=True),
        "gate": Line("NAME", "gates", WORD, as_word),
        "noise": Line("KIND [gate=NAME] [POPULATION ...]", "noise", "(.+)", _noise, once=True)}),
    "cell": Block("NAME [= library.CELL]", "cells", build_cell, model.CellType, part=True, lines=LINES),
    "rule": Block("NAME [= library.RULE]", "rules", _rule, model.PlasticityRule, part=True, lines={
        "parameter": PARAMETER,
        "noise": Line("NAME [KIND]", "noise", TWO_WORDS, lambda _, name, kind: (name, kind or "uniform")),
        "state": STATE,
        "update": Line("NAME = VALUE", "updates", UPDATE, equation),
        "increment": Line("VALUE", "increment", "(.+)", lambda _, value: parse(value), once=True),
        "deliver": Line("VALUE", "deliver", "(.+)", lambda _, value: parse(value), once=True),
        "optimiser": Line("KIND[(VALUE, ...)]", "optimiser", CALL, _optimiser, once=True)}),
    "synapse": Block("NAME [= library.SYNAPSE]", "synapses", _one_word(model.SynapseClass, message="", port=""),
                     model.SynapseClass, part=True, lines={
        **{key: Line(key.upper(), key, WORD, as_word, once=True)
           for key in ("message", "port", "connectivity", "sign", "rule", "role")},
        "weight": Line("UNIT", "weight", WORD, as_word, once=True),
        "unit": Line("NUMBER", "unit", WORD, lambda _, text: real(text), once=True),
        "limits": Line("LOWEST HIGHEST", "limits", "([^ ]+) ([^ ]+)",
                       lambda _, low, high: (real(low), real(high)), once=True)}),
    "population": Block("NAME CELL SIZE [area=NAME] [group=NAME]", "populations", _population, model.Population, lines={
        "place": Line(wiring_text.PLACE_FORM, "place", wiring_text.PLACE, wiring_text.read_place, once=True),
        "NAME": Line("= NUMBER [UNIT], or = KIND(NUMBER [UNIT], ...) [seed=NUMBER]", "parameters",
                     r"= ?(?:([^ (]+)(?: ([^ (]+))?|([^ (]+) ?\(([^()]*)\)(?: seed=([0-9]+))?)", _given_or_drawn)}),
    "projection": Block("NAME CLASS PRE -> POST [delay=STEPS] [gate=NAME] [apply=NAME] [blocks=POST/PRE/PAIRS] "
                        "[convolution=LOWER/UPPER/KERNEL,STRIDE,PADDING,POOL] [group=NAME] [lowering=WORD]",
                        "projections", _projection, model.Projection, lines={
        "connect": Line(wiring_text.CONNECT_FORM, "wiring", wiring_text.CONNECT, wiring_text.read_wiring, once=True),
        "w": Line(wiring_text.WEIGHTS_FORM, "weights", wiring_text.WEIGHTS, wiring_text.read_numbers, once=True),
        "delay": Line(wiring_text.DELAYS_FORM, "delays", wiring_text.DELAYS, wiring_text.read_numbers, once=True),
        **GIVEN}),
    "mirror": Block("TARGET = SOURCE [: OPERATION ...] [after] [gate=NAME]", "mirrors", _mirror),
    "output": Block("NAME = POPULATION.QUANTITY", "outputs", _output)}
