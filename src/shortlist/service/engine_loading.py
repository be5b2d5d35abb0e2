"""Selects and loads the engine and encoder of a model on this machine.

Engines are imported on demand, so that the rest works without torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from shortlist.config import ModelSettings
from shortlist.engine.base import Engine, Notify, content_name
from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import ModelKind, ResolvedModel
from shortlist.service.selftest_data import calibration_texts
from shortlist.text.encoder import Encoder
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.text.text_encoder import TextEncoder
from shortlist.types import Operation


def engine_and_encoder(
    model: ResolvedModel, settings: ModelSettings, *, notify: Notify, is_wanted: Callable[[], bool]
) -> tuple[Engine, Encoder]:
    """Load the engine and the encoder for a kind of model.

    Args:
        model: The resolved model.
        settings: Model settings (device, dtype, limits).
        notify: Reports load progress of several processes.
        is_wanted: Whether loading is still wanted; if not, it is aborted.

    Raises:
        BadSetting: a setting does not fit the model.
        ModelRefused: it cannot be served, or a package is missing.
        EngineUnavailable: a process exited, or loading was aborted.
    """
    match model.kind:
        case ModelKind.CROSS_ENCODER | ModelKind.BI_ENCODER:
            if "," in settings.device:
                raise BadSetting(
                    f"device (--device) names several devices, but {model.name} runs on one: it is a "
                    f"{model.kind.value}. Name one, or auto."
                )
            with _extra("sentence"):
                from shortlist.engine.device import pick_device

                pick_device(settings.device)  # a missing device is an error before seconds of imports
                from shortlist.engine.sentence import BiEncoderEngine, CrossEncoderEngine

            prompts = _prompts(model.path)
            kind = CrossEncoderEngine if model.kind is ModelKind.CROSS_ENCODER else BiEncoderEngine
            engine = kind(model.path, device=settings.device, max_model_len=settings.max_model_len, digest=model.digest)
            reads_pairs = model.kind is ModelKind.CROSS_ENCODER
            return engine, _text_encoder(model.path, engine.info.max_model_len, prompts, reads_pairs=reads_pairs)
        case ModelKind.QWEN3_RERANKER | ModelKind.QWEN3_RERANKER_HEAD | ModelKind.QWEN3_EMBEDDER:
            (operation,) = model.kind.operations
            return _qwen3(model, operation, settings, notify, is_wanted)


def _qwen3(
    model: ResolvedModel, operation: Operation, settings: ModelSettings, notify: Notify, is_wanted: Callable[[], bool]
) -> tuple[Engine, Encoder]:
    with _extra("native"):
        from shortlist.engine.device import pick_devices
        from shortlist.engine.native.model_config import Qwen3Config
        from shortlist.engine.native.native_engine import NativeEngine
        from shortlist.engine.native.weights import KnownAnswerIds

    limit = min(settings.max_model_len, Qwen3Config.read(model.path).max_positions)
    path = model.path / "tokenizer.json"
    with ThreadPoolExecutor(1, "tokenizer") as executor, ExitStack() as on_failure:
        tokenizer = executor.submit(
            QwenEncoder, path, operation=operation, max_model_len=limit, control_tokens=settings.control_tokens
        )
        devices, digest = pick_devices(settings.device), content_name(model.digest)
        load = partial(
            NativeEngine.load, model.path, operation=operation, max_model_len=limit, dtype=settings.dtype, digest=digest
        )
        engine: Engine
        if len(devices) == 1:
            engine = load(
                device=devices[0],
                answer_ids=lambda: tokenizer.result().answer_ids,
                samples=lambda: calibration_texts(tokenizer.result()),
            )
        else:
            load = partial(load, samples=partial(tuple, calibration_texts(tokenizer.result())))
            if model.kind is ModelKind.QWEN3_RERANKER:
                load = partial(load, answer_ids=KnownAnswerIds(*tokenizer.result().answer_ids))
            from shortlist.engine import workers

            engine = workers.start(load, devices, notify=lambda text: notify(f"{model.name}: {text}"), is_wanted=is_wanted)
        on_failure.callback(engine.close)
        encoder = tokenizer.result()
        on_failure.pop_all()
    return engine, encoder


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Turn a missing library into an error with the install command."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModelRefused(f"This model needs {error.name}, which is not installed: pip install 'shortlist[{name}]'") from None


def _text_encoder(folder: Path, max_model_len: int, prompts: Mapping[str, str], *, reads_pairs: bool) -> TextEncoder:
    path = folder / "tokenizer.json"
    return TextEncoder(path if path.is_file() else None, max_model_len, reads_pairs=reads_pairs, prompts=prompts)


def _prompts(folder: Path) -> Mapping[str, str]:
    """Return the model's prompts for queries and documents.

    Source: `SentenceTransformer.encode_query` and `encode_document`, which try these names in this order.

    Raises:
        ModelRefused: they are not strings; the library would fail with its own error.
    """
    path = folder / "config_sentence_transformers.json"
    prompts = json.loads(path.read_bytes()).get("prompts", {}) if path.is_file() else {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ModelRefused(f"{folder}: the prompts in {path.name} are not texts; download the model again")
    document = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), "")
    return {"query": prompts.get("query") or "", "document": document}
