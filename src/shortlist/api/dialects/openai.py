"""OpenAI's embeddings, with the query hints of Jina, Voyage and Cohere that select the model's template for queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from shortlist.api.dialects.conversions import SAGEMAKER_PATH, input_type, may_truncate, prompt_tokens, type_of_prompt, usage
from shortlist.api.dialects.dialect import Dialect, EmbedModel, Json, RequestView, ResponseMeta
from shortlist.api.dialects.published_fields import NOTED, VECTORS, UnsupportedFields
from shortlist.api.dialects.vector_forms import Written, writer
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
    unsupported: ClassVar[UnsupportedFields] = VECTORS
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, or by the field of the texts."""
        return view.path != SAGEMAKER_PATH or "input" in view.body

    def task(self) -> EmbedTask:
        """Return the task."""
        named = type_of_prompt(self.prompt_name)  # other names are those of the model's prompts
        is_unit = next((each for each in (self.normalized, self.normalize, self.use_activation) if each is not None), None)
        stated = input_type(input_type=self.input_type, task=self.task_hint, text_type=self.text_type)
        return EmbedTask(
            texts=tuple(self.prompt + text for text in self.input) if self.prompt else tuple(self.input),
            model=self.model,
            input_type=stated if named is InputType.UNSTATED else named,
            prompt_name="" if self.prompt else (self.prompt_name or None) if named is InputType.UNSTATED else None,
            normalize=is_unit,
            instruction=self.instruction or None,
            preset=self.preset or None,
            dimensions=self.dimensions or self.output_dimension or self.dimension or None,
            truncate=may_truncate(self.truncation, self.truncate, side=self.truncation_side),
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens, self.truncation_side),
            options=RequestOptions(timeout_s=None if self.timeout_ms is None else self.timeout_ms / 1000),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> EmbeddingsAnswer:
        """Return OpenAI's list of embeddings."""
        tokens, written = outcome.usage.num_tokens, self._writer()
        answer: EmbeddingsAnswer = {
            "id": f"embd-{meta.request_id}",
            "object": "list",
            "model": self.model or outcome.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": written(vector)}
                for index, vector in enumerate(outcome.vectors)
            ],
            "usage": usage(tokens),
        }
        if outcome.truncated:
            answer["truncated_documents"] = list(outcome.truncated)
        return answer

    def _writer(self) -> Callable[[Vector], Written]:
        forms = self.embedding_type if isinstance(self.embedding_type, list) else [self.embedding_type]
        return writer(self.output_dtype or forms[0] or "float", self.encoding_format or "float")


DIALECT: Final = Dialect(name="openai", request_models=(OpenAIEmbeddingsRequest,))
