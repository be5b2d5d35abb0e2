"""The model report matches the engine and the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from shortlist.engine.native.native_engine import NativeEngine
from shortlist.errors import EngineUnavailable, ModelRefused
from shortlist.service.model_report import SAMPLE, ModelReport, build_report
from shortlist.types import RERANK, Operation
from tests.support import apps, qwen
from tests.support.fixtures import ModelFactory


async def found(text: str, declared: Operation | None = None, **flat: Any) -> ModelReport:
    return await build_report(text, declared, apps.settings(**flat), notify=lambda _: None)


async def test_report_describes_a_reranker_as_served(make_model: ModelFactory) -> None:
    folder = make_model(kind="reranker")
    model = await found(str(folder), RERANK, dtype="float32", max_model_len=512)
    assert (model.source, model.name, model.family) == (str(folder), folder.name, "qwen3-reranker")
    assert (model.info.max_model_len, model.info.model_limit) == (512, 4096)
    assert model.operations == (RERANK,)
    assert model.revision is None
    assert not model.self_test.has_passed


async def test_ids_at_the_boundaries_are_the_official_ones(make_model: ModelFactory) -> None:
    template_ids = (await found(str(make_model(kind="reranker")), RERANK, random_weights=True)).template_ids
    assert template_ids is not None
    assert len(template_ids.prefix_ids) == 39
    assert template_ids.suffix_ids == (151645, 198, 151644, 77091, 198, 151667, 271, 151668, 271)
    assert template_ids.read_text == "\n\n"
    assert template_ids.answer_ids == (qwen.YES, qwen.NO)


async def test_shown_prompt_is_the_one_that_is_read(make_model: ModelFactory) -> None:
    [sample] = (await found(str(make_model(kind="reranker")), RERANK, random_weights=True)).samples
    assert sample.text.startswith("<|im_start|>system\nJudge whether")
    assert f"<Query>: {SAMPLE.query}\n<Document>: {SAMPLE.right}<|im_end|>\n" in sample.text
    assert sample.text.endswith("<think>\n\n</think>\n\n")


async def test_embedder_shows_a_query_and_a_document(make_model: ModelFactory) -> None:
    model = await found(str(make_model(kind="embedder")), random_weights=True)
    query, document = (sample.text for sample in model.samples)
    assert query.startswith("Instruct: ")
    assert query.endswith(f"Query:{SAMPLE.query}<|endoftext|>")
    assert document == f"{SAMPLE.right}<|endoftext|>"
    assert model.template_ids is not None
    assert (model.template_ids.prefix_ids, model.template_ids.suffix_ids, model.template_ids.answer_ids) == (
        (),
        (151643,),
        None,
    )
    assert model.self_test.has_passed


async def test_memory_of_an_engine_in_another_process_is_read_before_it_closes(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_in_engine(engine: NativeEngine, function: Callable[[], Any], *, timeout_s: float) -> Any:
        if not engine.is_alive:
            raise EngineUnavailable("it was closed")
        return function()

    monkeypatch.setattr(NativeEngine, "run_in_engine", run_in_engine, raising=False)
    model = await found(str(make_model(kind="reranker")), RERANK, random_weights=True)
    assert model.memory is not None


@pytest.mark.parametrize(("dtype", "number_bytes"), [("float32", 4), ("bfloat16", 2)])
async def test_memory_is_computed_from_weights_and_cache(make_model: ModelFactory, dtype: str, number_bytes: int) -> None:
    folder = make_model(kind="reranker", tied=False)
    memory = (await found(str(folder), RERANK, dtype=dtype, random_weights=True)).memory
    shape = qwen.SHAPES["tiny"]
    assert memory is not None
    weights = qwen.random_weights("reranker", shape, torch.float32, tied=True)
    assert memory.num_parameters == sum(tensor.numel() for tensor in weights.values())  # without the LM head
    assert memory.weights_bytes == number_bytes * memory.num_parameters
    assert memory.activations_bytes is not None


async def test_demo_leaves_its_steps_to_its_library() -> None:
    model = await found("demo")
    assert model.template_ids is None
    assert model.memory is not None
    assert model.memory.activations_bytes is None
    assert model.info.model_limit == 256
    assert model.self_test.has_passed
    assert any(SAMPLE.query in sample.text for sample in model.samples)


async def test_self_test_runs_even_where_serving_would_not(make_model: ModelFactory) -> None:
    model = await found(str(make_model(kind="reranker")), RERANK, self_test="off")
    assert model.self_test.failed


async def test_model_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(ModelRefused):
        await found("./nowhere")
