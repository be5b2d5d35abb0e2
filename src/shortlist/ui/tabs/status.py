"""The fourth tab: the server's current metrics, sampled while the tab is open."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from shortlist.ui.draw.markup import nothing_yet
from shortlist.ui.metrics_view import MetricsHistory
from shortlist.ui.runs import status_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import EVENT_OPTIONS, markup

EVERY_S = 2.0


def build(session_for: SessionFactory, tab: gr.Tab, others: Sequence[gr.Tab]) -> None:
    """Add the tab to the page; it samples the metrics only while it is open."""
    with gr.Column(elem_classes="sl-answer sl-wide"):
        answer = markup(nothing_yet("status_wait", "status_empty_hint"), elem_id="status")
    history, clock = gr.State(MetricsHistory()), gr.Timer(EVERY_S, active=False)

    async def refresh(request: gr.Request, history: MetricsHistory) -> tuple[MetricsHistory, str]:
        return await status_run(session_for(request), history, time.monotonic())

    refresh_event = {"inputs": history, "outputs": [history, answer], **EVENT_OPTIONS}
    clock.tick(refresh, trigger_mode="once", **refresh_event)
    tab.select(_start_timer, outputs=clock, **EVENT_OPTIONS).then(refresh, **refresh_event)
    for other in others:
        other.select(_stop_timer, outputs=clock, **EVENT_OPTIONS)


def _start_timer() -> gr.Timer:
    return gr.Timer(active=True)


def _stop_timer() -> gr.Timer:
    return gr.Timer(active=False)
