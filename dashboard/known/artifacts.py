"""The measured networks on this machine, loaded once per digest.

Streamlit hashes large arrays by sampling, so nothing here is cached by array: the digest of the
artifact is the key.
"""

from __future__ import annotations

import gc
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

import clado_core as cc
from clado_core.allocation.stored import load_frontier
from clado_core.errors import CladoError
from clado_core.files.artifact import SUFFIX, artifact_digest
from clado_core.networks.builtin import ASSETS
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES, Rules
from dashboard.workers.measure import MeasureService
from dashboard.workers.refine import RefineService
from dashboard.workers.solve_service import SolveService

FOLDERS = "CLADO_ARTIFACTS"
"""Environment variable: folders of the user's own artifacts, separated as in PATH."""

SAMPLE = "sample"


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
class Catalog:
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
    more = [folder for folder in (own_folder(), sample_folder()) if folder.is_dir()]
    return list(dict.fromkeys([ASSETS, *own, *more]))


def own_folder() -> Path:
    """Where measured and uploaded artifacts go: the user's first folder, else their data folder."""
    own = [Path(part) for part in os.environ.get(FOLDERS, "").split(os.pathsep) if part]
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return own[0] if own else Path(data) / "clado-explorer"


def find() -> Catalog:
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
    return Catalog(found, tuple(problems))


@st.cache_data(max_entries=256, show_spinner=False)
def _check(path: str, _mtime_ns: int, size: int, /) -> Artifact | str:
    try:
        cc.load(path)
        return Artifact(Path(path).stem, path, artifact_digest(path))
    except CladoError as problem:
        return str(problem)


@st.cache_resource(max_entries=16, show_spinner=False)
def _matrix(path: str, digest: str) -> cc.SensitivityMatrix:
    return cc.load(path)


def matrix(artifact: Artifact, /) -> cc.SensitivityMatrix:
    """The sensitivities of an artifact."""
    return _matrix(artifact.path, artifact.digest)


@st.cache_resource(max_entries=64, show_spinner=False)
def _answers(path: str, digest: str, rules: Rules) -> Answers:
    known = Answers(_matrix(path, digest), rules)
    if not rules.count:
        _add_stored_front(known, Path(path))
    known.sweep()
    return known


def answers(artifact: Artifact, rules: Rules = NO_RULES, /) -> Answers:
    """What is known about a network's best choices under some rules; grows as solvers answer."""
    known = _answers(artifact.path, artifact.digest, rules)
    _answered().add((artifact.digest, rules))
    return known


@st.cache_resource(show_spinner=False)
def _answered() -> set[tuple[str, Rules]]:
    return set()


def is_answered(artifact: Artifact, rules: Rules = NO_RULES, /) -> bool:
    """Whether ``answers`` has been asked before; for a large network the first takes seconds."""
    return (artifact.digest, rules) in _answered()


@st.cache_resource(show_spinner=False)
def measure_service() -> MeasureService:
    """The server's one measurement."""
    return MeasureService()


@st.cache_resource(show_spinner=False)
def refine_service() -> RefineService:
    """The server's one choice by measured loss."""
    return RefineService()


@st.cache_resource(show_spinner=False)
def settle_memory() -> None:
    """Once per server: what is imported by now stays, so collections need not look at it."""
    gc.collect()
    gc.freeze()


@st.cache_resource(show_spinner=False)
def solve_service() -> SolveService:
    """The server's one solver process."""
    return SolveService()


def _add_stored_front(known: Answers, path: Path) -> None:
    """Take over ``NAME.frontier.json`` beside the artifact; a file that does not fit is ignored."""
    front = load_frontier(path, known.matrix)
    if front is not None:
        known.take(front)


def sample_folder() -> Path:
    """Where "Load the sample" puts its file; per user, outside the project."""
    return Path(tempfile.gettempdir()) / f"clado-explorer-{os.getuid()}"


def write_sample() -> None:
    """Write a synthetic network, so that the pages can be tried without measuring anything."""
    sample_folder().mkdir(exist_ok=True)
    cc.save_matrix(sample_matrix(), sample_folder() / f"{SAMPLE}{SUFFIX}")


def sample_matrix() -> cc.SensitivityMatrix:
    """A made-up network of 16 layers whose errors add up within stages."""
    rng = np.random.default_rng(7)
    stages = [("stem", 1), ("stage1", 5), ("stage2", 5), ("stage3", 4), ("head", 1)]
    layers, loudness = [], []
    for depth, (stage, count) in enumerate(stages):
        for i in range(count):
            name = stage if count == 1 else f"{stage}.{i}.conv"
            layers.append(cc.LayerInfo(name, "unknown", (16 * 2**depth, 72), block=stage))
            loudness.append(0.5 ** (depth / 2) * rng.uniform(0.5, 1.5))
    bits = (2, 4, 8)
    step = np.array([2.0 ** (2 - b) for b in bits])
    error = np.multiply.outer(np.array(loudness), step).ravel() * 0.4
    factors = rng.normal(size=(len(error), 6)) + np.repeat(rng.normal(size=(16, 6)), 3, axis=0)
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    G = (0.7 * np.eye(len(error)) + 0.3 * factors @ factors.T) * np.outer(error, error)
    return cc.SensitivityMatrix(
        name=SAMPLE,
        G=(G + G.T) / 2,
        layers=cc.LayerTable(tuple(layers)),
        bit_widths=bits,
        base_loss=0.5,
        provenance=cc.Provenance(model="synthetic sample", estimator="imported"),
    )
