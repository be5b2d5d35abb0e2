"""Every check of the self-test passes for a good model, and fails for one that breaks its promise."""

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
from shortlist.service.build import load, stack_for
from shortlist.service.samples import PAIRS
from shortlist.service.selftest import CAUSES, Check, SelfTest, Verdict, examine
from shortlist.service.stack import NO_PROMISE, Promise, Stack
from shortlist.telemetry import Metrics
from shortlist.text.base import Encoder
from shortlist.text.tokenizer import QwenEncoder
from shortlist.types import NO_TRUNCATION, Batch, Encoded, Task, TokenPrompt, Vector
from tests.support import house
from tests.support.fake_engine import FakeEngine
from tests.support.fixtures import ModelFactory
from tests.support.oracle import OracleEngine
from tests.support.words import WordEncoder

UNDERSTANDS = Promise(understands=True)
RERANK, EMBED = frozenset({Task.RERANK}), frozenset({Task.EMBED})


async def outcome(
    engine: Engine | None = None,
    encoder: Encoder | None = None,
    *,
    tasks: frozenset[Task] = RERANK,
    promise: Promise = UNDERSTANDS,
    has_random_weights: bool = False,
    max_batch_tokens: int = 16_384,
) -> SelfTest:
    stack = house.stack(engine or OracleEngine(), encoder, tasks=tasks, promise=promise)
    return await examine(stack, has_random_weights=has_random_weights, max_batch_tokens=max_batch_tokens)


def verdicts(found: SelfTest) -> dict[Check, Verdict]:
    return {finding.check: finding.verdict for finding in found.findings}


def failed(found: SelfTest) -> set[Check]:
    return {finding.check for finding in found.failed}


def detail(found: SelfTest, check: Check) -> str:
    return next(finding.detail for finding in found.findings if finding.check is check)


# -- a good model -------------------------------------------------------------------------------------------------------


async def test_good_reranker_passes_every_check() -> None:
    found = await outcome()
    assert found.has_passed
    passed = {check for check, verdict in verdicts(found).items() if verdict is Verdict.PASSED}
    assert passed == {Check.FINITE, Check.REPEATABLE, Check.ORDER_KEPT, Check.ALONE, Check.MEANING}
    assert "14 of 14" in detail(found, Check.MEANING)
    assert "passed" in found.summary


async def test_good_embedder_passes_every_check() -> None:
    found = await outcome(tasks=EMBED)
    assert found.has_passed
    assert verdicts(found)[Check.UNIT_LENGTH] is Verdict.PASSED
    assert verdicts(found)[Check.MEANING] is Verdict.PASSED
    assert "13 of 13" in detail(found, Check.MEANING)


async def test_model_for_both_tasks_is_tested_for_both() -> None:
    found = await outcome(tasks=RERANK | EMBED)
    assert {finding.task for finding in found.findings} == {Task.RERANK, Task.EMBED}
    assert found.has_passed


def test_pairs_cover_what_they_promise() -> None:
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
    assert sum(pair.instruction is not None for pair in PAIRS) >= 2
    assert sum(pair.truncation != NO_TRUNCATION for pair in PAIRS) == 1
    assert all(pair.right != pair.wrong for pair in PAIRS)


def test_every_check_says_what_its_failure_means() -> None:
    assert set(CAUSES) == set(Check)


async def test_no_step_is_larger_than_the_server_would_make() -> None:
    engine = OracleEngine()
    assert (await outcome(engine, max_batch_tokens=300)).has_passed
    sizes = [sum(item.prompt.prefix.num_tokens + item.prompt.num_tokens for item in batch.items) for batch in engine.batches]
    assert max(sizes) <= 300
    assert len(engine.batches) > 6


# -- numbers that cannot be trusted -------------------------------------------------------------------------------------


def first_nan(scores: list[float]) -> list[float]:
    return [math.nan, *scores[1:]]


async def test_a_single_nan_fails() -> None:
    found = await outcome(OracleEngine(scores=first_nan))
    assert failed(found) == {Check.FINITE}
    assert "dtype" in found.complaint


