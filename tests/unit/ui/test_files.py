"""Files are parsed into documents or groups; errors name the line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.ui.files import MAX_FILE_BYTES, FileContent, FileGroup, FormError, lines_of, read_file
from shortlist.ui.i18n import CHINESE, ENGLISH


def read(name: str, text: str, column: str | None = None) -> FileContent:
    return read_file(name, text, column, ENGLISH)


def error_message(name: str, text: str) -> str:
    with pytest.raises(FormError, match=r".") as caught:
        read(name, text)
    return str(caught.value)


# -- lines and sections -------------------------------------------------------------------------------------------------


def test_text_is_one_document_per_line() -> None:
    assert read("a.TXT", "\ufeff a \r\n\n\tb\n   \n").documents == ("a", "b")


def test_only_line_feeds_separate_lines() -> None:
    assert lines_of("a\u2028b\x0cc") == ("a\u2028b\x0cc",)


def test_markdown_is_one_document_per_section() -> None:
    text = "intro\n\n# One\nfirst\n\nmore\n## Two\n```sh\n# no heading\n```\n"
    assert read("a.md", text).documents == ("intro", "# One\nfirst\n\nmore", "## Two\n```sh\n# no heading\n```")


def test_markdown_without_headings_is_one_document_per_paragraph() -> None:
    assert read("a.md", "one\nline\n\n\n#hashtag\n").documents == ("one\nline", "#hashtag")


# -- tables -------------------------------------------------------------------------------------------------------------


def test_table_defaults_to_a_preferred_column() -> None:
    content = read("a.csv", 'id,Text,a very long other column\n1,"a, ""b""\nc",xxxxxxxxxxxxxx\n2,d,\n')
    assert content == FileContent(
        documents=('a, "b"\nc', "d"), columns=("id", "Text", "a very long other column"), column="Text"
    )


def test_table_without_preferred_column_uses_the_longest_texts() -> None:
    assert read("a.csv", "x,y\nshort,a longer text\n").documents == ("a longer text",)


def test_table_uses_the_chosen_column() -> None:
    assert read("a.csv", "text,title\na,b\n", "title").documents == ("b",)
    assert read("a.csv", "text,title\na,b\n", "gone").documents == ("a",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiter_is_detected_from_the_first_line(delimiter: str) -> None:
    text = f"id{delimiter}text\n1{delimiter}a\n"
    assert read("a.csv", text).documents == read("a.tsv", text).documents == ("a",)


def test_unnamed_column_is_named_by_position_and_short_lines_are_allowed() -> None:
    content = read("a.csv", "text,\na\n\nb,c\n")
    assert (content.columns, content.documents) == (("text", "2"), ("a", "b"))


def test_table_cell_may_be_as_long_as_the_file() -> None:
    assert read("a.csv", f"text\n{'x' * 200_000}\n").documents == ("x" * 200_000,)


# -- lines of JSON ------------------------------------------------------------------------------------------------------


def test_jsonl_of_texts() -> None:
    assert read("a.jsonl", '"a\\nb"\n\n" "\n"c"').documents == ("a\nb", "c")


def test_jsonl_of_objects_with_columns() -> None:
    content = read("a.jsonl", '{"id": 1, "text": "a"}\n{"text": "b", "tags": ["x"]}\n')
    assert content == FileContent(documents=("a", "b"), columns=("id", "text", "tags"), column="text")
    assert read("a.jsonl", '{"id": 1, "text": "a"}', "id").documents == ("1",)


def test_jsonl_of_groups() -> None:
    lines = [{"query": " q ", "documents": ["a", {"text": "b"}]}, {"query": "r", "documents": ["c"], "id": 2}]
    content = read("a.ndjson", "\n".join(map(json.dumps, lines)))
    assert content == FileContent(groups=(FileGroup("q", ("a", "b")), FileGroup("r", ("c",))))
    assert content.num_documents == 3


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.pdf", "x", ENGLISH.file_unknown),
        ("a", "x", ENGLISH.file_unknown),
        ("a.txt", " \n", ENGLISH.file_empty),
        ("a.csv", "", ENGLISH.file_empty),
        ("a.csv", "text\n", ENGLISH.file_empty),
        ("a.jsonl", "", ENGLISH.file_empty),
        ("a.md", "", ENGLISH.file_empty),
        ("a.jsonl", '"a"\n{', ENGLISH.file_no_json.format(line=2)),
        ("a.jsonl", '"a"\n\n3', ENGLISH.file_mixed.format(line=3)),
        ("a.jsonl", '"a"\n{"text": "b"}', ENGLISH.file_mixed.format(line=2)),
        ("a.jsonl", '{"text": "b"}\n"a"', ENGLISH.file_mixed.format(line=2)),
        ("a.jsonl", '{"query": "q", "documents": ["a"]}\n{"query": "q"}', ENGLISH.file_bad_group.format(line=2)),
        ("a.jsonl", '{"query": " ", "documents": ["a"]}', ENGLISH.file_bad_group.format(line=1)),
        ("a.jsonl", '{"query": "q", "documents": "a"}', ENGLISH.file_bad_group.format(line=1)),
        ("a.jsonl", '{"query": "q", "documents": ["a", 1]}', ENGLISH.file_bad_group.format(line=1)),
    ],
)
def test_invalid_file_raises_its_message(name: str, text: str, message: str) -> None:
    assert error_message(name, text) == message


def test_too_large_file_is_refused_by_its_size_without_its_text() -> None:
    with pytest.raises(FormError, match="超过 16 MiB"):
        read_file("a.txt", "", None, CHINESE, num_bytes=MAX_FILE_BYTES + 1)
    with pytest.raises(FormError, match="16 MiB"):
        read_file("a.txt", "x" * (MAX_FILE_BYTES + 1), None, ENGLISH)


def test_empty_column_is_allowed_while_the_user_can_change_it() -> None:
    content = read_file("a.csv", "text,title\n,b\n", "text", ENGLISH, may_be_empty=True)
    assert (content.documents, content.columns) == ((), ("text", "title"))


@given(name=st.sampled_from(["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.md"]), text=st.text())
def test_any_text_is_parsed_or_refused_with_a_message(name: str, text: str) -> None:
    try:
        content = read(name, text)
    except FormError as error:
        assert str(error)  # noqa: PT017 - either is fine, nothing else is
    else:
        assert all(document.strip() for document in content.documents)
