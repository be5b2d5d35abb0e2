"""Downloads from ModelScope, through its own optional package.

Endpoint, token and cache folder are that package's own settings (MODELSCOPE_ENDPOINT, MODELSCOPE_API_TOKEN, MODELSCOPE_CACHE).
Errors become one line.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Protocol

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import NEVER, SMALL_FILES, WEIGHT_FILES, CachedSnapshot, Check
from shortlist.installation import install_hint

_LOCAL_FOLDER = "or give the path of a local folder that holds the model"


class _Download(Protocol):
    """The part that we use of `modelscope.hub.snapshot_download.snapshot_download`."""

    def __call__(
        self,
        model_id: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        ignore_patterns: list[str],
        local_files_only: bool,
    ) -> str: ...


def fetch(name: str, revision: str | None, check: Check, *, with_weights: bool = True) -> Path:
    """Download `name` into ModelScope's cache, small files first, and return its folder.

    An unreachable hub is not an error if the files are cached.

    Raises:
        ModelRefused: the package is missing, the hub, the network or the disk failed, or `check` refused.
    """
    try:
        from modelscope.hub.errors import HubError
        from modelscope.hub.snapshot_download import snapshot_download
    except ImportError as error:
        raise ModelRefused(f"modelscope:{name} needs the modelscope package: {install_hint('modelscope')}") from error
    try:
        folder = _download(snapshot_download, name, revision, SMALL_FILES)
        check(folder, None)
        if not with_weights:
            return folder
        return _download(snapshot_download, name, revision, (*SMALL_FILES, *WEIGHT_FILES))
    except (HubError, OSError, ValueError) as error:
        raise ModelRefused(_explain(error, name, revision)) from error


def cached_snapshots() -> list[CachedSnapshot]:
    """Return the models in the cache; none if the package is not installed."""
    try:
        from modelscope_hub import HubApi
    except ImportError:
        return []
    repos = [repo for repo in HubApi().scan_cache().repos if repo.repo_type == "model"]
    return [
        CachedSnapshot(repo.repo_id, _newest(Path(repo.local_path)), repo.size_on_disk) for repo in repos if repo.local_path
    ]


def remove(name: str) -> None:
    """Delete all revisions of a model from the cache."""
    from modelscope_hub import HubApi

    HubApi().clear_cache(repo_type="model", repo_id=name)


def _newest(folder: Path) -> Path:
    """Return the folder of the latest revision; older caches have a single revision without a subfolder."""
    snapshots = folder / "snapshots"
    revisions = [path for path in snapshots.iterdir() if path.is_dir()] if snapshots.is_dir() else []
    return max(revisions, key=lambda path: path.stat().st_mtime, default=folder)


def _download(download: _Download, name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    def ask(*, local_files_only: bool) -> Path:
        return Path(
            download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(NEVER),
                local_files_only=local_files_only,
            )
        )

    try:
        return ask(local_files_only=False)
    except ConnectionError:
        return ask(local_files_only=True)


def _explain(error: Exception, name: str, revision: str | None) -> str:
    """Return the reason why the download failed, from the status of the hub's response if there was one."""
    if isinstance(error.__context__, ConnectionError):
        error = error.__context__  # the cache is read only when the hub is unreachable
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    if status == 404:
        wanted = f"no model {name}" if revision is None else f"no model {name} with revision {revision!r}"
        return f"ModelScope knows {wanted}: check the spelling, write {name} alone if it is on Hugging Face, {_LOCAL_FOLDER}"
    if status in {401, 403}:
        return f"ModelScope did not let us have {name} (status {status}): set MODELSCOPE_API_TOKEN to a token that may read it"
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"the disk is full while {name} was written: free some space, or set MODELSCOPE_CACHE to a folder on a larger disk"
        )
    return (
        f"the download of {name} from ModelScope failed ({type(error).__name__}): check the network, "
        f"set MODELSCOPE_ENDPOINT to a mirror that you can reach, {_LOCAL_FOLDER}"
    )
