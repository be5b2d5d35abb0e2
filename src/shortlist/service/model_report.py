"""A report on one model on this machine: detection, sample prompts, memory and self-test. Loads it as the server would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shortlist.config import Settings
from shortlist.engine.base import EngineInfo, Notify
from shortlist.engine.memory_plan import MemoryPlan
from shortlist.service.build import load, served_model_for
from shortlist.service.selftest import run_selftest
from shortlist.service.selftest_data import PAIRS
from shortlist.service.selftest_report import SelfTest
from shortlist.service.vllm_deployment import deployments
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder, TemplateIds
from shortlist.types import EMBED, EMBED_SPARSE, RERANK, InputType, Operation, Prompt, in_order

SAMPLE: Final = PAIRS[0]
"""The pair whose prompt is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """One prompt as the model processes it, with control tokens."""

    title: str
    text: str
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Everything about one model.

    Attributes:
        source: As configured.
        name: The served model name.
        family: The model family.
        why: How the family was detected, in one sentence.
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
    family: str
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
        family=loaded.model.family.name,
        why=loaded.model.why,
        revision=loaded.model.revision,
        operations=operations,
        info=loaded.engine.info,
        files_bytes=loaded.model.size_bytes,
        memory=memory,
        template_ids=loaded.encoder.template_ids,
        samples=tuple(_sample(loaded.encoder, title, prompt) for title, prompt in prompts.items()),
        text_fingerprint=loaded.encoder.fingerprint,
        self_test=tested,
    )


# -- prompts ------------------------------------------------------------------------------------------------------------


def _pair_prompts(encoder: Encoder) -> dict[str, Prompt]:
    [pair] = encoder.encode_pairs(SAMPLE.query, (SAMPLE.right,))
    return {"a query and a document": pair.prompts[0]}


def _text_prompts(encoder: Encoder) -> dict[str, Prompt]:
    [query] = encoder.encode_texts((SAMPLE.query,), input_type=InputType.QUERY)
    [document] = encoder.encode_texts((SAMPLE.right,))
    return {"a query to embed": query.prompts[0], "a document to embed": document.prompts[0]}


_PROMPTS: Final = {RERANK: _pair_prompts, EMBED: _text_prompts, EMBED_SPARSE: _text_prompts}
"""The sample prompts of an operation, by title."""


def _sample(encoder: Encoder, title: str, prompt: Prompt) -> SamplePrompt:
    return SamplePrompt(title=title, text=encoder.view(prompt).text, num_tokens=prompt.num_tokens)
