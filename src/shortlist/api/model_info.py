"""The description of a model: one object for model lists, one in the format of TEI."""

from __future__ import annotations

from datetime import UTC, datetime

from shortlist import __version__
from shortlist.api.dialects.dialect import Json
from shortlist.config import Settings
from shortlist.schemas.model_list import ModelDescription
from shortlist.types import EMBED, OPERATIONS, RERANK, ModelCard

MODEL_TYPES = {RERANK: "rerank", EMBED: "embedding"}
"""Model types in Xinference's terms, by which its clients select models."""

LABELS = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}


def model(card: ModelCard) -> ModelDescription:
    """Return the public description of a model."""
    operations = [operation for operation in OPERATIONS.values() if operation in card.operations]
    return {
        "id": card.name,
        "object": "model",
        "created": card.created_s,
        "owned_by": "shortlist",
        "root": card.name,
        "parent": None,
        "model_type": MODEL_TYPES.get(operations[0], operations[0].name),
        "tasks": [operation.name for operation in operations],
        "capabilities": [operation.name for operation in operations],
        "max_model_len": card.max_model_len,
        "dimensions": card.dimensions,
        "aliases": list(card.aliases),
    }


def infinity(card: ModelCard) -> Json:
    """Return the model in Infinity's format, whose client requires numbers that it does not use.

    Source: infinity-client 0.0.78, `ModelInfo`.
    """
    return {**model(card), "owned_by": "infinity", "stats": {}}


def ollama(card: ModelCard) -> Json:
    """Return the model in the format of Ollama's lists."""
    modified = datetime.fromtimestamp(card.created_s, UTC).isoformat()
    return {"name": card.name, "model": card.name, "modified_at": modified, "details": {"format": "safetensors"}}


def ollama_details(card: ModelCard) -> Json:
    """Return what Ollama adds when it describes one model."""
    names = {EMBED: "embedding"}
    operations = [operation for operation in OPERATIONS.values() if operation in card.operations]
    return {
        "model_info": {"general.context_length": card.max_model_len, "general.embedding_length": card.dimensions},
        "capabilities": [names.get(operation, operation.name) for operation in operations],
    }


def info(card: ModelCard, settings: Settings) -> Json:
    """Return the model in TEI's format; a model for both tasks is a reranker.

    Source: text-embeddings-inference 1.9.3, `Info` in `router/src/http/types.rs`.
    """
    kind = {"reranker": LABELS} if RERANK in card.operations else {"embedding": {"pooling": "last_token"}}
    scheduler, server = settings.scheduler, settings.server
    return {
        "model_id": card.name,
        "model_sha": None,
        "model_dtype": settings.model.dtype,
        "served_model_name": card.name,
        "model_type": kind,
        "max_concurrent_requests": scheduler.max_concurrent_requests,
        "max_input_length": card.max_model_len,
        "max_batch_tokens": scheduler.max_batch_tokens,
        "max_batch_requests": scheduler.max_batch_items,
        "max_client_batch_size": server.max_client_batch_size,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
