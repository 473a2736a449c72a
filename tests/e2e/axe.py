"""axe-core, fetched once from the npm registry into the user's cache; nothing is committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

VERSION = "4.11.0"
SERIOUS = ("serious", "critical")


@cache
def script() -> str:
    """Source of axe-core; skips visibly without npm or a registry.

    With REQUIRE_BROWSER=1 a failing npm fails the test, a missing one skips it.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = home / "clado-explorer" / f"axe-core-{VERSION}.min.js"
    if not target.is_file():
        _fetch(target)
    return target.read_text(encoding="utf-8")


def _fetch(target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("No npm found: axe-core comes from its registry.")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [npm, "pack", f"axe-core@{VERSION}", "--silent"],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        packed = list(Path(scratch).glob("axe-core-*.tgz"))
        if done.returncode or not packed:
            message = f"npm could not fetch axe-core: {done.stderr[-300:]}"
            if os.environ.get("REQUIRE_BROWSER") == "1":
                pytest.fail(message)
            pytest.skip(message)
        shutil.unpack_archive(packed[0], scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(scratch) / "package" / "axe.min.js", target)


def violations(page: Page) -> list[dict[str, Any]]:
    """Serious and critical findings on the page as it stands: rule, help and where."""
    page.evaluate(script())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        {
            "rule": v["id"],
            "help": v["help"],
            "where": [
                f"{n['target']} {n['html'][:160]} {(n.get('failureSummary') or '')[:260]}"
                for n in v["nodes"][:4]
            ],
            "count": len(v["nodes"]),
        }
        for v in found
        if v["impact"] in SERIOUS
    ]
