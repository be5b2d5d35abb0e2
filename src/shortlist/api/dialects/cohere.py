"""Cohere's embed and tokenize, versions 1 and 2. Its rerank is in `common`.

Source: the cohere package 7.3.1, `raw_base_client.py` and `v2/raw_client.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NotRequired

from pydantic import model_validator
from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import input_type, may_truncate
from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, RequestView, ResponseMeta, TokenizeModel
from shortlist.api.dialects.published_fields import NOTED, VECTORS, UnsupportedFields
from shortlist.api.dialects.vector_forms import FORMS, Written, check_forms
from shortlist.errors import InvalidInput
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Names, Texts
from shortlist.types import EmbedOutcome, EmbedTask, TokenizeOutcome, TokenizeTask, Vector


class CohereApiVersion(TypedDict):
    """The version of the interface."""

    version: str


class CohereUnits(TypedDict):
    """What Cohere bills."""

    input_tokens: int


class CohereEmbedMeta(TypedDict):
    """Metadata."""

    api_version: CohereApiVersion
    billed_units: CohereUnits
    warnings: NotRequired[list[str]]


class CohereEmbeddings(TypedDict):
    """One vector per text; by type if types were requested."""

    id: str
    texts: list[str]
    embeddings: Sequence[VectorField] | dict[str, list[Written]]
    response_type: str
    meta: CohereEmbedMeta


class CohereTokens(TypedDict):
    """Token ids, and their texts."""

    tokens: list[int]
    token_strings: list[str]


class CohereEmbedRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/v1/embed",)
    items_field: ClassVar[str] = "texts"
    also_read: ClassVar[frozenset[str]] = frozenset({"inputs"})
    unsupported: ClassVar[UnsupportedFields] = VECTORS
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"texts": ["first text"], "input_type": "search_document", "embedding_types": ["float"]}

    model: str | None = None
    texts: Texts
    input_type: str | None = None
    embedding_types: Names | None = None
    output_dimension: Count = None
    max_tokens: Count = None
    truncate: bool | str | None = None

    @model_validator(mode="before")
    @classmethod
    def _texts_of_inputs(cls, body: dict[str, object]) -> dict[str, object]:
        """Read `inputs`, whose items have a list of contents, as texts."""
        if not body.get("inputs"):
            return body
        if body.get("texts"):
            raise InvalidInput("inputs must be absent where there are texts.", param="inputs")
        return {**body, "texts": body["inputs"]}

    def task(self) -> EmbedTask:
        """Return the task.

        Raises:
            InvalidInput: a form of vectors is not known.
        """
        check_forms("embedding_types", self.embedding_types or ())
        return EmbedTask(
            texts=tuple(self.texts),
            model=self.model,
            input_type=input_type(input_type=self.input_type),
            dimensions=self.output_dimension or None,
            truncate=may_truncate(self.truncate),
            max_tokens=self.max_tokens or None,
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> CohereEmbeddings:
        """Return the vectors, by type if types were requested."""
        types = self.embedding_types
        units: CohereUnits = {"input_tokens": outcome.usage.num_tokens}
        of_answer: CohereEmbedMeta = {"api_version": {"version": "2" if types else "1"}, "billed_units": units}
        if outcome.truncated:
            of_answer["warnings"] = [f"texts[{index}] was too long, and its end was cut." for index in outcome.truncated]
        return {
            "id": f"embd-{meta.request_id}",
            "texts": self.texts,
            "embeddings": self._by_type(outcome.vectors, types) if types else outcome.vectors,
            "response_type": "embeddings_by_type" if types else "embeddings_floats",
            "meta": of_answer,
        }

    @staticmethod
    def _by_type(vectors: Sequence[Vector], types: Sequence[str]) -> dict[str, list[Written]]:
        return {form: [FORMS[form](vector) for vector in vectors] for form in types}


class CohereEmbedRequestV2(CohereEmbedRequest):
    """Version 2 always answers by type."""

    paths: ClassVar[tuple[str, ...]] = ("/v2/embed",)

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> CohereEmbeddings:
        """Return the vectors by type; as floats if no type was requested."""
        named = self.model_copy(update={"embedding_types": self.embedding_types or ["float"]})
        return CohereEmbedRequest.answer(named, outcome, meta)


class CohereTokenizeRequest(TokenizeModel):
    """Tokenize a text."""

    paths: ClassVar[tuple[str, ...]] = ("/v1/tokenize", "/tokenize")
    example: ClassVar[Json] = {"text": "the red fox"}

    model: str | None = None
    text: str

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the text."""
        return "text" in view.body

    @property
    def num_items(self) -> int:
        """One."""
        return 1

    def task(self) -> TokenizeTask:
        """Return the task."""
        return TokenizeTask(texts=(self.text,), model=self.model, with_special=False)

    def answer(self, outcome: TokenizeOutcome, meta: ResponseMeta) -> CohereTokens:
        """Return ids and strings."""
        del meta
        [tokens] = outcome.tokens
        return {"tokens": [token.id for token in tokens], "token_strings": [token.text for token in tokens]}


DIALECT: Final = Dialect(name="cohere", request_models=(CohereEmbedRequestV2, CohereEmbedRequest, CohereTokenizeRequest))
