"""OpenAI's embeddings, with the query hints of Jina, Voyage and Cohere that select Qwen3's query instruction."""

from __future__ import annotations

import base64
from typing import ClassVar, Final, Literal

from pydantic import Field

from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, ResponseMeta
from shortlist.api.dialects.fields import QUERY_HINTS, Count, PromptTokens, Side, Texts, prompt_tokens, usage
from shortlist.types import EmbedOutcome, EmbedTask, RequestOptions, Vector


class OpenAIEmbeddingsRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/v1/embeddings", "/embeddings", "/compatible-mode/v1/embeddings")
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    model: str | None = Field(default=None, description="A served model; the default embedder if absent.")
    input: Texts = Field(description="One text, or several.")
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="Numbers, or little-endian float32 in base64 (what OpenAI's own clients ask for)."
    )
    embedding_type: Literal["float", "base64"] | None = Field(default=None, description="Another spelling of encoding_format.")
    dimensions: Count = Field(default=None, description="Cut vectors to this many dimensions; the model's own if absent or 0.")
    output_dimension: Count = Field(default=None, description="Another spelling of dimensions.")
    dimension: Count = Field(default=None, description="Another spelling of dimensions.")
    instruction: str | None = Field(default=None, description="The instruction for queries; implies that these are queries.")
    preset: str | None = Field(default=None, description="The name of an instruction that the server knows.")
    input_type: str | None = Field(default=None, description="query or document; documents carry no instruction.")
    task_hint: str | None = Field(default=None, alias="task", description="retrieval.query or retrieval.passage.")
    prompt_name: str | None = Field(default=None, description="query or document.")
    text_type: str | None = Field(default=None, description="query or document.")
    truncation: bool | None = Field(default=None, description="false: a text that is too long is an error, not cut.")
    truncate_prompt_tokens: PromptTokens = Field(
        default=None, description="Cut texts to this many tokens, the instruction included; -1 means no cut."
    )
    truncation_side: Side = Field(default=None, description="Only right: texts are cut at their ends.")
    timeout_ms: int | None = Field(default=None, gt=0, description="Give up after this many milliseconds.")

    def task(self) -> EmbedTask:
        """Return the task."""
        hints = {self.input_type, self.task_hint, self.prompt_name, self.text_type}
        return EmbedTask(
            texts=tuple(self.input),
            model=self.model,
            is_query=bool(hints & QUERY_HINTS),
            instruction=self.instruction or None,
            preset=self.preset or None,
            dimensions=self.dimensions or self.output_dimension or self.dimension or None,
            truncate=self.truncation is not False,
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens),
            options=RequestOptions(timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> Json:
        """Return OpenAI's list of embeddings."""
        tokens = outcome.usage.num_tokens
        body: dict[str, object] = {
            "id": f"embd-{meta.request_id}",
            "object": "list",
            "model": self.model or outcome.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": self._encoded(vector)}
                for index, vector in enumerate(outcome.vectors)
            ],
            "usage": usage(tokens),
        }
        if outcome.truncated:
            body["truncated_documents"] = list(outcome.truncated)
        return body

    def _encoded(self, vector: Vector) -> object:
        is_packed = "base64" in {self.encoding_format, self.embedding_type}
        return in_base64(vector) if is_packed else vector  # a numpy array is written as a list of numbers


def in_base64(vector: Vector) -> str:
    """Return a vector as little-endian float32, the way OpenAI's and Cohere's clients read it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


DIALECT: Final = Dialect(name="openai", request_models=(OpenAIEmbeddingsRequest,))
