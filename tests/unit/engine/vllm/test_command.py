"""vLLM is started with what makes it score officially, and with what the person said, which wins."""

from __future__ import annotations

import json
import shlex

import pytest

from shortlist.engine.vllm.command import VllmPlan, arguments, is_supported, process_environment, right_command, unsupported
from shortlist.models.qwen3.family import AS_RERANKER
from shortlist.types import EMBED, RERANK

PLAN = VllmPlan(
    model="/models/m",
    operation=RERANK,
    hf_overrides=AS_RERANKER,
    dtype="auto",
    max_model_len=4096,
    max_num_seqs=256,
    max_num_batched_tokens=8192,
)


def planned(**changes: object) -> VllmPlan:
    fields = {name: getattr(PLAN, name) for name in PLAN.__slots__} | changes
    return VllmPlan(**fields)


def value_of(given: list[str], flag: str) -> str:
    assert given.count(flag) == 1
    return given[given.index(flag) + 1]


def test_reranker_is_read_as_a_classifier_of_no_against_yes() -> None:
    given = arguments(PLAN, port=1, is_cpu=False)
    assert given[0] == "/models/m"
    assert value_of(given, "--runner") == "pooling"
    assert json.loads(value_of(given, "--hf-overrides")) == {
        "architectures": ["Qwen3ForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }


@pytest.mark.parametrize("changes", [{"operation": EMBED, "hf_overrides": {}}, {"hf_overrides": {}}])
def test_other_models_are_read_as_they_are(changes: dict[str, object]) -> None:
    given = arguments(planned(**changes), port=1, is_cpu=False)
    assert "--hf-overrides" not in given
    assert value_of(given, "--runner") == "pooling"


def test_child_listens_on_loopback_only() -> None:
    given = arguments(PLAN, port=4321, is_cpu=False)
    assert (value_of(given, "--host"), value_of(given, "--port")) == ("127.0.0.1", "4321")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("dtype", "float16", ["--dtype", "float16"]),
        ("max_model_len", 99, ["--max-model-len", "99"]),
        ("max_num_seqs", 7, ["--max-num-seqs", "7"]),
        ("max_num_batched_tokens", 7, ["--max-num-batched-tokens", "7"]),
        ("gpu_memory_utilization", 0.4, ["--gpu-memory-utilization", "0.4"]),
        ("enforce_eager", True, ["--enforce-eager"]),
        ("enable_prefix_caching", False, ["--no-enable-prefix-caching"]),
        ("tensor_parallel_size", 2, ["--tensor-parallel-size", "2"]),
        ("data_parallel_size", 3, ["--data-parallel-size", "3"]),
        ("quantization", "awq", ["--quantization", "awq"]),
        ("extra", ("--dtype", "half"), ["--dtype", "half"]),
    ],
)
def test_every_setting_arrives_and_nothing_that_was_not_said(name: str, value: object, expected: list[str]) -> None:
    with_it = shlex.join(arguments(planned(**{name: value}), port=1, is_cpu=False))
    assert shlex.join(expected) in with_it
    assert shlex.join(expected) not in shlex.join(arguments(PLAN, port=1, is_cpu=False))


@pytest.mark.parametrize(
    ("is_cpu", "said", "expected"), [(False, None, "0.45"), (False, 0.6, "0.6"), (True, None, None), (True, 0.6, "0.6")]
)
def test_fair_share_is_for_gpus_where_nothing_was_said(is_cpu: bool, said: float | None, expected: str | None) -> None:
    given = arguments(planned(fair_share=0.45, gpu_memory_utilization=said), port=1, is_cpu=is_cpu)
    assert (value_of(given, "--gpu-memory-utilization") if "--gpu-memory-utilization" in given else None) == expected


def test_users_arguments_come_last() -> None:
    assert arguments(planned(extra=("--seed", "7")), port=1, is_cpu=True)[-2:] == ["--seed", "7"]


def test_blocks_are_small_on_cpus_alone() -> None:
    assert value_of(arguments(PLAN, port=1, is_cpu=True), "--block-size") == "32"
    assert "--block-size" not in arguments(PLAN, port=1, is_cpu=False)


@pytest.mark.parametrize("is_cpu", [True, False])
def test_command_disables_telemetry(is_cpu: bool) -> None:
    environ = process_environment(PLAN, is_cpu=is_cpu, cores=[0, 1])
    assert environ["VLLM_NO_USAGE_STATS"] == environ["HF_HUB_OFFLINE"] == "1"


def test_on_a_cpu_it_gets_every_core_and_not_all_of_the_memory() -> None:
    environ = process_environment(PLAN, is_cpu=True, cores=[0, 2, 3])
    assert environ["VLLM_CPU_OMP_THREADS_BIND"] == "0,2,3"
    assert environ["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert "VLLM_CPU_KVCACHE_SPACE" not in process_environment(planned(gpu_memory_utilization=0.5), is_cpu=True, cores=[0])
    assert "VLLM_CPU_OMP_THREADS_BIND" not in process_environment(planned(tensor_parallel_size=2), is_cpu=True, cores=[0, 1])


def test_right_command_can_be_copied_into_a_shell() -> None:
    words = shlex.split(right_command(PLAN))
    assert words[:3] == ["vllm", "serve", "/models/m"]
    assert json.loads(value_of(words, "--hf-overrides"))["is_original_qwen3_reranker"] is True


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.32.0", True),
        ("0.32.0+cpu", True),
        ("0.33.1rc2", True),
        ("1.0", True),
        ("0.31.9", False),
        ("0.9.2", False),
        ("dev", False),
        ("", False),
    ],
)
def test_old_and_unknown_versions_are_not_supported(version: str, expected: bool) -> None:
    assert is_supported(version) is expected


def test_unsupported_version_error_lists_the_supported() -> None:
    assert unsupported("0.9.2") == "vLLM 0.9.2 is not supported: 0.32 or later is needed (tested: 0.32)."
