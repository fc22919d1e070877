"""The sizes of the language, in one place, and how a hostile value is shown.

An expression within `EXPRESSION_DEPTH` and `EXPRESSION_NODES` is read, verified, rewritten, printed and compiled
without reaching a limit of Python's: its parser allows 200 nested parentheses and 1000 frames.
"""

from __future__ import annotations

NAME_LENGTH = 100
"""Letters of a name; also of a unit."""
GRAPH_NAME_LENGTH = 250
EXPRESSION_DEPTH = 60
"""Operations inside one another, of a tree; a + b + c is 2 deep. Also nested parentheses of its text."""
EXPRESSION_NODES = 1000
"""Numbers, names and operations of one expression."""
EXPRESSION_LENGTH = 50_000
"""Characters of the text of one expression."""
LINE_LENGTH = 100_000
"""Characters of a line."""
TEXT_LENGTH = 10_000_000
"""Characters of a text."""
PARTS = 2000
"""Populations, projections, cells ... of a graph, and equations of a cell, each; verifying takes their square."""
SIZE = 2**31 - 1
"""Cells of a population, copies of a weight; indices are 32 bits wide."""
DELAY = 10_000
"""Steps of a delay, and how deep `prev` is nested: each keeps a vector of the population."""
MEMORY = 2**36
"""Bytes of a graph's states and weights in float64: 64 GiB."""


BEYOND = ("E114", "E209", "E236")
"""Codes of what a pass may make too large: expressions, names, graphs."""


def shown(value: object) -> str:
    """A value for a message: one line of ASCII, not long."""
    text = ascii(value)
    return text if len(text) <= 120 else f"{text[:100]} ... ({len(text)} characters){text[:1]}"
