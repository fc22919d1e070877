"""Records what snnTorch 1.0.0 makes of the Braille networks: `python record_snntorch.py FOLDER_OF_NIR_FILES`.

Written by hand from snnTorch's cells, in float64, with its defaults (a reset in the step after the spike).
"""
import sys
from pathlib import Path

import nir
import numpy as np
import snntorch
import torch

FILES = {"subtract": "paper_03_rnn_braille_noDelay_noBias_subtract", "zero": "paper_03_rnn_braille_noDelay_bias_zero"}
DT, STEPS = 1e-4, 500


def tensor(values):
    return torch.tensor(np.asarray(values, float))


def linear(node):
    return lambda x: torch.nn.functional.linear(x.double(), tensor(node.weight), tensor(getattr(node, "bias", 0.0)))


def cell(kind, node, reset, **more):
    return kind(alpha=tensor(1 - DT / node.tau_syn), beta=tensor(1 - DT / node.tau_mem), threshold=tensor(node.v_threshold),
                reset_mechanism=reset, **more)


def spikes(nodes, reset, inputs):
    """(steps, cells) of both layers."""
    first, second = nodes["lif1.lif"], nodes["lif2"]
    hidden = cell(snntorch.RSynaptic, first, reset, all_to_all=True, linear_features=first.r.size)
    del hidden.recurrent
    hidden.recurrent = linear(nodes["lif1.w_rec"])
    out = cell(snntorch.Synaptic, second, reset)
    a, b = [torch.zeros(first.r.size)] * 3, [torch.zeros(second.r.size)] * 2
    found = []
    for x in inputs:
        a = hidden(linear(nodes["fc1"])(tensor(x)), *a)
        z, *b = out(linear(nodes["fc2"])(a[0]), *b)
        found.append((a[0].numpy() > 0, z.numpy() > 0))
    return map(np.array, zip(*found, strict=True))


def main(folder):
    torch.set_default_dtype(torch.float64)
    inputs, arrays = np.random.default_rng(7).random((STEPS, 12)) < 0.3, {}
    for reset, name in FILES.items():
        with torch.no_grad():
            hidden, out = spikes(nir.read(folder / f"{name}.nir", type_check=False).nodes, reset, inputs)
        arrays |= {f"{reset}.hidden": hidden, f"{reset}.out": out}
    np.savez_compressed(Path(__file__).with_name("snntorch_spikes.npz"), inputs=inputs, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
