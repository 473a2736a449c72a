"""The HTML report: self-contained, complete, and safe against odd names."""

from __future__ import annotations

import dataclasses
import re

import pytest

import clado_core as cc
from clado_core.records.float_parts import FloatPart
from dashboard.figures.pareto import background
from dashboard.figures.report import ReportInfo, report_html
from dashboard.known.answers import Answers
from dashboard.rules import NO_RULES
from dashboard.scale import Metric, size_scale
from tests.conftest import make_matrix


def report(matrix: cc.SensitivityMatrix) -> str:
    answers = Answers(matrix, NO_RULES)
    answers.sweep()
    answer = answers.quick(4 * matrix.layers.total_weights, thorough=True)
    known = background(answers.front(), size_scale(matrix, Metric.MEGABYTES))
    return report_html(ReportInfo(matrix, answer, known, "d" * 64, "Proven optimal.", "")).decode()


@pytest.mark.parametrize("n_layers", [1, 5])
def test_it_tells_everything(n_layers: int) -> None:
    matrix = make_matrix(n_layers)
    text = report(matrix)
    for name in matrix.layers.names:
        assert f"<td>{name}</td>" in text
    assert "Predicted loss increase" in text and "Proven optimal." in text
    assert "d" * 64 in text
    assert text.count("draw('chart") == (3 if n_layers > 1 else 2)


def test_it_loads_nothing() -> None:
    text = report(make_matrix(4))
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    assert text.count("</script>") == 2


def test_names_are_escaped() -> None:
    matrix = dataclasses.replace(make_matrix(3), name="<b>&</script>")
    text = report(matrix)
    assert "<b>&</script>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_what_stays_float_is_listed_with_its_share_of_the_file() -> None:
    matrix = make_matrix(3)
    assert "what it is was not recorded by the version that measured." in report(matrix)
    parts = (FloatPart("up", "LSTM", 64, "layers of this kind are not searched", is_weight=True),)
    layers = dataclasses.replace(matrix.layers, float_parts=parts)
    text = report(dataclasses.replace(matrix, layers=layers))
    assert "<td>up</td><td>LSTM</td><td>layers of this kind are not searched</td>" in text
    assert '<td class="n">64</td><td class="n">' in text
