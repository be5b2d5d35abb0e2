"""The Dockerfile is consistent with itself, with the repository and with the settings; `test_image` builds it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, NamedTuple

from shortlist.config import ENV_PREFIX, Settings, fields
from shortlist.installation import IMAGE_VARIABLE

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "deploy/docker/Dockerfile"
IGNORED: Final = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

TARGETS: Final = ("cpu", "cpu-demo", "cuda")
ARGUMENTS: Final = {"BASE", "PIP_ARGS", "REVISION"}
LIBRARIES_ENV: Final = {"PATH", "HOME", "HF_HOME", "MODELSCOPE_CACHE", "TRITON_CACHE_DIR", IMAGE_VARIABLE}
"""Variables of libraries and of the system; all others are settings, or the GPU runtime's."""


class Instruction(NamedTuple):
    """One instruction of the Dockerfile, on one line."""

    stage: str
    name: str
    value: str


def instructions() -> Iterator[Instruction]:
    stage = ""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, value = line.split(maxsplit=1)
            stage = value.split()[-1] if name == "FROM" else stage
            yield Instruction(stage, name, " ".join(value.split()))


INSTRUCTIONS: Final = tuple(instructions())
PARENTS: Final = {each.stage: each.value.split()[0] for each in INSTRUCTIONS if each.name == "FROM"}


def lineage(stage: str) -> list[str]:
    """Return a stage and those that it begins with, the first one first."""
    return [*(lineage(PARENTS[stage]) if PARENTS[stage] in PARENTS else []), stage]


def values(stage: str, name: str) -> list[str]:
    """Return what an instruction states in a stage and in those that it begins with."""
    return [each.value for ancestor in lineage(stage) for each in INSTRUCTIONS if each.stage == ancestor and each.name == name]


def environ(stage: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(values(stage, "ENV"))))


def test_stages_exist_and_come_from_the_base_that_is_an_argument() -> None:
    assert set(TARGETS) <= set(PARENTS)
    assert {parent for parent in PARENTS.values() if parent not in PARENTS} == {"${BASE}"}
    sources = re.findall(r"(?:--from=|,from=)([\w-]+)", DOCKERFILE.read_text(encoding="utf-8"))
    assert sources
    assert set(sources) <= set(PARENTS)
    order = list(PARENTS)
    assert all(order.index(parent) < order.index(stage) for stage, parent in PARENTS.items() if parent in PARENTS)


def test_arguments_are_the_three_that_the_documents_name() -> None:
    assert {each.value.split("=")[0] for each in INSTRUCTIONS if each.name == "ARG"} == ARGUMENTS
    deploy = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in deploy for name in (*ARGUMENTS, *TARGETS))


def test_arguments_for_pip_are_not_in_the_history_of_an_image() -> None:
    assert all("PIP_ARGS" not in " ".join(values(stage, "ARG")) for stage in TARGETS)


def test_variables_are_settings_or_those_of_libraries() -> None:
    known = {f"{ENV_PREFIX}{name.upper()}" for _, name, _ in fields()} | LIBRARIES_ENV
    for stage in TARGETS:
        stated = environ(stage)
        assert {name for name in stated if not name.startswith("NVIDIA_")} <= known
        settings = Settings.load({}, environ=stated)
        assert settings.server.host == "0.0.0.0"
        assert values(stage, "EXPOSE") == [str(settings.server.port)]
        assert all(stated[name].startswith("/data/") for name in ("HF_HOME", "MODELSCOPE_CACHE"))


def test_images_run_as_a_number_and_stop_by_sigterm() -> None:
    for stage in TARGETS:
        assert values(stage, "USER")[-1] == "10001:10001"
        assert values(stage, "STOPSIGNAL") == ["SIGTERM"]
        assert values(stage, "VOLUME") == ["/data"]
        assert values(stage, "ENTRYPOINT") == []
        assert [json.loads(each) for each in values(stage, "CMD")] == [["shortlist", "serve"]]


def test_health_check_is_a_command_in_exec_form() -> None:
    for stage in TARGETS:
        [check] = values(stage, "HEALTHCHECK")
        assert json.loads(check.partition(" CMD ")[2]) == ["shortlist", "health"]


def test_copied_files_exist_and_are_not_ignored() -> None:
    copied = [each.value.split()[:-1] for each in INSTRUCTIONS if each.name == "COPY" and "--from" not in each.value]
    bound = re.findall(r"type=bind,source=([\w./-]+)", DOCKERFILE.read_text(encoding="utf-8"))
    paths = {path for each in copied for path in each} | set(bound)
    assert {"pyproject.toml", "src", "deploy/docker"} <= paths
    for path in paths:
        assert (ROOT / path).exists(), path
        assert not is_ignored(path), path
    assert is_ignored(".git")
    assert is_ignored("deploy/nginx")
    assert is_ignored(".venv")
    assert is_ignored("src/shortlist/engine/native/cpu/libkernels.so")


def is_ignored(path: str) -> bool:
    """Return whether a path is left out of the build: the last pattern that matches it, or a folder above it, decides."""
    ignored, above = False, [path, *(str(parent) for parent in Path(path).parents)]
    for line in IGNORED:
        pattern = line.removeprefix("!").removeprefix("**/")
        if line and not line.startswith("#") and any(fnmatch(each, pattern) for each in above if each != "."):
            ignored = not line.startswith("!")
    return ignored


def test_labels_state_the_project() -> None:
    for stage in TARGETS:
        labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)=("[^"]*"|\S+)', " ".join(values(stage, "LABEL"))))
        stated: dict[str, Any] = {name: value.strip('"') for name, value in labels.items()}
        assert stated["title"].lower() == PROJECT["name"]
        assert (stated["version"], stated["licenses"]) == (PROJECT["version"], PROJECT["license"])
        assert stated["revision"] == "${REVISION}"


def test_installed_extras_exist_and_compilers_are_only_where_kernels_are_compiled() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    extras = {extra for group in re.findall(r'"\.\[([\w,]+)\]"', text) for extra in group.split(",")}
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])
    assert {each.stage for each in INSTRUCTIONS if each.name == "RUN" and "gcc" in each.value} == {"application", "cuda"}
    [model] = [each for each in PROJECT["optional-dependencies"]["demo"] if each.startswith("gt-all")]
    assert model.partition("==")[0] in text
