"""Rules about layers: as values, in links, on the page, with their price."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

import clado_core as cc
from clado_core.solvers.enumerate import EnumerationSolver
from dashboard.cards import rules as card
from dashboard.known import caches, catalogue, services
from dashboard.rules import NO_RULES, Rules, first_and_last, from_query
from dashboard.scale import Metric
from dashboard.state import by_network, prices, view_state
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.waiting import wait_for

FIRST, SECOND, LAST = "block0.conv0", "block0.conv1", "block2.conv5"


def rules_of(app: AppTest) -> Rules:
    return next(iter(app.session_state[by_network.RULES].values()))


def with_rules_open(app: AppTest) -> AppTest:
    """The test driver forgets which popovers are open after every run."""
    app.session_state[card.OPEN] = True
    return app.run()


def test_rules_are_values() -> None:
    rules = NO_RULES.with_lock("b", 4).with_lock("a", 8).with_lock("b", None)
    assert rules == Rules(locks=(("a", 8),))
    tied = rules.with_tie(("a", "b")).with_tie(("b", "c"))
    assert tied.ties == (("a", "b", "c"),)
    assert tied.count == 2
    assert [others.count for _, others in tied.each()] == [1, 1]
    assert tied.without_tie(("a", "b", "c")) == rules


def test_rules_know_which_others_they_keep() -> None:
    lock = NO_RULES.with_lock("a", 4)
    both = lock.with_least("b", 4).with_tie(("c", "d", "e"))
    assert both.keeps(lock) and both.keeps(NO_RULES) and both.keeps(both)
    assert both.keeps(Rules(ties=(("c", "e"),)))
    assert not lock.keeps(both) and not lock.keeps(NO_RULES.with_lock("a", 8))
    assert not both.keeps(Rules(ties=(("a", "c"),)))


def test_a_link_says_the_same_again() -> None:
    matrix = make_matrix(6)
    rules = first_and_last(matrix, NO_RULES.with_tie((SECOND, "block1.conv2"))).with_least(
        "block1.conv3", 4
    )
    assert rules.to_query()["locks"] == f"{FIRST}:8,{LAST}:8"
    assert from_query(matrix, rules.to_query()) == (rules, [])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"locks": "nope:8"}, "There is no layer named 'nope'"),
        ({"locks": f"{FIRST}:5"}, "leaves no bit-width"),
        ({"locks": "what"}, "not of the form layer:bits"),
        ({"ties": FIRST}, "two layers or more"),
        ({"locks": f"{FIRST}:2", "least": f"{FIRST}:4"}, "leaves no bit-width"),
    ],
)
def test_a_wrong_rule_in_a_link_is_left_out_with_a_sentence(
    query: dict[str, str], sentence: str
) -> None:
    _, problems = from_query(make_matrix(6), query)
    assert len(problems) == 1
    assert sentence in problems[0]


def test_a_link_with_rules_opens_under_them(open_page: OpenPage) -> None:
    app = open_page(avg_bits="4", locks=f"{FIRST}:8", ties=f"{SECOND}+block1.conv2", pins="4.5")
    assert not app.exception
    assert rules_of(app) == Rules(((FIRST, 8),), ((SECOND, "block1.conv2"),))
    assert not {"locks", "ties"} & set(app.query_params)
    app.toggle(key="bits_table").set_value(True).run()
    table = app.dataframe[0].value.set_index("Layer")
    assert table.loc[FIRST, "Bits"] == 8 and table.loc[FIRST, "Locked"]
    assert table.loc[SECOND, "Bits"] == table.loc["block1.conv2", "Bits"]
    assert f"{FIRST}: locked at 8 bits" in texts(app)


def test_a_wrong_rule_is_told_on_the_page(open_page: OpenPage) -> None:
    app = open_page(locks="nope:8")
    assert "is left out: There is no layer named 'nope'" in texts(app)


def test_every_rule_has_its_price_and_can_be_dropped(open_page: OpenPage) -> None:
    app = open_page(avg_bits="3", locks=f"{FIRST}:8,{SECOND}:2")
    with_rules_open(app)
    assert not app.exception
    assert f"{FIRST} at 8 bits · **+" in texts(app)
    app.button(key="rule-drop-0").click().run()
    assert rules_of(app).locks == ((SECOND, 2),)
    with_rules_open(app).button(key="rules-preset").click().run()
    assert rules_of(app).locks == ((FIRST, 8), (SECOND, 2), (LAST, 8))
    with_rules_open(app).button(key="rules-free").click().run()
    assert rules_of(app) == NO_RULES


def test_ties_and_minimums_from_the_page(open_page: OpenPage) -> None:
    app = open_page(avg_bits="4")
    with_rules_open(app)
    app.multiselect(key=card.TIE).set_value([LAST, FIRST]).run()
    with_rules_open(app).button(key="rules-tie").click().run()
    assert rules_of(app).ties == ((FIRST, LAST),)
    with_rules_open(app).multiselect(key=card.LEAST).set_value([SECOND]).run()
    with_rules_open(app).button(key="rules-least").click().run()
    assert rules_of(app).least == ((SECOND, 4),)
    assert not app.exception


def test_contradicting_rules_are_refused(open_page: OpenPage) -> None:
    app = open_page(avg_bits="4", locks=f"{FIRST}:2,{LAST}:8")
    with_rules_open(app)
    app.multiselect(key=card.TIE).set_value([FIRST, LAST]).run()
    with_rules_open(app).button(key="rules-tie").click().run()
    assert rules_of(app).ties == ()
    assert "contradict" in texts(app) and "stay as they were" in texts(app)


def test_a_lock_that_needs_more_moves_the_budget_and_says_so(open_page: OpenPage) -> None:
    app = open_page(avg_bits="2")
    with_rules_open(app)
    app.button(key="rules-preset").click().run()
    low, _ = view_state_range(app)
    assert app.session_state[view_state.AVG_BITS] == low
    assert f"the budget went from 2 to the least, {low:g}" in texts(app)


def view_state_range(app: AppTest) -> tuple[float, float]:
    artifact = catalogue.find().artifacts["alpha"]
    matrix, known = caches.matrix(artifact), caches.answers(artifact, rules_of(app))
    total = matrix.layers.total_weights
    return tuple(view_state.round_up(b / total) for b in (known.least_bits, known.most_bits))


def state_of(artifact: catalogue.Artifact, rules: Rules, avg_bits: float) -> view_state.ViewState:
    return view_state.ViewState(
        artifact=artifact,
        matrix=caches.matrix(artifact),
        metric=Metric.AVG_BITS,
        exact=True,
        avg_bits=avg_bits,
        rules=rules,
        answers=caches.answers(artifact, rules),
        pins=(),
        mode="light",
    )


def test_prices_are_what_a_lock_adds() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    state = state_of(artifact, NO_RULES, 4.0)
    best = state.answers.quick(state.budget_bits, thorough=True)
    found = prices.lock_prices(state, best, FIRST)
    assert set(found) == set(state.matrix.bit_widths)
    now = best.assignment.by_layer()[FIRST]
    assert found[now].loss == pytest.approx(0, abs=1e-9)
    assert not found[now].proven
    tight = prices.lock_prices(state_of(artifact, NO_RULES, 2.0), best, FIRST)
    assert tight[8].loss is None


def test_prices_are_proven_by_the_solver_process() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    state = state_of(artifact, NO_RULES, 4.0)
    solver = EnumerationSolver()
    best = solver.solve(NO_RULES.problem(state.matrix, state.budget_bits))
    wanted = [NO_RULES.with_lock(FIRST, b) for b in state.matrix.bit_widths]
    try:
        assert prices.prove(state, best, wanted, "me")
        wait_for(lambda: not prices.are_coming("me"))
        assert not prices.prove(state, best, wanted, "me")
    finally:
        services.solve_service().close()
    for b, price in prices.lock_prices(state, best, FIRST).items():
        locked = NO_RULES.with_lock(FIRST, b).problem(state.matrix, state.budget_bits)
        exact = solver.solve(locked).predicted_loss_increase - best.predicted_loss_increase
        assert price.proven
        assert price.loss == pytest.approx(exact, abs=1e-9)
    assert prices.rule_price(state, best, NO_RULES.with_lock(FIRST, 2)).proven


def test_unproven_choices_have_no_proven_price() -> None:
    artifact = catalogue.find().artifacts["alpha"]
    state = state_of(artifact, NO_RULES, 4.0)
    guess = state.answers.quick(state.budget_bits, thorough=True)
    assert guess.status is not cc.SolveStatus.OPTIMAL
    assert not prices.prove(state, guess, [NO_RULES], "me")
