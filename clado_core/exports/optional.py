"""Libraries that only some targets need: imported when used, named when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from clado_core.errors import InputError


def require(module: str, package: str, purpose: str, /) -> ModuleType:
    """Import an optional library.

    Args:
        module: As imported.
        package: As installed.
        purpose: What needs it, for the sentence.

    Raises:
        InputError: It is not installed; the sentence has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            f"{purpose} needs {package}, which is not installed: python -m pip install {package}"
        ) from None
