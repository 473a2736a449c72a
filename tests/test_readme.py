"""The README is true: its numbers are those of the shipped files, its code runs."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT
from tests.readme import filled

README = (ROOT / "README.md").read_text()


def test_the_numbers_are_generated() -> None:
    assert filled(README) == README


def test_the_python_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
