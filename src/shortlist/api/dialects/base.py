"""What a dialect is: the shape of a request, which knows how to become a task and how to answer in kind.

Adding one is a file with such a class, one line in `table`, and its fixtures.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from shortlist.api.dialects.fields import Json
from shortlist.types import EmbedOutcome, EmbedTask, RerankOutcome, RerankTask


class RerankDialect(Protocol):
    """One rerank request, as one kind of client spells it."""

    items_field: ClassVar[str]
    """What this dialect calls its documents, for error messages."""

    def task(self) -> RerankTask:
        """Return what is asked for."""
        ...

    def answer(self, outcome: RerankOutcome, *, request_id: str) -> Json:
        """Return the body that this client expects."""
        ...


class EmbedDialect(Protocol):
    """One embedding request, as one kind of client spells it."""

    items_field: ClassVar[str]
    """What this dialect calls its texts, for error messages."""

    def task(self) -> EmbedTask:
        """Return what is asked for."""
        ...

    def answer(self, outcome: EmbedOutcome, *, request_id: str) -> Json:
        """Return the body that this client expects."""
        ...
