"""The rerank request that Cohere, Jina, vLLM, Xinference, SiliconFlow and many gateways share.

A result has exactly `index`, `relevance_score` and, on request, `document`: strict clients reject other keys and null
documents. Shortlist's own fields are at the top level.
"""

from __future__ import annotations

from typing import ClassVar, Final

from shortlist.api.dialects.conversions import SAGEMAKER_PATH, overflow, truncation, usage
from shortlist.api.dialects.dialect import Dialect, Json, RequestView, RerankModel, ResponseMeta
from shortlist.api.dialects.published_fields import NOTED_RERANK, RERANK, UnsupportedFields
from shortlist.errors import InvalidInput
from shortlist.schemas.rerank import (
    CharSpan,
    ChunkedDocument,
    DocumentDetails,
    OwnRerankFields,
    RerankAnswer,
    RerankRequestBody,
    RerankResult,
)
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

PRIOR_WEIGHT: Final = 0.3
"""The weight of priors if a request states none: relevance decides, priors order what is about equally relevant."""

SEARCH_UNIT_DOCUMENTS = 100
"""One billed search unit is a query with up to this many documents. Source: docs.cohere.com, pricing of rerank."""


class CommonRerankModel(RerankRequestBody, RerankModel):
    """The common request; dialects with the same request differ in the answer."""

    paths: ClassVar[tuple[str, ...]] = RERANK_PATHS
    unsupported: ClassVar[UnsupportedFields] = RERANK
    noted: ClassVar[frozenset[str]] = NOTED_RERANK
    example: ClassVar[Json] = {
        "query": "how do I read a json file in python",
        "documents": ["bake bread at 220 C", "open the file and call json.load", "pythons are large snakes"],
    }

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
                per_query=self.max_tokens_per_query,
                per_doc=self.max_tokens_per_doc or self.max_doc_length,
                per_prompt=self.truncate_prompt_tokens,
                side=self.truncation_side,
            ),
            with_totals=self.return_details is True,
            priors=self._priors(),
            prior_weight=PRIOR_WEIGHT if self.prior_weight is None else self.prior_weight,
            options=RequestOptions(
                timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000, is_partial=self.partial is True
            ),
        )

    @property
    def has_raw_scores(self) -> bool:
        """Whether results have log-odds (or cosines) instead of 0..1."""
        return self.raw_scores is True or False in {self.use_activation, self.activation}

    def own_fields(self, outcome: RerankOutcome) -> OwnRerankFields:
        """Return Shortlist's own fields of an answer, those that have a value."""
        own, document_stats = OwnRerankFields(), outcome.document_stats
        if self.return_logits:
            own["logits"] = [ranked.raw_score for ranked in outcome.results]
        if outcome.model_scores is not None and self.priors is not None:
            own["model_scores"] = list(outcome.model_scores)
            own["priors"] = [self.priors[ranked.index] for ranked in outcome.results]
        if self.return_details:
            own["details"] = [_details(index, stats) for index, stats in enumerate(document_stats) if stats is not None]
        if outcome.truncated:
            own["truncated_documents"] = [*outcome.truncated]
        chunks = [_chunks(index, stats) for index, stats in enumerate(document_stats) if stats is not None and stats.best]
        if chunks:
            own["chunked_documents"] = chunks
        if outcome.failed:
            own["failed_documents"] = [{"index": each.index, "message": each.error.message} for each in outcome.failed]
        return own

    def _priors(self) -> tuple[float, ...] | None:
        if self.priors is None:
            if self.prior_weight is not None:
                raise InvalidInput("prior_weight needs priors: one number per document.", param="priors")
            return None
        if len(self.priors) != len(self.documents):
            message = f"priors must have as many numbers as there are documents ({len(self.documents)})."
            raise InvalidInput(message, param="priors")
        if self.has_raw_scores:
            raise InvalidInput("priors need scores in 0..1: leave out raw_scores and use_activation.", param="priors")
        return tuple(self.priors)

    def _on_overflow(self) -> OverflowPolicy:
        if self.on_overflow is not None:
            return self.on_overflow
        return overflow(self.truncation, self.truncate, side=self.truncation_side)

    def _instruction(self) -> str | None:
        of_template = self.chat_template_kwargs.instruction if self.chat_template_kwargs else None
        return of_template or self.instruction or self.instruct or None


class CommonRerankRequest(CommonRerankModel):
    """Rank documents for a query."""

    paths: ClassVar[tuple[str, ...]] = (*RERANK_PATHS, SAGEMAKER_PATH)

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> RerankAnswer:
        """Return the common answer."""
        tokens, template = outcome.usage.num_tokens, outcome.template
        units = -(-len(self.documents) // SEARCH_UNIT_DOCUMENTS)
        return {
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
            "prompt": {"template": template.name, "preset": template.preset},
            **self.own_fields(outcome),
        }

    def _result(self, ranked: Ranked) -> RerankResult:
        score = ranked.raw_score if self.has_raw_scores else ranked.score
        result: RerankResult = {"index": ranked.index, "relevance_score": score}
        if self.return_documents is not False:
            result["document"] = {"text": self.documents[ranked.index]}
        return result


class PlainRerankRequest(CommonRerankRequest):
    """Rank documents for a query, for pages that read `score` and `text` of each result.

    Clients of other servers send more than query and documents, or to another path.
    """

    paths: ClassVar[tuple[str, ...]] = ("/rerank",)
    example: ClassVar[Json] = {"query": "red fox", "documents": ["a cat", "the red fox"]}

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by query and documents alone."""
        return view.body.keys() == {"query", "documents"}

    def _result(self, ranked: Ranked) -> RerankResult:
        return {**super()._result(ranked), "score": ranked.score, "text": self.documents[ranked.index]}


def _details(index: int, stats: DocumentStats) -> DocumentDetails:
    return {
        "index": index,
        "tokens_used": stats.num_tokens,
        "tokens_total": stats.num_tokens_total,
        "truncated": stats.is_truncated,
    }


def _chunks(index: int, stats: DocumentStats) -> ChunkedDocument:
    assert stats.best is not None, "Only what was read in windows has a best one. This is a bug."
    best_chunk: CharSpan = {"start": stats.best.start, "end": stats.best.end}
    return {"index": index, "num_chunks": stats.num_windows, "best_chunk": best_chunk}


def has_own_fields(view: RequestView, theirs: frozenset[str]) -> bool:
    """Return whether a body has fields of this dialect only.

    `instruction` beside `raw_scores` is a Shortlist field: in another dialect it would be ignored, and the
    scores would be wrong without an error.
    """
    return not (CommonRerankModel.model_fields.keys() - theirs).isdisjoint(view.body)


DIALECT: Final = Dialect(name="superset", request_models=(PlainRerankRequest, CommonRerankRequest))
