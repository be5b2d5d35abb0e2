"""Writes a bill of materials, CycloneDX 1.6 in JSON, of the Python and Debian packages that are installed: sbom.py FILE."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = "shortlist"
DPKG_FORMAT: Final = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"


def bill() -> dict[str, Any]:
    """Return the document; equal installations have equal ones, so there is no date in it."""
    python = sorted(map(python_component, distributions()), key=lambda each: str(each["bom-ref"]))
    subject = [each for each in python if each["name"] == PACKAGE]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**subject[0], "type": "application"}},
        "components": [*(each for each in python if each["name"] != PACKAGE), *interpreter(), *debian_components()],
    }


def python_component(package: Distribution) -> dict[str, Any]:
    """Return a Python package, with its licence as it is stated in its metadata."""
    metadata = package.metadata
    name = metadata["Name"].lower().replace("_", "-").replace(".", "-")
    return component("library", name, package.version, f"pkg:pypi/{name}@{package.version}", licences(metadata))


def licences(metadata: Any) -> list[dict[str, Any]]:
    """Return the licence: an SPDX expression if there is one, else the text of the field or the classifiers."""
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    classifiers = [each.split(" :: ")[-1] for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    stated = str(metadata.get("License") or "").strip().partition("\n")[0]
    return [{"license": {"name": name}} for name in (classifiers or ([stated] if stated else []))]


def interpreter() -> Iterator[dict[str, Any]]:
    """Yield Python itself, which is no package in every base image."""
    version = platform.python_version()
    yield component("platform", "python", version, f"pkg:generic/python@{version}", [])


def debian_components() -> Iterator[dict[str, Any]]:
    """Yield the Debian packages; their licences are in /usr/share/doc/NAME/copyright."""
    command = ["dpkg-query", "--show", f"--showformat={DPKG_FORMAT}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed arguments
    for line in sorted(listed.stdout.splitlines()):
        status, name, version, architecture = line.split(" ")
        if status == "installed":
            yield component("library", name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}", [])


def component(kind: str, name: str, version: str, url: str, stated: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one entry of the document, identified by its package URL."""
    entry = {"type": kind, "bom-ref": url, "name": name, "version": version, "purl": url}
    return {**entry, "licenses": stated} if stated else entry


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=1), encoding="utf-8")
