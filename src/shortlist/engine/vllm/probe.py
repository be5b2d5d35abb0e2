"""Probes a vLLM server: whether it computes what is needed, and if not, what it serves.

A misconfigured vLLM starts, reports healthy, and returns meaningless numbers. So the probe tests everything it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httpx2
import numpy as np
import orjson

from shortlist.engine.base import sigmoid
from shortlist.engine.vllm import payloads
from shortlist.engine.vllm.command import OLDEST, VllmPlan, is_supported, right_command, unsupported
from shortlist.engine.vllm.limited_transport import PLAIN, LimitedTransport
from shortlist.errors import ModelRefused, UpstreamError
from shortlist.types import EMBED, RERANK, Operation, TokenPrompt, Value, basename

TIMEOUT_S: Final = 60.0
"""The first call may have to wait for compilation."""

MAX_GAP: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """Result of a probe.

    Attributes:
        url: Base URL.
        version: vLLM version.
        identity: What it serves.
    """

    url: str
    version: str
    identity: payloads.Identity


def served_names(url: str, *, api_key: str | None = None) -> frozenset[str]:
    """Return the basenames of a server's models, in lower case.

    Raises:
        ModelRefused: the server is unreachable, or does not list its models.
    """
    with _client(url, api_key) as http:
        listed = _served(http, url)
    return frozenset({basename(listed.model), basename(listed.root)})


Measured = tuple[int | None, Sequence[Value]]
"""The width of the vectors, if there are any, and the values of `payloads.probe_prompts`."""


class Probe:
    """Probes one server.

    Args:
        url: Base URL.
        plan: Expected model and options; the right command is part of the error message.
        api_key: Sent as a bearer token; None sends none.
        transport: Replaces the network transport in tests.
    """

    def __init__(
        self, url: str, plan: VllmPlan, *, api_key: str | None = None, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._url = url
        self._plan = plan
        self._http = _client(url, api_key, transport)

    def run(self) -> ProbeResult:
        """Probe the server.

        Raises:
            ModelRefused: the server is unreachable, or does not match the plan.
        """
        with self._http:
            version = self._version()
            listed = _served(self._http, self._url)
            dimensions, values = _CHECKS[self._plan.operation](self)
        identity = payloads.Identity(**listed._asdict(), dimensions=dimensions, values=values)
        return ProbeResult(url=self._url, version=version, identity=identity)

    # -- reported properties --

    def _version(self) -> str:
        try:
            version = orjson.loads(_get(self._http, self._url, "/version"))["version"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            version = None
        if not isinstance(version, str):
            raise _refused(self._url, "does not answer as vLLM does")
        if not is_supported(version):
            raise ModelRefused(f"The server at {self._url} (--upstream): {unsupported(version)}")
        return version

    # -- measured properties --

    def check_scores(self) -> Measured:
        """Check raw scores and probabilities of a reranker; return the raw scores.

        Raises:
            ModelRefused: they are missing or inconsistent.
        """
        prompts = payloads.probe_prompts()
        raw, chances = (self._classified(prompts, use_activation=activation) for activation in (False, True))
        if any(not math.isclose(sigmoid(odds), chance, abs_tol=MAX_GAP) for odds, chance in zip(raw, chances, strict=True)):
            oldest = ".".join(map(str, OLDEST))
            raise self._wrong(f"does not give raw scores when asked for them, as vLLM {oldest} and later do")
        if len(set(raw)) == 1:
            raise self._wrong("gives every prompt the same score, so its head is empty")
        return None, raw

    def _classified(self, prompts: Sequence[TokenPrompt], *, use_activation: bool) -> list[float]:
        content = self._post(RERANK, prompts, use_activation=use_activation)
        labels = _labels(content)
        if labels is not None and labels != 1:
            raise self._wrong(f"is a classifier with {labels} labels: it was started without the overrides")
        try:
            return payloads.scores_of(content, len(prompts))
        except UpstreamError as error:
            raise self._wrong(f"gives no scores ({error.message})") from None

    def check_vectors(self) -> Measured:
        """Check the vectors of an embedder; return them and their width.

        Raises:
            ModelRefused: they are missing, or not of unit length.
        """
        prompts = payloads.probe_prompts()
        content = self._post(EMBED, prompts)
        try:
            vectors = payloads.vectors_of(content, len(prompts))
        except UpstreamError as error:
            raise self._wrong(f"gives no vectors ({error.message})") from None
        if any(abs(float(np.linalg.norm(vector)) - 1) > MAX_GAP for vector in vectors):
            raise self._wrong("gives vectors that are not of length one")
        return len(vectors[0]), vectors

    def _post(self, operation: Operation, prompts: Sequence[TokenPrompt], *, use_activation: bool | None = None) -> bytes:
        body = payloads.body_of(operation, prompts, use_activation=use_activation)
        path = payloads.ENDPOINTS[operation].path
        try:
            response = self._http.post(path, content=body, headers={"content-type": "application/json"})
        except httpx2.HTTPError as error:
            raise _refused(self._url, f"does not compute ({type(error).__name__})") from None
        if response.status_code != httpx2.codes.OK:
            raise self._wrong(self._instead(response.status_code))
        return response.content

    def _instead(self, status: int) -> str:
        """Return a description of a server with the wrong task; existing routes answer a GET with 405."""
        if self._has("/v1/completions") or self._has("/v1/chat/completions"):
            return "is a language model that writes: it was started without --runner pooling"
        for operation, endpoint in payloads.ENDPOINTS.items():
            if operation is not self._plan.operation and self._has(endpoint.path):
                return _SERVES_OTHER[operation]
        return f"refuses to compute (status {status})"

    def _has(self, path: str) -> bool:
        try:
            return self._http.get(path).status_code == httpx2.codes.METHOD_NOT_ALLOWED
        except httpx2.HTTPError:
            return False

    def _wrong(self, what: str) -> ModelRefused:
        return ModelRefused(f"The server at {self._url} (--upstream) {what}. Right would be: {right_command(self._plan)}")


_CHECKS: Final[Mapping[Operation, Callable[[Probe], Measured]]] = {RERANK: Probe.check_scores, EMBED: Probe.check_vectors}
"""The checks of every operation."""

_SERVES_OTHER: Final = {
    EMBED: "embeds and does not rank: it serves an embedding model, or was started without the overrides",
    RERANK: "ranks and does not embed",
}
"""Descriptions of a server with another operation than the plan's."""


def _client(url: str, api_key: str | None, transport: httpx2.BaseTransport | None = None) -> httpx2.Client:
    headers = PLAIN | ({"authorization": f"Bearer {api_key}"} if api_key else {})
    limited = LimitedTransport(transport or httpx2.HTTPTransport())
    return httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False, transport=limited)


def _served(http: httpx2.Client, url: str) -> payloads.ListedModel:
    listed = payloads.listed_model(_get(http, url, "/v1/models"))
    if listed is None:
        raise _refused(url, "does not say what it serves")
    return listed


def _get(http: httpx2.Client, url: str, path: str) -> bytes:
    """Return the body of a response; empty if its status is not 200."""
    try:
        response = http.get(path)
    except httpx2.HTTPError as error:
        raise _refused(url, f"does not answer ({type(error).__name__})") from None
    if response.status_code in {httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN}:
        raise _refused(url, "wants another key (--upstream-api-key)")
    return response.content if response.status_code == httpx2.codes.OK else b""


def _refused(url: str, what: str) -> ModelRefused:
    return ModelRefused(f"The server at {url} (--upstream) {what}.")


def _labels(content: bytes) -> int | None:
    try:
        return int(orjson.loads(content)["data"][0]["num_classes"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        return None
