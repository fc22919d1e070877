"""Tables as TOML text: what `experiment.toml` in a run folder holds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any


def toml_text(table: Mapping[str, Any]) -> str:
    """Canonical TOML: simple values first, then the sub-tables; None and empty tables are left out."""
    return "\n".join(_lines(table, "")).strip() + "\n"


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    kept = {key: value for key, value in table.items() if not _empty(value)}
    simple = {key: value for key, value in kept.items() if not isinstance(value, Mapping)}
    if path and (simple or not kept):
        yield f"\n[{path}]"
    yield from (f"{_key(key)} = {_value(value)}" for key, value in simple.items())
    for key, value in kept.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{path}.{_key(key)}" if path else _key(key))


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, Mapping) and not value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    return str(value)
