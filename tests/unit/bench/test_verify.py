"""Asking again, one document at a time, finds every number that depended on its neighbours."""

from __future__ import annotations

import asyncio

import pytest

from shortlist.bench.dialects import Numbers
from shortlist.bench.http_client import LoadClient
from shortlist.bench.samples import AnswerCheck, KeptAnswer
from shortlist.bench.target import targets
from shortlist.bench.texts import LoadRequest
from shortlist.bench.verify import check
from tests.support.crowd import Behave, Scene, always, reply, score

DOCUMENTS = ("one", "two two", "three")
RIGHT = [(score(document),) for document in DOCUMENTS]


async def checked(
    numbers: Numbers, behave: Behave | None = None, *, tolerance: float = 1e-3, dialect: str = "rerank", stop: bool = False
) -> tuple[AnswerCheck, Scene]:
    async with Scene(behave or always()) as scene, LoadClient(targets([scene.url], dialect=[dialect])[0], 5.0) as asker:
        event = asyncio.Event()
        if stop:
            event.set()
        return await check(asker, [KeptAnswer(LoadRequest("q", DOCUMENTS), numbers)], tolerance, event), scene


async def test_equal_scores_alone_pass_verification() -> None:
    found, scene = await checked(RIGHT)
    assert found == AnswerCheck(num_checked=3)
    assert [heard.body["documents"] for heard in scene.heard] == [["one"], ["two two"], ["three"]]
    assert scene.most_at_once == 1


async def test_different_scores_fail_verification_with_the_distance() -> None:
    found, _ = await checked([RIGHT[0], (RIGHT[1][0] + 0.25,), (RIGHT[2][0] - 0.01,)])
    assert (found.num_checked, found.num_wrong) == (3, 2)
    assert found.largest == pytest.approx(0.25)


@pytest.mark.parametrize(("tolerance", "num_wrong"), [(0.02, 0), (0.005, 3), (0.0, 3)])
async def test_tolerance_is_the_maximum_difference(tolerance: float, num_wrong: int) -> None:
    found, _ = await checked([(number + 0.01,) for (number,) in RIGHT], tolerance=tolerance)
    assert found.num_wrong == num_wrong


async def test_exactly_the_same_is_tolerated_by_none() -> None:
    assert (await checked(RIGHT, tolerance=0.0))[0].num_wrong == 0


async def test_unanswered_requests_are_not_verified() -> None:
    found, _ = await checked(
        RIGHT, always(reply(429), None, reply(200, {"results": [{"index": 0, "relevance_score": RIGHT[2][0]}]}))
    )
    assert found == AnswerCheck(num_checked=1, num_unanswered=2)


async def test_vectors_are_compared_number_by_number() -> None:
    vectors = [reply(200, {"data": [{"index": 0, "embedding": vector}]}) for vector in ([1.0, 0.0], [0.0, 1.0], [1.0])]
    found, _ = await checked([(1.0, 0.0), (0.0, 0.5), (1.0, 0.0)], always(*vectors), dialect="openai")
    assert (found.num_checked, found.num_wrong, found.largest) == (3, 2, 0.5)  # the last one has another width


async def test_verification_stops_on_request() -> None:
    found, scene = await checked(RIGHT, stop=True)
    assert (found, scene.heard) == (AnswerCheck(), [])
