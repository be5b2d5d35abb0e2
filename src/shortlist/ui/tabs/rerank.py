"""The first tab: documents in, ranking out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr

from shortlist.ui.draw.markup import alert, file_card, file_picker, label, nothing_yet
from shortlist.ui.examples import EXAMPLES, Example
from shortlist.ui.files import FormError, read_file
from shortlist.ui.i18n import Messages
from shortlist.ui.runs import rerank_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import EVENT_OPTIONS, buttons, dropdown, example_buttons, fill_on, markup, run_on

GROUPS_FILE = "queries.jsonl"
FILE_JS = "() => shortlist.file"


@dataclass(frozen=True, slots=True)
class RerankFields:
    """The fields of the form. An opened file stays in the browser, which sends it with every click."""

    query: gr.Textbox
    documents: gr.Textbox
    card: gr.HTML
    column: gr.Dropdown
    file_name: gr.Textbox
    file_text: gr.Textbox
    preset: gr.Dropdown
    instruction: gr.Textbox
    model: gr.Dropdown
    overflow: gr.Dropdown
    top_n: gr.Textbox


def build(session_for: SessionFactory, i18n: gr.I18n) -> RerankFields:
    """Add the tab to the page."""
    examples = example_buttons(EXAMPLES, i18n)
    with gr.Row(elem_classes="sl-desk"):
        with gr.Column(scale=5, min_width=320, elem_classes="sl-form"):
            fields = _form(i18n)
            start, cancel = buttons("rank", i18n)
            markup(label("keys"))
        with gr.Column(scale=6, min_width=320, elem_classes="sl-answer"):
            answer = markup(nothing_yet("nothing_yet", "nothing_yet_hint"), elem_id="ranking")
    typed = (fields.query, fields.documents, fields.instruction, fields.top_n)
    read = ("query", "documents", "preset", "instruction", "model", "top_n", "overflow", "file_name", "file_text", "column")
    run_on(
        [start.click, *(field.submit for field in typed)],
        rerank_run,
        session_for,
        fields={name: getattr(fields, name) for name in read},
        answer=answer,
        cancel=cancel,
    )
    _wire_file(session_for, fields)
    for button, example in zip(examples, EXAMPLES, strict=True):
        _wire_example(session_for, button, example, fields, start)
    return fields


def _form(i18n: gr.I18n) -> RerankFields:
    query = gr.Textbox(label=i18n("query"), placeholder=i18n("query_hint"), elem_id="query", autofocus=True, max_lines=4)
    documents = gr.Textbox(
        label=i18n("documents"), placeholder=i18n("documents_hint"), elem_id="documents", lines=9, max_lines=12
    )
    card = markup("", elem_id="file_card")
    column = dropdown("column", i18n, "column")
    markup(file_picker())
    with gr.Row(elem_classes="sl-options"):
        preset = dropdown("preset", i18n, "preset", scale=2)
        instruction = gr.Textbox(
            label=i18n("instruction"), placeholder=i18n("instruction_hint"), elem_id="instruction", max_lines=4, scale=3
        )
    with gr.Row(elem_classes="sl-options"):
        model = dropdown("model", i18n, "model", scale=3)
        overflow = dropdown("overflow", i18n, "overflow", scale=3)
        top_n = gr.Textbox(
            label=i18n("top_n"), placeholder=i18n("top_n_hint"), elem_id="top_n", max_lines=1, scale=2, min_width=90
        )
    name, text = gr.Textbox(visible=False), gr.Textbox(visible=False)
    return RerankFields(query, documents, card, column, name, text, preset, instruction, model, overflow, top_n)


def _wire_file(session_for: SessionFactory, fields: RerankFields) -> None:
    """Read a file on selection and on a change of column; clear it on demand."""

    def show_file(request: gr.Request, name: str, text: str, num_bytes: str) -> tuple[object, ...]:
        messages = session_for(request).messages
        try:
            content = read_file(name, text, None, messages, num_bytes=int(num_bytes))
        except FormError as error:
            return "", "", gr.Dropdown(choices=[], value=None), alert(str(error))
        columns = gr.Dropdown(choices=list(content.columns), value=content.column)
        return name, text, columns, file_card(name, content, messages)

    def show_column(request: gr.Request, name: str, text: str, column: str) -> str:
        messages = session_for(request).messages
        return file_card(name, read_file(name, text, column, messages, may_be_empty=True), messages)

    read, forget = (gr.Button(elem_id=elem_id, visible="hidden") for elem_id in ("file_read", "file_forget"))
    name, text, num_bytes = fields.file_name, fields.file_text, gr.Textbox(visible=False)
    outputs = [name, text, fields.column, fields.card]
    read.click(show_file, js=FILE_JS, inputs=[name, text, num_bytes], outputs=outputs, **EVENT_OPTIONS)
    fields.column.input(show_column, inputs=[name, text, fields.column], outputs=fields.card, **EVENT_OPTIONS)
    forget.click(None, js="() => ['', '', '']", outputs=[name, text, fields.card], api_visibility="private")


def _wire_example(
    session_for: SessionFactory, button: gr.Button, example: Example, fields: RerankFields, start: gr.Button
) -> None:
    outputs = (fields.query, fields.documents, fields.instruction, fields.preset)

    def values(messages: Messages) -> Sequence[object]:
        typed = (example.query, example.lines, example.instruction, "")
        if not example.groups:
            return (*typed, "", "", "")
        card = file_card(GROUPS_FILE, read_file(GROUPS_FILE, example.file_text, None, messages), messages)
        return (*typed, GROUPS_FILE, example.file_text, card)

    fill_on(button, session_for, [*outputs, fields.file_name, fields.file_text, fields.card], values, start)
