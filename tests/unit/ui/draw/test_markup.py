"""Labels in both languages, error messages in the user's language, progress with cancel."""

from __future__ import annotations

import pytest

from shortlist import errors
from shortlist.ui.draw.markup import (
    alert,
    error_html,
    file_card,
    file_picker,
    heading,
    label,
    masthead,
    nothing_yet,
    progress,
    shortened,
)
from shortlist.ui.files import MAX_FILE_BYTES, FileContent, FileGroup
from shortlist.ui.i18n import CHINESE, ENGLISH, LANGUAGES
from tests.support.seen import HOSTILE, Seen, assert_only_text


@pytest.mark.parametrize(
    "html", [nothing_yet("nothing_yet", "nothing_yet_hint"), label("keys"), heading("side_a"), file_picker()]
)
def test_static_text_is_in_every_language(html: str) -> None:
    seen = Seen(html)
    assert seen.values("lang") == [messages.lang for messages in LANGUAGES]
    assert seen.open == []


def test_header_lists_every_language_in_its_own_name() -> None:
    seen = Seen(masthead())
    assert seen.values("data-language") == [messages.lang for messages in LANGUAGES]
    assert {"English", "中文"} <= set(seen.words)


def test_error_has_the_alert_role() -> None:
    assert 'role="alert"' in alert("No.")
    assert "<small>" not in alert("No.")


@pytest.mark.parametrize(
    "html",
    [
        alert(HOSTILE),
        alert("No.", HOSTILE),
        progress(HOSTILE, ENGLISH),
        file_card(HOSTILE, FileContent(documents=("a",)), ENGLISH),
    ],
)
def test_texts_are_escaped(html: str) -> None:
    assert_only_text(html)


def test_progress_bar_shows_its_share_if_known() -> None:
    assert "width:25.0%" in progress("Ranking …", ENGLISH, share=0.25)
    assert "sl-track-open" in progress("Ranking …", ENGLISH)
    assert f'data-stopped="{ENGLISH.stopped}"' in progress("Ranking …", ENGLISH)


def test_text_is_shortened_to_one_line() -> None:
    assert shortened("a\n b", 10) == "a b"
    assert shortened("a b c d e", 6) == "a b c…"


def test_file_card_shows_the_number_of_documents() -> None:
    assert "2 documents" in file_card("f", FileContent(documents=("a", "b")), ENGLISH)
    grouped = file_card("f", FileContent(groups=(FileGroup("q", ("a", "b")), FileGroup("r", ("c",)))), ENGLISH)
    assert "2 queries with 3 documents" in grouped
    assert "data-groups" in grouped
    assert "data-columns" not in grouped
    assert "data-columns" in file_card("f", FileContent(documents=("a",), columns=("x", "y"), column="x"), ENGLISH)


def test_file_picker_has_the_size_limit() -> None:
    assert f'data-most="{MAX_FILE_BYTES}"' in file_picker()


MESSAGES = [
    (errors.InputTooLong("why"), ENGLISH.too_long),
    (errors.BodyTooLarge("why"), ENGLISH.too_large),
    (errors.Unauthenticated("why"), ENGLISH.no_key),
    (errors.NotFound("why"), ENGLISH.not_found),
    (errors.InvalidInput("why"), ENGLISH.refused),
    (errors.InvalidInput("why", param="instruction"), ENGLISH.no_instruction),
    (errors.InvalidInput("why", param="preset"), ENGLISH.no_instruction),
    (errors.DeadlineExceeded("why"), ENGLISH.too_slow),
    (errors.Draining("why"), ENGLISH.not_ready),
    (errors.EngineUnavailable("why"), ENGLISH.unavailable),
    (errors.EngineError("why"), ENGLISH.broken),
    (errors.UpstreamError("why", is_retryable=False), ENGLISH.broken),
]


@pytest.mark.parametrize(("error", "message"), MESSAGES, ids=lambda value: type(value).__name__)
def test_every_error_shows_its_message_and_the_message_of_the_server(error: errors.ServiceError, message: str) -> None:
    assert f"<strong>{message}</strong><small>why</small>" in error_html(error, ENGLISH)


@pytest.mark.parametrize(("asked_s", "shown"), [(0.0, "1"), (2.2, "3"), (1e300, "3600")])
def test_wait_is_a_whole_number_within_bounds(asked_s: float, shown: str) -> None:
    assert f"请在 {shown} 秒后重试" in error_html(errors.Overloaded("full", retry_after_s=asked_s), CHINESE)
