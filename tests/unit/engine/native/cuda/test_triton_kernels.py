"""The kernels compile for GPUs, without one: the interpreter accepts code that the compiler does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.interpreter import DEVICE

from shortlist.engine.native.cuda import triton_kernels, attention_tiles  # isort: skip - after the check for Triton

SMALLEST_SHARED_BYTES = 99 * 1024
"""Smallest shared memory of GPUs from Ampere on, such as A10 and L4."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}  # noqa: TID251
    command = [sys.executable, "-W", "error", "-m", "tests.support.compiled"]
    root = Path(__file__).parents[5]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.full
def test_every_kernel_compiles_for_every_architecture(built: list[dict[str, object]]) -> None:
    names = {name for name in vars(triton_kernels) if name.endswith("_kernel")}
    expected = {(name, where) for name in names for where in (80, 90)} - {("quantize_kernel", 80)}  # Ampere has no fp8
    assert {(each["kernel"], each["architecture"]) for each in built} == expected


@pytest.mark.full
def test_no_kernel_shares_more_memory_than_the_smallest_gpu_has(built: list[dict[str, object]]) -> None:
    assert all(int(str(each["shared_bytes"])) <= SMALLEST_SHARED_BYTES for each in built), DEVICE


def test_kernel_reads_the_fields_that_tiles_have() -> None:
    assert triton_kernels.TILE_FIELDS.value == attention_tiles.FIELDS
