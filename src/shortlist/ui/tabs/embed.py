"""The third tab: similarity of texts by an embedding model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from shortlist.ui.draw.markup import nothing_yet
from shortlist.ui.examples import TEXTS, Example
from shortlist.ui.i18n import Messages
from shortlist.ui.runs import embed_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import buttons, dropdown, example_buttons, fill_on, markup, run_on


@dataclass(frozen=True, slots=True)
class EmbedFields:
    """The choices of the tab."""

    model: gr.Dropdown
    read_as: gr.Dropdown


def build(session_for: SessionFactory, i18n: gr.I18n) -> EmbedFields:
    """Add the tab to the page."""
    examples = example_buttons(TEXTS, i18n)
    with gr.Row(elem_classes="sl-desk"):
        with gr.Column(scale=4, min_width=320, elem_classes="sl-form"):
            texts = gr.Textbox(label=i18n("texts"), placeholder=i18n("texts_hint"), elem_id="texts", lines=9, max_lines=18)
            with gr.Row(elem_classes="sl-options"):
                fields = EmbedFields(
                    dropdown("model", i18n, "embedder", scale=3), dropdown("read_as", i18n, "read_as", scale=2)
                )
            start, cancel = buttons("embed", i18n)
        with gr.Column(scale=7, min_width=320, elem_classes="sl-answer"):
            answer = markup(nothing_yet("embed_empty", "embed_empty_hint"), elem_id="map")
    run_on(
        [start.click, texts.submit],
        embed_run,
        session_for,
        fields={"texts": texts, "model": fields.model, "read_as": fields.read_as},
        answer=answer,
        cancel=cancel,
    )
    for button, example in zip(examples, TEXTS, strict=True):
        fill_on(button, session_for, [texts], _values(example), start)
    return fields


def _values(example: Example) -> Callable[[Messages], Sequence[object]]:
    def values(_: Messages) -> Sequence[object]:
        return (example.lines,)

    return values
