"""The page's forms as a browser sends them."""

from __future__ import annotations

from typing import Any

RERANK = {
    "query": "q", "documents": "a\nb", "preset": "", "instruction": "", "model": None, "top_n": "", "overflow": "truncate",
    "file_name": "", "file_text": "", "column": None,
}  # fmt: skip


def typed(**values: Any) -> dict[str, Any]:
    """The first tab's, with these things filled in otherwise."""
    assert values.keys() <= RERANK.keys()
    return {**RERANK, **values}


def compared(**values: Any) -> dict[str, Any]:
    """The second tab's."""
    empty = {f"{name}_{side}": "" for side in "ab" for name in ("query", "model", "preset", "instruction")}
    assert values.keys() <= empty.keys() | {"documents"}
    return {"documents": "a\nb", **empty, **values}
