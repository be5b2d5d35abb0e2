"""What texts are, by the fields that say so."""

from __future__ import annotations

import tracemalloc

import pytest

from shortlist.api.dialects.conversions import input_type
from shortlist.errors import InvalidInput
from shortlist.types import InputType


def test_case_and_separators_do_not_matter() -> None:
    assert input_type(task=" Retrieval.Query ") is InputType.QUERY
    assert input_type(input_type="search-document") is InputType.DOCUMENT


def test_long_value_is_refused_and_never_taken_apart() -> None:
    text = "x z " * 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="input_type must be one of"):
            input_type(input_type=text)
        _, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert highest < len(text)
