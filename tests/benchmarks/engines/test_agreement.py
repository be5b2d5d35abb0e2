"""Tests the comparison of scores: differences in log-odds, rank correlation, and bounded probabilities."""

from __future__ import annotations

import math
import random
import re

import pytest
from scipy.stats import kendalltau  # type: ignore[import-untyped]

from benchmarks.engines.agreement import CHINESE, LENGTHS, NEAREST, check_set, compare, kendall_tau, log_odds
from benchmarks.loads import RequestWriter


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_equal_scores_have_no_difference() -> None:
    agreement = compare([[0.1, 0.9], [0.5]], [[0.1, 0.9], [0.5]])
    assert (agreement.rms, agreement.most, agreement.kendall_tau) == (0.0, 0.0, 1.0)


def test_differences_are_in_log_odds() -> None:
    agreement = compare([[sigmoid(1.0), sigmoid(-2.0)]], [[sigmoid(1.3), sigmoid(-2.4)]])
    assert agreement.most == pytest.approx(0.4)
    assert agreement.rms == pytest.approx(math.sqrt((0.09 + 0.16) / 2))


def test_rms_is_over_documents_and_tau_over_requests() -> None:
    agreement = compare([[0.2, 0.8], [0.8, 0.2]], [[0.2, 0.8], [0.2, 0.8]])
    assert agreement.kendall_tau == 0.0
    assert agreement.rms == pytest.approx(math.sqrt((2 * log_odds(0.8)) ** 2 / 2))


@pytest.mark.parametrize("probability", [0.0, 1.0, 1e-30, 1 - 1e-16])
def test_probabilities_near_0_and_1_are_bounded(probability: float) -> None:
    assert abs(log_odds(probability)) == pytest.approx(abs(log_odds(NEAREST)))
    assert compare([[probability]], [[probability]]).rms == 0


def test_rank_correlation_is_tau_b() -> None:
    draw = random.Random(3)
    for _ in range(50):
        size = draw.randint(2, 12)
        one, other = ([draw.randint(0, 5) / 5 for _ in range(size)] for _ in range(2))
        if len(set(one)) > 1 and len(set(other)) > 1:
            assert kendall_tau(one, other) == pytest.approx(kendalltau(one, other).statistic)


def test_tau_of_rows_without_an_order() -> None:
    assert kendall_tau([0.5, 0.5], [0.1, 0.1]) == 1.0
    assert kendall_tau([0.5, 0.5], [0.1, 0.2]) == 0.0
    assert kendall_tau([0.3], [0.9]) == 1.0


def test_lengths_are_mixed_within_a_request_and_not_sorted(writer: RequestWriter) -> None:
    english = check_set(writer, 0)[: -len(CHINESE)]
    orders = [[writer.num_tokens(document) for document in request.documents] for request in english]
    assert all(sorted(order) == sorted(LENGTHS) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)
    assert any(order != sorted(order) for order in orders)


def test_check_set_has_chinese_queries_and_documents(writer: RequestWriter) -> None:
    chinese = re.compile(r"[\u4e00-\u9fff]")
    requests = check_set(writer, 0)[-len(CHINESE) :]
    assert all(chinese.search(request.query) for request in requests)
    assert all(chinese.search(document) for request in requests for document in request.documents)


def test_check_set_depends_on_the_seed(writer: RequestWriter) -> None:
    assert check_set(writer, 0) == check_set(writer, 0)
    assert check_set(writer, 0)[0] != check_set(writer, 1)[0]
