"""Images built by buildah from a Debian of debootstrap, and containers of them: processes in namespaces of their own.

No image registry and no container runtime is needed, only root and Debian's packages. What is kept between runs is in
`FOLDER`: the base image, and what pip downloaded.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251 - where caches are
FOLDER: Final = CACHE / "shortlist-ci/image"
TOOLS: Final = ("buildah", "debootstrap", "unshare", "nsenter", "mount")

SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"
"""Where debootstrap gets packages, and apt in a build."""

BASE: Final = f"localhost/shortlist-base:{SUITE}"
BASE_PACKAGES: Final = "python3,python3-venv,ca-certificates"

PIP_OPTIONS: Final = ("index-url", "find-links", "cert")
"""Settings of this machine's pip that a build gets as well."""

STORAGE: Final = """[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""

ENTER: Final = """
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$1/tmp"
mount --bind "$2" "$1/data"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/dev/shm"
root=$1; user=$2; user=$3; shift 3
exec chroot --userspec "$user" --groups "" "$root" "$@"
"""
"""Arguments: root, data, user, command. The root is read-only but for /tmp and /data, as with `docker run --read-only --tmpfs /tmp`."""


def missing_tools() -> str | None:
    """Return why no image can be built here, or None if one can be."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building an image needs Linux and root"
    return f"{', '.join(lacking)} is not installed (apt-get install buildah debootstrap)" if lacking else None


class ImagesUnavailable(Exception):
    """No image can be built: Buildah cannot store images here, or Debian's packages cannot be reached."""


