"""What the quantised error-neuron circuit and the models that it is compared with have in common, in torch int64.

"Item" is of docs/fixed_point.md, "section" of the error-neuron specification. Quantities of an area, counted from 0:
drive (u_eff), breve (u˘), rate, basal (v_bas), error (of the forward rule), and predicted (phi of c v_bas, where the
forward rule has it); input_in, input, target_in, shown and target of the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from reference.error_neuron_parameters import ACTIVATIONS, ErrorNeuronParameters
from reference.integers import Exact, IntegerCircuit


class IntegerAreas(IntegerCircuit):
    """registers: see `IntegerCircuit`, and `wiring`: `copies`, (feedback name, forward name, fixed error as {units,
    fraction}) of every copy. target_delay: steps by which a target comes later. seeds: of the random numbers, one per
    network."""

    def __init__(
        self, parameters: ErrorNeuronParameters, registers: Mapping[str, Any], seeds: Sequence[int],
        target_delay: int = 0,
    ) -> None:
        super().__init__(registers, seeds)
        self.parameters, self.areas, self.target_delay = parameters, parameters.areas, target_delay
        self.copies = [(back, forward, Exact(**noise)) for back, forward, noise in registers["wiring"]["copies"]]
        self.late_targets: list[Exact] = []

    def source_constants(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"input": [1], "target": [1]}
        return found | ({"shown": [1], "target": [1, 1]} if self.target_delay else {})

    @staticmethod
    def activated(activation: str, attenuation: float, potential: Tensor) -> Tensor:
        """phi of an attenuated potential."""
        return ACTIVATIONS[activation](attenuation * potential, 1, 0)

    @staticmethod
    def source(area: int) -> str:
        """What an area sends up; -1 is the input."""
        return "input" if area < 0 else f"rate_{area}"

    def wait_for_targets(self) -> None:
        """Before the first step: targets that were never shown are 0."""
        self.late_targets = [self.now["target"]] * self.target_delay

    def enter_sources(self, r0: Tensor, target: Tensor, undelayed: bool) -> None:
        """r_0, and the target of `target_delay` steps ago unless `undelayed`."""
        self.keep("input", self.enter("input_in", r0))
        entered = self.enter("target_in", target)
        shown = self.keep("shown", entered) if self.target_delay else entered
        self.late_targets.append(shown)
        late = self.late_targets.pop(0)
        self.keep("target", shown if undelayed else late)

    def part(self, name: str, value: Exact) -> Exact:
        """Part of a product, which is a quantity of its own where it has an equation (item 3)."""
        return self.keep(name, value) if name in self.coefficients else value

    def two(self, name: str, first: Exact, second: Exact) -> None:
        """A sum of two terms with their coefficients."""
        self.keep(name, self.factor_of(name, 0) * first + self.factor_of(name, 1) * second)

    def compare(self, i: int) -> None:
        """u˘ - c v_bas of the step before, or phi of both (section 4)."""
        name, basal = f"error_{i}", self.before[f"basal_{i}"]
        if f"predicted_{i}" in self.tables:
            self.keep(name, self.now[f"rate_{i}"] - self.function(f"predicted_{i}", basal))
        else:
            self.keep(name, self.now[f"breve_{i}"] + self.factor_of(name, 1) * basal)

    def copy_feedback(self) -> None:
        """Item 7 of a step: B = W^T + N from W before its increment (item 10)."""
        for back, forward, noise in self.copies:
            self.synapses[back].copy(self.synapses[forward].weights.turned + noise)

    def hebbian(self, name: str, post: str, pre: Exact, learns: bool, applies: bool, late: bool = False) -> None:
        """post of this step, or of the last one, x what the rule reads of the presynaptic cell."""
        value = (self.before if late else self.now)[post]
        if self.synapses[name].kind == "credited":
            factor = self.collect_credit(name, value, learns, applies)
        else:
            factor = self.formed(name, value, self.read(post, late))
        self.learn(name, [self.outer(factor, pre)], learns, applies)
