"""Every check of the self-test passes for a good model, and fails for one that violates it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shortlist.engine.base import Engine, EngineInfo, ScoreScale
from shortlist.errors import EngineOutOfMemory, InvalidInput
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.scheduler.served_model import NO_EXPECTATIONS, Expectations, ServedModel
from shortlist.service.build import load, served_model_for
from shortlist.service.selftest import run_selftest
from shortlist.service.selftest_data import PAIRS
from shortlist.service.selftest_report import CAUSES, CheckStatus, SelfTest, SelfTestCheck
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.types import EMBED, NO_TRUNCATION, RERANK, Batch, Encoded, Operation, Prompt, TokenPrompt, Vector
from tests.support import apps
from tests.support.fake_engine import FakeEngine
from tests.support.fixtures import ModelFactory
from tests.support.oracle import OracleEngine
from tests.support.words import WordEncoder

UNDERSTANDS = Expectations(understands=True)
RERANKER, EMBEDDER = frozenset({RERANK}), frozenset({EMBED})


async def outcome(
    engine: Engine | None = None,
    encoder: Encoder | None = None,
    *,
    tasks: frozenset[Operation] = RERANKER,
    expectations: Expectations = UNDERSTANDS,
    has_random_weights: bool = False,
    max_batch_tokens: int = 16_384,
) -> SelfTest:
    served = apps.served(engine or OracleEngine(), encoder, operations=tasks, expectations=expectations)
    return await run_selftest(served, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)


def verdicts(found: SelfTest) -> dict[SelfTestCheck, CheckStatus]:
    return {result.check: result.status for result in found.results}


def failed(found: SelfTest) -> set[SelfTestCheck]:
    return {result.check for result in found.failed}


def detail(found: SelfTest, check: SelfTestCheck) -> str:
    return next(result.detail for result in found.results if result.check is check)


# -- a good model -------------------------------------------------------------------------------------------------------


async def test_good_reranker_passes_every_check() -> None:
    found = await outcome()
    assert found.has_passed
    passed = {check for check, status in verdicts(found).items() if status is CheckStatus.PASSED}
    assert passed == {
        SelfTestCheck.FINITE,
        SelfTestCheck.REPEATABLE,
        SelfTestCheck.ORDER_KEPT,
        SelfTestCheck.ALONE,
        SelfTestCheck.MEANING,
    }
    assert "14 of 14" in detail(found, SelfTestCheck.MEANING)
    assert "passed" in found.summary


async def test_good_embedder_passes_every_check() -> None:
    found = await outcome(tasks=EMBEDDER)
    assert found.has_passed
    assert verdicts(found)[SelfTestCheck.UNIT_LENGTH] is CheckStatus.PASSED
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.PASSED
    assert "13 of 13" in detail(found, SelfTestCheck.MEANING)


async def test_model_for_both_tasks_is_tested_for_both() -> None:
    found = await outcome(tasks=RERANKER | EMBEDDER)
    assert {result.operation for result in found.results} == {RERANK, EMBED}
    assert found.has_passed


def test_pairs_cover_every_topic() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    assert sum(pair.instruction is not None for pair in PAIRS) >= 2
    assert sum(pair.truncation != NO_TRUNCATION for pair in PAIRS) == 1
    assert all(pair.right != pair.wrong for pair in PAIRS)


def test_every_check_explains_its_failure() -> None:
    assert set(CAUSES) == set(SelfTestCheck)


async def test_no_step_is_larger_than_the_server_would_make() -> None:
    engine = OracleEngine()
    assert (await outcome(engine, max_batch_tokens=300)).has_passed
    sizes = [sum(item.prompt.num_tokens for item in batch.items) for batch in engine.batches]
    assert max(sizes) <= 300
    assert len(engine.batches) > 6


# -- wrong values -------------------------------------------------------------------------------------------------------


def first_nan(scores: list[float]) -> list[float]:
    return [math.nan, *scores[1:]]


async def test_a_single_nan_fails() -> None:
    found = await outcome(OracleEngine(scores=first_nan))
    assert failed(found) == {SelfTestCheck.FINITE}
    assert "dtype" in found.failure


async def test_a_single_infinite_number_in_a_vector_fails() -> None:
    def spoil(vectors: list[Vector]) -> list[Vector]:
        return [np.where(vectors[0] == 1, np.float32(np.inf), vectors[0]), *vectors[1:]]

    assert failed(await outcome(OracleEngine(vectors=spoil), tasks=EMBEDDER)) == {SelfTestCheck.FINITE}


@pytest.mark.parametrize("spoil", [lambda scores: scores[:-1], lambda scores: [*scores, 0.0]])
async def test_a_wrong_number_of_scores_fails(spoil: Any) -> None:
    assert failed(await outcome(OracleEngine(scores=spoil))) == {SelfTestCheck.FINITE}


async def test_vectors_of_another_width_fail() -> None:
    assert failed(await outcome(OracleEngine(vectors=lambda found: [v[:-1] for v in found]), tasks=EMBEDDER)) == {
        SelfTestCheck.FINITE
    }


async def test_an_engine_that_cannot_compute_fails_with_its_own_words() -> None:
    def fault(batch: Batch) -> None:
        raise EngineOutOfMemory(f"does not fit: {len(batch.items)}")

    found = await outcome(FakeEngine(fault=fault))
    assert failed(found) == {SelfTestCheck.FINITE}
    assert "does not fit:" in found.failure


async def test_vectors_of_another_length_fail() -> None:
    found = await outcome(OracleEngine(vectors=lambda found: [2 * v for v in found]), tasks=EMBEDDER)
    assert failed(found) == {SelfTestCheck.UNIT_LENGTH}


async def test_numbers_that_change_in_their_last_bit_fail() -> None:
    steps = count()

    def spoil(scores: list[float]) -> list[float]:
        return [score * (1 + next(steps) * 2**-52) for score in scores]

    assert failed(await outcome(OracleEngine(scores=spoil))) == {SelfTestCheck.REPEATABLE}


async def test_scores_returned_in_another_order_fail() -> None:
    found = await outcome(OracleEngine(scores=sorted))
    assert SelfTestCheck.ORDER_KEPT in failed(found)


async def test_scores_that_depend_on_their_place_fail() -> None:
    found = await outcome(OracleEngine(scores=lambda scores: [score + 0.001 * i for i, score in enumerate(scores)]))
    assert SelfTestCheck.ALONE in failed(found)


async def test_vectors_returned_in_another_order_fail() -> None:
    found = await outcome(OracleEngine(vectors=lambda vectors: vectors[1:] + vectors[:1]), tasks=EMBEDDER)
    assert SelfTestCheck.ORDER_KEPT in failed(found)


async def test_scores_that_depend_on_neighbours_fail() -> None:
    found = await outcome(OracleEngine(scores=lambda scores: [score + 0.001 * len(scores) for score in scores]))
    assert failed(found) == {SelfTestCheck.ALONE}
    assert "neighbour" in found.failure


async def test_vectors_that_depend_on_neighbours_fail() -> None:
    def leak(vectors: list[Vector]) -> list[Vector]:
        mixed = [vector + 0.01 * np.mean(vectors, axis=0) for vector in vectors]
        return [vector / np.linalg.norm(vector) for vector in mixed]

    assert SelfTestCheck.ALONE in failed(await outcome(OracleEngine(vectors=leak), tasks=EMBEDDER))


class Two(OracleEngine):
    """An engine on two devices."""

    def __init__(self, *replicas: Engine) -> None:
        super().__init__()
        self._replicas = replicas

    @property
    def replicas(self) -> Sequence[Engine]:
        return self._replicas


async def test_every_device_is_tested_and_the_one_that_computes_wrongly_is_named() -> None:
    class Second(OracleEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, device="cuda:1")

    assert (await outcome(Two(OracleEngine(), Second()))).has_passed
    found = await outcome(Two(OracleEngine(), Second(scores=first_nan)))
    assert failed(found) == {SelfTestCheck.FINITE}
    assert "on cuda:1, " in found.failure


@pytest.mark.parametrize(("dtype", "is_good"), [("float32", False), ("bfloat16", True), ("something else", True)])
async def test_a_narrow_dtype_may_round(dtype: str, is_good: bool) -> None:
    class Rounding(OracleEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, dtype=dtype)

    found = await outcome(Rounding(scores=lambda scores: [score + 0.01 * len(scores) for score in scores]))
    assert (SelfTestCheck.ALONE not in failed(found)) is is_good


# -- meaning ------------------------------------------------------------------------------------------------------------


def reversed_head(scores: list[float]) -> list[float]:
    return [-score for score in scores]


def constant(scores: list[float]) -> list[float]:
    return [0.0 for _ in scores]


def faint(scores: list[float]) -> list[float]:
    return [score / 11 for score in scores]


@pytest.mark.parametrize("spoil", [reversed_head, constant, faint])
async def test_a_model_that_does_not_tell_right_from_wrong_fails(spoil: Any) -> None:
    found = await outcome(OracleEngine(scores=spoil))
    assert failed(found) == {SelfTestCheck.MEANING}
    assert "head" in found.failure
    assert PAIRS[0].name in found.failure


async def test_swapped_yes_and_no_are_reported() -> None:
    found = await outcome(OracleEngine(scores=reversed_head))
    assert "as if yes and no were swapped" in found.failure
    assert "were swapped" not in (await outcome(OracleEngine(scores=constant))).failure


@pytest.mark.parametrize(("spoil", "is_said"), [(reversed_head, True), (first_nan, False)])
async def test_remedy_is_in_the_failure_message_if_known(spoil: Any, is_said: bool) -> None:
    found = await outcome(
        OracleEngine(scores=spoil), expectations=Expectations(understands=True, remedy="Start it like this: vllm serve.")
    )
    assert (found.failure.endswith("Start it like this: vllm serve.")) is is_said


async def test_an_embedder_with_constant_vectors_fails() -> None:
    def same(vectors: list[Vector]) -> list[Vector]:
        return [np.eye(len(vector), dtype=np.float32)[0] for vector in vectors]

    assert failed(await outcome(OracleEngine(vectors=same), tasks=EMBEDDER)) == {SelfTestCheck.MEANING}


def weak_at(num_pairs: int) -> Any:
    """Corrupt the first pairs of a full batch."""

    def spoil(scores: list[float]) -> list[float]:
        return [0.0] * (2 * num_pairs) + scores[2 * num_pairs :] if len(scores) > 20 else scores

    return spoil


@pytest.mark.parametrize(("num_missed", "is_good"), [(2, True), (3, False)])
async def test_a_good_model_may_be_weak_at_something(num_missed: int, is_good: bool) -> None:
    found = await outcome(OracleEngine(scores=weak_at(num_missed)))
    assert (SelfTestCheck.MEANING not in failed(found)) is is_good


async def test_a_model_without_expectations_gets_a_warning() -> None:
    found = await outcome(OracleEngine(scores=reversed_head), expectations=NO_EXPECTATIONS)
    assert found.has_passed
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.WARNED


async def test_random_weights_skip_the_meaning_check() -> None:
    found = await outcome(OracleEngine(scores=reversed_head), has_random_weights=True)
    assert found.has_passed
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.SKIPPED
    assert "random_weights" in found.summary


async def test_random_weights_run_all_other_checks() -> None:
    assert failed(await outcome(OracleEngine(scores=first_nan), has_random_weights=True)) == {SelfTestCheck.FINITE}


async def test_pairs_that_do_not_fit_are_left_out_and_too_few_are_a_warning() -> None:
    found = await outcome(encoder=WordEncoder(max_model_len=17))
    assert 0 < int(detail(found, SelfTestCheck.MEANING).split()[1]) < 6
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.WARNED


async def test_no_fitting_pair_is_a_warning() -> None:
    found = await outcome(encoder=WordEncoder(max_model_len=1))
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.WARNED


async def test_a_model_that_takes_no_instruction_is_not_given_one() -> None:
    class Plain(WordEncoder):
        def encode_pairs(self, query: str, documents: Sequence[str], **asked: Any) -> list[Encoded]:
            if asked.get("instruction") is not None:
                raise InvalidInput("This model takes no instruction.", param="instruction")
            return super().encode_pairs(query, documents, **asked)

    assert "12 of 12" in detail(await outcome(encoder=Plain()), SelfTestCheck.MEANING)


# -- the suffix ---------------------------------------------------------------------------------------------------------


class Respelling:
    """A Qwen encoder that corrupts its prompts."""

    def __init__(self, inner: QwenEncoder) -> None:
        self.inner = inner
        self.fingerprint = inner.fingerprint
        self.template_ids = inner.template_ids
        self.template = inner.template
        self.view = inner.view
        self.strip_template = inner.strip_template
        self.tokens = inner.tokens
        self.text_of = inner.text_of

    def encode_pairs(self, query: str, documents: Sequence[str], **asked: Any) -> list[Encoded]:
        return [self.spoil(encoded) for encoded in self.inner.encode_pairs(query, documents, **asked)]

    def encode_texts(self, texts: Sequence[str], **asked: Any) -> list[Encoded]:
        return [self.spoil(encoded) for encoded in self.inner.encode_texts(texts, **asked)]

    def spoil(self, encoded: Encoded) -> Encoded:
        return encoded


def with_ids(encoded: Encoded, change: Callable[[Any], Any]) -> Encoded:
    [prompt] = encoded.prompts
    assert isinstance(prompt, TokenPrompt)
    return replace(encoded, prompts=(replace(prompt, ids=change(prompt.ids)),))


class CutsAtTheEnd(Respelling):
    def spoil(self, encoded: Encoded) -> Encoded:
        if not encoded.is_truncated:
            return encoded
        num_suffix = len(self.inner.suffix_ids)
        return with_ids(encoded, lambda ids: np.concatenate([ids[:-num_suffix], ids[:1].repeat(20)])[: len(ids)])


class IsTooLong(Respelling):
    def spoil(self, encoded: Encoded) -> Encoded:
        return with_ids(encoded, lambda ids: np.concatenate([ids[:1], ids]))


class SaysNothing(Respelling):
    def spoil(self, encoded: Encoded) -> Encoded:
        return replace(encoded, is_truncated=False)


def qwen_encoder(tokenizer_path: Path, task: Operation, limit: int = 256) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, operation=task, max_model_len=limit)


@pytest.mark.parametrize("task", [RERANK, EMBED])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [(None, ""), (CutsAtTheEnd, "does not end"), (IsTooLong, "257 tokens where 256"), (SaysNothing, "not marked as truncated")],
)
async def test_long_documents_keep_the_suffix(
    tokenizer_path: Path, task: Operation, wrong: type[Respelling] | None, words: str
) -> None:
    encoder = qwen_encoder(tokenizer_path, task)
    expectations = Expectations(understands=True, suffix=encoder.suffix_ids)
    engine = FakeEngine(max_model_len=256)
    found = await outcome(
        engine,
        wrong(encoder) if wrong else encoder,
        tasks=frozenset({task}),
        expectations=expectations,
        has_random_weights=True,
    )
    assert failed(found) == ({SelfTestCheck.SUFFIX_KEPT} if wrong else set())
    assert words in detail(found, SelfTestCheck.SUFFIX_KEPT)


async def test_a_limit_below_any_question_is_skipped(tokenizer_path: Path) -> None:
    found = await outcome(FakeEngine(max_model_len=60), qwen_encoder(tokenizer_path, RERANK, 60))
    assert verdicts(found)[SelfTestCheck.SUFFIX_KEPT] is CheckStatus.SKIPPED
    assert verdicts(found)[SelfTestCheck.MEANING] is CheckStatus.WARNED


# -- real models --------------------------------------------------------------------------------------------------------


async def real(text: str, declared: Operation | None = None, **flat: Any) -> tuple[ServedModel, SelfTest]:
    settings = apps.settings(**flat)
    loaded = load(text, declared, settings.model, notify=lambda _: None, metrics=Metrics())
    served = served_model_for(loaded, text, declared, settings, Metrics())
    try:
        found = await run_selftest(served, has_random_weights=settings.model.random_weights, max_batch_tokens=16_384)
    finally:
        loaded.engine.close()
    return served, found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "task"), [("reranker", RERANK), ("seqcls", RERANK), ("embedder", EMBED)])
async def test_random_qwen3_passes_numerics_and_fails_meaning(
    make_model: ModelFactory, kind: str, task: Operation, dtype: str
) -> None:
    served, found = await real(str(make_model(kind=kind)), task, dtype=dtype)
    assert served.expectations.understands
    assert failed(found) == {SelfTestCheck.MEANING}
    assert verdicts(found)[SelfTestCheck.SUFFIX_KEPT] is CheckStatus.PASSED


async def test_random_qwen3_passes_with_random_weights_set(make_model: ModelFactory) -> None:
    _, found = await real(str(make_model(kind="reranker")), RERANK, random_weights=True)
    assert found.has_passed


async def test_demo_passes_without_a_warning() -> None:
    pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")
    served, found = await real("demo")
    assert served.engine.info.score_scale is ScoreScale.COSINE
    assert found.has_passed
    assert not found.with_status(CheckStatus.WARNED)


@pytest.fixture
def leaking(make_model: ModelFactory) -> Iterator[Engine]:
    """A real engine that adds a part of its last score to all scores."""
    from shortlist.engine.native.native_engine import NativeEngine

    class Leaking(NativeEngine):
        async def compute(self, operation: Operation, prompts: Sequence[Prompt]) -> Sequence[Any]:
            scores = await super().compute(operation, prompts)
            return [score + 0.01 * scores[-1] for score in scores]

    engine = Leaking.load(make_model(kind="reranker"), operation=RERANK, max_model_len=1024, dtype="float32")
    yield engine
    engine.close()


async def test_a_real_engine_that_leaks_fails(leaking: Engine, tokenizer_path: Path) -> None:
    encoder = qwen_encoder(tokenizer_path, RERANK, 1024)
    found = await outcome(leaking, encoder, expectations=Expectations(suffix=encoder.suffix_ids), has_random_weights=True)
    assert SelfTestCheck.ALONE in failed(found)
