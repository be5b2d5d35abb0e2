"""Downloads from Hugging Face, or from a mirror with its protocol.

Endpoint, token, cache folder and offline mode are the library's own settings (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE).
Its telemetry and update checks are always off. Errors become one line.
"""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import httpx2
from huggingface_hub import CachedRepoInfo, constants, get_cached_repo_tree, scan_cache_dir, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    CacheNotFound,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from shortlist.errors import ModelRefused
from shortlist.hub.metadata import NEVER, SMALL_FILES, WEIGHT_FILES, CachedSnapshot, Check, Listing

# The library, and transformers through it, reads these before every telemetry request: a list of agent programs (once a day,
# with the first request), usage counts, and checks for newer versions.
# Source: huggingface_hub 2.4, `utils/_headers.py`, `utils/_detect_agent.py`, `utils/_telemetry.py`, `cli/_cli_utils.py`.
constants.HF_HUB_DISABLE_TELEMETRY = True
constants.HF_HUB_DISABLE_UPDATE_CHECK = True

_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OSError, HFValidationError, XetDownloadError)
_LOCAL_FOLDER = "or give the path of a local folder that holds the model"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A model's files on this machine and their commit."""

    folder: Path
    commit: str


def fetch(name: str, revision: str | None, check: Check, *, with_weights: bool = True) -> Snapshot:
    """Download `name` into the cache, small files first, and return its folder. Cached files are not downloaded again.

    Raises:
        ModelRefused: the hub, the network or the disk failed, or `check` refused.
    """
    folder = _download(name, revision, SMALL_FILES)
    listing = _listing(name, folder.name)
    check(folder, listing)
    if not with_weights:
        return Snapshot(folder, folder.name)
    if listing is not None:
        _refuse_when_full(name, folder, listing)
    return Snapshot(_download(name, folder.name, (*SMALL_FILES, *WEIGHT_FILES)), folder.name)


def _download(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    try:
        path = snapshot_download(name, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(NEVER))
    except _FAILURES as error:
        raise ModelRefused(explain(error, name, revision)) from error
    return Path(path)


def _listing(name: str, commit: str) -> dict[str, int] | None:
    """Return the files of a complete download; None if the cache did not record them."""
    try:
        files = get_cached_repo_tree(name, revision=commit)
    except CachedRepoTreeNotFoundError:
        return None
    return {file.path: file.size for file in files if not any(fnmatch(file.path, pattern) for pattern in NEVER)}


def _refuse_when_full(name: str, folder: Path, listing: Listing) -> None:
    """Refuse when the rest of the download exceeds the free disk space."""
    weights = (path for path in listing if any(fnmatch(path, pattern) for pattern in WEIGHT_FILES))
    needed_bytes = sum(listing[path] for path in weights if not (folder / path).exists())
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise ModelRefused(
            f"{name} needs {needed_bytes / 1e9:.1f} GB more, and {constants.HF_HUB_CACHE} has {free_bytes / 1e9:.1f} GB free: "
            "free some space, or set HF_HOME to a folder on a larger disk"
        )


# -- cached models ------------------------------------------------------------------------------------------------------


def cached_snapshots() -> list[CachedSnapshot]:
    """Return the models in the cache."""
    return [CachedSnapshot(repo.repo_id, _newest(repo), repo.size_on_disk) for repo in _repos() if repo.revisions]


def remove(name: str) -> None:
    """Delete all revisions of a model from the cache."""
    commits = [revision.commit_hash for repo in _repos() if repo.repo_id == name for revision in repo.revisions]
    scan_cache_dir().delete_revisions(*commits).execute()


def _repos() -> list[CachedRepoInfo]:
    try:
        return [repo for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return []


def _newest(repo: CachedRepoInfo) -> Path:
    """Return the folder of the default revision, or of the latest."""
    main = repo.refs.get("main")
    return (main or max(repo.revisions, key=lambda revision: revision.last_modified)).snapshot_path


# -- errors in one line -------------------------------------------------------------------------------------------------


def explain(error: Exception, name: str, revision: str | None) -> str:
    """Return the reason why the download of `name` failed, and what to do."""
    cause = error.__cause__
    if isinstance(error, LocalEntryNotFoundError) and isinstance(cause, Exception):
        error = cause
    if isinstance(error, HfHubHTTPError):
        return _explain_answer(error, name, revision)
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return (
            f"{name} is not complete in the cache, and offline mode is on: unset HF_HUB_OFFLINE to download it, {_LOCAL_FOLDER}"
        )
    if isinstance(error, FileMetadataError):
        return f"{constants.ENDPOINT} does not answer as a model hub while sending {name}: check HF_ENDPOINT and the proxy"
    if isinstance(error, HFValidationError):
        return f"{name} is not a name that Hugging Face gives to models; write OWNER/NAME, {_LOCAL_FOLDER}"
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError) and error.errno is not None:
        return _explain_disk(error, name)
    return (
        f"the download of {name} from {constants.ENDPOINT} failed ({type(error).__name__}): check the network, "
        f"set HF_ENDPOINT to a mirror that you can reach, {_LOCAL_FOLDER}"
    )


def _explain_answer(error: HfHubHTTPError, name: str, revision: str | None) -> str:
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: accept its terms on its page at {constants.ENDPOINT}/{name}, then set HF_TOKEN to your token"
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision!r}: name a branch, a tag or a whole commit hash, or leave the revision out"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{constants.ENDPOINT} knows no model {name}: check the spelling, set HF_TOKEN if it is private, "
            f"write modelscope:{name} if it is on ModelScope, {_LOCAL_FOLDER}"
        )
    status = error.response.status_code
    if status in {401, 403}:
        return f"{constants.ENDPOINT} did not let us have {name} (status {status}): set HF_TOKEN to a token that may read it"
    return f"{constants.ENDPOINT} answered {status} for {name}: try again later, set HF_ENDPOINT to a mirror, {_LOCAL_FOLDER}"


def _explain_disk(error: OSError, name: str) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"the disk is full while {name} was written to {constants.HF_HUB_CACHE}: free some space, or set HF_HOME elsewhere"
        )
    return f"{name} cannot be written to {constants.HF_HUB_CACHE} ({error.strerror}): set HF_HOME to a folder you may write to"
