"""Tests the process of a contender: requests and answers, one-line errors with its name, and the end of all its processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.engines.agreement import log_odds
from benchmarks.engines.memory import members
from benchmarks.engines.process import ContenderProcess, Spec
from benchmarks.engines.saturation import closed_loop, open_loop
from shortlist.bench.texts import LoadRequest
from shortlist.errors import BadSetting, UpstreamError
from tests.support import contender as fake
from tests.support.process import wait_until

REQUEST = LoadRequest("query", ("one", "two two", "three three three"))
READY_S = 60.0


@contextmanager
def started(*flags: str, arguments: tuple[str, ...] = ()) -> Iterator[ContenderProcess]:
    contender = ContenderProcess(fake.spec("peer", *flags), arguments)
    try:
        yield contender
    finally:
        contender.close(timeout_s=5)


@contextmanager
def ready(*flags: str) -> Iterator[ContenderProcess]:
    with started(*flags) as contender:
        contender.wait_ready(READY_S)
        yield contender


# -- specification ------------------------------------------------------------------------------------------------------


def test_command_is_split_as_a_shell_would() -> None:
    assert Spec.parse("a b=run --flag 'two words' x=y") == Spec("a b", ("run", "--flag", "two words", "x=y"))


@pytest.mark.parametrize("text", ["", "run", "=run", "name=", "name=  ", "name='open"])
def test_invalid_specification_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="contender"):
        Spec.parse(text)


# -- requests -----------------------------------------------------------------------------------------------------------


def test_command_gets_the_arguments_and_reports_its_version() -> None:
    with started(arguments=("folder", "--threads", "3")) as contender:
        ready_line = contender.wait_ready(READY_S)
    assert (ready_line.name, ready_line.version, ready_line.dtype) == ("fake", "fake 1.0 folder 3", "float64")


def test_scores_come_in_order_with_the_seconds_they_took() -> None:
    with ready() as contender:
        before_s = time.perf_counter()
        scores, seconds = contender.ask(REQUEST, READY_S)
        assert 0 < seconds <= time.perf_counter() - before_s
    assert [log_odds(score) for score in scores] == pytest.approx([fake.log_odds(each) for each in REQUEST.documents])


def test_requests_larger_than_the_pipe_buffer_are_answered() -> None:
    with ready() as contender:
        large = LoadRequest("query", tuple("word " * 40_000 for _ in range(4)))
        assert len(contender.ask(large, READY_S)[0]) == 4
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_paused_peer_uses_no_cpu_and_resumes() -> None:
    with ready("--child") as contender:
        pids = members(contender._process.pid)
        assert len(pids) == 2
        contender.pause()
        wait_until(lambda: {state(pid) for pid in pids} == {"T"})
        contender.resume()
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3
        assert "T" not in {state(pid) for pid in pids}


def test_paused_peer_can_be_closed() -> None:
    with ready() as contender:
        contender.pause()
        started_s = time.monotonic()
        contender.close(timeout_s=20)
        assert time.monotonic() - started_s < 20
        assert not members(contender._process.pid)


def test_answer_may_arrive_in_pieces() -> None:
    with ready("--answer", "dribbles") as contender:
        for _ in range(2):
            scores, _seconds = contender.ask(REQUEST, READY_S)
            assert [log_odds(score) for score in scores] == pytest.approx([fake.log_odds(each) for each in REQUEST.documents])


def test_any_text_and_number_of_documents_is_scored() -> None:
    documents = (
        "",
        "\u2028 line\nbreak\r\n",
        "中文 🙂",
        '"quoted" \\ {"json": true}',
        *(f"{number}" for number in range(5000)),
    )
    with ready() as contender:
        scores, _ = contender.ask(LoadRequest("询问\n", documents), READY_S)
    assert [log_odds(score) for score in scores] == pytest.approx([fake.log_odds(each) for each in documents])


def test_memory_of_child_processes_counts() -> None:
    with ready() as alone, ready("--child") as parent:
        one, both = alone.peak_bytes(), parent.peak_bytes()
        assert one is not None
        assert both is not None
        assert both > one


# -- concurrent requests ------------------------------------------------------------------------------------------------

REQUESTS = [LoadRequest(f"query {number}", ("word " * number, "two")) for number in range(12)]


def test_peer_reports_its_preferred_concurrency() -> None:
    with started("--at-once", "7") as contender, started() as other:
        assert contender.wait_ready(READY_S).at_once == 7
        assert other.wait_ready(READY_S).at_once == 1
    with started("--at-once", "0") as contender, pytest.raises(UpstreamError, match="peer sent a ready line whose at_once"):
        contender.wait_ready(READY_S)


def test_closed_loop_keeps_the_concurrency() -> None:
    sent: list[tuple[int, int]] = []
    due = closed_loop(3)

    def spy(num_sent: int, num_answered: int, now_s: float) -> float:
        due_s = due(num_sent, num_answered, now_s)
        if due_s <= now_s:
            sent.append((num_sent, num_answered))
        return due_s

    with ready() as contender:
        turns = contender.stream(REQUESTS, spy, READY_S)
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3
    assert [number for number, _ in sent] == list(range(len(REQUESTS)))
    assert max(number + 1 - answered for number, answered in sent) == 3
    assert all(due_s < answered_s for due_s, answered_s in turns)
    assert turns == sorted(turns)


def test_open_loop_requests_are_sent_when_due() -> None:
    due_s = [number / 50 for number in range(len(REQUESTS))]
    with ready() as contender:
        turns = contender.stream(REQUESTS, open_loop(due_s), READY_S)
    assert [turn[0] for turn in turns] == due_s
    assert all(turn[1] > turn[0] for turn in turns)


def test_requests_in_flight_may_exceed_the_pipe_buffer() -> None:
    large = [LoadRequest("query", ("word " * 40_000,)) for _ in range(8)]
    with ready() as contender:
        assert len(contender.stream(large, closed_loop(8), READY_S)) == 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--answer", "mute", "--well", "2"), "peer did not answer within 0 s"),
        (("--answer", "short", "--well", "3"), "peer did not answer with 2 scores"),
        (("--answer", "dead", "--well", "1"), "peer exited with code 9"),
    ],
)
def test_one_wrong_answer_among_many_is_a_one_line_error(flags: tuple[str, ...], message: str) -> None:
    with ready(*flags) as contender, pytest.raises(UpstreamError) as raised:
        contender.stream(REQUESTS, closed_loop(2), 0.4 if "mute" in flags else READY_S)
    assert raised.value.message.startswith(message)


def test_answer_before_its_request_is_an_error() -> None:
    with ready("--answer", "twice") as contender, pytest.raises(UpstreamError, match="peer sent a line without a request"):
        contender.stream(REQUESTS[:2], open_loop([0.0, 60.0]), READY_S)


# -- errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("error", "peer reported an error: no such processor"),
        ("dead", "peer exited with code 7: Segmentation fault of sorts"),
        ("prose", "peer sent a line that is not a JSON object: Loading model ..."),
        ("odd", "peer sent no ready line but {'ready': False"),
    ],
)
def test_failed_start_is_a_one_line_error(behaviour: str, message: str) -> None:
    with started("--start", behaviour) as contender, pytest.raises(UpstreamError) as raised:
        contender.wait_ready(READY_S)
    assert raised.value.message.startswith(message)
    assert "\n" not in raised.value.message


def test_missing_program_is_a_one_line_error() -> None:
    with pytest.raises(UpstreamError, match="peer: /no/program: No such file or directory"):
        ContenderProcess(Spec("peer", ("/no/program",)))


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("error", "peer reported an error: too long"),
        ("garbage", "peer sent a line that is not a JSON object: "),
        ("closes", "peer closed its output"),
        ("dead", "peer exited with code 9: out of memory"),
        ("short", "peer did not answer with 3 scores but"),
        ("words", "peer did not answer with 3 scores but"),
        ("nan", "peer answered with scores that are not probabilities"),
        ("logits", "peer answered with scores that are not probabilities"),
        ("list", "peer reported an error: no"),
    ],
)
def test_wrong_answer_is_a_one_line_error(behaviour: str, message: str) -> None:
    with ready("--answer", behaviour) as contender, pytest.raises(UpstreamError) as raised:
        contender.ask(REQUEST, READY_S)
    assert raised.value.message.startswith(message)
    assert "\n" not in raised.value.message


def test_missing_ready_line_times_out() -> None:
    with started("--start", "mute") as contender, pytest.raises(UpstreamError, match="peer did not answer within 0 s"):
        contender.wait_ready(0.2)


def test_extra_answer_is_not_used_for_the_next_request() -> None:
    with ready("--answer", "twice") as contender:
        contender.ask(REQUEST, READY_S)
        time.sleep(0.1)
        with pytest.raises(UpstreamError, match="peer sent a line without a request"):
            contender.ask(REQUEST, READY_S)


# -- end ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--child",), ("--answer", "mute")])
def test_close_ends_all_processes(flags: tuple[str, ...]) -> None:
    with ready(*flags) as contender:
        root = contender._process.pid
        assert len(members(root)) == (2 if "--child" in flags else 1)
        if "mute" in flags:
            with pytest.raises(UpstreamError):
                contender.ask(REQUEST, 0.2)
        contender.close(timeout_s=0.5)
        wait_until(lambda: not any((Path("/proc") / str(pid) / "exe").exists() for pid in members(root)))


def test_second_close_has_no_effect() -> None:
    with ready() as contender:
        contender.close()
        contender.close()
