"""The compiled kernels with and without the matrix unit."""

from __future__ import annotations

import pytest

from shortlist.engine.native.cpu.library import Kernels, kernels


@pytest.fixture(params=["tiles", "registers"])
def compiled(request: pytest.FixtureRequest) -> Kernels:
    """The kernels on the matrix unit, if the CPU has one, and on registers."""
    found = kernels()
    assert found is not None
    if request.param == "registers":
        return found.without_tiles()
    if not found.has_tiles:
        pytest.skip("no AMX tiles here")
    return found
