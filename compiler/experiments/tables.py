"""The typed tables of an experiment, but for that of its task (`tasks/`). Lengths are in network steps unless a name
says otherwise."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal

import msgspec

_CONVERTING = threading.Lock()


def converted(value: Any, wanted: Any) -> Any:
    """The value as the type that is wanted. Raises msgspec.ValidationError.

    One thread at a time: msgspec crashes where two meet a type for the first time.
    """
    with _CONVERTING:
        return msgspec.convert(value, wanted)


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Up to what float64 still counts."""
Seed = Annotated[int, msgspec.Meta(ge=0)]
Length = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
Epochs = Annotated[int, msgspec.Meta(ge=0, le=10**6)]
Samples = Annotated[int, msgspec.Meta(ge=0, le=10**7)]
"""Beyond them, patterns, orders or samples of a run would not fit into memory."""
Range = tuple[float, float]


class Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table of an experiment; an unknown key is an error."""


class Model(Table, frozen=True):
    """`circuit`: a shipped name, an IR text file, or `my_circuit.py:build`. `options`: the circuit's own keys.

    `start` and `ranges` choose the first weights of a shipped circuit; `arrays` is a file (.npz or .safetensors)
    whose arrays replace them. `variants`: variant -> keys that it changes, applied when it is chosen; those of other
    tables are written `"record.angles.every"`.
    """

    circuit: str = "pal"
    start: str = "zero"
    ranges: dict[str, Range] = {}
    arrays: str = ""
    variants: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}


class Data(Table, frozen=True):
    """Where the samples come from. `name`: a shipped set or a user's .npz or .csv file with labels, whole numbers or
    words (classes in sorted order; results.json has them).

    `target`: voltages [of the right class, of the others]. `normalise`: (mean, deviation) taken off the inputs.
    `crop`: pixels cut off at every edge of square grey images.
    `split_seed`: one, or one per seed of the run. `into` and `target_into` name the exogenous inputs
    (`population.input`); by default the circuit's first and second. `inputs` and `path` are for the task `stream`:
    arrays by exogenous input, static (n,) or (T, n), or "FILE.npz:key".
    """

    name: str = ""
    split: str | None = None
    split_seed: Count | list[Count] = 0
    limits: dict[str, Count] = {}
    valid_fraction: float = 0.0
    folder: str = ""
    target: tuple[float, float] = (1.0, 0.1)
    normalise: tuple[float, float] | None = None
    crop: Count = 0
    into: str = ""
    target_into: str = ""
    path: str = ""
    inputs: dict[str, Any] = {}


class Run(Table, frozen=True):
    """How it runs. `backend`: `native32` is native in single precision. `block_ms`: aimed duration of a block.
    `until_epoch`: stop after that epoch (0: at the end).
    `noise`: the kind of the noise streams, "" as the circuit says (counter). `hardware`: the map whose cores are the
    processes of the granularity `neurocore`. `stock`: what Lava's own LIF, Dense and LearningDense compute to the bit
    is run by them (backend lava, granularity population; no checkpoints). `threads`: how many share each step of a
    network in one group, to the same bits (in C; a warning says where one has to do)."""

    seeds: Annotated[list[Seed], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: [0])
    backend: Literal["lava", "native", "interpreter", "native32"] = "lava"
    granularity: Literal["population", "area", "network", "neurocore"] = "network"
    hardware: str = ""
    block_ms: Annotated[float, msgspec.Meta(gt=0, le=250)] = 50.0
    noise: Literal["", "counter", "legacy"] = ""
    stock: bool = False
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    until_epoch: Count = 0
    checkpoint_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0

    def __post_init__(self) -> None:
        if max(self.seeds) >= 2**64:  # more than msgspec's limits can say
            raise ValueError(f"seeds must be below 2**64, got {max(self.seeds)}")


class Passes(Table, frozen=True):
    disable: list[str] = []


class Precision(Table, frozen=True):
    """Fixed point. `weights` 0: everything stays float64. Other widths in bits: see `compiler.passes.quantise.Widths`.

    `formats`: those of single quantities, `"PC1.u" = "24.16"` (bits with the sign, and fraction bits), or of all whose
    name fits, `"B*.w" = "12"` (12 bits with the sign, the range that of the calibration run).
    `calibration_steps`: how much of the run tells the ranges, in float. `map`: rules are made legal on it first;
    `credit`: where the neuron sums for the synapse (see `compiler.passes.legalise.CREDIT`). `count`: quantities count
    the steps in which they saturate. `groups`: units that a projection's weights may have: 1, or "auto" for as many as
    its spread takes, or a number for every projection of which a weight would become 0
    (see `cortexc.compiler.passes.group_weights`).
    """

    weights: Annotated[int, msgspec.Meta(ge=0, le=24)] = 0
    states: Annotated[int, msgspec.Meta(ge=4, le=32)] = 24
    messages: Annotated[int, msgspec.Meta(ge=2, le=32)] = 8
    factors: Annotated[int, msgspec.Meta(ge=2, le=32)] = 8
    tags: Annotated[int, msgspec.Meta(ge=2, le=32)] = 9
    tables: Annotated[int, msgspec.Meta(ge=2, le=16)] = 10
    values: Annotated[int, msgspec.Meta(ge=2, le=32)] = 16
    coefficients: Annotated[int, msgspec.Meta(ge=1, le=24)] = 12
    rounding: Literal["stochastic", "shared", "lava", "nearest"] = "stochastic"
    factor_rounding: Literal["nearest", "stochastic"] = "nearest"
    formats: dict[str, str] = {}
    calibration_steps: Count = 20000
    map: str = ""
    credit: Literal["held", "settled", "never"] = "held"
    count: bool = False
    groups: Annotated[int, msgspec.Meta(ge=1, le=16)] | Literal["auto"] = 1


class RecordTable(Table, frozen=True):
    """A recording: every `every` steps of a phase after `offset`; or at the steps `at` of each presentation
    (negative: from its end); or once, `at_end` of each phase. `phases`: only in these (default: in all).

    `quantities` are names such as `P0.rate` or `WPP_0.w`. `angles`: pairs of weights (B, W), recorded too, whose
    angle between B and the transpose of W is reported. `errors`: pairs of states whose squared difference is.
    `events`: of quantities of cells only what is not 0 is kept, with its step and cell; `cells`: only so many cells of
    each are, spread evenly. Neither ever lies in memory for all steps and cells.
    """

    quantities: list[str] = []
    angles: list[tuple[str, str]] = []
    errors: list[tuple[str, str]] = []
    every: Count = 0
    offset: Count = 0
    at: list[int] = []
    at_end: bool = False
    events: bool = False
    cells: Count = 0
    phases: list[str] = []

    @property
    def recorded(self) -> tuple[str, ...]:
        """All quantities of the stream, each once."""
        pairs = [name for pair in (*self.angles, *self.errors) for name in pair]
        return tuple(dict.fromkeys([*self.quantities, *pairs]))


class Setting(Table, frozen=True):
    """What a task is made for: a circuit, data and seeds. Paths are absolute, the variant's keys are in
    `model.options`."""

    name: str
    description: str = ""
    model: Model = Model()
    data: Data = Data()
    run: Run = Run()
