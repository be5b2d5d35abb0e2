"""The rerank request that Cohere, Jina, vLLM, Xinference, SiliconFlow and many gateways share.

A result has exactly `index`, `relevance_score` and, on request, `document`: strict clients reject other keys and null
documents. Shortlist's own fields are at the top level.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from shortlist.api.dialects.dialect import Dialect, Json, RequestFields, RequestView, RerankModel, ResponseMeta
from shortlist.api.dialects.fields import Count, Documents, PromptTokens, Query, Side, overflow, truncation, usage
from shortlist.types import DocumentStats, OverflowPolicy, Ranked, RequestOptions, RerankOutcome, RerankTask

RERANK_PATHS: Final = (
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/reranking",
    "/v1/reranking",
    "/reranks",
    "/v1/reranks",
    "/compatible-api/v1/reranks",
)
"""Paths of rerank requests. Sources: the dialects' own files."""

SEARCH_UNIT_DOCUMENTS = 100
"""One billed search unit is a query with up to this many documents. Source: docs.cohere.com, pricing of rerank."""


class ChatTemplateArguments(RequestFields):
    """The field in which vLLM's clients send the instruction."""

    instruction: str | None = None


class CommonRerankRequest(RerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    example: ClassVar[Json] = {
        "query": "how do I read a json file in python",
        "documents": ["bake bread at 220 C", "open the file and call json.load", "pythons are large snakes"],
    }

    model: str | None = Field(default=None, description="A served model; the default reranker if absent.")
    query: Query = Field(description="What is searched for.")
    rank_fields: list[str] | None = Field(
        default=None, description="For documents that are objects: the fields to read, joined by newlines."
    )
    documents: Documents = Field(description="The candidates.")
    top_n: Count = Field(default=None, description="How many results to return; all if absent, null or 0.")
    return_documents: bool | None = Field(default=None, description="Whether results carry their text; yes if absent.")
    instruct: str | None = Field(default=None, description="Another spelling of instruction.")
    preset: str | None = Field(default=None, description="The name of an instruction that the server knows.")
    chat_template_kwargs: ChatTemplateArguments | None = Field(default=None, description="May hold the instruction.")
    max_tokens_per_doc: Count = Field(default=None, description="Cut every document to this many tokens; 0 means no cut.")
    max_tokens_per_query: Count = Field(default=None, description="Cut the query to this many tokens; 0 means no cut.")
    truncate_prompt_tokens: PromptTokens = Field(
        default=None,
        description="Cut documents so that no prompt, frame and query included, has more tokens than this; -1 means no cut.",
    )
    truncation: bool | None = Field(default=None, description="false is another spelling of on_overflow: error.")
    truncation_side: Side = Field(default=None, description="Only right: documents are cut at their ends.")
    on_overflow: OverflowPolicy | None = Field(
        default=None,
        description="A document that is too long: truncate its end, chunk it into windows of which the best counts, or error.",
    )
    raw_scores: bool | None = Field(default=None, description="true: return log-odds (or cosines) instead of 0..1.")
    use_activation: bool | None = Field(default=None, description="false is another spelling of raw_scores: true.")
    return_logits: bool | None = Field(
        default=None, description="true: return the log-odds (or cosines) of the results beside them, as `logits`."
    )
    return_details: bool | None = Field(
        default=None, description="true: say of every document how many of its tokens were read, as `details`."
    )
    timeout_ms: int | None = Field(default=None, gt=0, description="Give up after this many milliseconds.")
    partial: bool | None = Field(
        default=None,
        description="true: when the time is up, return what was scored, and the rest as failed_documents, instead of an error.",
    )

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the documents."""
        return "documents" in view.body

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(
            query=self.query,
            documents=tuple(self.documents),
            model=self.model,
            instruction=self._instruction(),
            preset=self.preset or None,
            top_n=self.top_n or None,
            on_overflow=self._on_overflow(),
            truncation=truncation(
                per_query=self.max_tokens_per_query, per_doc=self.max_tokens_per_doc, per_prompt=self.truncate_prompt_tokens
            ),
            with_totals=self.return_details is True,
            options=RequestOptions(
                timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000, is_partial=self.partial is True
            ),
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> Json:
        """Return the common answer; Shortlist's own fields are at the top level, and only if they have a value."""
        tokens = outcome.usage.num_tokens
        units = -(-len(self.documents) // SEARCH_UNIT_DOCUMENTS)
        body: dict[str, object] = {
            "id": f"rerank-{meta.request_id}",
            "object": "list",
            "model": self.model or outcome.model,
            "results": [self._result(ranked) for ranked in outcome.results],
            "usage": usage(tokens),
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"search_units": units, "input_tokens": tokens},
                "tokens": {"input_tokens": tokens, "output_tokens": 0},
            },
        }
        return {**body, **self._additions(outcome)}

    def _additions(self, outcome: RerankOutcome) -> dict[str, object]:
        template, document_stats = outcome.template, outcome.document_stats
        additions: dict[str, object] = {"prompt": {"template": template.name, "preset": template.preset}}
        if self.return_logits:
            additions["logits"] = [ranked.raw_score for ranked in outcome.results]
        if self.return_details:
            additions["details"] = [_details(index, stats) for index, stats in enumerate(document_stats) if stats is not None]
        if outcome.truncated:
            additions["truncated_documents"] = outcome.truncated
        chunks = [_chunks(index, stats) for index, stats in enumerate(document_stats) if stats is not None and stats.best]
        if chunks:
            additions["chunked_documents"] = chunks
        if outcome.failed:
            additions["failed_documents"] = [{"index": each.index, "message": each.error.message} for each in outcome.failed]
        return additions

    def _on_overflow(self) -> OverflowPolicy:
        if self.on_overflow is not None:
            return self.on_overflow
        return overflow(self.truncation)

    def _instruction(self) -> str | None:
        of_template = self.chat_template_kwargs.instruction if self.chat_template_kwargs else None
        return of_template or self.instruction or self.instruct or None

    def _result(self, ranked: Ranked) -> Json:
        score = ranked.raw_score if self.raw_scores or self.use_activation is False else ranked.score
        result: dict[str, object] = {"index": ranked.index, "relevance_score": score}
        if self.return_documents is not False:
            result["document"] = {"text": self.documents[ranked.index]}
        return result


def _details(index: int, stats: DocumentStats) -> Json:
    return {
        "index": index,
        "tokens_used": stats.num_tokens,
        "tokens_total": stats.num_tokens_total,
        "truncated": stats.is_truncated,
    }


def _chunks(index: int, stats: DocumentStats) -> Json:
    assert stats.best is not None, "Only what was read in windows has a best one. This is a bug."
    best = {"start": stats.best.start, "end": stats.best.end}
    return {"index": index, "num_chunks": stats.num_windows, "best_chunk": best}


def has_own_fields(view: RequestView, theirs: frozenset[str]) -> bool:
    """Return whether a body has fields of this dialect only.

    `instruction` beside `raw_scores` is a Shortlist field: in another dialect it would be ignored, and the
    scores would be wrong without an error.
    """
    return not (CommonRerankRequest.model_fields.keys() - theirs).isdisjoint(view.body)


DIALECT: Final = Dialect(name="superset", request_models=(CommonRerankRequest,))
