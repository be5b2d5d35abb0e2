"""Where weights come from, and what kind of model they are.

`resolve` is the front door. This room knows hubs, folders and the evidence in them; it knows nothing of tensors, engines or
requests, and opens no weights.
"""

from shortlist.hub.download import ResolvedModel, resolve
from shortlist.hub.kind import ModelKind

__all__ = ["ModelKind", "ResolvedModel", "resolve"]
