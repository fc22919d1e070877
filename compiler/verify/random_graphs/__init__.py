"""Random circuits with their stimulus: every feature of the language, in small.

`random_setup(choices)` asks `choices` for every decision, so that a property tester can shrink a failing circuit;
`RandomChoices(seed)` decides by a generator. `Kinds` says what circuits may hold: as it stands, values stay finite and
every backend runs the circuit.
"""

from compiler.verify.random_graphs.choices import Choices, Kinds, RandomChoices, maybe
from compiler.verify.random_graphs.circuits import random_circuit, random_setup
from compiler.verify.random_graphs.expressions import INTEGER, TAME, WILD, expression

__all__ = ["INTEGER", "TAME", "WILD", "Choices", "Kinds", "RandomChoices", "expression", "maybe", "random_circuit",
           "random_setup"]
