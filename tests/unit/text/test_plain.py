from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from shortlist.errors import InputTooLong, InvalidInput, ModelRefused
from shortlist.text.plain import TextEncoder
from shortlist.types import Prompt, TextPrompt

LIMIT = 12


@pytest.fixture(scope="module")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token per word; pairs are spelled [CLS] a [SEP] b [SEP], as BERT's are. Its file asks for padding and cutting."""
    words = ["[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "query", ":", "passage"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    path = tmp_path_factory.mktemp("plain") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def encoder(word_tokenizer: Path) -> TextEncoder:
    return TextEncoder(word_tokenizer, LIMIT)


def texts(prompts: list[Prompt]) -> list[TextPrompt]:
    assert all(isinstance(one, TextPrompt) for one in prompts)
    return [one for one in prompts if isinstance(one, TextPrompt)]


def test_pair_is_text_with_its_cost_in_tokens(encoder: TextEncoder) -> None:
    first, second = texts(encoder.encode_pairs("one two", ["three", "three four one"]))
    assert first.head is second.head
    assert (first.head.text, first.head.num_tokens) == ("one two", 2)
    assert (first.text, first.num_tokens, first.is_truncated) == ("three", 1 + 3, False)
    assert (second.text, second.num_tokens) == ("three four one", 3 + 3)


def test_long_document_is_cut_at_a_token_and_the_query_never(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 20]))
    assert one.head.text == "one two three"
    assert one.text == "four four four four four four"
    assert one.head.num_tokens + one.num_tokens == LIMIT
    assert one.is_truncated


def test_document_that_just_fits_is_whole(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 6]))
    assert (one.text, one.is_truncated) == ("four " * 6, False)


def test_document_that_may_not_be_cut_is_an_error_naming_it(encoder: TextEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one", ["two", "four " * 20], truncate=False)
    assert caught.value.param == "documents[1]"


def test_max_tokens_per_doc_cuts_and_is_no_error(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one", ["two three four one"], max_tokens_per_doc=2, truncate=False))
    assert (one.text, one.is_truncated) == ("two three", True)


def test_query_without_room_is_an_error(encoder: TextEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one " * 9, ["two"])
    assert caught.value.param == "query"


def test_texts_to_embed(encoder: TextEncoder) -> None:
    short, long = texts(encoder.encode_texts(["one", "two " * 20]))
    assert (short.text, short.num_tokens, short.is_truncated) == ("one", 3, False)
    assert (long.num_tokens, long.is_truncated) == (LIMIT, True)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_texts(["one", "two " * 20], truncate=False)
    assert caught.value.param == "input[1]"


def test_empty_text_still_costs_something(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_texts([""]))
    assert (one.text, one.num_tokens) == ("", 2)
    [free] = texts(TextEncoder(None, LIMIT).encode_texts([""]))
    assert free.num_tokens == 1


def test_prompts_go_before_texts(word_tokenizer: Path) -> None:
    encoder = TextEncoder(word_tokenizer, LIMIT, {"query": "query: ", "document": "passage: "})
    [query] = texts(encoder.encode_texts(["one"], is_query=True))
    [document] = texts(encoder.encode_texts(["one"]))
    [pair] = texts(encoder.encode_pairs("one", ["two"]))
    assert (query.text, query.num_tokens) == ("query: one", 5)
    assert document.text == "passage: one"
    assert (pair.head.text, pair.text) == ("query: one", "passage: two")


def test_instruction_is_refused_by_models_that_take_none(encoder: TextEncoder) -> None:
    with pytest.raises(InvalidInput) as caught:
        encoder.encode_pairs("one", ["two"], instruction="four")
    assert caught.value.param == "instruction"
    with pytest.raises(InvalidInput):
        encoder.encode_texts(["one"], instruction="four")


def test_instruction_goes_into_a_prompt_that_has_a_place_for_it(word_tokenizer: Path) -> None:
    encoder = TextEncoder(word_tokenizer, LIMIT, {"query": "{instruction}: ", "instruction": "four"})
    [asked] = texts(encoder.encode_texts(["one"], instruction="three"))
    [default] = texts(encoder.encode_texts(["one"], is_query=True))
    assert (asked.text, default.text) == ("three: one", "four: one")


def test_without_a_tokenizer_lengths_are_guessed_and_nothing_is_cut() -> None:
    encoder = TextEncoder(None, LIMIT)
    [one] = texts(encoder.encode_pairs("a" * 400, ["b" * 4000], truncate=False))
    assert (one.text, one.num_tokens, one.is_truncated) == ("b" * 4000, 1001, False)
    assert one.head.num_tokens == 101


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_broken_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelRefused):
        TextEncoder(path, LIMIT)


def test_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        TextEncoder(tmp_path / "tokenizer.json", LIMIT)


def test_fingerprint_names_everything_that_changes_a_prompt(word_tokenizer: Path) -> None:
    found = [
        TextEncoder(word_tokenizer, LIMIT),
        TextEncoder(word_tokenizer, LIMIT + 1),
        TextEncoder(None, LIMIT),
        TextEncoder(word_tokenizer, LIMIT, {"query": "query: "}),
    ]
    assert len({one.fingerprint for one in found}) == 4
    assert TextEncoder(word_tokenizer, LIMIT).fingerprint == found[0].fingerprint
