"""The page: four tabs, and the browser state they get. Imports Gradio."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from shortlist.ui import style
from shortlist.ui.draw.markup import masthead
from shortlist.ui.i18n import Messages, translations
from shortlist.ui.lazy import Page
from shortlist.ui.middleware import limited, with_head
from shortlist.ui.runs import model_names
from shortlist.ui.session import SessionOf
from shortlist.ui.tabs import compare, embed, rerank, status
from shortlist.ui.tabs.components import QUIET, markup

MAX_UPLOAD_BYTES = 1
"""Files are read by the browser; Gradio's upload route, which is always there, must not fill the disk."""


def build(session_of: SessionOf, *, path: str) -> Page:
    """Return the page as an application of its own, for another to mount under `path`; see `shortlist.ui.mount_page`."""
    shell, i18n = FastAPI(openapi_url=None), gr.I18n(**translations())
    gr.mount_gradio_app(
        shell,
        build_page(session_of, i18n),
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
        raise TypeError("Gradio mounted something that is not an application of its own. This is a bug.")
    # Gradio adds its start to the lifespan of the application that it was mounted on.
    return Page(limited(with_head(page, style.head())), page.routes, shell.router.lifespan_context(shell))


def build_page(session_of: SessionOf, i18n: gr.I18n) -> gr.Blocks:
    """Return the page; `session_of` is how it reaches the server as the person at it."""
    page = gr.Blocks(title="Shortlist", analytics_enabled=False, fill_width=True)
    with page:
        markup(masthead())
        with gr.Tabs(elem_classes="sl-tabs"):
            with gr.Tab(i18n("rerank_tab"), elem_id="rerank") as first:
                reranking = rerank.build(session_of, i18n)
            with gr.Tab(i18n("compare_tab"), elem_id="compare_tab") as second:
                left, right = compare.build(session_of, i18n)
            with gr.Tab(i18n("embed_tab"), elem_id="embed_tab") as third:
                embedding = embed.build(session_of, i18n)
            with gr.Tab(i18n("status_tab"), elem_id="status_tab") as fourth:
                status.build(session_of, fourth, (first, second, third))
        presets = [reranking.preset, left.preset, right.preset]
        models = [reranking.model, left.model, right.model]
        _add_components(session_of, page, presets, models, [reranking.overflow, embedding.model, embedding.read_as])
    return page


def _add_components(
    session_of: SessionOf, page: gr.Blocks, presets: list[gr.Dropdown], models: list[gr.Dropdown], others: list[gr.Dropdown]
) -> None:
    """Fill all choices when the page opens: in the user's language, with the models that their key may use."""

    async def furnish(request: gr.Request) -> list[gr.Dropdown]:
        session = session_of(request)
        messages = session.messages
        rerankers, embedders = await model_names(session)
        overflows = [(messages.overflow_chunk, "chunk"), (messages.overflow_truncate, "truncate")]
        points = [(messages.read_as_documents, "documents"), (messages.read_as_queries, "queries")]
        return [
            *(gr.Dropdown(choices=_presets(messages), value="") for _ in presets),
            *(gr.Dropdown(choices=rerankers, value=next(iter(rerankers), None)) for _ in models),
            gr.Dropdown(choices=overflows, value="chunk"),
            gr.Dropdown(choices=embedders, value=next(iter(embedders), None)),
            gr.Dropdown(choices=points, value="documents"),
        ]

    page.load(furnish, outputs=[*presets, *models, *others], **QUIET).then(None, js="() => shortlist.arrive()")


def _presets(messages: Messages) -> list[tuple[str, str]]:
    return [(messages.model_default, ""), *((title, name) for name, title in messages.presets.items())]
