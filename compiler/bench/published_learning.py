"""published-learning: nets of published on-chip learning, their estimated cost beside the measured one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cortexc.compiler.bench import checked
from cortexc.compiler.mapping.published import comparison


def rows(options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per result and cost profile; the ratio is measured over estimated. Raises X182."""
    checked(options)
    return comparison()
