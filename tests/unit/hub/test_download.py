"""Fetching: what is asked of a hub, in which order, and what a person reads when it fails.

Hugging Face's library reads its settings when it is imported, so every download runs in a process of its own, against a hub on
a loopback port.
"""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub import demo_model, huggingface
from shortlist.hub.config_checks import WeightsReader
from shortlist.models import resolve
from shortlist.models import sentence as sentence_family
from shortlist.models.qwen3 import family as qwen3_family
from shortlist.types import EMBED, RERANK
from tests.support.hub_server import COMMIT, HubServer, running
from tests.support.model_folder import (
    BI_ENCODER,
    CROSS_ENCODER,
    QWEN3,
    TOKENIZER,
    WEIGHTS,
    change_a_byte,
    config,
    head,
    to_json,
    write,
)

NAME = "maker/ranker"
SOURCES = str(Path(demo_model.__file__).parents[2])
PROGRAM = """
import json, sys
from shortlist.errors import ServiceError
from shortlist.hub.config_checks import WeightsReader
from shortlist.models import resolve
try:
    model = resolve(sys.argv[1], revision=sys.argv[2] or None, reader=WeightsReader(sys.argv[3]))
    print(json.dumps({"path": str(model.path), "kind": model.family.name, "revision": model.revision, "size": model.size_bytes}))
except ServiceError as error:
    print(json.dumps({"refused": error.message, "type": type(error).__name__}))
"""


@dataclass(frozen=True)
class Result:
    """What one process made of one model."""

    path: Path
    kind: str
    revision: str
    refused: str
    size: int
    stderr: str


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with running(HubServer(models={NAME: CROSS_ENCODER})) as server:
        yield server


def run(
    home: Path,
    endpoint: str,
    text: str = NAME,
    revision: str = "",
    reader: WeightsReader = WeightsReader.SHORTLIST,
    **settings: str,
) -> Result:
    """Resolve a model in a fresh process with these settings of the library and no others."""
    cached_snapshots = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "MODELSCOPE"))}  # noqa: TID251
    environment = {
        **cached_snapshots,
        "PYTHONPATH": SOURCES,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, text, revision, reader.value],
        env=environment,
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return Result(
        path=Path(said.get("path", "")),
        kind=said.get("kind", ""),
        revision=said.get("revision", ""),
        refused=said.get("refused", ""),
        size=said.get("size", 0),
        stderr=done.stderr,
    )


def check_refused(result: Result, *words: str) -> None:
    assert result.refused, "it was accepted"
    assert "\n" not in result.refused
    assert NAME in result.refused
    assert [word for word in words if word not in result.refused] == []


# -- Hugging Face, over a socket ----------------------------------------------------------------------------------------


def test_model_is_downloaded_whole_into_hf_home(hub: HubServer, tmp_path: Path) -> None:
    result = run(tmp_path / "home", hub.url)
    assert result.kind == sentence_family.CROSS_ENCODER.name
    assert result.revision == COMMIT
    assert result.path.is_relative_to(tmp_path / "home")
    assert {path.name: path.read_bytes() for path in result.path.iterdir()} == dict(CROSS_ENCODER)
    assert result.size == sum(len(content) for content in CROSS_ENCODER.values())


def test_small_files_come_before_weights(hub: HubServer, tmp_path: Path) -> None:
    run(tmp_path / "home", hub.url)
    asked = hub.paths()
    assert sorted(asked) == sorted(CROSS_ENCODER)
    assert asked[-1] == "model.safetensors"


def test_only_needed_files_are_requested(hub: HubServer, tmp_path: Path) -> None:
    wanted = {
        **BI_ENCODER,
        "vocab.txt": b"v",
        "merges.txt": b"m",
        "spm.model": b"s",
        "chat_template.jinja": b"c",
        "README.md": b"r",
    }
    unwanted = [
        "pytorch_model.bin", "model.pt", "rust_model.ot", "model.gguf", "tf_model.h5", "flax_model.msgpack", "onnx/model.onnx",
        "onnx/config.json", "openvino/model.json", "training_args.bin", "checkpoint-5/model.safetensors", ".gitattributes", "code.py",
    ]  # fmt: skip
    hub.models[NAME] = {**wanted, **dict.fromkeys(unwanted, b"x")}
    result = run(tmp_path / "home", hub.url)
    assert result.kind == sentence_family.BI_ENCODER.name
    assert set(hub.paths()) | set(hub.paths("HEAD")) == set(wanted)


