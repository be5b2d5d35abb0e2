"""The other hub: what its package is asked for, and what a person reads when it fails.

The package is optional. Most tests put a small one in its place that takes the same arguments; those that need the real one run
where it is installed.
"""

import errno
import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from shortlist.errors import ModelRefused
from shortlist.hub import download, metadata
from shortlist.hub.config_checks import WeightsReader
from shortlist.installation import install_hint
from shortlist.models import resolve
from shortlist.models import sentence as sentence_family
from shortlist.models.qwen3 import family as qwen3_family
from tests.support.hub_server import HubServer, running
from tests.support.model_folder import CROSS_ENCODER, QWEN3, TOKENIZER, WEIGHTS, Files, head, write

NAME = "maker/ranker"
TEXT = f"modelscope:{NAME}"
SOURCES = str(Path(download.__file__).parents[2])


class FakeHubError(Exception):
    """Stands for the package's own root error."""

    status_code: int | None = None


class FakeUnreachable(FakeHubError, ConnectionError):
    """Stands for its network error, which is both."""


class FakePackage:
    """A hub of one model behind the package's signature; keeps its cache in one folder.

    Source of the signature: modelscope 1.40, `modelscope.hub.snapshot_download.snapshot_download`.
    """

    def __init__(self, cache: Path, files: Files) -> None:
        self.cache, self.files = cache, files
        self.calls: list[dict[str, object]] = []
        self.error: Exception | None = None

    def snapshot_download(
        self,
        model_id: str | None = None,
        revision: str | None = None,
        cache_dir: str | None = None,
        user_agent: str | None = None,
        local_files_only: bool | None = False,
        *,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
    ) -> str:
        self.calls.append({"model_id": model_id, "revision": revision, "allow": allow_patterns, "local": local_files_only})
        if not local_files_only:
            if self.error is not None:
                raise self.error
            write(
                self.cache, {name: body for name, body in self.files.items() if _passes(name, allow_patterns, ignore_patterns)}
            )
        elif not self.cache.exists():
            raise FakeHubError("not in the cache")
        return str(self.cache)


def _passes(name: str, allow: list[str] | str | None, ignore: list[str] | str | None) -> bool:
    """Filter as the package does, its reading of a dot before a star included."""
    assert isinstance(allow, list)
    assert isinstance(ignore, list)

    def hit(globs: list[str]) -> bool:
        return any(fnmatch(name, glob) or fnmatch(name, glob.replace(".*", "*")) for glob in globs)

    return hit(allow) and not hit(ignore)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePackage:
    fake = FakePackage(tmp_path / "cache", CROSS_ENCODER)
    parts = {
        name: ModuleType(name)
        for name in ("modelscope", "modelscope.hub", "modelscope.hub.errors", "modelscope.hub.snapshot_download")
    }
    vars(parts["modelscope.hub.errors"])["HubError"] = FakeHubError
    vars(parts["modelscope.hub.snapshot_download"])["snapshot_download"] = fake.snapshot_download
    for name, module in parts.items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def refusal(text: str = TEXT, revision: str | None = None) -> str:
    with pytest.raises(ModelRefused) as refused:
        resolve(text, revision=revision)
    assert NAME in refused.value.message
    assert "\n" not in refused.value.message
    return refused.value.message


def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("modelscope", "modelscope.hub.errors"):  # the second may have been imported before
        monkeypatch.setitem(sys.modules, name, None)
    assert install_hint("modelscope") in refusal()


def test_model_is_fetched_in_two_steps(package: FakePackage) -> None:
    model = resolve(TEXT, revision="v1")
    assert (model.name, model.basename, model.family, model.revision) == (NAME, "ranker", sentence_family.CROSS_ENCODER, "v1")
    assert model.path == package.cache
    assert [call["model_id"] for call in package.calls] == [NAME, NAME]
    assert [call["revision"] for call in package.calls] == ["v1", "v1"]
    small, whole = (call["allow"] for call in package.calls)
    assert small == list(metadata.SMALL_FILES)
    assert whole == [*metadata.SMALL_FILES, *metadata.WEIGHT_FILES]


def test_only_needed_files_are_kept(package: FakePackage) -> None:
    package.files = {
        **CROSS_ENCODER,
        "vocab.txt": b"v",
        "pytorch_model.bin": b"x",
        "onnx/config.json": b"x",
        "m.gguf": b"x",
        "a.py": b"x",
    }
    resolve(TEXT)
    cached_snapshots = {path.relative_to(package.cache).as_posix() for path in package.cache.rglob("*") if path.is_file()}
    assert cached_snapshots == {*CROSS_ENCODER, "vocab.txt"}


def test_refused_model_downloads_no_weights(package: FakePackage) -> None:
    package.files = {**head("BertForSequenceClassification", labels=5), **TOKENIZER, **WEIGHTS}
    assert "5 labels" in refusal()
    assert len(package.calls) == 1
    assert not (package.cache / "model.safetensors").exists()


def test_weights_that_servers_have_are_not_fetched(package: FakePackage) -> None:
    model = resolve(TEXT, reader=WeightsReader.UPSTREAM)
    assert [call["allow"] for call in package.calls] == [list(metadata.SMALL_FILES)]
    assert not (model.path / "model.safetensors").exists()


