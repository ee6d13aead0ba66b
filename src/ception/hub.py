"""Model files on the Hugging Face hub, by names such as `hf://USER/NAME` and `hf://USER/NAME@REVISION`."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ception.errors import InputError, RunError, reason
from ception.files import cache_folder
from ception.reporting import Reporter, or_default, silenced
from ception.values import as_typed

FILE = "model.keras"  # what a repository has to hold
_BEGINNING = "hf:/"  # a path has one slash where two were typed
_COMMIT = re.compile("[0-9a-f]{40}")
_TIMEOUT_S = 10
_NAME = re.compile(r"hf://?([\w.-]+/[\w.-]+)(?:@([^\s@]+))?/?")


def is_named(name: str | Path) -> bool:
    """Whether a name is one of the hub."""
    return str(name).startswith(_BEGINNING)


def repository_of(name: str | Path) -> tuple[str, str | None]:
    """USER/NAME and the revision that a name means; None for the newest.

    Raises:
        InputError: it is no name of a repository.
    """
    found = _NAME.fullmatch(str(name))
    if found is None:
        raise InputError(f"{as_typed(name)} names no repository: hf://USER/NAME, or hf://USER/NAME@REVISION")
    return found[1], found[2]


def named(name: str | Path) -> str:
    """The repository's own name, without its user's."""
    return repository_of(name)[0].rpartition("/")[2]


def fetch(name: str | Path, *, reporter: Reporter | None = None) -> Path:
    """The model file of a repository, from the cache folder where it lies there and the hub has no newer one.

    Args:
        name: `hf://USER/NAME`, or `hf://USER/NAME@REVISION` with a branch, a tag or a commit.
        reporter: Receives progress; None for what `ception.reporting.default` gives.

    Raises:
        InputError: there is no such repository, revision or file.
        RunError: the hub cannot be reached and the file is not there, or it cannot be written.
    """
    repository, revision = repository_of(name)
    folder, reporter = cache_folder() / "hub", or_default(reporter)
    try:
        path = _kept(repository, revision, folder) if _COMMIT.fullmatch(revision or "") else None
        path = path or _newest(repository, revision, folder, reporter)
    except OSError as error:
        if error.errno is None or not error.filename:
            raise RunError(f"{as_typed(name)} cannot be downloaded ({_why(error)})") from None
        raise RunError(
            f"{error.filename} cannot be written: {reason(error)}; set CEPTION_CACHE to a folder with room"
        ) from None
    with suppress(OSError):  # it may be another user's
        os.utime(path)
    return path


def _kept(repository: str, revision: str | None, folder: Path) -> Path | None:
    """The model file as it lies in the cache folder; None where it does not."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, FILE, cache_dir=folder, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _newest(repository: str, revision: str | None, folder: Path, reporter: Reporter) -> Path:
    """The model file that the hub has, or where it cannot be reached, the one that it had when it last could.

    Raises:
        InputError: there is no such repository, revision or file.
        RunError: the hub cannot be reached, and the file is not in the cache folder.
    """
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_download, hf_hub_url

    where, endpoint = f"{repository}@{revision}" if revision else repository, os.environ.get("HF_ENDPOINT")
    reporter.note(f"Looking for {where} on the Hugging Face hub")
    try:
        # asked first, for the download itself would try in vain for half a minute where there is no network
        get_hf_file_metadata(hf_hub_url(repository, FILE, revision=revision, endpoint=endpoint), timeout=_TIMEOUT_S)
        with ExitStack() as stack, silenced("huggingface_hub"):  # our message says what its retries say
            bar = _bar(reporter, stack)
            return Path(hf_hub_download(
                repository, FILE, revision=revision, cache_dir=folder, endpoint=endpoint, tqdm_class=bar
            ))  # fmt: skip
    except errors.RemoteEntryNotFoundError:
        raise InputError(f"{where} holds no {FILE}: ception export --to huggingface writes such repositories") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{repository} has no revision {revision}") from None
    except errors.RepositoryNotFoundError:
        raise InputError(
            f"there is no repository {repository} on the hub, or it is private: check the name, or log in with "
            "hf auth login"
        ) from None
    except errors.HFValidationError as error:
        raise InputError(f"{where} names no repository: {_why(error)}") from None
    except Exception as error:  # the library lets through whatever its transport raises
        if isinstance(error, OSError) and error.filename:
            raise
        if kept := _kept(repository, revision, folder):
            return kept
        raise RunError(
            f"{where} cannot be downloaded from the hub ({_why(error)}), and is not in {folder}: check the connection "
            "and the proxy (https_proxy)"
        ) from None


def _why(error: BaseException) -> str:
    """What lies behind an error, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _bar(reporter: Reporter, stack: ExitStack) -> type[Any]:
    """What the library takes for its progress bar, which tells the reporter."""
    from huggingface_hub import utils

    plain: Any = utils.tqdm  # type: ignore[attr-defined]

    class Bar(plain):
        """Shows nothing itself."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"disable": True})
            self._bytes = int(options.get("initial") or 0)
            total = int(options.get("total") or 0)
            self._task = stack.enter_context(reporter.task("Downloading, MB", total >> 20))
            self._task.advance(self._bytes >> 20)

        def update(self, n: float | None = 1) -> None:
            before, self._bytes = self._bytes, self._bytes + int(n or 0)
            if megabytes := (self._bytes >> 20) - (before >> 20):
                self._task.advance(megabytes)

    return Bar
