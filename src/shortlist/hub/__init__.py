"""Finds, downloads, verifies and detects models.

`resolve` is the entry point. The package handles hubs, folders, their metadata and the checksums of their files.
"""

from shortlist.hub.download import ResolvedModel, resolve
from shortlist.hub.kind import ModelKind, WeightsReader

__all__ = ["ModelKind", "ResolvedModel", "WeightsReader", "resolve"]
