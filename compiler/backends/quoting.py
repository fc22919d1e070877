"""How names and texts of the user's get into code that is run: names are checked, texts are quoted, never pasted."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Container
from itertools import count

from cortexc.compiler.ir import CortexError

LONGEST = 1000
"""Characters of a name in emitted code."""


def identifier(name: str, what: str = "name") -> str:
    """The name, as it may stand in code. Raises E511."""
    proper = isinstance(name, str) and len(name) <= LONGEST and name.isidentifier()
    if not proper or unicodedata.normalize("NFKC", name) != name:
        raise CortexError("E511", f"{what} {str(name)[:60]!r} is no identifier.",
                          "Use letters, digits and underscores, and begin with a letter.")
    return name


def fresh(name: str, taken: Container[str], other: Callable[[str, int], str] = "{}_{}".format) -> str:
    """The name, or else the first of `other(name, 2)`, `other(name, 3)` ... that is not taken."""
    return name if name not in taken else next(each for i in count(2) if (each := other(name, i)) not in taken)


def quoted(text: str) -> str:
    """A string literal with double quotes."""
    return f'"{text}"' if _plain(text) else '"' + _escaped(text).replace('"', '\\"') + '"'


def docstring(text: str) -> str:
    """A docstring that ends where it should; its lines may be several."""
    return '"""' + "\n".join(map(comment, text.split("\n"))) + '"""'


def comment(text: str) -> str:
    """The text within one line, without a quote: as a comment or as a line of a docstring. Half of a pair of surrogates
    is spelled out: Python 3.13 compiles no docstring with one."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if _plain(text) else _escaped(text).replace('"', "'")


def _plain(text: str) -> bool:
    return text.isprintable() and '"' not in text and "\\" not in text


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
