"""Experiments, and how they are loaded: a TOML file, overrides, variants, and checks that name the key and what is
known.

X101 no such experiment; X102 not readable TOML; X103 an unknown key; X104 a value of the wrong type or range;
X105 an override that cannot be applied; X106 no such circuit; X107 an option that the circuit needs.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os.path import isfile
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from cortexc.compiler.experiments.files import shipped_experiments, user_path
from cortexc.compiler.experiments.tables import (
    Data,
    Model,
    Passes,
    Precision,
    RecordTable,
    Run,
    Setting,
    Table,
    converted,
)
from cortexc.compiler.experiments.tasks.table import TASKS, ProtocolTable, Stream
from cortexc.compiler.ir.errors import CortexError, check_type, unknown
from cortexc.compiler.microcircuits import CIRCUITS

EARLIER: dict[str, Any] = {
    "task": "stream", "epochs": 1, "presentation_steps": None, "minibatch": 1, "settling_steps": 0, "dataset_size": 100,
    "readout": [], "train_gates": None, "learning_lag": 0, "halve_at": [], "update_every": 0, "test_gates": None,
    "shuffle": None, "validation": "valid", "validation_every": None, "validation_gates": [], "test_every": 0,
    "teacher": {}, "teacher_activation": "tanh", "teacher_matrix": [], "teacher_output": "", "input_range": [0.0, 1.0],
    "feedback_every": 0, "control_moves": 0, "control_seed": 0, "first_seed": None, "reset": "none"}
"""The keys of all tasks from when they shared one table: run folders hold them, and digests are over them."""


class Experiment(Setting, frozen=True):
    """Everything that fixes a run, resolved."""

    protocol: ProtocolTable = Stream()
    passes: Passes = Passes()
    precision: Precision = Precision()
    record: dict[str, RecordTable] = {}

    def tables(self) -> dict[str, Any]:
        """Plain tables that `load_experiment` reads back to the same experiment."""
        tables = msgspec.to_builtins(self)
        options = tables["model"].pop("options")
        tables["model"] |= options
        return tables

    def text(self) -> str:
        """TOML; what is None is left out, as is a table of nothing."""
        import tomli_w

        return tomli_w.dumps(_written(self.tables()))

    def sha256(self) -> str:
        """Digest of everything that the result depends on: not the backend, nor how far or how fast it runs. A file
        counts by what it holds, wherever it lies."""
        tables = self.tables()
        for path in (*FILES, *NAMES_OR_FILES):
            table, _, key = path.partition(".")
            tables[table][key] = _held(tables[table][key])
        tables["data"] |= {"folder": "", "inputs": {k: _held(v) for k, v in tables["data"]["inputs"].items()}}
        tables["run"] = {key: tables["run"][key] for key in ("seeds", "noise")}
        tables["protocol"] = {**EARLIER, **tables["protocol"]}
        del tables["description"], tables["name"]
        if not self.protocol.resets:  # as in digests from before there was this key
            del tables["protocol"]["reset"]
        if not tables["protocol"].get("schedule"):  # likewise
            tables["protocol"].pop("schedule", None)
        for table in tables["record"].values():  # likewise
            for key in [key for key in ("events", "cells") if not table[key]]:
                del table[key]
        if self.precision.groups == 1:  # likewise
            del tables["precision"]["groups"]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()

    def in_float(self) -> Experiment:
        return msgspec.structs.replace(self, precision=msgspec.structs.replace(self.precision, weights=0))

    def with_run(self, **changes: Any) -> Experiment:
        return msgspec.structs.replace(self, run=msgspec.structs.replace(self.run, **changes))


def _held(value: Any) -> Any:
    """For the full path of a file, which `:function` or `:key` may follow, the digest of what it holds."""
    if isinstance(value, str):
        head, colon, rest = value.rpartition(":")
        for file, part in ((value, ""), (head, colon + rest)):
            if Path(file).is_absolute() and isfile(file):
                with suppress(OSError), open(file, "rb") as stream:  # what cannot be read is said where it is needed
                    digest = hashlib.sha256()
                    for chunk in iter(lambda: stream.read(2**20), b""):
                        digest.update(chunk)
                    return digest.hexdigest() + part
    return value


def _written(table: Mapping[str, Any]) -> dict[str, Any]:
    parts = {key: _written(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in parts.items() if value is not None and value != {}}


TABLES: dict[str, type[Table]] = {"model": Model, "data": Data, "run": Run, "passes": Passes, "precision": Precision}
"""The tables that every experiment can have, beside [protocol] and the recordings."""


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Converted = TypeVar("Converted")


CIRCUIT_FILES = (".ir", ".nir")
"""Files that are a circuit: an experiment of its own with every default."""


def load_experiment(source: str | Path | Mapping[str, Any],
                    overrides: Sequence[str] | Mapping[str, Any] = ()) -> Experiment:
    """A TOML file, the name of a shipped experiment or circuit, a run folder, a circuit's own file (`.ir`, `.nir`), or
    tables. Raises X101 to X107.

    `overrides`: `a.b=value` texts (value in TOML, bare words are strings), or a mapping of dotted names. File names
    start at the experiment's folder, those in overrides at the working folder.
    """
    tables, name, folder = _read(source)
    chosen = dict(overrides) if isinstance(overrides, Mapping) else dict(map(parse_override, overrides))
    for path, value in chosen.items():
        _assign(tables, path, _located(path, value, Path.cwd()))
    _choose_variant(tables, chosen)
    return _build(tables, name, folder)


def _read(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], str, Path]:
    if isinstance(source, Mapping):
        return _plain(source), "experiment", Path.cwd()
    check_type("load", source, (str, Path), "a file, a name, a folder or tables",
               "cortexc.simulate, train and verify take graphs and networks.")
    path = _find(str(source))
    if path.suffix in CIRCUIT_FILES:
        return {"model": {"circuit": str(path.resolve())}}, path.stem, Path.cwd()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CortexError("X101", f"cannot read experiment '{path}': {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CortexError("X102", f"experiment '{path}' is not TOML: {error}.") from None
    return tables, path.stem, path.resolve().parent


def _plain(value: Any) -> Any:
    """A copy of tables with lists for tuples and arrays."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _find(source: str) -> Path:
    path, shipped = user_path(source), shipped_experiments()
    if isfile(path / "experiment.toml"):
        return path / "experiment.toml"
    if isfile(path):
        return path
    if source in CIRCUITS and CIRCUITS[source].example in shipped:
        return shipped[CIRCUITS[source].example]
    if source in shipped:
        return shipped[source]
    near = difflib.get_close_matches(source, shipped, 1)
    known = ", ".join(shipped) or "none"
    raise CortexError("X101", f"no experiment '{source}': neither a TOML file, nor a run folder, nor one of the "
                              f"shipped ones ({known}).", f"Did you mean '{near[0]}'?" if near else "")


