"""The HTML of a ranking; text from users and servers is escaped."""

from __future__ import annotations

import pytest

from shortlist.client import NotRanked, TimingMs
from shortlist.ui.answers import PageRanking
from shortlist.ui.draw.ranking import MAX_ROWS, ranking_html
from shortlist.ui.i18n import CHINESE, ENGLISH, Messages
from tests.support.rankings import document, passage, ranking
from tests.support.seen import HOSTILE, Seen, assert_only_text


def table(*rankings: PageRanking, messages: Messages = ENGLISH, has_groups: bool = False) -> str:
    return ranking_html(rankings, messages, url="http://server", has_key=False, has_groups=has_groups)


# -- escaping -----------------------------------------------------------------------------------------------------------


def hostile_pages() -> dict[str, str]:
    one = document(0, 0.5, HOSTILE)
    long = HOSTILE * 20
    return {
        "document": table(ranking(one)),
        "long document": table(ranking(document(0, 0.5, long))),
        "passage": table(ranking(document(0, 0.5, long, passage=passage(len(HOSTILE), 3 * len(HOSTILE))))),
        "model": table(ranking(one, model=HOSTILE)),
        "failure": table(ranking(failed=(NotRanked(0, HOSTILE),), num_documents=1)),
        "query of a group": table(ranking(one, query=HOSTILE), has_groups=True),
        "request": table(ranking(document(0, 0.5, "a"), query=HOSTILE))
        .replace("\\&quot;", "&quot;")
        .replace("&#x27;&quot;&#x27;&quot;&#x27;", "&#x27;"),
    }


@pytest.mark.parametrize("way", list(hostile_pages()))
def test_texts_are_escaped(way: str) -> None:
    assert_only_text(hostile_pages()[way])


def test_text_is_shown_unchanged() -> None:
    text = "a &amp; b < c &lt; \u202e ünï 中文"
    assert text in Seen(table(ranking(document(0, 0.5, text)))).text


# -- rows ---------------------------------------------------------------------------------------------------------------


def test_ranks_start_at_one_in_the_order_of_the_results() -> None:
    html = table(ranking(document(2, 0.9, "c"), document(0, 0.5, "a"), document(1, 0.1, "b")))
    places = [html.index(f'data-index="{index}"') for index in (2, 0, 1)]
    assert places == sorted(places)
    assert [f'class="sl-place">{place}<' in html for place in (1, 2, 3)] == [True] * 3


@pytest.mark.parametrize(
    ("score", "width", "shown"),
    [
        (0.0, "0.00", "0.0000"),
        (0.5, "50.00", "0.5000"),
        (1.0, "100.00", "1.0000"),
        (7.25, "100.00", "7.2500"),
        (-3.0, "0.00", "-3.0000"),
    ],
)
def test_bar_is_as_long_as_the_score_and_clipped(score: float, width: str, shown: str) -> None:
    html = table(ranking(document(0, score, "a")))
    assert f"width:{width}%" in html
    assert f"<b>{shown}</b>" in html


@pytest.mark.parametrize(
    ("index", "sign", "text"),
    [(3, "▲ 3", "up 3 from line 4"), (0, "–", "same place as in the input")],
)
def test_movement_has_an_arrow_and_a_text(index: int, sign: str, text: str) -> None:
    html = table(ranking(document(index, 0.5, "a"), num_documents=4))
    assert f'aria-hidden="true">{sign}<' in html
    assert f'<span class="sl-hidden">{text}</span>' in html


def test_movement_down() -> None:
    html = table(ranking(document(1, 0.9, "b"), document(0, 0.1, "a")))
    assert "▲ 1" in html
    assert "▼ 1" in html
    assert "down 1 from line 1" in html


def test_only_truncated_documents_are_marked() -> None:
    html = table(ranking(document(0, 0.9, "a"), document(1, 0.5, "b", is_truncated=True)))
    assert html.count('class="sl-mark sl-cut"') == 1
    assert html.index('data-index="1"') < html.index('class="sl-mark sl-cut"')
    assert ENGLISH.truncated_hint in html


def test_raw_score_is_shown_on_request() -> None:
    html = table(ranking(document(0, 0.9, "a", raw_score=-1.25), document(1, 0.5, "b")))
    assert '<td role="cell" class="sl-raw">-1.250</td>' in html
    assert '<td role="cell" class="sl-raw"></td>' in html


