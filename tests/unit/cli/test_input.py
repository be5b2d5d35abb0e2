"""Input of commands. Errors name the line and what would be right, and never quote the line."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from shortlist.cli.input import Form, Input, InputGroup, read_in_thread
from shortlist.errors import InvalidInput

GOOD = b'{"query": "q", "documents": ["a"]}\n'


def written(folder: Path, content: bytes, *, name: str = "input", form: Form = "auto") -> Input:
    path = folder / name
    path.write_bytes(content)
    return Input.of(path, form)


def texts(source: Input) -> list[tuple[int, str]]:
    return [(text.index, text.text) for text in source.texts(skips_blank=True)]


def groups(source: Input) -> list[InputGroup]:
    return list(source.groups())


# -- texts --------------------------------------------------------------------------------------------------------------


def test_lines_are_texts_with_their_line_index(tmp_path: Path) -> None:
    source = written(tmp_path, b"\xef\xbb\xbf one \r\n\n \t\ntwo\n\xe4\xb8\x89")
    assert texts(source) == [(0, " one "), (3, "two"), (4, "三")]


def test_blank_line_is_an_error_without_skips_blank(tmp_path: Path) -> None:
    source = written(tmp_path, b"one\n \n")
    with pytest.raises(InvalidInput, match="line 2: it is blank"):
        list(source.texts(skips_blank=False))


@pytest.mark.parametrize(
    ("content", "name", "form", "expected"),
    [
        (b'{"text": "a"}\n', "input", "auto", "a"),
        (b'{"text": "a"}\n', "input.jsonl", "auto", "a"),
        (b'{"text": "a"}\n', "input.txt", "auto", "a"),
        (b'{"text": "a"}\n', "input", "text", '{"text": "a"}'),
        (b'{"title": "a"}\n', "input", "auto", '{"title": "a"}'),
        (b"[1]\n", "input", "auto", "[1]"),
        (b"{not json\n", "input", "auto", "{not json"),
    ],
)
def test_format_is_detected_by_flag_name_or_first_line(
    tmp_path: Path, content: bytes, name: str, form: Form, expected: str
) -> None:
    assert texts(written(tmp_path, content, name=name, form=form)) == [(0, expected)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"canary", "it is not JSON; it should be a JSON object with `text`"),
        (b'["canary"]', "it is not a JSON object"),
        (b'{"canary": 1}', "its `text` is missing"),
        (b'{"text": 3}', "its `text` is missing, empty or not a string"),
        (b'{"text": " "}', "its `text` is missing, empty"),
        (b'{"text": "\\ud800"}', "it is not JSON"),
        (b'{"query": "canary", "documents": ["canary"]}', "leave -q out"),
    ],
)
def test_error_of_an_invalid_object_names_its_line(tmp_path: Path, line: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        texts(written(tmp_path, b'{"text": "a"}\n\n' + line))
    assert f"{tmp_path / 'input'}, line 3: " in caught.value.message
    assert words in caught.value.message
    assert "canary" not in caught.value.message


def test_error_of_another_encoding_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="line 2: it is not UTF-8"):
        texts(written(tmp_path, "a\nä\n".encode("latin-1")))


def test_error_of_a_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere cannot be read: No such file"):
        texts(Input.of(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="cannot be read: Is a directory"):
        groups(Input.of(tmp_path))


def test_dash_and_none_are_standard_input() -> None:
    assert Input.of(Path("-")).name == Input.of(None).name == "standard input"


# -- groups -------------------------------------------------------------------------------------------------------------


def test_groups_have_a_position_and_a_line_number(tmp_path: Path) -> None:
    record = {"id": 7, "query": "q", "documents": ["a", {"text": "b", "title": "t"}], "more": True}
    one, two = groups(written(tmp_path, b"\n" + GOOD + b"\n" + json.dumps(record).encode()))
    assert (one.position, one.line, one.id) == (0, 2, None)
    assert (two.position, two.line, two.id, two.query) == (1, 4, 7, "q")
    assert [(text.index, text.text) for text in two.texts] == [(0, "a"), (1, "b")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"canary", "give the query with -q"),
        (b'{"documents": ["canary"]}', "its `query` is missing"),
        (b'{"query": "", "documents": ["canary"]}', "its `query` is missing, empty"),
        (b'{"query": "canary"}', "its `documents` must be a list of strings"),
        (b'{"query": "canary", "documents": []}', "at least one"),
        (b'{"query": "canary", "documents": ["a", ""]}', "none empty"),
        (b'{"query": "canary", "documents": "canary"}', "its `documents` must be a list"),
        (b'{"query": "canary", "documents": ["a"], "id": ["canary"]}', "its `id` must be a string or a whole number"),
        (b'{"query": "canary", "documents": ["a"], "id": true}', "its `id` must be"),
    ],
)
def test_error_of_an_invalid_group_names_its_line(tmp_path: Path, line: bytes, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        groups(written(tmp_path, GOOD + line))
    assert ", line 2: " in caught.value.message
    assert words in caught.value.message
    assert "canary" not in caught.value.message


# -- a blocking source ------------------------------------------------------------------------------------------------


async def test_items_keep_their_order() -> None:
    assert [item async for item in read_in_thread(range(100))] == list(range(100))


async def test_blocking_source_does_not_block_the_event_loop() -> None:
    more = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        assert more.wait(10)
        yield 2

    async with aclosing(read_in_thread(source())) as items:
        assert await anext(items) == 1
        upcoming = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0.01)
        assert not upcoming.done()
        more.set()
        assert await upcoming == 2


async def test_infinite_source_is_read_at_most_one_item_ahead() -> None:
    taken = []

    def source() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    async with aclosing(read_in_thread(source())) as items:
        for expected in range(10):
            assert await anext(items) == expected
            await asyncio.sleep(0.001)
            assert len(taken) <= expected + 3


async def test_error_of_the_source_is_raised_after_earlier_items() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise InvalidInput("wrong")

    items = read_in_thread(source())
    assert await anext(items) == 1
    with pytest.raises(InvalidInput, match="wrong"):
        await anext(items)
