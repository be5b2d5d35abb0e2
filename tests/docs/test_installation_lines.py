"""Every line of the documentation that installs an extra works in a clone, as the README installs it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"].keys()
INSTALLS = re.compile(r"[\w./-]*pip install [^`\n]*\[[^`\n]*")
FROM_A_CLONE = re.compile(r"(?:/[\w/]+|\.venv)/bin/pip install -c constraints\.txt (?:-e )?'\.\[([\w,]+)\]'(?: +#.*)?")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_extras_are_installed_from_the_clone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in INSTALLS.findall(text):
        found = FROM_A_CLONE.fullmatch(line)
        assert found, line
        assert set(found[1].split(",")) <= EXTRAS
    assert "install 'shortlist[" not in text
    assert 'install "shortlist[' not in text


def test_installation_lines_are_found() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert len(INSTALLS.findall(text)) >= 8
    assert not FROM_A_CLONE.fullmatch("pip install 'shortlist[redis]'")
