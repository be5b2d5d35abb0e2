"""The compiled kernels in both of their ways."""

from __future__ import annotations

import pytest

from shortlist.engine.native.cpu.library import Kernels, kernels


@pytest.fixture(params=["tiles", "registers"])
def compiled(request: pytest.FixtureRequest) -> Kernels:
    """The kernels on the matrix unit, if this processor has one, and away from it."""
    found = kernels()
    assert found is not None
    if request.param == "registers":
        return found.without_tiles()
    if not found.has_tiles:
        pytest.skip("no AMX tiles here")
    return found
