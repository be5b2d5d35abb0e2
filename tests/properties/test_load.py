"""The load generator's books agree with the server's, whatever the server does; and figures agree with their samples."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.bench.drive import Drive, Pace
from shortlist.bench.http_client import LoadClient
from shortlist.bench.plan import Level
from shortlist.bench.samples import ERRORS, Fate, RequestSample
from shortlist.bench.target import targets
from shortlist.bench.texts import Traffic
from tests.support.crowd import Heard, Scene, reply, well
from tests.support.level_runs import HUNDRED, TEN, WINDOW, level_run, plan, report

TIMEOUT_S = 0.4

ANSWERS: Mapping[str, tuple[Fate, bytes | None]] = {
    "refuses": (Fate.REFUSED, reply(429, {"error": "full"}, retry_after="0")),
    "gives up": (Fate.TIMED_OUT, reply(504)),
    "finds fault": (Fate.REJECTED, reply(400)),
    "fails": (Fate.FAILED, reply(500)),
    "is away": (Fate.FAILED, reply(503, retry_after="1")),
    "says nothing": (Fate.WRONG, reply(200, {"results": []})),
    "says half": (Fate.CUT, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n{"),
    "hangs up": (Fate.CUT, None),
    "speaks another language": (Fate.CUT, b"220 smtp.example ESMTP\r\n"),
}
ENDS_WELL = ("answers", "answers", "answers", "takes its time", "says goodbye")
KINDS = (*ENDS_WELL, *ANSWERS, "never answers")


class Moody:
    """Does something else with every request, and writes down what."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(seed)
        self.did: Counter[Fate] = Counter()

    async def __call__(self, heard: Heard) -> bytes | None:
        kind = "answers" if heard.number < 3 else self._draw.choice(KINDS)
        fate, answer = ANSWERS.get(kind, (Fate.OK, well(heard)))
        if kind == "never answers":
            self.did[Fate.LOST] += 1
            await asyncio.sleep(60)
        if kind == "takes its time":
            await asyncio.sleep(0.05)
        if kind == "says goodbye" and answer is not None:
            answer = answer.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)
        self.did[fate] += 1
        return answer


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("level", [Level.of_users(6), Level.of_rate(60)], ids=["users", "rate"])
async def test_every_request_is_counted_with_its_outcome(seed: int, level: Level) -> None:
    moody = Moody(seed)
    async with Scene(moody) as scene:
        traffic = Traffic(str(seed), num_documents=2, num_words=4)
        pace = Pace(warm_up_s=0.2, duration_s=1.5)
        async with LoadClient(targets([scene.url])[0], TIMEOUT_S) as asker:
            driven = await Drive(asker, traffic, level, pace, seed=str(seed), num_kept=5).run()
    assert driven is not None
    assert Counter(sample.fate for sample in driven.sample_log.samples) == moody.did
    assert len(scene.heard) == sum(moody.did.values()) > 15
    assert all(sample.latency_s >= TIMEOUT_S for sample in driven.sample_log.samples if sample.fate is Fate.LOST)
    assert sum(driven.sample_log.reasons.values()) == len(scene.heard) - moody.did[Fate.OK]
    assert len(driven.sample_log.kept) == 5


samples = st.lists(
    st.builds(
        RequestSample,
        due_s=st.floats(0, 20),
        latency_s=st.floats(0, 20),
        fate=st.sampled_from(list(Fate)),
        status=st.none(),
        has_retry_after=st.booleans(),
    ),
    max_size=40,
)


@given(ours=samples, theirs=samples)
def test_figures_agree_with_their_samples(ours: list[RequestSample], theirs: list[RequestSample]) -> None:
    found = report(
        plan=plan(levels=[TEN, HUNDRED], within_s=1.0),
        level_runs=[level_run("ours", TEN, ours), level_run("peer", TEN, theirs)],
    )
    for row, given_samples in zip(found.rows(), (ours, theirs), strict=True):
        came = [each for each in given_samples if each.fate is Fate.OK and WINDOW.begin_s <= each.done_s < WINDOW.end_s]
        due = sorted(
            each.latency_s for each in given_samples if each.fate is Fate.OK and WINDOW.begin_s <= each.due_s < WINDOW.end_s
        )
        assert row.num_sent == len(given_samples)
        assert row.qps.median == pytest.approx(len(came) / WINDOW.seconds)
        assert row.documents_per_s.median == pytest.approx(10 * row.qps.median)
        assert row.in_time_per_s is not None
        assert row.in_time_per_s.median <= row.qps.median
        assert (row.p99_s is None) == (not due)
        if row.p50_s is not None and row.p95_s is not None and row.p99_s is not None:
            assert due[0] <= row.p50_s <= row.p95_s <= row.p99_s <= due[-1]
    assert found.num_errors == sum(each.fate in ERRORS for each in (*ours, *theirs))
