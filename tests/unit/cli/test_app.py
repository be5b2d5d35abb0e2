"""The command line: settings as flags, one-line errors, exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from shortlist import __version__, cli, demo, doctor, server
from shortlist.cli import exit_codes
from shortlist.cli.flags import MODEL_SETTINGS
from shortlist.config import Settings, fields
from shortlist.errors import BadSetting, DeadlineExceeded, ModelRefused, ServiceError
from shortlist.types import EMBED, RERANK, Operation

Run = Callable[..., Result]


class Started:
    """Fake of `server.run`: records its arguments, and returns a code or raises an error."""

    def __init__(self) -> None:
        self.settings: list[Settings] = []
        self.when_ready: list[server.WhenReady | None] = []
        self.code = 0
        self.error: Exception | None = None

    def __call__(self, settings: Settings, *, when_ready: server.WhenReady | None = None) -> int:
        self.settings.append(settings)
        self.when_ready.append(when_ready)
        if self.error is not None:
            raise self.error
        return self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    stand_in = Started()
    monkeypatch.setattr(server, "run", stand_in)
    return stand_in


@pytest.fixture
def run(started: Started) -> Run:
    def invoke(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
        return CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **(env or {})})

    return invoke


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


# -- from flags to settings ---------------------------------------------------------------------------------------------


def test_without_flags_the_defaults_are_served(run: Run, started: Started) -> None:
    assert run("serve").exit_code == 0
    assert started.settings == [Settings()]
    assert started.when_ready == [None]


GIVEN: dict[str, tuple[list[str], object]] = {
    "engine": (["--engine", "vllm"], "vllm"),
    "models": (["a/b", "./c"], ("a/b", "./c")),
    "reranker": (["--reranker", "a", "--reranker", "b"], ("a", "b")),
    "embedder": (["--embedder", "a,b"], ("a,b",)),
    "alias": (["--alias", "x=y"], ("x=y",)),
    "unknown_model": (["--unknown-model", "default"], "default"),
    "revision": (["--revision", "v2"], "v2"),
    "dtype": (["--dtype", "bfloat16"], "bfloat16"),
    "device": (["--device", "cuda:1"], "cuda:1"),
    "max_model_len": (["--max-model-len", "77"], 77),
    "upstream": (["--upstream", "http://a:1", "--upstream", "https://b:2/"], ("http://a:1", "https://b:2")),
    "upstream_api_key": (["--upstream-api-key", "sesame"], SecretStr("sesame")),
    "upstream_timeout_s": (["--upstream-timeout-s", "0.5"], 0.5),
    "vllm_executable": (["--vllm-executable", "env/bin/vllm"], "env/bin/vllm"),
    "vllm_arg": (["--vllm-arg=--seed=7", "--vllm-arg", '{"a": 1, "b": 2}'], ("--seed=7", '{"a": 1, "b": 2}')),
    "gpu_memory_utilization": (["--gpu-memory-utilization", "0.6", "--gpu-memory-utilization", "0.3"], (0.6, 0.3)),
    "max_num_seqs": (["--max-num-seqs", "7"], 7),
    "max_num_batched_tokens": (["--max-num-batched-tokens", "7"], 7),
    "enforce_eager": (["--enforce-eager"], True),
    "enable_prefix_caching": (["--no-enable-prefix-caching"], False),
    "tensor_parallel_size": (["--tensor-parallel-size", "2"], 2),
    "data_parallel_size": (["--data-parallel-size", "2"], 2),
    "quantization": (["--quantization", "awq"], "awq"),
    "max_batch_tokens": (["--max-batch-tokens", "9000"], 9000),
    "max_batch_items": (["--max-batch-items", "7"], 7),
    "max_batch_priority_tokens": (["--max-batch-priority-tokens", "7"], 7),
    "max_concurrent_requests": (["--max-concurrent-requests", "7"], 7),
    "max_queue_tokens": (["--max-queue-tokens", "7"], 7),
    "max_queue_bytes": (["--max-queue-bytes", "7"], 7),
    "restart_engine": (["--restart-engine"], True),
    "max_queue_delay_ms": (["--max-queue-delay-ms", "7"], 7),
    "cache_bytes": (["--cache-bytes", "0"], 0),
    "cache_url": (["--cache-url", "redis://:key@host/1"], SecretStr("redis://:key@host/1")),
    "cache_timeout_ms": (["--cache-timeout-ms", "7"], 7),
    "cache_ttl_s": (["--cache-ttl-s", "7"], 7),
    "job_files": (["--job-files", "./files", "--jobs", "redis://host/1"], "./files"),
    "max_file_bytes": (["--max-file-bytes", "7"], 7),
    "max_caller_file_bytes": (["--max-caller-file-bytes", "7"], 7),
    "file_ttl_s": (["--file-ttl-s", "7"], 7),
    "host": (["--host", "::1"], "::1"),
    "port": (["--port", "0"], 0),
    "api_key_file": (["--api-key-file", "keys.txt"], Path("keys.txt")),
    "max_requests_per_minute": (["--max-requests-per-minute", "7"], 7),
    "max_concurrent_requests_per_caller": (["--max-concurrent-requests-per-caller", "7"], 7),
    "cors_origin": (["--cors-origin", "https://a.example", "--cors-origin", "*"], ("https://a.example", "*")),
    "root_path": (["--root-path", "/deep/prefix/"], "/deep/prefix"),
    "trusted_proxy": (
        ["--trusted-proxy", "10.0.0.0/8,::1", "--trusted-proxy", "192.168.1.7"],
        (ip_network("10.0.0.0/8"), ip_network("::1"), ip_network("192.168.1.7")),
    ),
    "tls_cert": (["--tls-cert", "a.pem", "--tls-key", "b.pem"], Path("a.pem")),
    "tls_key": (["--tls-key", "b.pem", "--tls-cert", "a.pem"], Path("b.pem")),
    "max_client_batch_size": (["--max-client-batch-size", "7"], 7),
    "max_body_bytes": (["--max-body-bytes", "7"], 7),
    "body_timeout_s": (["--body-timeout-s", "0.5"], 0.5),
    "drain_timeout_s": (["--drain-timeout-s", "7"], 7.0),
    "drain_notice_s": (["--drain-notice-s", "5"], 5.0),
    "allowed_host": (["--allowed-host", "a.example", "--allowed-host", "b"], ("a.example", "b")),
    "header_timeout_s": (["--header-timeout-s", "0.5"], 0.5),
    "keep_alive_timeout_s": (["--keep-alive-timeout-s", "7"], 7.0),
    "max_connections": (["--max-connections", "7"], 7),
    "max_header_bytes": (["--max-header-bytes", "7"], 7),
    "max_transfer_bytes": (["--max-transfer-bytes", "7"], 7),
    "write_timeout_s": (["--write-timeout-s", "0.5"], 0.5),
    "ui": (["--no-ui"], False),
    "control_tokens": (["--control-tokens", "official"], "official"),
    "self_test": (["--self-test", "warn"], "warn"),
    "random_weights": (["--random-weights"], True),
    "explain": (["--explain"], True),
    "public_metrics": (["--public-metrics"], True),
    "metrics_compat": (["--metrics-compat", "tei", "--metrics-compat", "http"], ("tei", "http")),
    "otlp_endpoint": (["--otlp-endpoint", "http://localhost:4318"], "http://localhost:4318"),
    "otlp_sample_ratio": (["--otlp-sample-ratio", "0.5"], 0.5),
    "jobs": (["--jobs", "redis://:key@host/1"], SecretStr("redis://:key@host/1")),
    "job_ttl_s": (["--job-ttl-s", "7"], 7),
    "job_doorbell": (["--job-doorbell", "streams"], "streams"),
    "log_level": (["--log-level", "debug"], "debug"),
    "log_format": (["--log-format", "json"], "json"),
}


TOGETHER = {"tls_cert": {"tls_cert", "tls_key"}, "tls_key": {"tls_cert", "tls_key"}, "job_files": {"job_files", "jobs"}}
"""Settings that require each other."""


@pytest.mark.parametrize("name", [name for _, name, _ in fields() if name != "api_key"])
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_every_setting_is_a_flag(run: Run, started: Started, command: str, name: str) -> None:
    arguments, value = GIVEN[name]
    result = run(command, *arguments)
    assert result.exit_code == 0, result.output
    [settings] = started.settings
    group = next(group for group, each, _ in fields() if each == name)
    assert getattr(getattr(settings, group), name) == value
    changed = {
        each
        for group, each, _ in fields()
        if getattr(getattr(settings, group), each) != getattr(getattr(Settings(), group), each)
    }
    assert changed == TOGETHER.get(name, {name})


def test_api_keys_are_hidden_in_repr(run: Run, started: Started) -> None:
    run("serve", "--api-key", "one", "--api-key", "two")
    keys = started.settings[0].server.api_key
    assert [key.get_secret_value() for key in keys] == ["one", "two"]
    assert "one" not in repr(keys)


def test_ui_flag_overrides_the_environment(run: Run, started: Started) -> None:
    run("serve", "--ui", env={"SHORTLIST_UI": "false"})
    run("serve", env={"SHORTLIST_UI": "false"})
    assert [settings.server.ui for settings in started.settings] == [True, False]


def test_omitted_flags_keep_the_environment(run: Run, started: Started) -> None:
    run("serve", env={"SHORTLIST_MODELS": "a/b", "SHORTLIST_API_KEY": "k", "SHORTLIST_PORT": "7"})
    [settings] = started.settings
    assert (settings.model.models, len(settings.server.api_key), settings.server.port) == (("a/b",), 1, 7)


def test_given_models_replace_those_of_the_environment(run: Run, started: Started) -> None:
    run("serve", "c/d", env={"SHORTLIST_MODELS": "a/b"})
    assert started.settings[0].model.models == ("c/d",)


def test_config_flag_names_a_file(run: Run, started: Started, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 7\nmodels = ['a/b']\nhost = '::1'\n")
    assert run("serve", "--config", str(file), "--port", "8").exit_code == 0
    [settings] = started.settings
    assert (settings.server.port, settings.server.host, settings.model.models) == (8, "::1", ("a/b",))


# -- the demo -----------------------------------------------------------------------------------------------------------


def test_demo_prints_a_ranking_when_ready(run: Run, started: Started) -> None:
    assert run("demo").exit_code == 0
    assert started.settings == [Settings()]
    [when_ready] = started.when_ready
    assert getattr(when_ready, "func", None) is demo.show


@pytest.mark.parametrize(("arguments", "key"), [([], None), (["--api-key", "one", "--api-key", "two"], "one")])
async def test_demo_uses_the_servers_first_key(
    run: Run, started: Started, monkeypatch: pytest.MonkeyPatch, arguments: list[str], key: str | None
) -> None:
    asked: list[tuple[str, str | None]] = []

    async def show(url: str, *, api_key: str | None = None) -> None:
        asked.append((url, api_key))

    monkeypatch.setattr(demo, "show", show)
    run("demo", *arguments)
    [when_ready] = started.when_ready
    assert when_ready is not None
    await when_ready("http://test")
    assert asked == [("http://test", key)]


# -- help ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_help_shows_every_setting_with_its_text_and_default(run: Run, command: str) -> None:
    shown = plain(run(command, "--help").output).replace("│ ", "")
    for _, name, field in fields():
        if name != "models":
            assert f"--{name.replace('_', '-')}" in shown
        assert (field.description or "?").split(":")[0] in shown
        if field.default not in {None, ()} and not isinstance(field.default, bool):
            assert f"[default: ({field.default})]" in shown
    assert "--no-ui" in shown
    assert "--config" in shown
    assert "SHORTLIST_MAX_BATCH_TOKENS" in shown


def test_help_groups_settings_by_panel(run: Run) -> None:
    shown = plain(run("serve", "--help").output)
    places = [shown.index(f"─ {panel} ─") for panel in ("Models", "Scheduler", "Server")]
    assert places == sorted(places)
    assert (
        places[0] < shown.index("--dtype") < places[1] < shown.index("--max-batch-tokens") < places[2] < shown.index("--host")
    )


def test_choices_are_named(run: Run) -> None:
    shown = plain(run("serve", "--help").output)
    for _, _, field in fields():
        if get_origin(field.annotation) is Literal:
            assert "|".join(get_args(field.annotation)) in shown


def test_no_command_shows_help(run: Run, started: Started) -> None:
    shown = run().output
    assert "serve" in shown
    assert "demo" in shown
    assert started.settings == []


def test_version_is_shown(run: Run, started: Started) -> None:
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"{__version__}\n")
    assert started.settings == []


# -- exit codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1])
def test_exit_code_is_the_servers(run: Run, started: Started, code: int) -> None:
    started.code = code
    assert run("serve").exit_code == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--prot", "1"],
        ["serve", "--port", "many"],
        ["serve", "--dtype", "int3"],
        ["serve", "--port"],
        ["serve", "--no-port", "1"],
        ["bake"],
        ["--serve"],
    ],
)
def test_wrong_usage_ends_with_2_and_starts_nothing(run: Run, started: Started, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output
    assert "Traceback" not in result.output
    assert started.settings == []


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["--port", "70000"], {}, "--port, SHORTLIST_PORT"),
        (["--max-batch-tokens", "10"], {}, "max_model_len"),
        ([], {"SHORTLIST_PROT": "1"}, "'prot'"),
        (["--config", "nowhere.toml"], {}, "nowhere.toml"),
        ([], {"SHORTLIST_CONFIG": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_impossible_setting_ends_with_3_in_one_line(
    run: Run, started: Started, arguments: list[str], env: dict[str, str], words: str
) -> None:
    result = run("serve", *arguments, env=env)
    assert result.exit_code == exit_codes.EXIT_CANNOT_START == 3
    [line] = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert started.settings == []


@pytest.mark.parametrize("error", [BadSetting("wrong"), ModelRefused("refused"), DeadlineExceeded("late")])
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_start_error_is_one_line_without_a_traceback(run: Run, started: Started, command: str, error: ServiceError) -> None:
    started.error = error
    result = run(command)
    assert (result.exit_code, result.stderr) == (3, f"error: {error.message}\n")
    assert result.stdout == ""


@pytest.mark.parametrize("message", ["[bold]a[/bold] [/] b", "folder [red]x", "a :cat: b", "x" * 500, "\\[a]", "end\\"])
def test_error_message_is_printed_verbatim_in_one_line(run: Run, started: Started, message: str) -> None:
    started.error = ModelRefused(message)
    assert run("serve").stderr == f"error: {message}\n"


def test_bug_is_not_reported_as_invalid_setting(run: Run, started: Started) -> None:
    started.error = ZeroDivisionError("a bug")
    result = run("serve")
    assert isinstance(result.exception, ZeroDivisionError)


# -- the doctor ---------------------------------------------------------------------------------------------------------


Examined = list[tuple[str, Operation | None, Settings]]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Examined:
    """The recorded calls of a fake `doctor.model.run`, which always fails."""
    asked: Examined = []

    def diagnose(text: str, declared: Operation | None, settings: Settings) -> int:
        asked.append((text, declared, settings))
        return doctor.model.EXIT_FAILED

    monkeypatch.setattr(doctor.model, "run", diagnose)
    return asked


@pytest.mark.parametrize(("flags", "declared"), [([], None), (["--reranker"], RERANK), (["--embedder"], EMBED)])
def test_doctor_diagnoses_one_model_and_exits_with_its_result(
    run: Run, examined: Examined, flags: list[str], declared: Operation | None
) -> None:
    assert run("doctor", "./one", *flags).exit_code == 1
    [(text, asked, settings)] = examined
    assert (text, asked) == ("./one", declared)
    assert settings == Settings()


@pytest.mark.parametrize("name", sorted(MODEL_SETTINGS))
def test_doctor_takes_the_model_settings_of_serve(run: Run, examined: Examined, name: str) -> None:
    arguments, value = GIVEN[name]
    assert run("doctor", "demo", *arguments).exit_code == 1
    [(_, _, settings)] = examined
    group = next(group for group, each, _ in fields() if each == name)
    assert getattr(getattr(settings, group), name) == value


@pytest.mark.parametrize("arguments", [[], ["one", "two"], ["demo", "--port", "1"]])
def test_doctor_refuses_several_models_and_server_settings(run: Run, examined: Examined, arguments: list[str]) -> None:
    assert run("doctor", *arguments).exit_code == 2
    assert examined == []


# -- lazy imports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_list_quotes_the_help_of_each_command(name: str) -> None:
    assert cli.load(name).get_short_help_str(limit=200) == cli.COMMANDS[name][2]


def test_help_and_completion_import_no_command() -> None:
    code = (
        "import sys\nfrom shortlist.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'fastapi', 'httpx2', 'matplotlib', 'numpy', 'tokenizers', 'torch', 'uvicorn'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    helped = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert (helped.stderr, "serve" in helped.stdout) == ("[]\n", True)
    asked = {**os.environ, "_SHORTLIST_COMPLETE": "complete_bash", "COMP_WORDS": "shortlist se", "COMP_CWORD": "1"}  # noqa: TID251
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=asked)
    assert (completed.stderr, completed.stdout) == ("[]\n", "serve\n")


def test_server_starts_without_benchmark_imports(started: Started) -> None:
    code = "import sys; from shortlist.cli import load; load('serve'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"shortlist.bench", "shortlist.doctor", "matplotlib"} & set(done.stdout.split())


def test_completion_can_be_installed_and_completes_flags_of_a_command(run: Run) -> None:
    assert "--install-completion" in plain(run("--help").output)
    asked = {"_SHORTLIST_COMPLETE": "complete_bash", "COMP_WORDS": "shortlist serve --max-batch-", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "shortlist"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **asked},  # noqa: TID251
    )
    assert done.stdout.split() == ["--max-batch-tokens", "--max-batch-items", "--max-batch-priority-tokens"]
    assert done.stderr == ""
