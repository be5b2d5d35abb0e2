"""Shortlist's rerank request, and its answer."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field, FiniteFloat
from typing_extensions import TypedDict

from shortlist.schemas.fields import Count, Documents, Names, Priors, PromptTokens, Query, RequestFields, Side
from shortlist.types import OverflowPolicy


class ChatTemplateArguments(RequestFields):
    """The field in which vLLM's clients send the instruction."""

    instruction: str | None = None


class RerankRequestBody(RequestFields):
    """A query and the documents to rank."""

    model: str | None = Field(default=None, description="A served model; the default reranker if absent.")
    query: Query = Field(description="What is searched for.")
    instruction: str | None = Field(default=None, description="What counts as relevant; the model's default if absent.")
    rank_fields: Names | None = Field(
        default=None, description="For documents that are objects: the fields to read, joined by newlines."
    )
    documents: Documents = Field(description="The candidates.")
    top_n: Count = Field(default=None, description="How many results to return; all if absent, null or 0.")
    return_documents: bool | None = Field(default=None, description="Whether results carry their text; yes if absent.")
    instruct: str | None = Field(default=None, description="Another spelling of instruction.")
    preset: str | None = Field(default=None, description="The name of an instruction that the server knows.")
    chat_template_kwargs: ChatTemplateArguments | None = Field(default=None, description="May hold the instruction.")
    max_tokens_per_doc: Count = Field(default=None, description="Cut every document to this many tokens; 0 means no cut.")
    max_doc_length: Count = Field(default=None, description="Another spelling of max_tokens_per_doc. (Jina's.)")
    max_tokens_per_query: Count = Field(default=None, description="Cut the query to this many tokens; 0 means no cut.")
    truncate_prompt_tokens: PromptTokens = Field(
        default=None,
        description="Cut documents so that no prompt, frame and query included, has more tokens than this; -1 means no cut.",
    )
    truncation: bool | None = Field(default=None, description="false is another spelling of on_overflow: error.")
    truncate: bool | str | None = Field(
        default=None, description="false, NONE or START is another spelling of on_overflow: error."
    )
    truncation_side: Side = Field(
        default=None, description="Documents are cut at their ends; with left, one that is too long is an error."
    )
    on_overflow: OverflowPolicy | None = Field(
        default=None,
        description="A document that is too long: truncate its end, chunk it into windows of which the best counts, or error.",
    )
    raw_scores: bool | None = Field(default=None, description="true: return log-odds (or cosines) instead of 0..1.")
    use_activation: bool | None = Field(default=None, description="false is another spelling of raw_scores: true.")
    activation: bool | None = Field(default=None, description="An older name of use_activation.")
    return_logits: bool | None = Field(
        default=None, description="true: return the log-odds (or cosines) of the results beside them, as `logits`."
    )
    return_details: bool | None = Field(
        default=None, description="true: say of every document how many of its tokens were read, as `details`."
    )
    priors: Priors | None = Field(
        default=None,
        description="One number in 0..1 per document, such as clicks or recency: relevance_score is the weighted mean of score "
        "and prior, and `model_scores` and `priors` hold both.",
    )
    prior_weight: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="The weight of the priors in that mean; 0.3 if absent."
    )
    timeout_ms: int | None = Field(default=None, gt=0, description="Give up after this many milliseconds.")
    partial: bool | None = Field(
        default=None,
        description="true: when the time is up, return what was scored, and the rest as failed_documents, instead of an error.",
    )


class TokenUsage(TypedDict):
    """Tokens that the model processed, in OpenAI's fields."""

    prompt_tokens: NotRequired[int]
    total_tokens: int


class DocumentText(TypedDict):
    """The text of a ranked document."""

    text: str


class RerankResult(TypedDict):
    """A ranked document; strict clients reject other keys, and null documents.

    `score` and `text` repeat score and text, at the path /rerank for requests of query and documents alone.
    """

    index: int
    relevance_score: FiniteFloat
    document: NotRequired[DocumentText]
    score: NotRequired[FiniteFloat]
    text: NotRequired[str]


class ApiVersion(TypedDict):
    """Cohere's version of the interface."""

    version: str


class BilledUnits(TypedDict):
    """What Cohere bills."""

    search_units: int
    input_tokens: int


class TokenCounts(TypedDict):
    """Cohere's token counts."""

    input_tokens: int
    output_tokens: int


class RerankMeta(TypedDict, total=False):
    """Cohere's metadata."""

    api_version: ApiVersion
    billed_units: BilledUnits
    tokens: TokenCounts


class PromptUsed(TypedDict):
    """The prompt template, and the preset of its instruction."""

    template: str
    preset: str | None


class DocumentDetails(TypedDict):
    """How much of a document was read; the total is null unless it was counted."""

    index: int
    tokens_used: int
    tokens_total: int | None
    truncated: bool


class CharSpan(TypedDict):
    """Character offsets in a document."""

    start: int
    end: int


class ChunkedDocument(TypedDict):
    """A document that was scored in several windows."""

    index: int
    num_chunks: int
    best_chunk: CharSpan


class FailedDocument(TypedDict):
    """A document without a score, and the reason."""

    index: int
    message: str


class OwnRerankFields(TypedDict):
    """Shortlist's own fields at the top level, those that have a value."""

    logits: NotRequired[list[float]]
    model_scores: NotRequired[list[float]]
    priors: NotRequired[list[float]]
    details: NotRequired[list[DocumentDetails]]
    truncated_documents: NotRequired[list[int]]
    chunked_documents: NotRequired[list[ChunkedDocument]]
    failed_documents: NotRequired[list[FailedDocument]]


class RerankAnswer(OwnRerankFields):
    """The ranking, best first."""

    id: NotRequired[str]
    object: NotRequired[str]
    model: str
    results: list[RerankResult]
    usage: NotRequired[TokenUsage]
    meta: NotRequired[RerankMeta]
    prompt: NotRequired[PromptUsed]
