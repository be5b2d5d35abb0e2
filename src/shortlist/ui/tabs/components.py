"""Components that the tabs share: markup, example buttons, and events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import gradio as gr
from gradio.components import Component

from shortlist.ui.draw.markup import label
from shortlist.ui.examples import Example
from shortlist.ui.i18n import Messages
from shortlist.ui.session import Session, SessionFactory

Run = Callable[[Session, Mapping[str, object]], AsyncIterator[str]]
"""Handler of a click: form values by name to a stream of HTML."""

STOP_JS: Final = "(html) => shortlist.stopped(html)"
EVENT_OPTIONS: Final[Mapping[str, Any]] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}


def markup(html: str, elem_id: str | None = None) -> gr.HTML:
    """Add HTML to the page, unchanged."""
    return gr.HTML(html, elem_id=elem_id, apply_default_css=False)


def example_buttons(examples: Sequence[Example], i18n: gr.I18n) -> list[gr.Button]:
    """Add a row of example buttons."""
    with gr.Row(elem_classes="sl-examples"):
        markup(label("examples"))
        return [gr.Button(i18n(example.key), size="sm") for example in examples]


def buttons(name: str, i18n: gr.I18n) -> tuple[gr.Button, gr.Button]:
    """Add a start button and a cancel button, which is visible during a run."""
    with gr.Row(elem_classes="sl-buttons"):
        start = gr.Button(i18n(name), variant="primary", size="lg", elem_id=name)
        cancel = gr.Button(i18n("cancel"), size="lg", elem_id=f"{name}_cancel", elem_classes="sl-cancel")
    return start, cancel


def run_on(
    triggers: Sequence[Any],
    run: Run,
    session_for: SessionFactory,
    *,
    fields: Mapping[str, Component],
    answer: gr.HTML,
    cancel: gr.Button,
) -> None:
    """Bind a run to its triggers and its cancel button; the run fills `answer`."""

    async def stream(request: gr.Request, *values: object) -> AsyncIterator[str]:
        async for html in run(session_for(request), dict(zip(fields, values, strict=True))):
            yield html

    event = gr.on(
        triggers, stream, inputs=list(fields.values()), outputs=answer, preprocess=False, trigger_mode="once", **EVENT_OPTIONS
    )
    event.then(None, js=f"() => shortlist.show('{answer.elem_id}')")
    cancel.click(None, js=STOP_JS, inputs=answer, outputs=answer, cancels=event, api_visibility="private")


def fill_on(
    button: gr.Button,
    session_for: SessionFactory,
    outputs: Sequence[Component],
    values: Callable[[Messages], Sequence[object]],
    start: gr.Button,
) -> None:
    """Bind an example button: a click fills the form and starts the run."""

    def fill(request: gr.Request) -> dict[Component, object]:
        return dict(zip(outputs, values(session_for(request).messages), strict=True))

    filled = button.click(fill, outputs=list(outputs), **EVENT_OPTIONS)
    filled.then(None, js=f"() => document.getElementById('{start.elem_id}').click()")


def run_while_open(
    refresh: Callable[..., Any],
    tab: gr.Tab,
    others: Sequence[gr.Tab],
    *,
    every_s: float,
    inputs: Sequence[Component] = (),
    outputs: Sequence[Component],
) -> None:
    """Call `refresh` when a tab is opened, and then every so many seconds until another one is."""
    clock = gr.Timer(every_s, active=False)
    event = {"inputs": list(inputs), "outputs": list(outputs), **EVENT_OPTIONS}
    clock.tick(refresh, trigger_mode="once", **event)
    tab.select(lambda: gr.Timer(active=True), outputs=clock, **EVENT_OPTIONS).then(refresh, **event)
    for other in others:
        other.select(lambda: gr.Timer(active=False), outputs=clock, **EVENT_OPTIONS)


def dropdown(name: str, i18n: gr.I18n, elem_id: str, *, scale: int = 1) -> gr.Dropdown:
    """Add a dropdown; its choices are filled when the page loads, in the user's language."""
    return gr.Dropdown([], label=i18n(name), elem_id=elem_id, filterable=False, scale=scale, min_width=140)
