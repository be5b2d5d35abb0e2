"""Pairs of query and document to score, at the paths of Text Embeddings Inference."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, ValidationInfo
from typing_extensions import TypedDict

from shortlist.api.dialects.conversions import SAGEMAKER_PATH, overflow
from shortlist.api.dialects.dialect import Json, RequestView, ResponseMeta, ScoreModel
from shortlist.errors import InvalidInput
from shortlist.schemas.fields import Side, check_num_items
from shortlist.types import ScoreOutcome, ScoreTask

DEFAULT_PATHS: Final = ("/", SAGEMAKER_PATH)
"""Paths where the body alone determines the task."""


class TeiPrediction(TypedDict):
    """The score of a pair, under the only label."""

    score: float
    label: str


class TeiScores(TypedDict):
    """The scores of pairs."""

    scores: list[float]


PAIR_FORMS: Final = "a pair [query, document], or a list of such pairs"


def _pairs(value: object, info: ValidationInfo) -> list[list[str]]:
    name = info.field_name or "inputs"
    if _is_pair(value):
        value = [value]
    if isinstance(value, list):
        check_num_items(value, info)
    if not isinstance(value, list) or not value or not all(_is_pair(pair) for pair in value):
        raise InvalidInput(f"{name} must be {PAIR_FORMS}: a reranker has nothing to say of one text alone.", param=name)
    empty = next((index for index, (query, _) in enumerate(value) if not query.strip()), None)
    if empty is not None:
        raise InvalidInput(f"{name}[{empty}] must begin with a query that is not empty.", param=f"{name}[{empty}]")
    return value


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _one_or_more(value: object, info: ValidationInfo) -> object:
    return tuple(_pairs(value, info)[0]) if _is_pair(value) else _pairs(value, info)


Pairs = Annotated[list[tuple[str, str]], BeforeValidator(_pairs, json_schema_input_type=list[str] | list[list[str]])]


OneOrMore = Annotated[
    tuple[str, str] | list[tuple[str, str]], BeforeValidator(_one_or_more, json_schema_input_type=list[str] | list[list[str]])
]


class TeiPredictRequest(ScoreModel):
    """Score pairs."""

    paths: ClassVar[tuple[str, ...]] = ("/predict", *DEFAULT_PATHS)
    items_field: ClassVar[str] = "inputs"
    example: ClassVar[Json] = {"inputs": [["red fox", "a cat"], ["red fox", "the red fox"]]}

    model: str | None = None
    inputs: OneOrMore
    truncate: bool | None = None
    truncation_direction: Side = None
    raw_scores: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the path, by inputs that are pairs, or by a field that text classification always sends."""
        inputs = view.body.get("inputs")
        is_nested = isinstance(inputs, list) and any(isinstance(each, list) for each in inputs)
        return view.path == "/predict" or is_nested or ("parameters" in view.body and not isinstance(inputs, dict))

    def task(self) -> ScoreTask:
        """Return the task."""
        pairs = self.inputs if isinstance(self.inputs, list) else [self.inputs]
        return ScoreTask(
            pairs=tuple(pairs), model=self.model, on_overflow=overflow(self.truncate, side=self.truncation_direction)
        )

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> list[list[TeiPrediction]] | list[TeiPrediction]:
        """Return one list of one label per pair; of a single pair the list itself."""
        del meta
        labels: list[list[TeiPrediction]] = [
            [{"score": each.raw_score if self.raw_scores else each.score, "label": "LABEL_0"}] for each in outcome.scores
        ]
        return labels if isinstance(self.inputs, list) else labels[0]


def _named_pairs(value: object, info: ValidationInfo) -> list[list[str]]:
    """Read `{"text", "text_pair"}`, or a list of such objects."""
    name = info.field_name or "inputs"
    pairs: list[Any] = value if isinstance(value, list) else [value]
    check_num_items(pairs, info)
    wrong = next((index for index, pair in enumerate(pairs) if not _is_named_pair(pair)), None)
    if wrong is not None:
        raise InvalidInput(f"{name}[{wrong}] must have two texts: text (the query) and text_pair.", param=f"{name}[{wrong}]")
    return _pairs([[pair["text"], pair["text_pair"]] for pair in pairs], info)


def _is_named_pair(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("text", "text_pair"))


NamedPairs = Annotated[
    list[tuple[str, str]], BeforeValidator(_named_pairs, json_schema_input_type=dict[str, str] | list[dict[str, str]])
]


class TeiNamedPairsRequest(ScoreModel):
    """Score pairs, as Hugging Face's text classification takes them.

    Source: transformers, `TextClassificationPipeline`: objects with `text` and `text_pair`; one label per pair.
    """

    paths: ClassVar[tuple[str, ...]] = ("/predict", *DEFAULT_PATHS)
    items_field: ClassVar[str] = "inputs"
    example: ClassVar[Json] = {"inputs": [{"text": "red fox", "text_pair": "a cat"}]}

    model: str | None = None
    inputs: NamedPairs
    truncate: bool | None = None
    truncation_direction: Side = None
    raw_scores: bool | None = None

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by inputs that are objects with `text_pair`."""
        inputs = view.body.get("inputs")
        return any(
            isinstance(each, dict) and "text_pair" in each for each in (inputs if isinstance(inputs, list) else [inputs])
        )

    def task(self) -> ScoreTask:
        """Return the task."""
        return ScoreTask(
            pairs=tuple(self.inputs), model=self.model, on_overflow=overflow(self.truncate, side=self.truncation_direction)
        )

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> list[TeiPrediction]:
        """Return one label per pair."""
        del meta
        return [{"score": each.raw_score if self.raw_scores else each.score, "label": "LABEL_0"} for each in outcome.scores]


class TeiTextPairsRequest(ScoreModel):
    """Score pairs, as LangChain sends them to SageMaker.

    Source: langchain-community, `cross_encoders/sagemaker_endpoint.py`.
    """

    paths: ClassVar[tuple[str, ...]] = DEFAULT_PATHS
    items_field: ClassVar[str] = "text_pairs"
    example: ClassVar[Json] = {"text_pairs": [["red fox", "a cat"], ["red fox", "the red fox"]]}

    text_pairs: Pairs

    @classmethod
    def matches(cls, view: RequestView) -> bool:
        """Match by the field of the pairs."""
        return "text_pairs" in view.body

    def task(self) -> ScoreTask:
        """Return the task."""
        return ScoreTask(pairs=tuple(self.text_pairs))

    def answer(self, outcome: ScoreOutcome, meta: ResponseMeta) -> TeiScores:
        """Return the scores."""
        del meta
        return {"scores": [each.score for each in outcome.scores]}
