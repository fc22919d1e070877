"""Small nets run in plain Python, without compiling kernels; `jit` in a test's name keeps the compiler on."""

import sys
from pathlib import Path

import pytest

from cortexc.compiler.verify.mutation.campaign import plain_python

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def kernels_as_plain_python(request):
    if "jit" in request.node.name:
        yield
    else:
        with plain_python():
            yield
