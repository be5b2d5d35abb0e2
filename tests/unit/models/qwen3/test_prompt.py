"""The prompt templates, word for word."""

from __future__ import annotations

import pytest

from shortlist.models.qwen3 import prompt


def test_reranker_frame_is_the_model_cards() -> None:
    body = "".join(
        [prompt.instruction_piece("Find it"), prompt.query_piece("what is it?"), prompt.document_piece("This is it.")]
    )
    assert prompt.RERANK_PREFIX + body + prompt.RERANK_SUFFIX == (
        "<|im_start|>system\n"
        "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
        'Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
        "<Instruct>: Find it\n<Query>: what is it?\n<Document>: This is it.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_suffix_ends_in_the_closed_think_block_and_two_newlines() -> None:
    assert prompt.RERANK_SUFFIX.endswith("<think>\n\n</think>\n\n")


def test_embedding_query_frame_is_the_model_cards() -> None:
    framed = prompt.task_piece(prompt.DEFAULT_INSTRUCTION) + prompt.task_query_piece("What is the capital of China?")
    assert framed == (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:What is the capital of China?"
    )


def test_default_instruction_is_the_web_search_preset() -> None:
    assert prompt.INSTRUCTIONS["web-search"] == prompt.DEFAULT_INSTRUCTION


def test_presets_are_distinct_single_lines() -> None:
    assert len(set(prompt.INSTRUCTIONS.values())) == len(prompt.INSTRUCTIONS)
    for text in prompt.INSTRUCTIONS.values():
        assert text == text.strip()
        assert "\n" not in text


def test_presets_cannot_be_changed_at_run_time() -> None:
    with pytest.raises(TypeError):
        prompt.INSTRUCTIONS["web-search"] = "x"  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "has_template"),
    [
        ("Instruct: find\nQuery:what", True),
        ("Instruct: find\nQuery: what", True),
        ("Instruct: find it, please", False),
        ("Query:what", False),
        (" Instruct: find\nQuery:what", False),
        ("Instruct:find\nQuery:what", False),
        ("", False),
    ],
)
def test_framed_query_is_recognised(text: str, has_template: bool) -> None:
    assert prompt.has_template(text) is has_template


def test_templated_text_is_detected() -> None:
    for instruction in prompt.INSTRUCTIONS.values():
        assert prompt.has_template(prompt.task_piece(instruction) + prompt.task_query_piece("anything"))


def test_template_version_is_raised_with_every_change_of_wording() -> None:
    """If this fails you changed a frame: raise TEMPLATE_VERSION, or cached scores of the old frame will be served."""
    wording = hash((prompt.RERANK_PREFIX, prompt.RERANK_SUFFIX, prompt.DEFAULT_INSTRUCTION))
    assert wording == hash(
        (
            '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            "Given a web search query, retrieve relevant passages that answer the query",
        )
    )
    assert prompt.TEMPLATE_VERSION == 1
