"""Sparse vectors over HTTP, from a real SPLADE model, at the path of Text Embeddings Inference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")

from sentence_transformers import SparseEncoder

from shortlist.server import build_app
from tests.support.apps import settings
from tests.support.models import sparse_head, splade
from tests.support.serving import serving

TEXTS = ["open the file and call json.load", "pythons are large snakes", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return splade(tmp_path_factory.mktemp("models") / "my-splade")


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[httpx2.Client]:
    with serving(build_app(settings(models=[str(folder), "demo"], ui=False))) as url, httpx2.Client(base_url=url) as client:
        yield client


def test_components_are_those_of_the_library(http: httpx2.Client, folder: Path) -> None:
    answer = http.post("/embed_sparse", json={"inputs": TEXTS})
    assert answer.status_code == 200
    official = SparseEncoder(str(folder), device="cpu").encode(TEXTS, convert_to_sparse_tensor=False).numpy()
    for components, row in zip(answer.json(), official, strict=True):
        assert [each["index"] for each in components] == np.flatnonzero(row).tolist()
        np.testing.assert_allclose([each["value"] for each in components], row[np.flatnonzero(row)], atol=1e-5)


def test_second_request_is_cached_and_identical(http: httpx2.Client) -> None:
    one, other = (http.post("/embed_sparse", json={"inputs": "cached sparse text"}) for _ in range(2))
    assert other.headers["x-cache-hits"] == "1"
    assert one.json() == other.json()


def test_models_of_other_operations_are_refused_by_name(http: httpx2.Client) -> None:
    answer = http.post("/m/demo/embed_sparse", json={"inputs": "x"})
    assert (answer.status_code, "my-splade" in answer.json()["error"]) == (424, True)
    assert http.post("/m/my-splade/embed", json={"inputs": "x"}).status_code == 424


def test_default_model_is_the_sparse_one(http: httpx2.Client) -> None:
    answer = http.post("/embed_sparse", json={"inputs": ["x"]})
    assert answer.headers["x-served-model"] == "my-splade"
    listed = {each["id"]: each["tasks"] for each in http.get("/v1/models").json()["data"]}
    assert listed["my-splade"] == ["embed_sparse"]
    assert 'task="embed_sparse"' in http.get("/metrics").text


def test_vllms_plugin_format_has_the_same_weights(http: httpx2.Client) -> None:
    answer = http.post("/pooling", json={"task": "plugin", "data": {"input": TEXTS, "task": "sparse"}}).json()
    assert set(answer) == {"request_id", "created_at", "data"}
    assert [(each["index"], each["object"]) for each in answer["data"]["data"]] == [
        (0, "sparse-embedding"),
        (1, "sparse-embedding"),
        (2, "sparse-embedding"),
    ]
    tei = http.post("/embed_sparse", json={"inputs": TEXTS}).json()
    for one, other in zip(answer["data"]["data"], tei, strict=True):
        assert [(each["token_id"], each["weight"]) for each in one["sparse_embedding"]] == [
            (each["index"], each["value"]) for each in other
        ]
    assert answer["data"]["usage"]["total_tokens"] > 0
    assert http.post("/pooling", json={"data": {"input": "one text"}}).status_code == 200


@pytest.mark.parametrize(
    ("data", "param"),
    [
        ({"input": "a", "task": "dense&sparse"}, "data.task"),
        ({"input": "a", "embed_task": "dense"}, "data.embed_task"),
        ({"input": "a", "return_tokens": True}, "data.return_tokens"),
        ({"input": []}, "input"),
        ({}, "data.input"),
    ],
)
def test_what_the_plugin_format_cannot_have_is_refused(http: httpx2.Client, data: dict[str, object], param: str) -> None:
    answer = http.post("/pooling", json={"data": data})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_dense_and_sparse_vectors_of_one_model(tmp_path: Path) -> None:
    folder = sparse_head(tmp_path / "my-m3")
    with serving(build_app(settings(models=[str(folder)], ui=False, self_test="strict", random_weights=True))) as url:
        sparse = httpx2.post(f"{url}/embed_sparse", json={"inputs": TEXTS[:2]})
        dense = httpx2.post(f"{url}/embed", json={"inputs": TEXTS[:2]})
        refused = httpx2.post(f"{url}/rerank", json={"query": "a", "texts": ["b"]})
        metrics = httpx2.get(f"{url}/metrics").text
    assert [bool(each) for each in sparse.json()] == [True, True]
    assert [len(each) for each in dense.json()] == [32, 32]
    assert refused.status_code == 404
    assert 'shortlist_documents_total{model="my-m3",task="embed_sparse"} 2.0' in metrics
