"""The default instruction of a Qwen3 reranker: its own prompt, that of its chat template, or the model card's."""

from __future__ import annotations

from typing import Final

from shortlist.hub.metadata import ModelMetadata
from shortlist.models.qwen3 import prompt
from shortlist.models.stated import default_prompt, rendered

PAIR_ROLES: Final = ("query", "document")
"""Roles in the chat templates of rerankers. Source: `CrossEncoder` in sentence-transformers 6."""

_QUERY, _DOCUMENT = "a query", "a document"


def default_instruction(metadata: ModelMetadata) -> str:
    """Return the instruction of requests without one."""
    return default_prompt(metadata) or template_instruction(metadata) or prompt.DEFAULT_INSTRUCTION


def template_instruction(metadata: ModelMetadata) -> str | None:
    """Return the instruction in the folder's chat template; None if it is not Qwen3-Reranker's template."""
    if "<Instruct>" not in metadata.chat_template:
        return None
    messages = [{"role": role, "content": text} for role, text in zip(PAIR_ROLES, (_QUERY, _DOCUMENT), strict=True)]
    parts = prompt.strip_template(rendered(metadata.chat_template, messages) or "")
    is_same = parts is not None and (parts.query, parts.document) == (_QUERY, _DOCUMENT)
    return parts.instruction if parts is not None and is_same else None
