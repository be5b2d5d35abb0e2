"""The prompt templates of Qwen3-Reranker and Qwen3-Embedding: exact wording, and where it may be split. Pure text.

A change that can alter a prompt raises `TEMPLATE_VERSION`, which is part of every cache key.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shortlist.text.encoder import Parts

TEMPLATE_VERSION: Final = 1

DEFAULT_INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
"""Source: the model cards of Qwen3-Reranker and Qwen3-Embedding."""

DEFAULT_PRESET: Final = "web-search"

INSTRUCTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DEFAULT_PRESET: DEFAULT_INSTRUCTION,
        "question-answering": "Given a question, retrieve passages that contain the answer to the question",
        "fact-check": "Given a claim, retrieve passages that support or refute the claim",
        "duplicate-question": "Given a question, retrieve questions that ask for the same thing",
        "code-search": "Given a description of a task, retrieve code that performs the task",
        "customer-support": "Given a customer's problem, retrieve help articles that solve the problem",
        "scientific-paper": "Given a scientific question, retrieve papers whose findings bear on the question",
        "legal": "Given a legal question, retrieve statutes and rulings that apply to the question",
    }
)
"""Instructions by short name. All but `web-search` are worded by Shortlist, in the card's style."""

# -- Qwen3-Reranker -----------------------------------------------------------------------------------------------------

RERANK_PREFIX: Final = (
    "<|im_start|>system\n"
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
"""Source: the transformers example on the model card of Qwen3-Reranker."""

RERANK_SUFFIX: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
"""Source: as `RERANK_PREFIX`. The score is read at its last token."""

RERANK_CONTROLS: Final = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
"""Parts of the template that must be single tokens."""

RERANK_ANSWERS: Final = ("yes", "no")
"""The words whose logits are compared, as single tokens."""


def instruction_piece(instruction: str) -> str:
    """Return the first piece of the body. It ends in a newline, which no token crosses."""
    return f"<Instruct>: {instruction}\n"


def query_piece(query: str) -> str:
    """Return the second piece of the body. It ends before the space, which belongs to the document's first token."""
    return f"<Query>: {query}\n<Document>:"


DOCUMENT_LEAD: Final = " "


def document_piece(document: str) -> str:
    """Return the third piece of the body."""
    return DOCUMENT_LEAD + document


def has_rerank_template(text: str) -> bool:
    """Return whether a query or a whole pair already has the template: a text about chat templates does not start with one."""
    return text.lstrip().startswith("<|im_start|>") and "<Instruct>" in text


def strip_template(framed: str) -> Parts | None:
    """Return the parts of a templated pair, or None if the template is not the model card's.

    Source: the vLLM example on the model card of Qwen3-Reranker, which applies the template to query and document separately.
    """
    begin, end = RERANK_PREFIX + "<Instruct>:", RERANK_SUFFIX.rstrip()
    body = framed.rstrip()
    if not body.startswith(begin) or not body.endswith(end):
        return None
    instruction, has_query, rest = body[len(begin) : -len(end)].partition("\n<Query>:")
    query, has_document, document = rest.partition("\n<Document>:")
    if not has_query or not has_document:
        return None
    instruction, query = (part.removeprefix(" ").rstrip("\n") for part in (instruction, query))
    return Parts(instruction, query, document.removeprefix(" "))


# -- Qwen3-Embedding ----------------------------------------------------------------------------------------------------

END_OF_TEXT: Final = "<|endoftext|>"
"""Ends every text to embed; its hidden state is the vector. Source: the tokenizer of Qwen3-Embedding, which appends it."""


def task_piece(instruction: str) -> str:
    """Return the first piece of a query to embed. Source: the model card of Qwen3-Embedding."""
    return f"Instruct: {instruction}\n"


def task_query_piece(query: str) -> str:
    """Return the second piece of a query to embed; no space after the colon. Source: as `task_piece`."""
    return f"Query:{query}"


def task_prompt(instruction: str, like: str = "") -> str:
    """Return the prompt of a query to embed; `like` is the model's own one, whose last line is kept."""
    last_line = like.rpartition("\n")[2] if has_template(like) else task_query_piece("")
    return task_piece(instruction) + last_line


def has_template(text: str) -> bool:
    """Return whether a text to embed already has the query template."""
    return text.startswith("Instruct: ") and "\nQuery:" in text
