"""The Helm chart, linted and rendered by Helm's own code, and what Kubernetes would read of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

CHART = Path("deploy/helm/shortlist")
NAME = "shop"
FULL_NAME = "shop-shortlist"
NAMESPACE = "search"

WARNING = 2
"""Helm's severity from which on `helm lint --strict` fails."""

Values = Mapping[str, Any]
Manifest = dict[str, Any]


def missing_helm() -> str | None:
    """Return why the chart cannot be rendered here, or None if it can."""
    absent = [name for name in ("helm_python", "kubernetes_validate") if find_spec(name) is None]
    return f"{', '.join(absent)} is not installed" if absent else None


def merged(*parts: Values) -> dict[str, Any]:
    """Return values over values, as `helm --values A --values B` merges them."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            before = whole.get(name)
            whole[name] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return whole


def lint(values: Values, chart: Path = CHART) -> list[str]:
    """Return what `helm lint --strict` complains of."""
    import helm_python

    report = helm_python.lint(str(chart), dict(values), strict=True)
    return [*report["errors"], *(message["error"] for message in report["messages"] if message["severity"] >= WARNING)]


def rendered(values: Values, chart: Path = CHART) -> dict[str, str]:
    """Return `helm template`: text by template, without the chart's own name before it.

    Raises:
        helm_python.HelmError: the values are refused.
    """
    import helm_python

    loaded = helm_python.Chart.load(str(chart)) if chart.is_dir() else helm_python.Chart.load_archive(chart.read_bytes())
    with loaded:
        found = loaded.render(dict(values), name=NAME, namespace=NAMESPACE)
    return {name.partition("/templates/")[2]: text for name, text in found.items()}


def manifests(values: Values, chart: Path = CHART) -> list[Manifest]:
    """Return every object that a release with these values has, tests included."""
    texts = rendered(values, chart)
    documents = (document for name, text in texts.items() if name.endswith(".yaml") for document in yaml.safe_load_all(text))
    return [document for document in documents if document]


def only(objects: list[Manifest], kind: str, *, suffix: str = "") -> Manifest:
    """Return the only object of a kind whose name is the release's with this suffix."""
    [found] = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == FULL_NAME + suffix]
    return found


def pods(objects: list[Manifest]) -> Iterator[Manifest]:
    """Yield the spec of every pod."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each["spec"]
        elif each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]


def containers(objects: list[Manifest]) -> Iterator[Manifest]:
    """Yield every container, in the order in which they run."""
    for pod in pods(objects):
        yield from (*pod.get("initContainers", ()), *pod["containers"])
