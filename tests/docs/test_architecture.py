"""The architecture page names only what exists, and draws the layers that the import contract enforces."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest

PAGE = Path("docs/architecture.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(shortlist(?:\.\w+)+(?::[\w.]+)?)`", PAGE)))
STATUSES = sorted({int(number) for number in re.findall(r"\b[45]\d\d\b", PAGE)})
CONTRACTS = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LAYERS = [re.split(r" : ", layer) for contract in CONTRACTS if contract["type"] == "layers" for layer in contract["layers"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name: str) -> None:
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part)


def test_page_has_not_lost_its_names() -> None:
    assert len(NAMES) >= 30


def test_every_layer_has_its_place() -> None:
    packages = {package for layer in LAYERS for package in layer}
    [diagram] = re.findall(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert packages == {package for package in packages if re.search(rf"\b{package}\b", diagram)}
    table = PAGE.partition("| Package |")[2].partition("\n\n")[0]
    first_cells = " ".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE))
    assert packages - {"allocator", "breaker", "gc_pause"} == set(re.findall(r"`(\w+)`", first_cells))


def test_request_path_crosses_every_package_that_serves_it() -> None:
    packages = {name.split(".")[1].split(":")[0] for name in NAMES}
    assert {"api", "service", "scheduler", "text", "engine", "types"} <= packages


def test_every_status_can_be_answered() -> None:
    from shortlist.schemas.errors import ERRORS

    assert set(STATUSES) <= {kind.status for kind in ERRORS.values()} | {431}  # of `HttpProtocol`
