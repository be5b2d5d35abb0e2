"""Where weights come from, and what kind of model they are.

`resolve` is the front door. This room knows hubs, folders, the evidence in them and the hashes of their files; it knows nothing
of tensors, engines or requests.
"""

from shortlist.hub.download import ResolvedModel, resolve
from shortlist.hub.kind import ModelKind, WeightsReader

__all__ = ["ModelKind", "ResolvedModel", "WeightsReader", "resolve"]