def test_refused_model_downloads_no_weights(hub: HubServer, tmp_path: Path) -> None:
    hub.models[NAME] = {**head("BertForSequenceClassification", labels=5), **TOKENIZER, **WEIGHTS}
    check_refused(run(tmp_path / "home", hub.url), "5 labels")
    assert "config.json" in hub.paths()
    assert "model.safetensors" not in hub.paths() + hub.paths("HEAD")


def test_weights_that_servers_have_are_not_fetched(hub: HubServer, tmp_path: Path) -> None:
    """Not even to be looked at: what they are in is the servers' business, too."""
    index = {"model.safetensors.index.json": to_json({"weight_map": {"a": "model-00001-of-00001.safetensors"}})}
    small = {name: content for name, content in CROSS_ENCODER.items() if name != "model.safetensors"} | index
    for weights in ("model.safetensors", "model-00001-of-00001.safetensors", "pytorch_model.bin"):
        hub.models[NAME] = {**small, weights: b"w" * 1000}
        hub.sizes[weights] = 10**18  # more than any disk has
        hub.requests.clear()
        result = run(tmp_path / weights, hub.url, reader=WeightsReader.UPSTREAM)
        assert result.kind == sentence_family.CROSS_ENCODER.name
        assert sorted(hub.paths()) == sorted(small)
        assert {path.name for path in result.path.iterdir()} == set(small)


def test_without_weights_a_second_start_fetches_nothing(hub: HubServer, tmp_path: Path) -> None:
    first = run(tmp_path / "home", hub.url, reader=WeightsReader.UPSTREAM)
    hub.requests.clear()
    assert run(tmp_path / "home", hub.url, reader=WeightsReader.UPSTREAM, HF_HUB_OFFLINE="1").path == first.path
    assert hub.requests == []
    check_refused(run(tmp_path / "home", hub.url, HF_HUB_OFFLINE="1"), "not complete")


def test_pickled_model_is_refused_before_any_download(hub: HubServer, tmp_path: Path) -> None:
    hub.models[NAME] = {**head("BertForSequenceClassification"), "pytorch_model.bin": b"\x80"}
    check_refused(run(tmp_path / "home", hub.url), "pickles")
    assert "pytorch_model.bin" not in hub.paths() + hub.paths("HEAD")


def test_published_name_is_evidence_on_the_hub(hub: HubServer, tmp_path: Path) -> None:
    hub.models["Qwen/Qwen3-Reranker-0.6B"] = QWEN3
    assert run(tmp_path / "home", hub.url, "Qwen/Qwen3-Reranker-0.6B").kind == qwen3_family.RERANKER.name


def test_second_start_fetches_nothing(hub: HubServer, tmp_path: Path) -> None:
    first = run(tmp_path / "home", hub.url)
    hub.requests.clear()
    assert run(tmp_path / "home", hub.url).path == first.path
    assert hub.paths() == []


