"""Benchmarks: functions that return rows; `cortexc bench NAME` prints them with the machine they ran on, `cortexc bench
--help` lists them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from cortexc.compiler.ir.errors import CortexError, unknown

Job = TypeVar("Job")
Result = TypeVar("Result")
RUN = {"backend": "run.backend", "granularity": "run.granularity", "epochs": "protocol.epochs", "seeds": "run.seeds"}
"""Short forms of an experiment's keys."""
LISTS = ("models", "nets", "sizes", "seeds", "bits", "cases", "lines", "widen", "rates", "tasks")
COUNTS = ("jobs", "epochs", "trials", "steps")


def checked(options: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """The options; those with a dot are keys of an experiment. Raises X182 for an unknown one, X184 for a value."""
    for key, value in options.items():
        if "." not in key and key not in (*known, "output", "golden"):
            raise unknown("X182", "option of this benchmark", key, known)
        if key in LISTS and not (isinstance(value, list) and value):
            raise CortexError("X184", f"option {key} = {value!r} must be a list, as in --set '{key}=[...]'.")
        if key in COUNTS and not (isinstance(value, int) and value > 0):
            raise CortexError("X184", f"option {key} = {value!r} must be a positive whole number.")
    return dict(options)


def chosen(options: Mapping[str, Any], key: str, known: Collection[Any], what: str = "") -> list[Any]:
    """Those of the known names that an option lists; all where it is not given. Raises X182."""
    for name in options.get(key, ()):
        if name not in known:
            raise unknown("X182", what or key.removesuffix("s"), str(name), list(map(str, known)))
    return list(options.get(key, known))


WITH_RECORDINGS = ("pal-feedback", "demo", "mutations")


def recordings(name: str, folder: str | None) -> dict[str, str]:
    """The option that names a folder of recordings. Raises X182 for a benchmark that reads none."""
    if folder and name not in WITH_RECORDINGS:
        raise CortexError("X182", f"benchmark '{name}' reads no recordings.", "Leave out --golden.")
    return {"golden": folder} if folder else {}


def overrides_of(options: Mapping[str, Any], *short: str) -> dict[str, Any]:
    """Keys of an experiment among a benchmark's options, and these short forms; all of them where none is named."""
    found = {key: value for key, value in options.items() if "." in key}
    return found | {RUN[name]: options[name] for name in short or RUN if name in options}


def run_all(run: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> list[Result]:
    """Results in the order of the jobs; `workers` processes."""
    if workers == 1:
        return [run(job) for job in jobs]
    from cortexc.compiler.bench.workers import in_processes

    return in_processes(run, [(job,) for job in jobs], workers)


Rows = Sequence[Mapping[str, Any]]


class Benchmark(NamedTuple):
    place: str
    """`module:function` of this package; the function takes a table of options and returns rows (tables)."""
    what: str

    def rows(self, options: Mapping[str, Any]) -> Rows:
        module, _, function = self.place.partition(":")
        found: Rows = getattr(import_module(f"cortexc.{module}"), function)(options)
        return found


BENCHMARKS = {name: Benchmark(place, what) for name, place, what in [
    ("demo", "compiler.bench.demo:rows", "the main job: compile, verify, train on Lava, report"),
    ("bits", "compiler.bench.bits:bits", "accuracy against bits of a weight"),
    ("chip-steps", "compiler.bench.bits:chip_steps", "PAL's way to legal rules, step by step"),
    ("speed", "compiler.bench.speed:rows", "microseconds per step and ratios, side by side"),
    ("spiking", "compiler.bench.networks:rows", "spiking circuits beside NEST and Brian2"),
    ("spiking-statistics", "compiler.bench.spike_statistics:rows", "spiking circuits against NEST, statistically"),
    ("mapping", "compiler.bench.mapping:rows", "cores, traffic, hops and links of a chip"),
    ("lava-messages", "lava_procs.message_cost:rows", "what a message between two Lava processes costs"),
    ("published-learning", "compiler.bench.mapping:published", "estimated cost beside published measurements"),
    ("mutations", "compiler.verify.mutation.campaign:rows", "small mistakes that the verifier finds"),
    ("pal-feedback", "compiler.bench.pal:feedback", "PAL's published angle curves"),
    ("pal-fig4ab", "compiler.bench.pal:fig4ab", "PAL, teacher and student"),
    ("pal-yinyang", "compiler.bench.pal:yinyang", "PAL and FA on yin-yang"),
    ("pal-mnist", "compiler.bench.pal:mnist", "PAL and FA on MNIST"),
    ("depth", "compiler.bench.depth:rows", "error against depth, error neurons and rivals"),
    ("feedback-matters", "compiler.bench.feedback_matters:rows", "where learned feedback beats random feedback"),
    ("depth-angles", "compiler.bench.depth:angles", "angles between updates and exact backprop's"),
    ("depth-tuning", "compiler.bench.depth:tuning", "learning rates for the comparison of depths"),
    ("speed-depth", "compiler.bench.circuit_speed:depth", "time of the error-neuron circuit, side by side"),
    ("cartpole", "compiler.bench.error_neuron:cartpole", "error neurons balance a pole"),
    ("dms", "compiler.bench.error_neuron:dms", "delayed match-to-sample by error neurons"),
    ("derivative-transfer", "compiler.bench.error_neuron:derivative_transfer", "slopes of activations told by noise"),
    ("generated-digits", "compiler.bench.error_neuron:generated_digits", "digits generated by unequal populations"),
    ("mnist-sign-concordant", "compiler.bench.spiking:mnist", "sign-concordant circuit on MNIST, by feedback"),
    ("fashion-sign-concordant", "compiler.bench.spiking:fashion", "the same on Fashion-MNIST"),
    ("cnn-sign-concordant", "compiler.bench.spiking:cnn", "its convolutional net"),
    ("speed-sign-concordant", "compiler.bench.circuit_speed:sign_concordant", "its time per sample, side by side"),
]}
