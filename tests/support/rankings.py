"""Rankings as the page gets them, made of a few words."""

from __future__ import annotations

from shortlist.ui.answers import PageRanking, Passage, RankedDocument
from shortlist.ui.form import Question


def document(index: int, score: float, text: str, **rest: object) -> RankedDocument:
    return RankedDocument(index=index, score=score, text=text, **rest)  # type: ignore[arg-type]


def ranking(*results: RankedDocument, num_documents: int | None = None, query: str = "q", **rest: object) -> PageRanking:
    """A ranking of `num_documents`, of which as many as there are results are in it."""
    total = len(results) if num_documents is None else num_documents
    texts = {result.index: result.text for result in results}
    question = Question(query=query, documents=tuple(texts.get(index, f"document {index}") for index in range(total)))
    return PageRanking(**{"question": question, "model": "m", "results": results, **rest})  # type: ignore[arg-type]


def passage(start: int, end: int, num_passages: int = 2) -> Passage:
    return Passage(start, end, num_passages)
