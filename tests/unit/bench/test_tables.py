"""Terminal and documents show the same: how fast, what became of everything, and what was wrong in the servers' words."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from shortlist.bench import tables
from shortlist.bench.markdown import markers
from shortlist.bench.report import LoadReport
from shortlist.bench.samples import AnswerCheck, Fate, Generator
from shortlist.errors import BadSetting
from tests.support.level_runs import HUNDRED, RATE, TEN, bad, good, level_run, plan, report

BEGIN, END = markers(Path("page.md"))


def shown(found: LoadReport, width: int = 80) -> str:
    output = StringIO()
    console = Console(file=output, width=width, highlight=False)
    for part in tables.parts(found):
        console.print(part)
    return output.getvalue()


def terminal_tables(found: LoadReport) -> tuple[tables.TerminalTable, tables.TerminalTable]:
    speed, fates = tables.terminal_tables(found)
    return speed, fates


# -- cells --------------------------------------------------------------------------------------------------------------


def test_speed_is_a_row_per_level_and_server() -> None:
    speed, _ = terminal_tables(report())
    assert speed.heads == ["load", "contender", "QPS", "docs/s", "p50", "p95", "p99", "of first", "ratio"]
    assert speed.rows == [
        ["10 users", "ours", "20.0", "200", "0.500", "1.00", "1.00", "1.00", "1.00"],
        ["10 users", "peer", "10.0", "100", "0.900", "0.900", "0.900", "1.00", "0.500"],
        ["100 users", "ours", "22.0", "220", "2.00", "2.00", "2.00", "1.10", "1.00"],
        ["100 users", "peer", "5.00", "50.0", "4.00", "4.00", "4.00", "0.500", "0.227"],
    ]


def test_table_has_columns_for_failed_requests() -> None:
    _, fates = terminal_tables(report())
    assert fates.heads == ["load", "contender", "sent", "ok", "429", "with Retry-After", "429 p99", "5xx", "lost"]
    assert fates.rows == [
        ["10 users", "ours", "200", "200", "0", "0", "-", "0", "0"],
        ["10 users", "peer", "100", "100", "0", "0", "-", "0", "0"],
        ["100 users", "ours", "220", "220", "0", "0", "-", "0", "0"],
        ["100 users", "peer", "56", "50", "3", "3", "0.500", "2", "1"],
    ]


def test_every_fate_has_a_column_when_it_happens() -> None:
    for fate in Fate:
        _, fates = terminal_tables(report(level_runs=[level_run("ours", TEN, [*good([1.0]), *bad(fate, 7)])]))
        head = "ok" if fate is Fate.OK else tables.NAMES[fate]
        assert fates.rows[0][list(fates.heads).index(head)] == ("8" if fate is Fate.OK else "7")


def test_one_server_at_one_level_is_compared_with_nothing() -> None:
    alone = report(plan=plan("ours=http://a", levels=[TEN]), level_runs=[level_run("ours", TEN, good([1.0]))])
    speed, fates = terminal_tables(alone)
    assert speed.heads == ["load", "QPS", "docs/s", "p50", "p95", "p99"]
    assert fates.heads == ["load", "sent", "ok"]


def test_rounds_have_a_range() -> None:
    level_runs = [
        level_run(name, TEN, good([1.0] * n), turn=turn) for turn, n in enumerate((10, 20)) for name in ("ours", "peer")
    ]
    speed, _ = terminal_tables(report(plan=plan(levels=[TEN], repeats=2), level_runs=level_runs))
    assert list(speed.heads).count("from–to") == 1
    assert speed.rows[1][list(speed.heads).index("from–to")] == "1.00–1.00"


def test_in_time_and_checks_are_shown_if_they_were_wanted() -> None:
    check = AnswerCheck(num_checked=1200, num_wrong=2, largest=0.0321)
    found = report(
        plan=plan("ours=http://a", levels=[TEN], within_s=0.5, num_checked=3),
        level_runs=[level_run("ours", TEN, good([0.4, 0.6] * 20), check=check)],
    )
    speed, fates = terminal_tables(found)
    assert speed.rows[0][list(speed.heads).index("≤0.5 s")] == "2.00"
    assert fates.rows[0][-3:] == ["1,200", "2", "3e-02"]
    same = report(plan=found.plan, level_runs=[level_run("ours", TEN, good([0.4]), check=AnswerCheck(num_checked=30))])
    assert terminal_tables(same)[1].rows[0][-3:] == ["30", "0", "0"]


def test_nothing_measured_has_empty_cells() -> None:
    found = report(level_runs=[level_run("ours", TEN), level_run("peer", TEN, bad(Fate.LOST, 3))])
    speed, _ = terminal_tables(found)
    assert speed.rows[1] == ["10 users", "peer", "0", "0", "-", "-", "-", "-", "-"]


def test_notes_say_how_it_was_measured() -> None:
    said = " ".join(tables.notes(report()))
    assert "10 documents of 100 words, all of them new" in said
    assert "Each user waits" in said
    assert "that of ours" in said
    assert "schedule" not in said
    assert "stopped" not in said
    other = plan("ours=http://a", levels=[RATE], seen_share=0.25, num_checked=2, tolerance=0.001)
    said = " ".join(tables.notes(report(plan=other, level_runs=[], was_stopped=True)))
    assert "25% of them asked before" in said
    assert "schedule of their own" in said
    assert "more than 0.001 apart" in said
    assert "stopped before its end" in said
    assert "Each user waits" not in said
    assert "Ratio" not in said


def test_warnings_quote_the_servers_the_most_frequent_first() -> None:
    assert list(tables.warnings(report())) == [
        "100 users, peer: 2 × 500 <engine> error",
        "100 users, peer: 1 × no answer within 120 s",
    ]
    many = report(level_runs=[level_run("ours", TEN, good([1.0]), reasons={str(number): number for number in range(1, 9)})])
    assert [line.split(" × ")[1] for line in tables.warnings(many)] == ["8", "7", "6"]


def test_unverified_answers_are_a_warning() -> None:
    half = AnswerCheck(num_checked=5, num_unanswered=4)
    [line] = tables.warnings(report(level_runs=[level_run("ours", TEN, good([1.0]), check=half)]))
    assert line == "10 users, ours: 4 documents asked again alone were not answered"


def test_a_generator_that_was_the_limit_is_warned_of() -> None:
    busy = Generator(cpu_share=0.93, lag_p99_s=0.4)
    [line] = tables.warnings(report(level_runs=[level_run("ours", TEN, good([1.0]), generator=busy)]))
    assert line.startswith("10 users, ours: the load generator itself was busy (93% of a core) or late (400 ms)")
    *_, said = tables.notes(report(level_runs=[level_run("ours", TEN, generator=busy), level_run("peer", TEN)]))
    assert "at most 93% of a core, 99 % of its turns within 400.0 ms" in said
    assert "at most 0%" in " ".join(tables.notes(report(level_runs=[])))


# -- terminal -----------------------------------------------------------------------------------------------------------


def test_terminal_shows_everything_in_80_columns() -> None:
    page = shown(report())
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page
    flat = " ".join(page.split())
    for words in (
        "Example CPU, 4 cores",
        "peer: http://localhost:8081/v1/rerank",
        "100 users peer 5.00 50.0 4.00 4.00 4.00 0.500 0.227",
    ):
        assert words in flat
    assert "100 users, peer: 2 × 500 <engine> error" in flat


def test_long_names_are_folded_and_numbers_are_whole() -> None:
    name = "blocking_" + "x" * 40
    servers = plan("ours=http://a", f"{name}=http://b", within_s=30)
    page = shown(
        report(plan=servers, level_runs=[level_run(name, HUNDRED, good([1.234] * 2222)), level_run("ours", TEN, good([1.0]))])
    )
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page
    assert "222 2222 222 1.23 1.23 1.23" in " ".join(page.split())


@pytest.mark.parametrize("why", ["[bold]a[/]", "a [red] :cat:"])
def test_servers_words_are_shown_letter_by_letter(why: str) -> None:
    assert why in shown(report(level_runs=[level_run("ours", TEN, good([1.0]), reasons={why: 1})]))


# -- documents ----------------------------------------------------------------------------------------------------------


def test_document_has_the_same_cells(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nthe last one\n{END}\nafter\n", encoding="utf-8")
    tables.write_block(report(), path, tmp_path / "images" / "load.png")
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\n![Documents a second, and seconds within which 99 % of the answers came")
    assert "](images/load.png)" in text
    assert text.endswith(f"{END}\nafter\n")
    assert "| 10 users | **ours** | 20.0 | 200 | 0.500 | 1.00 | 1.00 | 1.00 | 1.00 |" in text
    assert "- 100 users, peer: 2 × 500 &lt;engine> error" in text
    assert "the last one" not in text


def test_a_new_document_is_the_report_and_another_without_a_place_is_left_alone(tmp_path: Path) -> None:
    tables.write_block(report(), tmp_path / "new.md")
    assert (tmp_path / "new.md").read_text(encoding="utf-8").startswith(f"{BEGIN}\n\nMachine: Example CPU")
    (tmp_path / "old.md").write_text("words")
    with pytest.raises(BadSetting, match="no place"):
        tables.write_block(report(), tmp_path / "old.md")


def test_levels_that_were_not_reached_are_not_shown() -> None:
    found = report(level_runs=report().level_runs[:2], was_stopped=True)
    assert HUNDRED.name not in shown(found)
    assert "stopped before its end" in " ".join(shown(found).split())
