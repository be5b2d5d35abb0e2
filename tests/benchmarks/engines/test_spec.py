"""Tests the specification of a run, which is checked before a contender starts."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks.engines.process import Spec
from benchmarks.engines.spec import RunSpec, SpecBounds, batch_tokens_for, builtin_contender, reference_name
from benchmarks.loads import BenchLoad
from shortlist.errors import BadSetting

OFFICIAL = Spec("official", ("run",))
PEER = Spec("peer", ("run",))


def run_spec(*contenders: Spec, reference: str = "ours", bounds: tuple[str, ...] = (), threads: int | None = None) -> RunSpec:
    return RunSpec(
        model="model",
        loads=[BenchLoad.parse("1x1")],
        contenders=contenders or (builtin_contender(None),),
        reference=reference,
        bounds=SpecBounds.parse(bounds),
        threads=threads,
    )


def test_bounds_have_a_default_and_contenders() -> None:
    assert SpecBounds.parse([]).of("other") == 0.25
    bounds = SpecBounds.parse(["int8=1.5", "0.1"])
    assert (bounds.of("int8"), bounds.of("other")) == (1.5, 0.1)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "int8=", "int8=high", "1=2=x"])
def test_bounds_are_numbers_above_0(text: str) -> None:
    with pytest.raises(BadSetting, match="--max-rms"):
        SpecBounds.parse([text])


def test_own_engine_uses_the_requested_dtype() -> None:
    assert builtin_contender(None).command == (sys.executable, "-m", "benchmarks.engines.builtin")
    assert builtin_contender("int8").command[-2:] == ("--dtype", "int8")


def test_default_reference_is_the_official_procedure() -> None:
    assert reference_name([builtin_contender(None), PEER], None) == "ours"
    assert reference_name([builtin_contender(None), PEER, OFFICIAL], None) == "official"
    assert reference_name([builtin_contender(None), OFFICIAL], "ours") == "ours"


def test_unknown_and_duplicate_names_are_refused() -> None:
    with pytest.raises(BadSetting, match="Two contenders have the name 'peer'"):
        run_spec(builtin_contender(None), PEER, PEER)
    with pytest.raises(BadSetting, match="Two contenders have the name 'ours'"):
        run_spec(builtin_contender(None), Spec("ours", ("run",)))
    with pytest.raises(BadSetting, match="No contender has the name 'peer'; the names are ours"):
        run_spec(reference="peer")
    with pytest.raises(BadSetting, match="No contender has the name 'int8'"):
        run_spec(bounds=("int8=1",))


def test_commands_get_the_folder_and_the_threads() -> None:
    assert run_spec().arguments("a folder") == ["a folder"]
    assert run_spec(threads=3).arguments("a folder") == ["a folder", "--threads", "3"]


def test_commands_get_device_and_length_if_not_default() -> None:
    on_gpu = replace(run_spec(), device="cuda:1", max_model_len=32_768)
    assert on_gpu.arguments("a folder") == ["a folder", "--device", "cuda:1", "--max-model-len", "32768"]


@pytest.mark.parametrize("device", ["auto", "gpu", "cuda:0,cuda:1", "cuda:", "CPU", ""])
def test_invalid_device_is_refused(device: str) -> None:
    with pytest.raises(BadSetting, match=r"--device.*cpu, cuda or cuda:N"):
        replace(run_spec(), device=device)


def test_batch_holds_the_longest_prompt() -> None:
    assert (batch_tokens_for(100), batch_tokens_for(40_000)) == (16_384, 40_000)
