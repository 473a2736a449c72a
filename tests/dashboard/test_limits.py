"""A server runs for months: whatever it or a session keeps has a limit."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from dashboard.known import answers, caches, catalogue
from dashboard.known.found import OTHERS
from dashboard.rules import NO_RULES
from dashboard.state import prices
from dashboard.workers.refine import refined_choice
from tests.conftest import ROOT, make_matrix

MODULES = sorted((ROOT / "dashboard").rglob("*.py"))
STREAMLIT = {"cache_data", "cache_resource"}


def cached(path: Path) -> Iterator[tuple[str, bool]]:
    """(function, whether its cache is bounded) of every cached function with arguments."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        if not (node.args.posonlyargs or node.args.args or node.args.kwonlyargs):
            continue
        for each in node.decorator_list:
            call = each.func if isinstance(each, ast.Call) else each
            name = call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")
            given = {key.arg for key in each.keywords} if isinstance(each, ast.Call) else set()
            if name in STREAMLIT:
                yield node.name, "max_entries" in given
            if name in {"cache", "lru_cache"}:
                yield node.name, "maxsize" in given


def test_every_cache_has_a_limit() -> None:
    found = [(path.name, *each) for path in MODULES for each in cached(path)]
    assert len(found) > 10
    assert [each for each in found if not each[-1]] == []


def test_a_cache_without_a_limit_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("@st.cache_data(show_spinner=False)\ndef f(x): ...\n@cache\ndef g(x): ...\n")
    assert list(cached(file)) == [("f", False), ("g", False)]


def test_a_module_keeps_no_dictionary_that_grows() -> None:
    """At the top of a module stand tables, all of whose entries are written there."""
    empty = [
        f"{path.name}:{node.lineno}"
        for path in MODULES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Dict | ast.List | ast.Set)
        and not (node.value.keys if isinstance(node.value, ast.Dict) else node.value.elts)
    ]
    assert empty == []


def test_answers_of_a_network_stop_growing() -> None:
    matrix = make_matrix(8)
    known, sizes = answers.Answers(matrix, NO_RULES), set()
    for bits in itertools.islice(itertools.product((2, 4, 8), repeat=8), 0, None, 7):
        solution = refined_choice(matrix, bits)
        sizes.add(solution.assignment.size_bits)
        known.add(known.most_bits, solution)
    assert len(known.known()) <= len(known.grid) + OTHERS < len(sizes)


def test_prices_of_all_sessions_have_a_limit() -> None:
    solution = refined_choice(make_matrix(2), (2, 2))
    for k in range(prices.PRICES + 5):
        key = "digest", NO_RULES, k
        prices._asked()[key] = 1
        prices._solved()[key] = solution
    assert len(prices._asked()) == len(prices._solved()) == prices.PRICES


def test_answered_networks_are_forgotten_with_their_answers(
    own_artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that they are there must not say so longer than they are."""
    monkeypatch.setattr(answers, "FRONT_POINTS", 1)  # many networks, little work for each
    matrix = make_matrix(4, (2, 4))
    cc.save_matrix(matrix, own_artifacts / "small.clado")
    artifact = catalogue.find().artifacts["small"]
    first = caches.answers(artifact)
    assert caches.is_answered(artifact)
    locked = itertools.product((None, 2, 4), repeat=4)
    for bits in itertools.islice(locked, 1, caches.RULED_NETWORKS + 1):
        rules = NO_RULES
        for name, b in zip(matrix.layers.names, bits, strict=True):
            rules = rules.with_lock(name, b)
        caches.answers(artifact, rules)
    assert not caches.is_answered(artifact)
    assert caches.answers(artifact) is not first


def test_a_session_keeps_the_last_networks_only() -> None:
    def page() -> None:
        import streamlit as st

        from dashboard.rules import NO_RULES
        from dashboard.state import by_network

        for k in range(by_network.NETWORKS + 3):
            by_network.rules()[f"digest {k}"] = NO_RULES
            by_network.pins()[f"digest {k}"] = ()
        st.write(f"{len(by_network.rules())} {len(by_network.pins())}")

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.markdown[0].value == "32 32"
