"""The command line called within the test's own process."""

from __future__ import annotations

import json

import pytest

from clado_core.cli import main


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict, str]:
    """Exit code, JSON from standard output (empty if none), and standard error."""
    capsys.readouterr()
    try:
        code = main([*words, "--json"])
    except SystemExit as stop:
        code = int(stop.code)
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err
