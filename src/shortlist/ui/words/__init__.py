"""Every sentence a person can read on the page, in English and in Chinese.

Labels are handed to the browser, which picks by its own language; what is rendered here follows the same language: the one
that was switched to (a cookie), or else the one that the browser states (`Accept-Language`).
"""

from __future__ import annotations

from dataclasses import fields

from shortlist.ui.examples import titles
from shortlist.ui.words.chinese import CHINESE
from shortlist.ui.words.english import ENGLISH, Words

__all__ = ["CHINESE", "ENGLISH", "LANGUAGES", "Words", "translations", "words_for"]

LANGUAGES = (ENGLISH, CHINESE)


def words_for(accept_language: str | None, *, chosen: str | None = None) -> Words:
    """Return the page's words in the language that was switched to, or the first that the browser lists and we speak.

    English when there is none.

    Source: RFC 9110, section 12.5.4; browsers list their languages in order, so weights are not read.
    """
    for entry in (chosen or "", *(accept_language or "").split(",")):
        primary = entry.split(";")[0].strip().split("-")[0].lower()
        for words in LANGUAGES:
            if primary == words.lang.split("-")[0]:
                return words
    return ENGLISH


def translations() -> dict[str, dict[str, str]]:
    """Return all labels by browser locale. Every Chinese locale gets the Chinese page rather than the English one."""
    english, chinese = (_labels(words) for words in LANGUAGES)
    return {"en": english, "zh": chinese, "zh-CN": chinese, "zh-TW": chinese, "zh-HK": chinese}


def _labels(words: Words) -> dict[str, str]:
    sentences = {each.name: getattr(words, each.name) for each in fields(words) if each.name != "presets"}
    return sentences | titles(words.lang)
