"""The checks of client results accept right results and reject wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.calls.telling import DOCUMENTS, Row
from tests.clients.verdict import Truth, verdict

TRUTH = Truth({None: [[1.0, 0.0], [0.0, 1.0]], 1: [[1.0], [0.0]]})
RANKED = [[1, 0.9, DOCUMENTS[1]], [2, 0.4, DOCUMENTS[2]], [0, 0.1, DOCUMENTS[0]]]


def row(kind: str, **fields: Any) -> Row:
    return Row("client", "1.0", "call", kind, **fields)


def ranking(*items: object, expected: int = 3, kind: str = "ranking") -> Row:
    return row(kind, got=list(items), expected=expected)


def by_text(*items: tuple[int, float]) -> list[list[object]]:
    return [[None, score, DOCUMENTS[index]] for index, score in items]


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (ranking(*RANKED), "3 ranked"),
        (ranking(*RANKED[:2], expected=2), "2 ranked"),
        (ranking(*([index, score, None] for index, score, _ in RANKED)), "3 ranked"),
        (ranking(*by_text((1, 0.9), (0, 0.4), (2, 0.4))), "3 ranked"),
        (ranking([1, 7.0, None], [0, 0.1, None], [2, -3.0, None], kind="logits"), "3 ranked"),
        (row("scores", got=[0.1, 0.9, -0.2]), "3 scores"),
        (row("vectors", got=[[1.0, 0.000001], [0.0, 1.0]]), "2 x 2"),
        (row("vectors", got=[[1.0, 0.0]]), "1 x 2"),
        (row("vectors", got=[[1.0], [0.0]], expected=1), "2 x 1"),
        (row("value", got=[404, "Model.NotExist"], expected=[404, "Model.NotExist"]), "404, Model.NotExist"),
        (
            row("refused", raised=["a.NotFoundError", "a.ApiError", "builtins.Exception"], expected=["ApiError", ""]),
            "`NotFoundError`",
        ),
        (row("refused", raised=["builtins.Exception"], message="404 not", expected=["Exception", "404"]), "`Exception`"),
    ],
)
def test_expected_result_has_its_table_text(result: Row, shown: str) -> None:
    found = verdict(result, TRUTH)
    assert (found.shown, found.wrong) == (shown, "")


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (ranking(*RANKED[:2]), "2 results instead of 3"),
        (ranking(*RANKED, expected=2), "3 results instead of 2"),
        (ranking(), "0 results instead of 3"),
        (ranking(RANKED[1], RANKED[0], RANKED[2]), "document 2 comes first"),
        (ranking(RANKED[0], [2, 0.1, None], [0, 0.4, None]), "do not descend"),
        (ranking([1, 1.1, None], *RANKED[1:]), "out of bounds"),
        (ranking(*RANKED[:2], [0, -0.1, None]), "out of bounds"),
        (ranking(*([index, 0.5, None] for index in (1, 2, 0))), "do not differ"),
        (ranking(RANKED[0], RANKED[0], RANKED[2]), "not the documents"),
        (ranking(RANKED[0], RANKED[1], [0, 0.1, DOCUMENTS[2]]), "not the documents"),
        (ranking(RANKED[0], RANKED[1], [0, 0.1, "another text"]), "not the documents"),
        (ranking(RANKED[0], RANKED[1], [None, 0.1, None]), "not the documents"),
        (ranking(RANKED[0], RANKED[1], [3, 0.1, None]), "not the documents"),
        (ranking([1, float("nan"), None], *RANKED[1:]), "out of bounds"),
        (row("scores", got=[0.1, 0.9]), "2 scores instead of 3"),
        (row("scores", got=[0.9, 0.1, 0.1]), "not in the order"),
        (row("vectors", got=[]), "shapes"),
        (row("vectors", got=[[1.0], [0.0]]), "shapes"),
        (row("vectors", got=[[0.0, 1.0], [1.0, 0.0]]), "differ from the expected"),
        (row("vectors", got=[[1.0, float("nan")], [0.0, 1.0]]), "differ from the expected"),
        (row("value", got=[404, None], expected=[404, "Model.NotExist"]), "instead of"),
        (
            row("ranking", raised=["builtins.KeyError", "builtins.Exception"], message="'results'", expected=3),
            "it raised builtins.KeyError",
        ),
        (row("refused", got="fine", expected=["NotFoundError", ""]), "nothing was raised"),
        (
            row("refused", raised=["a.BadRequestError", "a.ApiError"], expected=["NotFoundError", ""]),
            "instead of NotFoundError",
        ),
        (
            row("refused", raised=["builtins.KeyError", "builtins.Exception"], expected=["Exception", ""]),
            "instead of Exception",
        ),
        (row("refused", raised=["a.NotFoundError"], message="500", expected=["NotFoundError", "404"]), "'404' is not in"),
    ],
)
def test_unexpected_result_is_found(result: Row, why: str) -> None:
    assert why in verdict(result, TRUTH).wrong
