"""Fusion of relevance with other signals that a caller knows: clicks, recency, stock. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.types import Ranked


def fused(score: float, prior: float, weight: float) -> float:
    """Return the weighted mean of a relevance and a prior, all in 0..1.

    Neither depends on the other documents, so a fused score does not, either.
    """
    return (1.0 - weight) * score + weight * prior


def with_priors(
    ranked: Sequence[Ranked], priors: Sequence[float], weight: float, top_n: int | None
) -> tuple[list[Ranked], list[float]]:
    """Rank scored documents again by their fused scores; ties keep the order of relevance.

    Args:
        ranked: All scored documents, best first.
        priors: One prior per document of the request, in its order.
        weight: The weight of the priors.
        top_n: How many to return; None for all.

    Returns:
        The ranking with fused scores, and the relevance of each of its documents.
    """
    order = sorted(ranked, key=lambda each: fused(each.score, priors[each.index], weight), reverse=True)[:top_n]
    return (
        [each._replace(score=fused(each.score, priors[each.index], weight)) for each in order],
        [each.score for each in order],
    )
