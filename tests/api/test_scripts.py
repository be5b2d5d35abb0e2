"""Scripts that people wrote by hand for vLLM go on working with another port: the same model, the same scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx2
import pytest

from shortlist.service.build import build_runtime
from tests.support.apps import settings
from tests.support.fixtures import ModelFactory
from tests.support.official import INSTRUCTION, PREFIX, SUFFIX
from tests.support.process import serve

QUERY = "how do I read a json file in python"
DOCUMENTS = ["bake bread at 220 C", "open the file\nand call json.load", " pythons are <large> snakes ", "文件"]
ANOTHER = "Given a recipe, find another one"


@pytest.fixture(scope="module")
def url(make_model: ModelFactory) -> Iterator[str]:
    folder = make_model()
    runtime = build_runtime(settings(reranker=[str(folder)], random_weights=True, dtype="float32"), notify=print)
    with serve(runtime) as served:
        yield served.url


def ranked(url: str, **fields: Any) -> list[float]:
    answer = httpx2.post(f"{url}/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS, **fields}).raise_for_status()
    scores = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [scores[index] for index in range(len(DOCUMENTS))]


def scored(url: str, first: str | Sequence[str], second: str | Sequence[str], **fields: Any) -> list[float]:
    answer = httpx2.post(f"{url}/score", json={"text_1": first, "text_2": second, **fields}).raise_for_status()
    return [item["score"] for item in sorted(answer.json()["data"], key=lambda item: item["index"])]


def framed(instruction: str = INSTRUCTION) -> tuple[str, list[str]]:
    """Return what the example for vLLM on the model's card sends: the frame, divided between both texts."""
    return (
        f"{PREFIX}<Instruct>: {instruction}\n<Query>: {QUERY}\n",
        [f"<Document>: {document}{SUFFIX}" for document in DOCUMENTS],
    )


def test_scores_of_pairs_are_those_of_the_ranking(url: str) -> None:
    assert scored(url, QUERY, DOCUMENTS) == pytest.approx(ranked(url), abs=1e-6)


def test_framed_pairs_are_not_framed_twice(url: str) -> None:
    first, second = framed()
    assert scored(url, first, second) == pytest.approx(ranked(url), abs=1e-6)
    assert scored(url, [first] * len(second), second, truncate_prompt_tokens=-1) == pytest.approx(ranked(url), abs=1e-6)


def test_instruction_in_a_frame_counts(url: str) -> None:
    own = scored(url, *framed(ANOTHER))
    assert own == pytest.approx(ranked(url, instruction=ANOTHER), abs=1e-6)
    assert own != pytest.approx(ranked(url), abs=1e-6)


def test_framed_whole_in_one_text(url: str) -> None:
    first, second = framed()
    assert scored(url, first + second[1], "")[0] == pytest.approx(ranked(url)[1], abs=1e-6)


def test_model_is_found_by_its_basename_in_any_case(url: str) -> None:
    name = httpx2.get(f"{url}/v1/models").json()["data"][0]["id"]
    assert ranked(url, model=name.rpartition("/")[2].upper()) == ranked(url)
