"""OpenAI's embeddings, with the query hints of Jina, Voyage and Cohere that select the model's template for queries."""

from __future__ import annotations

import base64
from typing import ClassVar, Final

from shortlist.api.dialects.conversions import SAGEMAKER_PATH, input_type, may_truncate, prompt_tokens, type_of_prompt, usage
from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, RequestView, ResponseMeta
from shortlist.schemas.embed import EmbeddingsAnswer, EmbeddingsRequestBody
from shortlist.types import EmbedOutcome, EmbedTask, InputType, RequestOptions, Vector


class OpenAIEmbeddingsRequest(EmbeddingsRequestBody, EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = (
        "/v1/embeddings",
        "/embeddings",
        "/compatible-mode/v1/embeddings",
        "/openai",
        SAGEMAKER_PATH,
    )
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, or by the field of the texts."""
        return view.path != SAGEMAKER_PATH or "input" in view.body

    def task(self) -> EmbedTask:
        """Return the task."""
        named = type_of_prompt(self.prompt_name)  # other names are those of the model's prompts
        stated = input_type(input_type=self.input_type, task=self.task_hint, text_type=self.text_type)
        return EmbedTask(
            texts=tuple(self.prompt + text for text in self.input) if self.prompt else tuple(self.input),
            model=self.model,
            input_type=stated if named is InputType.UNSTATED else named,
            prompt_name="" if self.prompt else (self.prompt_name or None) if named is InputType.UNSTATED else None,
            normalize=False if self.normalized is False else None,
            instruction=self.instruction or None,
            preset=self.preset or None,
            dimensions=self.dimensions or self.output_dimension or self.dimension or None,
            truncate=self.truncation is not False and may_truncate(self.truncate) is not False,
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens),
            options=RequestOptions(timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> EmbeddingsAnswer:
        """Return OpenAI's list of embeddings."""
        tokens = outcome.usage.num_tokens
        answer: EmbeddingsAnswer = {
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
            answer["truncated_documents"] = list(outcome.truncated)
        return answer

    def _encoded(self, vector: Vector) -> Vector | str:
        is_packed = "base64" in {self.encoding_format, self.embedding_type}
        return in_base64(vector) if is_packed else vector  # a numpy array is written as a list of numbers


def in_base64(vector: Vector) -> str:
    """Return a vector as little-endian float32, the way OpenAI's and Cohere's clients read it."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


DIALECT: Final = Dialect(name="openai", request_models=(OpenAIEmbeddingsRequest,))
