"""Every line is checked and named by its number, and the parts are the file, in whatever pieces it is read."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.batches.input_lines import (
    MAX_ERRORS,
    MAX_LINES,
    PART_BYTES,
    PART_LINES,
    InputCheck,
    LineRefused,
    non_empty,
    parse_line,
)

URL: Final = "/v1/rerank"
LIMIT: Final = 2_000_000


def line(number: int = 0, **changes: Any) -> bytes:
    request = {"custom_id": f"line-{number}", "method": "POST", "url": URL, "body": {"query": "q", "documents": ["d"]}}
    return json.dumps({name: value for name, value in {**request, **changes}.items() if value is not None}).encode()


def checked(content: bytes, *, size: int = 10_000, limit: int = LIMIT) -> InputCheck:
    check = InputCheck(URL, limit)
    for start in range(0, len(content), size):
        check.feed(content[start : start + size])
    check.close()
    return check


def test_request_of_a_line_is_its_body() -> None:
    found = parse_line(line(7), URL, LIMIT)
    assert (found.custom_id, json.loads(found.body)) == ("line-7", {"query": "q", "documents": ["d"]})


@pytest.mark.parametrize(
    ("content", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"a": NaN}', "invalid_json_line", None),
        (line(custom_id=None), "missing_required_parameter", "custom_id"),
        (line(custom_id=""), "missing_required_parameter", "custom_id"),
        (line(custom_id=7), "missing_required_parameter", "custom_id"),
        (line(custom_id="a" * 513), "missing_required_parameter", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "invalid_url", "url"),
        (line(url=None), "invalid_url", "url"),
        (line(body=None), "missing_required_parameter", "body"),
        (line(body=["canary"]), "missing_required_parameter", "body"),
    ],
)
def test_line_that_is_no_request_is_refused_by_code(content: bytes, code: str, param: str | None) -> None:
    with pytest.raises(LineRefused) as refusal:
        parse_line(content, URL, LIMIT)
    assert (refusal.value.code, refusal.value.param) == (code, param)
    assert "canary" not in refusal.value.message


def test_errors_have_line_numbers_empty_lines_included() -> None:
    found = checked(b"\n".join([line(1), b"", b"  ", b"{", line(2), line(1), b""]))
    assert [(each["code"], each["line"]) for each in found.errors] == [("invalid_json_line", 4), ("duplicate_custom_id", 6)]
    assert found.num_lines == 4


@pytest.mark.parametrize("content", [b"", b"\n\n \r\n"])
def test_input_without_a_request_is_refused(content: bytes) -> None:
    assert [each["code"] for each in checked(content).errors] == ["empty_file"]


def test_one_request_too_many_is_refused() -> None:
    content = b"\n".join(line(number, body={}) for number in range(MAX_LINES))
    assert checked(content, size=1 << 20).errors == []
    [error] = checked(content + b"\n" + line(-1), size=1 << 20).errors
    assert (error["code"], error["line"]) == ("too_many_requests", None)


def test_line_that_is_too_long_is_refused_and_not_kept() -> None:
    check = InputCheck(URL, 1000)
    check.feed(line(1) + b"\n")
    for _ in range(100):
        check.feed(b"x" * 900)
        assert len(check._rest) <= 1000
    check.feed(b"\n" + line(2))
    check.close()
    assert [(each["code"], each["line"]) for each in check.errors] == [("line_too_long", 2)]


def test_number_of_reported_errors_is_bounded() -> None:
    assert len(checked(b"{\n" * 1000).errors) == MAX_ERRORS


def test_parts_end_after_lines_or_bytes() -> None:
    many = checked(b"\n".join(line(number) for number in range(3 * PART_LINES + 1)))
    assert [part.num_lines for part in many.parts] == [PART_LINES] * 3 + [1]
    large = checked(b"\n".join(line(number, body={"query": "x" * PART_BYTES}) for number in range(4)), size=1 << 16)
    assert [part.num_lines for part in large.parts] == [1, 1, 1, 1]


@given(st.lists(st.booleans(), min_size=1, max_size=150), st.integers(1, 500), st.booleans())
def test_parts_are_the_file_in_any_pieces(is_request: list[bool], size: int, ends: bool) -> None:
    rows = [line(number) if each else b"" for number, each in enumerate(is_request)]
    content = b"\n".join(rows) + (b"\n" if ends else b"")
    found = checked(content, size=size)
    lines = [each for part in found.parts for each in non_empty(content[part.start : part.end])]
    assert lines == [row for row in rows if row]
    assert found.num_lines == len(lines)
    for part in found.parts:
        assert part.num_lines == len(non_empty(content[part.start : part.end]))
