"""Check a release as its users get it, and write what is published into dist/: `make release-check [TAG=v1.2.3]`.

Builds the sdist from HEAD and the wheel from the sdist, installs the wheel outside of the clone, and serves the demo model from
there. Takes minutes, and needs the package index. Uncommitted changes are not part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

DIST: Final = Path("dist")
TOOLS: Final = ("build>=1.2,<2", "cyclonedx-bom>=7,<8")
"""`python -m build`, and OWASP's generator of SBOMs; nothing else uses them."""

LEFT_TO_TORCH: Final = re.compile(r"triton|nvidia-.*|cuda-.*")
"""Distributions whose versions torch's builds pin: its CUDA builds need certain ones, its CPU builds none."""

START_S: Final = 300.0
DOCUMENTS: Final = ("bake bread at 220 C", "open the file and call json.load")


def main() -> None:
    """Run all checks in order; the first that fails ends the process with one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="the tag to be published, as v1.2.3")
    given, pip_arguments = parser.parse_known_args()
    version = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    check_version(
        version, given.tag, package=Path("src/shortlist/__init__.py").read_text(), changelog=Path("CHANGELOG.md").read_text()
    )
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tools = new_environment(folder / "tools", *TOOLS, *pip_arguments)
        wheel = build(tools, folder)
        target = f"shortlist[all] @ {wheel.resolve().as_uri()}"
        report = folder / "report.json"
        python = new_environment(folder / "site", "-c", "constraints.txt", "--report", str(report), target, *pip_arguments)
        installed = json.loads(report.read_text())["install"]
        if missing := unpinned((each["metadata"]["name"] for each in installed), Path("constraints.txt").read_text()):
            sys.exit(f"constraints.txt does not pin {', '.join(missing)}")
        write_hashes(python, installed)
        serve_demo(python, folder)
        write_sbom(tools, python)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    say("written to dist:", *sums)


def check_version(version: str, tag: str | None, *, package: str, changelog: str) -> None:
    """Check that package, tag and change log are of one version."""
    if f'__version__ = "{version}"' not in package:
        sys.exit(f"pyproject.toml has version {version}, and shortlist.__version__ is another")
    if tag not in {None, f"v{version}"}:
        sys.exit(f"the tag {tag} is not v{version}")
    if f"## [{version}]" not in changelog and (tag or "## [Unreleased]" not in changelog):
        sys.exit(f"CHANGELOG.md has no section [{version}]")


def new_environment(folder: Path, *arguments: str) -> Path:
    """Create an environment, and return its Python after pip has installed what the arguments name."""
    say(f"installing {' '.join(each for each in arguments if not each.startswith('-'))}")
    run(Path(sys.executable), "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)
    return python


def build(tools: Path, folder: Path) -> Path:
    """Build sdist and wheel into dist/, and check that the wheel of the sdist is that of the clone."""
    say("building sdist and wheel from HEAD")
    archive = subprocess.run(["git", "archive", "HEAD"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as clone:
        clone.extractall(folder / "clone", filter="data")
    run(tools, "-m", "build", "--outdir", DIST.resolve(), folder / "clone")
    run(tools, "-m", "build", "--wheel", "--outdir", folder / "direct", folder / "clone")
    [wheel], [direct] = DIST.glob("*.whl"), (folder / "direct").glob("*.whl")
    if different := sorted(name for name, _ in contents(wheel) ^ contents(direct)):
        sys.exit(f"the wheels of the sdist and of the clone differ: {', '.join(different)}")
    return wheel


def contents(wheel: Path) -> set[tuple[str, int]]:
    """Return names and checksums of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {(each.filename, each.CRC) for each in archive.infolist()}


def unpinned(names: Iterable[str], constraints: str) -> list[str]:
    """Return the distributions that neither constraints.txt nor torch pins."""
    pinned = {normalized(line.partition("==")[0]) for line in constraints.splitlines() if "==" in line}
    return sorted(name for name in {*map(normalized, names)} - pinned - {"shortlist"} if not LEFT_TO_TORCH.fullmatch(name))


def normalized(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_hashes(python: Path, installed: Iterable[Mapping[str, Any]]) -> None:
    """Write the hashes of all installed wheels for `pip install --require-hashes`, and let pip check them."""
    path = DIST / f"requirements-{sys.platform}-{os.uname().machine}-py3{sys.version_info.minor}.txt"
    path.write_text("".join(sorted(map(with_hash, installed))))
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--require-hashes",
        "-r",
        path,
    )


def with_hash(each: Mapping[str, Any]) -> str:
    """Return the line of one distribution of pip's report; none for Shortlist itself, which has SHA256SUMS."""
    metadata, sha256 = each["metadata"], each["download_info"]["archive_info"]["hashes"]["sha256"]
    return "" if metadata["name"] == "shortlist" else f"{metadata['name']}=={metadata['version']} --hash=sha256:{sha256}\n"


def write_sbom(tools: Path, python: Path) -> None:
    """Write the SBOM of an environment, in CycloneDX's JSON, without the path of this folder."""
    path = DIST / "sbom.cdx.json"
    run(tools, "-m", "cyclonedx_py", "environment", "--output-reproducible", "-o", path, python)
    path.write_text(path.read_text().replace(f"{DIST.resolve().as_uri()}/", ""))


def serve_demo(python: Path, folder: Path) -> None:
    """Serve the demo model in a folder without the clone: ready, one ranking, SIGTERM, exit code 0."""
    say("serving the demo model from the wheel")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("SHORTLIST_", "PYTHON"))}
    command = [str(python), "-m", "shortlist", "serve", "demo", "--port", url.rpartition(":")[2]]
    with subprocess.Popen(command, cwd=folder, env=environ) as server:
        try:
            give_up_s = time.monotonic() + START_S
            while not is_ready(url):
                if server.poll() is not None or time.monotonic() > give_up_s:
                    sys.exit("the server did not become ready")
                time.sleep(0.2)
            body = json.dumps({"query": "how do I read a json file", "documents": DOCUMENTS}).encode()
            request = urllib.request.Request(f"{url}/v1/rerank", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                first = json.load(answer)["results"][0]["index"]
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=60)
        finally:
            server.kill()
    if (first, code) != (1, 0):
        sys.exit(f"the first document is {first} instead of 1, or the exit code {code} instead of 0")


def is_ready(url: str) -> bool:
    """Return whether the server takes requests."""
    try:
        with urllib.request.urlopen(f"{url}/ready") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def run(*command: str | Path) -> None:
    """Run a command; its failure ends the process."""
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(f"exit code {code}: {' '.join(map(str, command))}")


def say(*lines: str) -> None:
    """Report progress."""
    print(*lines, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