def parse_override(text: str) -> tuple[str, Any]:
    """The name and the value of an `a.b=value`. Raises X105."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise CortexError("X105", f"override '{text}' does not have the form a.b=value.")
    return path.strip(), parse_value(value.strip())


def parse_value(text: str) -> Any:
    """A TOML value; what is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError, RecursionError):
        return text


FILES, NAMES_OR_FILES = ("model.arrays", "data.path", "data.folder"), (
    "model.circuit", "data.name", "run.hardware", "precision.map")


def _located(path: str, value: Any, folder: Path) -> Any:
    """A key's value; if it names a file (one of `NAMES_OR_FILES` by a suffix or a separator), from the folder on."""
    if not isinstance(value, str) or not value:
        return value
    file = value.split(":", 1)[0]
    is_file = path in FILES or (path in NAMES_OR_FILES or path.startswith("data.inputs.")) and (
        Path(file).suffix or "/" in file)
    return str(folder / user_path(value)) if is_file else value


def _assign(tables: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".", 2) if path.startswith("data.inputs.") else path.split(".")
    if not parents and last not in ("name", "description"):
        raise CortexError("X105", f"override '{path}' names no key in a table.", "Write for example protocol.epochs=2.")
    table = tables
    for part in parents:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise CortexError("X105", f"override '{path}': '{part}' is a value, not a table.")
    table[last] = value


def _choose_variant(tables: dict[str, Any], chosen: Mapping[str, Any]) -> None:
    """The keys of the chosen variant, except those that were overridden by name."""
    model = tables.get("model", {})
    variants = model.pop("variants", {}) if isinstance(model, dict) else {}
    if not isinstance(variants, dict) or not all(isinstance(each, dict) for each in variants.values()):
        raise CortexError("X104", f"model.variants must be a table of tables, got {variants!r}.")
    if variants:
        for key, value in variants.get(str(model.get("variant")), {}).items():
            path = key if "." in key else f"model.{key}"
            if path not in chosen:
                _assign(tables, path, value)


def _build(tables: dict[str, Any], name: str, folder: Path) -> Experiment:
    _check_keys("", tables, {*TABLES, "protocol", "name", "description", "record"})
    _check_numbers(tables, "")
    for key in (*TABLES, "protocol"):
        if not isinstance(tables.setdefault(key, {}), dict):
            raise CortexError("X104", f"'{key}' must be a table, got {tables[key]!r}.")
        if key in TABLES and key != "model":
            _check_keys(key, tables[key], TABLES[key].__struct_fields__)
    tables["model"] = _with_options(tables["model"])
    tables["protocol"] = _own_keys(tables["protocol"])
    if isinstance(tables.get("record"), dict):
        for stream, table in tables["record"].items():
            _check_keys(f"record.{stream}", table if isinstance(table, dict) else {}, RecordTable.__struct_fields__)
            _convert(table, RecordTable, f"record.{stream}")
    return _resolve(_convert({"name": name, **tables}, Experiment), folder)


