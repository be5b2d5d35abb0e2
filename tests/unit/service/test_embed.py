"""Embedding: one unit vector per text, in order, cut and normalized again when fewer dimensions are requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from shortlist.engine.base import ScoreScale
from shortlist.errors import EngineError, InvalidInput
from shortlist.service.embed import normalized
from shortlist.types import Batch, EmbedTask, InputType, Vector
from tests.support.apps import running, runtime
from tests.support.fake_engine import FakeEngine


def task(*texts: str, **rest: object) -> EmbedTask:
    return EmbedTask(texts=texts, **rest)  # type: ignore[arg-type]


async def test_vectors_come_in_the_order_of_the_texts() -> None:
    async with running(runtime()) as service:
        both = await service.embed(task("a", "b"))
        alone = await service.embed(task("b"))
    assert len(both.vectors) == 2
    np.testing.assert_array_equal(both.vectors[1], alone.vectors[0])


async def test_equal_texts_are_computed_once() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        outcome = await service.embed(task("a", "a", "a"))
    assert [len(batch.items) for batch in engine.batches] == [1]
    assert len(outcome.vectors) == 3


async def test_queries_and_documents_are_different_inputs() -> None:
    engine = FakeEngine()
    async with running(runtime(engine)) as service:
        document = await service.embed(task("a"))
        query = await service.embed(task("a", input_type=InputType.QUERY))
        instructed = await service.embed(task("a", instruction="find it"))
    assert len(engine.batches) == 3
    assert not np.array_equal(document.vectors[0], query.vectors[0])
    assert not np.array_equal(query.vectors[0], instructed.vectors[0])


async def test_score_and_vector_of_one_text_are_not_confused() -> None:
    from shortlist.types import RerankTask

    async with running(runtime()) as service:
        await service.rerank(RerankTask(query="", documents=("a",)))
        outcome = await service.embed(task("a"))
    assert outcome.vectors[0].shape == (8,)


async def test_fewer_dimensions_are_cut_and_normalized_again() -> None:
    async with running(runtime()) as service:
        whole = await service.embed(task("a"))
        short = await service.embed(task("a", dimensions=3))
    assert short.usage.num_cached == 1
    expected = whole.vectors[0][:3] / np.linalg.norm(whole.vectors[0][:3])
    np.testing.assert_allclose(short.vectors[0], expected, rtol=1e-6)
    assert whole.vectors[0].shape == (8,)


class LongVectors(FakeEngine):
    """Makes vectors of other lengths than one, and compares them on a scale."""

    def __init__(self, scale: ScoreScale) -> None:
        super().__init__()
        self._info = replace(self._info, has_unit_vectors=False, score_scale=scale)

    async def embed(self, batch: Batch) -> Sequence[Vector]:
        return [np.float32(3) * vector for vector in await super().embed(batch)]


@pytest.mark.parametrize(
    ("scale", "normalize", "length"),
    [
        (ScoreScale.COSINE, None, 1.0),
        (ScoreScale.COSINE, False, 3.0),
        (ScoreScale.DOT, None, 3.0),
        (ScoreScale.DISTANCE, None, 3.0),
        (ScoreScale.DOT, True, 1.0),
    ],
)
async def test_length_of_vectors_follows_the_request_or_the_models_similarity(
    scale: ScoreScale, normalize: bool | None, length: float
) -> None:
    async with running(runtime(LongVectors(scale))) as service:
        outcome = await service.embed(task("a", normalize=normalize))
        short = await service.embed(task("a", normalize=normalize, dimensions=3))
    assert np.linalg.norm(outcome.vectors[0]) == pytest.approx(length, rel=1e-5)
    assert short.vectors[0].shape == (3,)
    if length == 1.0:
        assert np.linalg.norm(short.vectors[0]) == pytest.approx(1.0, rel=1e-5)
    else:
        np.testing.assert_array_equal(short.vectors[0], outcome.vectors[0][:3])


async def test_more_dimensions_than_the_model_has_are_refused() -> None:
    async with running(runtime()) as service:
        with pytest.raises(InvalidInput, match="at most 8") as error:
            await service.embed(task("a", dimensions=9))
    assert error.value.param == "dimensions"


async def test_text_that_fails_fails_the_request() -> None:
    def fault(batch: Batch) -> None:
        raise EngineError("poison")

    async with running(runtime(FakeEngine(fault=fault))) as service:
        with pytest.raises(EngineError, match="poison"):
            await service.embed(task("a", "b"))


def test_zero_vector_stays_zero() -> None:
    assert normalized(np.zeros(2, np.float32)).tolist() == [0.0, 0.0]
