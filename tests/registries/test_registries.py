"""Worked examples: an engine, a model family and an operation, added through the registries alone and served over HTTP.

Everything that a new one needs stands in this module. See CONTRIBUTING.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import httpx2
import pytest

from shortlist.api.dialects import table
from shortlist.api.dialects.dialect import Dialect, Json, ResponseMeta, TaskModel
from shortlist.api.request_options import apply_headers
from shortlist.api.task_handlers import HANDLERS, TaskHandler
from shortlist.engine.base import Engine, EngineInfo
from shortlist.engine.registry import ENGINES, EngineSpec
from shortlist.hub.metadata import ModelMetadata
from shortlist.models import registry
from shortlist.models.base import Detection, LoadContext, ModelFamily, ModelFiles
from shortlist.scheduler.cache import Entry
from shortlist.scheduler.codec import decode, encode
from shortlist.scheduler.served_model import ServedModel
from shortlist.scheduler.work import Work
from shortlist.schemas.fields import Documents
from shortlist.server import build_app
from shortlist.text.encoder import Encoder
from shortlist.types import (
    OPERATIONS,
    RERANK,
    DocumentStats,
    Operation,
    Prompt,
    RequestOptions,
    TextPrompt,
    Usage,
    ValueType,
)
from tests.support.apps import settings
from tests.support.serving import serving
from tests.support.words import WordEncoder

# -- an operation: its values, its service and its route ------------------------------------------------------------------


class WholeNumber(ValueType[int]):
    """A value type: how values are checked, measured and stored in the shared cache."""

    def is_finite(self, value: int) -> bool:
        return value >= 0

    def num_bytes(self, value: int) -> int:
        return 8

    def encode(self, value: int) -> bytes:
        return value.to_bytes(8, "little")

    def decode(self, data: bytes) -> int | None:
        return int.from_bytes(data, "little") if len(data) == 8 else None


COUNT_VOWELS: Final = Operation("count_vowels", WholeNumber())


@dataclass(frozen=True, slots=True, kw_only=True)
class CountTask:
    texts: tuple[str, ...]
    model: str | None = None
    instruction: str | None = None
    options: RequestOptions = field(default_factory=RequestOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountOutcome:
    model: str
    counts: Sequence[int]
    usage: Usage


async def count_vowels(served: ServedModel, task: CountTask) -> CountOutcome:
    work = Work(
        operation=COUNT_VOWELS,
        texts=task.texts,
        keys=served.keys(COUNT_VOWELS, (), task.texts),
        overhead_chars=0,
        encode=lambda positions: served.encoder.encode_texts([task.texts[index] for index in positions]),
        options=task.options,
    )
    computed = await served.run(work)
    counts = [found.value for found in computed.found if isinstance(found, Entry)]
    return CountOutcome(model=served.name, counts=counts, usage=computed.usage)


class CountRequest(TaskModel[CountTask, CountOutcome]):
    """Count the vowels of texts."""

    paths: ClassVar[tuple[str, ...]] = ("/count_vowels",)
    items_field: ClassVar[str] = "texts"

    texts: Documents
    instruction: ClassVar[None] = None

    def task(self) -> CountTask:
        return CountTask(texts=tuple(self.texts))

    def answer(self, outcome: CountOutcome, meta: ResponseMeta) -> Json:
        return {"id": meta.request_id, "counts": list(outcome.counts)}


# -- an engine --------------------------------------------------------------------------------------------------------------


class VowelEngine(Engine):
    """Counts vowels; the score of a pair is the vowels of its document."""

    def __init__(self) -> None:
        self.num_prompts = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(fingerprint="vowels", operations=frozenset({RERANK, COUNT_VOWELS}), max_model_len=100)

    async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
        self._require(operation)
        self.num_prompts += len(prompts)
        counts = [sum(letter in "aeiou" for letter in prompt.text) for prompt in prompts if isinstance(prompt, TextPrompt)]
        return [float(count) for count in counts] if operation is RERANK else counts

    def close(self) -> None:
        pass


# -- a family ---------------------------------------------------------------------------------------------------------------


def load_vowels(model: ModelFiles, context: LoadContext) -> tuple[Engine, Encoder]:
    assert (model.path / "config.json").is_file()
    return VowelEngine(), WordEncoder(min(100, context.settings.max_model_len))


VOWELS: Final = ModelFamily(name="vowels", operations=frozenset({RERANK, COUNT_VOWELS}), load={"vowel-engine": load_vowels})


def detect_vowels(metadata: ModelMetadata, declared: Operation | None) -> Detection | None:
    del declared
    return Detection(VOWELS, "config.json: vowels") if metadata.model_type == "vowels" else None


# -- all of them, served ------------------------------------------------------------------------------------------------------


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPERATIONS, COUNT_VOWELS.name, COUNT_VOWELS)
    monkeypatch.setitem(ENGINES, "vowel-engine", EngineSpec())
    monkeypatch.setattr(registry, "DETECTORS", [detect_vowels, *registry.DETECTORS])
    handlers: dict[Any, Any] = HANDLERS
    monkeypatch.setitem(handlers, CountRequest, TaskHandler("count_vowels", _run_count, _task_of))
    for known in (table.ENTRIES, table.NAMES):
        monkeypatch.setattr(table, "ENTRIES" if known is table.ENTRIES else "NAMES", known.copy())
    table.register(Dialect(name="vowels", request_models=(CountRequest,)))


async def _run_count(service: Any, task: CountTask) -> CountOutcome:
    outcome: CountOutcome = await service.run(COUNT_VOWELS, count_vowels, task)
    return outcome


def _task_of(body: Any, request: Any) -> CountTask:
    task: CountTask = apply_headers(body.task(), request)
    return task


@pytest.fixture
def http(registered: None, tmp_path: Path) -> Iterator[httpx2.Client]:
    folder = tmp_path / "my-vowels"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vowels", "architectures": ["Vowels"]}))
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    app = build_app(settings(models=[str(folder)], ui=False))
    with serving(app) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_operation_engine_and_family_are_served(http: httpx2.Client) -> None:
    [model] = http.get("/v1/models").json()["data"]
    assert (model["id"], model["tasks"]) == ("my-vowels", ["rerank", "count_vowels"])
    answer = http.post("/count_vowels", json={"texts": ["red fox", "queue", "xyz"]}, headers={"x-request-id": "seven"})
    assert answer.status_code == 200
    assert answer.json() == {"id": "seven", "counts": [2, 4, 0]}
    assert answer.headers["x-served-model"] == "my-vowels"
    ranking = http.post("/v1/rerank", json={"query": "vowels", "documents": ["xyz", "queue"]}).json()
    assert [each["index"] for each in ranking["results"]] == [1, 0]


def test_operation_is_cached_metered_and_selectable(http: httpx2.Client) -> None:
    for hits in ("0", "2"):
        answer = http.post("/m/my-vowels/compat/vowels/count_vowels", json={"texts": ["red fox", "queue"]})
        assert (answer.status_code, answer.headers["x-cache-hits"]) == (200, hits)
    metrics = http.get("/metrics").text
    labels = 'dialect="vowels",model="my-vowels",route="/count_vowels",status="200",task="count_vowels"'
    assert f"shortlist_requests_total{{{labels}}} 2.0" in metrics
    assert 'shortlist_inference_duration_seconds_count{model="my-vowels",task="count_vowels"} 1.0' in metrics


def test_operation_refuses_as_others_do(http: httpx2.Client) -> None:
    answer = http.post("/count_vowels", json={"texts": []})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "texts")
    answer = http.post("/v1/embeddings", json={"input": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert http.post("/count_vowels", json={"texts": ["x"]}, headers={"x-request-timeout-ms": "0"}).status_code == 400


def test_values_pass_through_the_shared_cache(registered: None) -> None:
    entry = Entry(COUNT_VOWELS, 7, 3, DocumentStats(3, 3))
    assert decode(COUNT_VOWELS, b"k", encode(b"k", entry)) == entry
    assert decode(RERANK, b"k", encode(b"k", entry)) != entry
