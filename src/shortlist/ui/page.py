"""The page itself: which fields stand where, and which click does what. Importing this module imports Gradio.

What a click does is in `ask`, what it looks like in `render` and `style`; here the two are tied to components.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
import httpx2
from fastapi import FastAPI
from starlette.routing import Mount

from shortlist.client import AsyncClient
from shortlist.ui import render, style
from shortlist.ui.ask import Connect, ranking_html, reranker_names
from shortlist.ui.examples import EXAMPLES, Example
from shortlist.ui.lazy import Page
from shortlist.ui.text import translations, words_for

MAX_UPLOAD_BYTES = 1
"""The page takes no files; Gradio's upload route, which is always there, must not fill the disk."""

SHOW_ANSWER_JS = "() => { if (innerWidth < 760) document.getElementById('ranking').scrollIntoView({block: 'start'}) }"
"""On a narrow screen the answer stands below the form, out of sight."""

IN_PROCESS_URL = "http://localhost"


@dataclass(frozen=True, slots=True)
class Fields:
    """What a person can fill in, in the order in which `ask.read_form` reads it."""

    query: gr.Textbox
    documents: gr.Textbox
    instruction: gr.Textbox
    model: gr.Dropdown
    top_n: gr.Textbox

    @property
    def inputs(self) -> list[gr.components.Component]:
        """The fields, in that order."""
        return [self.query, self.documents, self.instruction, self.model, self.top_n]


def build(caller: Callable[[gr.Request], Connect], *, path: str) -> Page:
    """Return the page as an application of its own, for another to mount under `path`; see `shortlist.ui.mount_page`."""
    shell, i18n = FastAPI(openapi_url=None), gr.I18n(**translations())
    gr.mount_gradio_app(
        shell,
        build_page(caller, i18n),
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
        head=style.HEAD,
    )
    [page] = (route.app for route in shell.routes if isinstance(route, Mount))
    if not isinstance(page, FastAPI):
        raise TypeError("Gradio mounted something that is not an application of its own. This is a bug.")
    # Gradio adds its start to the lifespan of the application that it was mounted on.
    return Page(page, shell.router.lifespan_context(shell))


def as_caller(app: FastAPI) -> Callable[[gr.Request], Connect]:
    """Return a way to call the app in this process as whoever sent a request, through every layer a caller meets."""

    def caller(request: gr.Request) -> Connect:
        transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=_address(request))
        return lambda: AsyncClient(IN_PROCESS_URL, api_key=_key(request), transport=transport)

    return caller


def _address(request: gr.Request) -> tuple[str, int]:
    """Return where the reader is, who is the caller of what the page asks for; limits count by it where there are no keys."""
    client = request.client
    return (str(client.host), int(client.port)) if client is not None else ("127.0.0.1", 0)


def _key(request: gr.Request) -> str | None:
    """Return the key that the browser signed in with: the password of HTTP's basic scheme, whatever the user name."""
    scheme, _, credentials = str(request.headers.get("authorization", "")).partition(" ")
    if scheme.lower() != "basic":
        return credentials.strip() or None
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def build_page(caller: Callable[[gr.Request], Connect], i18n: gr.I18n) -> gr.Blocks:
    """Return the page; `caller` is how it reaches the server as the person at it."""
    page = gr.Blocks(title="Shortlist", analytics_enabled=False, fill_width=True)
    with page:
        _markup(render.masthead())
        chips = _examples(i18n)
        with gr.Row(elem_classes="sl-desk"):
            with gr.Column(scale=5, min_width=320, elem_classes="sl-form"):
                fields, button = _form(i18n)
            with gr.Column(scale=6, min_width=320, elem_classes="sl-answer"):
                answer = _markup(render.nothing_yet(), elem_id="ranking")
        for chip, example in zip(chips, EXAMPLES, strict=True):
            _wire_example(chip, example, fields, button)
        _wire_ranking(caller, fields, button, answer)
        _wire_models(caller, page, fields)
    return page


# -- what stands where ----------------------------------------------------------------------------------------------------


def _form(i18n: gr.I18n) -> tuple[Fields, gr.Button]:
    query = gr.Textbox(label=i18n("query"), placeholder=i18n("query_hint"), elem_id="query", autofocus=True, max_lines=4)
    documents = gr.Textbox(
        label=i18n("documents"), placeholder=i18n("documents_hint"), elem_id="documents", lines=10, max_lines=18
    )
    instruction = gr.Textbox(
        label=i18n("instruction"), placeholder=i18n("instruction_hint"), elem_id="instruction", max_lines=4
    )
    with gr.Row(elem_classes="sl-options"):
        model = gr.Dropdown([], label=i18n("model"), elem_id="model", filterable=False, scale=3, min_width=140)
        top_n = gr.Textbox(
            label=i18n("top_n"), placeholder=i18n("top_n_hint"), elem_id="top_n", max_lines=1, scale=1, min_width=100
        )
    button = gr.Button(i18n("rank"), variant="primary", size="lg", elem_id="rank")
    _markup(render.label("keys"))
    return Fields(query, documents, instruction, model, top_n), button


def _examples(i18n: gr.I18n) -> list[gr.Button]:
    with gr.Row(elem_classes="sl-examples"):
        _markup(render.label("examples"))
        return [gr.Button(i18n(example.key), size="sm") for example in EXAMPLES]


def _markup(html: str, elem_id: str | None = None) -> gr.HTML:
    return gr.HTML(html, elem_id=elem_id, apply_default_css=False)


# -- which click does what ------------------------------------------------------------------------------------------------


def _wire_ranking(caller: Callable[[gr.Request], Connect], fields: Fields, button: gr.Button, answer: gr.HTML) -> None:
    async def rank(request: gr.Request, *values: object) -> str:
        return await ranking_html(caller(request), values, words_for(request.headers.get("accept-language")))

    ranked = gr.on(
        [button.click, *(field.submit for field in (fields.query, fields.documents, fields.instruction, fields.top_n))],
        rank,
        inputs=fields.inputs,
        outputs=answer,
        concurrency_limit=None,
        preprocess=False,
        show_progress="minimal",
        trigger_mode="once",
        api_visibility="private",
    )

    ranked.then(None, js=SHOW_ANSWER_JS)


def _wire_models(caller: Callable[[gr.Request], Connect], page: gr.Blocks, fields: Fields) -> None:
    async def list_models(request: gr.Request) -> gr.Dropdown:
        names = await reranker_names(caller(request))
        return gr.Dropdown(choices=names, value=names[0] if names else None)

    page.load(list_models, outputs=fields.model, concurrency_limit=None, show_progress="hidden", api_visibility="private")


def _wire_example(chip: gr.Button, example: Example, fields: Fields, button: gr.Button) -> None:
    def fill() -> tuple[str, str, str]:
        return example.query, example.lines, example.instruction

    filled = chip.click(
        fill, outputs=[fields.query, fields.documents, fields.instruction], show_progress="hidden", api_visibility="private"
    )
    filled.then(None, js=f"() => document.getElementById('{button.elem_id}').click()")
