"""Fixtures of the comparisons with the official procedure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.support.fixtures import make_model, tokenizer_path

__all__ = ["make_model", "tokenizer_path"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: threads that wait for each other on busy cores take many times as long."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
