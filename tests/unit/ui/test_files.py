"""A file becomes documents or groups, whatever wrote it; what is wrong with it is told by its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.ui.files import MAX_FILE_BYTES, FileContent, FileGroup, FormError, lines_of, read_file
from shortlist.ui.i18n import CHINESE, ENGLISH


def read(name: str, text: str, column: str | None = None) -> FileContent:
    return read_file(name, text, column, ENGLISH)


def complaint(name: str, text: str) -> str:
    with pytest.raises(FormError, match=r".") as caught:
        read(name, text)
    return str(caught.value)


# -- lines and sections -------------------------------------------------------------------------------------------------


def test_text_is_one_document_per_line() -> None:
    assert read("a.TXT", "\ufeff a \r\n\n\tb\n   \n").documents == ("a", "b")


def test_only_what_looks_like_a_line_break_is_one() -> None:
    assert lines_of("a\u2028b\x0cc") == ("a\u2028b\x0cc",)


def test_markdown_is_one_document_per_section() -> None:
    text = "intro\n\n# One\nfirst\n\nmore\n## Two\n```sh\n# no heading\n```\n"
    assert read("a.md", text).documents == ("intro", "# One\nfirst\n\nmore", "## Two\n```sh\n# no heading\n```")


def test_markdown_without_headings_is_one_document_per_paragraph() -> None:
    assert read("a.md", "one\nline\n\n\n#hashtag\n").documents == ("one\nline", "#hashtag")


# -- tables -------------------------------------------------------------------------------------------------------------


def test_table_gives_the_column_that_is_called_as_documents_are() -> None:
    content = read("a.csv", 'id,Text,a very long other column\n1,"a, ""b""\nc",xxxxxxxxxxxxxx\n2,d,\n')
    assert content == FileContent(
        documents=('a, "b"\nc', "d"), columns=("id", "Text", "a very long other column"), column="Text"
    )


def test_table_gives_the_column_with_the_longest_texts_if_none_is_called_so() -> None:
    assert read("a.csv", "x,y\nshort,a longer text\n").documents == ("a longer text",)


def test_table_gives_the_column_that_was_chosen() -> None:
    assert read("a.csv", "text,title\na,b\n", "title").documents == ("b",)
    assert read("a.csv", "text,title\na,b\n", "gone").documents == ("a",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_table_is_divided_as_its_first_line_is(delimiter: str) -> None:
    text = f"id{delimiter}text\n1{delimiter}a\n"
    assert read("a.csv", text).documents == read("a.tsv", text).documents == ("a",)


def test_column_without_a_name_is_called_by_its_place_and_short_lines_are_no_error() -> None:
    content = read("a.csv", "text,\na\n\nb,c\n")
    assert (content.columns, content.documents) == (("text", "2"), ("a", "b"))


def test_table_may_hold_texts_as_long_as_files_are() -> None:
    assert read("a.csv", f"text\n{'x' * 200_000}\n").documents == ("x" * 200_000,)


# -- lines of JSON ------------------------------------------------------------------------------------------------------


def test_lines_of_json_may_be_texts() -> None:
    assert read("a.jsonl", '"a\\nb"\n\n" "\n"c"').documents == ("a\nb", "c")


def test_lines_of_json_may_be_objects_with_columns() -> None:
    content = read("a.jsonl", '{"id": 1, "text": "a"}\n{"text": "b", "tags": ["x"]}\n')
    assert content == FileContent(documents=("a", "b"), columns=("id", "text", "tags"), column="text")
    assert read("a.jsonl", '{"id": 1, "text": "a"}', "id").documents == ("1",)


def test_lines_of_json_may_be_groups() -> None:
    lines = [{"query": " q ", "documents": ["a", {"text": "b"}]}, {"query": "r", "documents": ["c"], "id": 2}]
    content = read("a.ndjson", "\n".join(map(json.dumps, lines)))
    assert content == FileContent(groups=(FileGroup("q", ("a", "b")), FileGroup("r", ("c",))))
    assert content.num_documents == 3


# -- what is wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
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
def test_file_that_cannot_be_used_says_why(name: str, text: str, sentence: str) -> None:
    assert complaint(name, text) == sentence


def test_file_that_is_too_large_is_told_by_its_size_though_it_was_not_sent() -> None:
    with pytest.raises(FormError, match="超过 16 MiB"):
        read_file("a.txt", "", None, CHINESE, num_bytes=MAX_FILE_BYTES + 1)
    with pytest.raises(FormError, match="16 MiB"):
        read_file("a.txt", "x" * (MAX_FILE_BYTES + 1), None, ENGLISH)


def test_column_that_is_empty_is_no_error_while_it_can_still_be_changed() -> None:
    content = read_file("a.csv", "text,title\n,b\n", "text", ENGLISH, may_be_empty=True)
    assert (content.documents, content.columns) == ((), ("text", "title"))


@given(name=st.sampled_from(["a.txt", "a.csv", "a.tsv", "a.jsonl", "a.md"]), text=st.text())
def test_any_text_is_read_or_refused_with_a_sentence(name: str, text: str) -> None:
    try:
        content = read(name, text)
    except FormError as error:
        assert str(error)  # noqa: PT017 - either is fine, nothing else is
    else:
        assert all(document.strip() for document in content.documents)
