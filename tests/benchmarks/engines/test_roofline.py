"""Tests the work of a request, and the errors of a floor that cannot be measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.engines.roofline import Floor, Work, measure, work_of
from benchmarks.loads import BenchLoad, RequestWriter
from shortlist.bench.texts import LoadRequest
from shortlist.errors import InputTooLong, UpstreamError
from shortlist.models.qwen3 import prompt
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.types import RERANK

MEASURED = {
    "flops_per_s": 2e9,
    "linear_flops_per_token": 1e6,
    "attention_flops_per_pair": 1e3,
    "note": "other fields are ignored",
}


@pytest.fixture
def encoder(tokenizer_path: Path) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=RERANK, max_model_len=1000)


def printing(text: str, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({text!r}); print('first\\nlast', file=sys.stderr); sys.exit({code})"]


def test_work_counts_the_shared_prefix_once(encoder: QwenEncoder, writer: RequestWriter) -> None:
    request = writer.request(BenchLoad("", 3, 50), "seed")
    work = work_of(encoder, request)
    body = prompt.instruction_piece(prompt.DEFAULT_INSTRUCTION) + prompt.query_piece(request.query)
    num_prefix = len(encoder.prefix_ids) + writer.num_tokens(body)
    document_tokens = [writer.num_tokens(f" {document}") + len(encoder.suffix_ids) for document in request.documents]
    assert work.num_tokens == num_prefix + sum(document_tokens)
    num_attended = list(range(1, num_prefix + 1)) + [
        num_prefix + place for length in document_tokens for place in range(1, length + 1)
    ]
    assert work.num_pairs == sum(num_attended)


def test_oversized_work_is_refused_not_truncated(encoder: QwenEncoder) -> None:
    with pytest.raises(InputTooLong):
        work_of(encoder, LoadRequest("q", ("word " * 2000,)))


def test_seconds_are_flops_divided_by_the_rate() -> None:
    floor = Floor(flops_per_s=2e9, linear_flops_per_token=1e6, attention_flops_per_pair=1e3)
    assert floor.seconds(Work(num_tokens=3000, num_pairs=1_000_000)) == pytest.approx((3e9 + 1e9) / 2e9)


def test_result_is_the_last_line() -> None:
    floor = measure(printing(f"warming up\n{json.dumps(MEASURED)}"))
    assert floor == Floor(flops_per_s=2e9, linear_flops_per_token=1e6, attention_flops_per_pair=1e3)


@pytest.mark.parametrize(
    "command",
    [
        printing("{}", code=1),
        printing("no JSON"),
        printing("[]"),
        printing('{"flops_per_s": 1}'),
        printing(json.dumps(MEASURED | {"flops_per_s": "fast"})),
        ["/no/program"],
    ],
)
def test_failed_measurement_is_a_one_line_error(command: list[str]) -> None:
    with pytest.raises(UpstreamError, match=r"^The floor was not measured: [^\n]+$"):
        measure(command)


def test_failure_reports_the_last_line_of_output() -> None:
    with pytest.raises(UpstreamError, match=r"not measured: last$"):
        measure(printing("", code=2))
