"""The tasks, in one table: the only place that names them all."""

from __future__ import annotations

from typing import Union, get_args

from compiler.experiments.tasks.base import Task
from compiler.experiments.tasks.classify import Classify
from compiler.experiments.tasks.conditioning import Conditioning
from compiler.experiments.tasks.control import Control
from compiler.experiments.tasks.evidence import Evidence
from compiler.experiments.tasks.generate import Generate
from compiler.experiments.tasks.match_to_sample import MatchToSample
from compiler.experiments.tasks.published import BwOnly, FwBw
from compiler.experiments.tasks.simulate import Simulate
from compiler.experiments.tasks.stream import Stream
from compiler.experiments.tasks.teacher_student import TeacherStudent
from compiler.experiments.tasks.unsupervised import Unsupervised

ProtocolTable = Union[  # noqa: UP007
    Classify, BwOnly, FwBw, TeacherStudent, MatchToSample, Control, Generate, Stream, Simulate, Unsupervised, Evidence,
    Conditioning]
TASKS: dict[str, type[Task]] = {str(task.__struct_config__.tag): task for task in get_args(ProtocolTable)}
"""Name -> table of [protocol]."""
