"""Trajectories that do not come from the compiler: the torch reference, and a user's own function.

The only file that knows the reference; torch is imported when it is asked for.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.backends.interpreter import Interpreter
from compiler.ir import CortexError, Graph, unknown
from compiler.ir.model import weight_copies, weight_shape
from compiler.microcircuits.pal import Pal
from compiler.verify.published_pal import pal_sources
from compiler.verify.recordings import Arrays, stimulus_chunks
from compiler.verify.runs import LONGEST_CHUNK, Chunk, Setup, Stimulus, blocks, missing, quantities

if TYPE_CHECKING:
    from reference.pal import PalParameters, PalState

UserReference = Callable[[Graph, Mapping[str, np.ndarray], int], Mapping[str, np.ndarray]]

RENAMED = {"use_activation": "dWPP_use_activation", "low_pass": "dWPP_low_pass"}
UNSHARED = {"noise", "arrays", "high_pass"}


def load_reference() -> Any:
    """The module `reference.pal`. Raises V121 where torch is not installed."""
    try:
        from reference import pal
    except ImportError as error:
        raise missing("reference", error) from None
    return pal


def pal_parameters(circuit: Pal, high_pass: bool = True) -> PalParameters:
    """The reference's parameters of a circuit description. Raises V122 for what it does not model."""
    values = {RENAMED.get(name, name): value for name, value in vars(circuit).items() if name not in UNSHARED}
    try:
        return load_reference().PalParameters(**values, pyr_hi_pass=high_pass)
    except ValueError as error:
        raise CortexError("V122", f"the independent reference has no such circuit: {error}.",
                          "Verify it against the interpreter: --reference interpreter.") from None


def pal_state(circuit: Pal, graph: Graph) -> PalState:
    """The reference's state before the first step, from the first values of the graph; (seeds, ...) each."""
    import torch

    start, pal = Interpreter(graph).values, load_reference()

    def layers(kind: str) -> list:
        names = [f"{kind}_{i}" for i in range(circuit.hidden + 1) if f"{kind}_{i}" in sources]
        values = [start[sources[name].quantity] for name in names if sources[name].quantity in start]
        return [torch.from_numpy(np.ascontiguousarray(value)) for value in values]

    sources = {n: s for n, s in pal_sources(circuit).items() if s.kind == "now"}
    parameters, weights = pal_parameters(circuit), pal.Weights(*(layers(kind) for kind in pal.WEIGHTS))
    state = pal.fresh_state(parameters, layers("uP"), layers("uI"), weights)
    names = ("rP_breve", "rI_breve", "vbas", "vden", "vapi", "rP_breve_HI", "dWPP_LO")
    found = {pal.GOLDEN_NAMES[name]: layers(name) for name in names}
    noise = {"noise": [*layers("noise"), state.noise[-1]]} if layers("noise") else {}
    return replace(state, **{field: values for field, values in found.items() if values}, **noise)


def pal_trajectory(circuit: Pal, setup: Setup, steps: int | None = None, chunk: int = LONGEST_CHUNK,
                   high_pass: bool = True) -> Iterator[Chunk]:
    """The torch reference, fed with the very inputs, gates and draws of a setup; names as in the recordings, arrays
    (K, seeds, ...)."""
    import torch

    torch.set_num_threads(1)
    model = load_reference().PalReference(pal_parameters(circuit, high_pass), pal_state(circuit, setup.graph))
    stimulus = Stimulus(setup)
    for block in blocks(setup, steps, chunk):
        rows = []
        for t in range(len(block.gates)):
            model.step(*_arguments(circuit, *stimulus.step(block, t)))
            rows.append({name: value.numpy() for name, value in model.snapshot().items()})
        yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _arguments(circuit: Pal, inputs: Chunk, gates: Mapping[str, float], noise: Chunk) -> tuple:
    """Of one call of the reference. Raises V123 where noise and feedback learning differ: there they are one."""
    import torch

    if circuit.variant == "PAL" and (gates["noise"] > 0) != (gates["learn_feedback"] > 0):
        raise CortexError("V123", "gates 'noise' and 'learn_feedback' differ; in the independent reference noise is on "
                                  "exactly while feedback learns.", "Set both, or verify against the interpreter.")
    white = [torch.tensor(noise[f"P{i}.white"]) for i in range(circuit.hidden)] if noise else None
    target = torch.tensor(inputs["teacher.value"]) if gates["target"] > 0 else None
    learn = (gates[g] > 0 for g in ("learn_forward", "learn_lateral", "learn_feedback"))
    return (torch.tensor(inputs["input.value"]), target, *learn, white)


def pal_names(circuit: Pal, chunks: Iterator[Chunk], known: set[str]) -> Iterator[Chunk]:
    """The reference's trajectory under the graph's names; only quantities that the graph has."""
    table = {name: s.quantity for name, s in pal_sources(circuit).items() if s.kind == "now" and s.quantity in known}
    for chunk in chunks:
        yield {quantity: chunk[name] for name, quantity in table.items()}


