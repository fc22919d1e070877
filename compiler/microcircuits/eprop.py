"""A recurrent network of spiking cells that learns by e-prop (Bellec et al. 2020, Nat Commun 11:3625).

Every synapse carries eligibility traces of what its two cells did; readout cells broadcast their errors, and the
product of both is what a weight learns. Some cells adapt: their threshold, threshold + beta a, rises with every spike.
Symbols of the paper: v potential, a adaptation, z spike, psi pseudo-derivative, trace the filtered presynaptic spikes,
slow the adaptive part of the eligibility vector, eligibility the trace e filtered by the readout's time constant.

    v(t) = alpha v(t-1) + W z(t-1) + W_in x(t) - threshold z(t-1)        a(t) = rho a(t-1) + z(t-1)
    z(t) = v(t) > threshold + beta a(t), but for t_refractory after a spike
    e(t) = psi(t) (trace(t) - beta slow(t))        slow(t+1) = psi(t) trace(t) + (rho - psi(t) beta) slow(t)
    y(t) = kappa y(t-1) + W_out z(t-1)             error(t) = softmax(y)(t) - target, while gate `recall` is on
    dW(t) = -(B error(t)) eligibility(t-1) - regularisation (rate - target_rate) e(t)

`feedback`: B is the transpose of W_out (`symmetric`, non-local), fixed (`random`), or learns as W_out does
(`adaptive`). Gate `begin` starts a trial anew, `apply` applies what was summed. E360: a circuit that cannot be built.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cortexc.compiler.ir import CortexError, Graph, parse_graph
from cortexc.compiler.microcircuits.parts import check_words
from cortexc.compiler.microcircuits.starts import Arrays, numbered_generator, without_ranges

FEEDBACK = ("symmetric", "random", "adaptive")
GATES = ("begin", "recall", "learn", "apply")


@dataclass(frozen=True)
class Eprop:
    """Everything that fixes the circuit. `cues`: input cells; `cells`: recurrent ones, of which the last `adaptive`
    adapt; two readouts. Times in ms, rates in Hz (`highest_rate`: of an input that is 1). `dampening`: gamma of the
    pseudo-derivative. `rate`: of Adam, which the sums of increments go through. `frozen`: only the readouts learn."""

    cues: int = 40
    cells: int = 50
    adaptive: int = 25
    feedback: str = "symmetric"
    tau_m: float = 20.0
    tau_a: float = 2000.0
    tau_out: float = 20.0
    threshold: float = 0.6
    beta: float = 0.0174
    dampening: float = 0.3
    t_refractory: float = 5.0
    highest_rate: float = 40.0
    target_rate: float = 10.0
    regularisation: float = 0.1
    tau_rate: float = 1000.0
    rate: float = 5e-3
    frozen: bool = False
    noise: str = "counter"
    arrays: dict[str, np.ndarray] = field(default_factory=dict, compare=False)


TEXT = """
graph eprop-{cells}
  dt 1
  noise {noise} cue
  gate begin
  gate recall
  gate learn
  gate apply
cell cue_cell
  parameter tau_m ms
  parameter highest_rate Hz
  parameter alpha = exp(-dt / tau_m)
  input level
  noise u uniform
  state trace = 0
  send spike = where(u < level * highest_rate * dt / 1000, 1, 0)
  send trace = where(gate.begin > 0, 0, alpha * prev(trace)) + spike
  message spike
  message trace
cell recurrent_cell
  port current @ soma
  port signal @ soma
  parameter tau_m ms
  parameter tau_a ms
  parameter tau_out ms
  parameter threshold mV
  parameter beta mV
  parameter dampening 1
  parameter t_refractory ms
  parameter tau_rate ms
  parameter target_rate Hz
  parameter alpha = exp(-dt / tau_m)
  parameter rho = exp(-dt / tau_a)
  parameter kappa = exp(-dt / tau_out)
  state v = 0
  state a = 0
  state fired = 0
  state refractory = 0
  state trace = 0
  state filtered = 0
  state rate = target_rate
  send spike = where(gate.begin > 0, 0, prev(fired))
  send trace = where(gate.begin > 0, 0, alpha * prev(trace)) + spike
  send filtered = where(gate.begin > 0, 0, kappa * prev(filtered)) + spike
  receive a = where(gate.begin > 0, 0, rho * prev(a)) + spike
  receive v = where(gate.begin > 0, 0, alpha * prev(v)) + current - threshold * spike @ soma
  receive refractory = where(spike > 0, floor(t_refractory / dt + 0.5), where(gate.begin > 0, 0, \
max(prev(refractory) - 1, 0)))
  receive distance = (v - threshold - beta * a) / threshold
  receive fired = where(distance > 0 and refractory <= 0, 1, 0)
  receive rate = prev(rate) + dt / tau_rate * (1000 / dt * spike - prev(rate))
  factor psi = where(refractory > 0, 0, dampening / threshold * max(0, 1 - abs(distance)))
  factor adapting = psi * beta
  factor learning = signal
  factor excess = rate - target_rate
  message spike
  message trace
  message filtered
