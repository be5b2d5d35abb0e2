"""The scan of a body counts what a parser would build, wherever its blocks are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.api import json_body
from shortlist.api.json_body import check_size
from shortlist.errors import InvalidInput
from tests.support.examples import examples

TEXTS = st.text(alphabet='a"\\\\,[]{}:\u4e2d\U0001f642 \n', max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


def num_values(value: Any) -> int:
    """Return the values of a parsed body. The scan counts an empty array or object as if it had one."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if parts is None else 1 + max(1, sum(map(num_values, parts)))


def depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


@pytest.fixture(params=[1, 2, 3, 7, 1 << 18])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(json_body, "SMALL_BYTES", 0)
    monkeypatch.setattr(json_body, "BLOCK_BYTES", request.param)
    size: int = request.param
    return size


def test_values_and_depth_are_those_of_a_parser(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=examples(100, 2000), deadline=None)
    @given(VALUES, st.booleans(), st.sampled_from([None, 1]))
    def check(value: Any, is_ascii: bool, indent: int | None) -> None:
        body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
        for name, size in (("MAX_VALUES", num_values(value)), ("MAX_DEPTH", depth(value))):
            with monkeypatch.context() as patch:
                patch.setattr(json_body, name, size)
                check_size(body)
                patch.setattr(json_body, name, size - 1)
                with pytest.raises(InvalidInput):
                    check_size(body)

    check()


def test_messages_name_the_limits(block_bytes: int) -> None:
    with pytest.raises(InvalidInput, match="more than 200 arrays or objects within each other"):
        check_size(b"[" * 201)
    check_size(b"[" * 200)


def test_too_many_values_are_refused_before_the_rest_is_read() -> None:
    with pytest.raises(InvalidInput, match="more than 500000 values"):
        check_size(b"[" + b"1," * 3_000_000)
    check_size(b"[" + b"1," * 499_998 + b"1]")
