"""Helpers of these tests can be imported; kernels run as plain Python unless a test is slow."""
import sys
from pathlib import Path

import pytest

from cortexc.compiler.verify.mutation.campaign import plain_python

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def kernels_as_plain_python(request):
    """A few hundred steps of a small circuit take less than compiling its kernels; slow tests compile them."""
    if any(map(request.node.get_closest_marker, ("slow", "lava"))):
        yield
        return
    with plain_python():
        yield
