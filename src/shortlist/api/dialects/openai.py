"""OpenAI's embeddings, with the query hints of Jina, Voyage and Cohere that decide whether Qwen3's instruction is used."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from shortlist.api.dialects.fields import Body, Count, Json, text_of
from shortlist.errors import InvalidInput
from shortlist.types import EmbedOutcome, EmbedTask, Terms, Vector

QUERY_HINTS = frozenset({"query", "search_query", "retrieval.query"})
"""Values of `input_type`, `task` or `prompt_name` that say: these texts are queries. Sources: docs of Voyage, Cohere, Jina."""


def _input(value: object) -> object:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise InvalidInput("input must be a string or a list of at least one string.", param="input")
    if any(isinstance(item, (int, list)) for item in value):
        raise InvalidInput(
            "input must be text: token ids of another tokenizer mean nothing to this model. "
            "In LangChain's OpenAIEmbeddings, set check_embedding_ctx_length=False.",
            param="input",
        )
    return [_text(item, index) for index, item in enumerate(value)]


def _text(item: object, index: int) -> str:
    text = text_of(item)
    if text is None:
        raise InvalidInput(f"input[{index}] must be a string.", param=f"input[{index}]")
    return text


class EmbeddingsRequest(Body):
    """Turn texts into vectors."""

    items_field: ClassVar[str] = "input"

    model: str | None = Field(default=None, description="A served model; the default embedder if absent.")
    input: Annotated[list[str], BeforeValidator(_input, json_schema_input_type=str | list[str])] = Field(
        description="One text, or several."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="Numbers, or little-endian float32 in base64 (what OpenAI's own clients ask for)."
    )
    dimensions: Count = Field(default=None, description="Cut vectors to this many dimensions; the model's own if absent or 0.")
    instruction: str | None = Field(default=None, description="The instruction for queries; implies that these are queries.")
    preset: str | None = Field(default=None, description="The name of an instruction that the server knows.")
    input_type: str | None = Field(default=None, description="query or document; documents carry no instruction.")
    task_hint: str | None = Field(default=None, alias="task", description="retrieval.query or retrieval.passage.")
    prompt_name: str | None = Field(default=None, description="query or document.")
    truncation: bool | None = Field(default=None, description="false: a text that is too long is an error, not cut.")
    timeout_ms: int | None = Field(default=None, gt=0, description="Give up after this many milliseconds.")

    def task(self) -> EmbedTask:
        """Return what is asked for."""
        hints = {self.input_type, self.task_hint, self.prompt_name}
        return EmbedTask(
            texts=tuple(self.input),
            model=self.model,
            is_query=bool(hints & QUERY_HINTS),
            instruction=self.instruction or None,
            preset=self.preset or None,
            dimensions=self.dimensions or None,
            truncate=self.truncation is not False,
            terms=Terms(timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000),
        )

    def answer(self, outcome: EmbedOutcome, *, request_id: str) -> Json:
        """Return OpenAI's list of embeddings."""
        tokens = outcome.usage.num_tokens
        body: dict[str, object] = {
            "id": f"embd-{request_id}",
            "object": "list",
            "model": self.model or outcome.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
                for index, vector in enumerate(outcome.vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        if outcome.truncated:
            body["truncated_documents"] = list(outcome.truncated)
        return body

    def _encoded(self, vector: Vector) -> object:
        if self.encoding_format == "base64":
            return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
        return vector  # a numpy array is written as a list of numbers
