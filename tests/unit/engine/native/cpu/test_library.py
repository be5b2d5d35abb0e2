"""The compiled kernels are loaded where they can run, and not called where they cannot."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from shortlist.engine.native.cpu import library as module
from shortlist.engine.native.cpu.library import NEEDS, TILES_NEED, kernels

CAN_RUN = all(torch.cpu.get_capabilities().get(need, False) for need in NEEDS)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    kernels.cache_clear()
    yield
    kernels.cache_clear()


@pytest.mark.skipif(not CAN_RUN, reason="this processor cannot run them")
def test_installation_built_them() -> None:
    assert kernels() is not None


def test_missing_cpu_feature_is_logged_at_info(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: dict.fromkeys(NEEDS, True) | {"avx512_bf16": False})
    with caplog.at_level(logging.INFO):
        assert kernels() is None
    assert "avx512_bf16" in caplog.text
    assert caplog.records[0].levelno == logging.INFO


@pytest.mark.parametrize("content", [None, b"not a library"])
def test_missing_or_broken_library_is_a_warning_with_advice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, content: bytes | None
) -> None:
    library = tmp_path / "libkernels.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: dict.fromkeys(NEEDS, True))
    monkeypatch.setattr(module, "LIBRARY", library)
    assert kernels() is None
    assert "C compiler" in caplog.text


@pytest.mark.skipif(not module.LIBRARY.is_file(), reason="no library was built")
def test_library_of_another_version_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: dict.fromkeys(NEEDS, True))
    monkeypatch.setattr(module, "_VERSION", ctypes.CDLL(str(module.LIBRARY)).kernels_version() + 1)
    assert kernels() is None


@pytest.mark.skipif(not CAN_RUN, reason="this processor cannot run them")
@pytest.mark.parametrize("lack", ["amx_bf16", "permission"])
def test_kernels_work_without_tiles(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lack: str) -> None:
    """A container may refuse the system call by which a process requests tiles."""
    features = dict.fromkeys((*NEEDS, *TILES_NEED), True) | {lack: False}
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: features)
    library = module._library()
    assert library is not None
    monkeypatch.setattr(library, "may_use_tiles", lambda: 0, raising=False)
    monkeypatch.setattr(module, "_library", lambda: library)
    with caplog.at_level(logging.INFO):
        found = kernels()
    assert found is not None
    assert (found.has_tiles, found.name) == (False, "kernels")
    assert ("amx_bf16" if lack == "amx_bf16" else "does not allow") in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.INFO}
