"""OpenAI's embeddings request with the hints of other servers, and its answer."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

import numpy as np
from pydantic import Field, PlainValidator, WithJsonSchema
from typing_extensions import TypedDict

from shortlist.schemas.fields import Count, PromptTokens, RequestFields, Side, Texts
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import Vector


def _vector(value: object) -> Vector:
    if not isinstance(value, list):
        raise ValueError("a vector is a list of numbers")  # noqa: TRY004 - pydantic reports a ValueError
    return np.asarray(value, np.float32)


VectorField = Annotated[
    Vector, PlainValidator(_vector), WithJsonSchema({"type": "array", "items": {"type": "number"}, "title": "Vector"})
]
"""A vector: a list of numbers in JSON. Shapes: [dimensions] float32."""


EmbeddingForm = Literal["float", "base64", "binary", "ubinary"]


class EmbeddingsRequestBody(RequestFields):
    """Texts to embed."""

    model: str | None = Field(default=None, description="A served model; the default embedder if absent.")
    input: Texts = Field(description="One text, or several.")
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="Numbers, or little-endian float32 in base64 (what OpenAI's own clients ask for)."
    )
    output_dtype: Literal["float", "binary", "ubinary"] | None = Field(
        default=None,
        description="float, or one bit per dimension, eight to a number: of 0..255 (ubinary), or that less 128 (binary). "
        "There is no int8 and uint8: no model here is calibrated for them. (Voyage's.)",
    )
    embedding_type: EmbeddingForm | Annotated[list[EmbeddingForm], Field(min_length=1, max_length=1)] | None = Field(
        default=None, description="Another spelling of encoding_format and output_dtype; at most one. (Jina's.)"
    )
    dimensions: Count = Field(default=None, description="Cut vectors to this many dimensions; the model's own if absent or 0.")
    output_dimension: Count = Field(default=None, description="Another spelling of dimensions.")
    dimension: Count = Field(default=None, description="Another spelling of dimensions.")
    instruction: str | None = Field(default=None, description="The instruction for queries; implies that these are queries.")
    preset: str | None = Field(default=None, description="The name of an instruction that the server knows.")
    input_type: str | None = Field(default=None, description="query or document; documents carry no instruction.")
    task_hint: str | None = Field(default=None, alias="task", description="retrieval.query or retrieval.passage.")
    prompt_name: str | None = Field(default=None, description="query, document, or the name of one of the model's prompts.")
    prompt: str | None = Field(default=None, description="Put before every text, instead of the model's own. (Mixedbread's.)")
    normalized: bool | None = Field(default=None, description="false: vectors as long as the model makes them. (Mixedbread's.)")
    normalize: bool | None = Field(default=None, description="Another spelling of normalized.")
    use_activation: bool | None = Field(default=None, description="Another spelling of normalized. (vLLM's.)")
    text_type: str | None = Field(default=None, description="query or document.")
    truncation: bool | None = Field(default=None, description="false: a text that is too long is an error, not cut.")
    truncate: bool | str | None = Field(
        default=None, description="false, NONE or START is another spelling of truncation: false."
    )
    truncate_prompt_tokens: PromptTokens = Field(
        default=None, description="Cut texts to this many tokens, the instruction included; -1 means no cut."
    )
    truncation_side: Side = Field(
        default=None, description="Texts are cut at their ends; with left, one that is too long is an error."
    )
    timeout_ms: int | None = Field(default=None, gt=0, description="Give up after this many milliseconds.")


class Embedding(TypedDict):
    """The vector of a text: numbers, or bytes in base64 (little-endian float32, or bits)."""

    object: NotRequired[str]
    index: int
    embedding: VectorField | list[int] | str


class EmbeddingsAnswer(TypedDict):
    """One vector of unit length per text."""

    id: NotRequired[str]
    object: NotRequired[str]
    model: str
    data: list[Embedding]
    usage: NotRequired[TokenUsage]
    truncated_documents: NotRequired[list[int]]


class SparseComponent(TypedDict):
    """A component of a sparse vector that is not 0."""

    index: int
    value: float
