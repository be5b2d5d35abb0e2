"""vLLM's score, classify, pooling and tokens. Its rerank is in `common`.

Source: vllm 0.33.0, `entrypoints/pooling/{scoring,classify,pooling}/protocol.py`, `entrypoints/serve/tokenize`, and
`tests/plugins/bge_m3_sparse_plugin` for sparse vectors.
"""

from __future__ import annotations

from typing import ClassVar, Final, Generic, TypeVar

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import prompt_tokens, truncation, usage
from shortlist.api.dialects.dialect import (
    DetokenizeModel,
    Dialect,
    EmbedModel,
    Json,
    RequestView,
    ResponseMeta,
    ScoreModel,
    SparseEmbedModel,
    TokenizeModel,
)
from shortlist.errors import InvalidInput
from shortlist.schemas.embed import VectorField
from shortlist.schemas.fields import Count, Documents, PromptTokens, RequestFields, Side, Texts
from shortlist.schemas.rerank import ChatTemplateArguments, TokenUsage
from shortlist.types import (
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    ScoreOutcome,
    ScoreTask,
    SparseOutcome,
    TokenizeOutcome,
    TokenizeTask,
)

PAIR_FIELDS: Final = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))
"""What both sides of a pair are called; the first is the query."""

MARKUP: Final = ("<|im_start|>", "<Instruct>")
"""Marks of a prompt that the client has templated itself."""

CHAT_TEMPLATE: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
    "<Query>: red fox\n<Document>: the red fox<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""Such a prompt. Source: the model card of Qwen3-Reranker."""


class VllmScore(TypedDict):
    """The score of a pair."""

    index: int
    object: str
    score: float


class VllmClass(TypedDict):
    """The only class of a prompt, and its probability."""

    index: int
    label: str
    probs: list[float]
    num_classes: int


class VllmPooled(TypedDict):
    """The vector of a text."""

    index: int
    object: str
    data: VectorField


DataT = TypeVar("DataT")


class VllmList(TypedDict, Generic[DataT]):
    """Values in the order of the request."""

    id: str
    object: str
    created: int
    model: str
    data: list[DataT]
    usage: TokenUsage


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


