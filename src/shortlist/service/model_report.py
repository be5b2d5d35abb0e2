"""A report on one model on this machine: detection, sample prompts, memory and self-test. Loads it as the server would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shortlist.config import Settings
from shortlist.engine.base import EngineInfo, Notify
from shortlist.hub import ModelKind
from shortlist.service.build import load, served_model_for
from shortlist.service.memory_plan import MemoryPlan
from shortlist.service.selftest import run_selftest
from shortlist.service.selftest_data import PAIRS
from shortlist.service.selftest_report import SelfTest
from shortlist.service.vllm_deployment import deployments
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.text.prompt import TEMPLATE_VERSION
from shortlist.text.qwen_encoder import QwenEncoder
from shortlist.types import EMBED, RERANK, Operation, Prompt, in_order

SAMPLE: Final = PAIRS[0]
"""The pair whose prompt is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """One prompt as the model processes it, with control tokens."""

    title: str
    text: str
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateIds:
    """The token ids of the prompt template.

    Attributes:
        template_version: Version of the template text.
        prefix_ids: Start of every pair prompt; empty for an embedder.
        suffix_ids: End of every prompt.
        read_text: The last suffix token as text; the model output is taken there.
        answer_ids: The ids of "yes" and "no" for a reranker.
    """

    template_version: int
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    read_text: str
    answer_ids: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Everything about one model.

    Attributes:
        source: As configured.
        name: The served model name.
        kind: The model kind.
        why: How the kind was detected, in one sentence.
        revision: The revision of its files, if known.
        operations: Its operations.
        info: The engine info.
        files_bytes: Size of its local files.
        memory: The memory plan; None for vLLM.
        template_ids: The template ids; None if the model library applies its own template.
        samples: Sample prompts.
        text_fingerprint: Fingerprint of tokenizer and template.
        self_test: The self-test.
    """

    source: str
    name: str
    kind: ModelKind
    why: str
    revision: str | None
    operations: tuple[Operation, ...]
    info: EngineInfo
    files_bytes: int
    memory: MemoryPlan | None
    template_ids: TemplateIds | None
    samples: tuple[SamplePrompt, ...]
    text_fingerprint: str
    self_test: SelfTest


async def build_report(text: str, declared: Operation | None, settings: Settings, *, notify: Notify) -> ModelReport:
    """Load a model as the server does, self-test it, and close it.

    Args:
        text: The model, as for `serve`.
        declared: The configured task, or None to detect it from the files.
        settings: As for `serve`; the self-test runs whatever `self_test` says.
        notify: Reports progress.

    Raises:
        BadSetting: a setting does not fit the model.
        ModelRefused: it is not available, or cannot be served.
    """
    [deployment] = deployments(settings, [text])
    metrics = Metrics()
    loaded = load(text, declared, settings.model, notify=notify, metrics=metrics, deployment=deployment)
    try:
        served = served_model_for(loaded, text, declared, settings, metrics)
        notify(f"{served.name}: testing itself")
        most = settings.scheduler.max_batch_tokens
        tested = await run_selftest(served, has_random_weights=settings.model.random_weights, max_batch_tokens=most)
        memory = loaded.memory(settings.scheduler)  # runs in the engine, which may be another process
    finally:
        loaded.engine.close()
    operations = tuple(in_order(served.card.operations))
    prompts = {title: prompt for operation in operations for title, prompt in _PROMPTS[operation](loaded.encoder).items()}
    return ModelReport(
        source=text,
        name=loaded.name,
        kind=loaded.model.kind,
        why=loaded.model.why,
        revision=loaded.model.revision,
        operations=operations,
        info=loaded.engine.info,
        files_bytes=loaded.model.size_bytes,
        memory=memory,
        template_ids=_template_ids(loaded.encoder, next(iter(prompts.values()))),
        samples=tuple(_sample(loaded.encoder, title, prompt) for title, prompt in prompts.items()),
        text_fingerprint=loaded.encoder.fingerprint,
        self_test=tested,
    )


# -- prompts ------------------------------------------------------------------------------------------------------------


def _template_ids(encoder: Encoder, sample: Prompt) -> TemplateIds | None:
    if not isinstance(encoder, QwenEncoder):
        return None
    suffix = encoder.view(sample).parts["suffix"]
    return TemplateIds(
        template_version=TEMPLATE_VERSION,
        prefix_ids=encoder.prefix_ids,
        suffix_ids=encoder.suffix_ids,
        read_text=suffix[-1].text,
        answer_ids=encoder.answer_ids if encoder.operation is RERANK else None,
    )


def _pair_prompts(encoder: Encoder) -> dict[str, Prompt]:
    [pair] = encoder.encode_pairs(SAMPLE.query, (SAMPLE.right,))
    return {"a query and a document": pair.prompts[0]}


def _text_prompts(encoder: Encoder) -> dict[str, Prompt]:
    [query] = encoder.encode_texts((SAMPLE.query,), is_query=True)
    [document] = encoder.encode_texts((SAMPLE.right,))
    return {"a query to embed": query.prompts[0], "a document to embed": document.prompts[0]}


_PROMPTS: Final = {RERANK: _pair_prompts, EMBED: _text_prompts}
"""The sample prompts of an operation, by title."""


def _sample(encoder: Encoder, title: str, prompt: Prompt) -> SamplePrompt:
    return SamplePrompt(title=title, text=encoder.view(prompt).text, num_tokens=prompt.num_tokens)
