"""The task `generate` (specs/error_neuron.md 8.4): from a digit's name, one of ten inputs, to its image.

The image of a digit is its first one among the training images of a data set (MNIST); the digits are presented in the
order in which they first occur. The same ten are validation and test. No step is skipped, and nothing is shuffled.

X120 data that do not fit the circuit.
"""

from __future__ import annotations

import numpy as np

from cortexc.compiler.experiments.data.datasets import load_dataset
from cortexc.compiler.experiments.tables import Setting
from cortexc.compiler.experiments.tasks.base import Reset, Teacher
from cortexc.compiler.experiments.tasks.plans import Plan, columns
from cortexc.compiler.experiments.tasks.teacher_student import PARTS, Following
from cortexc.compiler.ir import CortexError, Graph


class Generate(Following, frozen=True, tag="generate"):
    reads = ("name", "split", "folder", "limits")

    reset: Reset = "none"

    def plan(self, setting: Setting, graph: Graph, teacher: Teacher | None) -> Plan:
        """Raises D401 to D406 for the data, X120, X122."""
        data = setting.data
        found = load_dataset(data.name or "mnist", split=data.split, data_dir=data.folder or None, limits=data.limits)
        images, labels = found.require("train")
        _, first = np.unique(labels, return_index=True)
        shown = np.sort(first)
        names = np.eye(found.classes)[labels[shown]]
        sizes = [column.size for column in columns(graph)[:2]]
        if sizes != [found.classes, found.n_in]:
            raise CortexError("X120", f"circuit '{graph.name}' has exogenous inputs of {sizes} cells; task generate "
                                      f"with '{found.name}' needs {found.classes} inputs and {found.n_in} outputs.",
                              f"Set model.layers = [{found.classes}, n, {found.n_in}].")
        inputs, targets = (np.tile(array, (len(PARTS), 1)) for array in (names, images[shown]))
        return self.following(setting, graph, inputs, targets, f"first images of {found.name}", 0)
