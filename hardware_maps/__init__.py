"""What a chip can do, as data: one TOML file per target, a source beside every number.

A field is a table `{value, unit, kind, basis, source}`, with `bound = "min"|"max"` where only one side was published,
`sure` where a limit holds for certain only up to less, and `quote` or a remark where it helps. `kind` is `published`,
`derived` (arithmetic on published numbers), `assumed`, or `unpublished`: then there is no `value`, and what depends on
it is "not checked". `value = inf` means no limit.
A source names its keys in brackets; they are resolved in `[sources]`, of the file itself or of `sources.toml`.
`extends = "loihi2"`, or `extends = "other.toml"` beside the file, takes over what a file does not say itself, field by
field; of a cost profile figure by figure.

H101 an unknown map; H102 a file that cannot be read; H103 an unknown key; H104 something missing; H105 a wrong unit;
H106 a value of the wrong kind; H107 a source that is not resolved; H108 a value outside its field's domain.
"""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from cortexc.hardware_maps.schema import FIELDS, GROUPS, LIMITS, NUMBERS_AS_TEXT, PROFILE, domain_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["FIELDS", "LIMITS", "PROFILE", "HardwareMap", "MapError", "Scalar", "load_map", "read_table",
           "shipped_maps"]
FOLDER = Path(__file__).parent
NO_MAPS = ("sources", "published_learning")
Kind = Literal["published", "derived", "assumed", "unpublished"]
Basis = Literal["architectural", "measured", "simulated"]
Value = float | int | str | list[str] | None
TOP = ("name", "title", "extends", "sources")


class MapError(ValueError):
    """A map that is wrong: a stable `code`, a `message` with file, field and what was expected, and a `hint`."""

    def __init__(self, code: str, message: str, hint: str = ""):
        super().__init__(f"{code} {message}" + (f" {hint}" if hint else ""))
        self.code, self.message, self.hint = code, message, hint


class Scalar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One number with where it comes from; `value` None means that none was published.

    `sure`: where sources differ, or the limit has conditions that are not counted, the amount up to which it certainly
    holds; what lies between it and `value` is open, neither excluded nor confirmed.
    """

    unit: str
    kind: Kind
    source: str
    basis: Basis | None = None
    value: Value = None
    bound: Literal["", "min", "max"] = ""
    sure: float | int | None = None
    quote: str = ""
    remark: str = ""

    @property
    def unlimited(self) -> bool:
        return isinstance(self.value, float) and math.isinf(self.value)

    @property
    def text(self) -> str:
        """`1,024 compartments (published, Davies 2018 p. 89)`"""
        shown = "none published" if self.value is None else self._value_text()
        return f"{shown} ({self.kind}, {self.source})"

    def _value_text(self) -> str:
        if self.unlimited:
            return "no limit"
        if isinstance(self.value, (int, float)):
            return f"{self.value:,.6g} {self.unit}" if abs(self.value) < 1e6 else f"{self.value:,.0f} {self.unit}"
        return ", ".join(self.value) if isinstance(self.value, list) else str(self.value)


@dataclass(frozen=True)
class HardwareMap:
    """One target. `scalars` by 'group.field'; those of a cost profile by 'cost_profiles.PROFILE.field'."""

    name: str
    title: str
    scalars: dict[str, Scalar] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def scalar(self, name: str) -> Scalar:
        """Raises H103 for a field that the map does not have."""
        if name not in self.scalars:
            raise _unknown("H103", f"field of map '{self.name}'", name, self.scalars)
        return self.scalars[name]

    def value(self, name: str) -> Value:
        """The value; None where none was published."""
        return self.scalar(name).value

    def number(self, name: str) -> float:
        """The value as a number; infinity where it was not published."""
        value = self.value(name)
        return float(value) if isinstance(value, (int, float)) else math.inf

    @property
    def unpublished(self) -> tuple[str, ...]:
        """Limits for which no value was published."""
        return tuple(name for name in LIMITS if self.scalars[name].kind == "unpublished")

    @property
    def assumed(self) -> tuple[str, ...]:
        """Finite limits that are assumed."""
        return tuple(name for name in LIMITS
                     if self.scalars[name].kind == "assumed" and not self.scalars[name].unlimited)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of the cost profiles."""
        return tuple(dict.fromkeys(name.split(".")[1] for name in self.scalars if name.startswith("cost_profiles.")))

    def resolved(self, scalar: Scalar) -> str:
        """The full text of the sources that a scalar names."""
        return "; ".join(self.sources[key] for key in _keys(scalar.source))


