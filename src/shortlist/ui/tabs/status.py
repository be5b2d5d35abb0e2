"""The fourth tab: what the server does now, read from its own metrics while the tab is open."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from shortlist.ui.draw.markup import nothing_yet
from shortlist.ui.metrics_view import MetricsHistory
from shortlist.ui.runs import status_run
from shortlist.ui.session import SessionOf
from shortlist.ui.tabs.components import QUIET, markup

EVERY_S = 2.0


def build(session_of: SessionOf, tab: gr.Tab, others: Sequence[gr.Tab]) -> None:
    """Put the tab on the page; it asks for numbers while it is open, and not while another one is."""
    with gr.Column(elem_classes="sl-answer sl-wide"):
        answer = markup(nothing_yet("status_wait", "status_empty_hint"), elem_id="status")
    seen, clock = gr.State(MetricsHistory()), gr.Timer(EVERY_S, active=False)

    async def look(request: gr.Request, watch: MetricsHistory) -> tuple[MetricsHistory, str]:
        return await status_run(session_of(request), watch, time.monotonic())

    look_js = {"inputs": seen, "outputs": [seen, answer], **QUIET}
    clock.tick(look, trigger_mode="once", **look_js)
    tab.select(_starts, outputs=clock, **QUIET).then(look, **look_js)
    for other in others:
        other.select(_stops, outputs=clock, **QUIET)


def _starts() -> gr.Timer:
    return gr.Timer(active=True)


def _stops() -> gr.Timer:
    return gr.Timer(active=False)
