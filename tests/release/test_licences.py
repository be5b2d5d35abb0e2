"""Everything that an installation with all extras brings along has a permissive licence, or MPL's, by its own metadata."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.distributions import with_all_extras

FAMILIES = re.compile(
    r"(MIT|0?BSD|3-Clause BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|LLVM-exception)\b.*", re.IGNORECASE
)
"""Licences of these families are accepted, however they are written."""

NO_STATEMENT = ""
REASONS: dict[str, dict[str, str]] = {
    "numpy": {
        "Zlib": "of a part of its code: may be used and changed by anyone, as with MIT",
        "CC0-1.0": "of a part of its code: in the public domain",
    },
    "regex": {"CNRI-Python": "of the parts that come from Python 1.6; permissive"},
    "tiktoken": {NO_STATEMENT: "its field License is the whole text of MIT"},
    "torch": {"BSL-1.0": "Boost's, of a part of its code: permissive, without a notice in binaries"},
}
"""Why other statements are accepted, by distribution and statement."""


def statements(found: Distribution) -> Iterator[str]:
    """Yield the licences that a distribution states: as an SPDX expression, by classifiers, or in a line of text."""
    metadata = cast("Any", found.metadata)
    classifiers = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if "OSI Approved ::" in each]
    text = metadata.get("License-Expression") or " AND ".join(classifiers) or metadata.get("License") or NO_STATEMENT
    if "\n" in text:
        yield NO_STATEMENT
    else:
        yield from (part.strip(" ()") for part in re.split(r"\s+(?:AND|OR|WITH)\s+", text))


def questions() -> dict[str, set[str]]:
    """Return what is outside the families, by distribution. NVIDIA's own licence is that of libraries that only torch's CUDA builds bring."""
    found = {
        name: {each for each in statements(one) if not FAMILIES.fullmatch(each)} for name, one in with_all_extras().items()
    }
    return {name: each for name, each in found.items() if each and not name.startswith("nvidia-")}


def test_every_licence_is_of_an_accepted_family_or_has_a_reason() -> None:
    assert questions() == {name: set(reasons) for name, reasons in REASONS.items()}


@pytest.mark.parametrize(
    ("metadata", "stated"),
    [
        ({"License-Expression": "MPL-2.0 AND (Apache-2.0 OR GPL-3.0)"}, ["MPL-2.0", "Apache-2.0", "GPL-3.0"]),
        ({"License": "Copyright\n(c)"}, [""]),
        ({}, [""]),
        ({"Classifier": "License :: OSI Approved :: BSD License", "License": "ours"}, ["BSD License"]),
    ],
)
def test_statements_are_read_from_metadata(metadata: dict[str, str], stated: list[str]) -> None:
    def get_all(name: str, default: list[str]) -> list[str]:
        return [metadata[name]] if name in metadata else default

    fake = SimpleNamespace(metadata=SimpleNamespace(get=metadata.get, get_all=get_all))
    assert list(statements(cast("Any", fake))) == stated


def test_other_licences_are_questions() -> None:
    assert not any(FAMILIES.fullmatch(each) for each in ("GPL-3.0", "LGPL", "AGPL-3.0-only", "SSPL", "ISCX", ""))
