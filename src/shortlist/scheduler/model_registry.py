"""Finds a served model by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shortlist.config import UnknownModels
from shortlist.errors import BadSetting, UnknownModel, WrongModel
from shortlist.scheduler.served_model import ServedModel
from shortlist.types import Operation, basename

ANY_MODEL: Final = frozenset({"default", "default/not-specified"})
"""Names that clients send when the user named no model. Source: infinity-client's default; LocalAI's and others' settings."""

RAGFLOW_MARK: Final = "___"
"""Separates the model name from the provider in RAGFlow's names. Source: its rag/llm."""


OLLAMA_TAG: Final = ":latest"
"""Ollama adds it to names without a tag, and its clients send it back."""


@dataclass(slots=True)
class ModelRegistry:
    """Finds the served model for a name.

    Lookup order: the configured name; the last part, case-insensitively (`bge-reranker-v2-m3`); the same without RAGFlow's
    provider suffix, or Ollama's tag for the newest version. A request without a name (or with a placeholder name) gets the
    first model for its task, as does an unknown name if `unknown_model` is "default".
    """

    served_models: Sequence[ServedModel]
    unknown_model: UnknownModels = "error"
    _by_name: dict[str, ServedModel] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {}
        for served in self.served_models:
            for name in (served.name, *served.card.aliases):
                self._add(name, served)
        for served in self.served_models:
            self._by_name.setdefault(basename(served.name), served)

    def find(self, name: str | None, operation: Operation | None = None) -> ServedModel:
        """Return the served model for this name and operation; `operation` is None for what every model can do.

        Raises:
            UnknownModel: no model of this name is served, or none can do this operation.
            WrongModel: the model of this name cannot do this operation.
        """
        served = self._named(name) if name else None
        if served is None:
            return self._default(operation)
        if operation is not None and operation not in served.card.operations:
            raise WrongModel(f"The model {served.name} does not {operation}; {self._able(operation)}.", param="model")
        return served

    def _named(self, name: str) -> ServedModel | None:
        """Return the model for a name, or None for the default model."""
        served = self._by_name.get(name) or self._by_name.get(basename(name))
        served = served or self._by_name.get(basename(name.partition(RAGFLOW_MARK)[0]))
        served = served or self._by_name.get(basename(name.removesuffix(OLLAMA_TAG)))
        if served is None and self.unknown_model == "error" and name.lower() not in ANY_MODEL:
            raise UnknownModel(f"No such model is served. Served here: {self._names()}.", param="model")
        return served

    def _default(self, operation: Operation | None) -> ServedModel:
        for served in self.served_models:
            if operation is None or operation in served.card.operations:
                return served
        wanted = f"No model here can {operation}" if operation else "No model is served"
        raise UnknownModel(f"{wanted}. Served here: {self._names()}.", param="model")

    def _add(self, name: str, served: ServedModel) -> None:
        if self._by_name.setdefault(name, served) is not served:
            raise one_name_for_two(name)

    def _names(self) -> str:
        return ", ".join(served.name for served in self.served_models) or "nothing"

    def _able(self, operation: Operation) -> str:
        able = [served.name for served in self.served_models if operation in served.card.operations]
        return f"served for that: {', '.join(able)}" if able else "no model here does"


def one_name_for_two(name: str) -> BadSetting:
    """Return the error for two models with the same name."""
    return BadSetting(f"Two models would be served under the name {name!r}; rename a folder, or drop an alias.")
