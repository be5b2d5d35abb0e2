"""Settings: built once, frozen, passed to packages by group.

A setting has one name: `max_batch_tokens` in a TOML file, `--max-batch-tokens` on the command line,
`SHORTLIST_MAX_BATCH_TOKENS` in the environment. The command line wins over the environment, the environment over the
file. An unknown or unparsable setting stops the start. This is the only module that reads the process environment, and
the only place where defaults live.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo

from shortlist.errors import BadSetting
from shortlist.setting_types import (
    Arguments,
    CollectorUrl,
    Families,
    Names,
    Networks,
    NonNegativeSeconds,
    Origins,
    Positive,
    RedisUrl,
    RootPrefix,
    Seconds,
    Secrets,
    Shares,
    Urls,
    WebhookTargetList,
)

ENV_PREFIX = "SHORTLIST_"
CONFIG_FILE = "config"
"""The name for the settings file itself, which is not a setting."""

MIB = 1024 * 1024

ControlTokens = Literal["neutral", "official"]
"""What a control token written out in a caller's text becomes: plain characters, or the control token itself."""
UnknownModels = Literal["error", "default"]
"""What becomes of requests for models that are not served."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ModelSettings(_Group):
    """Models and how to load them."""

    engine: Literal["auto", "vllm"] = Field(
        default="auto",
        description="Engine: auto selects the built-in one for the model; vllm starts vLLM, or uses the servers of --upstream.",
    )
    models: Names = Field(default=(), description="Model: a folder, a Hugging Face id, modelscope:ID, or demo.")
    reranker: Names = Field(default=(), description="Serve this model as a reranker, instead of detecting its kind.")
    embedder: Names = Field(default=(), description="Serve this model as an embedder, instead of detecting its kind.")
    alias: Names = Field(default=(), description="Another name for a served model, as NAME=MODEL.")
    unknown_model: UnknownModels = Field(
        default="error", description="Requests for an unknown model: error answers 404; default uses the default model."
    )
    revision: str | None = Field(
        default=None, description="Commit, branch or tag to download; the default branch if not given."
    )
    control_tokens: ControlTokens = Field(
        default="neutral",
        description="Special tokens in callers' texts: neutral escapes them (plain characters); official keeps them, as the "
        "model card's script does.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8", "fp8"] = Field(
        default="auto",
        description="Data type of the native engine. auto: 16 bits where the hardware supports them, bfloat16, or on GPUs "
        "float16 if the model's dynamic range fits. int8: faster and less exact, on CPUs. fp8: for large models on GPUs from "
        "Ada and Hopper on; refused if the model loses too much accuracy.",
    )
    device: str = Field(
        default="auto",
        description="Device: cpu, cuda, cuda:1, or several separated by commas (cuda:0,cuda:1), which share the work of "
        "a model of the native engine; auto uses all GPUs.",
    )
    max_model_len: Positive = Field(
        default=8192,
        description="Longest prompt in tokens; a model with a lower limit keeps it. Longer documents are truncated.",
    )
    self_test: Literal["strict", "warn", "off"] = Field(
        default="strict",
        description="Self-test of every model before it serves: strict refuses one that fails, warn logs it and serves.",
    )
    restart_engine: bool = Field(
        default=False, description="Restart a failed engine in place, instead of exiting for the process supervisor."
    )
    random_weights: bool = Field(
        default=False, description="The weights are random (tests, benchmarks): the self-test skips checks of meaning."
    )


class VllmSettings(_Group):
    """Settings of --engine vllm, with vLLM's own names and meanings."""

    upstream: Urls = Field(
        default=(), description="Running vLLM servers, as http://HOST:PORT; without any, Shortlist starts vLLM."
    )
    upstream_api_key: SecretStr | None = Field(default=None, description="API key of those servers.")
    upstream_timeout_s: Seconds = Field(default=120.0, description="Timeout of a call to vLLM in seconds.")
    vllm_executable: str = Field(default="vllm", description="The vllm command of its environment: a path, or a name on PATH.")
    vllm_arg: Arguments = Field(
        default=(), description="One more argument of vllm serve, as in --vllm-arg=--kv-cache-dtype=fp8; may be repeated."
    )
    gpu_memory_utilization: Shares = Field(
        default=(),
        description="Share of the device's memory for each model, in the order of the models, or one for all of them; if "
        "not given, several models share 0.9 of a GPU evenly.",
    )
    max_num_seqs: Positive = Field(default=256, description="Prompts per vLLM batch.")
    max_num_batched_tokens: Positive = Field(default=8192, description="Tokens per vLLM batch.")
    enforce_eager: bool = Field(default=False, description="Run without compilation: faster start, slower inference.")
    enable_prefix_caching: bool = Field(default=True, description="Compute shared prefixes once.")
    tensor_parallel_size: Positive = Field(default=1, description="GPUs per model replica (tensor parallelism).")
    data_parallel_size: Positive = Field(default=1, description="Model replicas, each on its own GPUs.")
    quantization: str | None = Field(
        default=None, description="Quantisation method (awq, gptq, fp8, ...); detected from the model's files if not given."
    )


