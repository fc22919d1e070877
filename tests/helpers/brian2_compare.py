"""What monitors of Brian2 have, and how far what was read back from a graph is from it."""
import brian2 as b2
import numpy as np

STEP = 1e-4


def spikes(times, cells):
    """Sorted pairs (step, cell)."""
    return sorted(zip(np.round(np.asarray(times) / STEP).astype(int).tolist(), np.asarray(cells).tolist(), strict=True))


def monitored(network):
    """Monitor -> variable -> values, as `Imported.read` gives them."""
    found = {}
    for o in network.objects:
        if isinstance(o, b2.SpikeMonitor):
            found[o.name] = {"t": np.array(o.t_), "i": np.array(o.i), "count": np.array(o.count)}
        elif isinstance(o, b2.StateMonitor):
            found[o.name] = {"t": np.array(o.t_), **{v: np.array(getattr(o, f"{v}_")) for v in o.record_variables}}
        elif isinstance(o, b2.PopulationRateMonitor):
            found[o.name] = {"t": np.array(o.t_), "rate": np.array(o.rate_)}
    return found


def distance(expected, got):
    """(the same spikes, number of spikes, the largest difference of a state as a share of its largest value)."""
    same, number, worst = True, 0, 0.0
    assert expected.keys() == got.keys()
    for monitor, values in expected.items():
        assert values.keys() == got[monitor].keys(), monitor
        if "i" in values:
            a, b = (spikes(found["t"], found["i"]) for found in (values, got[monitor]))
            same, number = same and a == b, number + len(a)
            assert not same or np.array_equal(values["count"], got[monitor]["count"])
            continue
        for name, value in values.items():
            assert value.shape == got[monitor][name].shape, (monitor, name, value.shape, got[monitor][name].shape)
            value = np.asarray(value, np.float64)
            size = np.abs(value).max(initial=0.0)
            worst = max(worst, np.abs(value - got[monitor][name]).max(initial=0.0) / (size or 1.0))
    return same, number, worst
