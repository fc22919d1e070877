"""An experiment: the tables of `tables.py` and that of its task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from cortexc.compiler.experiments.tables import Data, Model, Passes, Precision, RecordTable, Run, Setting, Table
from cortexc.compiler.experiments.tasks.table import ProtocolTable, Stream

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
        """Digest of everything that the result depends on: not the backend, nor how far or how fast it runs."""
        tables = self.tables()
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


def _written(table: Mapping[str, Any]) -> dict[str, Any]:
    parts = {key: _written(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in parts.items() if value is not None and value != {}}


TABLES: dict[str, type[Table]] = {"model": Model, "data": Data, "run": Run, "passes": Passes, "precision": Precision}
"""The tables that every experiment can have, beside [protocol] and the recordings."""
