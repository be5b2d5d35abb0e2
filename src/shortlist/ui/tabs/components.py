"""Components that the tabs share: markup, example buttons, and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import gradio as gr
from gradio.components import Component

from shortlist.ui.draw.markup import label
from shortlist.ui.examples import Example
from shortlist.ui.i18n import Messages
from shortlist.ui.session import Session, SessionOf

Run = Callable[[Session, Mapping[str, object]], AsyncIterator[str]]
"""What a click does: from a form's values, by name, to a stream of HTML."""

STOP_JS: Final = "(html) => shortlist.stopped(html)"
QUIET: Final[Mapping[str, Any]] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}


def markup(html: str, elem_id: str | None = None) -> gr.HTML:
    """Put HTML on the page as it is."""
    return gr.HTML(html, elem_id=elem_id, apply_default_css=False)


def example_buttons(examples: Sequence[Example], i18n: gr.I18n) -> list[gr.Button]:
    """Put a row of examples on the page."""
    with gr.Row(elem_classes="sl-examples"):
        markup(label("examples"))
        return [gr.Button(i18n(example.key), size="sm") for example in examples]


def buttons(name: str, i18n: gr.I18n) -> tuple[gr.Button, gr.Button]:
    """Put a button that starts a run on the page, and beside it one that cancels it, seen while there is one."""
    with gr.Row(elem_classes="sl-buttons"):
        start = gr.Button(i18n(name), variant="primary", size="lg", elem_id=name)
        cancel = gr.Button(i18n("cancel"), size="lg", elem_id=f"{name}_cancel", elem_classes="sl-cancel")
    return start, cancel


def run_on(
    triggers: Sequence[Any],
    run: Run,
    session_of: SessionOf,
    *,
    fields: Mapping[str, Component],
    answer: gr.HTML,
    cancel: gr.Button,
) -> None:
    """Let triggers start a run that fills `answer`, and a button cancel it."""

    async def started(request: gr.Request, *values: object) -> AsyncIterator[str]:
        async for html in run(session_of(request), dict(zip(fields, values, strict=True))):
            yield html

    event = gr.on(
        triggers, started, inputs=list(fields.values()), outputs=answer, preprocess=False, trigger_mode="once", **QUIET
    )
    event.then(None, js=f"() => shortlist.show('{answer.elem_id}')")
    cancel.click(None, js=STOP_JS, inputs=answer, outputs=answer, cancels=event, api_visibility="private")


def fill_on(
    chip: gr.Button,
    session_of: SessionOf,
    outputs: Sequence[Component],
    values: Callable[[Messages], Sequence[object]],
    start: gr.Button,
) -> None:
    """Let an example fill a form and start it."""

    def fill(request: gr.Request) -> dict[Component, object]:
        return dict(zip(outputs, values(session_of(request).messages), strict=True))

    filled = chip.click(fill, outputs=list(outputs), **QUIET)
    filled.then(None, js=f"() => document.getElementById('{start.elem_id}').click()")


def dropdown(name: str, i18n: gr.I18n, elem_id: str, *, scale: int = 1) -> gr.Dropdown:
    """Put a choice on the page; what there is to choose from comes with the reader, in their language."""
    return gr.Dropdown([], label=i18n(name), elem_id=elem_id, filterable=False, scale=scale, min_width=140)
