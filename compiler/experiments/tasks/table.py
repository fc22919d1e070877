"""The tasks, in one table: the only place that names them all."""

from __future__ import annotations

from typing import Union, get_args

from cortexc.compiler.experiments.tasks.autoencode import Autoencode
from cortexc.compiler.experiments.tasks.base import Task
from cortexc.compiler.experiments.tasks.classify import Classify
from cortexc.compiler.experiments.tasks.conditioning import Conditioning
from cortexc.compiler.experiments.tasks.control import Control
from cortexc.compiler.experiments.tasks.evidence import Evidence
from cortexc.compiler.experiments.tasks.generate import Generate
from cortexc.compiler.experiments.tasks.match_to_sample import MatchToSample
from cortexc.compiler.experiments.tasks.published import BwOnly, FwBw
from cortexc.compiler.experiments.tasks.simulate import Simulate
from cortexc.compiler.experiments.tasks.stream import Stream
from cortexc.compiler.experiments.tasks.teacher_student import TeacherStudent
from cortexc.compiler.experiments.tasks.unsupervised import Unsupervised

ProtocolTable = Union[  # noqa: UP007
    Classify, BwOnly, FwBw, TeacherStudent, MatchToSample, Control, Generate, Stream, Simulate, Unsupervised, Evidence,
    Conditioning, Autoencode]
TASKS: dict[str, type[Task]] = {str(task.__struct_config__.tag): task for task in get_args(ProtocolTable)}
"""Name -> table of [protocol]."""
