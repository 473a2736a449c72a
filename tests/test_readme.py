"""The README is true: its numbers are those of the shipped files, its code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clado_core as cc
from tests.conftest import ROOT
from tests.readme import EVIDENCE_PAGE, all_evidence, filled

README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def test_the_numbers_are_generated() -> None:
    assert filled(README) == README
    assert all_evidence() == (ROOT / "assets" / EVIDENCE_PAGE).read_text()


def test_the_notebook_example_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    solution, rounded, refined, repaired, smallest = done.stdout.splitlines()
    assert solution.startswith("Solution(13 layers, ") and "optimal" in solution
    lines = (rounded, refined, repaired)
    top1 = [float(re.match(r"Evaluation\(top1=([\d.]+)", line)[1]) for line in lines]
    assert top1[2] > top1[0]
    assert re.match(r"Assignment\(13 layers, .* bytes\) Drop\(lost=\d+", smallest)
    assert {path.name for path in tmp_path.iterdir()} == {"front.html", "digits.onnx"}


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_changelog_tells_of_this_version() -> None:
    versions = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)
    assert versions[0] == cc.__version__
