"""The second tab: the same documents ranked twice, and the moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from shortlist.ui.draw.markup import heading, nothing_yet
from shortlist.ui.examples import COMPARISONS, Example
from shortlist.ui.i18n import Messages
from shortlist.ui.runs import compare_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import buttons, dropdown, example_buttons, fill_on, markup, run_on


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two requests."""

    query: gr.Textbox
    model: gr.Dropdown
    preset: gr.Dropdown
    instruction: gr.Textbox


def build(session_for: SessionFactory, i18n: gr.I18n) -> tuple[Side, Side]:
    """Add the tab to the page."""
    examples = example_buttons(COMPARISONS, i18n)
    with gr.Column(elem_classes="sl-form sl-wide"):
        with gr.Row(elem_classes="sl-sides"):
            left, right = _side("a", "query_hint", i18n), _side("b", "query_b_hint", i18n)
        documents = gr.Textbox(
            label=i18n("documents"), placeholder=i18n("documents_hint"), elem_id="compared", lines=5, max_lines=8
        )
        start, cancel = buttons("compare", i18n)
    with gr.Column(elem_classes="sl-answer sl-wide"):
        answer = markup(nothing_yet("compare_empty", "compare_empty_hint"), elem_id="comparison")
    names = ("query", "model", "preset", "instruction")
    sides = {f"{name}_{which}": getattr(side, name) for which, side in (("a", left), ("b", right)) for name in names}
    typed = (documents, left.query, left.instruction, right.query, right.instruction)
    run_on(
        [start.click, *(field.submit for field in typed)],
        compare_run,
        session_for,
        fields={"documents": documents, **sides},
        answer=answer,
        cancel=cancel,
    )
    filled = [documents, left.query, right.query, left.instruction, right.instruction, left.preset, right.preset]
    for button, example in zip(examples, COMPARISONS, strict=True):
        fill_on(button, session_for, filled, _values(example), start)
    return left, right


def _values(example: Example) -> Callable[[Messages], Sequence[object]]:
    def values(_: Messages) -> Sequence[object]:
        return example.lines, example.query, example.other_query, "", "", "", ""

    return values


def _side(which: str, hint: str, i18n: gr.I18n) -> Side:
    with gr.Column(min_width=280, elem_classes="sl-side"):
        markup(heading(f"side_{which}"))
        query = gr.Textbox(label=i18n("query"), placeholder=i18n(hint), elem_id=f"query_{which}", max_lines=3)
        with gr.Row(elem_classes="sl-options"):
            model = dropdown("model", i18n, f"model_{which}", scale=3)
            preset = dropdown("preset", i18n, f"preset_{which}", scale=4)
            instruction = gr.Textbox(
                label=i18n("instruction"),
                placeholder=i18n("instruction_hint"),
                elem_id=f"instruction_{which}",
                max_lines=4,
                scale=4,
            )
    return Side(query, model, preset, instruction)
