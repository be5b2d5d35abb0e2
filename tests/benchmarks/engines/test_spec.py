"""What is asked for is checked before anything is started."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks.engines.process import Spec
from benchmarks.engines.spec import RunSpec, SpecBounds, ours, reference_among, step_tokens
from benchmarks.loads import BenchLoad
from shortlist.errors import BadSetting

OFFICIAL = Spec("official", ("run",))
PEER = Spec("peer", ("run",))


def order(*contenders: Spec, reference: str = "ours", bounds: tuple[str, ...] = (), threads: int | None = None) -> RunSpec:
    return RunSpec(
        model="model",
        loads=[BenchLoad.parse("1x1")],
        contenders=contenders or (ours(None),),
        reference=reference,
        bounds=SpecBounds.parse(bounds),
        threads=threads,
    )


def test_bounds_are_for_all_or_for_one() -> None:
    assert SpecBounds.parse([]).of("anyone") == 0.25
    bounds = SpecBounds.parse(["int8=1.5", "0.1"])
    assert (bounds.of("int8"), bounds.of("anyone")) == (1.5, 0.1)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "int8=", "int8=high", "1=2=x"])
def test_bounds_are_numbers_above_0(text: str) -> None:
    with pytest.raises(BadSetting, match="--max-rms"):
        SpecBounds.parse([text])


def test_own_engine_uses_the_requested_dtype() -> None:
    assert ours(None).command == (sys.executable, "-m", "benchmarks.engines.builtin")
    assert ours("int8").command[-2:] == ("--dtype", "int8")


def test_reference_is_the_official_procedure_if_it_takes_part() -> None:
    assert reference_among([ours(None), PEER], None) == "ours"
    assert reference_among([ours(None), PEER, OFFICIAL], None) == "official"
    assert reference_among([ours(None), OFFICIAL], "ours") == "ours"


def test_names_are_known_and_unique() -> None:
    with pytest.raises(BadSetting, match="Two contenders are called 'peer'"):
        order(ours(None), PEER, PEER)
    with pytest.raises(BadSetting, match="Two contenders are called 'ours'"):
        order(ours(None), Spec("ours", ("run",)))
    with pytest.raises(BadSetting, match="no contender called 'peer'; there are ours"):
        order(reference="peer")
    with pytest.raises(BadSetting, match="no contender called 'int8'"):
        order(bounds=("int8=1",))


def test_commands_are_continued_with_the_folder_and_the_threads() -> None:
    assert order().arguments("a folder") == ["a folder"]
    assert order(threads=3).arguments("a folder") == ["a folder", "--threads", "3"]


def test_commands_get_device_and_length_where_needed() -> None:
    there = replace(order(), device="cuda:1", max_model_len=32_768)
    assert there.arguments("a folder") == ["a folder", "--device", "cuda:1", "--max-model-len", "32768"]


@pytest.mark.parametrize("device", ["auto", "gpu", "cuda:0,cuda:1", "cuda:", "CPU", ""])
def test_device_is_one_and_the_same_for_all(device: str) -> None:
    with pytest.raises(BadSetting, match=r"--device.*cpu, cuda or cuda:N"):
        replace(order(), device=device)


def test_step_of_ours_has_room_for_the_longest_prompt() -> None:
    assert (step_tokens(100), step_tokens(40_000)) == (16_384, 40_000)