def _own_keys(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the task's own table; those that it had with all others, at their defaults, are left out."""
    task = _convert(protocol.get("task", EARLIER["task"]), Literal[tuple(TASKS)], "protocol.task")  # type: ignore
    known = ("task", *TASKS[task].__struct_fields__)
    table = {"task": task} | {key: value for key, value in protocol.items()
                              if key in known or key not in EARLIER or value != EARLIER[key]}
    for key in table:
        if key not in known:
            error = unknown("X103", f"key in [protocol] of task '{task}'", key, known)
            having = [name for name, struct in TASKS.items() if key in struct.__struct_fields__]
            raise CortexError("X103", error.message, f"It is a key of {', '.join(having)}." if having else error.hint)
    _convert(table, TASKS[task], "protocol")
    return table


def _convert(table: Any, struct: type[Converted], path: str = "") -> Converted:
    """Raises X104 with the path of the value, and the known ones where there are few."""
    try:
        found: Converted = converted(table, struct)
        return found
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        place = (path + where.rstrip("`").replace("options.", "")).strip(".") or "the experiment"
        hint: Any = struct
        for part in re.findall(r"\w+", where):
            hint = get_type_hints(hint).get(part) if hasattr(hint, "__struct_fields__") else None
        choices = [each for each in (hint, *get_args(hint)) if get_origin(each) is Literal]
        known = f"Known: {', '.join(filter(None, get_args(choices[0])))}." if choices else ""
        raise CortexError("X104", f"{place}: {what[0].lower()}{what[1:]}.", known) from None


def _check_keys(path: str, table: Mapping[str, Any], known: Any) -> None:
    for key in table:
        if key not in known:
            raise unknown("X103", f"key in [{path}]" if path else "table or key of an experiment", key, known)


def _check_numbers(value: Any, path: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise CortexError("X104", f"{path} is {value}; only finite numbers can be used.")
    if isinstance(value, dict):
        for key, part in value.items():
            _check_numbers(part, f"{path}.{key}".lstrip("."))
    for index, part in enumerate(value if isinstance(value, list) else ()):
        _check_numbers(part, f"{path}[{index}]")


RESERVED = ("arrays", "noise")
"""Fields of a shipped circuit that the experiment sets itself."""


def _with_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """The circuit's own keys go to `options`; those of a shipped circuit are checked and converted."""
    own = set(Model.__struct_fields__) - {"options"}
    table = {key: value for key, value in model.items() if key in own}
    options, name = {key: value for key, value in model.items() if key not in own}, table.get("circuit", "pal")
    if not isinstance(name, str) or name not in CIRCUITS:
        return {**table, "options": options}
    hints = {k: v for k, v in get_type_hints(CIRCUITS[name].options_class()).items() if k not in RESERVED}
    for key, value in options.items():
        if key not in hints:
            raise unknown("X103", f"key in [model] of circuit '{name}'", key, {*hints, *own})
        many = str(hints[key]).startswith("tuple") and not isinstance(value, list)
        options[key] = _plain(_convert([value] if many else value, hints[key], f"model.{key}"))
    return {**table, "options": options}


def _resolve(experiment: Experiment, folder: Path) -> Experiment:
    """Absolute paths. The circuit is there, and its required options are."""
    model = experiment.model
    if model.circuit in CIRCUITS:
        for field in dataclasses.fields(CIRCUITS[model.circuit].options_class()):
            needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if needed and field.name not in model.options:
                raise CortexError("X107", f"[model] gives no '{field.name}', which circuit '{model.circuit}' needs.")
    elif not model.circuit.endswith(CIRCUIT_FILES) and ".py:" not in model.circuit:
        raise unknown("X106", "circuit", model.circuit, [*CIRCUITS, "FILE.ir", "FILE.nir", "FILE.py:build"])
    data_folder = Path(_located("data.folder", experiment.data.folder, folder) or folder)
    changes: dict[str, dict[str, Any]] = {}
    for path in (*FILES, *NAMES_OR_FILES):
        table, _, key = path.partition(".")
        value = getattr(getattr(experiment, table), key)
        place = data_folder if path == "data.name" else folder
        changes.setdefault(table, {})[key] = _located(path, value, place)
    inputs = experiment.data.inputs.items()
    changes["data"]["inputs"] = {key: _located(f"data.inputs.{key}", value, folder) for key, value in inputs}
    return msgspec.structs.replace(experiment, **{
        table: msgspec.structs.replace(getattr(experiment, table), **own) for table, own in changes.items()})