async def test_a_single_infinite_number_in_a_vector_fails() -> None:
    def spoil(vectors: list[Vector]) -> list[Vector]:
        return [np.where(vectors[0] == 1, np.float32(np.inf), vectors[0]), *vectors[1:]]

    assert failed(await outcome(OracleEngine(vectors=spoil), tasks=EMBED)) == {Check.FINITE}


@pytest.mark.parametrize("spoil", [lambda scores: scores[:-1], lambda scores: [*scores, 0.0]])
async def test_a_wrong_number_of_scores_fails(spoil: Any) -> None:
    assert failed(await outcome(OracleEngine(scores=spoil))) == {Check.FINITE}


async def test_vectors_of_another_width_fail() -> None:
    assert failed(await outcome(OracleEngine(vectors=lambda found: [v[:-1] for v in found]), tasks=EMBED)) == {Check.FINITE}


async def test_an_engine_that_cannot_compute_fails_with_its_own_words() -> None:
    def fault(batch: Batch) -> None:
        raise EngineOutOfMemory(f"no room for {len(batch.items)}")

    found = await outcome(FakeEngine(fault=fault))
    assert failed(found) == {Check.FINITE}
    assert "no room for" in found.complaint


async def test_vectors_of_another_length_fail() -> None:
    found = await outcome(OracleEngine(vectors=lambda found: [2 * v for v in found]), tasks=EMBED)
    assert failed(found) == {Check.UNIT_LENGTH}


async def test_numbers_that_change_in_their_last_bit_fail() -> None:
    steps = count()

    def spoil(scores: list[float]) -> list[float]:
        return [score * (1 + next(steps) * 2**-52) for score in scores]

    assert failed(await outcome(OracleEngine(scores=spoil))) == {Check.REPEATABLE}


async def test_scores_given_back_in_another_order_fail() -> None:
    found = await outcome(OracleEngine(scores=sorted))
    assert Check.ORDER_KEPT in failed(found)


async def test_scores_that_depend_on_their_place_fail() -> None:
    found = await outcome(OracleEngine(scores=lambda scores: [score + 0.001 * i for i, score in enumerate(scores)]))
    assert Check.ALONE in failed(found)


async def test_vectors_given_back_in_another_order_fail() -> None:
    found = await outcome(OracleEngine(vectors=lambda vectors: vectors[1:] + vectors[:1]), tasks=EMBED)
    assert Check.ORDER_KEPT in failed(found)


async def test_scores_that_depend_on_neighbours_fail() -> None:
    found = await outcome(OracleEngine(scores=lambda scores: [score + 0.001 * len(scores) for score in scores]))
    assert failed(found) == {Check.ALONE}
    assert "neighbour" in found.complaint


async def test_vectors_that_depend_on_neighbours_fail() -> None:
    def leak(vectors: list[Vector]) -> list[Vector]:
        mixed = [vector + 0.01 * np.mean(vectors, axis=0) for vector in vectors]
        return [vector / np.linalg.norm(vector) for vector in mixed]

    assert Check.ALONE in failed(await outcome(OracleEngine(vectors=leak), tasks=EMBED))


class Two(OracleEngine):
    """An engine on two devices."""

    def __init__(self, *parts: Engine) -> None:
        super().__init__()
        self.parts = parts


async def test_every_device_is_tested_and_the_one_that_computes_wrongly_is_named() -> None:
    class Second(OracleEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, device="cuda:1")

    assert (await outcome(Two(OracleEngine(), Second()))).has_passed
    found = await outcome(Two(OracleEngine(), Second(scores=first_nan)))
    assert failed(found) == {Check.FINITE}
    assert "on cuda:1, " in found.complaint


