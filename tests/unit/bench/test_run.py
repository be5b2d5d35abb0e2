"""A whole run: everyone greeted, everyone asked in turn, everything written, an exit code that says how it went, and Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.progress import Progress

from shortlist.bench import run
from shortlist.bench.markdown import markers
from shortlist.bench.outputs import Outputs, can_draw
from shortlist.bench.plan import Level, LoadPlan
from shortlist.bench.report import LoadReport
from shortlist.bench.samples import ERRORS, Fate
from shortlist.bench.target import targets
from shortlist.errors import BadSetting, UpstreamError
from tests.support.apps import runtime
from tests.support.crowd import Behave, Heard, Scene, always, playing, reply, well
from tests.support.fake_engine import FakeEngine
from tests.support.process import serve, wait_until
from tests.support.serving import free_port

TWO = (Level.of_users(2), Level.of_users(4))


def plan(*urls: str, levels: tuple[Level, ...] = TWO, **fields: object) -> LoadPlan:
    given: dict[str, object] = {
        "duration_s": 0.5,
        "warm_up_s": 0.1,
        "num_documents": 3,
        "num_words": 6,
        "timeout_s": 5.0,
        **fields,
    }
    return LoadPlan(targets=targets(urls), levels=levels, **given)  # type: ignore[arg-type]


def played(given: LoadPlan) -> LoadReport:
    """Play a plan as `run` does, without its terminal."""
    with asyncio.Runner(loop_factory=run._loop_factory()) as runner:
        return runner.run(run.play(given, Progress(disable=True)))


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A server that answers well, but not at once."""
    with playing(always(after_s=0.01)) as one:
        yield one


# -- a run ----------------------------------------------------------------------------------------------------------------


def test_everyone_is_measured_at_every_level_one_at_a_time(scene: Scene) -> None:
    with playing(always(after_s=0.02)) as other:
        found = played(plan(f"ours={scene.url}", f"peer={other.url}", repeats=2))
    assert [(row.level.name, row.name) for row in found.rows()] == [
        ("2 users", "ours"),
        ("2 users", "peer"),
        ("4 users", "ours"),
        ("4 users", "peer"),
    ]
    assert len(found.level_runs) == 8
    assert found.num_errors == 0
    assert not found.was_stopped
    ends = sorted((heard.at_s, name) for each, name in ((scene, "ours"), (other, "peer")) for heard in each.heard[1:])
    turns = [name for place, (_, name) in enumerate(ends) if not place or ends[place - 1][1] != name]
    assert 4 <= len(turns) <= 8  # they take turns, and a turn is whole


def test_samples_are_all_that_was_asked_but_the_greeting(scene: Scene) -> None:
    found = played(plan(scene.url))
    assert sum(len(level_run.samples) for level_run in found.level_runs) == len(scene.heard) - 1
    queries = [heard.body["query"] for heard in scene.heard]
    assert len(set(queries)) == len(queries)


def test_rates_are_measured_too(scene: Scene) -> None:
    [row] = played(plan(scene.url, levels=(Level.of_rate(40),))).rows()
    assert row.level.name == "40/s"
    assert row.fates.keys() == {Fate.OK}
    assert 0 < row.qps.median < 120


def test_repeated_requests_are_repeated(scene: Scene) -> None:
    played(plan(scene.url, seen_share=0.5))
    queries = [heard.body["query"] for heard in scene.heard]
    assert len(set(queries)) < 0.8 * len(queries)


def test_answers_are_checked_alone(scene: Scene) -> None:
    found = played(plan(scene.url, num_checked=2))
    assert [level_run.check.num_checked for level_run in found.level_runs] == [6, 6]
    assert found.num_errors == 0
    assert sum(len(heard.body["documents"]) == 1 for heard in scene.heard) == 12


def depends_on_neighbours() -> Behave:
    async def behave(heard: Heard) -> bytes:
        count = len(heard.body["documents"])
        results = [{"index": index, "relevance_score": 1 / (count + index)} for index in range(count)]
        return reply(200, {"results": results})

    return behave


def test_a_score_that_depends_on_its_neighbours_is_wrong() -> None:
    with playing(depends_on_neighbours()) as odd:
        found = played(plan(odd.url, levels=(Level.of_users(1),), num_checked=3))
    [level_run] = found.level_runs
    assert level_run.check.num_wrong == level_run.check.num_checked == 9
    assert level_run.check.largest == pytest.approx(1 - 1 / 5)
    assert found.num_errors == 9


