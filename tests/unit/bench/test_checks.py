"""The check set has what sets implementations apart: short beside long, and Chinese."""

from __future__ import annotations

import re

from shortlist.bench.checks import CHINESE, LENGTHS, check_set
from shortlist.bench.loads import Writer


def test_lengths_are_mixed_within_a_request_and_not_sorted(writer: Writer) -> None:
    english = check_set(writer, 0)[: -len(CHINESE)]
    orders = [[writer.num_tokens(document) for document in request.documents] for request in english]
    assert all(sorted(order) == sorted(LENGTHS) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    assert any(order != sorted(order) for order in orders)


def test_there_is_chinese_in_queries_and_documents(writer: Writer) -> None:
    chinese = re.compile(r"[\u4e00-\u9fff]")
    requests = check_set(writer, 0)[-len(CHINESE) :]
    assert all(chinese.search(request.query) for request in requests)
    assert all(chinese.search(document) for request in requests for document in request.documents)


def test_seed_decides(writer: Writer) -> None:
    assert check_set(writer, 0) == check_set(writer, 0)
    assert check_set(writer, 0)[0] != check_set(writer, 1)[0]