def test_broken_transfer_resumes_where_it_stopped(hub: HubServer, tmp_path: Path) -> None:
    chunk = constants.DOWNLOAD_CHUNK_SIZE
    weights = bytes(range(256)) * (chunk // 256) + b"the rest" * 100
    hub.models[NAME] = {**CROSS_ENCODER, "model.safetensors": weights}
    hub.cut["model.safetensors"] = chunk + 8
    result = run(tmp_path / "home", hub.url)
    assert (result.path / "model.safetensors").read_bytes() == weights
    transfers = [request.range for request in hub.requests if request.method == "GET" and "model.safetensors" in request.path]
    assert transfers == [None, f"bytes={chunk}-"]


def test_finished_files_survive_a_failed_download(hub: HubServer, tmp_path: Path) -> None:
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    index = to_json({"weight_map": {"a": first, "b": second}})
    small = {**head("BertForSequenceClassification"), "model.safetensors.index.json": index}
    hub.models[NAME] = {**small, first: b"1" * 100, second: b"2" * 100}
    hub.lost.add(second)
    check_refused(run(tmp_path / "home", hub.url), "answered 404")
    hub.lost.clear()
    hub.requests.clear()
    assert run(tmp_path / "home", hub.url).kind == sentence_family.CROSS_ENCODER.name
    assert hub.paths() == [second]


def test_changed_byte_in_the_cache_is_refused_and_named(hub: HubServer, tmp_path: Path) -> None:
    weights = run(tmp_path / "home", hub.url).path / "model.safetensors"
    change_a_byte(weights.resolve())
    result = run(tmp_path / "home", hub.url)
    check_refused(result, "model.safetensors is not the file it should be", f"delete {weights.resolve()}", "download it again")
    weights.resolve().unlink()
    assert run(tmp_path / "home", hub.url).kind == sentence_family.CROSS_ENCODER.name
    assert weights.read_bytes() == WEIGHTS["model.safetensors"]


def test_cached_weights_are_vouched_for_by_their_names(hub: HubServer, tmp_path: Path) -> None:
    folder = run(tmp_path / "home", hub.url).path
    assert resolve(str(folder)).checksum_source == "its name in the hub's cache"
    copy = resolve(str(shutil.copytree(folder, tmp_path / "copy")))
    assert (copy.checksum_source, copy.digest) == (None, resolve(str(folder)).digest)


def test_changed_settings_are_noticed_where_a_hash_is_known(hub: HubServer, tmp_path: Path) -> None:
    tokenizer = run(tmp_path / "home", hub.url).path / "tokenizer.json"
    tokenizer.resolve().write_bytes(b"{ }")
    check_refused(run(tmp_path / "home", hub.url, HF_HUB_OFFLINE="1"), "tokenizer.json is not the file it should be")


def test_offline_mode_serves_from_the_cache(hub: HubServer, tmp_path: Path) -> None:
    online = run(tmp_path / "home", hub.url)
    hub.requests.clear()
    offline = run(tmp_path / "home", hub.url, HF_HUB_OFFLINE="1")
    assert (offline.path, offline.kind, offline.revision) == (online.path, online.kind, online.revision)
    assert hub.requests == []


def test_offline_mode_without_the_model_is_an_error(hub: HubServer, tmp_path: Path) -> None:
    check_refused(run(tmp_path / "home", hub.url, HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE", "local folder")
    assert hub.requests == []


def test_offline_mode_with_an_incomplete_model_is_an_error(hub: HubServer, tmp_path: Path) -> None:
    cached = run(tmp_path / "home", hub.url)
    (cached.path / "model.safetensors").unlink()
    check_refused(run(tmp_path / "home", hub.url, HF_HUB_OFFLINE="1"), "not complete", "HF_HUB_OFFLINE")


def test_hub_that_is_down_is_no_matter_once_cached(hub: HubServer, tmp_path: Path) -> None:
    online = run(tmp_path / "home", hub.url)
    assert run(tmp_path / "home", _closed_port()).path == online.path
    hub.status = 503
    assert run(tmp_path / "home", hub.url).path == online.path


def test_unreachable_hub_names_mirror_and_local_folder(tmp_path: Path) -> None:
    endpoint = _closed_port()
    check_refused(run(tmp_path / "home", endpoint), endpoint, "HF_ENDPOINT", "local folder")


def test_unknown_model_has_its_own_error(hub: HubServer, tmp_path: Path) -> None:
    hub.models.clear()
    check_refused(run(tmp_path / "home", hub.url), "knows no model", "spelling", f"modelscope:{NAME}")


def test_unknown_revision_has_its_own_error(hub: HubServer, tmp_path: Path) -> None:
    check_refused(run(tmp_path / "home", hub.url, revision="v9"), "'v9'", "branch")


def test_commit_pins_the_revision(hub: HubServer, tmp_path: Path) -> None:
    assert run(tmp_path / "home", hub.url, revision=COMMIT).revision == COMMIT


def test_gated_model_points_to_its_page_and_token(hub: HubServer, tmp_path: Path) -> None:
    hub.gated.add(NAME)
    check_refused(run(tmp_path / "home", hub.url), "gated", f"{hub.url}/{NAME}", "HF_TOKEN")


def test_private_model_opens_with_the_token_alone(hub: HubServer, tmp_path: Path) -> None:
    hub.private.add(NAME)
    check_refused(run(tmp_path / "home", hub.url), "HF_TOKEN", "private")
    assert run(tmp_path / "home", hub.url, HF_TOKEN="hf_right").kind == sentence_family.CROSS_ENCODER.name


def test_token_never_shows_in_a_refusal(hub: HubServer, tmp_path: Path) -> None:
    hub.status = 403
    result = run(tmp_path / "home", hub.url, HF_TOKEN="hf_secret")
    check_refused(result, "403", "HF_TOKEN")
    assert "Bearer hf_secret" in {request.authorization for request in hub.requests}
    assert "hf_secret" not in result.refused


def test_failing_hub_is_named_with_its_status(hub: HubServer, tmp_path: Path) -> None:
    hub.status = 500
    check_refused(run(tmp_path / "home", hub.url), "answered 500", "HF_ENDPOINT")


def test_empty_model_is_refused(hub: HubServer, tmp_path: Path) -> None:
    hub.models[NAME] = {}
    check_refused(run(tmp_path / "home", hub.url), "no config.json")


def test_full_disk_is_noticed_before_the_weights(hub: HubServer, tmp_path: Path) -> None:
    hub.sizes["model.safetensors"] = 10**18
    check_refused(run(tmp_path / "home", hub.url), "1000000000.0 GB more", "free", "HF_HOME")
    assert "model.safetensors" not in hub.paths()


def test_progress_goes_to_stderr(hub: HubServer, tmp_path: Path) -> None:
    assert "Fetching" in run(tmp_path / "home", hub.url).stderr


def _closed_port() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


# -- what went wrong, in words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ("disk is full", "HF_HOME")),
        (PermissionError(errno.EACCES, "Permission denied"), ("Permission denied", "HF_HOME")),
        (OSError("Consistency check failed"), ("network", "HF_ENDPOINT")),
        (httpx2.ReadTimeout("slow"), ("ReadTimeout", "HF_ENDPOINT")),
        (httpx2.ProxyError("no"), ("ProxyError", "network")),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ("ConnectionResetError", "network")),
        (LocalEntryNotFoundError("gone"), ("HF_HUB_OFFLINE", "local folder")),
    ],
)
def test_every_failure_becomes_one_line(error: Exception, words: tuple[str, ...]) -> None:
    message = huggingface.explain(error, NAME, None)
    assert NAME in message
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_disk_full_in_mid_download_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface, "snapshot_download", fill)
    with pytest.raises(ModelRefused, match="disk is full"):
        huggingface.fetch(NAME, None, lambda *_: None)


