"""IR text of the circuits that NEST's recordings are of. Names are those of `nest_models`, all else is numbers."""

NETWORK = """graph recorded
  dt {dt!r}
  gate learn
  gate slice
  gate handed
{gates}cell terminal
  input value
  state spike = 0
  send spike = value
  message spike late
cell neuron = library.{part}
{lines}population N neuron {cells}
{given}output spikes = N.spike
"""
INPUTS = "population S terminal {inputs}\n"
SPINES = """cell spine
  port arriving
  port backpropagated
  port released
  parameter tau_n ms = 1
  parameter decay = exp(-dt / tau_n)
  state passed = 0
  state dopamine = 0
  receive passed = arriving
  receive spike = backpropagated
  receive reward = released / tau_n
  receive dopamine = decay * prev(dopamine) + reward
  message passed
{seen}rule learnt = library.{rule}
{lines}synapse plastic
  message spike
  port arriving
  connectivity one_to_one
  rule learnt
  limits {low!r} {high!r}
synapse onward
  message passed
  port {port}
  connectivity sparse
synapse back
  message spike
  port backpropagated
  connectivity sparse
synapse diffuse
  message spike
  port released
population T terminal {synapses}
population D spine {synapses}
{tau_n}projection W plastic T -> D gate=learn delay={wait}
{given}projection OUT onward D -> N delay=0
projection BACK back N -> D
"""
SEEN = "  port {name}_there\n  state {name} = {first!r}\n  receive {name} = {name}_there\n"
SEES = """synapse back_{name}
  message {name}_told
  port {name}_there
  connectivity sparse
projection BACK_{name} back_{name} N -> D
"""
LATE_REWARDS = """  parameter decay_n = exp(-dt / tau_n)
  state less = 0
  state count = 0
  state first = 0
  state seen = 0
  state again = 0
  state fresh = 0
  state late = 0
  state drift = 0
  state change = 0
  state own = 0
  state age = 0
  state back = 0
  state alone = 0
  state fresh_1 = 0
  state late_1 = 0
  state own_1 = 0
  state age_1 = 0
  state back_1 = 0
  state there = 0
  state second = 0
  state sent = 0
  update less = a_minus * decay_minus * prev(y) * pre.spike
  update first = where(gate.slice > 0, 1, prev(count) <= 0)
  update count = where(gate.slice > 0, 0, prev(count)) + pre.spike
  update seen = where(gate.slice > 0, 0, decay_plus * prev(seen)) + pre.spike
  update again = where(first > 0, 0, a_plus * decay_plus * post.spike)
  update c = decay_c * prev(c) + a_plus * decay_plus * prev(x) * post.spike - less + again * (prev(x) - prev(seen))
  update fresh = where(gate.slice > 0, 0, decay_c * prev(fresh)) - less + again * prev(x)
  update late = where(gate.slice > 0, 0, (prev(late) + with_dopamine * prev(fresh)) / decay_n)
  update drift = with_dopamine * prev(post.dopamine) - without * baseline
  update change = prev(c) * drift + late * post.reward
  update own = where(gate.slice > 0, 0, prev(own) + prev(fresh) * drift + late * post.reward)
  update age = where(pre.spike > 0, 0, min(prev(age) + dt, 1))
  update alone = where(prev(count) <= 1, again * prev(x), 0)
  update fresh_1 = where(gate.slice > 0, 0, decay_c * prev(fresh_1)) - first * less + alone
  update late_1 = where(gate.slice > 0, 0, (prev(late_1) + with_dopamine * prev(fresh_1)) / decay_n)
  update own_1 = where(gate.slice > 0, 0, prev(own_1) + prev(fresh_1) * drift + late_1 * post.reward)
  update age_1 = where(first * pre.spike > 0, 0, min(prev(age_1) + dt, 1))
  update back = post.dopamine * both * (exp(age / both) - 1) - baseline * tau_c * (exp(age / tau_c) - 1)
  update back_1 = post.dopamine * both * (exp(age_1 / both) - 1) - baseline * tau_c * (exp(age_1 / tau_c) - 1)
  update there = min(max(w + change, {low!r}), {high!r}) - own
  update second = where(gate.handed > 0, there + own_1 - (c - fresh + fresh_1) * back, prev(second))
  update sent = where(gate.handed > 0, there - (c - fresh) * back_1, where({arrived} > 0, prev(second), prev(sent)))
  increment change
  deliver sent
"""
"""What NEST's dopamine synapse does within a slice (from one hand-over of spikes to the next): presynaptic spikes are
handed on after the slice's rewards and postsynaptic spikes were brought in, and the synapse computes backwards from the
slice's end, as if all that had been there before. So the weight that is `sent` is one that never was, what a spike
takes from the eligibility (`fresh`) meets dopamine that came later (`late`), and a later postsynaptic spike counts
`again`. A `second` spike of a slice goes out from where the first one (`_1`) has left the synapse."""
REWARD = "population R terminal {neurons}\nprojection V diffuse R -> D delay={delay}\n"
TO_PORT = "synapse to_{port}\n  message spike\n  port {port}\n  connectivity sparse\n"

EPROP_CELL = """  receive v = v_rest + where(gate.begin > 0, 0, kept) + (1 - keep) * tau_m * bias / capacitance @ soma
  receive after = where(spike > 0, floor(t_refractory / dt + 0.5) - 1, max(prev(quiet) - 1, 0))
  receive quiet = where(gate.begin > 0, 0, after)
  receive psi = where(prev(quiet) * (1 - gate.begin) > 0, 0, height * max(0, 1 - abs(v - v_threshold) / width)) @ soma
"""
EPROP_READOUT = """cell readout = library.eprop_readout
  receive v = where(gate.begin_out > 0, v_rest, v_rest + keep * (prev(v) - v_rest) + (1 - keep) * synapses) @ soma
population Y readout {readouts}
  tau_m = {tau_m!r}
"""
EPROP_SYNAPSES = """rule eligible = library.eprop
  parameter learning_rate 1 = {rate!r}
  parameter tau_m ms = {tau_m!r}
  parameter tau_out ms = {tau_out!r}
  update trace = where(gate.begin > 0, 0, alpha * prev(trace) + prev(pre.spike))
  update e = post.psi * (trace - beta * prev(slow))
  update slow = rho * prev(slow) + e
  update eligibility = where(gate.begin > 0, 0, kappa * prev(eligibility)) + e
  state once = 0
  state twice = 0
  update once = prev(eligibility)
  update twice = prev(once)
  increment -(learning_rate * post.signal * prev(twice))
  optimiser accumulate
rule delta
  parameter kappa = exp(-dt / {tau_out!r})
  state trace = 0
  state once = 0
  update trace = where(gate.begin > 0, 0, kappa * prev(trace) + pre.spike)
  update once = prev(trace)
  increment -({rate_out!r} * post.error * prev(once))
  optimiser accumulate
synapse plastic
  message spike
  port synapses
  connectivity sparse
  limits {low!r} {high!r}
  rule eligible
synapse reading
  message spike
  port synapses
  connectivity sparse
  limits {low!r} {high!r}
  rule delta
synapse back
  message error
  port feedback
  connectivity sparse
population S terminal {inputs}
projection IN plastic S -> N gate=learn apply=update
projection REC plastic N -> N gate=learn apply=update
projection OUT reading N -> Y gate=learn apply=update
projection BACK back Y -> N
"""