class SchedulerSettings(_Group):
    """Batching, admission and caches."""

    max_batch_tokens: Positive = Field(default=16_384, description="Tokens per batch; at least max_model_len.")
    max_batch_items: Positive = Field(default=1024, description="Documents or texts per batch.")
    max_batch_priority_tokens: Positive | None = Field(
        default=None,
        description="Tokens per batch with work of batch priority, as of jobs; if not given, as many as take 50 ms, and at "
        "least 256.",
    )
    max_concurrent_requests: Positive = Field(default=512, description="Admitted requests at once; further ones get 429.")
    max_queue_tokens: Positive = Field(default=4_000_000, description="Queued tokens; a request beyond that gets 429.")
    max_queue_bytes: Positive = Field(
        default=2048 * MIB, description="Memory for the texts of all admitted requests; a request beyond that gets 429."
    )
    max_queue_delay_ms: Positive = Field(default=30_000, description="Longest predicted wait; a request beyond that gets 429.")
    cache_bytes: int = Field(default=64 * MIB, ge=0, description="Memory of the score cache; 0 disables it.")
    cache_url: RedisUrl | None = Field(
        default=None, description="Redis for a cache shared by servers: redis://, rediss:// or unix://."
    )
    cache_timeout_ms: Positive = Field(
        default=50, description="Timeout of a shared cache lookup; then the values are computed."
    )
    cache_ttl_s: Positive = Field(default=86_400, description="Lifetime of a shared cache entry in seconds.")


