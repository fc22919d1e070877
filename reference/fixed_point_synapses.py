"""Projections in fixed point: items 6 to 11 of docs/fixed_point.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cortexc.reference.equations import Tree, folded, leaves, number, put, terms, times, undivided
from cortexc.reference.feature_maps import Maps
from cortexc.reference.fixed_point_values import Memory, value_of
from cortexc.reference.integers import HALF, LAVA, NOTHING, Exact, Register, uniform

MATRICES, WIRES = ("dense", "masked", "blocks"), ("one_to_one", "identity")
BOUNDS = {"free": (-math.inf, math.inf), "non_negative": (0.0, math.inf), "non_positive": (-math.inf, 0.0)}


class Projection:
    """One projection: weights (S, post, pre) or as they lie, the tag of its rule's optimiser, the states of the rule,
    and what a step does to them."""

    def __init__(self, memory: Memory, place: int, data: Mapping[str, Any], synapse: Mapping[str, Any],
                 rules: Mapping[str, Any]) -> None:
        self.memory, self.place, self.name = memory, place, data["name"]
        self.kind, self.port, self.message = synapse["connectivity"], synapse["port"], synapse["message"]
        self.pre, self.post, self.data = data["pre"], data["post"], data
        self.maps = Maps(data["convolution"], self.kind) if data["convolution"] else None
        if not self.maps and self.kind not in (*MATRICES, *WIRES):
            raise ValueError(f"connectivity {self.kind}")
        sender = memory.populations[self.pre]
        at_the_end = self.message in sender.same_step or self.message in sender.data["late"]
        self.age = data["delay"] if at_the_end else max(data["delay"] - 1, 0)
        self.rule, self.depth = rules[synapse["rule"]] if synapse["rule"] else None, self.age
        self.tag: Exact | None = None
        self.states: dict[str, Exact] = {}
        self.updates: dict[str, Tree] = {}
        if self.kind != "identity":
            self._begin(synapse)
        if self.rule:
            self._prepare(self.rule)

    # ---- before the first step

    def _begin(self, synapse: Mapping[str, Any]) -> None:
        """Weights within the format's and the class's limits."""
        self.register, low, high = self.memory.formats.weights[self.name]
        bounds = zip(BOUNDS[synapse["sign"]], synapse["limits"], strict=True)
        least, most = (pick(pair) * 2.0**self.register.fraction for pick, pair in zip((max, min), bounds, strict=True))
        self.low, self.high = math.ceil(max(low, least)), math.floor(min(high, most))
        array, self.mask = self.memory.array(f"{self.name}.w"), self._mask()
        assert array is not None
        self.rank = len(self.maps.shape) if self.maps else 1 if self.kind == "one_to_one" else 2
        units = self.register.entering(self._copies(array)).units.clamp(self.low, self.high)
        self.weights = Exact(units if self.mask is None else units * self.mask, self.register.fraction)
        self.index = torch.arange(math.prod(units.shape[1:])).view(units.shape[1:])

    def _copies(self, array: Tensor) -> Tensor:
        """A network each."""
        array = array if array.ndim > self.rank else array.unsqueeze(0)
        return array.expand(len(self.memory.seeds), *array.shape[1:])

    def _mask(self) -> Tensor | None:
        """1 where there is a synapse."""
        given = self.memory.array(f"{self.name}.mask")
        if given is not None and (self.kind == "masked" or self.maps):
            return (given != 0).to(torch.int64)
        if self.kind != "blocks" or not self.data["blocks"]:
            return None
        post, pre, pairs = self.data["blocks"]
        rows = [torch.cat([torch.full((m, n), int((i, j) in pairs)) for j, n in enumerate(pre)], 1)
                for i, m in enumerate(post)]
        return torch.cat(rows)

    def _prepare(self, rule: Mapping[str, Any]) -> None:
        """The rule's sums of products, in units of the weight where it has no tag (items 7 and 8)."""
        self.optimiser, bits = rule["optimiser"]["kind"], self.memory.options.significant
        if self.optimiser not in ("none", "low_pass", "accumulate") or rule["noise"] or self.maps:
            raise ValueError(f"rule {rule['name']} between maps, with draws, or through {self.optimiser}")
        known = self._numbers(rule)
        increment, *arguments = (undivided(folded(put(e, known))) for e in (
            rule["increment"], *rule["optimiser"]["arguments"]))
        self.leak: Tree = ("Number", 0.0)
        for rate in arguments:
            self.leak, increment = terms(rate, bits), ("Binary", "*", rate, increment)
        scale = 2.0**self.register.fraction if self.optimiser == "none" else 1.0
        self.products = terms(times(scale, increment), bits)
        self.updates = {u["name"]: terms(undivided(folded(put(u["expression"], known))), bits) for u in rule["updates"]}
        read = [leaf for e in (self.products, *self.updates.values()) for leaf in leaves(e)]
        self.depth = max([self.depth, *(leaf[2] for leaf in read if leaf[0] == "Prev")])
        self.states = {s["name"]: self._first(s["name"], folded(put(s["initial"], known))) for s in rule["states"]}
        if self.optimiser != "none":
            self.tag = self._first("tag", ("Number", 0.0), self.optimiser)
        own = ("Call", "", (self.products, self.leak, *self.updates.values()))
        self.memory.formats.check(self.name, own, bits, *([] if self.tag is None else [2.0**self.register.fraction]))

    def _first(self, name: str, initial: Tree, array: str = "") -> Exact:
        """Before the first step: as bound, or the same for all synapses."""
        bound = self.memory.array(f"{self.name}.{array or name}")
        same = torch.full(self.index.shape, number(initial) or 0.0, dtype=torch.float64)
        return self._register(name).entering(self._copies(same if bound is None else bound))

    def _register(self, name: str) -> Register:
        return self.memory.formats.rounded[f"{self.name}.{name}"]

    def _numbers(self, rule: Mapping[str, Any]) -> dict[str, Tree]:
        """Parameters of the rule and of both cells."""
        found = {"dt": self.memory.circuit["dt"]} | {p["name"]: p["default"] for p in rule["parameters"]}
        found |= dict(self.data["parameters"])
        for side, owner in (("pre", self.pre), ("post", self.post)):
            found |= {f"{side}.{name}": value for name, value in self.memory.populations[owner].numbers.items()}
        return {name: ("Number", value) for name, value in found.items()}

    # ---- a step

    def current(self) -> Exact:
        """The exact sum over the presynaptic cells; one without weights carries the whole quantity (item 6)."""
        key = f"{self.name}.current"
        if key not in self.memory.now:
            message = self._message()
            self.memory.now[key] = message if self.kind == "identity" else self._deliver(message)
        return self.memory.now[key]

    def _message(self) -> Exact:
        if self.age == 0:
            self.memory.populations[self.pre].get(self.message)
        values = self.memory.past[self.age - 1] if self.age else self.memory.now
        key = f"{self.pre}.{self.message}"
        return values[key] if self.kind == "identity" else values.get(f"{key}_sent", values[key])

    def _deliver(self, message: Exact) -> Exact:
        w, fraction = self.weights.units, self.weights.fraction + message.fraction
        if self.maps:
            return self.maps.deliver(self.weights, message)
        if self.kind == "one_to_one":
            return Exact(w * message.units, fraction)
        return Exact((w * message.units.unsqueeze(1)).sum(-1), fraction)

    def _look(self, leaf: Tree) -> Exact:
        """What the rule reads, along the weights' axes."""
        name = leaf[1]
        if name.startswith("gate."):
            return self.memory.gates[name[5:]]
        if name == "w":
            return self.weights
        if name in self.states:
            return self.before[name] if leaf[0] == "Prev" else self.states[name]
        side, _, quantity = name.partition(".")
        value = self._read(side, quantity, leaf[2] if leaf[0] == "Prev" else 0)
        return value if self.kind == "one_to_one" else value.axis(1 if side == "pre" else 2)

    def _read(self, side: str, quantity: str, age: int) -> Exact:
        """The copy for rules, or the one that the synapse gets anyway (item 6)."""
        owner, options = self.pre if side == "pre" else self.post, self.memory.options
        sent = side == "pre" and quantity == self.message and options.messages <= options.factors
        copy = f"{owner}.{quantity}_{'sent' if sent else 'factor'}"
        values = self.memory.past[age - 1] if age else self.memory.now
        if copy in values:
            return values[copy]
        return values[f"{owner}.{quantity}"] if age else self.memory.populations[owner].get(quantity)

    def increment(self) -> Exact:
        """The sum of products; of a rule without a tag in units of the weight, before it is rounded. States come first,
        whatever the gates (item 11)."""
        self.before, first = dict(self.states), 1 if self.optimiser == "none" else 2
        for place, (name, update) in enumerate(self.updates.items(), first):
            value = self._register(name).rounded(value_of(update, self._look), self._random(place))
            self.states[name] = Exact(value.units.expand(len(self.memory.seeds), *self.index.shape), value.fraction)
        return value_of(self.products, self._look)

    def learn(self, increment: Exact) -> None:
        """Items 7 and 8."""
        learns = self.memory.on(self.data["gate"])
        if self.optimiser == "accumulate":
            self._sum_up(increment if learns else NOTHING, self.memory.on(self.data["apply"] or self.data["gate"]))
        elif learns:
            self._move(self._low_passed(increment) if self.tag else increment)

    def _low_passed(self, increment: Exact) -> Exact:
        assert self.tag is not None
        changed = self.tag - value_of(self.leak, self._look) * self.tag + increment
        self.tag = self._register("tag").rounded(changed, self._random(1))
        return self.tag.times_two_to(self.register.fraction)

    def _sum_up(self, increment: Exact, applies: bool) -> None:
        """The tag keeps the sum until it is applied."""
        assert self.tag is not None
        self.tag = self._register("tag").rounded(self.tag + increment, self._random(1))
        if applies:
            self._move(self.tag.times_two_to(self.register.fraction))
            self.tag = Exact(torch.zeros_like(self.tag.units), self.tag.fraction)

    def _random(self, number: int) -> Exact:
        """What rounding adds: number 0 `rounding`, then `tag_rounding` and those of its states, in every step."""
        rounding = self.memory.options.rounding
        if rounding == "nearest":
            return HALF
        if rounding == "lava":
            return LAVA.offset(self.memory.steps_done)
        index = self.index if rounding == "stochastic" else torch.zeros_like(self.index)
        return uniform(self.memory.seeds, 16 * self.place + number, self.memory.steps_done, index)

    def _move(self, in_units: Exact) -> None:
        """w := clip(w + floor(increment / unit + r)), in units."""
        moved = (in_units + self._random(0)).floor()
        moved = moved if self.mask is None else moved * self.mask
        self.weights = Exact((self.weights.units + moved).clamp(self.low, self.high), self.register.fraction)

    # ---- weight transport

    def take(self, w: Exact, operations: Sequence[str]) -> None:
        """The weights of another projection, in this one's unit (item 10). Raises ValueError for what is drawn."""
        words = [operation.partition(":") for operation in operations]
        for place, (word, _, name) in enumerate(words):
            multiplied = any(later == "times" for later, _, _ in words[place:])
            if word == "transpose":
                w = w.turned
            elif word == "negate":
                w = -w
            elif word == "truncate":
                w = self._cut(w)
            elif word == "sign":
                w = Exact(w.units.sign())
            elif word == "times":
                w = w * self._array(name, self.register.fraction - w.fraction)
            elif word == "add":
                w = w + self._array(name, w.fraction if multiplied else self.register.fraction)
            else:
                raise ValueError(f"a mirror with {word}")
        self.weights = Exact(self._copies(w.at(self.register.fraction)), self.register.fraction)

    def _cut(self, w: Exact) -> Exact:
        cut = torch.zeros(len(w.units), *self.weights.units.shape[1:], dtype=torch.int64)
        rows, columns = (min(pair) for pair in zip(w.units.shape[1:], cut.shape[1:], strict=True))
        cut[:, :rows, :columns] = w.units[:, :rows, :columns]
        return Exact(cut, w.fraction)

    def _array(self, name: str, fraction: int) -> Exact:
        """Rounded before the first step."""
        array = self.memory.array(name)
        assert array is not None
        return Register(fraction, 2**53).entering(array.clamp(*self.memory.formats.spans[name]))
