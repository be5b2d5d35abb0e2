"""A model's own prompts: what its folder puts before the texts that it embeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shortlist.errors import InvalidInput
from shortlist.types import InputType

DOCUMENT_NAMES: Final = ("document", "passage", "corpus")
"""The names of prompts for documents, in order. Source: `SentenceTransformer.encode_document`."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of an embedding model.

    Attributes:
        named: The prompts by name.
        default: The name of the prompt for texts of unstated type; None if the model states none.
    """

    named: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None

    def find(self, input_type: InputType, name: str | None = None) -> str:
        """Return the prompt for texts: that of a name if there is one (empty for no prompt), or else that of their type.

        Raises:
            InvalidInput: the model has no prompt of this name.
        """
        if name is not None:
            if name and name not in self.named:
                known = f"one of {', '.join(self.named)}" if self.named else "absent: this model has no prompts"
                raise InvalidInput(f"prompt_name must be {known}.", param="prompt_name")
            return self.named.get(name, "")
        if input_type is InputType.QUERY:
            return self.named.get("query", "")
        if input_type is InputType.UNSTATED and self.default is not None:
            return self.named.get(self.default, "")
        return next((self.named[each] for each in DOCUMENT_NAMES if self.named.get(each)), "")

    def missing(self, text: str, prompt: str) -> str:
        """Return the prompt, or nothing for a text that already starts with one of the model's prompts."""
        return "" if any(each and text.startswith(each) for each in self.named.values()) else prompt


NO_PROMPTS: Final = Prompts()