def test_weights_are_taken_from_the_commit_that_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    revisions: list[object] = []

    def note(_: str, *, revision: str | None, **__: object) -> str:
        revisions.append(revision)
        return str(tmp_path / COMMIT)

    monkeypatch.setattr(huggingface, "snapshot_download", note)
    monkeypatch.setattr(huggingface, "_listing", lambda *_: None)
    snapshot = huggingface.fetch(NAME, "main", lambda *_: None)
    assert revisions == ["main", COMMIT]
    assert snapshot.commit == COMMIT


def test_files_in_the_cache_need_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    listing = {"model.safetensors": 1_000, "pytorch_model.bin": 1_000}
    with pytest.raises(ModelRefused, match="needs"):
        huggingface._refuse_when_full(NAME, tmp_path, listing)
    write(tmp_path, {"model.safetensors": b"w" * 1_000})
    huggingface._refuse_when_full(NAME, tmp_path, listing)


# -- a local folder -----------------------------------------------------------------------------------------------------


def test_local_folder_is_used_in_place(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", CROSS_ENCODER)
    model = resolve(str(folder))
    assert (model.path, model.family, model.revision) == (folder, sentence_family.CROSS_ENCODER, None)
    assert (model.name, model.basename) == (str(folder), "mine")
    assert "one label" in model.why


def test_declared_task_reaches_the_decision(tmp_path: Path) -> None:
    folder = str(write(tmp_path / "bare", {**config("Qwen3ForCausalLM", "qwen3"), **WEIGHTS}))
    assert resolve(folder, declared=EMBED).family is qwen3_family.EMBEDDER
    assert resolve(folder, declared=RERANK).family is qwen3_family.RERANKER
    with pytest.raises(ModelRefused, match=f"--reranker {folder}"):
        resolve(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="does not exist"):
        resolve(str(tmp_path / "gone"))


def test_folder_without_weights_serves_where_they_are_elsewhere(tmp_path: Path) -> None:
    files = {name: content for name, content in CROSS_ENCODER.items() if name not in WEIGHTS}
    folder = write(tmp_path / "mine", {**files, "SHA256SUMS": f"{'0' * 64}  model.safetensors\n".encode()})
    model = resolve(str(folder), reader=WeightsReader.UPSTREAM)
    assert (model.family, model.checksum_source) == (sentence_family.CROSS_ENCODER, None)
    with pytest.raises(ModelRefused, match=r"no \.safetensors weights"):
        resolve(str(folder), reader=WeightsReader.VLLM)


def test_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"w")
    with pytest.raises(ModelRefused, match="is a file"):
        resolve(str(tmp_path / "model.safetensors"))


@pytest.mark.parametrize("text", ["demo", "./"])
def test_revision_of_a_folder_or_the_demo_is_a_bad_setting(text: str) -> None:
    with pytest.raises(BadSetting, match="revision"):
        resolve(text, revision="main")
