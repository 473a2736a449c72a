"""The direction of imports, which packages may load torch, and how large modules may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TORCH_SIDE = {
    "activations",
    "blocks",
    "checkpoint",
    "cifar10",
    "discovery",
    "inference",
    "weight_swap",
    "weight_uses",
    "quantize",
    "datasets",
    "models",
    "training",
    "evaluate",
    "sensitivity",
    "networks",
    "outcomes",
    "refine",
}
"""Modules and packages of clado_core that may import torch when they are imported."""

MODULE_LINES = 300


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", _modules("clado_core"), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_does_not_know_the_dashboard(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & {"dashboard", "streamlit", "plotly"}


@pytest.mark.parametrize("path", _modules("clado_core"), ids=lambda p: str(p.relative_to(ROOT)))
def test_torch_only_where_measuring_happens(path: Path) -> None:
    part = path.relative_to(ROOT / "clado_core").parts[0].removesuffix(".py")
    if part in TORCH_SIDE:
        return
    imported = _imports(path, top_level_only=True)
    assert "torch" not in {name.split(".")[0] for name in imported}
    assert not {f"clado_core.{name}" for name in TORCH_SIDE} & {
        ".".join(name.split(".")[:2]) for name in imported
    }


@pytest.mark.parametrize("path", _modules("dashboard"), ids=lambda p: str(p.relative_to(ROOT)))
def test_figures_do_not_know_streamlit(path: Path) -> None:
    if "figures" in path.parts:
        assert "streamlit" not in {name.split(".")[0] for name in _imports(path)}


@pytest.mark.parametrize(
    "path", _modules("clado_core") + _modules("dashboard"), ids=lambda p: str(p.relative_to(ROOT))
)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES


def test_importing_the_core_and_its_solvers_leaves_torch_out() -> None:
    code = (
        "import sys, clado_core, clado_core.solvers.scip, clado_core.allocation.frontier;"
        "import clado_core.cli;"
        "clado_core.cli.build_parser();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_names_that_say_nothing_are_not_used() -> None:
    vague = {"utils", "helpers", "common", "misc", "manager"}
    assert not [p for p in _modules("clado_core") + _modules("dashboard") if p.stem in vague]
