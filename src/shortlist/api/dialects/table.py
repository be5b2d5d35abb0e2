"""The table of dialects, which detects the dialect of a request.

To add one: write its module, put it in `DIALECTS`, add fixtures. Order matters on shared paths: the first request model that
matches takes the request.
"""

from __future__ import annotations

from typing import Final

from shortlist.api.dialects import (
    cohere,
    common,
    dashscope,
    infinity,
    isaacus,
    mixedbread,
    nvidia,
    ollama,
    openai,
    pinecone,
    qanything,
    sglang,
    tei,
    vllm,
    voyage,
    weaviate,
)
from shortlist.api.dialects.dialect import AnyRequestModel, Dialect, RequestView
from shortlist.errors import InvalidInput, NotFound

DIALECTS: Final = (
    isaacus.DIALECT,
    dashscope.DIALECT,
    tei.DIALECT,
    nvidia.DIALECT,
    qanything.DIALECT,
    mixedbread.DIALECT,
    weaviate.DIALECT,
    pinecone.DIALECT,
    voyage.DIALECT,
    infinity.DIALECT,
    ollama.DIALECT,
    sglang.DIALECT,
    openai.DIALECT,
    cohere.DIALECT,
    vllm.DIALECT,
    common.DIALECT,
)

COMMON_ALIASES: Final = frozenset({"jina", "xinference", "siliconflow", "llamacpp", "localai", "gpustack", "litellm"})
"""Further names for the common dialect."""

NAMES: Final = set(COMMON_ALIASES)
"""All names that a request can select a dialect by."""

DOCUMENT_FIELDS: Final = ("documents", "texts", "passages", "input")
"""Names of the documents field in rerank dialects."""

Entry = tuple[Dialect, type[AnyRequestModel]]

ENTRIES: Final[dict[str, tuple[Entry, ...]]] = {}
"""Request models by path, in order of matching."""


def register(dialect: Dialect) -> None:
    """Add a dialect. On shared paths, its request models match after those of earlier dialects."""
    NAMES.add(dialect.name)
    for request_model in dialect.request_models:
        for path in request_model.paths:
            ENTRIES[path] = (*ENTRIES.get(path, ()), (dialect, request_model))


for _dialect in DIALECTS:
    register(_dialect)


def of_path(route: str, explicit_dialect: str | None) -> tuple[Entry, ...]:
    """Return the request models of a path: all of them, or those of the explicit dialect.

    Where it has none, it is the last one, with the errors of the explicit dialect.

    Raises:
        NotFound: the explicit dialect does not exist.
    """
    if explicit_dialect is not None and explicit_dialect not in NAMES:
        raise NotFound(f"There is no such dialect; known are {', '.join(sorted(NAMES))}.")
    if explicit_dialect is None:
        return ENTRIES[route]
    own = tuple(entry for entry in ENTRIES[route] if entry[0].name == explicit_dialect)
    return own or (_with_errors_of(explicit_dialect, *ENTRIES[route][-1]),)


def _with_errors_of(name: str, dialect: Dialect, request_model: type[AnyRequestModel]) -> Entry:
    named = (each for entries in ENTRIES.values() for each, _ in entries if each.name == name)
    return next(named, dialect), request_model


def only_dialect_of(path: str, explicit_dialect: str | None) -> Dialect | None:
    """Return the only dialect of a path, for errors before the body is read; None if there are several.

    Raises:
        NotFound: the explicit dialect does not exist.
    """
    known = {entry[0].name: entry[0] for entry in (of_path(path, explicit_dialect) if path in ENTRIES else ())}
    return next(iter(known.values())) if len(known) == 1 else None


def find(route: str, view: RequestView, explicit_dialect: str | None = None) -> Entry:
    """Return the dialect and the request model of a request.

    Args:
        route: Path as in `ENTRIES`.
        view: The request.
        explicit_dialect: The dialect named in path or header.

    Raises:
        InvalidInput: no request model matches, or two do.
        NotFound: the explicit dialect does not exist.
    """
    entries = of_path(route, explicit_dialect)
    if len(entries) == 1:
        return entries[0]
    request_models = [name for name in DOCUMENT_FIELDS if name in view.body]
    if "query" in view.body and len(request_models) > 1:
        raise InvalidInput(
            f"{request_models[1]} and {request_models[0]} are of different dialects; send one of them.", param=request_models[1]
        )
    for entry in entries:
        if entry[1].matches(view):
            return entry
    raise InvalidInput(_unknown(entries), param=entries[-1][1].items_field)


def _unknown(entries: tuple[Entry, ...]) -> str:
    last = entries[-1][1].items_field
    others = sorted({request_model.items_field for _, request_model in entries} - {last})
    return f"{last} is required; other dialects' {', '.join(others)} are understood here, too."
