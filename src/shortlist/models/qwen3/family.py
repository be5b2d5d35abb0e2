"""The families of Qwen3 models, and how the native engine and vLLM load them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from shortlist.config import ModelSettings
from shortlist.engine.base import Engine, content_name
from shortlist.hub.metadata import read_metadata
from shortlist.models.base import LoadContext, ModelFamily, ModelFiles, VllmSupport, needs_extra
from shortlist.models.qwen3 import prompt
from shortlist.models.qwen3.instruction import default_instruction
from shortlist.models.qwen3.qwen_encoder import QWEN_PROMPTS, QwenEncoder
from shortlist.models.stated import length_limit, prompts_of
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, RERANK, Operation

AS_RERANKER: Final = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}
"""Makes the difference of yes and no the only output. By default vLLM loads the checkpoint as a generative model.

Source: vLLM 0.32, `model_executor/models/config.py` (Qwen3ForSequenceClassificationConfig) and `adapters.py`: the first word is
the negative one.
"""


def load_native(operation: Operation, model: ModelFiles, context: LoadContext, *, has_lm_head: bool) -> tuple[Engine, Encoder]:
    """Load a model with the native engine, while a thread reads the tokenizer. See `models.base.Load`.

    Args:
        operation: The model's operation.
        model: Its files.
        context: Settings and callbacks.
        has_lm_head: Whether scores are read from the rows of the answer tokens in the LM head.
    """
    with needs_extra("native"):
        from shortlist.engine.device import pick_devices
        from shortlist.engine.native.model_config import Qwen3Config
        from shortlist.engine.native.native_engine import NativeEngine
        from shortlist.engine.native.weights import KnownAnswerIds

    settings = context.settings
    limit = min(settings.max_model_len, own_limit := _own_limit(model.path, Qwen3Config.read(model.path).max_positions))
    with ThreadPoolExecutor(1, "tokenizer") as executor, ExitStack() as on_failure:
        tokenizer = executor.submit(encoder_of, operation, model.path, limit, settings)
        devices, digest = pick_devices(settings.device), content_name(model.digest)
        load = partial(
            NativeEngine.load,
            model.path,
            operation=operation,
            max_model_len=limit,
            model_limit=own_limit,
            dtype=settings.dtype,
            digest=digest,
        )
        engine: Engine
        if len(devices) == 1:
            engine = load(
                device=devices[0],
                answer_ids=lambda: tokenizer.result().answer_ids,
                samples=lambda: context.samples(tokenizer.result()),
            )
        else:
            load = partial(load, samples=partial(tuple, context.samples(tokenizer.result())))
            if has_lm_head:
                load = partial(load, answer_ids=KnownAnswerIds(*tokenizer.result().answer_ids))
            from shortlist.engine import workers

            engine = workers.start(
                load, devices, notify=lambda text: context.notify(f"{model.name}: {text}"), is_wanted=context.is_wanted
            )
        on_failure.callback(engine.close)
        encoder = tokenizer.result()
        on_failure.pop_all()
    return engine, encoder


def _own_limit(folder: Path, num_positions: int) -> int:
    """Return the tokens that the model reads, by its own settings and its positions."""
    return min(num_positions, length_limit(read_metadata(folder, name=folder.name)) or num_positions)


def encoder_of(operation: Operation, folder: Path, max_model_len: int, settings: ModelSettings) -> QwenEncoder:
    """Return the encoder of a model folder, with the prompts and the length limit that the folder states."""
    metadata = read_metadata(folder, name=folder.name)
    prompts = prompts_of(metadata)
    return QwenEncoder(
        folder / "tokenizer.json",
        operation=operation,
        max_model_len=min(max_model_len, length_limit(metadata) or max_model_len),
        control_tokens=settings.control_tokens,
        default_instruction=default_instruction(metadata) if operation is RERANK else prompt.DEFAULT_INSTRUCTION,
        prompts=prompts if metadata.library_config else QWEN_PROMPTS,
    )


RERANKER: Final = ModelFamily(
    name="qwen3-reranker",
    operations=frozenset({RERANK}),
    load={"native": partial(load_native, RERANK, has_lm_head=True)},
    vllm=VllmSupport(encoder=partial(encoder_of, RERANK), hf_overrides=AS_RERANKER),
    understands=True,
)
"""A causal language model with Qwen3-Reranker's template; the score is the log-odds of yes."""

RERANKER_HEAD: Final = ModelFamily(
    name="qwen3-reranker-head",
    operations=frozenset({RERANK}),
    load={"native": partial(load_native, RERANK, has_lm_head=False)},
    vllm=VllmSupport(encoder=partial(encoder_of, RERANK)),
    understands=True,
)
"""The same with yes and no folded into a head of one label."""

EMBEDDER: Final = ModelFamily(
    name="qwen3-embedder",
    operations=frozenset({EMBED}),
    load={"native": partial(load_native, EMBED, has_lm_head=False)},
    vllm=VllmSupport(encoder=partial(encoder_of, EMBED)),
    understands=True,
)
"""The last token's hidden state; queries have a template with an instruction."""
