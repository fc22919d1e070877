"""The typed tables of an experiment. Lengths are in network steps unless a name says otherwise."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Annotated, Any, Literal

import msgspec

from compiler.experiments.toml_text import toml_text

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
    whose arrays replace them. `variants`: variant -> keys that it changes, applied when it is chosen.
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


class ProtocolTable(Table, frozen=True):
    """What happens when; all lengths are in network steps.

    `classify`: per epoch a validation (before it) and a shuffled training phase, a test at the end and after every
    `test_every` epochs. `bw_only`, `fw_bw`: the published tasks (specs/pal.md 4). `stream`: the user's own arrays.
    `readout`: steps of a presentation at which the output is read; by default the last four of five instants.
    `train_gates`, `test_gates`: the gates that are on. `learning_lag`: steps at the start of a presentation in
    which rules do not learn (`classify`), so that the new sample can reach all layers. `halve_at`: epochs (0-based)
    from which on all rules learn half as fast as before (`classify`). `update_every`: increments of rules without an
    optimiser or with a low-pass are summed at the synapse and applied after every so many presentations (`classify`;
    0: as the rule says). `reset`: what is as before the first step at the start of every presentation: "none",
    "states" (those of all populations, with what is on its way from them), or names of populations, of their states
    (`B.v`), or of a synapse's states (`W.trace`); weights stay. `minibatch`: samples that
    are shown at once and share the weights (`classify`). `teacher`: ranges of the teacher's weights (`fw_bw`,
    `teacher_student`). `teacher_student`: a net of the same layers teaches (specs/error_neuron.md 7);
    `input_range`: of its inputs; `teacher_activation`, or a linear teacher by its matrix, outputs by inputs;
    `feedback_every`: of so many presentations the last is for learned feedback alone, without target and forward
    learning (0: none, everything learns at once); `teacher_output`: whether the target is a rate or a voltage, by
    default as the circuit takes it; `validation_gates`: what stays on in validations. `match_to_sample`: trials
    with two cues (specs/error_neuron.md 8.2). `control`: teacher_student, and after every epoch the circuit
    controls a pole, for `control_moves` steps (0: as published) from starts drawn with `control_seed`. `generate`:
    from digits to images (section 8.4). `first_seed`: fixes inputs and teacher of the published tasks; by default
    it is the run's first.
    """

    task: Literal["classify", "bw_only", "fw_bw", "teacher_student", "match_to_sample", "control", "generate",
                  "stream"] = "stream"
    epochs: Epochs = 1
    presentation_steps: Length | None = None
    minibatch: Annotated[int, msgspec.Meta(ge=1, le=10**5)] = 1
    settling_steps: Count = 0
    dataset_size: Samples = 100
    readout: list[Count] = []
    train_gates: list[str] | None = None
    learning_lag: Count = 0
    halve_at: list[Count] = []
    update_every: Epochs = 0
    test_gates: list[str] | None = None
    reset: Literal["none", "states"] | list[str] = "none"
    shuffle: bool | None = None
    validation: Literal["", "train", "valid", "test"] = "valid"
    validation_every: Count | None = None
    validation_gates: list[str] = []
    test_every: Count = 0
    teacher: dict[str, Range] = {}
    teacher_activation: str = "tanh"
    teacher_matrix: list[list[float]] = []
    teacher_output: Literal["", "rate", "voltage"] = ""
    input_range: Range = (0.0, 1.0)
    feedback_every: Count = 0
    control_moves: Samples = 0
    control_seed: Seed = 0
    first_seed: Seed | None = None

    @property
    def resets(self) -> bool:
        """Whether a presentation resets anything."""
        return self.reset not in ("none", [])

    @property
    def steps(self) -> int:
        """Steps of one presentation: 100, or 1 for a stream."""
        return self.presentation_steps or (1 if self.task == "stream" else 100)


class Run(Table, frozen=True):
    """How it runs. `block_ms`: aimed duration of a block. `until_epoch`: stop after that epoch (0: at the end).
    `noise`: the kind of the noise streams, "" as the circuit says (counter). `hardware`: the map whose cores are the
    processes of the granularity `neurocore`. `stock`: what Lava's own LIF, Dense and LearningDense compute to the bit
    is run by them (backend lava, granularity population; no checkpoints)."""

    seeds: Annotated[list[Seed], msgspec.Meta(min_length=1)] = msgspec.field(default_factory=lambda: [0])
    backend: Literal["lava", "native", "interpreter"] = "lava"
    granularity: Literal["population", "area", "network", "neurocore"] = "network"
    hardware: str = ""
    block_ms: Annotated[float, msgspec.Meta(gt=0, le=250)] = 50.0
    noise: Literal["", "counter", "legacy"] = ""
    stock: bool = False
    until_epoch: Count = 0
    checkpoint_seconds: Annotated[float, msgspec.Meta(ge=0)] = 30.0


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
    (see `compiler.passes.group_weights`).
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
    """

    quantities: list[str] = []
    angles: list[tuple[str, str]] = []
    errors: list[tuple[str, str]] = []
    every: Count = 0
    offset: Count = 0
    at: list[int] = []
    at_end: bool = False
    phases: list[str] = []

    @property
    def recorded(self) -> tuple[str, ...]:
        """All quantities of the stream, each once."""
        pairs = [name for pair in (*self.angles, *self.errors) for name in pair]
        return tuple(dict.fromkeys([*self.quantities, *pairs]))


class Experiment(Table, frozen=True):
    """Everything that fixes a run, resolved: paths are absolute, the variant's keys are in `model.options`."""

    name: str
    description: str = ""
    model: Model = Model()
    data: Data = Data()
    protocol: ProtocolTable = ProtocolTable()
    run: Run = Run()
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
        return toml_text(self.tables())

    def sha256(self) -> str:
        """Digest of everything that the result depends on: not the backend, nor how far or how fast it runs."""
        tables = self.tables()
        tables["run"] = {key: tables["run"][key] for key in ("seeds", "noise")}
        del tables["description"], tables["name"]
        if not self.protocol.resets:  # as in digests from before there was this key
            del tables["protocol"]["reset"]
        if self.precision.groups == 1:  # likewise
            del tables["precision"]["groups"]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()

    def with_run(self, **changes: Any) -> Experiment:
        return msgspec.structs.replace(self, run=msgspec.structs.replace(self.run, **changes))


TABLES: dict[str, type[Table]] = {
    "model": Model, "data": Data, "protocol": ProtocolTable, "run": Run, "passes": Passes, "precision": Precision}
