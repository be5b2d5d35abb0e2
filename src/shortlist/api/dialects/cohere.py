"""Cohere's embed and tokenize, versions 1 and 2. Its rerank is in `common`.

Source: the cohere package 7.3.1, `raw_base_client.py` and `v2/raw_client.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import input_type, may_truncate
from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, RequestView, ResponseMeta, TokenizeModel
from shortlist.api.dialects.openai import in_base64
from shortlist.errors import InvalidInput
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Names, Texts
from shortlist.types import EmbedOutcome, EmbedTask, TokenizeOutcome, TokenizeTask, Vector


def _signs(vector: Vector) -> list[int]:
    """Return one bit per dimension, the first one highest, eight to a byte."""
    return [int(byte) for byte in np.packbits(vector > 0)]


def _signed_signs(vector: Vector) -> list[int]:
    return [byte - 128 for byte in _signs(vector)]


FORMS: Final[Mapping[str, Callable[[Vector], VectorField | list[int] | str]]] = {
    "float": lambda vector: vector,
    "base64": in_base64,
    "ubinary": _signs,
    "binary": _signed_signs,
}
"""How a vector can be written. `int8` and `uint8` need a model that was calibrated for them. Source: docs.cohere.com, Embed."""


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


class CohereEmbeddings(TypedDict):
    """One vector per text; by type if types were requested."""

    id: str
    texts: list[str]
    embeddings: Sequence[VectorField] | dict[str, list[VectorField | list[int] | str]]
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
    example: ClassVar[Json] = {"texts": ["first text"], "input_type": "search_document", "embedding_types": ["float"]}

    model: str | None = None
    texts: Texts
    input_type: str | None = None
    embedding_types: Names | None = None
    output_dimension: Count = None
    max_tokens: Count = None
    truncate: Literal["NONE", "START", "END"] | None = None
    images: list[object] | None = None

    def task(self) -> EmbedTask:
        """Return the task.

        Raises:
            InvalidInput: a form of vectors is not known, or there are images.
        """
        if self.images:
            raise InvalidInput("images must be absent: no model here embeds images.", param="images")
        for index, form in enumerate(self.embedding_types or ()):
            if form not in FORMS:
                param = f"embedding_types[{index}]"
                raise InvalidInput(f"{param} must be one of {', '.join(FORMS)}.", param=param)
        return EmbedTask(
            texts=tuple(self.texts),
            model=self.model,
            input_type=input_type(input_type=self.input_type),
            dimensions=self.output_dimension or None,
            truncate=may_truncate(self.truncate) is not False,
            truncate_prompt_tokens=self.max_tokens or None,
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> CohereEmbeddings:
        """Return the vectors, by type if types were requested."""
        types = self.embedding_types
        units: CohereUnits = {"input_tokens": outcome.usage.num_tokens}
        return {
            "id": f"embd-{meta.request_id}",
            "texts": self.texts,
            "embeddings": self._by_type(outcome.vectors, types) if types else outcome.vectors,
            "response_type": "embeddings_by_type" if types else "embeddings_floats",
            "meta": {"api_version": {"version": "2" if types else "1"}, "billed_units": units},
        }

    @staticmethod
    def _by_type(vectors: Sequence[Vector], types: Sequence[str]) -> dict[str, list[VectorField | list[int] | str]]:
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
