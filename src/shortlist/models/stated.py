"""What a model's folder states about its own use: prompts, default instruction, length limit, lineage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import ModelMetadata
from shortlist.text.model_prompts import Prompts

MAX_TOKENS: Final = 1 << 24
"""Larger limits stand for none: a tokenizer without a limit names 1e30."""


def prompts_of(metadata: ModelMetadata) -> Prompts:
    """Return the prompts of `config_sentence_transformers.json`.

    Raises:
        ModelRefused: they are not texts, or the default is not one of them.
    """
    named = metadata.library_config.get("prompts", {})
    default = metadata.library_config.get("default_prompt_name")
    if not isinstance(named, dict) or not all(isinstance(text, str | None) for text in named.values()):
        raise ModelRefused(
            f"{metadata.name}: the prompts in config_sentence_transformers.json are not texts; download the model again"
        )
    if default is not None and (not isinstance(default, str) or default not in named):
        raise ModelRefused(
            f"{metadata.name}: default_prompt_name in config_sentence_transformers.json is not one of its prompts"
        )
    return Prompts({name: text or "" for name, text in named.items()}, default)


def default_prompt(metadata: ModelMetadata) -> str:
    """Return the prompt for texts of unstated type; empty without one."""
    prompts = prompts_of(metadata)
    return "" if prompts.default is None else prompts.named[prompts.default]


def length_limit(metadata: ModelMetadata) -> int | None:
    """Return the tokens that the model reads by its own settings, besides its positions; None without a limit.

    Source: `Transformer` in sentence-transformers 6: `max_seq_length` comes first, then the tokenizer's `model_max_length`.
    """
    stated = metadata.transformer_config.get("max_seq_length")
    limit = metadata.tokenizer_config.get("model_max_length") if stated is None else stated
    if not isinstance(limit, int | float) or isinstance(limit, bool):
        return None
    return int(limit) if 0 < limit < MAX_TOKENS else None


def descends_from(metadata: ModelMetadata, pattern: re.Pattern[str]) -> bool:
    """Return whether the name of a base model in the card matches."""
    return any(pattern.search(name.rstrip("/").rsplit("/", 1)[-1]) for name in metadata.card_words("base_model"))


def rendered(template: str, messages: Sequence[Mapping[str, str]]) -> str | None:
    """Return messages in a chat template; None if it cannot be rendered.

    Source: `render_jinja_template` in transformers: a sandbox with these settings.
    """
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = _raise
    try:
        return environment.from_string(template).render(messages=messages)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
        return None


def _raise(message: str) -> str:
    raise TemplateError(message)
