"""The names of served models and their aliases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from shortlist.config import ModelSettings
from shortlist.errors import BadSetting
from shortlist.models import ResolvedModel
from shortlist.scheduler.model_registry import one_name_for_two


def name_of(model: ResolvedModel) -> str:
    """Return the name on a hub; a folder's name without its path."""
    return model.basename if Path(model.name).is_absolute() else model.name


def aliases_of(settings: ModelSettings, text: str, model: ResolvedModel) -> tuple[str, ...]:
    """Return the aliases of the model that the settings name `text`."""
    names = {text, name_of(model), model.name, model.basename}
    return tuple(alias for alias, target in alias_pairs(settings) if target in names)


def alias_pairs(settings: ModelSettings) -> list[tuple[str, str]]:
    """Return every configured alias with its model.

    Raises:
        BadSetting: one is not of the form NAME=MODEL.
    """
    pairs = [(alias, target) for alias, _, target in (pair.partition("=") for pair in settings.alias)]
    if not all(alias and target for alias, target in pairs):
        raise BadSetting("The setting alias (--alias) must be NAME=MODEL.")
    return pairs


def check_names(settings: ModelSettings, texts: Sequence[str], models: Sequence[ResolvedModel]) -> None:
    """Check names before anything is loaded.

    Raises:
        BadSetting: an alias is for a model that is not served, or two models have one name.
    """
    named = [(name_of(model), *aliases_of(settings, text, model)) for text, model in zip(texts, models, strict=True)]
    given = {alias for _, *aliases in named for alias in aliases}
    for alias, target in alias_pairs(settings):
        if alias not in given:
            raise BadSetting(f"The alias {alias!r} (--alias) is for {target!r}, which is not served.")
    names = Counter(name for model_names in named for name in set(model_names))
    for name, count in names.items():
        if count > 1:
            raise one_name_for_two(name)
