"""What kind of model a folder holds, decided from evidence, with the reason in words.

Stronger evidence goes first: sentence-transformers' own files, then the architecture and its head, then the table of published
models, then the model's card. A name decides only when a hub vouches for it and it is in the table letter for letter; when the
evidence does not reach, the person is asked. This module opens no weights and loads no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shortlist.errors import ModelRefused
from shortlist.hub.evidence import Evidence, Listing, read_evidence
from shortlist.hub.kind import (
    BASES,
    EMBEDDERS,
    RERANKERS,
    YES_NO,
    ModelKind,
    Reader,
    count_labels,
    has_head,
    is_framed_as_qwen3_embedding,
    is_framed_as_qwen3_reranker,
    is_qwen3,
    read_words,
)
from shortlist.hub.screening import screen
from shortlist.types import Task

_RERANKER_TAGS = frozenset({"text-ranking", "cross-encoder"})
_EMBEDDER_TAGS = frozenset({"feature-extraction", "sentence-similarity"})

_LIBRARY_REFUSALS = {
    "SparseEncoder": "makes sparse vectors, one weight per word of its vocabulary; Shortlist serves dense ones",
    "MultiVectorEncoder": "makes one vector per token; Shortlist serves one vector per text, and rerankers",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a folder holds, and the evidence for it in one sentence."""

    kind: ModelKind
    why: str


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A folder that can be served.

    Attributes:
        kind: What runs it.
        why: The evidence, in one sentence for people.
        size_bytes: Size of all its files together.
    """

    kind: ModelKind
    why: str
    size_bytes: int


def inspect(
    folder: Path,
    *,
    name: str,
    hub_id: str | None = None,
    declared: Task | None = None,
    listing: Listing | None = None,
    reader: Reader = Reader.OURS,
    with_weights: bool = True,
) -> ModelFiles:
    """Say what the folder holds.

    Args:
        folder: The model's folder; its small files are enough when `listing` is given.
        name: What to call the model in a message.
        hub_id: `OWNER/NAME` when a hub vouches for the name.
        declared: The task the person wants it for, or None to go by the evidence alone.
        listing: The files the hub will send, when not all are in the folder yet.
        reader: Who reads its weights.
        with_weights: Whether the weights should be listed by now.

    Raises:
        ModelRefused: it cannot be served, not for this task, or the evidence does not say what it is.
    """
    evidence = read_evidence(folder, name=name, hub_id=hub_id, listing=listing)
    screen(evidence, reader=reader, with_weights=with_weights and reader is not Reader.ELSEWHERE)
    verdict = decide(evidence, declared)
    return ModelFiles(verdict.kind, verdict.why, evidence.size_bytes)


def decide(evidence: Evidence, declared: Task | None) -> Verdict:
    """Weigh the evidence; `declared` settles what it leaves open and never overrules it.

    Raises:
        ModelRefused: the evidence says it is nothing we serve, says otherwise than declared, or says too little.
    """
    library_type = str(evidence.library_config.get("model_type", "SentenceTransformer"))
    if library_type in _LIBRARY_REFUSALS:
        raise ModelRefused(f"{evidence.name} {_LIBRARY_REFUSALS[library_type]}")
    if library_type not in {"SentenceTransformer", "CrossEncoder"}:
        raise ModelRefused(f"{evidence.name} is of a sentence-transformers type that Shortlist does not know: {library_type}")
    verdict = _by_modules(evidence, library_type) if evidence.modules else _by_architecture(evidence, declared)
    if declared is not None and declared not in verdict.kind.tasks:
        raise ModelRefused(f"{evidence.name} cannot {declared.value}: it is a {verdict.kind.value} ({verdict.why})")
    return verdict


# -- folders written by sentence-transformers ---------------------------------------------------------------------------


def _by_modules(evidence: Evidence, library_type: str) -> Verdict:
    """Read modules.json. Folders older than the type's own field hold embedders.

    Source: `BaseModel._get_model_type` in sentence-transformers 6.
    """
    names = [module.class_name for module in evidence.modules]
    if library_type == "CrossEncoder":
        return _cross_encoder_modules(evidence, names)
    if names[0] != "Transformer" or "Pooling" not in names:
        raise ModelRefused(f"{evidence.name} is not a text encoder with pooling (its modules: {', '.join(names)})")
    steps = f"modules.json: {', '.join(names)}"
    if is_framed_as_qwen3_embedding(evidence):
        return Verdict(
            ModelKind.QWEN3_EMBEDDER, f"{steps}; a Qwen3 model pooled at its last token, queries framed with an instruction"
        )
    return Verdict(ModelKind.BI_ENCODER, f"{steps}; sentence-transformers pools {evidence.architecture or 'it'}")


def _cross_encoder_modules(evidence: Evidence, names: list[str]) -> Verdict:
    says = "config_sentence_transformers.json: CrossEncoder"
    if "LogitScore" not in names and has_head(evidence):
        return _by_head(evidence, says)
    if "LogitScore" not in names and "Dense" not in names:
        raise ModelRefused(
            f"{evidence.name} has no head to rank with, though it calls itself a CrossEncoder ({', '.join(names)})"
        )
    if "LogitScore" not in names:
        return Verdict(ModelKind.CROSS_ENCODER, f"{says} ({', '.join(names)})")
    score = evidence.modules[names.index("LogitScore")].config
    if (
        is_qwen3(evidence)
        and (score.get("true_token_id"), score.get("false_token_id")) == YES_NO
        and is_framed_as_qwen3_reranker(evidence)
    ):
        return Verdict(ModelKind.QWEN3_RERANKER, f"{says}; a Qwen3 model scored by its yes and no")
    return Verdict(ModelKind.CROSS_ENCODER, f"{says}; scored by a word of its vocabulary")


# -- every other folder -------------------------------------------------------------------------------------------------


def _by_architecture(evidence: Evidence, declared: Task | None) -> Verdict:
    architecture = evidence.architecture
    if architecture is None:
        raise ModelRefused(f"{evidence.name} names no architecture in its config.json")
    if has_head(evidence):
        return _by_head(evidence, "config.json")
    if architecture in {"Qwen3ForCausalLM", "Qwen3Model"}:
        return _qwen3(evidence, declared, architecture)
    if architecture.endswith("ForCausalLM"):
        raise ModelRefused(
            f"{evidence.name} is a language model ({architecture}); the only ones that Shortlist ranks with are Qwen3's"
        )
    raise ModelRefused(
        f"{evidence.name} is a bare {architecture}: without modules.json nothing says how its token vectors become one vector "
        "(its pooling), and it has no head to rank with"
    )


def _by_head(evidence: Evidence, says: str) -> Verdict:
    architecture, num_labels = evidence.architecture, count_labels(evidence)
    if num_labels != 1:
        raise ModelRefused(f"{evidence.name} is a classifier with {num_labels} labels; a reranker has exactly one")
    is_silent = not evidence.modules and not read_words(evidence, "base_model")
    if architecture == "Qwen3ForSequenceClassification" and (is_silent or is_framed_as_qwen3_reranker(evidence)):
        return Verdict(ModelKind.QWEN3_RERANKER_HEAD, f"{says}: {architecture} with one label, framed as Qwen3-Reranker")
    return Verdict(ModelKind.CROSS_ENCODER, f"{says}: {architecture} with one label")


def _qwen3(evidence: Evidence, declared: Task | None, architecture: str) -> Verdict:
    """Decide what a Qwen3 language model is for; its weights alone do not tell."""
    if evidence.hub_id in RERANKERS:
        return Verdict(ModelKind.QWEN3_RERANKER, f"{evidence.hub_id} is a published reranker")
    if evidence.hub_id in EMBEDDERS:
        return Verdict(ModelKind.QWEN3_EMBEDDER, f"{evidence.hub_id} is a published embedder")
    if declared is Task.RERANK and architecture == "Qwen3Model":
        raise ModelRefused(f"{evidence.name} cannot rerank: it was saved without the head that says yes or no ({architecture})")
    if declared is not None:
        kind = ModelKind.QWEN3_RERANKER if declared is Task.RERANK else ModelKind.QWEN3_EMBEDDER
        return Verdict(kind, f"config.json: {architecture}; you said that it is for {declared.value}")
    return _by_card(evidence, architecture)


def _by_card(evidence: Evidence, architecture: str) -> Verdict:
    bases, tags = read_words(evidence, "base_model"), read_words(evidence, "tags") | read_words(evidence, "pipeline_tag")
    ranks = bool(bases & RERANKERS) or (bool(tags & _RERANKER_TAGS) and bases <= BASES)
    embeds = bool(bases & EMBEDDERS) or (bool(tags & _EMBEDDER_TAGS) and bases <= BASES)
    if ranks and not embeds and architecture == "Qwen3ForCausalLM":
        return Verdict(ModelKind.QWEN3_RERANKER, f"config.json: {architecture}; README.md says reranker{_because(bases, tags)}")
    if embeds and not ranks:
        return Verdict(ModelKind.QWEN3_EMBEDDER, f"config.json: {architecture}; README.md says embedder{_because(bases, tags)}")
    raise ModelRefused(
        f"{evidence.name} is a Qwen3 language model, and nothing in it says whether it ranks or embeds: "
        f"say --reranker {evidence.name} or --embedder {evidence.name}"
    )


def _because(bases: frozenset[str], tags: frozenset[str]) -> str:
    found = sorted((bases & (RERANKERS | EMBEDDERS)) or (tags & (_RERANKER_TAGS | _EMBEDDER_TAGS)))
    return f" ({', '.join(found)})"
