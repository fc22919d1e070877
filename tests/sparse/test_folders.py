"""A compiled folder whose lists of synapses were edited does not run: its kernels would read and write elsewhere."""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file, save_file
from sparse_circuits import circuit

from cortexc.compiler.backends.lava.emit import emit
from cortexc.compiler.backends.lowering import lower
from cortexc.lava_procs.folder import FolderError, read_folder


def test_an_edited_list_is_refused(tmp_path):
    setup = circuit(0, most_delay=2)
    folder = emit(lower(setup.graph), setup.protocol, setup.samples, [0], tmp_path / "folder", block=10)
    arrays = read_folder(folder)[1]
    assert arrays["indices.network"].dtype == "int32" and arrays["indices.network"].size > 80
    arrays = load_file(folder / "program.safetensors")
    arrays["indices.network"][-1] += 1000
    save_file(arrays, folder / "program.safetensors")
    with pytest.raises(FolderError, match="E706"):
        read_folder(folder)
