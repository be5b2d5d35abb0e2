"""The registry of model families, and detection of the family in a folder from its metadata, with the reason in words.

Every family's detector sees sentence-transformers' own files first, then the architecture and its head, the table of published
models, and the model card. A name decides only if a hub confirms it and it is in the table exactly. If the metadata is not
sufficient, the user must declare the task. No weights are opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shortlist.errors import ModelRefused
from shortlist.hub.config_checks import WeightsReader, check_config
from shortlist.hub.local_cache import Cached
from shortlist.hub.metadata import Listing, ModelMetadata, read_metadata
from shortlist.models import qwen3, sentence
from shortlist.models.base import Detection, ModelFamily
from shortlist.types import EMBED, RERANK, Operation, in_order

Detector = Callable[[ModelMetadata, Operation | None], Detection | None]
"""Returns the detection of a family's model, or None for another family.

Raises:
    ModelRefused: the model is of this family and cannot be served, or the declared task is required or wrong.
"""

DETECTORS: Final[list[Detector]] = [qwen3.detect, sentence.detect]
"""In order; the last one refuses what none detects."""


RECOMMENDED: Final = {RERANK: "Qwen/Qwen3-Reranker-0.6B", EMBED: "Qwen/Qwen3-Embedding-0.6B"}
"""The models that messages and examples name."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """A folder that can be served.

    Attributes:
        family: The model family.
        why: The reason, in one sentence.
        size_bytes: Total size of its files.
    """

    family: ModelFamily
    why: str
    size_bytes: int


def inspect(
    folder: Path,
    *,
    name: str,
    hub_id: str | None = None,
    declared: Operation | None = None,
    listing: Listing | None = None,
    reader: WeightsReader = WeightsReader.SHORTLIST,
    with_weights: bool = True,
) -> Inspected:
    """Detect the family of the model in a folder.

    Args:
        folder: The model's folder; its small files suffice if `listing` is given.
        name: The model's name in messages.
        hub_id: `OWNER/NAME` if the name comes from a hub.
        declared: The task that the user declares; None to detect it.
        listing: The hub's files, if not all are downloaded yet.
        reader: The reader of its weights.
        with_weights: Whether the weights must be listed.

    Raises:
        ModelRefused: the model cannot be served, or not for this task, or its family cannot be detected.
    """
    metadata = read_metadata(folder, name=name, hub_id=hub_id, listing=listing)
    check_config(metadata, reader=reader, with_weights=with_weights and reader is not WeightsReader.UPSTREAM)
    detection = detect(metadata, declared)
    return Inspected(detection.family, detection.why, metadata.size_bytes)


def detect(metadata: ModelMetadata, declared: Operation | None) -> Detection:
    """Return the family of a model; `declared` decides only what the metadata leaves open.

    Raises:
        ModelRefused: the metadata shows an unsupported kind of model, contradicts `declared`, or is not sufficient.
    """
    found = (detector(metadata, declared) for detector in DETECTORS)
    detection = next(each for each in found if each is not None)
    if declared is not None and declared not in detection.family.operations:
        raise ModelRefused(f"{metadata.name} cannot {declared}: it is a {detection.family.name} ({detection.why})")
    return detection


def operations_of(cached: Cached) -> tuple[Operation, ...]:
    """Return the operations that a cached model can be served for; empty if it is incomplete or unsupported."""
    try:
        found = inspect(cached.path, name=cached.reference.text, hub_id=cached.reference.hub_id)
    except ModelRefused:
        return ()
    return tuple(in_order(found.family.operations))