class ServerSettings(_Group):
    """HTTP server."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port to listen on; 0 selects a free one.")
    api_key: Secrets = Field(
        default=(),
        description="Keys that callers must send, as KEY or OWNER:ROLE:KEY; several may be valid at once. None: open to all.",
    )
    api_key_file: Path | None = Field(
        default=None,
        description="File with one more key on every line, as KEY or OWNER:ROLE:KEY with the role read, write or worker (# "
        "begins a comment); read again when it changes.",
    )
    max_requests_per_minute: Positive | None = Field(
        default=None,
        description="Requests of one caller (the owner of a key, or an address without keys) in a minute; the next gets 429.",
    )
    max_concurrent_requests_per_caller: Positive | None = Field(
        default=None, description="Requests of one caller at once; the next one gets 429."
    )
    cors_origin: Origins = Field(
        default=(), description="Origins whose pages may call the server from a browser, as https://HOST; * for all."
    )
    allowed_host: Names = Field(
        default=(),
        description="Host name that requests may be for; may be repeated, * is any. Without it: any, but localhost, 127.0.0.1, "
        "[::1], names without a dot and the name of --host if the server listens on this machine only and needs no key.",
    )
    root_path: RootPrefix = Field(
        default="",
        description="Path prefix of the server at its reverse proxy, as /shortlist; paths may come with or without it.",
    )
    trusted_proxy: Networks = Field(
        default=(),
        description="Network of reverse proxies, as 10.0.0.0/8 or an address; may be repeated. X-Forwarded-For, -Proto, -Host "
        "and -Prefix are believed from them, and ignored from all others.",
    )
    tls_cert: Path | None = Field(default=None, description="Certificate chain (PEM) to serve HTTPS with; needs tls_key.")
    tls_key: Path | None = Field(default=None, description="Private key (PEM) of that certificate, not encrypted.")
    max_client_batch_size: Positive = Field(default=2048, description="Documents or texts in one request.")
    max_body_bytes: Positive = Field(default=32 * MIB, description="Size of one request's body.")
    max_transfer_bytes: Positive = Field(
        default=1024 * MIB, description="Memory for all bodies being read and answers being written; more gets 429."
    )
    body_timeout_s: Seconds = Field(default=30.0, description="Timeout for receiving a request body in seconds.")
    header_timeout_s: Seconds = Field(
        default=10.0, description="Timeout for receiving the request line and headers, and for the first byte of a connection."
    )
    max_header_bytes: Positive = Field(default=16_384, description="Size of one request's line and headers.")
    write_timeout_s: Seconds = Field(
        default=30.0, description="A client that reads less than 64 KiB of an answer in this time is disconnected."
    )
    keep_alive_timeout_s: Seconds = Field(default=75.0, description="Seconds that an idle connection stays open.")
    max_connections: Positive = Field(
        default=4096, description="Open connections; at the limit, idle ones are closed for new ones."
    )
    drain_notice_s: NonNegativeSeconds = Field(
        default=0.0,
        description="Seconds after SIGTERM in which requests are still taken, while /ready is 503 and every answer closes its "
        "connection, so that load balancers turn to other servers.",
    )
    drain_timeout_s: Seconds = Field(default=30.0, description="Seconds for running requests to finish after SIGTERM.")
    ui: bool = Field(default=True, description="Show the page at /ui, if gradio is installed.")
    explain: bool = Field(
        default=False, description="Enable POST /v1/explain: prompts, ids and logits behind a score. The answer contains texts."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged; debug adds a line for every request."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Format of log lines.")
    public_metrics: bool = Field(default=False, description="Serve /metrics without an API key.")
    metrics_compat: Families = Field(
        default=(),
        description="Also export metrics under the names of other servers: tei (te_*), vllm (vllm:*), http (http_*).",
    )
    otlp_endpoint: CollectorUrl | None = Field(default=None, description="OTLP/HTTP collector for traces, as http://HOST:4318.")
    otlp_sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of requests that are traced; a caller's traceparent overrides it."
    )


class JobSettings(_Group):
    """Durable jobs."""

    jobs: RedisUrl | None = Field(
        default=None, description="Redis for durable jobs, with appendonly yes: redis://, rediss:// or unix://."
    )
    job_ttl_s: Positive = Field(default=86_400, description="Seconds for which the result of a job is kept.")
    job_doorbell: Literal["celery", "streams"] = Field(
        default="celery", description="What wakes workers: Celery, or a Redis stream. The same for servers and workers."
    )
    webhook_target: WebhookTargetList = Field(
        default=(),
        description="Where webhooks may go: a host name, *.NAME, * or a network; may be repeated. Names must resolve to public "
        "addresses, or to those of a network that is given, too. None: no webhooks. The same for servers and workers.",
    )

    job_files: str | None = Field(
        default=None,
        description="Files of batches: a folder that all servers with these jobs share, and no others, or s3://BUCKET/PREFIX. "
        "Without it, there are no files and batches.",
    )
    max_file_bytes: Positive = Field(default=200 * MIB, description="Size of one uploaded file.")
    max_caller_file_bytes: Positive = Field(
        default=10 * 1024 * MIB, description="Size of all files of one caller, results included; the next upload gets 413."
    )
    file_ttl_s: Positive = Field(
        default=2_592_000, description="Seconds for which a file is kept; requests may ask for less, not for more."
    )


class Settings(_Group):
    """All settings, in groups."""

    model: ModelSettings = ModelSettings()
    vllm: VllmSettings = VllmSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    server: ServerSettings = ServerSettings()
    jobs: JobSettings = JobSettings()

    @classmethod
    def load(cls, flags: Mapping[str, object] | None = None, *, environ: Mapping[str, str] | None = None) -> Self:
        """Build the settings from command line, environment and file.

        Args:
            flags: Values from the command line; None means not given.
            environ: The environment; the process's own if None.

        Raises:
            BadSetting: a setting is unknown, unparsable or contradicts another; the message names it.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None and value != ()}
        from_env = _from_environ(os.environ if environ is None else environ)  # noqa: TID251 - the one place
        path = given.pop(CONFIG_FILE, from_env.pop(CONFIG_FILE, None))
        from_file = _from_file(Path(str(path))) if path is not None else {}
        return cls._from_flat(_with_larger_batches({**from_file, **from_env, **given}))

    @classmethod
    def _from_flat(cls, flat: Mapping[str, object]) -> Self:
        groups: dict[str, dict[str, object]] = {group: {} for group in cls.model_fields}
        home = {name: group for group, name, _ in fields()}
        for name, value in flat.items():
            if name not in home:
                raise BadSetting(f"There is no setting named {name!r}. `shortlist serve --help` lists them all.")
            groups[home[name]][name] = value
        try:
            return cls.model_validate(groups)
        except ValidationError as error:
            raise _bad_setting(error) from None

    @property
    def digest(self) -> str:
        """Identifies all settings but the keys: servers with equal digests are configured alike. 12 hexadecimal digits."""
        return hashlib.sha256(self.model_dump_json(exclude={"server": {"api_key"}}).encode()).hexdigest()[:12]

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.server.tls_cert is None) != (self.server.tls_key is None):
            raise BadSetting("tls_cert (--tls-cert) and tls_key (--tls-key) belong together; give both, or neither.")
        return self

    @model_validator(mode="after")
    def _files_have_jobs(self) -> Self:
        if self.jobs.job_files is not None and self.jobs.jobs is None:
            raise BadSetting("job_files (--job-files) needs jobs (--jobs): their records are in its Redis.")
        return self

    @model_validator(mode="after")
    def _one_document_fits_into_a_step(self) -> Self:
        if self.scheduler.max_batch_tokens < self.model.max_model_len:
            raise BadSetting(
                f"max_batch_tokens ({self.scheduler.max_batch_tokens}) must be at least max_model_len "
                f"({self.model.max_model_len}): one document must fit into one step."
            )
        return self


