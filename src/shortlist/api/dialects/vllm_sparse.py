"""Sparse vectors, as vLLM returns them with its plugin for BGE-M3.

Source: vllm 0.33.0, `tests/plugins/bge_m3_sparse_plugin`.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import prompt_tokens, usage
from shortlist.api.dialects.dialect import Json, RequestView, ResponseMeta, SparseEmbedModel
from shortlist.api.dialects.published_fields import NOTED
from shortlist.errors import InvalidInput
from shortlist.schemas.fields import PromptTokens, RequestFields, Texts
from shortlist.schemas.rerank import TokenUsage
from shortlist.types import EmbedTask, SparseOutcome


class VllmTokenWeight(TypedDict):
    """The weight of a token id; its text is not returned."""

    token_id: int
    weight: float
    token: None


class VllmSparseVector(TypedDict):
    """The sparse vector of a text."""

    index: int
    object: str
    sparse_embedding: list[VllmTokenWeight]
    dense_embedding: None


class VllmSparseList(TypedDict):
    """Sparse vectors in the order of the request."""

    data: list[VllmSparseVector]
    usage: TokenUsage


class VllmSparseAnswer(TypedDict):
    """The answer of vLLM's plugins."""

    request_id: str
    created_at: int
    data: VllmSparseList


class VllmSparseData(RequestFields):
    """The texts of a sparse request, and what to return."""

    input: Texts
    task: str | None = None
    embed_task: str | None = None
    return_tokens: bool | None = None


class VllmSparseRequest(SparseEmbedModel):
    """Embed texts as sparse vectors."""

    paths: ClassVar[tuple[str, ...]] = ("/pooling",)
    items_field: ClassVar[str] = "data.input"
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"task": "plugin", "data": {"input": ["first text", "second text"], "task": "sparse"}}

    model: str | None = None
    data: VllmSparseData
    truncate_prompt_tokens: PromptTokens = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the object that the plugin reads."""
        return isinstance(view.body.get("data"), dict)

    @property
    def num_items(self) -> int:
        """The number of texts."""
        return len(self.data.input)

    def task(self) -> EmbedTask:
        """Return the task.

        Raises:
            InvalidInput: dense vectors or tokens are requested.
        """
        for name, wanted in (("task", self.data.task), ("embed_task", self.data.embed_task)):
            if wanted not in {None, "sparse"}:
                param = f"data.{name}"
                raise InvalidInput(f"{param} must be sparse; send input without data for dense vectors.", param=param)
        if self.data.return_tokens:
            param = "data.return_tokens"
            raise InvalidInput(f"{param} must be false; /detokenize returns the text of token ids.", param=param)
        return EmbedTask(
            texts=tuple(self.data.input),
            model=self.model,
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens),
        )

    def answer(self, outcome: SparseOutcome, meta: ResponseMeta) -> VllmSparseAnswer:
        """Return the token weights of every text."""
        data: list[VllmSparseVector] = [
            {
                "index": index,
                "object": "sparse-embedding",
                "sparse_embedding": [
                    {"token_id": token_id, "weight": weight, "token": None}
                    for token_id, weight in zip(vector.indices.tolist(), vector.values.tolist(), strict=True)
                ],
                "dense_embedding": None,
            }
            for index, vector in enumerate(outcome.vectors)
        ]
        body: VllmSparseList = {"data": data, "usage": usage(outcome.usage.num_tokens)}
        return {"request_id": f"pool-{meta.request_id}", "created_at": meta.created_s, "data": body}
