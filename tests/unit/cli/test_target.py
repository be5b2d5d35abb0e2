"""Targets of commands: a server, or one model in this process without a server's other settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shortlist.cli import target
from shortlist.cli.flags import MODEL_SETTINGS
from shortlist.config import ServerSettings, Settings
from shortlist.errors import InvalidInput
from shortlist.service import build
from shortlist.service.runtime import Runtime
from shortlist.types import EMBED, RERANK, Operation
from tests.support.apps import runtime, served

GIVEN: dict[str, Any] = {"model": None, "url": None, "api_key": None, "timeout_s": 5.0, "config": None}
Built = list[Settings]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    """Settings of the runtimes built so far; all have a fake engine."""
    seen: Built = []

    def stand_in(settings: Settings, *, notify: Callable[[str], None]) -> Runtime:
        del notify
        seen.append(settings)
        fake = runtime(served().engine)
        return Runtime([served()], settings=settings.model_copy(update={"model": fake.settings.model}), metrics=fake.metrics)

    monkeypatch.setattr(build, "build_runtime", stand_in)
    monkeypatch.setattr(target, "configure_logging", lambda **_: None)
    return seen


@pytest.mark.parametrize(("task", "field"), [(RERANK, "reranker"), (EMBED, "embedder")])
def test_model_in_this_process_is_the_only_one_and_has_the_task(
    built: Built, monkeypatch: pytest.MonkeyPatch, task: Operation, field: str
) -> None:
    for name, value in {
        "MODELS": "a/b",
        "RERANKER": "c/d",
        "EMBEDDER": "e/f",
        "ALIAS": "x=a/b",
        "API_KEY": "k",
        "UI": "1",
    }.items():
        monkeypatch.setenv(f"SHORTLIST_{name}", value)
    target.connect(task, {**GIVEN, "model": "./mine", "dtype": "float32"})
    [settings] = built
    assert getattr(settings.model, field) == ("./mine",)
    others = {"models", "reranker", "embedder", "alias"} - {field}
    assert [getattr(settings.model, name) for name in others] == [()] * 3
    assert settings.model.dtype == "float32"
    assert settings.server == ServerSettings(ui=False)


async def test_model_in_this_process_answers_and_is_closed(built: Built) -> None:
    connect = target.connect(RERANK, {**GIVEN, "model": "demo"})
    async with connect() as client:
        ranking = await client.rerank("red", ["blue", "red"])
    assert [result.text for result in ranking.results] == ["red", "blue"]
    assert len(built) == 1


def test_default_model_is_the_demo_with_a_message(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    target.connect(EMBED, GIVEN)
    assert built[0].model.embedder == ("demo",)
    assert "the bundled demo model is used" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(MODEL_SETTINGS))
def test_model_flags_conflict_with_url(built: Built, name: str) -> None:
    given = {**GIVEN, "url": "http://localhost:1", name: "anything"}
    with pytest.raises(InvalidInput, match=f"--{name.replace('_', '-')} is for a model in this process"):
        target.connect(RERANK, given)
    assert built == []


def test_key_without_url_is_refused(built: Built) -> None:
    with pytest.raises(InvalidInput, match="--api-key is for a server"):
        target.connect(RERANK, {**GIVEN, "api_key": "canary"})
    assert built == []
