"""The artifacts on this machine: where they are looked for, which can be used, and their names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

import clado_core as cc
from clado_core.errors import CladoError
from clado_core.files.artifact import SUFFIX, artifact_digest
from clado_core.networks.builtin import ASSETS
from dashboard.known import sample

FOLDERS = "CLADO_ARTIFACTS"
"""Environment variable: folders of the user's own artifacts, separated as in PATH."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One usable file.

    Args:
        name: Unique among the artifacts found; stands in links.
        path: The file.
        digest: Of its contents.
    """

    name: str
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What was found.

    Args:
        artifacts: Usable files by name.
        problems: One sentence per file that cannot be used.
    """

    artifacts: dict[str, Artifact]
    problems: tuple[str, ...]


def folders() -> list[Path]:
    """Where artifacts are looked for: ``assets/``, the user's folders, the sample's if loaded."""
    own = [Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    more = [folder for folder in (own_folder(), sample.sample_folder()) if folder.is_dir()]
    return list(dict.fromkeys([ASSETS, *own, *more]))


def own_folder() -> Path:
    """Where measured and uploaded artifacts go: the user's first folder, else their data folder."""
    own = [Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return own[0] if own else Path(data) / "clado-explorer"


def trials_folder() -> Path:
    """Where choices that are run, and repaired files, are kept."""
    return own_folder() / "trials"


def find() -> Catalogue:
    """Look for artifacts and check each whole; a file is read again only when it has changed."""
    found: dict[str, Artifact] = {}
    problems: list[str] = []
    for folder in folders():
        files = folder.glob(f"*{SUFFIX}") if folder.is_dir() else ()
        for path in sorted(files, key=lambda file: file.stem):
            stat = path.stat()
            checked = _check(str(path), stat.st_mtime_ns, stat.st_size)
            if isinstance(checked, str):
                problems.append(checked)
                continue
            name = path.stem if path.stem not in found else f"{path.stem}-{checked.digest[:8]}"
            found.setdefault(name, Artifact(name, checked.path, checked.digest))
    return Catalogue(found, tuple(problems))


@st.cache_data(max_entries=256, show_spinner=False)
def _check(path: str, mtime_ns: int, size: int, /) -> Artifact | str:
    try:
        cc.load(path)
        return Artifact(Path(path).stem, path, artifact_digest(path))
    except CladoError as problem:
        return str(problem)
