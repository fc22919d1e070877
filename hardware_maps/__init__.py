"""What a chip can do, as data: one TOML file per target, a source beside every number.

A field is a table `{value, unit, kind, basis, source}`, with `bound = "min"|"max"` where only one side was published
and `quote` or a remark where it helps. `kind` is `published`, `derived` (arithmetic on published numbers), `assumed`,
or `unpublished`: then there is no `value`, and what depends on it is "not checked". `value = inf` means no limit.
A source names its keys in brackets; they are resolved in `[sources]`, of the file itself or of `sources.toml`.
`extends = "loihi2"` takes over what a file does not say itself.

H101 an unknown map; H102 a file that cannot be read; H103 an unknown key; H104 something missing; H105 a wrong unit;
H106 a value of the wrong kind; H107 a source that is not resolved.
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

from hardware_maps.schema import FIELDS, GROUPS, LIMITS, NUMBERS_AS_TEXT, PROFILE

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
    """One number with where it comes from; `value` None means that none was published."""

    unit: str
    kind: Kind
    source: str
    basis: Basis | None = None
    value: Value = None
    bound: Literal["", "min", "max"] = ""
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
    """A shipped map by its name, or a user's file by its path. Raises MapError H101..H107."""
    path = _path_of(str(name_or_path))
    tables, sources = _inherited(path, ())
    sources = {**_sources(FOLDER / "sources.toml"), **sources}
    scalars = dict(_scalars(path, tables))
    for name, scalar in scalars.items():
        _check_source(path, name, scalar, sources)
    missing = [name for name in FIELDS if name not in scalars]
    if missing:
        raise MapError("H104", f"{path}: the map lacks {len(missing)} fields, among them '{missing[0]}' in "
                               f"{FIELDS[missing[0]][0]}: {FIELDS[missing[0]][1]}.",
                       'Write it, or take over the rest of a shipped map with extends = "loihi1".')
    return HardwareMap(str(tables["name"]), str(tables["title"]), scalars, sources)


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file as plain tables. Raises H102."""
    return _read(path)


def _path_of(name: str) -> Path:
    shipped = shipped_maps()
    if name in shipped:
        return shipped[name]
    if name.endswith(".toml") or "/" in name:
        return Path(name)
    raise _unknown("H101", "hardware map", name, shipped, " A map of your own is given by its path, ending in .toml.")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MapError("H102", f"cannot read map '{path}': {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise MapError("H102", f"map '{path}' is not TOML: {error}.") from None


def _inherited(path: Path, seen: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """The file's tables over those of what it extends, and the sources of both."""
    if path in seen:
        raise MapError("H103", f"{path}: 'extends' leads back to '{path}'.")
    tables = _read(path)
    _check_top(path, tables)
    own = _text_table(path, tables.pop("sources", {}))
    if "extends" not in tables:
        return tables, own
    base, sources = _inherited(_path_of(str(tables.pop("extends"))), (*seen, path))
    return _merged(base, tables), {**sources, **own}


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Fields of `own` over those of `base`; a field is replaced as a whole."""
    result = dict(base)
    for group, table in own.items():
        result[group] = {**base.get(group, {}), **table} if isinstance(table, dict) else table
    return result


def _check_top(path: Path, tables: dict[str, Any]) -> None:
    for key in tables:
        if key not in (*TOP, *GROUPS):
            raise _unknown("H103", f"key in '{path}'", key, (*TOP, *GROUPS))
    for key in ("name", "title"):
        if not isinstance(tables.get(key), str):
            raise MapError("H104", f"{path}: '{key}' is missing; expected a text.")


def _sources(path: Path) -> dict[str, str]:
    return _text_table(path, _read(path).get("sources", {}))


def _text_table(path: Path, table: Any) -> dict[str, str]:
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise MapError("H106", f"{path}: [sources] must hold texts: what each key stands for.")
    return dict(table)


def _scalars(path: Path, tables: dict[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for group, table in tables.items():
        if group in TOP:
            continue
        if group == "cost_profiles":
            for profile, fields in table.items():
                yield from _group(path, f"{group}.{profile}", fields, PROFILE)
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
        _check_value(path, f"{group}.{name}", scalar, known[name][0])
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


def _check_value(path: Path, name: str, scalar: Scalar, unit: str) -> None:
    if scalar.unit != unit:
        raise MapError("H105", f"{path}: '{name}' has unit '{scalar.unit}', expected '{unit}'.")
    if (scalar.value is None) != (scalar.kind == "unpublished"):
        raise MapError("H106", f"{path}: '{name}' is {scalar.kind} and has {'no' if scalar.value is None else 'a'} "
                               f"value.", 'A field without a value has kind = "unpublished", and only such a field.')
    if scalar.kind in ("published", "derived") and scalar.basis is None:
        raise MapError("H104", f"{path}: '{name}' has no basis.", f"Expected one of {', '.join(get_args(Basis))}.")
    if scalar.value is not None:
        _check_type(path, name, scalar, unit)


def _check_type(path: Path, name: str, scalar: Scalar, unit: str) -> None:
    expected: Any = NUMBERS_AS_TEXT.get(unit, (int, float))
    wrong = not isinstance(scalar.value, expected) or isinstance(scalar.value, bool)
    if not wrong and unit == "flag":
        wrong = scalar.value not in (0, 1)
    if not wrong and isinstance(scalar.value, float):
        wrong = math.isnan(scalar.value)
    if wrong:
        names = {"flag": "0 or 1", "names": "a list of names", "text": "a text"}
        raise MapError("H106", f"{path}: '{name}' = {scalar.value!r}, expected {names.get(unit, 'a number')}.")


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
