"""The composition root: which models are served, under which names, for which tasks, and by what."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from shortlist.config import ModelSettings
from shortlist.engine import workers
from shortlist.engine.base import Engine
from shortlist.engine.native.dynamic_range import Samples
from shortlist.engine.native.native_engine import NativeEngine
from shortlist.errors import BadSetting, ModelRefused
from shortlist.hub.config_checks import WeightsReader
from shortlist.hub.demo_model import WEIGHTS_SHA256
from shortlist.hub.metadata import read_metadata
from shortlist.installation import install_hint
from shortlist.models import ResolvedModel
from shortlist.models import resolve as hub_resolve
from shortlist.models import sentence as sentence_family
from shortlist.models.qwen3.qwen_encoder import QwenEncoder
from shortlist.models.stated import prompts_of
from shortlist.scheduler.served_model import ServedModel
from shortlist.service import build
from shortlist.service.build import build_runtime
from shortlist.service.selftest_data import calibration_texts
from shortlist.telemetry import Metrics
from shortlist.text.encoder import Encoder
from shortlist.text.model_prompts import NO_PROMPTS
from shortlist.text.text_encoder import TextEncoder
from shortlist.types import EMBED, RERANK, InputType, Operation, TokenPrompt
from tests.support import model_folder, models
from tests.support.apps import settings
from tests.support.encoded import texts
from tests.support.fake_engine import FakeEngine
from tests.support.fixtures import ModelFactory
from tests.support.words import WordEncoder

RERANKER, EMBEDDER = frozenset({RERANK}), frozenset({EMBED})
BOTH = RERANKER | EMBEDDER

Ask = Callable[..., list[ServedModel]]


class Notices(list[str]):
    """The startup notices."""

    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[ResolvedModel]:
    """Detection is real, loading is faked; lists the loaded models."""
    seen: list[ResolvedModel] = []

    def fake(model: ResolvedModel, *_: object, **__: object) -> tuple[Engine, Encoder]:
        seen.append(model)
        return FakeEngine(), WordEncoder()

    monkeypatch.setattr(build, "load_here", fake)
    monkeypatch.setattr(build.LoadedModel, "memory", lambda *_: None)  # stand-ins for weights have no size
    return seen


@pytest.fixture
def ask(loaded: list[ResolvedModel], notices: Notices) -> Ask:
    def served_models(**flat: object) -> list[ServedModel]:
        return list(build_runtime(settings(**flat), notify=notices)._registry.served_models)

    return served_models


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """One folder of every kind, with a stand-in for weights."""
    files = {
        "bi": model_folder.BI_ENCODER,
        "cross": model_folder.CROSS_ENCODER,
        "qwen": model_folder.QWEN3,
        "qwen-embedder": model_folder.QWEN3_EMBEDDER,
    }
    return {name: model_folder.write(tmp_path / name, content) for name, content in files.items()}


def served(served_models: list[ServedModel]) -> dict[str, frozenset[Operation]]:
    return {served.name: served.card.operations for served in served_models}


# -- which models -------------------------------------------------------------------------------------------------------


def test_no_model_serves_the_demo_with_a_notice(ask: Ask, notices: Notices) -> None:
    assert served(ask()) == {"demo": BOTH}
    assert notices[0] == build.NO_MODEL


def test_named_demo_has_no_notice(ask: Ask, notices: Notices) -> None:
    assert served(ask(models=["demo"])) == {"demo": BOTH}
    assert build.NO_MODEL not in notices


def test_models_are_served_in_the_order_positional_rerankers_embedders(ask: Ask, folders: dict[str, Path]) -> None:
    served_models = ask(models=["demo", str(folders["cross"])], reranker=[str(folders["qwen"])], embedder=[str(folders["bi"])])
    assert [served.name for served in served_models] == ["demo", "cross", "qwen", "bi"]


@pytest.mark.parametrize("flag", ["reranker", "embedder"])
def test_any_named_model_stands_in_for_the_demo(ask: Ask, folders: dict[str, Path], flag: str) -> None:
    assert list(served(ask(**{flag: [str(folders["bi"])]}))) == ["bi"]


def test_kind_and_reason_of_each_model_are_reported(ask: Ask, folders: dict[str, Path], notices: Notices) -> None:
    ask(models=[str(folders["cross"])])
    assert any("cross-encoder" in line and "config.json" in line for line in notices)
    assert any("up to 8192 tokens" in line for line in notices)


@pytest.mark.parametrize("kind", ["cross", "bi"])
def test_models_of_other_kinds_are_not_divided_among_devices(folders: dict[str, Path], notices: Notices, kind: str) -> None:
    with pytest.raises(
        BadSetting, match=r"device \(--device\) names several devices, but .* runs on one: sentence-transformers computes it"
    ):
        build_runtime(settings(models=[str(folders[kind])], device="cpu,cpu"), notify=notices)


# -- their tasks --------------------------------------------------------------------------------------------------------


def test_each_kind_is_the_default_for_its_task(ask: Ask, folders: dict[str, Path]) -> None:
    served_models = ask(models=[str(folders["bi"]), str(folders["cross"]), str(folders["qwen-embedder"])])
    assert served(served_models) == {"bi": EMBEDDER, "cross": RERANKER, "qwen-embedder": EMBEDDER}


@pytest.mark.parametrize(("flag", "tasks"), [("reranker", RERANKER), ("embedder", EMBEDDER)])
@pytest.mark.parametrize("model", ["bi", "demo"])
def test_embedder_does_exactly_its_declared_task(
    ask: Ask, folders: dict[str, Path], model: str, flag: str, tasks: frozenset[Operation]
) -> None:
    assert served(ask(**{flag: [str(folders.get(model, model))]})) == {model: tasks}


def test_undetectable_qwen_model_needs_a_declared_task(ask: Ask, folders: dict[str, Path]) -> None:
    with pytest.raises(ModelRefused, match="--reranker"):
        ask(models=[str(folders["qwen"])])
    assert served(ask(reranker=[str(folders["qwen"])])) == {"qwen": RERANKER}


def test_cross_encoder_is_no_embedder(ask: Ask, folders: dict[str, Path], loaded: list[ResolvedModel]) -> None:
    with pytest.raises(ModelRefused, match="cannot embed"):
        ask(embedder=[str(folders["cross"])])
    assert loaded == []


def test_task_that_the_engine_cannot_do_is_not_offered(
    ask: Ask, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class RanksOnly(FakeEngine):
        def __init__(self) -> None:
            super().__init__()
            object.__setattr__(self._info, "operations", RERANKER)

    monkeypatch.setattr(build, "load_here", lambda *_, **__: (RanksOnly(), WordEncoder()))
    assert served(ask(models=["demo"])) == {"demo": RERANKER}


# -- their names --------------------------------------------------------------------------------------------------------


def test_folder_is_served_under_its_own_name_without_its_path(ask: Ask, folders: dict[str, Path], tmp_path: Path) -> None:
    [served] = ask(models=[f"{folders['cross']}/"])
    assert served.name == "cross"
    assert str(tmp_path) not in repr(served.card)


def test_two_folders_of_one_name_stop_the_start(ask: Ask, folders: dict[str, Path], tmp_path: Path) -> None:
    other = shutil.copytree(folders["cross"], tmp_path / "other" / "cross")
    with pytest.raises(BadSetting, match="'cross'"):
        ask(models=[str(folders["cross"]), str(other)])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]) -> list[tuple[str, str | None]]:
    """Every name but demo and folders is a hub name; lists the lookups with their revision."""
    asked: list[tuple[str, str | None]] = []

    def resolve(text: str, *, declared: Operation | None, revision: str | None, reader: WeightsReader) -> ResolvedModel:
        asked.append((text, revision))
        if text == "demo" or Path(text).is_dir():
            return hub_resolve(text, declared=declared, revision=revision, reader=reader)
        name = text.removeprefix("modelscope:")
        return ResolvedModel(
            name=name,
            basename=name.rsplit("/", 1)[-1],
            path=folders["cross"],
            family=sentence_family.CROSS_ENCODER,
            why="test",
            revision="r",
            size_bytes=1,
            digest="d",
            checksum_source=None,
        )

    monkeypatch.setattr(build, "resolve", resolve)
    return asked


@pytest.mark.parametrize("text", ["BAAI/bge-reranker-v2-m3", "modelscope:BAAI/bge-reranker-v2-m3"])
@pytest.mark.usefixtures("hub")
def test_model_of_a_hub_is_served_under_its_name_there(ask: Ask, text: str) -> None:
    assert list(served(ask(models=[text]))) == ["BAAI/bge-reranker-v2-m3"]


def test_revision_is_asked_of_hubs_only(ask: Ask, folders: dict[str, Path], hub: list[tuple[str, str | None]]) -> None:
    ask(models=["demo", str(folders["cross"]), "owner/name", "modelscope:owner/other"], revision="v2")
    assert [revision for _, revision in hub] == [None, None, "v2", "v2"]


@pytest.mark.parametrize(
    "target", ["modelscope:BAAI/bge-reranker-v2-m3", "BAAI/bge-reranker-v2-m3", "bge-reranker-v2-m3"], ids=["text", "name", "basename"]
)  # fmt: skip
@pytest.mark.usefixtures("hub")
def test_alias_finds_its_model_however_that_is_written(ask: Ask, target: str) -> None:
    demo, model = ask(models=["demo", "modelscope:BAAI/bge-reranker-v2-m3"], alias=[f"rerank-v3.5={target}"])
    assert (demo.card.aliases, model.card.aliases) == ((), ("rerank-v3.5",))


def test_alias_of_a_folder_takes_its_path_or_its_name(ask: Ask, folders: dict[str, Path]) -> None:
    path = str(folders["cross"])
    [served] = ask(models=[path], alias=[f"a={path}", "b=cross"])
    assert served.card.aliases == ("a", "b")


@pytest.mark.parametrize("alias", ["name", "=demo", "name=", "="])
def test_malformed_alias_stops_the_start(ask: Ask, alias: str) -> None:
    with pytest.raises(BadSetting, match="NAME=MODEL"):
        ask(models=["demo"], alias=[alias])


def test_malformed_alias_is_refused_before_anything_is_loaded(ask: Ask, loaded: list[ResolvedModel]) -> None:
    with pytest.raises(BadSetting):
        ask(models=["demo"], alias=["name"])
    assert loaded == []


@pytest.mark.parametrize(
    ("models", "alias", "notices"),
    [
        (["demo", "demo"], [], "'demo'"),
        (["demo", "cross"], ["demo=cross"], "'demo'"),
        (["demo", "cross"], ["same=demo", "same=cross"], "'same'"),
        (["demo", "cross"], ["a=gpt-4"], "not served"),
    ],
)
def test_invalid_names_are_refused_before_anything_is_loaded(
    ask: Ask, folders: dict[str, Path], loaded: list[ResolvedModel], models: list[str], alias: list[str], notices: str
) -> None:
    with pytest.raises(BadSetting, match=notices):
        ask(models=[str(folders.get(name, name)) for name in models], alias=alias)
    assert loaded == []


def test_model_may_be_its_own_alias(ask: Ask) -> None:
    [served] = ask(models=["demo"], alias=["demo=demo", "other=demo"])
    assert served.card.aliases == ("demo", "other")


def test_alias_of_an_unserved_model_stops_the_start(ask: Ask) -> None:
    with pytest.raises(BadSetting, match=r"'name'.*'gpt-4', which is not served"):
        ask(models=["demo"], alias=["other=demo", "name=gpt-4"])


def test_one_alias_for_two_models_stops_the_start(ask: Ask, folders: dict[str, Path]) -> None:
    with pytest.raises(BadSetting, match="'same'"):
        ask(models=["demo", str(folders["cross"])], alias=["same=demo", "same=cross"])


def test_alias_target_may_contain_equal_signs(ask: Ask) -> None:
    with pytest.raises(BadSetting, match="'b=demo'"):
        ask(models=["demo"], alias=["a=b=demo"])


# -- their limits -------------------------------------------------------------------------------------------------------


def test_limits_reach_the_components_that_apply_them(ask: Ask) -> None:
    [served] = ask(
        max_model_len=100,
        max_batch_tokens=111,
        max_batch_items=12,
        max_concurrent_requests=13,
        max_queue_tokens=1600,
        max_queue_bytes=1500,
        max_queue_delay_ms=1700,
        cache_bytes=18,
    )
    limits, dispatcher = served.admission.limits, served.dispatcher
    assert (limits.max_concurrent_requests, limits.max_queue_tokens) == (13, 1600)
    assert (limits.max_queue_bytes, limits.max_queue_delay_s) == (1500, 1.7)
    assert (dispatcher._token_limit.most, dispatcher._max_batch_items) == (111, 12)
    assert dispatcher._admission is served.admission
    assert served.cache.max_bytes == 18


def test_two_models_share_the_metrics_and_nothing_else(ask: Ask, folders: dict[str, Path]) -> None:
    one, two = ask(models=["demo", str(folders["cross"])])
    assert one.metrics is two.metrics
    for part in ("engine", "dispatcher", "admission", "cache"):
        assert getattr(one, part) is not getattr(two, part)


# -- what runs them -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, make_model: ModelFactory) -> list[tuple[Engine, Encoder]]:
    """One model of every kind, loaded with a limit of 300 tokens."""
    cross_encoder = models.cross_encoder(tmp_path_factory.mktemp("cross"))
    reranker, head, embedder = (make_model(kind=kind) for kind in ("reranker", "seqcls", "embedder"))
    asked = settings(
        models=[str(cross_encoder), "demo", str(embedder)],
        reranker=[str(reranker), str(head)],
        max_model_len=300,
        dtype="float32",
        device="cpu",
    )
    return [(served.engine, served.encoder) for served in build_runtime(asked, notify=Notices())._registry.served_models]


def test_qwen_models_run_natively_and_all_others_through_the_library(real: list[tuple[Engine, Encoder]]) -> None:
    pairs = [(type(engine).__name__, type(encoder)) for engine, encoder in real]
    assert pairs == [
        ("CrossEncoderEngine", TextEncoder),
        ("BiEncoderEngine", TextEncoder),
        ("NativeEngine", QwenEncoder),
        ("NativeEngine", QwenEncoder),
        ("NativeEngine", QwenEncoder),
    ]


def test_encoder_and_engine_agree_on_the_longest_prompt(real: list[tuple[Engine, Encoder]]) -> None:
    lengths = [(engine.info.max_model_len, getattr(encoder, "max_model_len", None)) for engine, encoder in real]
    assert lengths == [(300, 300), (256, 256), (300, 300), (300, 300), (300, 300)]


def test_dtype_and_device_reach_the_native_engine(real: list[tuple[Engine, Encoder]]) -> None:
    assert {(engine.info.dtype, engine.info.device) for engine, _ in real} == {("float32", "cpu")}


@pytest.mark.parametrize("device", ["cpu", "cpu,cpu"])
@pytest.mark.parametrize("kind", ["reranker", pytest.param("seqcls", marks=pytest.mark.full), "embedder"])
def test_native_engine_is_shown_texts_in_the_models_prompts(
    make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch, kind: str, device: str
) -> None:
    """On one device and on several; the start message of a worker is inspected before it is sent."""
    shown: list[Sequence[TokenPrompt]] = []

    def look(_: object, *, device: str, samples: Samples, **__: object) -> FakeEngine:
        shown.append(samples())
        return FakeEngine()

    def start(load: Callable[..., FakeEngine], devices: Sequence[str], **_: object) -> FakeEngine:
        engines = [load(device=each) for each in devices]
        return engines[0]

    monkeypatch.setattr(NativeEngine, "load", look)
    monkeypatch.setattr(workers, "start", start)
    task = EMBED if kind == "embedder" else RERANK
    loaded = build.load(
        str(make_model(kind=kind)), task, ModelSettings(device=device), notify=lambda _: None, metrics=Metrics()
    )
    assert isinstance(loaded.encoder, QwenEncoder)
    expected = calibration_texts(loaded.encoder)
    assert [[each.ids.tolist() for each in one] for one in shown] == [[each.ids.tolist() for each in expected]] * len(shown)
    assert len(shown) == len(device.split(","))


@pytest.mark.parametrize("kind", ["reranker", "embedder"])
def test_model_whose_tokenizer_is_refused_leaves_nothing_behind(make_model: ModelFactory, tmp_path: Path, kind: str) -> None:
    """Tokenizer and weights are read side by side; if one fails, the other is closed."""
    folder = shutil.copytree(make_model(kind=kind), tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    before = {thread.name for thread in threading.enumerate()}
    task = {"reranker": RERANK, "embedder": EMBED}[kind]
    with pytest.raises(ModelRefused, match=r"tokenizer\.json"):
        build.load(str(folder), task, ModelSettings(), notify=lambda _: None, metrics=Metrics())
    assert {thread.name for thread in threading.enumerate()} <= before


def test_model_keeps_its_own_lower_limit(make_model: ModelFactory) -> None:
    folder = make_model(kind="seqcls")
    [served] = build_runtime(settings(reranker=[str(folder)], device="cpu"), notify=Notices())._registry.served_models
    assert isinstance(served.encoder, QwenEncoder)
    assert (served.engine.info.max_model_len, served.encoder.max_model_len, served.card.max_model_len) == (4096, 4096, 4096)
    served.engine.close()


# -- prompts of sentence-transformers -----------------------------------------------------------------------------------


def prompts(folder: Path, **stated: object) -> dict[str, str]:
    (folder / "config_sentence_transformers.json").write_text(json.dumps(stated))
    found = prompts_of(read_metadata(folder, name="m"))
    return {each.value: found.find(each) for each in (InputType.QUERY, InputType.DOCUMENT)}


@pytest.mark.parametrize(
    ("stated", "query", "document"),
    [
        ({}, "", ""),
        ({"query": "q: "}, "q: ", ""),
        ({"query": "q: ", "document": "d: "}, "q: ", "d: "),
        ({"query": "q: ", "passage": "p: "}, "q: ", "p: "),
        ({"corpus": "c: "}, "", "c: "),
        ({"corpus": "c: ", "passage": "p: ", "document": "d: "}, "", "d: "),
        ({"corpus": "c: ", "passage": "p: "}, "", "p: "),
        ({"document": "", "passage": "p: "}, "", "p: "),
        ({"query": "", "clustering": "x: "}, "", ""),
        ({"query": None, "document": None}, "", ""),  # as the library itself writes what is not set
    ],
)
def test_prompts_are_found_under_the_librarys_names(
    tmp_path: Path, stated: dict[str, str | None], query: str, document: str
) -> None:
    assert prompts(tmp_path, prompts=stated) == {"query": query, "document": document}


def test_model_without_prompts_uses_none(tmp_path: Path) -> None:
    assert prompts_of(read_metadata(tmp_path, name="m")) == NO_PROMPTS
    assert prompts(tmp_path, similarity_fn_name="cosine") == {"query": "", "document": ""}


@pytest.mark.parametrize("broken", [None, ["query"], "query: ", 5, {"query": 5}, {"document": ["a"]}])
def test_broken_prompts_refuse_the_model_in_one_line(tmp_path: Path, broken: object) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models.DEMO, folder)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": broken}))
    with pytest.raises(ModelRefused, match=r"config_sentence_transformers\.json"):
        build_runtime(settings(models=[str(folder)]), notify=Notices())  # the library would raise an arbitrary error


def test_broken_prompts_file_refuses_the_model(folders: dict[str, Path]) -> None:
    (folders["bi"] / "config_sentence_transformers.json").write_text("{")
    with pytest.raises(ModelRefused, match=r"config_sentence_transformers\.json"):
        build_runtime(settings(models=[str(folders["bi"])]), notify=Notices())


def test_prompts_reach_the_encoder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models.DEMO, folder)
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "ask: ", "passage": "tell: "}}))
    [served] = build_runtime(settings(models=[str(folder)], device="cpu"), notify=Notices())._registry.served_models
    [one] = texts(found := served.encoder.encode_pairs("fox", ["cat"]))
    shown = served.encoder.view(found[0].prompts[0])
    assert (one.prefix.text, one.text) == ("fox", "cat")
    assert shown.text == "ask: fox\ntell: cat"
    served.engine.close()


# -- what is not installed ----------------------------------------------------------------------------------------------


def without(libraries: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that cannot import these."""
    hidden = f"import sys; sys.path[:0] = {sys.path!r}; sys.modules.update(dict.fromkeys({libraries!r})); "
    return subprocess.run([sys.executable, "-c", hidden + code], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("library", ["torch", "sentence_transformers"])
def test_missing_library_is_one_line_with_the_command_that_brings_it(library: str) -> None:
    code = "from shortlist.cli import main; sys.argv = ['shortlist', 'serve', 'demo', '--port', '0']; main()"
    done = without([library], code)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert f"needs {library}," in line
    assert install_hint("sentence") in line


def test_native_engine_without_torch_is_one_line_with_its_own_command(
    folders: dict[str, Path], make_model: ModelFactory
) -> None:
    arguments = ["shortlist", "serve", "--reranker", str(make_model(kind="reranker")), "--port", "0"]
    done = without(["torch"], f"from shortlist.cli import main; sys.argv = {arguments!r}; main()")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "needs torch," in line
    assert install_hint("native") in line


def test_native_engine_needs_nothing_of_the_other_libraries(make_model: ModelFactory) -> None:
    code = (
        "from shortlist.config import Settings; from shortlist.service.build import build_runtime; "
        f"build_runtime(Settings.load(dict(reranker=[{str(make_model(kind='reranker'))!r}]), environ=dict()), notify=print)"
    )
    done = without(["sentence_transformers", "transformers", "gradio"], code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "shortlist.cli.serve",
        *(
            pytest.param(f"shortlist.{name}", marks=pytest.mark.full)
            for name in ("cli.rerank", "server", "api.app", "service.build")
        ),
    ],
)
def test_http_layer_needs_no_heavy_library(module: str) -> None:
    done = without(["torch", "sentence_transformers", "transformers", "gradio", "modelscope"], f"import {module}")
    assert done.returncode == 0, done.stderr


def test_demo_is_known_by_its_weights(ask: Ask, loaded: list[ResolvedModel]) -> None:
    ask()
    assert [model.revision for model in loaded] == [WEIGHTS_SHA256[:12]]


# -- the cache that servers share ---------------------------------------------------------------------------------------


def test_without_an_address_nothing_is_shared(ask: Ask) -> None:
    assert [served.shared for served in ask()] == [None]


def test_all_models_share_one_cache(ask: Ask, folders: dict[str, Path]) -> None:
    pytest.importorskip("redis")
    one, two = ask(models=[str(folders["bi"]), str(folders["cross"])], cache_url="redis://127.0.0.1:1")
    assert one.shared is not None
    assert one.shared is two.shared


def test_cache_without_its_library_stops_the_start_before_anything_is_loaded() -> None:
    arguments = ["shortlist", "serve", "demo", "--port", "0", "--cache-url", "redis://:canary@localhost"]
    done = without(["redis", "torch"], f"from shortlist.cli import main; sys.argv = {arguments!r}; main()")
    assert done.returncode == 3, done.stderr
    [_, line] = done.stderr.strip().splitlines()  # after the line that says what starts
    assert line.startswith("error: ")
    assert install_hint("redis") in line
    assert "canary" not in done.stderr
