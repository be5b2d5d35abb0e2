"""Resolves a model name to verified files and the model family. The family is detected before weights are downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shortlist.hub import demo_model
from shortlist.hub.config_checks import WeightsReader
from shortlist.hub.download import fetch
from shortlist.hub.integrity import read_content
from shortlist.hub.metadata import Listing, list_files
from shortlist.hub.reference import Reference, Source, parse
from shortlist.models.base import ModelFamily, ModelFiles
from shortlist.models.registry import Inspected, inspect
from shortlist.types import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be served from this machine.

    Attributes:
        name: The hub's name, the folder's path, or `demo`.
        basename: The last part of the name.
        path: The folder with its files.
        family: The model family.
        why: The reason for the family, in one sentence.
        revision: Hugging Face's commit, the requested ModelScope revision, or a digest of the demo's weights; None for a
            local folder and for ModelScope's default revision.
        size_bytes: Total size of its files; of those present, if weights are not needed.
        digest: Digest of all files that can change a score, without weights that are not needed.
        checksum_source: Source of the matching checksums; None without checksums.
    """

    name: str
    basename: str
    path: Path
    family: ModelFamily
    why: str
    revision: str | None
    size_bytes: int
    digest: str
    checksum_source: str | None

    @property
    def files(self) -> ModelFiles:
        """The verified files."""
        return ModelFiles(name=self.name, path=self.path, digest=self.digest)


def resolve(
    text: str,
    *,
    declared: Operation | None = None,
    revision: str | None = None,
    reader: WeightsReader = WeightsReader.SHORTLIST,
) -> ResolvedModel:
    """Find a model, download what is needed, detect its family and verify its checksums. Reads every byte once.

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
        family=files.family,
        why=files.why,
        revision=fetched.revision,
        size_bytes=files.size_bytes,
        digest=content.digest,
        checksum_source=content.checksum_source,
    )


def _look(reference: Reference, declared: Operation | None, reader: WeightsReader, folder: Path) -> Inspected:
    return inspect(folder, name=reference.text, hub_id=reference.hub_id, declared=declared, reader=reader)


def _look_early(
    reference: Reference, declared: Operation | None, reader: WeightsReader, folder: Path, listing: Listing | None
) -> Inspected:
    return inspect(
        folder,
        name=reference.text,
        hub_id=reference.hub_id,
        declared=declared,
        listing=listing,
        reader=reader,
        with_weights=listing is not None,
    )