@dataclass(frozen=True)
class Container:
    """A running container.

    Attributes:
        process: The process outside; its exit code is that of the container.
        pid: The container's first process, as this machine numbers it.
    """

    process: subprocess.Popen[bytes]
    pid: int
    log: Path
    user: str
    environ: Mapping[str, str]

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as a health check is run."""
        user, group = self.user.split(":")
        enter = [
            "nsenter",
            "--target",
            str(self.pid),
            "--mount",
            "--pid",
            "--root",
            "--wd",
            "--setuid",
            user,
            "--setgid",
            group,
        ]
        return _run([*enter, "env", "-i", *_assignments(self.environ), *command], check=False)


class Buildah:
    """Builds images in a storage of its own, and removes all of them at the end but the base.

    Args:
        folder: The folder of the storage and the caches.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        for name in ("cache", "storage", "run"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        files = {
            "storage.conf": STORAGE.format(folder=folder),
            "registries.conf": "unqualified-search-registries = []\n",
        }
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        self._environ = {
            **os.environ,  # noqa: TID251 - PATH and proxies
            "TMPDIR": str(folder / "cache"),  # also the place of cache mounts
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        }

    def ensure_base(self) -> None:
        """Make the base image, unless it is there.

        Raises:
            ImagesUnavailable: Buildah, the mirror or debootstrap failed, or nothing can be run in an image here.
        """
        if (done := self._run("info", check=False)).returncode:
            raise ImagesUnavailable(f"buildah cannot store images here: {done.stderr[-500:]}")
        try:
            httpx2.get(f"{MIRROR}/dists/{SUITE}/InRelease", timeout=30).raise_for_status()
        except httpx2.HTTPError as error:
            raise ImagesUnavailable(f"{MIRROR} cannot be reached: {error}") from error
        if self._run("inspect", "--type", "image", BASE, check=False).returncode:
            self._make_base()
        with self._container(BASE) as name:
            tries = (
                self._run("run", name, "--", "true", check=False),
                _run(["unshare", "--mount", "--pid", "--fork", "true"], check=False),
            )
        if failed := next((done for done in tries if done.returncode), None):
            raise ImagesUnavailable(f"nothing can be run in an image here: {failed.stderr[-500:]}")

    def _make_base(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as root:
            command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, root, MIRROR]
            if (done := _run(command, check=False)).returncode:
                raise ImagesUnavailable(f"debootstrap failed: {done.stdout[-500:]}{done.stderr[-500:]}")
            _run(["chroot", root, "apt-get", "clean"])
            shutil.rmtree(f"{root}/var/lib/apt/lists")
            with self._container("scratch") as name:
                for step in (("add", "--quiet", name, root, "/"), ("commit", "--quiet", "--format", "docker", name, BASE)):
                    if (done := self._run(*step, check=False)).returncode:
                        raise ImagesUnavailable(f"buildah {step[0]} failed: {done.stderr[-500:]}")

    def build(self, target: str, tag: str, **arguments: str) -> str:
        """Build a target of the Dockerfile, and return the build's output."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        build = ("bud", "--layers", "--pull-never", "--format", "docker", *options, *_pip_volumes())
        return self._run(*build, "--target", target, "--file", "deploy/docker/Dockerfile", "--tag", tag, ".").stdout

    def describe(self, tag: str) -> dict[str, Any]:
        """Return an image's description in Docker's format, with `config` and `history`."""
        found: dict[str, Any] = json.loads(self._run("inspect", "--type", "image", tag).stdout)["Docker"]
        return found

    @contextmanager
    def mounted(self, tag: str) -> Iterator[Path]:
        """Mount an image and yield its root."""
        with self._container(tag) as name:
            yield Path(self._run("mount", name).stdout.strip())

    def remove(self) -> None:
        """Remove all containers, and all images but the base."""
        self._run("rm", "--all")
        images = json.loads(self._run("images", "--all", "--json").stdout)
        built = [each["id"] for each in images if BASE not in (each["names"] or ())]
        if built:
            self._run("rmi", "--force", *built)

    @contextmanager
    def _container(self, image: str) -> Iterator[str]:
        name = self._run("from", "--pull-never", image).stdout.strip()
        try:
            yield name
        finally:
            self._run("rm", name)

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return _run(["buildah", *arguments], environ=self._environ, check=check)


def pip_arguments() -> str:
    """Return the arguments with which pip in a build finds what this machine's pip finds; empty if it has no settings."""
    return " ".join(f"--{name} {value}" for name, value in _pip_settings().items())


@contextmanager
def running(root: Path, config: Mapping[str, Any], data: Path, **environ: str) -> Iterator[Container]:
    """Run an image's command as its user: the first process of its own namespace, on a read-only root, until the end of the block.

    The network is this machine's.

    Args:
        root: The mounted image.
        config: Its configuration, from which command, user and environment are taken.
        data: What is mounted at /data.
        environ: Variables besides the image's.
    """
    variables = {**dict(each.split("=", 1) for each in config["Env"]), **environ}
    command = ["env", "-i", *_assignments(variables), *config["Cmd"]]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    log = data.with_name(f"{data.name}.log")
    with log.open("wb") as output:
        enter = [*namespaces, "sh", "-ec", ENTER, "sh", str(root), str(data), config["User"], *command]
        process = subprocess.Popen(enter, stdout=output, stderr=output)
    try:
        yield Container(process, _child(process), log, config["User"], variables)
    finally:
        process.kill()
        process.wait(timeout=20)


def _child(process: subprocess.Popen[bytes]) -> int:
    children, deadline_s = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 20
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            if found := children.read_text(encoding="ascii").split():
                return int(found[0])
        time.sleep(0.01)
    raise AssertionError("the container did not start")


def _pip_settings() -> dict[str, str]:
    listed = _run([sys.executable, "-m", "pip", "config", "list"]).stdout.splitlines()
    found = {}
    for line in sorted(listed, key=lambda each: each.startswith(":env:")):  # the environment wins
        key, _, value = line.partition("=")
        if (name := key.rpartition(".")[2]) in PIP_OPTIONS:
            found[name] = str(ast.literal_eval(value))
    return found


def _pip_volumes() -> list[str]:
    return [f"--volume={value}:{value}:ro" for value in _pip_settings().values() if Path(value).exists()]


def _assignments(environ: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environ.items()]


def _run(
    command: Sequence[str], *, environ: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done
