"""vLLM deployments: server and GPU share of every model are decided, or refused by name, before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shortlist.config import ModelSettings, Settings
from shortlist.engine.vllm.command import VllmPlan
from shortlist.engine.vllm.start import UpstreamAccess, connect
from shortlist.engine.vllm.vllm_engine import VllmEngine
from shortlist.errors import BadSetting, EngineUnavailable, ModelRefused
from shortlist.hub.config_checks import WeightsReader
from shortlist.models import resolve
from shortlist.service import build, vllm_deployment
from shortlist.service.build import build_runtime, load, served_model_for
from shortlist.service.model_report import build_report
from shortlist.service.vllm_deployment import MetricLabels, VllmDeployment, deployments, engine_and_encoder
from shortlist.telemetry import Metrics
from shortlist.types import RERANK
from tests.support import model_folder
from tests.support.apps import settings
from tests.support.fixtures import ModelFactory
from tests.support.sickvllm import sick_vllm
from tests.support.vllm import plan_of

ON_VLLM = {"engine": "vllm"}
COUNTED = MetricLabels(metrics=Metrics(), name="m")
TWO = ["a/reranker", "b/embedder"]


def placed(models: list[str], **flat: Any) -> list[VllmDeployment | None]:
    return deployments(settings(**flat), models)


def test_without_vllm_there_is_no_deployment() -> None:
    assert placed(TWO) == [None, None]


@pytest.mark.parametrize("flat", [{"upstream": ["http://a:1"]}, {"vllm_executable": "/x/vllm"}, {"vllm_arg": ["--seed=1"]}])
def test_vllm_settings_need_the_vllm_engine(flat: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="--engine vllm"):
        placed(TWO, **flat)


# -- shares of a device -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_models", "given", "shares"),
    [
        (1, [], [None]),
        (3, [], [None, None, None]),
        (1, [0.5], [0.5]),
        (2, [0.4], [0.4, 0.4]),
        (2, [0.7, 0.2], [0.7, 0.2]),
        (2, "0.7,0.2", [0.7, 0.2]),
    ],
)
def test_memory_is_divided_as_configured(num_models: int, given: Any, shares: list[float | None]) -> None:
    found = placed(["m"] * num_models, gpu_memory_utilization=given, **ON_VLLM)
    assert [deployment.share for deployment in found if deployment] == shares


@pytest.mark.parametrize(("num_models", "share"), [(1, None), (2, 0.45), (3, 0.3)])
def test_models_share_a_gpu_evenly_unless_configured(num_models: int, share: float | None) -> None:
    assert [deployment.fair_share for deployment in placed(["m"] * num_models, **ON_VLLM) if deployment] == [share] * num_models


@pytest.mark.parametrize(
    ("num_models", "given", "words"),
    [
        (2, [0.9], "adds up to 1.80 for 2 models.*0.45 for each"),
        (2, [0.7, 0.4], "adds up to 1.10"),
        (2, [0.3, 0.3, 0.3], "has 3 shares for 2 models"),
    ],
)
def test_memory_that_is_not_there_is_refused_before_anything_starts(num_models: int, given: list[float], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        placed(["m"] * num_models, gpu_memory_utilization=given, **ON_VLLM)


def test_memory_is_checked_before_a_model_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(build, "resolve", never)
    with pytest.raises(BadSetting, match="adds up"):
        build_runtime(settings(models=["./a", "./b"], gpu_memory_utilization=[0.9], **ON_VLLM), notify=lambda _: None)


# -- upstream servers ---------------------------------------------------------------------------------------------------


def test_all_servers_serve_a_model_alone() -> None:
    [deployment] = placed(["a/m"], upstream="http://a:1,http://b:2/", **ON_VLLM)
    assert deployment is not None
    assert deployment.urls == ("http://a:1", "http://b:2")
    assert not deployment.is_managed


def test_several_models_are_found_by_their_served_names() -> None:
    with sick_vllm() as server:  # serves a model named m
        found = placed(["Qwen/M"] * 2, upstream=[server.url], **ON_VLLM)
        assert [deployment.urls for deployment in found if deployment] == [(server.url,)] * 2
        with pytest.raises(BadSetting, match=r"No server of --upstream serves b/other; they serve m\."):
            placed(["Qwen/M", "b/other"], upstream=[server.url], **ON_VLLM)


@pytest.mark.parametrize("url", ["a:8000", "ftp://a", "http://a/v1", "http://user:key@a", "http://a b"])
def test_addresses_are_bare(url: str) -> None:
    with pytest.raises(BadSetting, match="upstream"):
        settings(upstream=[url], **ON_VLLM)


@pytest.mark.parametrize("flat", [{"tensor_parallel_size": 2}, {"vllm_arg": ["--seed=1"]}, {"max_num_seqs": 7}])
def test_start_settings_are_refused_for_upstream_servers(flat: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match=f"{next(iter(flat))} applies to a managed vLLM"):
        placed(["m"], upstream=["http://a:1"], **ON_VLLM, **flat)


@pytest.mark.parametrize("flat", [{"upstream_api_key": "k"}, {"upstream_timeout_s": 3}])
def test_connection_settings_apply_to_upstream_servers(flat: dict[str, Any]) -> None:
    assert len(placed(["m"], upstream=["http://a:1"], **ON_VLLM, **flat)) == 1


# -- models -------------------------------------------------------------------------------------------------------------


def test_other_kinds_of_models_are_refused_by_name(tmp_path: Path) -> None:
    folder = model_folder.write(tmp_path / "cross", model_folder.CROSS_ENCODER)
    [deployment] = placed(["m"], **ON_VLLM)
    assert deployment is not None
    with pytest.raises(ModelRefused, match="is a cross-encoder, which --engine vllm does not serve"):
        engine_and_encoder(resolve(str(folder)), ModelSettings(), deployment, metric_labels=COUNTED, notify=lambda _: None)


def test_int8_is_named_by_vllms_term(make_model: ModelFactory) -> None:
    [deployment] = placed(["m"], **ON_VLLM)
    assert deployment is not None
    model = resolve(str(make_model()), declared=RERANK)
    with pytest.raises(BadSetting, match="--quantization"):
        engine_and_encoder(model, ModelSettings(dtype="int8"), deployment, metric_labels=COUNTED, notify=lambda _: None)


def test_upstream_model_has_our_template_and_the_lower_limit(make_model: ModelFactory) -> None:
    folder = str(make_model())
    with sick_vllm() as server:
        configured = settings(reranker=[folder], upstream=[server.url], max_model_len=9000, max_batch_tokens=9000, **ON_VLLM)
        metrics = Metrics()
        loaded = load(
            folder,
            RERANK,
            configured.model,
            notify=lambda _: None,
            metrics=metrics,
            deployment=deployment_of(configured, folder),
        )
        served = served_model_for(loaded, folder, RERANK, configured, metrics)
        try:
            assert isinstance(loaded.engine, VllmEngine)
            where = {"model": served.name, "upstream": server.url}
            assert metrics.registry.get_sample_value("shortlist_upstream_up", where) == 1
            assert loaded.engine.info.max_model_len == 2048, "the server's"
            assert loaded.spec is None
            assert served.expectations.suffix
            assert not served.restarts, "upstream servers are not restarted"
            assert f"vllm serve {folder} --runner pooling --hf-overrides" in served.expectations.remedy
        finally:
            loaded.engine.close()


async def test_upstreams_need_no_weights_here(make_model: ModelFactory, tmp_path: Path) -> None:
    """Neither serving nor the report needs weights: the tokenizer is enough."""
    folder = shutil.copytree(make_model(), tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    notices: list[str] = []
    with sick_vllm() as server:
        configured = settings(reranker=[str(folder)], upstream=[server.url], max_model_len=2048, random_weights=True, **ON_VLLM)
        found = await build_report(str(folder), RERANK, configured, notify=notices.append)
    assert found.memory is None
    assert "weights not needed here" in " ".join(notices)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, 4096),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "max_position_embeddings": 131_072}, 8192),
        ({"max_position_embeddings": None}, 8192),
    ],
)
def test_model_unsupported_by_the_native_engine_starts_in_vllm(
    make_model: ModelFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], expected: int
) -> None:
    folder = shutil.copytree(make_model(), tmp_path / "m")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    model = resolve(str(folder), declared=RERANK, reader=WeightsReader.VLLM)
    plans: list[VllmPlan] = []

    def launch(plan: VllmPlan, *_: object, **__: object) -> VllmEngine:
        plans.append(plan)
        raise EngineUnavailable("enough")

    monkeypatch.setattr(vllm_deployment, "launch", launch)
    [deployment] = placed(["m"], **ON_VLLM)
    assert deployment is not None
    with pytest.raises(EngineUnavailable):
        engine_and_encoder(model, ModelSettings(), deployment, metric_labels=COUNTED, notify=lambda _: None)
    assert plans[0].max_model_len == expected


def test_model_of_pictures_is_refused_by_name(tmp_path: Path) -> None:
    files = {**model_folder.config("Qwen3VLForConditionalGeneration", "qwen3_vl"), **model_folder.WEIGHTS}
    for reader in (WeightsReader.VLLM, WeightsReader.UPSTREAM):
        with pytest.raises(ModelRefused, match="Qwen3VLForConditionalGeneration"):
            resolve(str(model_folder.write(tmp_path / reader.value, files)), declared=RERANK, reader=reader)


def deployment_of(configured: Settings, model: str) -> VllmDeployment | None:
    [deployment] = deployments(configured, [model])
    return deployment


def test_managed_vllm_is_supervised_restarted_and_waited_for(make_model: ModelFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(make_model())
    starts: list[str] = []
    with sick_vllm() as server:

        def launch(*_: object, **__: object) -> VllmEngine:
            starts.append("")
            if len(starts) == 2:
                raise ModelRefused("vLLM ended while it started. The memory is not free yet.")
            return connect([server.url], plan_of(Path(folder)), UpstreamAccess(timeout_s=60.0))

        monkeypatch.setattr(vllm_deployment, "launch", launch)
        configured = settings(reranker=[folder], max_model_len=2048, **ON_VLLM)
        loaded = load(
            folder,
            RERANK,
            configured.model,
            notify=lambda _: None,
            metrics=Metrics(),
            deployment=deployment_of(configured, folder),
        )
        served = served_model_for(loaded, folder, RERANK, configured, Metrics())
        try:
            assert served.restarts
            assert served.restart_s is not None
            with pytest.raises(EngineUnavailable, match="not free yet"):  # it is retried
                loaded.load_again()
        finally:
            loaded.engine.close()