def shipped_maps() -> dict[str, Path]:
    """Name -> file, in the order in which they are listed."""
    files = {path.stem: path for path in sorted(FOLDER.glob("*.toml")) if path.stem not in NO_MAPS}
    order = ["ideal", "loihi1", "loihi2", "kapoho_point", "hala_point"]
    return {name: files[name] for name in sorted(files, key=lambda n: order.index(n) if n in order else len(order))}


def load_map(name_or_path: str | Path) -> HardwareMap:
    """A shipped map by its name, or a user's file by its path. Raises MapError H101..H108."""
    path = _path_of(str(name_or_path))
    found = _inherited(path, ())
    _check_complete(path, "the map", FIELDS, {name for name in FIELDS if name in found.scalars},
                    'Write it, or take over the rest of a shipped map with extends = "loihi1".')
    for profile in found.profiles:
        figures = {name for name in PROFILE if f"cost_profiles.{profile}.{name}" in found.scalars}
        _check_complete(path, f"cost profile '{profile}'", PROFILE, figures,
                        'Write it, with kind = "unpublished" and no value where there is no figure.')
    return found


def _path_of(name: str) -> Path:
    shipped = shipped_maps()
    if name in shipped:
        return shipped[name]
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    raise _unknown("H101", "hardware map", name, shipped, " A map of your own is given by its path, ending in .toml.")


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as plain tables. Raises H102."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MapError("H102", f"cannot read map '{path}': {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise MapError("H102", f"map '{path}' is not TOML: {error}.") from None


def _inherited(path: Path, seen: tuple[Path, ...]) -> HardwareMap:
    """The file's scalars over those of what it extends, each decoded with the file that it is in."""
    if path.resolve() in seen:
        raise MapError("H103", f"{path}: 'extends' leads back to '{path}'.")
    tables = read_table(path)
    _check_top(path, tables)
    base = _base(path, tables["extends"], (*seen, path.resolve())) if "extends" in tables else None
    own = dict(_scalars(path, tables))
    shipped = FOLDER / "sources.toml"
    sources = {**(base.sources if base else _text_table(shipped, read_table(shipped)["sources"])),
               **_text_table(path, tables.get("sources", {}))}
    for name, scalar in own.items():
        _check_source(path, name, scalar, sources)
    return HardwareMap(tables["name"], tables["title"], {**(base.scalars if base else {}), **own}, sources)


def _base(path: Path, name: Any, seen: tuple[Path, ...]) -> HardwareMap:
    """What `path` extends: a shipped map, or a file, found from where `path` is."""
    if not isinstance(name, str):
        raise MapError("H106", f"{path}: 'extends' = {name!r}, expected the name or the path of one map.")
    try:
        return _inherited(path.parent / _path_of(name), seen)
    except MapError as error:
        raise MapError(error.code, f"{path} extends '{name}': {error.message}", error.hint) from None


def _check_complete(path: Path, what: str, known: dict[str, tuple[str, str]], found: set[str], hint: str) -> None:
    missing = [name for name in known if name not in found]
    if missing:
        unit, meaning = known[missing[0]]
        raise MapError("H104", f"{path}: {what} lacks {len(missing)} field{'s' if len(missing) > 1 else ''}, among "
                               f"them '{missing[0]}' in {unit}: {meaning}.", hint)


def _check_top(path: Path, tables: dict[str, Any]) -> None:
    for key in tables:
        if key not in (*TOP, *GROUPS):
            raise _unknown("H103", f"key in '{path}'", key, (*TOP, *GROUPS))
    for key in ("name", "title"):
        if key not in tables:
            raise MapError("H104", f"{path}: '{key}' is missing; expected a text.")
        if not isinstance(tables[key], str):
            raise MapError("H106", f"{path}: '{key}' = {tables[key]!r}, expected a text.")


def _text_table(path: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise MapError("H106", f"{path}: [sources] must hold texts: what each key stands for.")
    return dict(table)


def _scalars(path: Path, tables: dict[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for group, table in tables.items():
        if group in TOP:
            continue
        if group == "cost_profiles":
            if not isinstance(table, dict):
                raise MapError("H106", f"{path}: 'cost_profiles' must be a table of profiles, not {table!r}.")
            for profile, fields in table.items():
                if not fields or "." in profile:
                    raise MapError("H104", f"{path}: cost profile '{profile}' has no figure, or a dot in its name.")
                yield from _group(path, f"cost_profiles.{profile}", fields, PROFILE)
        else:
            known = {name.partition(".")[2]: what for name, what in FIELDS.items() if name.startswith(group + ".")}
            yield from _group(path, group, table, known)


def _group(path: Path, group: str, table: Any, known: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Scalar]]:
    if not isinstance(table, dict):
        raise MapError("H106", f"{path}: '{group}' must be a table of fields, not {table!r}.")
    for name, record in table.items():
        if name not in known:
            raise _unknown("H103", f"field of [{group}] in '{path}'", name, known)
        scalar = _scalar(path, f"{group}.{name}", record)
        for code, fault, hint in _faults(f"{group}.{name}", scalar, known[name][0]):
            raise MapError(code, f"{path}: '{group}.{name}' {fault}", hint)
        yield f"{group}.{name}", scalar


def _scalar(path: Path, name: str, record: Any) -> Scalar:
    if not isinstance(record, dict):
        raise MapError("H106", f"{path}: '{name}' must be a table {{value, unit, kind, basis, source}}, "
                               f"not {record!r}.")
    for key in record:
        if key not in Scalar.__struct_fields__:
            raise _unknown("H103", f"key of '{name}' in '{path}'", key, Scalar.__struct_fields__)
    for key in ("unit", "kind", "source"):
        if not record.get(key):
            raise MapError("H104", f"{path}: '{name}' has no {key}.", _EXPECTED.get(key, ""))
    try:
        return msgspec.convert(record, Scalar)
    except msgspec.ValidationError as error:
        raise MapError("H106", f"{path}: '{name}': {error}.") from None


_EXPECTED = {"source": "Say where the number comes from, as in source = \"Davies 2018 p. 89 [L1NOTE]\".",
             "kind": f"Expected one of {', '.join(get_args(Kind))}.", "unit": "Expected the field's unit."}


def _faults(name: str, scalar: Scalar, unit: str) -> Iterator[tuple[str, str, str]]:
    """Whatever is wrong with a field's unit, kind, type or domain: the code, what is said behind its name, a hint."""
    value, sure, domain = scalar.value, scalar.sure, domain_of(name, unit)
    if scalar.unit != unit:
        yield "H105", f"has unit '{scalar.unit}', expected '{unit}'.", ""
    if (value is None) != (scalar.kind == "unpublished"):
        yield ("H106", f"is {scalar.kind} and has {'no' if value is None else 'a'} value.",
               'A field without a value has kind = "unpublished", and only such a field.')
    if scalar.kind in ("published", "derived") and scalar.basis is None:
        yield "H104", "has no basis.", f"Expected one of {', '.join(get_args(Basis))}."
    if value is not None and not _is_of(unit, value):
        names = {"flag": "0 or 1", "names": "a list of names", "text": "a text"}
        yield "H106", f"= {value!r}, expected {names.get(unit, 'a number')}.", ""
    if value is None and domain.known:
        yield ("H108", f"has no value, expected {domain.text}.",
               "A format rests on it, so that it cannot be left unpublished; assume one and say so.")
    for number in (value, sure):
        if isinstance(number, (int, float)) and not domain.holds(number):
            yield "H108", f"= {number!r}, expected {domain.text}.", ""
    if sure is not None and not (isinstance(value, (int, float)) and sure < value):
        yield "H108", f"is sure up to {sure!r}, expected less than its value, {value!r}.", ""


def _is_of(unit: str, value: Any) -> bool:
    """Whether a value has the type of its unit; whole numbers are not beyond those that TOML can have."""
    if isinstance(value, bool) or value == "" or not isinstance(value, NUMBERS_AS_TEXT.get(unit, (int, float))):
        return False
    small = not isinstance(value, int) or abs(value) < 2**63
    return small and value == value and (unit != "flag" or value in (0, 1))


def _check_source(path: Path, name: str, scalar: Scalar, sources: dict[str, str]) -> None:
    keys = _keys(scalar.source)
    if not keys:
        raise MapError("H107", f"{path}: the source of '{name}' names no key in brackets: '{scalar.source}'.",
                       "Name at least one, as in [L1NOTE], and say in [sources] what it stands for.")
    for key in keys:
        if key not in sources:
            raise _unknown("H107", f"source key of '{name}' in '{path}'", key, sources)


def _keys(source: str) -> list[str]:
    return re.findall(r"\[([A-Z][A-Z0-9-]*)\]", source)


def _unknown(code: str, kind: str, name: str, known: Any, more: str = "") -> MapError:
    near = difflib.get_close_matches(name, list(known), 1)
    guess = f"Did you mean '{near[0]}'?" if near else ""
    return MapError(code, f"unknown {kind}: '{name}'; known: {', '.join(known)}.", guess + more)
