"""What is served from a folder equals what sentence-transformers computes from it, whatever the folder states, or it is refused.

The layouts are generated (`tests.support.layouts`): some in an ordinary run, hundreds in `make test-full`.
"""

from __future__ import annotations

import gc
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from shortlist.errors import BadSetting, ModelRefused
from shortlist.models.registry import inspect
from shortlist.service.build import build_runtime
from shortlist.service.runtime import Runtime
from shortlist.types import EMBED, RERANK
from tests.support.apps import http, settings
from tests.support.examples import examples
from tests.support.layouts import Layout, Vocabularies, cross_encoder, embedder

NUM_EMBEDDERS, NUM_CROSS_ENCODERS = examples(10, 220), examples(8, 140)
ANGLE, LENGTH, LOGIT = 1e-3, 1e-2, 0.02

pytestmark = pytest.mark.timeout(1200)

SHORT = "How do courts read a Lease?"
LONG = " ".join(f"word{number} lease" for number in range(200))
TEXTS = [SHORT, LONG, "中文 é\u0301 \U0001f642 mixed", "query: asked by the client itself", "x"]
PAIRS = [
    (SHORT, "Courts read the lease as a whole."),
    (SHORT, LONG),
    (SHORT, "tenants must pay within 30 days " * 12),
    (LONG, "pay"),
    (LONG, "tenants must pay " * 90),
    (LONG, LONG + " and one more"),
    ("租约", "法院怎样解读租约？"),
]


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Vocabularies:
    return Vocabularies.write(tmp_path_factory.mktemp("vocabularies"), tokenizer_path)


def expected_prompt(layout: Layout, input_type: str | None, text: str) -> str:
    """Return the prompt that a text needs by the folder's own word."""
    prompts = layout.prompts
    if any(prompt and text.startswith(prompt) for prompt in prompts.values()):
        return ""
    documents = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), "")
    if input_type is None:
        return prompts[layout.default] if layout.default else documents
    return prompts.get("query", "") if input_type == "query" else documents


def official_embedder(layout: Layout) -> SentenceTransformer:
    model = SentenceTransformer(str(layout.folder), device="cpu", local_files_only=True)
    model.max_seq_length = own_limit(model)
    return model


async def check_embedder(layout: Layout, client: httpx2.AsyncClient) -> None:
    model = official_embedder(layout)
    limit = own_limit(model)
    keeps_length = model.similarity_fn_name != "cosine"
    for input_type in ("query", "document", None):
        answer = await ask(client, "/v1/embeddings", input=TEXTS, **({"input_type": input_type} if input_type else {}))
        cut = []
        for index, text in enumerate(TEXTS):
            prompt = expected_prompt(layout, input_type, text)
            official = model.encode(text, prompt=prompt)
            check_vector(answer["data"][index]["embedding"], official, keeps_length=keeps_length)
            num_tokens = len(model.tokenizer(prompt + text)["input_ids"])
            cut += [index] if num_tokens > limit else []
        assert answer.get("truncated_documents", []) == cut
    for name, prompt in layout.prompts.items():
        found = await ask(client, "/embed", inputs=[SHORT], prompt_name=name, normalize=False)
        check_vector(found[0], model.encode(SHORT, prompt=prompt), keeps_length=True)
    check_vector((await ask(client, "/embed", inputs=[SHORT]))[0], model.encode(SHORT, prompt=""), keeps_length=False)


async def check_ranking(layout: Layout, client: httpx2.AsyncClient) -> None:
    """Compare the scores of an embedder with its own similarities."""
    model = official_embedder(layout)
    documents = [text for _, text in PAIRS]
    query = model.encode(SHORT, prompt=expected_prompt(layout, "query", SHORT))
    vectors = np.stack([model.encode(text, prompt=expected_prompt(layout, "document", text)) for text in documents])
    official = model.similarity(query, vectors)[0].numpy()
    answer = await ask(client, "/v1/rerank", query=SHORT, documents=documents, raw_scores=True)
    found = {result["index"]: result["relevance_score"] for result in answer["results"]}
    scale = max(1.0, float(np.abs(official).max()))
    np.testing.assert_allclose([found[index] for index in range(len(documents))], official, atol=2e-3 * scale)


