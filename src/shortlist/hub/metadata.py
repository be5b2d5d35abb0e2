"""Metadata of a model folder: settings, modules, card and file sizes.

The module reads small files only, and refuses unreadable ones. It also lists the files to download: first the small ones, then
the weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from shortlist.errors import ModelRefused

# Shell patterns, in the subset that both hubs read alike: ModelScope takes a dot before a star for a regular expression.

SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model", "README.md")
"""Settings, tokenizers, module settings (`1_Pooling/config.json`), the card."""

WEIGHT_FILES = ("*.safetensors",)

NEVER = ("onnx/*", "openvino/*", "coreml/*", "gguf/*", "original/*", "runs/*", "checkpoint-*", ".ipynb_checkpoints/*")
"""Copies of the model for other programs, and leftovers of its training."""

Json = Mapping[str, object]
Listing = Mapping[str, int]
"""Path inside the folder, with forward slashes, to size in bytes."""
Check = Callable[[Path, Listing | None], object]
"""Checks a model's small files, and the hub's listing if there is one; raises to stop before the weights are downloaded."""

TRANSFORMER_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
"""In the names of the settings of sentence-transformers' first module; older folders name their architecture."""

LFS_POINTER = b"version https://git-lfs"

_FENCE = "---"


@dataclass(frozen=True, slots=True)
class CachedSnapshot:
    """A model in a hub's cache: its name, the folder of its newest revision, and the size of all its revisions."""

    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Module:
    """A module of a sentence-transformers pipeline: its class, its folder and that folder's settings."""

    type: str
    path: str
    config: Json

    @property
    def class_name(self) -> str:
        """The last part of the type. Releases move classes between packages but keep their names."""
        return self.type.rsplit(".", maxsplit=1)[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """The metadata of a folder.

    Attributes:
        name: The model's name in messages.
        hub_id: `OWNER/NAME` if the name comes from a hub; None for a local folder, whose name proves nothing.
        listing: The files, or the hub's files if they are not downloaded yet.
        config: `config.json`, or None.
        tokenizer_config: `tokenizer_config.json`; empty without one.
        modules: `modules.json`; empty without one.
        library_config: `config_sentence_transformers.json`; empty without one.
        transformer_config: `sentence_bert_config.json`; empty without one.
        home: The folder that holds `config.json` and the tokenizer.
        shards: The weight files in the index; empty for a single file.
        pointers: Files that are Git LFS pointers instead of their content.
        chat_template: The chat template; empty without one.
        card: The front matter of `README.md`; empty without one, or if it is not YAML.
    """

    name: str
    hub_id: str | None
    listing: Listing
    config: Json | None
    tokenizer_config: Json
    modules: tuple[Module, ...]
    library_config: Json
    transformer_config: Json
    home: Path
    shards: tuple[str, ...]
    pointers: tuple[str, ...]
    chat_template: str
    card: Json

    @property
    def size_bytes(self) -> int:
        """Total size of the files."""
        return sum(self.listing.values())

    @property
    def architecture(self) -> str | None:
        """The first architecture that `config.json` names."""
        names = (self.config or {}).get("architectures")
        return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None

    @property
    def model_type(self) -> str | None:
        """The type of the model's layers in transformers."""
        found = (self.config or {}).get("model_type")
        return found if isinstance(found, str) else None

    @property
    def library_type(self) -> str:
        """The type of a sentence-transformers folder. Folders older than the field hold embedders."""
        return str(self.library_config.get("model_type", "SentenceTransformer"))

    @property
    def has_head(self) -> bool:
        """Whether the model has a classification head."""
        return (self.architecture or "").endswith("ForSequenceClassification")

    @property
    def num_labels(self) -> int:
        """The labels of the classification head. Source: `PretrainedConfig` in transformers, where two is the default."""
        config = self.config or {}
        labels, count = config.get("id2label"), config.get("num_labels")
        if isinstance(labels, dict):
            return len(labels)
        return count if isinstance(count, int) else 2

    def read_suffix(self) -> list[str] | None:
        """Read from `tokenizer.json` the special tokens that follow every text; None if it has no vocabulary.

        Raises:
            ModelRefused: the file is not valid JSON.
        """
        fields = _read_object(self.home / "tokenizer.json", self.name) or {}
        return suffix_of(fields.get("post_processor")) if "model" in fields else None

    @property
    def module_names(self) -> list[str]:
        """The class names of the modules, in order."""
        return [module.class_name for module in self.modules]

    def card_words(self, key: str) -> frozenset[str]:
        """The card's values of `key`: a string or a list."""
        value = self.card.get(key)
        words = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        return frozenset(str(word) for word in words)

    @property
    def weights_path(self) -> str:
        """The folder inside the model that holds `config.json` and the weights; almost always the model folder itself."""
        return self.modules[0].path if self.modules else ""


def read_metadata(folder: Path, *, name: str, hub_id: str | None = None, listing: Listing | None = None) -> ModelMetadata:
    """Read the small files of `folder`.

    Args:
        folder: The model's folder.
        name: The model's name in messages.
        hub_id: `OWNER/NAME` if the name comes from a hub.
        listing: The hub's files, if not all are downloaded yet; None to list the folder.

    Raises:
        ModelRefused: a file is not valid JSON.
    """
    pointers = tuple(_pointers(folder)) if folder.is_dir() else ()
    modules = _read_modules(folder, name)
    home = folder / modules[0].path if modules else folder
    tokenizer_config = _read_object(home / "tokenizer_config.json", name) or {}
    return ModelMetadata(
        name=name,
        hub_id=hub_id,
        listing=list_files(folder) if listing is None else listing,
        config=_read_object(home / "config.json", name),
        tokenizer_config=tokenizer_config,
        modules=modules,
        library_config=_read_object(folder / "config_sentence_transformers.json", name) or {},
        transformer_config=_read_transformer_config(home, name),
        home=home,
        shards=_read_shards(home, name),
        pointers=pointers,
        chat_template=_read_text(home / "chat_template.jinja") or str(tokenizer_config.get("chat_template", "")),
        card=_read_card(folder / "README.md"),
    )


def suffix_of(post_processor: object) -> list[str]:
    """Return the special tokens that a tokenizer's post-processor puts after one text."""
    if not isinstance(post_processor, dict):
        return []
    steps = post_processor.get("processors", [post_processor])
    suffix: list[str] = []
    for step in steps if isinstance(steps, list) else []:
        pieces = step.get("single", []) if isinstance(step, dict) else []
        tokens = [piece.get("SpecialToken", {}).get("id") for piece in pieces]
        if None in tokens:
            suffix += tokens[tokens.index(None) + 1 :]
    return suffix


def list_files(folder: Path) -> dict[str, int]:
    """List the files of a folder and its direct subfolders, except hidden files."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(_walk(folder, depth=1)) if path.is_file()
    }


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if depth and path.is_dir():
            yield from _walk(path, depth - 1)
        else:
            yield path


def _pointers(folder: Path) -> Iterator[str]:
    """Yield the small files that are Git LFS pointers. Source: its specification; they have fewer than 1024 bytes."""
    for path in sorted(_walk(folder, depth=1)):
        if path.suffix in {".json", ".safetensors"} and path.is_file() and path.stat().st_size < 1024:
            with suppress(OSError):
                if path.read_bytes().startswith(LFS_POINTER):
                    yield path.relative_to(folder).as_posix()


def _read_modules(folder: Path, name: str) -> tuple[Module, ...]:
    steps = _read_json(folder / "modules.json", name)
    if steps is None:
        return ()
    if not isinstance(steps, list) or not steps:
        raise ModelRefused(f"{name}: modules.json is not a list of modules")
    return tuple(_read_module(folder, step, name) for step in steps)


def _read_module(folder: Path, step: object, name: str) -> Module:
    kind, path = (step.get("type"), step.get("path")) if isinstance(step, dict) else (None, None)
    if not isinstance(kind, str) or not isinstance(path, str):
        raise ModelRefused(f"{name}: a module in modules.json lacks its type or its path")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ModelRefused(f"{name}: modules.json points outside the model's folder")
    return Module(kind, path, _read_object(folder / path / "config.json", name) or {})


def _read_transformer_config(home: Path, name: str) -> Json:
    found = (_read_object(home / f"sentence_{kind}_config.json", name) for kind in TRANSFORMER_KINDS)
    return next((config for config in found if config is not None), {})


def _read_shards(home: Path, name: str) -> tuple[str, ...]:
    shards = (_read_object(home / "model.safetensors.index.json", name) or {}).get("weight_map")
    return tuple(sorted({str(shard) for shard in shards.values()})) if isinstance(shards, dict) else ()


def _read_object(path: Path, name: str) -> Json | None:
    value = _read_json(path, name)
    if value is not None and not isinstance(value, dict):
        raise ModelRefused(f"{name}: {path.name} is not a JSON object")
    return value


def _read_json(path: Path, name: str) -> object:
    """Return the parsed file; None without such a file."""
    try:
        content = path.read_bytes() if path.is_file() else LFS_POINTER
        return None if content.startswith(LFS_POINTER) else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelRefused(f"{name}: {path.name} is not readable JSON; download the model again") from error
    except OSError as error:
        raise ModelRefused(f"{name}: {path.name} cannot be read: {error.strerror}") from error


def _read_card(path: Path) -> Json:
    """Return the front matter. An invalid one is not a reason to refuse a model."""
    lines = _read_text(path).splitlines()
    if not lines or lines[0].strip() != _FENCE:
        return {}
    end = next((i for i, line in enumerate(lines[1:], start=1) if line.strip() == _FENCE), 0)
    try:
        facts = yaml.safe_load("\n".join(lines[1:end]))
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _read_text(path: Path) -> str:
    """Return the text; empty if the file is missing or not text."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, ValueError):
        return ""
