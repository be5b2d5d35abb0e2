"""The page has complete messages in two languages, and selects the right one."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from shortlist.models.qwen3.prompt import INSTRUCTIONS
from shortlist.schemas.jobs import Status, WebhookState
from shortlist.schemas.openai_batches import BatchStatus
from shortlist.ui.i18n import CHINESE, ENGLISH, LANGUAGES, Messages, messages_for, translations

FIELDS = [field.name for field in fields(Messages) if isinstance(getattr(ENGLISH, field.name), str)]


@pytest.mark.parametrize(
    ("header", "messages"),
    [
        (None, ENGLISH),
        ("", ENGLISH),
        ("en-GB,en;q=0.9", ENGLISH),
        ("zh-CN,zh;q=0.9,en;q=0.8", CHINESE),
        ("zh", CHINESE),
        ("ZH-tw", CHINESE),
        ("fr-FR,zh;q=0.5,en;q=0.4", CHINESE),
        ("fr,de", ENGLISH),
        (",;q=,x" * 50, ENGLISH),
    ],
)
def test_first_available_language_is_chosen(header: str | None, messages: Messages) -> None:
    assert messages_for(header) is messages


@pytest.mark.parametrize(
    ("chosen", "messages"), [("en", ENGLISH), ("zh-CN", CHINESE), ("fr", CHINESE), ("", CHINESE), (None, CHINESE)]
)
def test_chosen_language_takes_precedence(chosen: str | None, messages: Messages) -> None:
    assert messages_for("zh", chosen=chosen) is messages


@pytest.mark.parametrize("field", FIELDS)
def test_both_languages_have_the_message_with_the_same_placeholders(field: str) -> None:
    english, chinese = str(getattr(ENGLISH, field)), str(getattr(CHINESE, field))
    assert english.strip()
    assert chinese.strip()
    assert set(re.findall(r"{(\w+)}", english)) == set(re.findall(r"{(\w+)}", chinese))
    assert english != chinese
    if field != "lang":
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert not re.search(r"[\u4e00-\u9fff]", english)


@pytest.mark.parametrize("messages", LANGUAGES, ids=lambda messages: messages.lang)
def test_every_preset_of_the_server_has_a_title(messages: Messages) -> None:
    assert set(messages.presets) == set(INSTRUCTIONS)


@pytest.mark.parametrize("messages", LANGUAGES, ids=lambda messages: messages.lang)
def test_every_status_of_jobs_has_a_name(messages: Messages) -> None:
    assert set(messages.job_statuses) == {*get_args(Status), *get_args(BatchStatus)}
    assert set(messages.job_webhooks) == set(get_args(get_type_hints(WebhookState)["status"]))


def test_every_chinese_browser_gets_chinese_labels() -> None:
    labels = translations()
    assert labels["en"]["rank"] == "Rank"
    assert {labels[locale]["rank"] for locale in ("zh", "zh-CN", "zh-TW", "zh-HK")} == {CHINESE.rank}
    assert set(labels["en"]) == set(labels["zh"]) > set(FIELDS)
