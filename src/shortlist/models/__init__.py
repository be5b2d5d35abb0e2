"""Model families: how each is detected, encoded and loaded, and the registry that finds the family of a folder."""

from shortlist.models.base import Detection, LoadContext, ModelFamily
from shortlist.models.registry import RECOMMENDED
from shortlist.models.resolve import ResolvedModel, resolve

__all__ = ["RECOMMENDED", "Detection", "LoadContext", "ModelFamily", "ResolvedModel", "resolve"]
