from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from shortlist.errors import InputTooLong, InvalidInput, ModelRefused
from shortlist.text.text_encoder import TextEncoder
from shortlist.types import OverflowPolicy, TextPrompt, Truncation
from tests.support.encoded import texts

LIMIT = 12


@pytest.fixture(scope="module")
def word_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token per word; pairs become [CLS] a [SEP] b [SEP], as BERT's are. Its file asks for padding and cutting."""
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
    return TextEncoder(word_tokenizer, LIMIT, reads_pairs=True)


def test_pair_is_text_with_its_cost_in_tokens(encoder: TextEncoder) -> None:
    first, second = texts(encoder.encode_pairs("one two", ["three", "three four one"]))
    assert first.prefix is second.prefix
    assert (first.prefix.text, first.prefix.num_tokens) == ("one two", 2)
    assert (first.text, first.num_tokens, first.is_truncated) == ("three", 1 + 3, False)
    assert (second.text, second.num_tokens) == ("three four one", 3 + 3)


def test_long_document_is_cut_at_a_token_and_the_query_never(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 20]))
    assert one.prefix.text == "one two three"
    assert one.text == "four four four four four four"
    assert one.prefix.num_tokens + one.num_tokens == LIMIT
    assert one.is_truncated


def test_document_that_just_fits_is_whole(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 6]))
    assert (one.text, one.is_truncated) == ("four " * 6, False)


