"""IR text of the circuits that NEST's recordings are of. Names are those of `nest_models`, all else is numbers."""

NETWORK = """graph recorded
  dt {dt!r}
  gate learn
  gate slice
  gate handed
cell terminal
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
SEEN = "  port {name}_there\n  state {name} = -1000\n  receive {name} = {name}_there\n"
SEES = """synapse back_{name}
  message {name}_told
  port {name}_there
  connectivity sparse
projection BACK_{name} back_{name} N -> D
"""
LATE_REWARDS = """  parameter decay_n = exp(-dt / tau_n)
  state less = 0
  state seen = 0
  state again = 0
  state fresh = 0
  state late = 0
  state drift = 0
  state change = 0
  state own = 0
  state age = 0
  state back = 0
  state sent = 0
  update less = a_minus * decay_minus * prev(y) * pre.spike
  update seen = where(gate.slice > 0, 0, decay_plus * prev(seen)) + pre.spike
  update again = where(gate.slice > 0, 0, prev(seen) > 0) * a_plus * decay_plus * post.spike
  update c = decay_c * prev(c) + a_plus * decay_plus * prev(x) * post.spike - less + again * (prev(x) - prev(seen))
  update fresh = where(gate.slice > 0, 0, decay_c * prev(fresh)) - less + again * prev(x)
  update late = where(gate.slice > 0, 0, (prev(late) + with_dopamine * prev(fresh)) / decay_n)
  update drift = with_dopamine * prev(post.dopamine) - without * baseline
  update change = prev(c) * drift + late * post.reward
  update own = where(gate.slice > 0, 0, prev(own) + prev(fresh) * drift + late * post.reward)
  update age = where(pre.spike > 0, 0, min(prev(age) + dt, 1))
  update back = post.dopamine * both * (exp(age / both) - 1) - baseline * tau_c * (exp(age / tau_c) - 1)
  update sent = where(gate.handed > 0, min(max(w + change, {low!r}), {high!r}) - own - (c - fresh) * back, prev(sent))
  increment change
  deliver sent
"""
"""What NEST's dopamine synapse does within a slice (from one hand-over of spikes to the next): presynaptic spikes are
handed on after the slice's rewards and postsynaptic spikes were brought in, and the synapse computes backwards from the
slice's end, as if all that had been there before. So the weight that is `sent` is one that never was, what a spike
takes from the eligibility (`fresh`) meets dopamine that came later (`late`), and a later postsynaptic spike counts
`again`."""
REWARD = "population R terminal {neurons}\nprojection V diffuse R -> D delay={delay}\n"
TO_PORT = "synapse to_{port}\n  message spike\n  port {port}\n  connectivity sparse\n"
