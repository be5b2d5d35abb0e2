"""Batched groups: rankings equal unbatched ones, and errors belong to their group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from shortlist.api.app import create_app
from shortlist.cli.batches import RankOptions, is_request_error, rank_all
from shortlist.cli.input import InputGroup, Text
from shortlist.cli.output import RankedGroup
from shortlist.client import AsyncClient
from shortlist.errors import (
    BodyTooLarge,
    DeadlineExceeded,
    EngineError,
    EngineUnavailable,
    InputTooLong,
    InvalidInput,
    NotFound,
    Overloaded,
    ServiceError,
    Unauthenticated,
)
from tests.support.apps import running, runtime
from tests.support.script import Answer, ScriptedServer, fault


def group(position: int, *documents: str) -> InputGroup:
    texts = tuple(Text(index * 2, text) for index, text in enumerate(documents))
    return InputGroup(position=position, line=position + 1, query="red apple", texts=texts)


def options(**changes: Any) -> RankOptions:
    given = {"model": None, "instruction": None, "top_n": None, "batch_size": 2, "concurrency": 3, "timeout_s": 10.0}
    return RankOptions(**{**given, **changes})


async def ranked(client: AsyncClient, groups: list[InputGroup], how: RankOptions) -> list[RankedGroup]:
    async def source() -> AsyncIterator[InputGroup]:
        for each in groups:
            yield each

    return [done async for _, done in rank_all(client, source(), how) if done is not None]


DOCUMENTS = ("pear", "red apple", "apple", "red", "red apple", "stone")


async def test_batched_ranking_equals_unbatched_ranking() -> None:
    async with running(runtime()) as service:
        transport = httpx2.ASGITransport(create_app(service))
        async with AsyncClient("http://localhost", transport=transport) as client:
            groups = [group(0, *DOCUMENTS), group(1, "apple"), group(2, *reversed(DOCUMENTS))]
            whole = await ranked(client, groups, options(batch_size=100))
            assert await ranked(client, groups, options()) == whole
            assert await ranked(client, groups, options(batch_size=1, concurrency=1)) == whole
            best = await ranked(client, groups, options(top_n=2))
    assert [each.results[:2] for each in whole] == [each.results for each in best]
    assert [result.index for result in whole[0].results[:2]] == [2, 8]  # by line, equal ones in order
    assert all(result.text == DOCUMENTS[result.index // 2] for result in whole[0].results)


async def test_failed_document_keeps_its_line_index() -> None:
    script = ScriptedServer()
    first = {
        "model": "m",
        "results": [{"index": 0, "relevance_score": 0.1}],
        "failed_documents": [{"index": 1, "message": "bad"}],
    }
    second = {"model": "m", "results": [{"index": 0, "relevance_score": 0.2}], "truncated_documents": [0]}
    script.play(Answer(body=first), Answer(body=second))
    async with AsyncClient("http://app", transport=httpx2.ASGITransport(script)) as client:
        [done] = await ranked(client, [group(0, "a", "b", "c")], options(concurrency=1, model="m", instruction="i"))
    assert [(each.index, each.message) for each in done.failed] == [(2, "bad")]
    assert done.truncated == (4,)
    assert [each.index for each in done.results] == [4, 0]
    assert [(each.body["model"], each.body["instruction"]) for each in script.asked] == [("m", "i")] * 2


async def test_error_of_one_group_does_not_affect_the_others() -> None:
    script = ScriptedServer()
    good = Answer(body={"model": "m", "results": [{"index": 0, "relevance_score": 0.1}]})
    script.play(good, Answer(400, fault("Too long.", code="context_length_exceeded")), good)
    async with AsyncClient("http://app", transport=httpx2.ASGITransport(script)) as client:
        done = await ranked(client, [group(number, "a") for number in range(3)], options(concurrency=1))
    assert [each.error and each.error.message for each in done] == [None, "Too long.", None]
    assert [len(each.results) for each in done] == [1, 0, 1]


@pytest.mark.parametrize(
    ("error", "is_own"),
    [
        (InputTooLong("."), True),
        (BodyTooLarge("."), True),
        (EngineError("."), True),
        (InvalidInput(".", param="documents[3]"), True),
        (InvalidInput(".", param="query"), True),
        (InvalidInput(".", param="model"), False),
        (InvalidInput("."), False),
        (Unauthenticated("."), False),
        (NotFound("."), False),
        (EngineUnavailable("."), False),
        (Overloaded(".", retry_after_s=1.0), False),
        (DeadlineExceeded("."), False),
    ],
)
async def test_error_of_all_requests_ends_the_run(error: ServiceError, is_own: bool) -> None:
    assert is_request_error(error) is is_own
