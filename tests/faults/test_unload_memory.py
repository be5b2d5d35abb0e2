"""An unloaded model leaves no memory behind: neither weights nor vocabulary nor cache."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.fixtures import ModelFactory
from tests.support.models import DEMO, cross_encoder

ALLOWED_MIB: Final = 50

SCRIPT: Final = """
import asyncio, json, sys
from shortlist.config import Settings
from shortlist.service.build import build_runtime
from shortlist.types import RerankTask

DOCUMENTS = tuple(f"number {number} about foxes and bread" for number in range(50))

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

async def use_and_unload(model):
    flat = {"reranker": [model], "self_test": "off", "random_weights": True, "dtype": "float32"}
    service = build_runtime(Settings.load(flat, environ={}), notify=lambda _: None)
    await service.start()
    for _ in range(2):
        await service.rerank(RerankTask(query="fox", documents=DOCUMENTS))
        loaded = resident_mib()
        await service.unload(None)
        unloaded = resident_mib()
        await service.load(None)
    await service.unload(None)
    await service.close()
    return loaded, unloaded

async def main(first, second):
    # With the first, a small one, all modules are imported.
    print(json.dumps([await use_and_unload(first), await use_and_unload(second)]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize(("kind", "least_mib"), [("qwen", 160), pytest.param("sentence", 60, marks=pytest.mark.full)])
def test_memory_is_returned(kind: str, least_mib: int, make_model: ModelFactory, tmp_path: Path) -> None:
    qwen = kind == "qwen"
    models = [make_model(), make_model(shape="small")] if qwen else [cross_encoder(tmp_path / "cross"), DEMO]
    command = [sys.executable, "-c", SCRIPT, *map(str, models)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (_, without), (loaded, unloaded) = json.loads(done.stdout)
    assert loaded - unloaded > least_mib
    assert unloaded - without < ALLOWED_MIB
