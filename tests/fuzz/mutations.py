"""How valid input becomes hostile: lines, words, numbers and bytes are changed, repeated, dropped and made huge."""
from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

MARK = "FUZZ_RAN"
"""A file of this name, or code that holds it, is proof that data was executed."""
CODE = (f'"""+str(open("{MARK}","w"))+"""', f"\\\"\\\"\\\"\nopen('{MARK}','w')\n", f"x=open('{MARK}','w')",
        f"__import__('os').system('touch {MARK}')", f"(lambda:open('{MARK}','w'))()", f"{{open('{MARK}','w')}}",
        f"../../{MARK}", f"a\nopen('{MARK}','w')#", f"'+open('{MARK}','w')+'")
NUMBERS = ("0", "-1", "1", "2", "1e308", "-1e308", "1e400", "nan", "inf", "-inf", "1e-320", "-0.0", "0.5", "999999999999",
           "18446744073709551616", "0x10", "1_000", "1e5", "²", "٣", "True", "")
WORDS = ("prev", "w", "dt", "inf", "tick", "class", "import", "None", "gate", "self", "m", "np", "run", "where", "__init__",
         "AbstractProcess", "LIF", "a" * 300, "é", "x-y", "x.y", "x y", "%s", "{}", "\\", "'", '"', "\x00", "\ufeff", "->",
         "=", ":", "@", "#", "=1 =2", "gate=", "delay=-1", "delay=99999999999", *CODE)
CHAINS = ("+".join(["u"] * 400), "u" + "+1" * 20_000, "(" * 500 + "u" + ")" * 500, "-" * 3000 + "u", "exp(" * 300 + "u" + ")" * 300,
          " and ".join(["u"] * 300), "u" + ".u" * 500, "[" * 2000, "lambda: u", "u if u else u", "u**u**u", "u[0]", "1/0")


def pick(rng: np.random.Generator, items):
    return items[int(rng.integers(len(items)))]


def text(rng: np.random.Generator, source: str, corpus: list[str]) -> str:
    """One change, or a few."""
    for _ in range(pick(rng, (1, 1, 1, 1, 2, 3, 5))):
        source = pick(rng, TEXT)(rng, source, corpus)
    return source


def _place(rng: np.random.Generator, parts: list) -> int:
    return int(rng.integers(len(parts))) if parts else 0


def _word(rng, source, corpus):
    """A word becomes a number, a name of the language, code, or a word of another text."""
    words = source.split(" ")
    others = pick(rng, corpus).split()
    words[_place(rng, words)] = pick(rng, (*NUMBERS, *WORDS, *others[:200]))
    return " ".join(words)


def _number(rng, source, corpus):
    places = [i for i, letter in enumerate(source) if letter.isdigit()]
    if not places:
        return source
    at = pick(rng, places)
    return source[:at] + pick(rng, NUMBERS) + source[at + 1:]


def _line(rng, source, corpus):
    """A line is dropped, repeated, moved, or taken from another text."""
    lines = source.split("\n")
    at, other = _place(rng, lines), pick(rng, corpus).split("\n")
    change = pick(rng, ("drop", "repeat", "move", "take", "dedent", "tab"))
    line = lines[at]
    if change in ("drop", "move"):
        del lines[at]
    if change in ("repeat", "move"):
        lines.insert(_place(rng, lines), line)
    if change == "take":
        lines.insert(at, other[_place(rng, other)])
    if change in ("dedent", "tab"):
        lines[at] = line.lstrip() if change == "dedent" else "\t" + line.lstrip()
    return "\n".join(lines)


def _chain(rng, source, corpus):
    """What stands right of an equals sign becomes a long or deep expression."""
    lines = source.split("\n")
    places = [i for i, line in enumerate(lines) if "=" in line] or [0]
    at = pick(rng, places)
    lines[at] = lines[at].partition("=")[0] + "= " + pick(rng, CHAINS)
    return "\n".join(lines)


def _letters(rng, source, corpus):
    letters = list(source) or [" "]
    for _ in range(int(rng.integers(1, 4))):
        letters[_place(rng, letters)] = pick(rng, (chr(int(rng.integers(1, 0x250))), "", "\n", " ", "(", ")", ",", '"'))
    return "".join(letters)


def _cut(rng, source, corpus):
    return source[:_place(rng, list(source))]


def _rename(rng, source, corpus):
    """A word everywhere, as a hostile name would be used."""
    words = source.split()
    return source.replace(words[_place(rng, words)], pick(rng, WORDS)) if words else source


TEXT: tuple[Callable, ...] = (_word, _word, _word, _number, _number, _line, _line, _line, _chain, _letters, _cut, _rename)


def raw(rng: np.random.Generator, content: bytes) -> bytes:
    """Bytes flipped, cut, repeated or inserted."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        at, change = int(rng.integers(len(data) + 1)), pick(rng, ("flip", "cut", "drop", "repeat", "insert"))
        if change == "flip" and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif change == "cut":
            del data[at:]
        elif change == "drop":
            del data[at:at + int(rng.integers(1, 64))]
        elif change == "repeat":
            data[at:at] = data[at:at + 200]
        else:
            data[at:at] = rng.bytes(int(rng.integers(1, 9)))
    return bytes(data)


class _Bomb:
    """Unpickling it leaves the mark."""

    def __reduce__(self):
        return open, (MARK, "w")


def arrays(rng: np.random.Generator, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays with other names, shapes, types and values."""
    table = dict(table)
    for _ in range(int(rng.integers(1, 4))):
        name = pick(rng, sorted(table))
        table |= {name: _changed(rng, table[name])}
        if rng.random() < 0.25:
            table[pick(rng, (*WORDS, "w", "graph.ir")).replace("\x00", "") or "x"] = table.pop(name)
        if not table:
            break
    return table


def _changed(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    change = pick(rng, ("nan", "huge", "flat", "axis", "cut", "empty", "text", "bool", "float32", "complex", "bomb", "big"))
    array = np.array(array)
    if change in ("nan", "huge") and array.dtype.kind == "f" and array.size:
        array.flat[int(rng.integers(array.size))] = np.nan if change == "nan" else 1e308
        return array
    made = {"flat": lambda: array.ravel(), "axis": lambda: array[None], "cut": lambda: array[:-1] if array.ndim else array,
            "empty": lambda: np.zeros(0), "text": lambda: np.array(pick(rng, WORDS).replace("\x00", "")),
            "bool": lambda: np.ones(array.shape, bool), "float32": lambda: np.ones(array.shape, np.float32),
            "complex": lambda: np.ones(array.shape, complex), "bomb": lambda: np.array([_Bomb()], dtype=object),
            "big": lambda: np.broadcast_to(np.int8(1), (3000, 1000))}
    return made.get(change, lambda: array)()


def npz(table: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **table)
    return buffer.getvalue()