cell readout_cell
  port current @ soma
  port rival @ soma
  parameter tau_out ms
  parameter kappa = exp(-dt / tau_out)
  input target
  state y = 0
  state total = 0
  receive y = where(gate.begin > 0, 0, kappa * prev(y)) + current @ soma
  receive share = logistic(y - rival)
  receive error = where(gate.recall > 0, share - target, 0)
  receive total = where(gate.begin > 0, 0, prev(total)) + where(gate.recall > 0, share, 0)
  message y
  message error
rule eprop
  parameter tau_a ms
  parameter tau_out ms
  parameter regularisation 1
  parameter rate mV
  parameter rho = exp(-dt / tau_a)
  parameter kappa = exp(-dt / tau_out)
  state slow = 0
  state eligibility = 0
  state own = 0
  update own = post.psi * pre.trace - post.adapting * where(gate.begin > 0, 0, prev(slow))
  update eligibility = where(gate.begin > 0, 0, kappa * prev(eligibility)) + own
  update slow = post.psi * pre.trace + (rho - post.adapting) * where(gate.begin > 0, 0, prev(slow))
  increment -(post.learning * prev(eligibility)) - regularisation / 1000 * post.excess * own
  optimiser adam(rate, 0.9, 0.999, 1e-8)
rule readout
  parameter rate 1
  increment -(post.error * pre.filtered)
  optimiser adam(rate, 0.9, 0.999, 1e-8)
rule feedback
  parameter rate 1
  increment -(pre.error * post.filtered)
  optimiser adam(rate, 0.9, 0.999, 1e-8)
synapse seen
  message spike
  port current
  rule eprop
synapse recurrent
  message spike
  port current
  connectivity masked
  rule eprop
synapse out
  message spike
  port current
  rule readout
synapse compared
  message y
  port rival
synapse broadcast
  message error
  port signal
{learned}population cue cue_cell {cues} area=input
  tau_m = {tau_m}
  highest_rate = {highest_rate}
population recurrent recurrent_cell {cells} area=cortex
  tau_m = {tau_m}
  tau_a = {tau_a}
  tau_out = {tau_out}
  threshold = {threshold}
  dampening = {dampening}
  t_refractory = {t_refractory}
  tau_rate = {tau_rate}
  target_rate = {target_rate}
population readout readout_cell 2 area=readout
  tau_out = {tau_out}
projection W_in seen cue -> recurrent gate=learn apply=apply
{rates}projection W recurrent recurrent -> recurrent gate=learn apply=apply
{rates}projection W_out out recurrent -> readout gate=learn apply=apply
  rate = {rate}
projection rivals compared readout -> readout delay=0
projection B broadcast readout -> recurrent delay=0{gates}
{feedback_rate}{mirror}output total = readout.total
"""


def build(circuit: Eprop) -> Graph:
    """Raises E360."""
    check_words("E360", ("feedback", circuit.feedback, FEEDBACK))
    if not 0 <= circuit.adaptive <= circuit.cells or min(circuit.cells, circuit.cues) < 1:
        raise CortexError("E360", f"circuit eprop has {circuit.cues} inputs and {circuit.cells} cells, of which "
                                  f"{circuit.adaptive} adapt.", "Give at least one of both; at most all adapt.")
    options = {name: getattr(circuit, name) for name in circuit.__dataclass_fields__}
    adaptive, symmetric = circuit.feedback == "adaptive", circuit.feedback == "symmetric"
    rate, *own = (f"  {name} = {options[name]!r}\n" for name in ("rate", "tau_a", "tau_out", "regularisation"))
    text = TEXT.format(**options, rates="".join([*own, "  rate = 0\n" if circuit.frozen else rate]),
                       learned="  rule feedback\n" if adaptive else "", feedback_rate=rate if adaptive else "",
                       gates=" gate=learn apply=apply" if adaptive else "",
                       mirror="mirror B = W_out : transpose after\n" if symmetric else "")
    if not adaptive:
        first = text.index("rule feedback")
        text = text[:first] + text[text.index("synapse seen"):]
    beta = np.where(np.arange(circuit.cells) < circuit.cells - circuit.adaptive, 0.0, circuit.beta)
    fixed = {"recurrent.beta": beta, "W.mask": 1 - np.eye(circuit.cells), "rivals.w": 1 - np.eye(2)}
    return parse_graph(text).with_(arrays={**fixed, **circuit.arrays})


@without_ranges("normal")
def normal_start(circuit: Eprop, seed: int) -> Arrays:
    """Weights N(0, 1 / number of inputs); of the feedback as of W_out."""
    def drawn(number: int, rows: int, columns: int, inputs: int) -> np.ndarray:
        return numbered_generator(seed, number).normal(0, 1 / np.sqrt(inputs), (rows, columns))

    n = circuit.cells
    out = drawn(2, 2, n, n)
    feedback = out.T if circuit.feedback == "symmetric" else drawn(3, n, 2, n)
    return {"W_in.w": drawn(0, n, circuit.cues, circuit.cues), "W.w": drawn(1, n, n, n) * (1 - np.eye(n)),
            "W_out.w": out, "B.w": np.ascontiguousarray(feedback)}
