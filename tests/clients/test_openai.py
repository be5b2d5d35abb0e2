"""The openai package, unchanged, against a running server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openai
import pytest

from tests.support.process import launched

TEXTS = ["first text", "second text", ""]


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with launched("shortlist", "serve", "demo", "--no-ui") as server:
        yield openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_default_encoding_and_plain_numbers_agree(client: openai.OpenAI) -> None:
    default = client.embeddings.create(model="demo", input=TEXTS)
    numbers = client.embeddings.create(model="demo", input=TEXTS, encoding_format="float")
    assert [item.index for item in default.data] == [0, 1, 2]
    assert len(default.data[0].embedding) == 384
    for one, other in zip(default.data, numbers.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
    assert default.usage.total_tokens > 0


def test_fewer_dimensions(client: openai.OpenAI) -> None:
    short = client.embeddings.create(model="demo", input="first text", dimensions=64).data[0].embedding
    assert len(short) == 64
    assert np.linalg.norm(short) == pytest.approx(1, abs=1e-5)


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").owned_by == "shortlist"


def test_errors_are_the_packages_own_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-nobody", input="a")
    assert missing.value.code == "not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.embeddings.create(model="demo", input=[[1, 2, 3]])
    assert wrong.value.param == "input"
