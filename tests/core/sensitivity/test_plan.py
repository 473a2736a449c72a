"""Plans of losses to measure, written out."""

from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.sensitivity.plan import block_plan, forward_count, pairwise_plan, single_plan


def test_pairs_are_of_different_layers_in_the_order_of_their_candidates():
    singles = ((), (0,), (1,), (2,), (3,))
    assert single_plan(2, 2) == singles
    assert pairwise_plan(2, 2) == (*singles, (0, 2), (0, 3), (1, 2), (1, 3))
    assert pairwise_plan(3, 1) == ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
    assert forward_count(2, 2) == 9 and forward_count(3, 1) == 7


def test_pairs_inside_blocks_leave_out_layers_that_are_in_none():
    blocks = ("a", "b", "a", "", "")
    layers = LayerTable(
        tuple(LayerInfo(f"l{i}", "linear", (4,), block=b) for i, b in enumerate(blocks))
    )
    assert block_plan(layers, 2) == (
        *single_plan(5, 2),
        *((0, 4), (0, 5), (1, 4), (1, 5)),
    )
