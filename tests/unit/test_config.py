"""One spelling per setting, one order of precedence, and nothing unknown or unparsable gets through."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from shortlist.config import ENV_PREFIX, Settings, fields
from shortlist.errors import BadSetting


def test_defaults_are_valid() -> None:
    assert Settings.load(environ={}) == Settings()


def test_flag_wins_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\nhost = '1.1.1.1'\nlog_level = 'error'\n")
    environ = {"SHORTLIST_PORT": "2", "SHORTLIST_HOST": "2.2.2.2", "SHORTLIST_CONFIG": str(file)}
    server = Settings.load({"port": 3}, environ=environ).server
    assert (server.port, server.host, server.log_level) == (3, "2.2.2.2", "error")


def test_config_flag_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("models = ['a', 'b']\n")
    assert Settings.load({"config": file}, environ={}).model.models == ("a", "b")


def test_flags_that_were_not_given_do_not_count() -> None:
    settings = Settings.load({"port": None, "models": ()}, environ={"SHORTLIST_PORT": "7"})
    assert settings.server.port == 7


def test_environment_lists_are_comma_separated() -> None:
    settings = Settings.load(environ={"SHORTLIST_MODELS": "demo, other ,", "SHORTLIST_API_KEY": "one,two"})
    assert settings.model.models == ("demo", "other")
    assert [key.get_secret_value() for key in settings.server.api_key] == ["one", "two"]


@pytest.mark.parametrize("flat", [{"prot": 1}, {"MAX_BATCH_TOKENS": 1}, {"model": {"dtype": "float32"}}])
def test_unknown_setting_stops_the_start(flat: dict[str, object]) -> None:
    with pytest.raises(BadSetting, match=next(iter(flat))):
        Settings.load(flat, environ={})


def test_unknown_environment_variable_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="max_batch_toknes"):
        Settings.load(environ={"SHORTLIST_MAX_BATCH_TOKNES": "1"})


def test_other_programs_variables_are_none_of_our_business() -> None:
    Settings.load(environ={"PORT": "abc", "HF_HOME": "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "many"),
        ("port", 70_000),
        ("max_batch_tokens", 0),
        ("dtype", "int3"),
        ("body_timeout_s", "nan"),
        ("ui", "perhaps"),
        ("cache_bytes", -1),
    ],
)
def test_unparsable_setting_is_named_with_its_flag_and_variable(name: str, value: object) -> None:
    with pytest.raises(BadSetting) as error:
        Settings.load({name: value}, environ={})
    assert f"--{name.replace('_', '-')}" in error.value.message
    assert f"{ENV_PREFIX}{name.upper()}" in error.value.message


def test_impossible_pair_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"max_batch_tokens .* max_model_len"):
        Settings.load({"max_batch_tokens": 100, "max_model_len": 200}, environ={})


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"nowhere\.toml"):
        Settings.load({"config": tmp_path / "nowhere.toml"}, environ={})


def test_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("port = = 1")
    with pytest.raises(BadSetting, match=r"broken\.toml is not valid TOML"):
        Settings.load({"config": file}, environ={})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().server.port = 1


def test_keys_never_show() -> None:
    settings = Settings.load({"api_key": ["canary"]}, environ={})
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("environ", [{"SHORTLIST_API_KEY": ""}, {"SHORTLIST_API_KEY": " , "}])
def test_variable_that_was_not_filled_in_does_not_open_the_server_to_all(environ: dict[str, str]) -> None:
    with pytest.raises(BadSetting, match="a key is empty"):
        Settings.load(environ=environ)


@pytest.mark.parametrize("keys", [[""], ["one", ""], []])
def test_empty_key_is_no_key(keys: list[str]) -> None:
    with pytest.raises(BadSetting, match="--api-key"):
        Settings.load({"api_key": keys}, environ={})


@pytest.mark.parametrize("given", ["tls_cert", "tls_key"])
def test_certificate_and_key_belong_together(given: str) -> None:
    with pytest.raises(BadSetting, match=r"--tls-cert.*--tls-key.*both"):
        Settings.load({given: "a.pem"}, environ={})


@pytest.mark.parametrize("origin", ["https://a.example/", "a.example", "https://", "null", "https://a.example/page", "ftp://a"])
def test_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(BadSetting, match=r"--cors-origin.* https://HOST"):
        Settings.load({"cors_origin": [origin]}, environ={})


def test_environment_origins_are_comma_separated() -> None:
    settings = Settings.load(environ={"SHORTLIST_CORS_ORIGIN": "https://a.example, http://localhost:3000"})
    assert settings.server.cors_origin == ("https://a.example", "http://localhost:3000")


def test_address_of_the_shared_cache_never_shows() -> None:
    settings = Settings.load({"cache_url": "redis://user:canary@host"}, environ={})
    assert settings.scheduler.cache_url is not None
    assert settings.scheduler.cache_url.get_secret_value() == "redis://user:canary@host"
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("url", ["http://user:canary@host", "canary", "redis:canary", ""])
def test_address_that_no_redis_has_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(BadSetting, match=r"--cache-url, SHORTLIST_CACHE_URL.* redis://, rediss:// or unix://") as error:
        Settings.load({"cache_url": url}, environ={})
    assert "canary" not in error.value.message


def test_every_setting_has_a_unique_name_and_a_description() -> None:
    names = [name for _, name, _ in fields()]
    assert len(names) == len(set(names))
    assert all(field.description for _, _, field in fields())


def test_arguments_for_vllm_may_hold_commas() -> None:
    """The environment spells several as a shell would; a file and the command line give them one by one."""
    words = Settings.load(environ={"SHORTLIST_VLLM_ARG": """--seed=7 --kv-transfer-config='{"a": 1, "b": 2}'"""}).vllm.vllm_arg
    assert words == ("--seed=7", '--kv-transfer-config={"a": 1, "b": 2}')
    assert Settings.load({"vllm_arg": ["a,b", "c"]}, environ={}).vllm.vllm_arg == ("a,b", "c")


def test_environment_servers_and_shares_are_comma_separated() -> None:
    environ = {"SHORTLIST_UPSTREAM": "http://a:1, https://b", "SHORTLIST_GPU_MEMORY_UTILIZATION": "0.6, 0.3"}
    told = Settings.load(environ=environ).vllm
    assert told.upstream == ("http://a:1", "https://b")
    assert told.gpu_memory_utilization == (0.6, 0.3)


@pytest.mark.parametrize("share", ["0", "1.1", "-0.5", "much", "nan"])
def test_share_of_a_device_is_a_share(share: str) -> None:
    with pytest.raises(BadSetting, match="--gpu-memory-utilization"):
        Settings.load({"gpu_memory_utilization": share}, environ={})


def test_key_of_the_servers_never_shows() -> None:
    settings = Settings.load({"upstream_api_key": "canary"}, environ={})
    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize("given", ["tei,vllm,http", ["tei,vllm", "http"], ["tei", "vllm", "http"], ("tei", "vllm,http")])
def test_families_of_metrics_are_given_by_commas_or_one_by_one(given: object) -> None:
    assert Settings.load({"metrics_compat": given}, environ={}).server.metrics_compat == ("tei", "vllm", "http")


def test_family_of_metrics_that_is_not_known_stops_the_start() -> None:
    with pytest.raises(BadSetting, match="--metrics-compat"):
        Settings.load({"metrics_compat": "tei,canary"}, environ={})


@pytest.mark.parametrize(
    "url", ["localhost:4318", "grpc://host:4317", "http://user:canary@host", "http://host/?a=b", "http://"]
)
def test_address_that_no_collector_has_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match=r"--otlp-endpoint.* http://HOST:PORT") as error:
        Settings.load({"otlp_endpoint": url}, environ={})
    assert "canary" not in error.value.message


@pytest.mark.parametrize("url", ["http://localhost:4318", "https://host/otlp/"])
def test_address_of_a_collector_may_have_a_path(url: str) -> None:
    assert Settings.load({"otlp_endpoint": url}, environ={}).server.otlp_endpoint == url.rstrip("/")


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "half"])
def test_share_of_requests_that_are_traced_is_a_share(ratio: str) -> None:
    with pytest.raises(BadSetting, match="--otlp-sample-ratio"):
        Settings.load({"otlp_sample_ratio": ratio}, environ={})


@pytest.mark.parametrize("network", ["10.0.0.1/8", "10.0.0", "*", "proxy.example", "10.0.0.0/33", "::1/zz"])
def test_trusted_proxy_that_is_no_network_is_refused(network: str) -> None:
    with pytest.raises(BadSetting, match=r"--trusted-proxy"):
        Settings.load({"trusted_proxy": [network]}, environ={})


@pytest.mark.parametrize("path", ["deep", "/deep prefix", "//deep", "/deep/../x", "/%2e", "http://host/deep", "/a?b", "/ä"])
def test_root_path_that_is_no_plain_prefix_is_refused(path: str) -> None:
    with pytest.raises(BadSetting, match=r"--root-path.* /NAME"):
        Settings.load({"root_path": path}, environ={})


def test_environment_networks_are_comma_separated() -> None:
    settings = Settings.load(environ={"SHORTLIST_TRUSTED_PROXY": "10.0.0.0/8, ::1", "SHORTLIST_ROOT_PATH": "/"}).server
    assert [str(network) for network in settings.trusted_proxy] == ["10.0.0.0/8", "::1/128"]
    assert settings.root_path == ""
