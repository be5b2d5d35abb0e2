"""Where traces of requests go: to the collector that the settings name, or nowhere."""

from __future__ import annotations

from shortlist.errors import BadSetting
from shortlist.telemetry.traces import NO_TRACING, Tracing


def tracing_to(endpoint: str | None, *, sample_ratio: float) -> Tracing:
    """Return what sends traces to a collector; what sends none if no collector is named.

    Args:
        endpoint: The collector's address, as http://HOST:4318.
        sample_ratio: Share of the requests that are traced; a caller who traces decides for its own.

    Raises:
        BadSetting: the library for it is not installed, or told to do nothing.
    """
    if endpoint is None:
        return NO_TRACING
    try:
        from shortlist.telemetry.otlp import OtlpTracing
    except ModuleNotFoundError as error:
        raise BadSetting(f"otlp_endpoint (--otlp-endpoint) needs {error.name}: pip install 'shortlist[otel]'") from None
    return OtlpTracing(endpoint, sample_ratio=sample_ratio)
