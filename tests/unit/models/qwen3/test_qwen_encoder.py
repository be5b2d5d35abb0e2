from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from shortlist.errors import BadSetting, InputTooLong, InvalidInput, ModelRefused
from shortlist.models.qwen3.prompt import INSTRUCTIONS
from shortlist.models.qwen3.qwen_encoder import QWEN_PROMPTS, QwenEncoder
from shortlist.text.model_prompts import Prompts
from shortlist.text.tokenizer import EscapingTokenizer
from shortlist.text.window import OVERLAP
from shortlist.text.window import num_settled as settled_tokens
from shortlist.types import (
    EMBED,
    RERANK,
    Encoded,
    InputType,
    Operation,
    OverflowPolicy,
    TokenPrompt,
    Truncation,
)
from tests.support import qwen
from tests.support.encoded import tokens
from tests.support.fixtures import ModelFactory
from tests.support.texts import AWKWARD, SCRIPTS, awkward_text

SUFFIX = [151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271]
END = 151643


@pytest.fixture(scope="module")
def reranker(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512)


@pytest.fixture(scope="module")
def official(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512, control_tokens="official")


@pytest.fixture(scope="module")
def embedder(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> EscapingTokenizer:
    return EscapingTokenizer(tokenizer_path)


@pytest.fixture(scope="module")
def edited(tokenizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The tokenizer file after a change to its fields."""

    def edit(change: Callable[[dict[str, Any]], object]) -> Path:
        fields = json.loads(tokenizer_path.read_bytes())
        change(fields)
        path = tmp_path_factory.mktemp("edited") / "tokenizer.json"
        path.write_text(json.dumps(fields))
        return path

    return edit


# -- pairs --


def test_prompt_ends_in_the_suffix_and_prefix_starts_with_the_template(reranker: QwenEncoder) -> None:
    [one] = tokens(reranker.encode_pairs("query", ["document"]))
    assert one.ids[-9:].tolist() == SUFFIX
    assert one.prefix.ids[0] == 151644
    assert one.prefix.ids.dtype == one.ids.dtype == np.int32


def test_all_prompts_of_a_request_share_one_prefix_object(reranker: QwenEncoder) -> None:
    first, *others = tokens(reranker.encode_pairs("query", ["a", "b", "c"]))
    assert all(one.prefix is first.prefix for one in others)


def test_answers_are_yes_and_no(reranker: QwenEncoder) -> None:
    assert reranker.answer_ids == (qwen.YES, qwen.NO)


def test_no_documents_give_no_prompts(reranker: QwenEncoder) -> None:
    assert reranker.encode_pairs("query", []) == []


def test_default_instruction_is_the_cards(reranker: QwenEncoder) -> None:
    [default] = tokens(reranker.encode_pairs("q", ["d"]))
    task = "Given a web search query, retrieve relevant passages that answer the query"
    [tokenized] = tokens(reranker.encode_pairs("q", ["d"], instruction=task))
    [other] = tokens(reranker.encode_pairs("q", ["d"], instruction="Find"))
    assert default.prefix.ids.tolist() == tokenized.prefix.ids.tolist()
    assert default.prefix.ids.tolist() != other.prefix.ids.tolist()


def test_long_document_is_cut_to_fill_the_prompt_exactly(reranker: QwenEncoder) -> None:
    long, short = tokens(reranker.encode_pairs("query", ["word " * 2000, "word"]))
    assert long.prefix.num_tokens + long.num_tokens == 512
    assert long.is_truncated
    assert long.ids[-9:].tolist() == SUFFIX
    assert not short.is_truncated


def test_document_that_just_fits_is_not_truncated(reranker: QwenEncoder) -> None:
    limit = 512 - 9 - tokens(reranker.encode_pairs("query", [""]))[0].prefix.num_tokens
    fits, over = tokens(reranker.encode_pairs("query", [" a" * (limit - 1), " a" * limit]))
    # The space before the document is a token of its own here, as the document brings its own space.
    assert (fits.num_tokens, fits.is_truncated) == (limit + 9, False)
    assert (over.num_tokens, over.is_truncated) == (limit + 9, True)


@pytest.mark.parametrize("limit", [1, 2, 7, 50])
def test_max_tokens_per_doc_cuts_the_documents_own_tokens(reranker: QwenEncoder, limit: int) -> None:
    full, _ = tokens(reranker.encode_pairs("query", ["one two three four five six seven eight nine", "x"]))
    cut, short = tokens(
        reranker.encode_pairs(
            "query", ["one two three four five six seven eight nine", "x"], truncation=Truncation(max_tokens_per_doc=limit)
        )
    )
    num_kept = min(limit, full.num_tokens - 9)
    assert cut.ids.tolist() == full.ids[:num_kept].tolist() + SUFFIX
    assert cut.is_truncated is (limit < full.num_tokens - 9)
    assert not short.is_truncated


def test_max_tokens_per_doc_below_one_is_refused(reranker: QwenEncoder) -> None:
    with pytest.raises(InvalidInput) as caught:
        reranker.encode_pairs("query", ["x"], truncation=Truncation(max_tokens_per_doc=0))
    assert caught.value.param == "max_tokens_per_doc"


def test_document_that_may_not_be_cut_is_an_error_naming_it(reranker: QwenEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        reranker.encode_pairs("query", ["fine", "secret " * 1000], on_overflow=OverflowPolicy.ERROR)
    assert caught.value.param == "documents[1]"
    assert "secret" not in caught.value.message


def test_cut_that_the_caller_asked_for_is_no_error(reranker: QwenEncoder) -> None:
    [one] = tokens(
        reranker.encode_pairs(
            "query", ["word " * 1000], on_overflow=OverflowPolicy.ERROR, truncation=Truncation(max_tokens_per_doc=5)
        )
    )
    assert (one.num_tokens, one.is_truncated) == (14, True)


@pytest.mark.parametrize("most", [120, 121, 511])
def test_truncate_prompt_tokens_is_a_shorter_limit(reranker: QwenEncoder, tokenizer_path: Path, most: int) -> None:
    short = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=most)
    for document in ("word " * 1000, "short"):
        [cut] = tokens(reranker.encode_pairs("query", [document], truncation=Truncation(truncate_prompt_tokens=most)))
        [same] = tokens(short.encode_pairs("query", [document]))
        assert cut.ids.tolist() == same.ids.tolist()
        assert cut.is_truncated is same.is_truncated is (document != "short")


def test_longer_truncate_prompt_tokens_than_the_model_reads_changes_nothing(reranker: QwenEncoder) -> None:
    [far] = tokens(reranker.encode_pairs("query", ["word " * 1000], truncation=Truncation(truncate_prompt_tokens=10**6)))
    assert far.prefix.num_tokens + far.num_tokens == 512
    with pytest.raises(InputTooLong):
        reranker.encode_pairs(
            "q", ["w " * 999], on_overflow=OverflowPolicy.ERROR, truncation=Truncation(truncate_prompt_tokens=10**6)
        )


def test_truncate_prompt_tokens_without_room_for_a_document_names_the_query(reranker: QwenEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        reranker.encode_pairs("query", ["x"], truncation=Truncation(truncate_prompt_tokens=60))
    assert caught.value.param == "query"
    assert "60 tokens" in caught.value.message


@pytest.mark.parametrize("most", [1, 2, 3, 7, 30])
@pytest.mark.parametrize(
    "query", [*SCRIPTS.values(), "a  b\n\n\nc", "\U0001f9d1\u200d\U0001f680" * 9, "<|im_end|> x <|im_end|>"]
)
def test_query_is_cut_to_a_beginning_of_so_many_tokens(reranker: QwenEncoder, query: str, most: int) -> None:
    [cut] = tokens(reranker.encode_pairs(query, ["d"], truncation=Truncation(max_tokens_per_query=most)))
    text = next(query[:end] for end in range(len(query), -1, -1) if len(reranker.tokens([" " + query[:end]])[0]) <= most)
    whole = [tokens(reranker.encode_pairs(query[:end], ["d"]))[0].prefix.ids.tolist() for end in {len(text), len(text) - 1}]
    assert cut.prefix.ids.tolist() in whole


def test_query_that_is_short_enough_is_not_cut(reranker: QwenEncoder) -> None:
    [cut] = tokens(reranker.encode_pairs("one two three", ["d"], truncation=Truncation(max_tokens_per_query=3)))
    [same] = tokens(reranker.encode_pairs("one two three", ["d"]))
    assert cut.prefix.ids.tolist() == same.prefix.ids.tolist()


def test_max_tokens_per_query_below_one_is_refused(reranker: QwenEncoder) -> None:
    with pytest.raises(InvalidInput) as caught:
        reranker.encode_pairs("query", ["x"], truncation=Truncation(max_tokens_per_query=0))
    assert caught.value.param == "max_tokens_per_query"


@pytest.mark.parametrize("input_type", InputType)
def test_truncate_prompt_tokens_cuts_texts_to_embed_and_is_no_error(embedder: QwenEncoder, input_type: InputType) -> None:
    [cut, short] = tokens(
        embedder.encode_texts(["word " * 100, "word"], input_type=input_type, truncate=False, truncate_prompt_tokens=30)
    )
    assert cut.prefix.num_tokens + cut.num_tokens == 30
    assert cut.ids[-1] == END
    assert (cut.is_truncated, short.is_truncated) == (True, False)


def test_truncate_prompt_tokens_that_leaves_no_room_for_a_text_is_refused(embedder: QwenEncoder) -> None:
    with pytest.raises(InputTooLong):
        embedder.encode_texts(["word"], truncate_prompt_tokens=1)


def test_max_tokens_per_doc_beyond_the_room_does_not_excuse_a_cut(reranker: QwenEncoder) -> None:
    with pytest.raises(InputTooLong):
        reranker.encode_pairs(
            "query", ["word " * 1000], on_overflow=OverflowPolicy.ERROR, truncation=Truncation(max_tokens_per_doc=4000)
        )


@pytest.mark.parametrize("overflow", OverflowPolicy)
def test_instruction_is_never_cut(reranker: QwenEncoder, overflow: OverflowPolicy) -> None:
    with pytest.raises(InputTooLong) as caught:
        reranker.encode_pairs("q", ["d"], instruction="word " * 600, on_overflow=overflow)
    assert caught.value.param == "query"


@pytest.mark.parametrize("overflow", [OverflowPolicy.TRUNCATE, OverflowPolicy.CHUNK])
def test_query_that_leaves_no_tokens_keeps_half_of_them(reranker: QwenEncoder, overflow: OverflowPolicy) -> None:
    empty = tokens(reranker.encode_pairs("", ["d"]))[0].prefix.num_tokens + len(reranker.suffix_ids)
    [found] = reranker.encode_pairs("word " * 600, ["document " * 600], on_overflow=overflow)
    prefix = found.prompts[0].prefix
    assert found.is_truncated
    assert prefix.num_tokens + len(reranker.suffix_ids) - empty == (reranker.max_model_len - empty) // 2
    assert max(prompt.num_tokens for prompt in found.prompts) <= reranker.max_model_len


def test_query_that_leaves_no_tokens_is_refused_if_nothing_may_be_truncated(reranker: QwenEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        reranker.encode_pairs("word " * 600, ["d"], on_overflow=OverflowPolicy.ERROR)
    assert caught.value.param == "query"


def test_last_room_for_one_token_is_room(tokenizer_path: Path, reranker: QwenEncoder) -> None:
    num_prefix = tokens(reranker.encode_pairs("query", ["d"]))[0].prefix.num_tokens
    snug = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=num_prefix + 10)
    [one] = tokens(snug.encode_pairs("query", ["d e f"]))
    assert one.num_tokens == 10
    tight = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=num_prefix + 9)
    with pytest.raises(InputTooLong):
        tight.encode_pairs("query", ["d e f"])


def test_reranker_does_not_embed(reranker: QwenEncoder) -> None:
    with pytest.raises(InvalidInput):
        reranker.encode_texts(["x"])


# -- texts --


def test_document_to_embed_is_raw_and_ends_in_end_of_text(embedder: QwenEncoder) -> None:
    [one] = tokens(embedder.encode_texts(["hello world"]))
    assert one.prefix.num_tokens == 0
    assert one.ids.tolist() == [14990, 1879, END]


def test_empty_text_is_one_token(embedder: QwenEncoder) -> None:
    [one] = tokens(embedder.encode_texts([""]))
    assert one.ids.tolist() == [END]


def test_end_of_text_survives_the_cut(embedder: QwenEncoder) -> None:
    [one] = tokens(embedder.encode_texts(["word " * 500]))
    assert (one.num_tokens, int(one.ids[-1]), one.is_truncated) == (64, END, True)


def test_queries_share_the_instruction_as_head(embedder: QwenEncoder, tokenizer_path: Path) -> None:
    first, second = tokens(embedder.encode_texts(["!one", "two"], input_type=InputType.QUERY))
    assert first.prefix is second.prefix
    text = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:!one"
    expected = Tokenizer.from_file(str(tokenizer_path)).encode(text).ids
    assert [*first.prefix.ids.tolist(), *first.ids.tolist()] == [*expected, END]


def test_instruction_implies_query(embedder: QwenEncoder) -> None:
    [implied] = tokens(embedder.encode_texts(["x"], instruction="Find"))
    [explicit] = tokens(embedder.encode_texts(["x"], instruction="Find", input_type=InputType.QUERY))
    assert implied.prefix.ids.tolist() == explicit.prefix.ids.tolist()
    assert implied.prefix.num_tokens > 0


def test_framed_query_is_not_framed_again(embedder: QwenEncoder) -> None:
    framed = "Instruct: Find\nQuery:x"
    first, second = tokens(embedder.encode_texts([framed, "x"], input_type=InputType.QUERY, instruction="Find"))
    whole = [*second.prefix.ids.tolist(), *second.ids.tolist()]
    assert first.prefix.num_tokens == 0
    assert first.ids.tolist() == whole


OWN_PROMPTS: dict[str, str] = {
    "query": "Instruct: Find statutes\nQuery: ",
    "document": "passage: ",
    "two lines": "Compare\nthese: ",
    "white space": "Compare\n  ",
    "newline": "Compare:\n",
}


@pytest.mark.parametrize("name", OWN_PROMPTS)
@pytest.mark.parametrize("text", ["lease", " lease", "\n lease", "1", "租约", "!one"])
def test_ids_of_a_prompt_of_the_models_own_are_those_of_the_whole_text(tokenizer_path: Path, name: str, text: str) -> None:
    encoder = QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64, prompts=Prompts(OWN_PROMPTS))
    [one] = tokens(encoder.encode_texts([text], prompt_name=name))
    expected = Tokenizer.from_file(str(tokenizer_path)).encode(OWN_PROMPTS[name] + text).ids
    assert [*one.prefix.ids.tolist(), *one.ids.tolist()] == [*expected, END]


def test_prompts_follow_the_type_of_the_texts(tokenizer_path: Path) -> None:
    encoder = QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64, prompts=Prompts(OWN_PROMPTS, "two lines"))

    def shown(**options: Any) -> str:
        [encoded] = encoder.encode_texts(["lease"], **options)
        return encoder.view(encoded.prompts[0]).text.removesuffix("<|endoftext|>")

    assert shown() == "Compare\nthese: lease"
    assert shown(input_type=InputType.DOCUMENT) == "passage: lease"
    assert shown(input_type=InputType.QUERY) == "Instruct: Find statutes\nQuery: lease"
    assert shown(instruction="Find") == "Instruct: Find\nQuery: lease"
    assert shown(prompt_name="") == "lease"
    assert encoder.template().instruction == "Find statutes"
    assert encoder.template().preset == "model"
    with pytest.raises(InvalidInput, match="must be one of query, document"):
        shown(prompt_name="none")


def test_text_with_one_of_the_models_prompts_gets_no_other(tokenizer_path: Path) -> None:
    encoder = QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64, prompts=Prompts(OWN_PROMPTS))
    [one] = tokens(encoder.encode_texts(["passage: lease"], input_type=InputType.QUERY))
    assert one.prefix.num_tokens == 0


def test_default_instruction_and_presets_of_a_reranker_are_the_models_own(tokenizer_path: Path) -> None:
    prompts = Prompts({"code": "Find functions", "law": "Find statutes"}, "law")
    encoder = QwenEncoder(
        tokenizer_path, operation=RERANK, max_model_len=512, default_instruction="Find statutes", prompts=prompts
    )
    [default] = tokens(encoder.encode_pairs("q", ["d"]))
    [explicit] = tokens(encoder.encode_pairs("q", ["d"], instruction="Find statutes"))
    assert default.prefix.ids.tolist() == explicit.prefix.ids.tolist()
    assert (encoder.template().preset, encoder.template().instruction) == ("law", "Find statutes")
    assert encoder.template(preset="code").instruction == "Find functions"
    assert encoder.template(preset="legal").instruction == INSTRUCTIONS["legal"]


def test_prompts_are_part_of_an_embedders_fingerprint(tokenizer_path: Path) -> None:
    made = [
        QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64, prompts=prompts).fingerprint
        for prompts in (None, QWEN_PROMPTS, Prompts(), Prompts(OWN_PROMPTS), Prompts(OWN_PROMPTS, "query"))
    ]
    assert made[0] == made[1]
    assert len(set(made)) == 4


@pytest.mark.parametrize("query", ["what is <|im_start|> in <Instruct>", "<Instruct> and <|im_start|>"])
def test_query_about_chat_templates_is_no_template(reranker: QwenEncoder, query: str) -> None:
    assert reranker.strip_template(query, "d") is None
    with pytest.raises(InvalidInput):
        reranker.strip_template(f"<|im_start|>{query}", "d")


def test_text_that_may_not_be_cut_is_an_error_naming_it(embedder: QwenEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        embedder.encode_texts(["a", "b", "word " * 100], truncate=False)
    assert caught.value.param == "input[2]"


def test_instruction_without_room_is_an_error(embedder: QwenEncoder) -> None:
    with pytest.raises(InputTooLong) as caught:
        embedder.encode_texts(["x"], instruction="word " * 100)
    assert caught.value.param == "instruction"


def test_embedder_does_not_rerank(embedder: QwenEncoder) -> None:
    with pytest.raises(InvalidInput):
        embedder.encode_pairs("q", ["d"])


# -- instructions by name --


def test_framing_without_wishes_is_the_cards_default(reranker: QwenEncoder) -> None:
    template = reranker.template()
    assert (template.name, template.preset) == ("qwen3-rerank/1", "web-search")
    assert template.instruction == "Given a web search query, retrieve relevant passages that answer the query"


def test_every_preset_has_an_instruction_of_its_own(reranker: QwenEncoder) -> None:
    found = {name: reranker.template(preset=name) for name in INSTRUCTIONS}
    assert {template.preset for template in found.values()} == set(INSTRUCTIONS)
    assert len({template.instruction for template in found.values()}) == len(INSTRUCTIONS) >= 4


def test_own_instruction_is_called_custom(reranker: QwenEncoder) -> None:
    template = reranker.template(instruction="Find it")
    assert (template.preset, template.instruction) == ("custom", "Find it")


@pytest.mark.parametrize("wish", [{"preset": "canary"}, {"preset": "code-search", "instruction": "Find it"}])
def test_preset_that_cannot_be_meant_is_refused_with_the_choices(reranker: QwenEncoder, wish: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        reranker.template(**wish)
    assert caught.value.param == "preset"
    assert "canary" not in caught.value.message


# -- long documents in windows --


def windows_of(encoder: QwenEncoder, document: str, size: int | None = None) -> Encoded:
    [found] = encoder.encode_pairs(
        "query", [document], on_overflow=OverflowPolicy.CHUNK, truncation=Truncation(max_tokens_per_doc=size)
    )
    return found


def test_document_that_fits_is_read_in_one_piece(reranker: QwenEncoder) -> None:
    found = windows_of(reranker, "short")
    assert (len(found.prompts), found.spans, found.is_truncated) == (1, (), False)


@pytest.mark.parametrize("size", [1, 2, 7, 40, None])
@pytest.mark.parametrize("name", [*SCRIPTS, "run", "spaces"])
def test_windows_equal_truncation_of_the_rest(reranker: QwenEncoder, name: str, size: int | None) -> None:
    times = {1: 2, 2: 4, 7: 12}.get(size or 0, 60)  # the number of windows is limited
    others = {"run": "x" * 150 * times, "spaces": ("word" + " " * 500 + "word\n\n" * 40) * -(-times // 8)}
    document = others.get(name) or SCRIPTS[name] * times
    found = windows_of(reranker, document, size)
    assert not found.is_truncated
    assert found.num_tokens == found.num_tokens_total
    for prompt, span in zip(found.prompts, found.spans, strict=True):
        assert isinstance(prompt, TokenPrompt)
        [official] = tokens(
            reranker.encode_pairs("query", [document[span.start :]], truncation=Truncation(max_tokens_per_doc=size))
        )
        assert prompt.ids.tolist() == official.ids.tolist()


@pytest.mark.parametrize("size", [2, 7, 40])
@pytest.mark.parametrize("name", SCRIPTS)
def test_windows_cover_the_whole_text_and_overlap(reranker: QwenEncoder, name: str, size: int) -> None:
    document = SCRIPTS[name] * (2 if size == 2 else 8)
    spans = windows_of(reranker, document, size).spans
    assert spans[0].start == 0
    assert spans[-1].end == len(document)
    for one, following in pairwise(spans):
        assert one.start < following.start
        gap = document[one.end : following.start]
        assert not gap.strip(), "only white space may be left between windows"
        if size >= OVERLAP:
            assert following.start < one.end


def test_windows_begin_at_words_where_they_can(reranker: QwenEncoder) -> None:
    document = "several ordinary words that stand in a row " * 60
    for span in windows_of(reranker, document, 40).spans[1:]:
        assert document[span.start - 1] == " "
        assert document[span.start] != " "


def test_totals_are_counted_when_they_are_wanted(reranker: QwenEncoder) -> None:
    document = "word " * 5000
    [quick] = reranker.encode_pairs("query", [document])
    [counted] = reranker.encode_pairs("query", [document], with_totals=True)
    assert quick.num_tokens_total is None
    assert counted.num_tokens_total == len(reranker._tokenizer.template_ids(" " + document))
    assert quick.num_tokens == counted.num_tokens < counted.num_tokens_total
    assert tokens([quick])[0].ids.tolist() == tokens([counted])[0].ids.tolist()


# -- a prompt for people --


def test_view_shows_every_part_with_its_ids(reranker: QwenEncoder) -> None:
    [found] = reranker.encode_pairs("what", ["a <think> b"])
    view = reranker.view(found.prompts[0])
    assert list(view.parts) == ["prefix", "query", "document", "suffix"]
    assert [len(view.parts[name]) for name in ("prefix", "suffix")] == [39, 9]
    assert [token.id for token in view.parts["suffix"]] == SUFFIX
    assert view.parts["suffix"][-1].text == "\n\n"
    assert view.text.endswith(
        "<Query>: what\n<Document>: a <think> b<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


# -- control tokens --


@pytest.mark.parametrize("token", qwen.ADDED)
def test_control_token_in_user_text_is_plain_characters(reranker: QwenEncoder, token: str) -> None:
    [one] = tokens(reranker.encode_pairs(f"a{token}", [f"{token} b {token}"], instruction=token))
    assert max(one.ids[:-9]) < END
    assert max(one.prefix.ids[39:]) < END


@pytest.mark.parametrize("token", qwen.ADDED)
def test_official_mode_makes_them_control_tokens(official: QwenEncoder, token: str) -> None:
    [one] = tokens(official.encode_pairs("q", [token]))
    assert one.ids.tolist() == [220, END + qwen.ADDED.index(token), *SUFFIX]
    assert official.encode_pairs("q", [token])[0].num_escaped == 0


def test_neutralised_tokens_are_counted(tokenizer_path: Path) -> None:
    encoder = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512)
    found = encoder.encode_pairs("<think>", ["<|im_end|><|im_start|>", "clean < text", "</tool_call>"])
    assert [each.num_escaped for each in found] == [3, 0, 1]


def test_added_tokens_inside_the_vocabulary_are_neutralised_too(edited: Callable[..., Path]) -> None:
    def put_in_vocabulary(fields: dict[str, Any]) -> None:
        fields["model"]["vocab"] |= {token["content"]: token["id"] for token in fields["added_tokens"]}

    encoder = QwenEncoder(edited(put_in_vocabulary), operation=EMBED, max_model_len=512)
    [one] = tokens(encoder.encode_texts(["<think>"]))
    assert 151667 not in one.ids


# -- huge documents: read only as far as needed, with the same ids --


def repeated(text: str, num_chars: int) -> str:
    return text * (num_chars // len(text) + 1)


@pytest.mark.parametrize("limit", [1, 7, 40])
@pytest.mark.parametrize("piece", [*SCRIPTS.values(), *AWKWARD[1:]])
def test_truncation_before_tokenizing_equals_truncation_after(tokenizer: EscapingTokenizer, piece: str, limit: int) -> None:
    text = repeated(piece, 6000)
    [cut] = tokenizer.tokenize([text], limit)
    whole = tokenizer._user.encode(text, add_special_tokens=False).ids
    assert cut.ids.tolist() == whole[:limit]
    assert cut.is_cut is (len(whole) > limit)


@pytest.mark.parametrize("mode", ["neutral", "official"])
def test_truncation_before_tokenizing_equals_truncation_after_for_awkward_texts(tokenizer_path: Path, mode: Any) -> None:
    tokenizer = EscapingTokenizer(tokenizer_path, control_tokens=mode)
    draw = random.Random(5)
    extra = qwen.ADDED if mode == "official" else []
    for _ in range(150):
        pieces = [awkward_text(draw, most=5) + draw.choice(["", *extra]) for _ in range(draw.randint(20, 120))]
        text, limit = "".join(pieces), draw.randint(1, 60)
        [cut] = tokenizer.tokenize([text], limit)
        whole = tokenizer._user.encode(text, add_special_tokens=False).ids
        assert (cut.ids.tolist(), cut.is_cut) == (whole[:limit], len(whole) > limit)


LONG_RUNS = [
    "word e" + "\u0311" * 100 + "\u0323 end",
    "a word \n\n" + " " * 100 + "\n" + " " * 100 + "x",
    "!" + "\n" * 100 + " " * 90 + "\n y",
    "=" * 150 + "\u0338" + "'s",
    "ab " * 30 + "z" * 200 + "'re",
    "か" * 100 + "\u3099" + "。" * 90 + "\n\n",
    "x" + " " * 90 + "<|im_end|>" + " " * 90 + "<|im_start|>" + "y" * 70,
]


@pytest.mark.parametrize("mode", ["neutral", "official"])
def test_settled_tokens_equal_those_of_the_whole_text(reranker: QwenEncoder, official: QwenEncoder, mode: str) -> None:
    tokenizer = (reranker if mode == "neutral" else official)._tokenizer._user
    draw = random.Random(8)
    mixed = ["".join(awkward_text(draw) + draw.choice(["", *qwen.ADDED]) for _ in range(20)) for _ in range(3)]
    num_settled = 0
    for text in [*LONG_RUNS, *mixed]:
        whole = tokenizer.encode(text, add_special_tokens=False).ids
        for cut in range(1, len(text)):
            start = tokenizer.encode(text[:cut], add_special_tokens=False)
            settled = start.ids[: settled_tokens(start, cut)]
            assert settled == whole[: len(settled)], (text[:cut], text[cut:])
            num_settled += len(settled)
    assert num_settled > 10_000


def test_huge_document_is_not_read_to_its_end(tokenizer: EscapingTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Spy:
        def encode_batch(self, texts: list[str], **options: bool) -> object:
            read.extend(len(text) for text in texts)
            return real.encode_batch(texts, **options)

        def encode_batch_fast(self, texts: list[str], **options: bool) -> object:
            read.extend(len(text) for text in texts)
            return real.encode_batch_fast(texts, **options)

    real = tokenizer._user
    monkeypatch.setattr(tokenizer, "_user", Spy())
    tokenizer.tokenize(["some words and more " * 200_000], 100)
    assert sum(read) < 5000


def test_order_is_kept_when_short_and_huge_texts_mix(tokenizer: EscapingTokenizer) -> None:
    texts = ["a", "word " * 5000, "b", " " * 9000, "c", "中" * 9000]
    ids = [one.ids[0] for one in tokenizer.tokenize(texts, 5)]
    assert ids == [tokenizer.tokenize([text], 5)[0].ids[0] for text in texts]


# -- loading --


def test_padding_truncation_and_post_processor_of_the_file_are_ignored(tokenizer_path: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=20, pad_id=5)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = QwenEncoder(tmp_path / "tokenizer.json", operation=EMBED, max_model_len=64)
    plain = QwenEncoder(tokenizer_path, operation=EMBED, max_model_len=64)
    [one], [other] = (
        tokens(encoder.encode_texts(["one two three four five"])),
        tokens(plain.encode_texts(["one two three four five"])),
    )
    assert one.ids.tolist() == other.ids.tolist()


def test_embedders_own_post_processor_does_not_add_a_second_end(make_model: ModelFactory) -> None:
    encoder = QwenEncoder(make_model(kind="embedder") / "tokenizer.json", operation=EMBED, max_model_len=64)
    [one] = tokens(encoder.encode_texts(["hello"]))
    assert one.ids.tolist() == [14990, END]


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"tokenizer\.json"):
        QwenEncoder(tmp_path / "tokenizer.json", operation=EMBED, max_model_len=64)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": null}', '{"model": {"type": "Unigram"}}'])
def test_broken_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ModelRefused, match=r"tokenizer\.json"):
        QwenEncoder(path, operation=EMBED, max_model_len=64)


@pytest.mark.parametrize(
    "token", ["<|im_start|>", *(pytest.param(token, marks=pytest.mark.full) for token in ("<|im_end|>", "<think>", "</think>"))]
)
def test_tokenizer_without_a_control_token_is_refused(edited: Callable[..., Path], token: str) -> None:
    path = edited(lambda fields: fields.update(added_tokens=[t for t in fields["added_tokens"] if t["content"] != token]))
    with pytest.raises(ModelRefused, match="single added token") as caught:
        QwenEncoder(path, operation=RERANK, max_model_len=512)
    assert token in caught.value.message


def test_tokenizer_without_end_of_text_cannot_embed(edited: Callable[..., Path]) -> None:
    path = edited(lambda fields: fields.update(added_tokens=fields["added_tokens"][1:]))
    with pytest.raises(ModelRefused, match="endoftext"):
        QwenEncoder(path, operation=EMBED, max_model_len=512)


def test_tokenizer_with_two_tokens_for_yes_is_refused(edited: Callable[..., Path]) -> None:
    def split_yes(fields: dict[str, Any]) -> None:
        model = fields["model"]
        model["ignore_merges"] = False
        model["merges"] = [pair for pair in model["merges"] if "".join(pair) != "yes"]

    with pytest.raises(ModelRefused, match="'yes' is 2 tokens"):
        QwenEncoder(edited(split_yes), operation=RERANK, max_model_len=512)


def test_tokenizer_that_splits_elsewhere_is_refused(edited: Callable[..., Path]) -> None:
    def by_line(fields: dict[str, Any]) -> None:
        fields["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\n<Query>|\n|[^\n]+"}

    with pytest.raises(ModelRefused, match="does not split words"):
        QwenEncoder(edited(by_line), operation=RERANK, max_model_len=512)


@pytest.mark.parametrize(("task", "num_framed"), [(RERANK, 48), (EMBED, 1)])
def test_limit_below_the_frame_is_refused(tokenizer_path: Path, task: Operation, num_framed: int) -> None:
    with pytest.raises(BadSetting, match="max_model_len"):
        QwenEncoder(tokenizer_path, operation=task, max_model_len=num_framed)


# -- identity and threads --


def test_fingerprint_names_everything_that_changes_a_prompt(
    tokenizer_path: Path, edited: Callable[..., Path], reranker: QwenEncoder, official: QwenEncoder, embedder: QwenEncoder
) -> None:
    longer = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=513)
    other_file = QwenEncoder(edited(lambda fields: fields.update(decoder=None)), operation=RERANK, max_model_len=512)
    same = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512)
    assert len({one.fingerprint for one in (reranker, official, embedder, longer, other_file)}) == 5
    assert same.fingerprint == reranker.fingerprint


def test_frame_version_is_part_of_the_fingerprint(tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512).fingerprint
    monkeypatch.setattr("shortlist.models.qwen3.prompt.TEMPLATE_VERSION", 2)
    assert QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=512).fingerprint != before


def test_threads_do_not_disturb_each_other(reranker: QwenEncoder) -> None:
    texts = [*SCRIPTS.values()] * 4
    alone = [tokens(reranker.encode_pairs(text, [text[::-1], "<think>"]))[0].ids.tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(
            pool.map(lambda text: tokens(reranker.encode_pairs(text, [text[::-1], "<think>"]))[0].ids.tolist(), texts)
        )
    assert together == alone
