"""Collect what another library warns of, and keep what it prints from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")
"""Those of the exporters, which tell what they did to a network; others tell of themselves."""
MOST = 5
"""Warnings that are passed on; the rest are counted."""
LONGEST = 300
"""Characters of a warning."""


class _Collector(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """A list that holds the exporters' warnings, each once, when this ends.

    Deprecations are left out: they are about how an exporter is called, not about the network.
    PyTorch prints whole graphs when it meets what it cannot write; they go nowhere.
    """
    heard: list[str] = []
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught, _quiet(), _logged_to(texts):
        warnings.simplefilter("always")
        yield heard
    texts += [
        str(warning.message)
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning | FutureWarning)
    ]
    heard += _summary(list(dict.fromkeys(map(_first_sentence, texts))))


def _summary(texts: list[str]) -> list[str]:
    told = [f"PyTorch's exporter warns: {text}." for text in texts[:MOST]]
    left = len(texts) - MOST
    return [*told, f"It warns of {left} more."] if left > 0 else told


def _first_sentence(text: str) -> str:
    lines = text.strip().splitlines()
    return (lines[0] if lines else "nothing").partition(". ")[0].rstrip(".")[:LONGEST]


@contextlib.contextmanager
def _logged_to(texts: list[str]) -> Iterator[None]:
    handler = _Collector(texts)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    passed_on = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, before in zip(loggers, passed_on, strict=True):
            logger.removeHandler(handler)
            logger.propagate = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing reaches the terminal, from Python or from C++, which writes past Python."""
    with open(os.devnull, "w") as nowhere:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(1), os.dup(2)]
        try:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                yield
        finally:
            for descriptor, copied in zip((1, 2), kept, strict=True):
                os.dup2(copied, descriptor)
                os.close(copied)
