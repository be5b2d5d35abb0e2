"""Records how model folders are detected, and the fingerprints that cache keys are made of.

Fingerprints of engines name the processor's instructions, the version of torch and the bytes of the weights. Random weights are
not the same bytes on every machine, so these parts are replaced with placeholders; those of the bundled model are recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from shortlist.config import Settings
from shortlist.errors import ModelRefused
from shortlist.models.registry import inspect
from shortlist.service.build import load
from shortlist.telemetry import Metrics
from shortlist.types import EMBED, RERANK, Operation, operation_names
from tests.goldens.layouts import LAYOUTS, Layout
from tests.goldens.transcript import RECORDED
from tests.support import models, qwen
from tests.support.model_folder import write

DETECTIONS = RECORDED / "detections.txt"
REASONS = RECORDED / "reasons.txt"
FINGERPRINTS = RECORDED / "fingerprints.txt"

KINDS: Mapping[str, qwen.Kind] = {"qwen3 reranker": "reranker", "qwen3 embedder": "embedder", "qwen3 head": "seqcls"}

SETTINGS: Mapping[str, Mapping[str, object]] = {
    "defaults": {},
    "max_model_len 512": {"max_model_len": 512},
    "official control tokens": {"control_tokens": "official"},
}
"""Settings that change a fingerprint; every kind of model is loaded with the first, one with all."""


def detections(folder: Path) -> tuple[str, str]:
    """Return one line for every layout: its kind, or that it is refused; and one with the reason, a message for people."""
    found = {name: _detected(folder / str(number), each) for number, (name, each) in enumerate(LAYOUTS.items())}
    kinds = "".join(f"{name} | {kind}\n" for name, (kind, _) in found.items())
    return kinds, "".join(f"{name} | {why}\n" for name, (_, why) in found.items())


def fingerprints(folder: Path) -> str:
    """Return the fingerprints of every kind of model that is loaded here, under some settings."""
    return "".join(f"{line}\n" for line in _fingerprints(folder))


def record(folder: Path) -> None:
    """Write the files."""
    for path, text in zip((DETECTIONS, REASONS), detections(folder / "layouts"), strict=True):
        path.write_text(text, encoding="utf-8")
    FINGERPRINTS.write_text(fingerprints(folder / "models"), encoding="utf-8")


def _detected(folder: Path, layout: Layout) -> tuple[str, str]:
    folder.mkdir(parents=True)
    try:
        found = inspect(
            write(folder, layout.files),
            name=layout.hub_id or "my-model",
            hub_id=layout.hub_id,
            declared=layout.declared,
            reader=layout.reader,
        )
    except ModelRefused as error:
        return "refused", error.message
    return found.family.name, found.why


def _fingerprints(folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = qwen.write_tokenizer(folder / "tokenizer.json")
    for name, kind in KINDS.items():
        path = qwen.write_model(folder / kind, kind=kind, shape="tiny", tokenizer=vocabulary)
        declared = {"reranker": RERANK, "embedder": EMBED, "seqcls": None}[kind]
        for setting in SETTINGS if kind == "reranker" else ("defaults",):
            yield f"{name}, {setting} | {_loaded(path, declared, setting, hide=_hidden)}"
    yield f"cross-encoder, defaults | {_loaded(models.cross_encoder(folder / 'cross'), None, 'defaults', hide=_hidden)}"
    yield f"demo, defaults | {_loaded(models.DEMO, None, 'defaults', hide=str)}"


def _loaded(path: Path, declared: Operation | None, setting: str, *, hide: Callable[[str], str]) -> str:
    """Load a model; return its kind, operations, limits and dimensions, and both fingerprints."""
    settings = Settings.load({"device": "cpu", "dtype": "float32", **SETTINGS[setting]}, environ={}).model
    loaded = load(str(path), declared, settings, notify=lambda _: None, metrics=Metrics())
    info = loaded.engine.info
    loaded.engine.close()
    facts = f"{loaded.model.family.name} {'+'.join(operation_names(info.operations))} {info.max_model_len} {info.model_limit} {info.dimensions}"
    return f"{facts} | {hide(info.fingerprint)} | {loaded.encoder.fingerprint}"


def _hidden(fingerprint: str) -> str:
    weights = re.sub(r"[0-9a-f]{64}|[0-9a-f]{32,}", "<weights>", fingerprint)
    return re.sub(r"cpu-.*?-torch[^-]+(?=-float32)", "<machine>", weights)
