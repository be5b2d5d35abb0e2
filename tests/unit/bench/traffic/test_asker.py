"""Whatever happens to a request, it is an outcome: one word, and what the server said."""

from __future__ import annotations

import errno
import json
import time

import pytest

from shortlist.bench.texts import Request
from shortlist.bench.traffic.asker import MAX_WHY_CHARS, Asker, Outcome, said
from shortlist.bench.traffic.tally import Fate
from shortlist.bench.traffic.target import targets
from shortlist.bench.traffic.wire import Pool
from tests.support.crowd import Scene, always, reply, score
from tests.support.serving import free_port

REQUEST = Request("how is it", ("one", "two two", "three 三"))


def asker(url: str, timeout_s: float = 5.0, **flags: list[str]) -> Asker:
    return Asker(targets([url], **flags)[0], timeout_s)  # type: ignore[arg-type]


async def asked(*answers: bytes | None, timeout_s: float = 5.0, after_s: float = 0.0) -> Outcome:
    async with Scene(always(*answers, after_s=after_s)) as scene:
        one = asker(scene.url, timeout_s)
        try:
            return await one.ask(REQUEST)
        finally:
            one.close()


async def test_a_good_answer_has_the_numbers_in_order() -> None:
    before_s = time.perf_counter()
    outcome = await asked()
    assert (outcome.fate, outcome.status, outcome.why) == (Fate.OK, 200, "")
    assert outcome.numbers == [(score(document),) for document in REQUEST.documents]
    assert before_s < outcome.at_s < time.perf_counter()


async def test_the_server_is_asked_what_was_to_be_asked() -> None:
    async with Scene(always()) as scene:
        one = asker(f"{scene.url}/v1", model=["m"], api_key=["secret"])
        await one.ask(REQUEST)
        one.close()
    [heard] = scene.heard
    assert heard.path == "/v1/rerank"
    assert heard.headers["authorization"] == "bearer secret"
    assert heard.body == {"model": "m", "query": "how is it", "documents": list(REQUEST.documents), "return_documents": False}


FAULT = {"error": {"message": "It is\n full.", "type": "x"}, "message": "It is full."}


@pytest.mark.parametrize(
    ("answer", "fate", "why"),
    [
        (reply(429, FAULT, retry_after="3"), Fate.REFUSED, "429 It is full."),
        (reply(504, FAULT), Fate.TIMED_OUT, "504 It is full."),
        (reply(500, b"<h1>Oops</h1>"), Fate.FAILED, "500 <h1>Oops</h1>"),
        (reply(503), Fate.FAILED, "503"),
        (reply(404, {"detail": "Not Found"}), Fate.REJECTED, "404 Not Found"),
        (reply(302, b"", location="https://elsewhere"), Fate.REJECTED, "302"),
        (reply(200, {"results": []}), Fate.WRONG, "0 of 3 documents"),
        (reply(200, b"{"), Fate.WRONG, "not what the dialect"),
        (None, Fate.CUT, "ended before the answer did"),
        (b"nonsense\r\n\r\n", Fate.CUT, "not HTTP"),
    ],
)
async def test_every_end_has_its_fate_and_its_reason(answer: bytes | None, fate: Fate, why: str) -> None:
    outcome = await asked(answer)
    assert outcome.fate is fate
    assert why in outcome.why
    assert outcome.numbers is None
    assert (outcome.status is None) == (fate is Fate.CUT)


async def test_a_refusal_says_when_to_come_back_or_does_not() -> None:
    assert (await asked(reply(429, retry_after="3"))).retry_after == "3"
    assert (await asked(reply(429))).retry_after is None


async def test_no_answer_is_a_lost_request() -> None:
    outcome = await asked(after_s=5, timeout_s=0.1)
    assert (outcome.fate, outcome.status, outcome.why) == (Fate.LOST, None, "no answer within 0.1 s")


async def test_half_an_answer_in_all_that_time_is_a_lost_request() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
    assert (await asked(half, timeout_s=0.2)).fate is Fate.LOST


async def test_time_runs_from_when_it_was_due() -> None:
    async with Scene(always(after_s=0.3)) as scene:
        one = asker(scene.url, timeout_s=10)
        assert (await one.ask(REQUEST, time.perf_counter() - 9.9)).fate is Fate.LOST
        assert (await one.ask(REQUEST, time.perf_counter() - 20)).fate is Fate.LOST
        assert (await one.ask(REQUEST, time.perf_counter() - 1)).fate is Fate.OK
        one.close()


async def test_nobody_there_is_a_cut_connection() -> None:
    outcome = await asker(f"http://127.0.0.1:{free_port()}").ask(REQUEST)
    assert outcome.fate is Fate.CUT
    assert outcome.why


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL])
async def test_a_machine_without_sockets_is_not_the_servers_fault(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    async def take(self: Pool) -> None:
        raise OSError(number, "no more")

    monkeypatch.setattr(Pool, "take", take)
    outcome = await asker("http://localhost:1").ask(REQUEST)
    assert (outcome.fate, outcome.why) == (Fate.UNSENT, "no more")


async def test_after_a_failure_the_next_question_has_a_connection_of_its_own() -> None:
    async with Scene(always(None, reply(500), reply(200, {"results": []}), None)) as scene:
        one = asker(scene.url)
        fates = [(await one.ask(REQUEST)).fate for _ in range(4)]
        one.close()
    assert fates == [Fate.CUT, Fate.FAILED, Fate.WRONG, Fate.CUT]
    assert scene.num_connections == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "one"}', "one"),
        (b'{"error": {"message": "two"}}', "two"),
        (b'{"error": {"code": 3}, "message": "three"}', "three"),
        (b'{"detail": "four"}', "four"),
        (b'{"detail": [{"msg": "x"}]}', ""),
        (b'"five"', "five"),
        (b"[]", ""),
        (b"", ""),
        (b"plain\n words \xff", "plain words �"),
    ],
)
def test_what_a_server_says_is_found_wherever_it_says_it(body: bytes, words: str) -> None:
    assert said(body) == words


def test_what_a_server_says_is_kept_short() -> None:
    assert len(said(json.dumps({"error": "x" * 5000}).encode())) == MAX_WHY_CHARS + len(" ...")
