"""The map of cosines: correct values, darker for closer texts, accessible."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.client import Embeddings
from shortlist.ui.draw.heat import cosines_of, heat_html
from shortlist.ui.i18n import CHINESE, ENGLISH
from tests.support.seen import HOSTILE, Seen, assert_only_text


def embeddings(*vectors: tuple[float, ...]) -> Embeddings:
    return Embeddings(model="m", vectors=[np.array(vector, dtype=np.float32) for vector in vectors], num_tokens=1234)


SQUARE = embeddings((1, 0), (0, 2), (3, 3), (-1, 0))


def test_cosines_do_not_depend_on_vector_lengths() -> None:
    half = 2**-0.5
    expected = [[1, 0, half, -1], [0, 1, half, 0], [half, half, 1, -half], [-1, 0, -half, 1]]
    assert cosines_of(SQUARE) == pytest.approx(np.array(expected), abs=1e-6)


def test_zero_vector_has_cosine_zero() -> None:
    assert cosines_of(embeddings((0, 0), (1, 0))) == pytest.approx(np.array([[0, 0], [0, 1]]))


def test_every_pair_is_a_cell_with_its_cosine_and_its_shade() -> None:
    html = heat_html(["a", "b", "c", "d"], SQUARE, ENGLISH)
    assert '<td style="--heat:0.707">0.71</td>' in html
    assert '<td style="--heat:0.000">-1.00</td>' in html
    assert html.count('class="sl-self"') == 4
    seen = Seen(html)
    assert seen.tags.count("th") == 4 + 4
    assert seen.values("scope") == ["col"] * 4 + ["row"] * 4
    assert seen.open == []


def test_summary_names_the_closest_pair() -> None:
    html = heat_html(["first", "second", "third", "fourth"], SQUARE, ENGLISH)
    assert "Closest pair: “first” and “third”, 0.71" in html
    assert "4 texts" in html
    assert "2 dimensions" in html
    assert "1,234 tokens" in html
    assert "最接近的一对" in heat_html(["a", "b", "c", "d"], SQUARE, CHINESE)


def test_texts_are_escaped() -> None:
    assert_only_text(heat_html([HOSTILE, "b"], embeddings((1, 0), (0, 1)), ENGLISH))
