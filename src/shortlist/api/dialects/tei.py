"""Text Embeddings Inference, and Hugging Face's InferenceClient, which uses the same bodies at a bare URL.

Sources: text-embeddings-inference 1.9.3, `router/src/http/{types,server}.rs`; huggingface_hub 2.4.0, `inference/_client.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from shortlist.api.dialects.common import RERANK_PATHS
from shortlist.api.dialects.conversions import may_truncate, overflow, type_of_prompt
from shortlist.api.dialects.dialect import (
    DetokenizeModel,
    Dialect,
    EmbedModel,
    ErrorInfo,
    Json,
    RequestView,
    RerankModel,
    ResponseMeta,
    SparseEmbedModel,
    TokenizeModel,
)
from shortlist.api.dialects.published_fields import Unsupported, UnsupportedFields
from shortlist.api.dialects.tei_pairs import DEFAULT_PATHS, TeiNamedPairsRequest, TeiPredictRequest, TeiTextPairsRequest
from shortlist.errors import NotFound
from shortlist.schemas.embed import SparseComponent, VectorField
from shortlist.schemas.fields import Count, Documents, IdList, Query, RequestFields, Side, Texts
from shortlist.types import (
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    Ranked,
    RerankOutcome,
    RerankTask,
    SparseOutcome,
    Token,
    TokenizeOutcome,
    TokenizeTask,
)


class TeiText(TypedDict):
    """A ranked text."""

    index: int
    score: float
    text: NotRequired[str]


class TeiToken(TypedDict):
    """A token with its character offsets; null for tokens that are not in the text."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class TeiError(TypedDict):
    """A flat error with TEI's type."""

    error: str
    error_type: str


class TeiRerankRequest(RerankModel):
    """Rank texts for a query."""

    paths: ClassVar[tuple[str, ...]] = (*RERANK_PATHS, *DEFAULT_PATHS)
    items_field: ClassVar[str] = "texts"
    example: ClassVar[Json] = {"query": "red fox", "texts": ["a cat", "the red fox"], "return_text": True}

    model: str | None = None
    query: Query
    texts: Documents
    top_n: Count = None
    truncate: bool | None = None
    truncation_direction: Side = None
    raw_scores: bool | None = None
    return_text: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the texts, as llama.cpp's server does."""
        return "texts" in view.body

    def task(self) -> RerankTask:
        """Return the task."""
        return RerankTask(
            query=self.query,
            documents=tuple(self.texts),
            model=self.model,
            top_n=self.top_n or None,
            on_overflow=overflow(self.truncate, side=self.truncation_direction),
        )

    def answer(self, outcome: RerankOutcome, meta: ResponseMeta) -> list[TeiText]:
        """Return the bare ranking."""
        del meta
        return [self._result(ranked) for ranked in outcome.results]

    def _result(self, ranked: Ranked) -> TeiText:
        result: TeiText = {"index": ranked.index, "score": ranked.raw_score if self.raw_scores else ranked.score}
        if self.return_text:
            result["text"] = self.texts[ranked.index]
        return result


class TeiEmbedRequest(EmbedModel):
    """Embed texts. Vectors have unit length unless `normalize` is false, which Haystack sends by default."""

    paths: ClassVar[tuple[str, ...]] = ("/embed", *DEFAULT_PATHS)
    items_field: ClassVar[str] = "inputs"
    example: ClassVar[Json] = {"inputs": ["first text", "second text"]}
    unsupported: ClassVar[UnsupportedFields] = {
        "encoding_format": Unsupported("vectors are lists of numbers; /v1/embeddings has base64", ("float",))
    }

    model: str | None = None
    inputs: Texts
    truncate: bool | None = None
    truncation_direction: Side = None
    prompt_name: str | None = None
    normalize: bool | None = None
    dimensions: Count = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, or by the field of the texts when it stands alone."""
        return view.path == "/embed" or "inputs" in view.body

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(
            texts=tuple(self.inputs),
            model=self.model,
            input_type=type_of_prompt(self.prompt_name),
            prompt_name=self.prompt_name or "",
            normalize=self.normalize is not False,
            dimensions=self.dimensions or None,
            truncate=may_truncate(self.truncate, side=self.truncation_direction),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> Sequence[VectorField]:
        """Return the bare vectors."""
        del meta
        return outcome.vectors


class TeiSparseRequest(SparseEmbedModel):
    """Embed texts as sparse vectors."""

    paths: ClassVar[tuple[str, ...]] = ("/embed_sparse",)
    items_field: ClassVar[str] = "inputs"
    example: ClassVar[Json] = {"inputs": ["first text", "second text"]}

    model: str | None = None
    inputs: Texts
    truncate: bool | None = None
    truncation_direction: Side = None
    prompt_name: str | None = None

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(
            texts=tuple(self.inputs),
            model=self.model,
            input_type=type_of_prompt(self.prompt_name),
            prompt_name=self.prompt_name or "",
            truncate=may_truncate(self.truncate, side=self.truncation_direction),
        )

    def answer(self, outcome: SparseOutcome, meta: ResponseMeta) -> list[list[SparseComponent]]:
        """Return every text's non-zero components."""
        del meta
        return [
            [{"index": index, "value": value} for index, value in zip(each.indices.tolist(), each.values.tolist(), strict=True)]
            for each in outcome.vectors
        ]


