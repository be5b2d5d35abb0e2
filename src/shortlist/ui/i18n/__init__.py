"""The page's texts in English and Chinese.

Labels are sent to the browser, which picks by its language. Text that is rendered here uses the switched language (a cookie),
or the browser's (`Accept-Language`).
"""

from __future__ import annotations

from dataclasses import fields

from shortlist.ui.examples import titles
from shortlist.ui.i18n.chinese import CHINESE
from shortlist.ui.i18n.english import ENGLISH, Messages

__all__ = ["CHINESE", "ENGLISH", "LANGUAGES", "Messages", "messages_for", "translations"]

LANGUAGES = (ENGLISH, CHINESE)


def messages_for(accept_language: str | None, *, chosen: str | None = None) -> Messages:
    """Return the messages in the chosen language, or the first available one of `Accept-Language`; English by default.

    Source: RFC 9110, section 12.5.4; browsers list languages in order of preference, so weights are ignored.
    """
    for entry in (chosen or "", *(accept_language or "").split(",")):
        primary = entry.split(";")[0].strip().split("-")[0].lower()
        for messages in LANGUAGES:
            if primary == messages.lang.split("-")[0]:
                return messages
    return ENGLISH


def translations() -> dict[str, dict[str, str]]:
    """Return all labels by browser locale. All Chinese locales get the Chinese labels."""
    english, chinese = (_labels(messages) for messages in LANGUAGES)
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese, "zh-HK": chinese}


def _labels(messages: Messages) -> dict[str, str]:
    texts = {each.name: text for each in fields(messages) if isinstance(text := getattr(messages, each.name), str)}
    return texts | titles(messages.lang)
