"""vLLM's score, classify, pooling and tokens. Its rerank is in `common`.

Source: vllm 0.33.0, `entrypoints/pooling/{scoring,classify,pooling}/protocol.py`, `entrypoints/serve/tokenize`.
"""

from __future__ import annotations

from typing import ClassVar, Final, Generic, Literal, NotRequired, TypeVar

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import SAGEMAKER_PATH, may_truncate, overflow, prompt_tokens, truncation, usage
from shortlist.api.dialects.dialect import (
    DetokenizeModel,
    Dialect,
    EmbedModel,
    Json,
    RequestView,
    ResponseMeta,
    ScoreModel,
    TokenizeModel,
)
from shortlist.api.dialects.published_fields import MESSAGES, NOTED, POOLING, VECTORS, UnsupportedFields
from shortlist.api.dialects.vector_forms import Written, writer
from shortlist.api.dialects.vllm_sparse import VllmSparseRequest
from shortlist.errors import InvalidInput
from shortlist.schemas.fields import Count, Documents, IdList, PromptTokens, Side, Texts
from shortlist.schemas.rerank import ChatTemplateArguments, TokenUsage
from shortlist.types import (
    DetokenizeOutcome,
    DetokenizeTask,
    EmbedOutcome,
    EmbedTask,
    OverflowPolicy,
    ScoreOutcome,
    ScoreTask,
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
"""Such a prompt."""


class VllmScore(TypedDict):
    """The score of a pair."""

    index: int
    object: str
    score: float


class VllmLabel(TypedDict):
    """The score of a pair, and the answer that it stands for."""

    score: float
    label: str


class VllmScores(TypedDict):
    """The scores of pairs, and the same as Qwen's example of a client reads them."""

    id: str
    object: str
    created: int
    model: str
    data: list[VllmScore]
    scores: list[VllmLabel]
    usage: TokenUsage
    truncated_documents: NotRequired[list[int]]


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
    data: Written


YES: Final = 0.5
"""Scores from here on stand for yes."""

DataT = TypeVar("DataT")


class VllmList(TypedDict, Generic[DataT]):
    """Values in the order of the request."""

    id: str
    object: str
    created: int
    model: str
    data: list[DataT]
    usage: TokenUsage
    truncated_documents: NotRequired[list[int]]


class VllmTokens(TypedDict):
    """Token ids, and their texts if requested."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class VllmText(TypedDict):
    """The text of token ids; `text` is Cohere's name of it."""

    prompt: str
    text: str


class VllmScoreRequest(ScoreModel):
    """Score pairs: one with one, one with many, or many with as many."""

    paths: ClassVar[tuple[str, ...]] = ("/score", "/v1/score", SAGEMAKER_PATH)
    items_field: ClassVar[str] = "text_2"
    also_read: ClassVar[frozenset[str]] = frozenset(name for names in PAIR_FIELDS for name in names)
    unsupported: ClassVar[UnsupportedFields] = POOLING
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"text_1": "red fox", "text_2": ["a cat", "the red fox"]}

    model: str | None = None
    text_1: Documents = Field(description="The query, or one for every document; also accepted as queries or data_1.")
    text_2: Documents = Field(description="The documents; also accepted as documents, items or data_2.")
    chat_template_kwargs: ChatTemplateArguments | None = None
    max_tokens_per_doc: Count = None
    max_tokens_per_query: Count = None
    truncate_prompt_tokens: PromptTokens = None
    truncation_side: Side = None
    truncation: bool | None = Field(default=None, description="false: a text that is too long is an error, not cut.")
    truncate: bool | str | None = Field(
        default=None, description="false, NONE or START is another spelling of truncation: false."
    )
    on_overflow: OverflowPolicy | None = Field(default=None, description="As of /v1/rerank.")
    use_activation: bool | None = Field(default=None, description="false: return log-odds instead of 0..1.")
    activation: bool | None = Field(default=None, description="An older name of use_activation.")
    raw_scores: bool | None = Field(default=None, description="true is another spelling of use_activation: false.")

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, or by the names of both sides."""
        return view.path != SAGEMAKER_PATH or any(set(names) <= view.body.keys() for names in PAIR_FIELDS)

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
        for index, query in enumerate(queries):  # before one is paired with every document
            if not query.strip():
                raise InvalidInput(f"text_1[{index}] must not be empty.", param=f"text_1[{index}]")
        if len(queries) == 1:
            queries = queries * len(documents)
        if len(queries) != len(documents):
            raise InvalidInput("text_1 and text_2 must be one and one, one and many, or equally many.", param="text_1")
        of_template = self.chat_template_kwargs.instruction if self.chat_template_kwargs else None
        return ScoreTask(
            pairs=tuple(zip(queries, documents, strict=True)),
            model=self.model,
            instruction=of_template or self.instruction or None,
            on_overflow=self.on_overflow or overflow(self.truncation, self.truncate, side=self.truncation_side),
            truncation=truncation(
                per_query=self.max_tokens_per_query,
                per_doc=self.max_tokens_per_doc,
                per_prompt=self.truncate_prompt_tokens,
                side=self.truncation_side,
            ),
        )

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> VllmScores:
        """Return the scores in the order of the request."""
        has_odds = False in {self.use_activation, self.activation} or self.raw_scores is True
        scores = [each.raw_score if has_odds else each.score for each in outcome.scores]
        answer: VllmScores = {
            "id": f"score-{meta.request_id}",
            "object": "list",
            "created": meta.created_s,
            "model": self.model or outcome.model,
            "data": [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)],
            "scores": [
                {"score": score, "label": "yes" if each.score >= YES else "no"}
                for score, each in zip(scores, outcome.scores, strict=True)
            ],
            "usage": usage(outcome.usage.num_tokens),
        }
        if outcome.truncated:
            answer["truncated_documents"] = list(outcome.truncated)
        return answer


class VllmClassifyRequest(ScoreModel):
    """Score pairs with the template already applied, as for vLLM without a template."""

    paths: ClassVar[tuple[str, ...]] = ("/classify", "/v1/classify")
    items_field: ClassVar[str] = "input"
    unsupported: ClassVar[UnsupportedFields] = POOLING
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"input": [CHAT_TEMPLATE]}

    model: str | None = None
    input: Texts
    use_activation: bool | None = Field(default=None, description="false: return log-odds instead of 0..1.")
    activation: bool | None = Field(default=None, description="An older name of use_activation.")
    raw_scores: bool | None = Field(
        default=None, description="true is another spelling of use_activation: false. (Infinity's.)"
    )
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
                    f"input[{index}] must be a whole prompt with the reranker's chat template: a text alone has no score. "
                    "Send query and documents to /v1/rerank or /v1/score.",
                    param=f"input[{index}]",
                )
        return ScoreTask(
            pairs=tuple((text, "") for text in self.input),
            model=self.model,
            on_overflow=overflow(side=self.truncation_side),
            truncation=truncation(per_prompt=self.truncate_prompt_tokens, side=self.truncation_side),
        )

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> VllmList[VllmClass]:
        """Return one class and its probability."""
        has_odds = False in {self.use_activation, self.activation} or self.raw_scores is True
        data: list[VllmClass] = [
            {"index": index, "label": "LABEL_0", "probs": [each.raw_score if has_odds else each.score], "num_classes": 1}
            for index, each in enumerate(outcome.scores)
        ]
        return _listed("classify", meta, self.model, data, outcome)


class VllmPoolingRequest(EmbedModel):
    """Embed texts."""

    paths: ClassVar[tuple[str, ...]] = ("/pooling",)
    items_field: ClassVar[str] = "input"
    unsupported: ClassVar[UnsupportedFields] = VECTORS
    noted: ClassVar[frozenset[str]] = NOTED
    example: ClassVar[Json] = {"input": ["first text", "second text"]}

    model: str | None = None
    input: Texts
    task_name: Literal["embed", "encode"] | None = Field(
        default=None, alias="task", description="Only embed: one vector for every text."
    )
    encoding_format: Literal["float", "base64"] | None = None
    use_activation: bool | None = Field(default=None, description="false: vectors as long as the model makes them.")
    normalize: bool | None = Field(default=None, description="An older name of use_activation.")
    dimensions: Count = None
    truncate_prompt_tokens: PromptTokens = None
    truncation_side: Side = None

    def task(self) -> EmbedTask:
        """Return the task."""
        return EmbedTask(
            texts=tuple(self.input),
            model=self.model,
            normalize=self.normalize if self.use_activation is None else self.use_activation,
            dimensions=self.dimensions or None,
            truncate=may_truncate(side=self.truncation_side),
            truncate_prompt_tokens=prompt_tokens(self.truncate_prompt_tokens, self.truncation_side),
        )

    def answer(self, outcome: EmbedOutcome, meta: ResponseMeta) -> VllmList[VllmPooled]:
        """Return the vectors."""
        written = writer("float", self.encoding_format or "float")
        data: list[VllmPooled] = [
            {"index": index, "object": "pooling", "data": written(vector)} for index, vector in enumerate(outcome.vectors)
        ]
        return _listed("pool", meta, self.model, data, outcome)


class VllmTokenizeRequest(TokenizeModel):
    """Tokenize a text."""

    paths: ClassVar[tuple[str, ...]] = ("/tokenize", "/v1/tokenize")
    unsupported: ClassVar[UnsupportedFields] = MESSAGES
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
    tokens: IdList

    def task(self) -> DetokenizeTask:
        """Return the task."""
        return DetokenizeTask(ids=(tuple(self.tokens),), model=self.model, skip_special=False)

    def answer(self, outcome: DetokenizeOutcome, meta: ResponseMeta) -> VllmText:
        """Return the text."""
        del meta
        return {"prompt": outcome.texts[0], "text": outcome.texts[0]}


def _listed(
    kind: str, meta: ResponseMeta, model: str | None, data: list[DataT], outcome: ScoreOutcome | EmbedOutcome
) -> VllmList[DataT]:
    answer: VllmList[DataT] = {
        "id": f"{kind}-{meta.request_id}",
        "object": "list",
        "created": meta.created_s,
        "model": model or outcome.model,
        "data": data,
        "usage": usage(outcome.usage.num_tokens),
    }
    if outcome.truncated:
        answer["truncated_documents"] = list(outcome.truncated)
    return answer


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
