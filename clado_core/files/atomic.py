"""Files that are complete or not there, and nothing left of writers that were killed."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clado_core.errors import ArtifactError

TEMPORARY = ".tmp"
NAMED = "[a-z0-9_]{8}"
"""What ``tempfile`` puts in between; other hidden files beside a file are somebody's own."""


def write_atomically(path: str | Path, data: bytes, /) -> None:
    """Write bytes under a temporary name beside ``path``, then rename.

    What killed writers of the same file left is removed first: a writer holds a lock on its
    temporary file, and the system takes it away when the writer ends, however it ends.

    Raises:
        ArtifactError: The folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    try:
        _remove_left(path)
        with _temporary(path) as (handle, temporary):
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    except OSError as problem:
        raise ArtifactError(f"Cannot write {path}: {problem.strerror}.") from None


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[int, Path]]:
    """A locked file beside a path; it is gone when this ends, unless it was renamed."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=TEMPORARY)
        with suppress(OSError):  # where a file system knows no locks, nobody removes what is left
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            break
        os.close(handle)  # another writer took it for one that was left, before it was locked
    try:
        yield handle, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


def _remove_left(path: Path) -> None:
    """Remove temporary files of this path that no writer holds."""
    left = re.compile(re.escape(_prefix(path)) + NAMED + re.escape(TEMPORARY))
    with suppress(OSError):  # of a folder that is not there or cannot be listed, writing says so
        for name in filter(left.fullmatch, os.listdir(path.parent)):
            with suppress(OSError):  # held by a writer, or somebody else's
                _remove_unheld(path.with_name(name))


def _remove_unheld(temporary: Path) -> None:
    handle = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(temporary)
    finally:
        os.close(handle)


def _prefix(path: Path) -> str:
    return f".{path.name}."
