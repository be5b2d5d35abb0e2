"""The model report shows every finding in 80 columns, and never interprets text as markup."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from shortlist.doctor.model import report
from shortlist.engine.base import EngineInfo
from shortlist.engine.memory_plan import MemoryPlan
from shortlist.service.model_report import ModelReport, SamplePrompt
from shortlist.service.selftest_report import CheckResult, CheckStatus, SelfTest, SelfTestCheck
from shortlist.text.encoder import TemplateIds
from shortlist.types import EMBED, RERANK

FINDINGS = (
    CheckResult(SelfTestCheck.FINITE, RERANK, CheckStatus.PASSED, "2 of 2 values are finite numbers"),
    CheckResult(SelfTestCheck.MEANING, RERANK, CheckStatus.SKIPPED, "random_weights is set"),
)
FOUND = ModelReport(
    source="[bold]/models/one[/bold]",
    name="one",
    family="qwen3-reranker",
    why="config.json says so",
    revision="c0ffee",
    operations=(RERANK,),
    info=EngineInfo(
        fingerprint="f" * 150, operations=frozenset({RERANK}), max_model_len=512, model_limit=40_960, dtype="bfloat16"
    ),
    files_bytes=3 * 1024**2,
    memory=MemoryPlan(num_parameters=10_000_000, weights_bytes=2 * 1024**2, activations_bytes=1024**2, formula="T + L"),
    template_ids=TemplateIds(
        template_version=7, prefix_ids=tuple(range(39)), suffix_ids=(5, 6), read_text="\n\n", answer_ids=(11, 12)
    ),
    samples=(SamplePrompt(title="a query and a document", text="<|im_start|>[red]user[/red]\n<think>", num_tokens=9),),
    text_fingerprint="t" * 90,
    self_test=SelfTest(model="one", results=FINDINGS, duration_s=1.25),
)


def page(found: ModelReport, *, is_terminal: bool = False) -> str:
    output = StringIO()
    console = Console(
        file=output, width=80, force_terminal=is_terminal, color_system="standard" if is_terminal else None, highlight=False
    )
    for part in report(found):
        console.print(part)
    return output.getvalue()


def test_report_shows_everything() -> None:
    shown = page(FOUND)
    for words in (
        "[bold]/models/one[/bold]",
        "qwen3-reranker",
        "config.json says so",
        "c0ffee",
        "bfloat16",
        "512 tokens; the model's limit is 40960",
        "3 MiB",
        "2 MiB for 10 million",
        "1 MiB at most = T + L",
        "computed, not measured",
        "version 7",
        "<|im_start|>[red]user[/red]",
        "(9 tokens)",
        "0 1 2 3 4 ... 34 35 36 37 38  (39 tokens)",
        "5 6  (2 tokens)",
        "6 '\\n\\n', the last token",
        "yes = 11, no = 12",
        "2 of 2 values are finite numbers",
        "skipped",
        "one: self-test passed in 1.2 s",
    ):
        assert words in shown


def test_report_is_80_columns_wide_and_plain_in_a_pipe() -> None:
    shown = page(FOUND)
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    assert "\x1b" in page(FOUND, is_terminal=True)


def test_failure_names_its_usual_cause() -> None:
    wrong = CheckResult(SelfTestCheck.SUFFIX_KEPT, RERANK, CheckStatus.FAILED, "it does not end in the suffix")
    shown = page(replace(FOUND, self_test=replace(FOUND.self_test, results=(*FINDINGS, wrong))))
    assert "one failed its self-test (suffix kept)" in shown
    assert "tokenizer is not the model's own" in " ".join(shown.split())


@pytest.mark.parametrize("limit", [None, 256])
def test_library_model_report_omits_template_ids(limit: int | None) -> None:
    info = replace(FOUND.info, model_limit=limit, dimensions=384, operations=frozenset({EMBED}))
    assert FOUND.memory is not None
    memory = replace(FOUND.memory, activations_bytes=None, formula="its library decides")
    shown = page(replace(FOUND, info=info, operations=(EMBED,), memory=memory, template_ids=None, revision=None))
    assert "its library decides" in shown
    assert "384" in shown
    assert "Ids" not in shown
    assert ("states no limit" in shown) is (limit is None)


def test_vllm_memory_is_not_computed() -> None:
    shown = page(replace(FOUND, memory=None))
    assert "managed by vLLM" in shown
    assert "million" not in shown


def test_embedder_has_no_prefix_and_no_answers() -> None:
    assert FOUND.template_ids is not None
    shown = page(replace(FOUND, template_ids=replace(FOUND.template_ids, prefix_ids=(), suffix_ids=(151643,), answer_ids=None)))
    assert "none" in shown
    assert "151643  (1 token)" in shown
    assert "yes =" not in shown
