"""Every setting, metric and error is documented, and the page says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

from shortlist.config import fields


def test_reference_equals_the_code() -> None:
    reference = runpy.run_path("scripts/reference.py")["reference"]
    assert Path("docs/reference.md").read_text(encoding="utf-8") == reference()


def test_every_setting_is_on_the_page() -> None:
    page = Path("docs/reference.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for _, name, _ in fields())


def test_fields_are_those_of_the_dialects() -> None:
    page = runpy.run_path("scripts/fields.py")["page"]
    assert Path("docs/fields.md").read_text(encoding="utf-8") == page()
