"""A runner whose circuit has projections in groups, as if they were whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compiler.passes.group_weights import Parts


class Rejoined:
    """The runner of the lowered circuit; quantities of a projection that became groups are put together from theirs."""

    def __init__(self, runner: Any, parts: Parts):
        self.runner, self.parts = runner, parts

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    @property
    def records(self) -> RejoinedRecords:
        return RejoinedRecords(self)

    def value(self, quantity: str) -> np.ndarray:
        """A quantity now, in user shape. Raises KeyError."""
        return self.joined(quantity, self.runner.value)

    def joined(self, quantity: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        """The sum over the groups; a weight is 0 in all but its own."""
        owner, _, own = quantity.partition(".")
        if owner not in self.parts:
            return read(quantity)
        return np.asarray(sum(read(f"{part}.{own}") for part in self.parts[owner]))


class RejoinedRecords:
    """What was recorded, by the names as written."""

    def __init__(self, whole: Rejoined):
        self.whole, self.records = whole, whole.runner.records

    def rows(self, stream: str, quantity: str) -> np.ndarray:
        """As the runner's own records give it."""
        return self.whole.joined(quantity, lambda name: self.records.rows(stream, name))