# -- our own server -------------------------------------------------------------------------------------------------------


def test_our_server_answers_every_request_right() -> None:
    with serve(runtime(FakeEngine(step_s=0.005), cache_bytes=0)) as served:
        found = played(plan(f"ours={served.url}", levels=(Level.of_users(8), Level.of_rate(30)), num_checked=3))
    assert found.num_errors == 0
    assert all(row.fates.keys() == {Fate.OK} and row.check.num_checked == 9 for row in found.rows())


def test_overloaded_server_refuses_with_retry_after() -> None:
    with serve(runtime(FakeEngine(step_s=0.05), max_concurrent_requests=2, cache_bytes=0)) as served:
        found = played(plan(f"ours={served.url}", levels=(Level.of_users(6), Level.of_rate(80))))
    for row in found.rows():
        assert row.fates.keys() == {Fate.OK, Fate.REFUSED}
        assert row.num_told == row.fates[Fate.REFUSED] > 0
    assert found.rows()[1].refused_p99_s is not None  # users who were refused while warming up are still waiting
    assert found.num_errors == 0


@pytest.mark.parametrize("dialect", ["rerank", "cohere", "infinity"])
def test_our_server_speaks_the_dialects_of_its_kind(dialect: str) -> None:
    with serve(runtime(FakeEngine(), cache_bytes=0)) as served:
        made = LoadPlan(
            targets=targets([f"{served.url}/v1"], dialect=[dialect]), levels=[Level.of_users(2)], duration_s=0.2, warm_up_s=0.0
        )
        [row] = played(made).rows()
    assert row.fates.keys() == {Fate.OK}


def test_vectors_are_asked_for_in_their_dialect() -> None:
    with serve(runtime(FakeEngine(), cache_bytes=0)) as served:
        made = LoadPlan(
            targets=targets([served.url], dialect=["openai"], model=["fake"]),
            levels=[Level.of_users(2)],
            duration_s=0.3,
            warm_up_s=0.0,
            num_checked=2,
            num_documents=2,
        )
        [row] = played(made).rows()
    assert row.fates.keys() == {Fate.OK}
    assert (row.check.num_checked, row.check.largest) == (4, 0.0)


# -- what cannot be run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (reply(401, {"detail": "The key is missing."}), r"peer \(http://127.0.0.1:\d+/v1/rerank\) .*: 401 The key is missing"),
        (reply(404, {"detail": "No model of this name."}), "404 No model of this name"),
        (reply(429), "429"),
        (reply(200, {"data": []}), "not a 'rerank' response"),
        (None, "ended before the answer did"),
    ],
)
def test_a_server_that_does_not_answer_well_once_is_not_asked_for_an_hour(
    scene: Scene, answer: bytes | None, words: str
) -> None:
    with playing(always(answer)) as odd, pytest.raises(UpstreamError, match=words):
        played(plan(f"ours={scene.url}", f"peer={odd.url}"))
    assert len(scene.heard) == 1


def test_unreachable_server_is_one_sentence() -> None:
    with pytest.raises(UpstreamError, match=r"does not return a good answer: .*(refused|failed)"):
        run.run(plan(f"http://127.0.0.1:{free_port()}"), Outputs())


