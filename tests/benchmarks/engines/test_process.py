"""A contender is asked and answers; whatever else it does is one line that names it, and nothing of it stays behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.engines.agreement import log_odds
from benchmarks.engines.memory import members
from benchmarks.engines.process import ContenderProcess, Spec
from benchmarks.engines.saturation import closed, opened
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


# -- how it is named ----------------------------------------------------------------------------------------------------


def test_command_is_split_as_a_shell_would() -> None:
    assert Spec.parse("a b=run --flag 'two words' x=y") == Spec("a b", ("run", "--flag", "two words", "x=y"))


@pytest.mark.parametrize("text", ["", "run", "=run", "name=", "name=  ", "name='open"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="contender"):
        Spec.parse(text)


# -- how it is asked ----------------------------------------------------------------------------------------------------


def test_peer_reports_its_version_and_gets_the_same_load() -> None:
    with started(arguments=("folder", "--threads", "3")) as contender:
        said = contender.wait_ready(READY_S)
    assert (said.name, said.version, said.dtype) == ("fake", "fake 1.0 folder 3", "float64")


def test_scores_come_in_order_with_the_seconds_they_took() -> None:
    with ready() as contender:
        before_s = time.perf_counter()
        scores, seconds = contender.ask(REQUEST, READY_S)
        assert 0 < seconds <= time.perf_counter() - before_s
    assert [log_odds(score) for score in scores] == pytest.approx([fake.log_odds(each) for each in REQUEST.documents])


def test_questions_larger_than_a_pipe_pass() -> None:
    with ready() as contender:
        large = LoadRequest("query", tuple("word " * 40_000 for _ in range(4)))
        assert len(contender.ask(large, READY_S)[0]) == 4
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_paused_peer_uses_no_cpu_and_resumes() -> None:
    with ready("--child") as contender:
        everyone = members(contender._process.pid)
        assert len(everyone) == 2
        contender.rest()
        wait_until(lambda: {state(pid) for pid in everyone} == {"T"})
        contender.wake()
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3
        assert "T" not in {state(pid) for pid in everyone}


def test_one_that_rests_ends_like_any_other() -> None:
    with ready() as contender:
        contender.rest()
        started_s = time.monotonic()
        contender.close(timeout_s=20)
        assert time.monotonic() - started_s < 20
        assert not members(contender._process.pid)


def test_an_answer_may_come_in_pieces() -> None:
    with ready("--answer", "dribbles") as contender:
        for _ in range(2):
            scores, _seconds = contender.ask(REQUEST, READY_S)
            assert [log_odds(score) for score in scores] == pytest.approx([fake.log_odds(each) for each in REQUEST.documents])


def test_any_text_passes_in_any_number() -> None:
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


def test_memory_of_its_children_counts() -> None:
    with ready() as alone, ready("--child") as parent:
        one, both = alone.peak_bytes(), parent.peak_bytes()
        assert one is not None
        assert both is not None
        assert both > one


# -- many at once -------------------------------------------------------------------------------------------------------

MANY = [LoadRequest(f"query {number}", ("word " * number, "two")) for number in range(12)]


def test_peer_reports_its_preferred_concurrency() -> None:
    with started("--at-once", "7") as contender, started() as other:
        assert contender.wait_ready(READY_S).at_once == 7
        assert other.wait_ready(READY_S).at_once == 1
    with started("--at-once", "0") as contender, pytest.raises(UpstreamError, match="peer likes to have a number of requests"):
        contender.wait_ready(READY_S)


def test_all_are_answered_with_no_more_under_way_than_are_liked() -> None:
    asked: list[tuple[int, int]] = []
    pace = closed(3)

    def spy(num_asked: int, num_answered: int, now_s: float) -> float:
        due_s = pace(num_asked, num_answered, now_s)
        if due_s <= now_s:
            asked.append((num_asked, num_answered))
        return due_s

    with ready() as contender:
        turns = contender.stream(MANY, spy, READY_S)
        assert len(contender.ask(REQUEST, READY_S)[0]) == 3
    assert [number for number, _ in asked] == list(range(len(MANY)))
    assert max(number + 1 - answered for number, answered in asked) == 3
    assert all(due_s < answered_s for due_s, answered_s in turns)
    assert turns == sorted(turns)


def test_arrivals_are_asked_when_they_are_due() -> None:
    due_s = [number / 50 for number in range(len(MANY))]
    with ready() as contender:
        turns = contender.stream(MANY, opened(due_s), READY_S)
    assert [turn[0] for turn in turns] == due_s
    assert all(turn[1] > turn[0] for turn in turns)


def test_more_than_pipes_hold_may_be_under_way() -> None:
    large = [LoadRequest("query", ("word " * 40_000,)) for _ in range(8)]
    with ready() as contender:
        assert len(contender.stream(large, closed(8), READY_S)) == 8


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--answer", "mute", "--well", "2"), "peer said nothing for 0 s"),
        (("--answer", "short", "--well", "3"), "peer did not answer with 2 scores"),
        (("--answer", "dead", "--well", "1"), "peer ended with exit code 9"),
    ],
)
def test_one_wrong_answer_among_many_is_one_line(flags: tuple[str, ...], words: str) -> None:
    with ready(*flags) as contender, pytest.raises(UpstreamError) as raised:
        contender.stream(MANY, closed(2), 0.4 if "mute" in flags else READY_S)
    assert raised.value.message.startswith(words)


def test_an_answer_before_its_question_is_one_line() -> None:
    with ready("--answer", "twice") as contender, pytest.raises(UpstreamError, match="peer spoke without being asked"):
        contender.stream(MANY[:2], opened([0.0, 60.0]), READY_S)


# -- what it may do instead ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("error", "peer says: no such processor"),
        ("dead", "peer ended with exit code 7: Segmentation fault of sorts"),
        ("prose", "peer did not answer in JSON but: Loading model ..."),
        ("odd", "peer did not say that it is ready but {'ready': False"),
    ],
)
def test_a_start_that_fails_is_one_line(how: str, words: str) -> None:
    with started("--start", how) as contender, pytest.raises(UpstreamError) as raised:
        contender.wait_ready(READY_S)
    assert raised.value.message.startswith(words)
    assert "\n" not in raised.value.message


def test_a_program_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UpstreamError, match="peer: /no/program: No such file or directory"):
        ContenderProcess(Spec("peer", ("/no/program",)))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("error", "peer says: too long"),
        ("garbage", "peer did not answer in JSON but: "),
        ("closes", "peer closed its output"),
        ("dead", "peer ended with exit code 9: out of memory"),
        ("short", "peer did not answer with 3 scores but"),
        ("words", "peer did not answer with 3 scores but"),
        ("nan", "peer answered with scores that are no probabilities"),
        ("logits", "peer answered with scores that are no probabilities"),
        ("list", "peer says: no"),
    ],
)
def test_a_wrong_answer_is_one_line(how: str, words: str) -> None:
    with ready("--answer", how) as contender, pytest.raises(UpstreamError) as raised:
        contender.ask(REQUEST, READY_S)
    assert raised.value.message.startswith(words)
    assert "\n" not in raised.value.message


def test_silence_has_an_end() -> None:
    with started("--start", "mute") as contender, pytest.raises(UpstreamError, match="peer said nothing for 0 s"):
        contender.wait_ready(0.2)


def test_an_answer_too_many_is_not_taken_for_the_next_one() -> None:
    with ready("--answer", "twice") as contender:
        contender.ask(REQUEST, READY_S)
        time.sleep(0.1)
        with pytest.raises(UpstreamError, match="peer spoke without being asked"):
            contender.ask(REQUEST, READY_S)


# -- how it ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--child",), ("--answer", "mute")])
def test_nothing_of_it_stays(flags: tuple[str, ...]) -> None:
    with ready(*flags) as contender:
        root = contender._process.pid
        assert len(members(root)) == (2 if "--child" in flags else 1)
        if "mute" in flags:
            with pytest.raises(UpstreamError):
                contender.ask(REQUEST, 0.2)
        contender.close(timeout_s=0.5)
        wait_until(lambda: not any((Path("/proc") / str(pid) / "exe").exists() for pid in members(root)))


def test_ending_twice_is_harmless() -> None:
    with ready() as contender:
        contender.close()
        contender.close()
