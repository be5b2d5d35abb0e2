"""The engine for other models returns what sentence-transformers returns."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from transformers import AutoModel, AutoTokenizer

from shortlist.engine.base import ScoreScale
from shortlist.engine.sentence import BiEncoderEngine, CrossEncoderEngine, SparseEncoderEngine, SparseHeadEngine, engines
from shortlist.errors import EngineError, EngineOutOfMemory, EngineUnavailable, ModelRefused
from shortlist.types import (
    EMBED,
    EMBED_SPARSE,
    RERANK,
    Batch,
    Operation,
    Prompt,
    TextPrefix,
    TextPrompt,
    WorkItem,
)
from tests.support.engines import compute
from tests.support.models import DEMO, cross_encoder, sparse_head, splade

QUERY = "how do I read a json file in python"
DOCUMENTS = ["bake bread at 220 C", "open the file and call json.load", "pythons are large snakes", ""]


def batch(task: Operation, *jobs: tuple[str, list[str]]) -> Batch:
    items = []
    for number, (head_text, texts) in enumerate(jobs):
        prefix = TextPrefix(head_text if task is RERANK else "", 3)
        prompt = "" if task is RERANK else head_text
        prompts: list[Prompt] = [TextPrompt(prefix, text, 5, prompt) for text in texts]
        items += [WorkItem(number, index, prompt) for index, prompt in enumerate(prompts)]
    return Batch(task, tuple(items))


@pytest.fixture(scope="module")
def crossing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder(tmp_path_factory.mktemp("cross"))


async def test_cross_encoder_returns_the_logits_of_the_library(crossing: Path) -> None:
    engine = CrossEncoderEngine(crossing, device="cpu", max_model_len=8192)
    scores = await compute(engine, batch(RERANK, (QUERY, DOCUMENTS), ("other", DOCUMENTS)))
    official = CrossEncoder(str(crossing), device="cpu").predict(
        [(query, text) for query in (QUERY, "other") for text in DOCUMENTS], activation_fn=torch.nn.Identity()
    )
    np.testing.assert_allclose(scores, official, atol=1e-5)
    assert np.std(scores) > 0.01
    assert engine.info.score_scale is ScoreScale.LOG_ODDS
    assert engine.info.operations == {RERANK}


async def test_demo_model_ranks_by_meaning() -> None:
    engine = BiEncoderEngine(DEMO, device="cpu", max_model_len=8192)
    scores = await compute(engine, batch(RERANK, (QUERY, DOCUMENTS)))
    assert int(np.argmax(scores)) == 1
    model = SentenceTransformer(str(DEMO), device="cpu")
    vectors = model.encode([QUERY, *DOCUMENTS], normalize_embeddings=True)
    np.testing.assert_allclose(scores, vectors[1:] @ vectors[0], atol=1e-5)
    assert engine.info.score_scale is ScoreScale.COSINE


async def test_demo_model_embeds_in_384_dimensions_of_unit_length() -> None:
    engine = BiEncoderEngine(DEMO, device="cpu", max_model_len=8192)
    vectors = await compute(engine, batch(EMBED, ("", DOCUMENTS)))
    assert engine.info.dimensions == 384
    assert all(vector.dtype == np.float32 and vector.shape == (384,) for vector in vectors)
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in vectors], 1, atol=1e-5)


async def test_prefix_is_put_before_every_text_of_its_request() -> None:
    engine = BiEncoderEngine(DEMO, device="cpu", max_model_len=8192)
    prefixed, plain = await compute(engine, batch(EMBED, ("query: ", ["cats"]), ("", ["query: cats"])))
    np.testing.assert_allclose(prefixed, plain, atol=1e-5)


async def test_own_limit_of_the_model_holds() -> None:
    assert BiEncoderEngine(DEMO, device="cpu", max_model_len=8192).info.max_model_len == 256
    assert BiEncoderEngine(DEMO, device="cpu", max_model_len=64).info.max_model_len == 64


def test_classifier_with_several_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="3 labels"):
        CrossEncoderEngine(cross_encoder(tmp_path, num_labels=3), device="cpu", max_model_len=512)


async def test_fingerprint_follows_the_bytes(crossing: Path) -> None:
    def fingerprint(digest: str | None) -> str:
        return CrossEncoderEngine(crossing, device="cpu", max_model_len=512, digest=digest).info.fingerprint

    assert fingerprint("d1") == fingerprint("d1") != fingerprint("d2")
    assert fingerprint(None) != fingerprint(None), "unverified weights get a unique fingerprint"


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = cross_encoder(tmp_path)
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelRefused, match="cannot be loaded") as caught:
        CrossEncoderEngine(folder, device="cpu", max_model_len=512)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
async def test_memory_that_runs_out_is_said_in_our_words(
    crossing: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = CrossEncoderEngine(crossing, device="cpu", max_model_len=512)

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(engine._model, "predict", fails)
    with pytest.raises(EngineOutOfMemory):
        await compute(engine, batch(RERANK, (QUERY, DOCUMENTS)))


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = cross_encoder(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.weight"], weights["classifier.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelRefused, match=r"lacks weights, which would be random: .* and 1 more"):
        CrossEncoderEngine(folder, device="cpu", max_model_len=512)


@pytest.mark.parametrize("error", [ImportError("needs sentencepiece"), TypeError("odd\nlines"), IndexError])
def test_any_error_of_the_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(engines, "CrossEncoder", fail)
    with pytest.raises(ModelRefused, match="cannot be loaded") as caught:
        CrossEncoderEngine(tmp_path, device="cpu", max_model_len=512)
    assert "\n" not in caught.value.message


def test_missing_pooler_is_no_reason_to_refuse_an_embedder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(DEMO, folder)
    weights = {name: each for name, each in load_file(folder / "model.safetensors").items() if not name.startswith("pooler.")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    BiEncoderEngine(folder, device="cpu", max_model_len=512).close()


async def test_closed_engine_is_gone(crossing: Path) -> None:
    engine = CrossEncoderEngine(crossing, device="cpu", max_model_len=512)
    engine.close()
    engine.close()
    with pytest.raises(EngineUnavailable):
        await compute(engine, batch(RERANK, (QUERY, DOCUMENTS)))


async def test_sparse_encoder_returns_the_components_of_the_library(tmp_path: Path) -> None:
    folder = splade(tmp_path / "splade")
    engine = SparseEncoderEngine(folder, device="cpu", max_model_len=8192)
    assert engine.info.operations == {EMBED_SPARSE}
    assert engine.info.dimensions is None
    vectors = await compute(engine, batch(EMBED_SPARSE, ("", DOCUMENTS), ("query: ", DOCUMENTS[:1])))
    official = SparseEncoder(str(folder), device="cpu").encode(
        [*DOCUMENTS, f"query: {DOCUMENTS[0]}"], convert_to_sparse_tensor=False
    )
    for vector, row in zip(vectors, official.numpy(), strict=True):
        np.testing.assert_array_equal(vector.indices, np.flatnonzero(row))
        np.testing.assert_allclose(vector.values, row[vector.indices], atol=1e-5)
        assert (vector.indices.dtype, vector.values.dtype) == (np.int32, np.float32)
    with pytest.raises(EngineError):
        await compute(engine, batch(RERANK, (QUERY, DOCUMENTS)))
    engine.close()


async def test_sparse_head_weighs_every_token_by_its_largest_weight(tmp_path: Path) -> None:
    folder = sparse_head(tmp_path / "m3")
    engine = SparseHeadEngine(folder, device="cpu", max_model_len=8192)
    assert engine.info.operations == {RERANK, EMBED, EMBED_SPARSE}
    texts = [*DOCUMENTS, "the cat and the dog and the cat", "x " * 3000]
    vectors = await compute(engine, batch(EMBED_SPARSE, ("", texts), ("query: ", texts[:1])))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    head = load_file(folder / "sparse_linear.safetensors")
    for vector, text in zip(vectors, [*texts, f"query: {texts[0]}"], strict=True):
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=512)
        with torch.inference_mode():
            states = model(**encoded).last_hidden_state[0]
        expected: dict[int, float] = {}
        for token_id, state in zip(encoded["input_ids"][0].tolist(), states, strict=True):
            weight = max(0.0, float(state @ head["weight"][0] + head["bias"][0]))
            if weight > expected.get(token_id, 0.0) and token_id not in tokenizer.all_special_ids:
                expected[token_id] = weight
        assert expected or not text
        assert dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True)) == pytest.approx(expected, abs=1e-4)
        assert (np.diff(vector.indices) > 0).all()
    dense = await compute(engine, batch(EMBED, ("", DOCUMENTS)))
    assert [each.shape for each in dense] == [(32,)] * len(DOCUMENTS)
    engine.close()


@pytest.mark.parametrize(
    "tensors", [{}, {"weight": torch.zeros(1, 31), "bias": torch.zeros(1)}, {"weight": torch.zeros(1, 32)}]
)
def test_sparse_head_that_does_not_fit_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    folder = sparse_head(tmp_path / "m3")
    save_file(tensors, folder / "sparse_linear.safetensors")
    with pytest.raises(ModelRefused, match=r"sparse_linear.safetensors must have weight \[1, 32\] and bias \[1\]"):
        SparseHeadEngine(folder, device="cpu", max_model_len=8192)


def test_broken_sparse_head_is_refused(tmp_path: Path) -> None:
    folder = sparse_head(tmp_path / "m3")
    (folder / "sparse_linear.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        SparseHeadEngine(folder, device="cpu", max_model_len=8192)