class TeiUnsupportedRequest(EmbedModel):
    """Requests for kinds of vectors that no engine supports."""

    paths: ClassVar[tuple[str, ...]] = ("/embed_all",)
    items_field: ClassVar[str] = "inputs"

    inputs: Texts

    def task(self) -> EmbedTask:
        """Raise, naming the supported alternative.

        Raises:
            NotFound: always.
        """
        raise NotFound("No engine here makes a vector for every token; /embed makes one for every text.")

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> Sequence[VectorField]:
        """Unreachable: `task` raises."""
        del meta
        return outcome.vectors


class TeiSentences(RequestFields):
    """A source sentence and the sentences to compare."""

    source_sentence: str
    sentences: Texts


class TeiSimilarityParameters(RequestFields):
    """The options of a similarity request."""

    truncate: bool | None = None
    truncation_direction: Side = None
    prompt_name: str | None = None


class TeiSimilarityRequest(EmbedModel):
    """Compare a sentence with others."""

    paths: ClassVar[tuple[str, ...]] = ("/similarity", *DEFAULT_PATHS)
    items_field: ClassVar[str] = "inputs.sentences"
    example: ClassVar[Json] = {"inputs": {"source_sentence": "red fox", "sentences": ["a cat", "the red fox"]}}

    model: str | None = None
    inputs: TeiSentences
    parameters: TeiSimilarityParameters | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, or by inputs that are an object."""
        return view.path == "/similarity" or isinstance(view.body.get("inputs"), dict)

    @property
    def num_items(self) -> int:
        """The number of texts."""
        return len(self.inputs.sentences) + 1

    def task(self) -> EmbedTask:
        """Return the task; all sentences use the same template."""
        parameters = self.parameters or TeiSimilarityParameters()
        return EmbedTask(
            texts=(*self.inputs.sentences, self.inputs.source_sentence),
            model=self.model,
            input_type=type_of_prompt(parameters.prompt_name),
            prompt_name=parameters.prompt_name or "",
            normalize=True,
            truncate=may_truncate(parameters.truncate, side=parameters.truncation_direction),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> list[float]:
        """Return the cosines."""
        del meta
        *others, source = outcome.vectors
        return [float(np.dot(source, other)) for other in others]


class TeiTokenizeRequest(TokenizeModel):
    """Tokenize texts."""

    paths: ClassVar[tuple[str, ...]] = ("/tokenize",)
    items_field: ClassVar[str] = "inputs"
    example: ClassVar[Json] = {"inputs": "the red fox"}
    unsupported: ClassVar[UnsupportedFields] = {
        "prompt_name": Unsupported("texts are tokenized as they are; put the prompt before them")
    }

    model: str | None = None
    inputs: Texts
    add_special_tokens: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the texts."""
        return "inputs" in view.body

    def task(self) -> TokenizeTask:
        """Return the task."""
        return TokenizeTask(texts=tuple(self.inputs), model=self.model, with_special=self.add_special_tokens is not False)

    def answer(self, outcome: TokenizeOutcome, meta: ResponseMeta) -> list[list[TeiToken]]:
        """Return every text's tokens with their character offsets."""
        del meta
        return [[_token(token) for token in tokens] for tokens in outcome.tokens]


def _token(token: Token) -> TeiToken:
    start, stop = (None, None) if token.span is None else (token.span.start, token.span.end)
    return {"id": token.id, "text": token.text, "special": token.is_special, "start": start, "stop": stop}


class TeiDecodeRequest(DetokenizeModel):
    """Detokenize."""

    paths: ClassVar[tuple[str, ...]] = ("/decode",)
    items_field: ClassVar[str] = "ids"
    example: ClassVar[Json] = {"ids": [1, 2, 3]}

    model: str | None = None
    ids: IdList | Annotated[list[IdList], Field(fail_fast=True)]
    skip_special_tokens: bool | None = None

    def task(self) -> DetokenizeTask:
        """Return the task."""
        lists = [each for each in self.ids if isinstance(each, list)]
        single = tuple(each for each in self.ids if isinstance(each, int))
        return DetokenizeTask(
            ids=tuple(map(tuple, lists)) if lists else (single,),
            model=self.model,
            skip_special=self.skip_special_tokens is not False,
        )

    def answer(self, outcome: DetokenizeOutcome, meta: ResponseMeta) -> list[str]:
        """Return the texts."""
        del meta
        return list(outcome.texts)


_KINDS: Final = {
    "empty_input": (400, "Empty"),
    "wrong_model": (424, "Backend"),
    "model_not_found": (404, "Validation"),
    "rate_limit_exceeded": (429, "Overloaded"),
    "unavailable": (503, "Unhealthy"),
    "engine_unavailable": (503, "Unhealthy"),
    "deadline_exceeded": (504, "Backend"),
    "invalid_input": (422, "Validation"),
    "context_length_exceeded": (422, "Validation"),
}
"""Status and `error_type` of what TEI has words for. Source: its `router/src/http/server.rs`, `From<ErrorResponse>`."""


def _error_body(error: ErrorInfo) -> tuple[int, TeiError]:
    status, error_type = _KINDS.get(error.code, (424, "Backend") if error.status == 500 else (error.status, "Validation"))
    return status, {"error": error.message, "error_type": error_type}


DIALECT: Final = Dialect(
    name="tei",
    request_models=(
        TeiRerankRequest,
        TeiNamedPairsRequest,
        TeiSimilarityRequest,
        TeiTextPairsRequest,
        TeiPredictRequest,
        TeiEmbedRequest,
        TeiSparseRequest,
        TeiUnsupportedRequest,
        TeiTokenizeRequest,
        TeiDecodeRequest,
    ),
    error_body=_error_body,
)