def test_model_of_pickles_is_refused_in_the_end(package: FakePackage) -> None:
    package.files = {**head("BertForSequenceClassification"), "pytorch_model.bin": b"\x80"}
    assert "no .safetensors" in refusal()
    assert not (package.cache / "pytorch_model.bin").exists()


def test_published_name_is_evidence_here_too(package: FakePackage) -> None:
    package.files = QWEN3
    assert resolve("modelscope:Qwen/Qwen3-Embedding-0.6B").family is qwen3_family.EMBEDDER


def test_declaration_message_names_the_hub(package: FakePackage) -> None:
    package.files = QWEN3
    assert f"--reranker {TEXT} or --embedder {TEXT}" in refusal()


def test_cache_serves_when_the_hub_cannot_be_reached(package: FakePackage) -> None:
    online = resolve(TEXT)
    package.error = FakeUnreachable("refused")
    package.calls.clear()
    assert resolve(TEXT) == online
    assert [call["local"] for call in package.calls] == [False, True, False, True]


def test_unreachable_hub_without_a_cache_is_an_error(package: FakePackage) -> None:
    package.error = FakeUnreachable("refused")
    message = refusal()
    assert "FakeUnreachable" in message
    assert "MODELSCOPE_ENDPOINT" in message
    assert "local folder" in message


def test_other_failures_do_not_fall_back_to_the_cache(package: FakePackage) -> None:
    resolve(TEXT)
    package.error = FakeHubError("no")
    package.calls.clear()
    refusal()
    assert [call["local"] for call in package.calls] == [False]


@pytest.mark.parametrize(
    ("status", "revision", "words"),
    [
        (404, None, ("knows no model", "spelling")),
        (404, "v9", ("'v9'", "knows no model")),
        (401, None, ("MODELSCOPE_API_TOKEN", "401")),
        (403, None, ("MODELSCOPE_API_TOKEN", "403")),
        (500, None, ("network", "MODELSCOPE_ENDPOINT")),
    ],
)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_status_decides_the_sentence(
    status: int, revision: str | None, words: tuple[str, ...], is_wrapped: bool, package: FakePackage
) -> None:
    error: Exception = FakeHubError("answer") if not is_wrapped else OSError("answer")
    answer = FakeHubError()
    answer.status_code = status
    vars(error)["response" if is_wrapped else "status_code"] = answer if is_wrapped else status
    package.error = error
    message = refusal(revision=revision)
    assert [word for word in words if word not in message] == []


def test_full_disk_names_the_cache_setting(package: FakePackage) -> None:
    package.error = OSError(errno.ENOSPC, "No space left on device")
    assert "MODELSCOPE_CACHE" in refusal()


def test_patterns_match_the_same_files_on_both_hubs() -> None:
    for glob in (*metadata.SMALL_FILES, *metadata.WEIGHT_FILES, *metadata.NEVER):
        assert ".*" not in glob, "ModelScope reads it as a regular expression, and would skip every file"
        assert "," not in glob, "ModelScope splits there"


# -- the real package, over a socket ------------------------------------------------------------------------------------

PROGRAM = """
import json, logging, sys
logging.disable()
from shortlist.errors import ServiceError
from shortlist.models import resolve
for text in sys.argv[1:]:
    try:
        print(json.dumps([str(resolve(text).path), resolve(text).family.name]))
    except ServiceError as error:
        print(json.dumps(["", error.message]))
"""


def run(home: Path, endpoint: str, *texts: str) -> list[list[str]]:
    cached_snapshots = {key: value for key, value in os.environ.items() if not key.startswith("MODELSCOPE")}  # noqa: TID251
    cache = {"MODELSCOPE_ENDPOINT": endpoint, "MODELSCOPE_CACHE": str(home / "cache"), "HOME": str(home)}
    path = os.pathsep.join([SOURCES, *(part for part in sys.path if part)])
    environment = {**cached_snapshots, **cache, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *texts], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.mark.full
def test_real_package_downloads_over_a_socket_and_serves_from_its_cache(tmp_path: Path) -> None:
    pytest.importorskip("modelscope")
    unwanted = {"pytorch_model.bin": b"x", "onnx/model.onnx": b"x", "run.py": b"x"}
    with running(HubServer(models={NAME: {**CROSS_ENCODER, **unwanted}})) as hub:
        (folder, kind), (_, message) = run(tmp_path, hub.url, TEXT, "modelscope:maker/unknown")
        asked = [request.path for request in hub.requests]
    assert kind == sentence_family.CROSS_ENCODER.name
    assert {path.name for path in Path(folder).iterdir()} == set(CROSS_ENCODER)
    assert not [path for path in asked for name in unwanted if name in path]
    assert "knows no model maker/unknown" in message
    assert run(tmp_path, hub.url, TEXT) == [[folder, kind]]


@pytest.mark.full
def test_real_package_replaces_a_changed_file_by_its_own_hashes(tmp_path: Path) -> None:
    """ModelScope's cache keeps no hashes, but its package compares every file with the hub's listing at every start."""
    pytest.importorskip("modelscope")
    with running(HubServer(models={NAME: CROSS_ENCODER})) as hub:
        [[folder, _]] = run(tmp_path, hub.url, TEXT)
        weights = Path(folder) / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[::-1])
        [[again, kind]] = run(tmp_path, hub.url, TEXT)
    assert (again, kind) == (folder, sentence_family.CROSS_ENCODER.name)
    assert weights.read_bytes() == WEIGHTS["model.safetensors"]
