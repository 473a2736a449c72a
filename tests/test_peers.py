"""The peers of the benchmark answer the problem that they are asked."""

from __future__ import annotations

import numpy as np
import pytest

from clado_core import AllocationProblem
from tests.benchmarks.peers import PEERS, Peer
from tests.core.instances import all_assignments, average, random_matrix


@pytest.mark.parametrize("kind", ["indefinite", "psd"])
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_agrees_with_enumeration(peer: Peer, kind: str) -> None:
    """A tight budget and a loose one, on matrices of which one is scaled."""
    if not peer.is_installed:
        pytest.skip(f"{peer.package} is not installed")
    rng = np.random.default_rng(3)
    for avg_bits, factor in ((3.0, 1.0), (5.0, 1e-6)):
        matrix = random_matrix(rng, n_layers=6, bits=(2, 4, 8), kind=kind)
        problem = average(matrix.with_G(factor * matrix.G), avg_bits)
        optimum, _ = all_assignments(problem)[0]
        found = peer.solve(problem, 60.0)
        assert found.is_proven and found.assignment is not None
        assert problem.is_feasible(found.assignment)
        assert problem.matrix.objective(found.assignment.bits) == pytest.approx(optimum, rel=1e-6)
        assert found.objective == pytest.approx(optimum, rel=1e-4)
        if found.bound is not None:
            assert found.bound <= optimum + 1e-5 * abs(optimum)


def test_peers_refuse_what_their_formulations_leave_out() -> None:
    matrix = random_matrix(np.random.default_rng(3), n_layers=3, bits=(2, 4))
    with pytest.raises(ValueError, match="no other wishes"):
        PEERS[0].solve(AllocationProblem(matrix, 10**6, pins={"l0": 4}), 1.0)