@pytest.mark.parametrize(("dtype", "is_good"), [("float32", False), ("bfloat16", True), ("something else", True)])
async def test_a_narrow_dtype_may_round(dtype: str, is_good: bool) -> None:
    class Rounding(OracleEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, dtype=dtype)

    found = await outcome(Rounding(scores=lambda scores: [score + 0.01 * len(scores) for score in scores]))
    assert (Check.ALONE not in failed(found)) is is_good


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
    assert failed(found) == {Check.MEANING}
    assert "head" in found.complaint
    assert PAIRS[0].name in found.complaint


async def test_a_head_that_is_turned_around_is_called_that() -> None:
    found = await outcome(OracleEngine(scores=reversed_head))
    assert "as if yes and no had been taken for each other" in found.complaint
    assert "taken for each other" not in (await outcome(OracleEngine(scores=constant))).complaint


@pytest.mark.parametrize(("spoil", "is_said"), [(reversed_head, True), (first_nan, False)])
async def test_what_to_do_about_a_model_that_means_nothing_is_said_where_it_is_known(spoil: Any, is_said: bool) -> None:
    found = await outcome(
        OracleEngine(scores=spoil), promise=Promise(understands=True, remedy="Start it like this: vllm serve.")
    )
    assert (found.complaint.endswith("Start it like this: vllm serve.")) is is_said


async def test_an_embedder_that_says_the_same_of_everything_fails() -> None:
    def same(vectors: list[Vector]) -> list[Vector]:
        return [np.eye(len(vector), dtype=np.float32)[0] for vector in vectors]

    assert failed(await outcome(OracleEngine(vectors=same), tasks=EMBED)) == {Check.MEANING}


def weak_at(num_pairs: int) -> Any:
    """Spoil the first pairs of a step that has them all."""

    def spoil(scores: list[float]) -> list[float]:
        return [0.0] * (2 * num_pairs) + scores[2 * num_pairs :] if len(scores) > 20 else scores

    return spoil


@pytest.mark.parametrize(("num_missed", "is_good"), [(2, True), (3, False)])
async def test_a_good_model_may_be_weak_at_something(num_missed: int, is_good: bool) -> None:
    found = await outcome(OracleEngine(scores=weak_at(num_missed)))
    assert (Check.MEANING not in failed(found)) is is_good


async def test_a_model_that_promises_nothing_is_only_warned_about() -> None:
    found = await outcome(OracleEngine(scores=reversed_head), promise=NO_PROMISE)
    assert found.has_passed
    assert verdicts(found)[Check.MEANING] is Verdict.WARNED


async def test_random_weights_are_not_asked_for_meaning_and_that_is_said() -> None:
    found = await outcome(OracleEngine(scores=reversed_head), has_random_weights=True)
    assert found.has_passed
    assert verdicts(found)[Check.MEANING] is Verdict.SKIPPED
    assert "random_weights" in found.summary


async def test_random_weights_are_asked_for_everything_else() -> None:
    assert failed(await outcome(OracleEngine(scores=first_nan), has_random_weights=True)) == {Check.FINITE}


async def test_pairs_that_do_not_fit_are_left_out_and_too_few_are_said_to_be() -> None:
    found = await outcome(encoder=WordEncoder(max_model_len=17))
    assert 0 < int(detail(found, Check.MEANING).split()[1]) < 6
    assert verdicts(found)[Check.MEANING] is Verdict.WARNED


async def test_nothing_fits_is_said() -> None:
    found = await outcome(encoder=WordEncoder(max_model_len=1))
    assert verdicts(found)[Check.MEANING] is Verdict.WARNED


async def test_a_model_that_takes_no_instruction_is_not_given_one() -> None:
    class Plain(WordEncoder):
        def encode_pairs(self, query: str, documents: Sequence[str], **asked: Any) -> list[Encoded]:
            if asked.get("instruction") is not None:
                raise InvalidInput("This model takes no instruction.", param="instruction")
            return super().encode_pairs(query, documents, **asked)

    assert "12 of 12" in detail(await outcome(encoder=Plain()), Check.MEANING)


# -- the suffix ---------------------------------------------------------------------------------------------------------


