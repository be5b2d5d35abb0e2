"""The fourth tab: the server's current metrics, sampled while the tab is open."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from shortlist.ui.draw.markup import nothing_yet
from shortlist.ui.metrics_view import MetricsHistory
from shortlist.ui.runs import status_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import markup, run_while_open

EVERY_S = 2.0


def build(session_for: SessionFactory, tab: gr.Tab, others: Sequence[gr.Tab]) -> None:
    """Add the tab to the page; it samples the metrics only while it is open."""
    with gr.Column(elem_classes="sl-answer sl-wide"):
        answer = markup(nothing_yet("status_wait", "status_empty_hint"), elem_id="status")
    history = gr.State(MetricsHistory())

    async def refresh(request: gr.Request, history: MetricsHistory) -> tuple[MetricsHistory, str]:
        return await status_run(session_for(request), history, time.monotonic())

    run_while_open(refresh, tab, others, every_s=EVERY_S, inputs=[history], outputs=[history, answer])