def check_vector(found: Any, official: np.ndarray, *, keeps_length: bool) -> None:
    vector = np.asarray(found, np.float32)
    length, official_length = np.linalg.norm(vector), np.linalg.norm(official)
    assert vector.shape == official.shape
    if official_length == 0:  # of a text whose only token merges with its prompt, which is not pooled
        assert length == 0
        return
    assert vector @ official / (length * official_length) > 1 - ANGLE
    assert length == pytest.approx(official_length if keeps_length else 1.0, rel=LENGTH)


async def check_cross_encoder(layout: Layout, client: httpx2.AsyncClient) -> None:
    model = CrossEncoder(str(layout.folder), device="cpu", local_files_only=True)
    model.max_seq_length = own_limit(model)
    if model[0].auto_model.config.pad_token_id is None:
        model[0].auto_model.config.pad_token_id = model.tokenizer.pad_token_id
    for query, document in PAIRS:
        official = float(model.predict([(query, document)], activation_fn=torch.nn.Identity())[0])
        answer = await ask(client, "/v1/rerank", query=query, documents=[document], return_logits=True, return_details=True)
        is_cut = answer["details"][0]["truncated"]
        has_template = "message" in getattr(model[0], "modality_config", {})
        if not (has_template and is_cut):  # of a template's text the library cuts the end, in other places
            assert answer["logits"][0] == pytest.approx(official, abs=LOGIT)
        strict = await client.post("/v1/rerank", json={"query": query, "documents": [document], "on_overflow": "error"})
        assert (strict.status_code == httpx2.codes.BAD_REQUEST) is is_cut


def own_limit(model: Any) -> int:
    """Return the tokens that the model can read. The library lets models of RoBERTa's kind read two more than they have positions."""
    limits = [int(min(model.max_seq_length or 10**6, 10**6))]
    for module in model.modules():
        positions = getattr(module, "position_embeddings", None)
        if isinstance(positions, torch.nn.Embedding):
            starts = getattr(module, "padding_idx", None)
            limits.append(positions.num_embeddings - (0 if starts is None else starts + 1))
    return min(limits)


async def ask(client: httpx2.AsyncClient, path: str, **body: object) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == httpx2.codes.OK, answer.text
    return answer.json()


async def serve_and_check(layout: Layout) -> str:
    """Compare a layout with the library; return what became of it."""
    try:
        operations = inspect(layout.folder, name="model").family.operations
        if RERANK in operations:
            async with http(runtime_of(layout, "reranker")) as client:
                await (check_cross_encoder if layout.kind == "cross-encoder" else check_ranking)(layout, client)
        if EMBED in operations:
            async with http(runtime_of(layout, "embedder")) as client:
                await check_embedder(layout, client)
    except (ModelRefused, BadSetting) as refused:
        return refused.message
    return SERVED


def runtime_of(layout: Layout, flag: str) -> Runtime:
    options = settings(device="cpu", dtype="float32", max_model_len=4096, **{flag: [str(layout.folder)]})
    return build_runtime(options, notify=lambda _: None)


@pytest.mark.parametrize("number", range(NUM_EMBEDDERS))
async def test_embedder(number: int, tmp_path: Path, vocabularies: Vocabularies) -> None:
    await check(embedder(number, tmp_path / "model", vocabularies))


@pytest.mark.parametrize("number", range(NUM_CROSS_ENCODERS))
async def test_cross_encoder(number: int, tmp_path: Path, vocabularies: Vocabularies) -> None:
    await check(cross_encoder(number, tmp_path / "model", vocabularies))


SERVED = "served"
OUTCOMES: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def most_are_served() -> Iterator[None]:
    """A refusal is right for some layouts; all being refused would be no comparison."""
    yield
    print(dict(OUTCOMES))
    assert OUTCOMES.total() < 10 or OUTCOMES["refused"] <= OUTCOMES.total() // 5


async def check(layout: Layout) -> None:
    try:
        outcome = await serve_and_check(layout)
        assert "\n" not in outcome
        OUTCOMES[outcome if outcome == SERVED else "refused"] += 1
    except BaseException as error:
        error.add_note(f"layout: {dict(layout.says)}")
        raise
    finally:
        shutil.rmtree(layout.folder, ignore_errors=True)
        gc.collect()
