"""A map of cosines: a table whose cells are darker for closer texts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

from shortlist.client import Embeddings
from shortlist.ui.draw.markup import shortened, summary
from shortlist.ui.i18n import Messages

MAX_TITLE_CHARS: Final = 90
MAX_PAIR_CHARS: Final = 40

Cosines = npt.NDArray[np.float64]


def heat_html(texts: Sequence[str], embeddings: Embeddings, messages: Messages) -> str:
    """Return the cosines of every pair of texts as HTML.

    Args:
        texts: The embedded texts.
        embeddings: One vector per text.
        messages: The user's language.
    """
    cosines = cosines_of(embeddings)
    details = [
        messages.num_texts.format(total=len(texts)),
        messages.num_dimensions.format(count=len(embeddings.vectors[0])),
        messages.num_tokens.format(count=f"{embeddings.num_tokens:,}"),
    ]
    return (
        f'<section class="sl-result" lang="{messages.lang}">'
        f"{summary(embeddings.model, details, embeddings.timing_ms, messages)}"
        f'<p class="sl-verdict">{escape(_closest(texts, cosines, messages))}</p>{_table(texts, cosines, messages)}</section>'
    )


def cosines_of(embeddings: Embeddings) -> Cosines:
    """Return the cosine of every pair.

    Shapes:
        result: [texts, texts].
    """
    rows = np.asarray(embeddings.vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms > 0, norms, 1)
    return np.clip(unit @ unit.T, -1, 1)


def _closest(texts: Sequence[str], cosines: Cosines, messages: Messages) -> str:
    off_diagonal = np.where(np.eye(len(texts), dtype=bool), -np.inf, cosines)
    left, right = divmod(int(np.argmax(off_diagonal)), len(texts))
    names = [f"“{shortened(texts[index], MAX_PAIR_CHARS)}”" for index in (left, right)]
    return messages.closest.format(left=names[0], right=names[1], score=f"{cosines[left, right]:.2f}")


def _table(texts: Sequence[str], cosines: Cosines, messages: Messages) -> str:
    numbers = "".join(f'<th scope="col">{number}</th>' for number in range(1, len(texts) + 1))
    rows = "".join(_row(index, text, cosines) for index, text in enumerate(texts))
    return (
        f'<div class="sl-scroll" tabindex="0" role="region" aria-label="{escape(messages.embed_caption)}">'
        f'<table class="sl-heat"><caption class="sl-hidden">{escape(messages.embed_caption)}</caption>'
        f"<thead><tr><td></td>{numbers}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(index: int, text: str, cosines: Cosines) -> str:
    cells = "".join(_cell(float(value), is_self=index == column) for column, value in enumerate(cosines[index]))
    title = escape(shortened(text, MAX_TITLE_CHARS))
    return f'<tr><th scope="row" title="{escape(text)}"><b>{index + 1}</b><span dir="auto">{title}</span></th>{cells}</tr>'


def _cell(cosine: float, *, is_self: bool) -> str:
    kind = ' class="sl-self"' if is_self else ""
    return f'<td{kind} style="--heat:{max(0.0, cosine):.3f}">{cosine:.2f}</td>'