def test_document_that_may_not_be_cut_is_an_error_naming_it(encoder: TextEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one", ["two", "four " * 20], on_overflow=OverflowPolicy.ERROR)
    assert caught.value.param == "documents[1]"


def test_max_tokens_per_doc_cuts_and_is_no_error(encoder: TextEncoder) -> None:
    [one] = texts(
        encoder.encode_pairs(
            "one", ["two three four one"], truncation=Truncation(max_tokens_per_doc=2), on_overflow=OverflowPolicy.ERROR
        )
    )
    assert (one.text, one.is_truncated) == ("two three", True)


def test_query_is_cut_to_its_own_tokens(encoder: TextEncoder) -> None:
    [cut] = texts(encoder.encode_pairs("one two three", ["four"], truncation=Truncation(max_tokens_per_query=2)))
    [whole] = texts(encoder.encode_pairs("one two", ["four"], truncation=Truncation(max_tokens_per_query=2)))
    assert (cut.prefix.text, cut.prefix.num_tokens) == (whole.prefix.text, whole.prefix.num_tokens) == ("one two", 2)


def test_truncate_prompt_tokens_counts_everything_and_is_no_error(encoder: TextEncoder) -> None:
    [one] = texts(
        encoder.encode_pairs(
            "one two", ["four " * 20], truncation=Truncation(truncate_prompt_tokens=8), on_overflow=OverflowPolicy.ERROR
        )
    )
    assert one.prefix.num_tokens + one.num_tokens == 8
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one two", ["four"], truncation=Truncation(truncate_prompt_tokens=5))
    assert caught.value.param == "query"


def test_truncate_prompt_tokens_cuts_texts_to_embed(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_texts(["four " * 20], truncate=False, truncate_prompt_tokens=6))
    assert (one.num_tokens, one.is_truncated) == (6, True)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_texts(["four"], truncate_prompt_tokens=1)
    assert caught.value.param == "truncate_prompt_tokens"


def test_query_without_room_is_an_error(encoder: TextEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one " * 9, ["two"])
    assert caught.value.param == "query"


def test_texts_to_embed(word_tokenizer: Path) -> None:
    encoder = TextEncoder(word_tokenizer, LIMIT, reads_pairs=False)
    short, long = texts(encoder.encode_texts(["one", "two " * 20]))
    assert (short.text, short.num_tokens, short.is_truncated) == ("one", 3, False)
    assert (long.num_tokens, long.is_truncated) == (LIMIT, True)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_texts(["one", "two " * 20], truncate=False)
    assert caught.value.param == "input[1]"


def test_empty_text_counts_tokens(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_texts([""]))
    assert (one.text, one.num_tokens) == ("", 3)
    [free] = texts(TextEncoder(None, LIMIT, reads_pairs=False).encode_texts([""]))
    assert free.num_tokens == 1


def test_prompts_go_before_texts(word_tokenizer: Path) -> None:
    encoder = TextEncoder(word_tokenizer, LIMIT, reads_pairs=True, prompts={"query": "query: ", "document": "passage: "})
    alone = TextEncoder(word_tokenizer, LIMIT, reads_pairs=False, prompts={"query": "query: ", "document": "passage: "})
    [query] = texts(alone.encode_texts(["one"], is_query=True))
    [document] = texts(alone.encode_texts(["one"]))
    [pair] = texts(encoder.encode_pairs("one", ["two"]))
    assert (query.text, query.num_tokens) == ("query: one", 5)
    assert document.text == "passage: one"
    assert (pair.prefix.text, pair.text) == ("query: one", "passage: two")


def test_instruction_is_refused_by_models_that_take_none(encoder: TextEncoder) -> None:
    with pytest.raises(InvalidInput) as caught:
        encoder.encode_pairs("one", ["two"], instruction="four")
    assert caught.value.param == "instruction"
    with pytest.raises(InvalidInput):
        encoder.encode_texts(["one"], instruction="four")


def test_without_a_tokenizer_lengths_are_guessed_and_nothing_is_cut() -> None:
    encoder = TextEncoder(None, LIMIT, reads_pairs=False)
    [one] = texts(encoder.encode_pairs("a" * 400, ["b" * 4000], on_overflow=OverflowPolicy.ERROR))
    assert (one.text, one.num_tokens, one.is_truncated) == ("b" * 4000, 1001, False)
    assert one.prefix.num_tokens == 101


@pytest.mark.parametrize("content", ["{", "{}", "7"])
def test_broken_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelRefused):
        TextEncoder(path, LIMIT, reads_pairs=True)


def test_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        TextEncoder(tmp_path / "tokenizer.json", LIMIT, reads_pairs=True)


def test_fingerprint_names_everything_that_changes_a_prompt(word_tokenizer: Path) -> None:
    found = [
        TextEncoder(word_tokenizer, LIMIT, reads_pairs=True),
        TextEncoder(word_tokenizer, LIMIT + 1, reads_pairs=True),
        TextEncoder(None, LIMIT, reads_pairs=False),
        TextEncoder(word_tokenizer, LIMIT, reads_pairs=True, prompts={"query": "query: "}),
    ]
    assert len({one.fingerprint for one in [*found, TextEncoder(word_tokenizer, LIMIT, reads_pairs=False)]}) == 5
    assert TextEncoder(word_tokenizer, LIMIT, reads_pairs=True).fingerprint == found[0].fingerprint


def test_model_that_reads_texts_alone_leaves_the_query_out_of_account(word_tokenizer: Path) -> None:
    encoder = TextEncoder(word_tokenizer, LIMIT, reads_pairs=False)
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 10]))
    assert (one.num_tokens, one.is_truncated) == (LIMIT, False)


@pytest.mark.parametrize("wish", [{"instruction": "find"}, {"preset": "web-search"}])
def test_framing_is_the_models_own(encoder: TextEncoder, wish: dict[str, str]) -> None:
    assert (encoder.template().preset, encoder.template().instruction) == ("none", None)
    with pytest.raises(InvalidInput) as caught:
        encoder.template(**wish)
    assert caught.value.param == next(iter(wish))


def test_long_document_is_read_in_windows(encoder: TextEncoder) -> None:
    document = "one two three four " * 10
    [found] = encoder.encode_pairs("query", [document], on_overflow=OverflowPolicy.CHUNK)
    assert found.num_tokens == found.num_tokens_total == 40
    assert not found.is_truncated
    for prompt, span in zip(found.prompts, found.spans, strict=True):
        assert isinstance(prompt, TextPrompt)
        assert prompt.text == document[span.start : span.end]
        assert prompt.num_tokens <= LIMIT
    covered = {place for span in found.spans for place in range(span.start, span.end)}
    assert all(place in covered or document[place].isspace() for place in range(len(document)))


def test_prompt_is_shown_as_text(encoder: TextEncoder) -> None:
    [found] = encoder.encode_pairs("query", ["one"])
    assert encoder.view(found.prompts[0]).text == "query\none"
