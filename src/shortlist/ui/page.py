"""The page itself: four tabs, and what they are told about the reader. Importing this module imports Gradio."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI
from starlette.routing import Mount

from shortlist.ui import style
from shortlist.ui.draw.markup import masthead
from shortlist.ui.lazy import Page
from shortlist.ui.middleware import limited, with_head
from shortlist.ui.runs import model_names
from shortlist.ui.tabs import compare, embed, rerank, status
from shortlist.ui.tabs.furniture import QUIET, markup
from shortlist.ui.visitor import Visit
from shortlist.ui.words import Words, translations

MAX_UPLOAD_BYTES = 1
"""Files are read by the browser; Gradio's upload route, which is always there, must not fill the disk."""


def build(visit: Visit, *, path: str) -> Page:
    """Return the page as an application of its own, for another to mount under `path`; see `shortlist.ui.mount_page`."""
    shell, i18n = FastAPI(openapi_url=None), gr.I18n(**translations())
    gr.mount_gradio_app(
        shell,
        build_page(visit, i18n),
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


def build_page(visit: Visit, i18n: gr.I18n) -> gr.Blocks:
    """Return the page; `visit` is how it reaches the server as the person at it."""
    page = gr.Blocks(title="Shortlist", analytics_enabled=False, fill_width=True)
    with page:
        markup(masthead())
        with gr.Tabs(elem_classes="sl-tabs"):
            with gr.Tab(i18n("rerank_tab"), elem_id="rerank") as first:
                reranking = rerank.build(visit, i18n)
            with gr.Tab(i18n("compare_tab"), elem_id="compare_tab") as second:
                left, right = compare.build(visit, i18n)
            with gr.Tab(i18n("embed_tab"), elem_id="embed_tab") as third:
                embedding = embed.build(visit, i18n)
            with gr.Tab(i18n("status_tab"), elem_id="status_tab") as fourth:
                status.build(visit, fourth, (first, second, third))
        presets = [reranking.preset, left.preset, right.preset]
        models = [reranking.model, left.model, right.model]
        _furnish(visit, page, presets, models, [reranking.overflow, embedding.model, embedding.read_as])
    return page


def _furnish(
    visit: Visit, page: gr.Blocks, presets: list[gr.Dropdown], models: list[gr.Dropdown], others: list[gr.Dropdown]
) -> None:
    """Fill every choice when somebody opens the page: in their language, with the models that the server has for them."""

    async def furnish(request: gr.Request) -> list[gr.Dropdown]:
        visitor = visit(request)
        words = visitor.words
        rerankers, embedders = await model_names(visitor)
        overflows = [(words.overflow_chunk, "chunk"), (words.overflow_truncate, "truncate")]
        readings = [(words.read_as_documents, "documents"), (words.read_as_queries, "queries")]
        return [
            *(gr.Dropdown(choices=_presets(words), value="") for _ in presets),
            *(gr.Dropdown(choices=rerankers, value=next(iter(rerankers), None)) for _ in models),
            gr.Dropdown(choices=overflows, value="chunk"),
            gr.Dropdown(choices=embedders, value=next(iter(embedders), None)),
            gr.Dropdown(choices=readings, value="documents"),
        ]

    page.load(furnish, outputs=[*presets, *models, *others], **QUIET).then(None, js="() => shortlist.arrive()")


def _presets(words: Words) -> list[tuple[str, str]]:
    return [(words.model_default, ""), *((title, name) for name, title in words.presets.items())]