class Respelling:
    """A Qwen encoder whose prompts are spoiled on their way out."""

    def __init__(self, inner: QwenEncoder) -> None:
        self.inner = inner
        self.fingerprint = inner.fingerprint
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


def spelled(tokenizer_path: Path, task: Task, limit: int = 256) -> QwenEncoder:
    return QwenEncoder(tokenizer_path, task=task, max_model_len=limit)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize(
    ("wrong", "words"),
    [(None, ""), (CutsAtTheEnd, "does not end"), (IsTooLong, "257 tokens where 256"), (SaysNothing, "does not say")],
)
async def test_long_documents_keep_the_suffix(
    tokenizer_path: Path, task: Task, wrong: type[Respelling] | None, words: str
) -> None:
    encoder = spelled(tokenizer_path, task)
    promise = Promise(understands=True, suffix=encoder.suffix_ids)
    engine = FakeEngine(max_model_len=256)
    found = await outcome(
        engine, wrong(encoder) if wrong else encoder, tasks=frozenset({task}), promise=promise, has_random_weights=True
    )
    assert failed(found) == ({Check.SUFFIX_KEPT} if wrong else set())
    assert words in detail(found, Check.SUFFIX_KEPT)


async def test_a_limit_below_any_question_is_said(tokenizer_path: Path) -> None:
    found = await outcome(FakeEngine(max_model_len=60), spelled(tokenizer_path, Task.RERANK, 60))
    assert verdicts(found)[Check.SUFFIX_KEPT] is Verdict.SKIPPED
    assert verdicts(found)[Check.MEANING] is Verdict.WARNED


# -- real models --------------------------------------------------------------------------------------------------------


async def real(text: str, declared: Task | None = None, **flat: Any) -> tuple[Stack, SelfTest]:
    settings = house.settings(**flat)
    loaded = load(text, declared, settings.model, say=lambda _: None, metrics=Metrics())
    stack = stack_for(loaded, text, declared, settings, Metrics())
    try:
        found = await examine(stack, has_random_weights=settings.model.random_weights, max_batch_tokens=16_384)
    finally:
        loaded.engine.close()
    return stack, found


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "task"), [("reranker", Task.RERANK), ("seqcls", Task.RERANK), ("embedder", Task.EMBED)])
async def test_random_qwen3_computes_well_and_means_nothing(
    make_model: ModelFactory, kind: str, task: Task, dtype: str
) -> None:
    stack, found = await real(str(make_model(kind=kind)), task, dtype=dtype)
    assert stack.promise.understands
    assert failed(found) == {Check.MEANING}
    assert verdicts(found)[Check.SUFFIX_KEPT] is Verdict.PASSED


async def test_random_qwen3_passes_where_it_is_said_to_be_random(make_model: ModelFactory) -> None:
    _, found = await real(str(make_model(kind="reranker")), Task.RERANK, random_weights=True)
    assert found.has_passed


async def test_demo_passes_without_a_word() -> None:
    pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")
    stack, found = await real("demo")
    assert stack.engine.info.score_scale is ScoreScale.COSINE
    assert found.has_passed
    assert not found.those(Verdict.WARNED)


@pytest.fixture
def leaking(make_model: ModelFactory) -> Iterator[Engine]:
    """A real engine, a little of whose last score leaks into all."""
    from shortlist.engine.native.engine import NativeEngine

    class Leaking(NativeEngine):
        async def score(self, batch: Batch) -> Sequence[float]:
            scores = await super().score(batch)
            return [score + 0.01 * scores[-1] for score in scores]

    engine = Leaking.load(make_model(kind="reranker"), task=Task.RERANK, max_model_len=1024, dtype="float32")
    yield engine
    engine.close()


async def test_a_real_engine_that_leaks_fails(leaking: Engine, tokenizer_path: Path) -> None:
    encoder = spelled(tokenizer_path, Task.RERANK, 1024)
    found = await outcome(leaking, encoder, promise=Promise(suffix=encoder.suffix_ids), has_random_weights=True)
    assert Check.ALONE in failed(found)
