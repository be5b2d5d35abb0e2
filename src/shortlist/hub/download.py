"""Downloads the files of a model, or finds them on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import demo_model
from shortlist.hub.metadata import Check
from shortlist.hub.reference import Reference, Source


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model's files on this machine and their revision (see `models.ResolvedModel.revision`)."""

    path: Path
    revision: str | None


def fetch(reference: Reference, revision: str | None, *, check: Check, with_weights: bool = True) -> Fetched:
    """Download a model's files, or find them on this machine.

    Args:
        reference: The model's source and name.
        revision: A branch, tag or commit of a hub's model; None means the hub's default.
        check: Gets a hub's small files first; raises to stop before the weights are downloaded.
        with_weights: Whether weights are needed.

    Raises:
        BadSetting: a revision is given for a folder or the demo.
        ModelRefused: the download failed, or `check` refused.
    """
    if reference.hub_id is None and revision is not None:
        raise BadSetting(f"a revision was set for {reference.name}, but only models on a hub have revisions")
    match reference.source:
        case Source.DEMO:
            return Fetched(demo_model.find(), demo_model.WEIGHTS_SHA256[:12])
        case Source.FOLDER:
            return Fetched(_local(reference.name), None)
        case Source.HUGGING_FACE:
            from shortlist.hub import huggingface

            snapshot = huggingface.fetch(reference.name, revision, check, with_weights=with_weights)
            return Fetched(snapshot.folder, snapshot.commit)
        case Source.MODELSCOPE:
            from shortlist.hub import modelscope

            folder = modelscope.fetch(reference.name, revision, check, with_weights=with_weights)
            return Fetched(folder, revision)


def _local(name: str) -> Path:
    path = Path(name)
    if path.is_dir():
        return path
    what = "is a file; name the folder that it is in" if path.exists() else "does not exist"
    raise ModelRefused(f"the model folder {name} {what}")