class VllmTokens(TypedDict):
    """Token ids, and their texts if requested."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class VllmText(TypedDict):
    """The text of token ids."""

    prompt: str


class VllmScoreRequest(ScoreModel):
    """Score pairs: one with one, one with many, or many with as many."""

    paths: ClassVar[tuple[str, ...]] = ("/score", "/v1/score")
    items_field: ClassVar[str] = "text_2"
    also_read: ClassVar[frozenset[str]] = frozenset(name for names in PAIR_FIELDS for name in names)
    example: ClassVar[Json] = {"text_1": "red fox", "text_2": ["a cat", "the red fox"]}

    model: str | None = None
    text_1: Documents = Field(description="The query, or one for every document; also accepted as queries or data_1.")
    text_2: Documents = Field(description="The documents; also accepted as documents, items or data_2.")
    chat_template_kwargs: ChatTemplateArguments | None = None
    max_tokens_per_doc: Count = None
    max_tokens_per_query: Count = None
    truncate_prompt_tokens: PromptTokens = None
    truncation_side: Side = None
    use_activation: bool | None = Field(default=None, description="false: return log-odds instead of 0..1.")

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, body: dict[str, object]) -> dict[str, object]:
        """Read both sides under any of their field names."""
        for first, second in PAIR_FIELDS:
            if first in body and second in body:
                return {**body, "text_1": body[first], "text_2": body[second]}
        raise InvalidInput("text_1 and text_2 are required: a query, and the texts to score.", param="text_1")

    def task(self) -> ScoreTask:
        """Return the task.

        Raises:
            InvalidInput: the sides do not pair, or a query is empty.
        """
        queries, documents = self.text_1, self.text_2
        if len(queries) == 1:
            queries = queries * len(documents)
        if len(queries) != len(documents):
            raise InvalidInput("text_1 and text_2 must be one and one, one and many, or equally many.", param="text_1")
        for index, query in enumerate(queries):
            if not query.strip():
                raise InvalidInput(f"text_1[{index}] must not be empty.", param=f"text_1[{index}]")
        of_template = self.chat_template_kwargs.instruction if self.chat_template_kwargs else None
        return ScoreTask(
            pairs=tuple(zip(queries, documents, strict=True)),
            model=self.model,
            instruction=of_template or self.instruction or None,
            truncation=truncation(
                per_query=self.max_tokens_per_query, per_doc=self.max_tokens_per_doc, per_prompt=self.truncate_prompt_tokens
            ),
        )

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> VllmList[VllmScore]:
        """Return the scores in the order of the request."""
        has_odds = self.use_activation is False
        data: list[VllmScore] = [
            {"index": index, "object": "score", "score": each.raw_score if has_odds else each.score}
            for index, each in enumerate(outcome.scores)
        ]
        return _listed("score", meta, self.model or outcome.model, data, outcome.usage.num_tokens)


class VllmClassifyRequest(ScoreModel):
    """Score pairs with the template already applied, as for vLLM without a template."""

    paths: ClassVar[tuple[str, ...]] = ("/classify", "/v1/classify")
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"input": [CHAT_TEMPLATE]}

    model: str | None = None
    input: Texts
    truncate_prompt_tokens: PromptTokens = None
    truncation_side: Side = None

    def task(self) -> ScoreTask:
        """Return the task.

        Raises:
            InvalidInput: an input is not a templated prompt.
        """
        for index, text in enumerate(self.input):
            if not all(mark in text for mark in MARKUP):
                raise InvalidInput(
                    f"input[{index}] must be a whole prompt of Qwen3-Reranker: a reranker has nothing to say of one text "
                    "alone. Send query and documents to /v1/rerank or /v1/score.",
                    param=f"input[{index}]",
                )
        cut = truncation(per_prompt=self.truncate_prompt_tokens)
        return ScoreTask(pairs=tuple((text, "") for text in self.input), model=self.model, truncation=cut)

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> VllmList[VllmClass]:
        """Return one class and its probability."""
        data: list[VllmClass] = [
            {"index": index, "label": "LABEL_0", "probs": [each.score], "num_classes": 1}
            for index, each in enumerate(outcome.scores)
        ]
        return _listed("classify", meta, self.model or outcome.model, data, outcome.usage.num_tokens)


class VllmPoolingRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/pooling",)
    items_field: ClassVar[str] = "input"
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    model: str | None = None
    input: Texts
    dimensions: Count = None
    truncate_prompt_tokens: PromptTokens = None
    truncation_side: Side = None

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(
            texts=tuple(self.input),
            model=self.model,
            dimensions=self.dimensions or None,
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> VllmList[VllmPooled]:
        """Return the vectors."""
        data: list[VllmPooled] = [
            {"index": index, "object": "pooling", "data": vector} for index, vector in enumerate(outcome.vectors)
        ]
        return _listed("pool", meta, self.model or outcome.model, data, outcome.usage.num_tokens)


class VllmSparseData(RequestFields):
    """The texts of a sparse request, and what to return."""

    input: Texts
    task: str | None = None
    embed_task: str | None = None
    return_tokens: bool | None = None


class VllmSparseRequest(SparseEmbedModel):
    """Embed texts as sparse vectors, as vLLM does with its plugin for BGE-M3."""

    paths: ClassVar[tuple[str, ...]] = ("/pooling",)
    items_field: ClassVar[str] = "data.input"
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


class VllmTokenizeRequest(TokenizeModel):
    """Tokenize a text."""

    paths: ClassVar[tuple[str, ...]] = ("/tokenize", "/v1/tokenize")
    example: ClassVar[Json] = {"prompt": "the red fox"}

    model: str | None = None
    prompt: str
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None

    @property
    def num_items(self) -> int:
        """One."""
        return 1

    def task(self) -> TokenizeTask:
        """Return the task."""
        return TokenizeTask(texts=(self.prompt,), model=self.model, with_special=self.add_special_tokens is not False)

    def answer(self, outcome: TokenizeOutcome, meta: ResponseMeta) -> VllmTokens:
        """Return ids, and strings if requested."""
        del meta
        [tokens] = outcome.tokens
        return {
            "count": len(tokens),
            "max_model_len": outcome.max_model_len,
            "tokens": [token.id for token in tokens],
            "token_strs": [token.text for token in tokens] if self.return_token_strs else None,
        }


class VllmDetokenizeRequest(DetokenizeModel):
    """Detokenize."""

    paths: ClassVar[tuple[str, ...]] = ("/detokenize", "/v1/detokenize")
    items_field: ClassVar[str] = "tokens"
    example: ClassVar[Json] = {"tokens": [1, 2, 3]}

    model: str | None = None
    tokens: list[int]

    def task(self) -> DetokenizeTask:
        """Return the task."""
        return DetokenizeTask(ids=(tuple(self.tokens),), model=self.model, skip_special=False)

    def answer(self, outcome: DetokenizeOutcome, meta: ResponseMeta) -> VllmText:
        """Return the text."""
        del meta
        return {"prompt": outcome.texts[0]}


def _listed(kind: str, meta: ResponseMeta, model: str, data: list[DataT], num_tokens: int) -> VllmList[DataT]:
    return {
        "id": f"{kind}-{meta.request_id}",
        "object": "list",
        "created": meta.created_s,
        "model": model,
        "data": data,
        "usage": usage(num_tokens),
    }


DIALECT: Final = Dialect(
    name="vllm",
    request_models=(
        VllmScoreRequest,
        VllmClassifyRequest,
        VllmSparseRequest,
        VllmPoolingRequest,
        VllmTokenizeRequest,
        VllmDetokenizeRequest,
    ),
)