def reference_arrays(circuit: Pal, steps: int = 200, seed: int = 1, high_pass: bool = True) -> Arrays:
    """A recording in the published format, made by the torch reference: other depths, sizes and options than those
    of the published simulator, inputs held for 5 steps, and learning gates that change independently of each other."""
    import torch

    torch.set_num_threads(1)
    pal, parameters, rng = load_reference(), pal_parameters(circuit, high_pass), np.random.default_rng(seed)
    model, hidden = pal.PalReference(parameters, pal.initial_state(parameters, seed)), circuit.layers[1:-1]
    held = [rng.integers(0, 2, -(-steps // 5)).repeat(5)[:steps] for _ in range(4)]
    arrays: Arrays = {"flags": np.stack(held[:3], axis=1).astype(bool), "evidence": np.array("independent-reference"),
                      "params_json": np.array(json.dumps(published_options(parameters)))}
    arrays["r0"] = rng.uniform(0, 1, (-(-steps // 5), circuit.layers[0])).repeat(5, axis=0)[:steps]
    arrays["u_tgt"] = np.where(held[3][:, None] > 0, rng.uniform(-1, 1, (steps, circuit.layers[-1])), np.nan)
    arrays |= {f"white_{i}": rng.normal(size=(steps, n)) for i, n in enumerate(hidden)}
    written = pal_sources(circuit)
    arrays |= {f"init_{name}": value.numpy()[0] for name, value in model.snapshot().items() if name in written}
    rows = []
    for t in range(steps):
        target = torch.tensor(arrays["u_tgt"][t:t + 1]) if held[3][t] else None
        white = [torch.tensor(arrays[f"white_{i}"][t:t + 1]) for i in range(len(hidden))]
        model.step(torch.tensor(arrays["r0"][t:t + 1]), target, *map(bool, arrays["flags"][t]), white)
        rows.append({name: value.numpy()[0] for name, value in model.snapshot().items() if name in written})
    return arrays | {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def published_options(parameters: PalParameters) -> dict[str, Any]:
    """The parameters under the names of the published configurations."""
    names = {"tau_xi": "tauxi", "tau_HP": "tauHP", "tau_LO": "tauLO", "sigma": "noise_scale", "variant": "model_type"}
    values = {field.name: getattr(parameters, field.name) for field in fields(parameters)}
    options = {names.get(name, name): value for name, value in values.items() if value is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


# ---- a user's own reference


def load_function(place: str) -> UserReference:
    """`FILE.py:function`. Raises V130 for a file or function that is not there, V131 where the file raises."""
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise CortexError("V130", f"reference '{place}': file '{file or place}' does not exist.",
                          "Write --reference FILE.py:function.")
    spec = importlib.util.spec_from_file_location(f"cortexc_reference_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise CortexError("V130", f"reference '{place}': '{file}' is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _raised(f"'{file}'", error) from error
    found = {key: value for key, value in vars(module).items() if callable(value)}
    if name not in found:
        raise unknown("V130", f"function in '{file}'", name, (key for key in found if not key.startswith("_")))
    return found[name]


def _raised(who: str, error: Exception) -> CortexError:
    trace, line = error.__traceback__, 0
    while trace:
        line, trace = trace.tb_lineno, trace.tb_next
    return CortexError("V131", f"reference {who} raised {type(error).__name__}: {error} (line {line}).")


def user_trajectory(function: UserReference, setup: Setup, steps: int) -> Iterator[Chunk]:
    """What `function(graph, inputs, steps)` returns, as one chunk.

    `inputs` holds inputs and draws `population.name` (steps, batch, n) and gates `gate.name` (steps,); a batch axis
    of 1 is left out there and may be left out in the answer. Raises V131 where it raises, V132 for what it returns.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for chunk in stimulus_chunks(setup, steps):
        for name, values in chunk.items():
            parts.setdefault(name, []).append(values[:, 0] if values.ndim > 1 and setup.graph.batch == 1 else values)
    who = f"'{getattr(function, '__name__', 'function')}'"
    try:
        answer = function(setup.graph, {name: np.concatenate(found) for name, found in parts.items()}, steps)
    except Exception as error:
        raise _raised(who, error) from error
    if not isinstance(answer, Mapping):
        raise CortexError("V132", f"reference {who} returned {type(answer).__name__}, not a dict of arrays.")
    known = set(quantities(setup.graph, increments=True))
    yield {name: _answer(who, name, values, known, setup, steps) for name, values in answer.items()}


def _answer(who: str, name: str, values: Any, known: set[str], setup: Setup, steps: int) -> np.ndarray:
    if name not in known:
        raise unknown("V132", f"quantity returned by reference {who}", name, known)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CortexError("V132", f"reference {who} returned no numbers for '{name}': {error}.") from None
    if not array.ndim or len(array) != steps:
        raise CortexError("V132", f"reference {who} returned shape {array.shape} for '{name}'; the first axis must be "
                                  f"the {steps} steps.")
    rank, copies = _rank(setup.graph, name)
    return array[:, None] if copies == 1 and array.ndim == rank else array


def _rank(graph: Graph, name: str) -> tuple[int, int]:
    """Axes of a quantity with its batch axis, and the length of that axis."""
    owner, _, quantity = name.partition(".")
    if quantity == "current" or all(q.name != owner for q in graph.projections):
        return 2, graph.batch
    return 1 + len(weight_shape(graph, graph.projection(owner))), weight_copies(graph, owner)
