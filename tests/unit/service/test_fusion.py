"""Relevance and priors are fused into one score, which orders the documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.service.fusion import fused, with_priors
from shortlist.types import Ranked

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("score", "prior", "weight", "expected"),
    [(0.8, 0.2, 0.0, 0.8), (0.8, 0.2, 1.0, 0.2), (0.8, 0.2, 0.5, 0.5), (0.0, 1.0, 0.3, 0.3)],
)
def test_fused_score_is_the_weighted_mean(score: float, prior: float, weight: float, expected: float) -> None:
    assert fused(score, prior, weight) == pytest.approx(expected)


@given(SHARES, SHARES, SHARES)
def test_fused_score_stays_between_both(score: float, prior: float, weight: float) -> None:
    assert min(score, prior) - 1e-12 <= fused(score, prior, weight) <= max(score, prior) + 1e-12


def test_documents_are_ranked_by_the_fused_score_before_the_best_are_taken() -> None:
    ranked = [Ranked(0, 0.9, 2.2), Ranked(2, 0.8, 1.4), Ranked(1, 0.1, -2.2)]
    results, scores = with_priors(ranked, [0.0, 1.0, 0.5], 0.5, 2)
    assert [each.index for each in results] == [2, 1]
    assert [each.score for each in results] == pytest.approx([0.65, 0.55])
    assert scores == [0.8, 0.1]


def test_ties_keep_the_order_of_relevance() -> None:
    ranked = [Ranked(0, 0.5, 0.0), Ranked(1, 0.5, 0.0), Ranked(2, 0.5, 0.0)]
    assert [each.index for each in with_priors(ranked, [0.2, 0.2, 0.2], 0.3, None)[0]] == [0, 1, 2]
