"""What is here needs a real vLLM: `make test-vllm`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.vllm import missing_vllm

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before they are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of these, and skip them aloud where there is no vLLM."""
    lack = missing_vllm()
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.timeout(900))
            if lack is not None:
                item.add_marker(pytest.mark.skip(reason=lack))
