"""Errors as a person should meet them: a sentence in their language, and the server's own words in small print. Pure."""

from __future__ import annotations

import math
from typing import Final

from shortlist import errors
from shortlist.ui.draw.markup import alert
from shortlist.ui.words import Words

MAX_SHOWN_WAIT_S: Final = 3600


def seconds_to_wait(error: errors.Overloaded) -> int:
    """Return the wait that the server asks for, as a number that a person can use."""
    return math.ceil(min(max(error.retry_after_s, 1), MAX_SHOWN_WAIT_S))


def error_html(error: errors.ServiceError, words: Words) -> str:
    """Return an error from the server as HTML."""
    if isinstance(error, errors.Overloaded):
        return alert(words.overloaded.format(seconds=seconds_to_wait(error)))
    return alert(_sentence(error, words), error.message)


def _sentence(error: errors.ServiceError, words: Words) -> str:
    if isinstance(error, errors.InvalidInput) and error.param in {"instruction", "preset"}:
        return words.no_instruction
    table = (
        (errors.InputTooLong, words.too_long),
        (errors.BodyTooLarge, words.too_large),
        (errors.Unauthenticated, words.no_key),
        (errors.NotFound, words.not_found),
        (errors.CallerError, words.refused),
        (errors.DeadlineExceeded, words.too_slow),
        (errors.Draining, words.not_ready),
        (errors.EngineUnavailable, words.unavailable),
    )
    return next((sentence for kind, sentence in table if isinstance(error, kind)), words.broken)
