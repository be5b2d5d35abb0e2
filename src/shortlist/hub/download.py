"""Resolves a model name to a local folder and the kind of model in it.

The kind is detected before weights are downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import demo_model
from shortlist.hub.inspect import ModelFiles, inspect
from shortlist.hub.integrity import read_content
from shortlist.hub.kind import ModelKind, WeightsReader
from shortlist.hub.metadata import Check, Listing, list_files
from shortlist.hub.reference import Reference, Source, parse
from shortlist.types import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be served from this machine.

    Attributes:
        name: The hub's name, the folder's path, or `demo`.
        basename: The last part of the name.
        path: The folder with its files.
        kind: The kind of model.
        why: The reason for the kind, in one sentence.
        revision: Hugging Face's commit, the requested ModelScope revision, or a digest of the demo's weights; None for a
            local folder and for ModelScope's default revision.
        size_bytes: Total size of its files; of those present, if weights are not needed.
        digest: Digest of all files that can change a score, without weights that are not needed.
        checksum_source: Source of the matching checksums; None without checksums.
    """

    name: str
    basename: str
    path: Path
    kind: ModelKind
    why: str
    revision: str | None
    size_bytes: int
    digest: str
    checksum_source: str | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model's files on this machine and their revision (see `ResolvedModel.revision`)."""

    path: Path
    revision: str | None


def resolve(
    text: str,
    *,
    declared: Operation | None = None,
    revision: str | None = None,
    reader: WeightsReader = WeightsReader.SHORTLIST,
) -> ResolvedModel:
    """Find a model, download what is needed, detect its kind and verify its checksums. Reads every byte once.

    Args:
        text: `OWNER/NAME`, `modelscope:OWNER/NAME`, a local folder, or `demo`.
        declared: The task that the user declares; None to detect it.
        revision: A branch, tag or commit of a hub's model; None means the hub's default.
        reader: The reader of its weights.

    Raises:
        BadSetting: `text` is none of these, or a revision is given for a folder or the demo.
        ModelRefused: the model cannot be downloaded or served, or a checksum differs.
    """
    reference = parse(text)
    with_weights = reader is not WeightsReader.UPSTREAM
    fetched = fetch(reference, revision, check=partial(_look_early, reference, declared, reader), with_weights=with_weights)
    files = _look(reference, declared, reader, fetched.path)
    known = demo_model.SUMS if reference.source is Source.DEMO else None
    content = read_content(fetched.path, list_files(fetched.path), name=reference.text, known=known, with_weights=with_weights)
    return ResolvedModel(
        name=reference.name,
        basename=reference.basename,
        path=fetched.path,
        kind=files.kind,
        why=files.why,
        revision=fetched.revision,
        size_bytes=files.size_bytes,
        digest=content.digest,
        checksum_source=content.checksum_source,
    )


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


def _look(reference: Reference, declared: Operation | None, reader: WeightsReader, folder: Path) -> ModelFiles:
    return inspect(folder, name=reference.text, hub_id=reference.hub_id, declared=declared, reader=reader)


def _look_early(
    reference: Reference, declared: Operation | None, reader: WeightsReader, folder: Path, listing: Listing | None
) -> ModelFiles:
    return inspect(
        folder,
        name=reference.text,
        hub_id=reference.hub_id,
        declared=declared,
        listing=listing,
        reader=reader,
        with_weights=listing is not None,
    )