# -- long documents -----------------------------------------------------------------------------------------------------


def test_long_document_is_collapsed_and_complete() -> None:
    text = "word " * 200
    html = table(ranking(document(0, 0.5, text), document(1, 0.4, "short")))
    assert html.count('<details class="sl-long"') == 1
    assert text in html
    assert ENGLISH.show_all in html


def test_best_passage_is_marked_and_shown_first() -> None:
    text = "before " * 100 + "THE ANSWER" + " after" * 100
    start = text.index("THE ANSWER")
    html = table(ranking(document(0, 0.5, text, passage=passage(start, start + 10, 5))))
    short = html.partition('class="sl-short"')[2].partition("</span>")[0]
    assert "<mark>THE ANSWER</mark>…" in short
    assert len(short) < 200
    assert f"{text[:start]}<mark>THE ANSWER</mark>{text[start + 10 :]}" in html
    assert "best of 5 passages" in html


def test_passage_of_a_short_text_is_marked_in_place() -> None:
    assert "a <mark>b</mark> c" in table(ranking(document(0, 0.5, "a b c", passage=passage(2, 3))))


# -- around the rows ----------------------------------------------------------------------------------------------------


def test_summary_shows_tokens_timing_and_cache_hits() -> None:
    timing = TimingMs(total=1234.5, tokenize=0.84, queue=0.0, compute=12.3)
    seen = Seen(table(ranking(document(0, 0.5, "a"), num_tokens=4321, num_cached=1, timing_ms=timing)))
    for detail in (
        "m",
        "1 documents",
        "4,321 tokens",
        "1 of 1 from the cache",
        "1,234 ms",
        "tokenise 0.8 ms",
        "wait 0 ms",
        "compute 12 ms",
    ):
        assert detail in seen.words


@pytest.mark.parametrize("num_cached", [None, 0])
def test_summary_omits_missing_values(num_cached: int | None) -> None:
    html = table(ranking(document(0, 0.5, "a"), num_cached=num_cached))
    assert "sl-timing" not in html
    assert "tokens" not in html
    assert "cache" not in html


def test_shortened_list_shows_the_total() -> None:
    assert "Best 1 of 9 documents" in table(ranking(document(0, 0.5, "a"), num_documents=9))
    failed = (NotRanked(1, "No."),)
    assert "2 documents" in table(ranking(document(0, 0.5, "a"), num_documents=2, failed=failed))


def test_rows_above_the_limit_are_only_in_the_downloads() -> None:
    many = [document(index, 0.5, "a") for index in range(MAX_ROWS + 1)]
    html = table(ranking(*many))
    assert html.count("data-index=") == MAX_ROWS
    assert f"The first {MAX_ROWS} are shown; the downloads hold all {MAX_ROWS + 1}." in html


def test_failed_documents_are_listed_by_line() -> None:
    html = table(ranking(failed=(NotRanked(4, "It did not fit."),), num_documents=5))
    assert "<b>Line 5</b> It did not fit." in html
    assert "sl-failed" not in table(ranking(document(0, 0.5, "a")))


def test_groups_are_collapsed_except_the_first() -> None:
    html = table(ranking(document(0, 0.5, "a"), query="one"), ranking(document(0, 0.5, "b"), query="two"), has_groups=True)
    assert html.count('<details class="sl-group" open>') == 1
    assert html.count('<details class="sl-group"') == 2
    assert html.index("one</summary>") < html.index("two</summary>")


def test_result_uses_the_given_language() -> None:
    html = table(ranking(document(1, 0.5, "a", is_truncated=True), num_documents=3), messages=CHINESE)
    shown = Seen(html.partition('<details class="sl-same-request"')[0] + "</section>").text
    assert 'lang="zh-CN"' in html
    assert "3 篇文档中的前 1 篇" in shown
    assert "原在第 2 行，上升 1 位" in shown
    assert "document" not in shown


def test_table_keeps_its_roles_for_screen_readers() -> None:
    seen = Seen(table(ranking(document(0, 0.5, "a"))))
    roles = seen.values("role")
    assert roles.count("columnheader") == roles.count("cell") == 5
    assert {"table", "rowgroup", "row", "status"} <= set(roles)
    assert seen.tags.count("caption") == 1
