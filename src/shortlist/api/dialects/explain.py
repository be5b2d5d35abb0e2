"""Shortlist's explain request: a rerank request for a few documents, answered with prompt, ids and logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from shortlist.api.dialects.common import CommonRerankRequest
from shortlist.api.dialects.conversions import usage
from shortlist.api.dialects.dialect import ResponseMeta
from shortlist.schemas.explain import BestChunk, ExplainAnswer, ExplainedDocument, PromptPart, TokenText
from shortlist.types import Explained, Explanation

SEAM_TOKENS = 8
"""How many tokens are shown on either side of a place where parts of a prompt meet."""

MAX_DOCUMENTS = 32
"""Explaining computes every document once more and shows it whole; it is for looking, not for ranking."""


class ExplainRequest(CommonRerankRequest):
    """Explain the scores of documents."""

    paths: ClassVar[tuple[str, ...]] = ("/v1/explain",)

    def explained(self, explanation: Explanation, meta: ResponseMeta) -> ExplainAnswer:
        """Return every document's prompt, ids, logits and score, in the order of the request."""
        return {
            "id": f"explain-{meta.request_id}",
            "object": "list",
            "model": self.model or explanation.model,
            "prompt": {
                "template": explanation.template.name,
                "preset": explanation.template.preset,
                "instruction": explanation.template.instruction,
            },
            "documents": [_document(each) for each in explanation.documents],
            "usage": usage(explanation.usage.num_tokens),
        }


def _document(explained: Explained) -> ExplainedDocument:
    stats = explained.stats
    best: BestChunk = {} if stats.best is None else {"best_chunk": {"start": stats.best.start, "end": stats.best.end}}
    return {
        "index": explained.index,
        "relevance_score": explained.score,
        "log_odds": explained.raw_score,
        "logits": dict(explained.logits),
        "cached": explained.is_cached,
        "tokens_used": stats.num_tokens,
        "tokens_total": stats.num_tokens_total,
        "truncated": stats.is_truncated,
        "num_chunks": stats.num_windows,
        **best,
        "neutralised_tokens": explained.num_escaped,
        "prompt": explained.prompt,
        "parts": [_part(name, tokens) for name, tokens in explained.parts.items() if tokens],
    }


def _part(name: str, tokens: Sequence[tuple[int, str]]) -> PromptPart:
    shown: list[TokenText] = [{"id": number, "text": text} for number, text in tokens]
    is_short = len(shown) <= 2 * SEAM_TOKENS
    return {
        "name": name,
        "num_tokens": len(shown),
        "first": shown if is_short else shown[:SEAM_TOKENS],
        "last": [] if is_short else shown[-SEAM_TOKENS:],
    }
