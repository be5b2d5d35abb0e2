"""Every error is a sentence in the person's language, with the server's own words beside it."""

from __future__ import annotations

import pytest

from shortlist import errors
from shortlist.ui.sentences import error_html
from shortlist.ui.words import CHINESE, ENGLISH

SENTENCES = [
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


@pytest.mark.parametrize(("error", "sentence"), SENTENCES, ids=lambda value: type(value).__name__)
def test_every_error_has_its_sentence_and_the_servers_own_words(error: errors.ServiceError, sentence: str) -> None:
    assert f"<strong>{sentence}</strong><small>why</small>" in error_html(error, ENGLISH)


@pytest.mark.parametrize(("asked_s", "shown"), [(0.0, "1"), (2.2, "3"), (1e300, "3600")])
def test_wait_is_a_number_a_person_can_use(asked_s: float, shown: str) -> None:
    assert f"请在 {shown} 秒后重试" in error_html(errors.Overloaded("full", retry_after_s=asked_s), CHINESE)
