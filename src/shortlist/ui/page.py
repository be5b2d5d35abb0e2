"""The page: its tabs, and their choices for each user. Importing this module imports Gradio."""

from __future__ import annotations

import sys
import traceback
from typing import Any, Final

import gradio as gr
from fastapi import FastAPI
from gradio import queueing, route_utils, routes
from starlette.routing import Mount

from shortlist.telemetry import logger
from shortlist.ui import style
from shortlist.ui.draw.markup import masthead
from shortlist.ui.i18n import Messages, translations
from shortlist.ui.lazy import Page
from shortlist.ui.middleware import insert_head, without_uploads_and_cors
from shortlist.ui.runs import model_names
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs import compare, embed, jobs_tab, rerank, status
from shortlist.ui.tabs.components import EVENT_OPTIONS, markup

TABS: Final = {"rerank": "rerank", "compare": "compare_tab", "embed": "embed_tab", "jobs": "jobs_tab", "status": "status_tab"}
"""Ids of the tabs' elements, in order."""

MAX_WAITING_EVENTS = 100
"""Events wait in Gradio's queue with their texts. The next one is refused, and the page says that the queue is full."""

MAX_UPLOAD_BYTES = 1
"""The browser reads files. Gradio's upload route cannot be removed, so this limit keeps uploads off the disk."""


def build(session_for: SessionFactory, *, path: str, has_jobs: bool) -> Page:
    """Return the page as an application to mount under `path`; see `shortlist.ui.mount_page`."""
    _keep_texts_out_of_logs()
    shell, i18n = FastAPI(openapi_url=None), gr.I18n(**translations())
    gr.mount_gradio_app(
        shell,
        build_page(session_for, i18n, has_jobs=has_jobs),
        path=path,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size=MAX_UPLOAD_BYTES,
        i18n=i18n,
        theme=style.theme(),
        css_paths=[style.STYLE_SHEET],
    )
    [page] = (route.app for route in shell.routes if isinstance(route, Mount))
    if not isinstance(page, FastAPI):
        raise TypeError("Gradio must mount one FastAPI application, but mounted another type. This is a bug.")
    # Gradio adds its startup to the lifespan of the application that it is mounted on.
    app = without_uploads_and_cors(insert_head(page, style.head()))
    return Page(app, page.routes, shell.router.lifespan_context(shell))


class _PlainTracebacks:
    """Replaces `traceback` in Gradio, which prints the inputs of a failed event: texts of callers do not belong in logs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)

    def print_exc(self) -> None:
        """Log the type of the error that is being handled."""
        error, _, _ = sys.exc_info()
        logger.error("the page failed", extra={"error": "unknown" if error is None else error.__name__})


def _keep_texts_out_of_logs() -> None:
    for module in (queueing, route_utils, routes):
        module.traceback = _PlainTracebacks()  # type: ignore[attr-defined] # replaced on purpose


def build_page(session_for: SessionFactory, i18n: gr.I18n, *, has_jobs: bool) -> gr.Blocks:
    """Return the page; `session_for` returns the session of a request."""
    page = gr.Blocks(title="Shortlist", analytics_enabled=False, fill_width=True)
    page.queue(max_size=MAX_WAITING_EVENTS, api_open=False)
    with page:
        markup(masthead())
        with gr.Tabs(elem_classes="sl-tabs"):
            names = [name for name in TABS if has_jobs or name != "jobs"]
            tabs = {name: gr.Tab(i18n(f"{name}_tab"), elem_id=TABS[name]) for name in names}
            with tabs["rerank"]:
                reranking = rerank.build(session_for, i18n)
            with tabs["compare"]:
                left, right = compare.build(session_for, i18n)
            with tabs["embed"]:
                embedding = embed.build(session_for, i18n)
            for name, build_tab in (("jobs", jobs_tab.build), ("status", status.build)):
                if name in tabs:
                    with tabs[name]:
                        build_tab(session_for, tabs[name], [tab for other, tab in tabs.items() if other != name])
        presets = [reranking.preset, left.preset, right.preset]
        models = [reranking.model, left.model, right.model]
        _fill_choices_on_load(session_for, page, presets, models, [reranking.overflow, embedding.model, embedding.read_as])
    return page


def _fill_choices_on_load(
    session_for: SessionFactory, page: gr.Blocks, presets: list[gr.Dropdown], models: list[gr.Dropdown], rest: list[gr.Dropdown]
) -> None:
    """Fill all choices when the page opens: in the user's language, with the models that their key may use."""

    async def choices(request: gr.Request) -> list[gr.Dropdown]:
        session = session_for(request)
        messages = session.messages
        rerankers, embedders = await model_names(session)
        overflows = [(messages.overflow_chunk, "chunk"), (messages.overflow_truncate, "truncate")]
        input_kinds = [(messages.read_as_documents, "documents"), (messages.read_as_queries, "queries")]
        return [
            *(gr.Dropdown(choices=_presets(messages), value="") for _ in presets),
            *(gr.Dropdown(choices=rerankers, value=next(iter(rerankers), None)) for _ in models),
            gr.Dropdown(choices=overflows, value="chunk"),
            gr.Dropdown(choices=embedders, value=next(iter(embedders), None)),
            gr.Dropdown(choices=input_kinds, value="documents"),
        ]

    page.load(choices, outputs=[*presets, *models, *rest], **EVENT_OPTIONS).then(None, js="() => shortlist.arrive()")


def _presets(messages: Messages) -> list[tuple[str, str]]:
    return [(messages.model_default, ""), *((title, name) for name, title in messages.presets.items())]
