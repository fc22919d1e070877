"""The registry of error codes: what each means, and what to do. The table is `codes.txt`, a line per code.

One code has one meaning; the message of an error adds who, what, how much and the limit. Families: B networks built in
Python, E1xx text, E2xx meaning, E3xx options of shipped circuits, E5xx lowering, E6xx passes, E7xx the running network,
D data, H and M hardware maps and mapping, N NIR, V verification, X experiments and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cortexc.compiler.ir.errors import unknown


@dataclass(frozen=True)
class Meaning:
    code: str
    meaning: str
    advice: str

    @property
    def text(self) -> str:
        return f"{self.code}  {self.meaning}\n      {self.advice}"


@cache
def meanings() -> dict[str, Meaning]:
    """Code -> its meaning, in order."""
    lines = Path(__file__).with_name("codes.txt").read_text(encoding="utf-8").splitlines()
    return {found.code: found for found in map(_read, lines)}


def _read(line: str) -> Meaning:
    code, _, text = line.partition(" ")
    meaning, _, advice = text.partition(" | ")
    return Meaning(code, meaning, advice)


def meaning(code: str) -> Meaning:
    """Raises X194 for a code that is not there."""
    known = meanings()
    if code.upper() not in known:
        raise unknown("X194", "error code", code, known)
    return known[code.upper()]
