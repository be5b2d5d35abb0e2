"""`build_app` is the whole application: any ASGI server runs it, with the settings of the environment."""

from __future__ import annotations

import signal

import httpx2
import pytest

from tests.support.process import launched

pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")

FACTORY = ("uvicorn", "--factory", "shortlist.server:build_app", "--log-level", "warning")


def test_uvicorn_runs_the_whole_application() -> None:
    with launched(*FACTORY, SHORTLIST_MODELS="demo", SHORTLIST_API_KEY="secret") as server:
        ask = {"query": "red fox", "documents": ["a cat", "the red fox"], "top_n": 1}
        refused = httpx2.post(f"{server.url}/v1/rerank", json=ask)
        answer = httpx2.post(f"{server.url}/v1/rerank", json=ask, headers={"authorization": "Bearer secret"})
        page = httpx2.get(f"{server.url}/ui/", auth=("any", "secret"), timeout=60)
        assert (refused.status_code, answer.json()["results"][0]["index"]) == (401, 1)
        assert (page.status_code, "gradio" in page.text) == (200, True)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) in {0, -signal.SIGTERM}


def test_models_that_cannot_be_served_end_the_start() -> None:
    with pytest.raises(AssertionError, match="no-such-folder"), launched(*FACTORY, SHORTLIST_MODELS="./no-such-folder"):
        pass
