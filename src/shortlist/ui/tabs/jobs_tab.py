"""The jobs tab: the user's jobs and batches, looked up while the tab is open. Only servers that take jobs have it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import gradio as gr

from shortlist.ui.draw.markup import nothing_yet
from shortlist.ui.runs import job_run, jobs_run
from shortlist.ui.session import SessionFactory
from shortlist.ui.tabs.components import EVENT_OPTIONS, markup, run_while_open

EVERY_S = 2.0
ACTION_JS = "() => shortlist.job"
REVEAL_JS = "() => document.getElementById('job_result').scrollIntoView({ block: 'nearest' })"


def build(session_for: SessionFactory, tab: gr.Tab, others: Sequence[gr.Tab]) -> None:
    """Add the tab to the page; it looks for jobs only while it is open."""
    with gr.Column(elem_classes="sl-answer sl-wide"):
        result = markup("", elem_id="job_result")
        answer = markup(nothing_yet("jobs_wait", "jobs_wait_hint"), elem_id="jobs")

    async def refresh(request: gr.Request) -> str:
        return await jobs_run(session_for(request), _unix_s())

    async def act(request: gr.Request, action: str, job_id: str) -> tuple[str, str]:
        session = session_for(request)
        return await job_run(session, action, job_id), await jobs_run(session, _unix_s())

    run_while_open(refresh, tab, others, every_s=EVERY_S, outputs=[answer])
    clicked, action, job_id = (
        gr.Button(elem_id="job_clicked", visible="hidden"),
        gr.Textbox(visible=False),
        gr.Textbox(visible=False),
    )
    event = clicked.click(act, js=ACTION_JS, inputs=[action, job_id], outputs=[result, answer], **EVENT_OPTIONS)
    event.then(None, js=REVEAL_JS)


def _unix_s() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)
