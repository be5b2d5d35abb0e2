"""What a ranking and an error look like, and that nobody's text becomes markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from shortlist.client import NotRanked, RankedText, Ranking, TimingMs
from shortlist.ui import render
from shortlist.ui.text import CHINESE, ENGLISH, LANGUAGES, Words

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover='alert(3)"


class Seen(HTMLParser):
    """The tags and the text of some HTML, and whether every tag was closed."""

    VOID = frozenset({"rect", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def ranking(*results: RankedText, **rest: object) -> Ranking:
    return Ranking(model="m", results=results, **rest)  # type: ignore[arg-type]


def table(answer: Ranking, num_documents: int | None = None, words: Words = ENGLISH) -> str:
    total = len(answer.results) if num_documents is None else num_documents
    return render.ranking_table(answer, num_documents=total, words=words)


# -- escaping -----------------------------------------------------------------------------------------------------------


def every_way_in() -> dict[str, str]:
    hostile_result = RankedText(0, 0.5, HOSTILE)
    return {
        "document": table(ranking(hostile_result)),
        "long document": table(ranking(RankedText(0, 0.5, HOSTILE * 20))),
        "model": table(Ranking(model=HOSTILE, results=())),
        "failure": table(ranking(failed=(NotRanked(0, HOSTILE),)), 1),
        "sentence": render.alert(HOSTILE),
        "detail": render.alert("No.", HOSTILE),
    }


@pytest.mark.parametrize("way", list(every_way_in()))
def test_foreign_text_never_becomes_markup(way: str) -> None:
    html = every_way_in()[way]
    seen = Seen(html)
    assert "<script" not in html
    assert not {"script", "img"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert HOSTILE in seen.text
    assert seen.open == []


def test_text_is_shown_exactly_as_it_was_sent() -> None:
    text = "a &amp; b < c &lt; \u202e ünï 中文"
    assert text in Seen(table(ranking(RankedText(0, 0.5, text)))).text


# -- rows ---------------------------------------------------------------------------------------------------------------


def test_places_count_from_one_and_keep_the_order_given() -> None:
    html = table(ranking(RankedText(2, 0.9, "c"), RankedText(0, 0.5, "a"), RankedText(1, 0.1, "b")))
    assert [html.index(f'data-index="{index}"') for index in (2, 0, 1)] == sorted(
        html.index(f'data-index="{i}"') for i in (0, 1, 2)
    )
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
def test_bar_is_as_long_as_the_score_and_stays_in_its_track(score: float, width: str, shown: str) -> None:
    html = table(ranking(RankedText(0, score, "a")))
    assert f"width:{width}%" in html
    assert f"<b>{shown}</b>" in html


@pytest.mark.parametrize(
    ("index", "sign", "spoken"),
    [(3, "▲ 3", "up 3 from line 4"), (0, "–", "same place as in the input")],
)
def test_movement_is_drawn_and_said(index: int, sign: str, spoken: str) -> None:
    html = table(ranking(RankedText(index, 0.5, "a")), 4)
    assert f'aria-hidden="true">{sign}<' in html
    assert f'<span class="sl-hidden">{spoken}</span>' in html


def test_movement_down() -> None:
    html = table(ranking(RankedText(1, 0.9, "b"), RankedText(0, 0.1, "a")))
    assert "▲ 1" in html
    assert "▼ 1" in html
    assert "down 1 from line 1" in html


def test_only_cut_documents_are_marked() -> None:
    html = table(ranking(RankedText(0, 0.9, "a"), RankedText(1, 0.5, "b"), truncated=(1,)))
    assert html.count('class="sl-mark"') == 1
    assert html.index('data-index="1"') < html.index('class="sl-mark"')
    assert ENGLISH.truncated_hint in html


def test_long_document_opens_on_demand_and_is_all_there() -> None:
    text = "word " * 200
    html = table(ranking(RankedText(0, 0.5, text), RankedText(1, 0.4, "short")))
    assert html.count("<details") == 1
    assert text in html
    assert ENGLISH.show_all in html


def test_document_without_text_is_an_empty_cell() -> None:
    assert "None" not in table(ranking(RankedText(0, 0.5)))


# -- around the rows ----------------------------------------------------------------------------------------------------


def test_summary_says_what_it_cost() -> None:
    timing = TimingMs(total=1234.5, tokenize=0.84, queue=0.0, compute=12.3)
    seen = Seen(table(ranking(RankedText(0, 0.5, "a"), num_tokens=4321, timing_ms=timing)))
    for fact in ("m", "1 documents", "4,321 tokens", "1,234 ms", "tokenise 0.8 ms", "wait 0.0 ms", "compute 12 ms"):
        assert fact in seen.words


def test_summary_leaves_out_what_the_server_did_not_say() -> None:
    html = table(ranking(RankedText(0, 0.5, "a")))
    assert "sl-timing" not in html
    assert "tokens" not in html


def test_cut_list_says_of_how_many() -> None:
    assert "Best 1 of 9 documents" in table(ranking(RankedText(0, 0.5, "a")), 9)
    assert "2 documents" in table(ranking(RankedText(0, 0.5, "a"), failed=(NotRanked(1, "No."),)), 2)


def test_failed_documents_are_listed_by_their_line() -> None:
    html = table(ranking(failed=(NotRanked(4, "It did not fit."),)), 5)
    assert '<li value="5">It did not fit.</li>' in html
    assert "sl-failed" not in table(ranking())


def test_result_is_in_the_words_it_was_given() -> None:
    html = table(ranking(RankedText(1, 0.5, "a"), truncated=(1,)), 3, CHINESE)
    assert 'lang="zh-CN"' in html
    assert "3 篇文档中的前 1 篇" in html
    assert "原在第 2 行，上升 1 位" in html
    assert "documents" not in html


def test_table_is_one_to_a_screen_reader_even_when_drawn_as_a_grid() -> None:
    seen = Seen(table(ranking(RankedText(0, 0.5, "a"))))
    roles = [value for name, value in seen.attributes if name == "role"]
    assert roles.count("columnheader") == roles.count("cell") == 4
    assert {"table", "rowgroup", "row", "status"} <= set(roles)
    assert seen.tags.count("caption") == 1


def test_error_is_announced() -> None:
    assert 'role="alert"' in render.alert("No.")
    assert "<small>" not in render.alert("No.")


@pytest.mark.parametrize("html", [render.masthead(), render.nothing_yet(), render.label("keys")])
def test_standing_words_are_there_in_every_language(html: str) -> None:
    seen = Seen(html)
    languages = [value for name, value in seen.attributes if name == "lang"]
    assert languages == [words.lang for words in LANGUAGES]
    assert seen.open == []