def _with_larger_batches(flat: dict[str, object]) -> dict[str, object]:
    """Raise an unstated `max_batch_tokens` to a longer `max_model_len`: one document must fit into one batch."""
    limit, default = str(flat.get("max_model_len", "")), SchedulerSettings.model_fields["max_batch_tokens"].default
    if "max_batch_tokens" in flat or not limit.isdecimal() or int(limit) <= default:
        return flat
    return {**flat, "max_batch_tokens": int(limit)}


def fields() -> Iterator[tuple[str, str, FieldInfo]]:
    """Yield (group, name, field) for every setting, in the order in which help and documents show them."""
    for group, holder in Settings.model_fields.items():
        annotation = holder.annotation
        assert isinstance(annotation, type), "Every group is a class. This is a bug."
        assert issubclass(annotation, _Group), "Settings holds groups only. This is a bug."
        for name, field in annotation.model_fields.items():
            yield group, name, field


def _from_environ(environ: Mapping[str, str]) -> dict[str, object]:
    return {key.removeprefix(ENV_PREFIX).lower(): value for key, value in environ.items() if key.startswith(ENV_PREFIX)}


def _from_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadSetting(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"The settings file {path} is not valid TOML: {error}.") from None


def _bad_setting(error: ValidationError) -> BadSetting:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][1])
    return BadSetting(f"The setting {name} (--{name.replace('_', '-')}, {ENV_PREFIX}{name.upper()}) is wrong: {first['msg']}.")