def test_unwritable_files_are_an_error_before_the_run(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no folder"):
        run.run(plan(scene.url), Outputs(json=tmp_path / "nowhere" / "a.json"))
    assert scene.heard == []


def test_more_users_than_connections_are_an_error_before_the_run(scene: Scene) -> None:
    with pytest.raises(BadSetting, match=r"100000000 users .*ulimit -n"):
        run.run(plan(scene.url, levels=(Level.of_users(100_000_000),)), Outputs())
    assert scene.heard == []


# -- how it ends ------------------------------------------------------------------------------------------------------------


def after_the_greeting(answer: bytes | None, *, each: int = 5) -> Behave:
    """Answer well, but for every so-manyth request."""

    async def behave(heard: Heard) -> bytes | None:
        return answer if heard.number % each == each - 1 else well(heard)

    return behave


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(429, retry_after="0"), run.EXIT_CLEAN),
        (reply(500), run.EXIT_ERRORS),
        (reply(504), run.EXIT_ERRORS),
        (reply(400), run.EXIT_ERRORS),
        (reply(200, {"results": []}), run.EXIT_ERRORS),
        (None, run.EXIT_ERRORS),
    ],
)
def test_exit_code_reflects_errors(answer: bytes | None, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with playing(after_the_greeting(answer)) as server:
        assert run.run(plan(server.url, levels=(Level.of_users(3),)), Outputs()) == code
    assert "3 users" in capsys.readouterr().out


def test_exit_code_is_0_when_all_is_well_and_everything_is_written(scene: Scene, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin, end = markers(Path("page.md#load"))
    page.write_text(f"# Title\n\n{begin}\n{end}\n", encoding="utf-8")
    draws = {"plot": tmp_path / "a.png"} if can_draw() else {}
    outputs = Outputs(json=tmp_path / "a.json", markdown=tmp_path / "page.md#load", page=tmp_path / "a.html", **draws)
    assert run.run(plan(f"ours={scene.url}"), outputs) == run.EXIT_CLEAN
    found = json.loads((tmp_path / "a.json").read_bytes())
    assert [row["level"]["amount"] for row in found["figures"]] == [2, 4]
    assert "| 2 users |" in page.read_text(encoding="utf-8")
    assert ("](a.png)" in page.read_text(encoding="utf-8")) is bool(draws)
    assert "<svg" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert all(path.stat().st_size > 5000 for path in draws.values())


def test_tables_are_the_output_and_progress_is_not(scene: Scene) -> None:
    done = command("bench", "load", scene.url, "--users", "2", "--duration", "0.5", "--warm-up", "0").communicate(timeout=60)
    shown, log = done
    assert "QPS" in shown
    assert "docs/s" in shown
    assert "checking all servers" not in shown
    assert re.search(r"2 users, 127\.0\.0\.1:\d+: [\d.]+ QPS, p99 [\d.]+ s, 0 refused, 0 errors", log)


def test_keys_are_written_nowhere(scene: Scene, tmp_path: Path) -> None:
    flags = ["--users", "1", "--duration", "0.3", "--warm-up", "0", "--api-key", "top-secret"]
    files = {"--json": tmp_path / "a.json", "--markdown": tmp_path / "a.md", "--plot": tmp_path / "a.html"}
    written = [word for flag, path in files.items() for word in (flag, str(path))]
    shown, log = command("bench", "load", scene.url, *flags, *written).communicate(timeout=60)
    assert {heard.headers["authorization"] for heard in scene.heard} == {"bearer top-secret"}
    texts = [shown, log, *(path.read_text(encoding="utf-8") for path in files.values())]
    assert not any("top-secret" in text for text in texts)
    assert "--api-key &#x27;***&#x27;" in texts[-1]


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shortlist", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": "src:.", "COLUMNS": "120"},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_reports_its_measurements(scene: Scene, tmp_path: Path, number: signal.Signals) -> None:
    flags = ["--users", "1", "--users", "2", "--duration", "1", "--warm-up", "0", "--json", str(tmp_path / "a.json")]
    run = command("bench", "load", scene.url, *flags, "--repeats", "100")
    wait_until(lambda: len({heard.peer for heard in scene.heard}) >= 4 or run.poll() is not None, 60)  # the second level began
    run.send_signal(number)
    shown, log = run.communicate(timeout=30)
    assert run.returncode == 0, log
    assert "stopped before its end" in " ".join(shown.split())
    found = json.loads((tmp_path / "a.json").read_bytes())
    assert found["was_stopped"] is True
    assert found["figures"][0]["level"]["amount"] == 1
    assert all(set(level_run["samples"]["fate"]) == {"ok"} for level_run in found["visits"])
    assert not any(fate in found["figures"][0]["fates"] for fate in ERRORS)


def test_run_stopped_before_measurements_reports_none(scene: Scene) -> None:
    run = command("bench", "load", scene.url, "--users", "2", "--duration", "60", "--warm-up", "60")
    wait_until(lambda: len(scene.heard) > 3 or run.poll() is not None, 60)
    run.send_signal(signal.SIGINT)
    shown, log = run.communicate(timeout=30)
    assert run.returncode == 3
    assert "error: The run was stopped before anything was measured." in log
    assert shown == ""
