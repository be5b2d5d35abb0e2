from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from shortlist.errors import InputTooLong, InvalidInput
from shortlist.text.model_prompts import Prompts
from shortlist.text.text_encoder import TextEncoder
from shortlist.text.text_rules import TextRules, longest_first
from shortlist.types import Encoded, InputType, OverflowPolicy, TextPrefix, TextPrompt, Truncation
from tests.support.encoded import prompts, texts

LIMIT = 12


@pytest.fixture(scope="module")
def word_tokenizer() -> bytes:
    """One token per word; pairs become [CLS] a [SEP] b [SEP], as BERT's are. Its file asks for padding and cutting."""
    words = ["[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "four", "query", ":", "passage"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    return tokenizer.to_str().encode()


@pytest.fixture
def encoder(word_tokenizer: bytes) -> TextEncoder:
    return made(word_tokenizer, reads_pairs=True)


def made(tokenizer: bytes, *, limit: int = LIMIT, **rules: Any) -> TextEncoder:
    return TextEncoder(TextRules(tokenizer=tokenizer, **{"reads_pairs": False, **rules}), limit)


def test_pair_is_text_with_its_cost_in_tokens(encoder: TextEncoder) -> None:
    first, second = texts(encoder.encode_pairs("one two", ["three", "three four one"]))
    assert first.prefix is second.prefix
    assert (first.prefix.text, first.prefix.num_tokens) == ("one two", 2)
    assert (first.text, first.num_tokens, first.is_truncated) == ("three", 1 + 3, False)
    assert (second.text, second.num_tokens) == ("three four one", 3 + 3)


def test_long_document_is_truncated_by_the_model_which_sees_where_it_goes_on(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 900]))
    assert one.prefix.text == "one two three"
    assert "four " * 7 < one.text < "four " * 100
    assert one.prefix.num_tokens + one.num_tokens == LIMIT
    assert one.is_truncated


def test_long_document_is_cut_at_a_token_where_the_model_would_truncate_its_template(word_tokenizer: bytes) -> None:
    encoder = made(word_tokenizer, reads_pairs=True, truncates=False)
    [one] = texts(encoder.encode_pairs("one two three", ["four " * 900]))
    assert (one.prefix.text, one.text) == ("one two three", "four four four four four four")
    assert one.is_truncated


@pytest.mark.parametrize(
    ("num_query", "num_document", "kept"),
    [(3, 6, (3, 6)), (3, 20, (3, 6)), (20, 3, (6, 3)), (20, 30, (4, 5)), (30, 20, (5, 4)), (5, 5, (4, 5)), (0, 20, (0, 9))],
)
def test_longer_text_is_truncated_first(num_query: int, num_document: int, kept: tuple[int, int]) -> None:
    assert longest_first(num_query, num_document, 9) == kept


def test_query_and_document_are_truncated_as_the_tokenizer_truncates_pairs(word_tokenizer: bytes) -> None:
    tokenizer = Tokenizer.from_str(word_tokenizer.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT)
    encoder = made(word_tokenizer, reads_pairs=True, truncates=False)
    for num_query in range(1, 20):
        for num_document in range(1, 20):
            query, document = "one " * num_query, "two " * num_document
            official = tokenizer.encode(query, document)
            [own] = texts(encoder.encode_pairs(query, [document]))
            assert own.prefix.text.split() == [token for token in official.tokens if token == "one"]
            assert own.text.split() == [token for token in official.tokens if token == "two"]
            assert own.is_truncated is (num_query + num_document > LIMIT - 3)


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
        encoder.encode_pairs("one two", ["four"], truncation=Truncation(truncate_prompt_tokens=4))
    assert caught.value.param == "query"


def test_truncate_prompt_tokens_cuts_texts_to_embed(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_texts(["four " * 20], truncate=False, truncate_prompt_tokens=6))
    assert (one.num_tokens, one.is_truncated) == (6, True)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_texts(["four"], truncate_prompt_tokens=1)
    assert caught.value.param == "truncate_prompt_tokens"


