"""Two rankings side by side: what moved is drawn, and described for screen readers."""

from __future__ import annotations

import re

from shortlist.ui.draw.slope import MAX_ROWS, ROW_PX, slope_html
from shortlist.ui.i18n import CHINESE, ENGLISH
from tests.support.rankings import document, ranking
from tests.support.seen import HOSTILE, Seen, assert_only_text

A, B, C = document(0, 0.9, "a"), document(1, 0.5, "b"), document(2, 0.1, "c")


def test_every_document_has_a_line_between_its_ranks() -> None:
    html = slope_html(ranking(A, B, C), ranking(C, A, B), ENGLISH)
    ends = re.findall(r'<path class="sl-(\w+)" d="M0 ([\d.]+) C.* 100 ([\d.]+)"/>', html.replace("/><", "/>\n<"))
    places = [(kind, float(left) / ROW_PX + 0.5, float(right) / ROW_PX + 0.5) for kind, left, right in ends]
    assert places == [("down", 1, 2), ("down", 2, 3), ("up", 3, 1)]


def test_comparison_has_a_table_for_screen_readers() -> None:
    seen = Seen(slope_html(ranking(A, B, C), ranking(C, A, B), ENGLISH))
    assert seen.open == []
    assert ("aria-hidden", "true") in seen.attributes
    assert "".join(seen.words[seen.words.index("a", seen.words.index(ENGLISH.compare_right_column)) :]) == "a12b23c31"


def test_summary_counts_the_moves() -> None:
    assert "3 of 3 documents change their place; the farthest by 2. The best document is another one." in slope_html(
        ranking(A, B, C), ranking(C, A, B), ENGLISH
    )
    assert ENGLISH.compare_same in slope_html(ranking(A, B), ranking(A, B), ENGLISH)
    moved_below = slope_html(ranking(A, B, C), ranking(A, C, B), ENGLISH)
    assert "2 of 3" in moved_below
    assert ENGLISH.compare_top not in moved_below


def test_document_of_one_side_only_has_no_line() -> None:
    html = slope_html(ranking(A, B, num_documents=3), ranking(A, C, num_documents=3), ENGLISH)
    assert html.count("<path") == 1
    assert html.count(ENGLISH.absent) == 2


def test_sides_show_model_and_query() -> None:
    left = ranking(A, query="left?", model="one")
    right = ranking(A, query="right?", model="two")
    html = slope_html(left, right, ENGLISH)
    assert [html.index(word) for word in ("one", "left?", "two", "right?")] == sorted(
        html.index(word) for word in ("one", "left?", "two", "right?")
    )


def test_number_of_drawn_documents_is_limited() -> None:
    many = ranking(*(document(index, 0.5, "a") for index in range(MAX_ROWS + 5)))
    assert slope_html(many, many, ENGLISH).count("<path") == MAX_ROWS


def test_texts_are_escaped() -> None:
    hostile = ranking(document(0, 0.5, HOSTILE), query=HOSTILE, model=HOSTILE)
    assert_only_text(slope_html(hostile, hostile, CHINESE))