def test_query_that_leaves_no_tokens_is_refused_if_nothing_may_be_truncated(encoder: TextEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_pairs("one " * 9, ["two"], on_overflow=OverflowPolicy.ERROR)
    assert caught.value.param == "query"


def test_query_that_leaves_no_tokens_for_windows_keeps_half(encoder: TextEncoder) -> None:
    [found] = encoder.encode_pairs("one " * 9, ["two " * 20], on_overflow=OverflowPolicy.CHUNK)
    prefix = found.prompts[0].prefix
    assert isinstance(prefix, TextPrefix)
    assert prefix.text.split() == ["one"] * 4
    assert len(found.prompts) > 1


def test_texts_to_embed(word_tokenizer: bytes) -> None:
    encoder = made(word_tokenizer, reads_pairs=False)
    short, long = texts(encoder.encode_texts(["one", "two " * 20]))
    assert (short.text, short.num_tokens, short.is_truncated) == ("one", 3, False)
    assert (long.num_tokens, long.is_truncated) == (LIMIT, True)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode_texts(["one", "two " * 20], truncate=False)
    assert caught.value.param == "input[1]"


def test_empty_text_counts_tokens(encoder: TextEncoder) -> None:
    [one] = texts(encoder.encode_texts([""]))
    assert (one.text, one.num_tokens) == ("", 3)
    [free] = texts(made(b"", reads_pairs=False).encode_texts([""]))
    assert free.num_tokens == 1


PROMPTS = Prompts({"query": "query: ", "passage": "passage: "})


def test_prompts_go_before_texts_and_count(word_tokenizer: bytes) -> None:
    alone = made(word_tokenizer, prompts=PROMPTS)
    query, document = (only(alone.encode_texts(["one"], input_type=each)) for each in (InputType.QUERY, InputType.DOCUMENT))
    assert (query.prompt, query.text, query.num_tokens) == ("query: ", "one", 5)
    assert (document.prompt, document.text) == ("passage: ", "one")
    pair = only(alone.encode_pairs("one", ["two"]))
    assert (pair.prefix.prompt, pair.prefix.text, pair.prompt, pair.text) == ("query: ", "one", "passage: ", "two")
    crossing = made(word_tokenizer, reads_pairs=True, prompts=Prompts({"task": "query: "}, "task"))
    pair = only(crossing.encode_pairs("one", ["two"]))
    assert (pair.prefix.prompt, pair.prefix.text, pair.prefix.num_tokens, pair.prompt) == ("query: ", "one", 3, "")


@pytest.mark.parametrize("text", ["query: one", "passage: one"])
@pytest.mark.parametrize("input_type", InputType)
def test_text_that_has_a_prompt_gets_no_other(word_tokenizer: bytes, text: str, input_type: InputType) -> None:
    [own] = made(word_tokenizer, prompts=PROMPTS).encode_texts([text], input_type=input_type)
    assert only([own]).prompt == ""
    assert only([own]).text == text


def test_prompt_of_a_name_is_used_and_unknown_names_are_refused(word_tokenizer: bytes) -> None:
    encoder = made(word_tokenizer, prompts=Prompts({"one": "query: ", "two": "passage: "}, "two"))
    assert only(encoder.encode_texts(["x"], prompt_name="one")).prompt == "query: "
    assert only(encoder.encode_texts(["x"])).prompt == "passage: "
    assert only(encoder.encode_texts(["x"], prompt_name="")).prompt == ""
    assert only(encoder.encode_texts(["x"], input_type=InputType.QUERY)).prompt == ""
    with pytest.raises(InvalidInput, match="must be one of one, two") as caught:
        encoder.encode_texts(["x"], prompt_name="three")
    assert caught.value.param == "prompt_name"


def test_types_of_texts_have_limits_of_their_own(word_tokenizer: bytes) -> None:
    encoder = made(word_tokenizer, limits={InputType.QUERY: 5})
    query, document = (
        only(encoder.encode_texts(["one " * 20], input_type=each)) for each in (InputType.QUERY, InputType.DOCUMENT)
    )
    assert (query.num_tokens, document.num_tokens) == (5, LIMIT)


def only(encoded: list[Encoded]) -> TextPrompt:
    [prompt] = prompts(encoded)
    assert isinstance(prompt, TextPrompt)
    return prompt


def test_instruction_is_refused_by_models_that_take_none(encoder: TextEncoder) -> None:
    with pytest.raises(InvalidInput) as caught:
        encoder.encode_pairs("one", ["two"], instruction="four")
    assert caught.value.param == "instruction"
    with pytest.raises(InvalidInput):
        encoder.encode_texts(["one"], instruction="four")


def test_without_a_tokenizer_lengths_are_guessed_and_requests_that_need_them_are_refused() -> None:
    encoder = made(b"")
    [one] = texts(encoder.encode_pairs("a" * 400, ["b" * 4000]))
    assert (one.text, one.num_tokens, one.is_truncated) == ("b" * 4000, 1001, False)
    assert one.prefix.num_tokens == 101
    with pytest.raises(InvalidInput, match="cannot be counted"):
        encoder.encode_pairs("a", ["b"], on_overflow=OverflowPolicy.ERROR)
    with pytest.raises(InvalidInput, match="cannot be counted"):
        encoder.encode_pairs("a", ["b"], truncation=Truncation(max_tokens_per_doc=3))
    with pytest.raises(InvalidInput, match="cannot be counted"):
        encoder.encode_texts(["a"], truncate=False)
    with pytest.raises(InvalidInput, match="cannot be counted"):
        encoder.encode_texts(["a"], truncate_prompt_tokens=20)


def test_fingerprint_names_everything_that_changes_a_prompt(word_tokenizer: bytes) -> None:
    found = [
        made(word_tokenizer, reads_pairs=True),
        made(word_tokenizer, limit=LIMIT + 1, reads_pairs=True),
        made(b"", reads_pairs=False),
        made(word_tokenizer, reads_pairs=True, prompts=PROMPTS),
    ]
    assert len({one.fingerprint for one in [*found, made(word_tokenizer, reads_pairs=False)]}) == 5
    assert made(word_tokenizer, reads_pairs=True).fingerprint == found[0].fingerprint


def test_model_that_reads_texts_alone_leaves_the_query_out_of_account(word_tokenizer: bytes) -> None:
    encoder = made(word_tokenizer, reads_pairs=False)
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
