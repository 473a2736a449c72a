"""Measuring with what is shipped: candidates, and the statistics and biases that go with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import clado_core as cc
from clado_core.data.sources import DataSource, Samples
from clado_core.errors import InputError
from clado_core.evaluation.evaluator import Evaluator
from clado_core.networks.load import state_digest
from clado_core.quantization.candidate import Candidate, CandidateTable
from clado_core.quantization.network_state import using_state
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.layers import LayerTable
from clado_core.records.scheme import QuantizationScheme
from clado_core.repairs.database import candidates_of
from clado_core.repairs.repaired import Repaired
from clado_core.sensitivity import MeasurementSettings, layers_of, measure

MENU = (2, 8)
FEW = 4
"""Layers that are searched: first, depthwise or attention, and such."""


class Network:
    """A network of this project with candidates of its first layers."""

    def __init__(self, name: str) -> None:
        source: DataSource = cc.load_data("digits")
        self.samples: Samples = source.sensitivity_set(48, seed=0)
        self.model: nn.Module = cc.load_model(name).module.eval()
        whole = layers_of(self.model, self.samples)
        self.layers = LayerTable(whole.layers[:FEW])
        self.table: CandidateTable = candidates_of(
            *(self.model, self.layers, QuantizationScheme(), MENU),
            source.sensitivity_set(128, seed=1),
            rounding="gptq",
        )

    def matrix(self, **settings: object) -> cc.SensitivityMatrix:
        how = MeasurementSettings(MENU, batch_size=16, loss="kl", **settings)  # type: ignore[arg-type]
        return measure(self.model, self.layers, self.samples, settings=how, candidates=self.table)

    def loss(self, bits: dict[int, int]) -> float:
        """Of the network with these candidates written into it, by running all of it."""
        chosen = [(self.layers.names[i], b) for i, b in bits.items()]
        state = {k: v for pair in chosen for k, v in self.table.of(*pair).state.items()}
        float_outputs = self._outputs()
        kept = {k: v.clone() for k, v in self.model.state_dict().items()}
        own = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        with (
            torch.no_grad(),
            using_state(self.model, state),
            WeightSwap(
                self.model,
                self.layers,
                QuantizationScheme(),
                candidates=replace(self.table, made=_without_state(self.table)),
            ) as swap,
        ):
            swap.apply(bits)
            outputs = self._outputs()
        assert all(torch.equal(own[k], v) for k, v in kept.items() if k in own)
        log_p, log_q = (z.double().log_softmax(1) for z in (float_outputs, outputs))
        return float((log_p.exp() * (log_p - log_q)).sum() / len(outputs))

    @torch.no_grad()
    def _outputs(self) -> torch.Tensor:
        outputs: torch.Tensor = self.model(self.samples.x)
        return outputs


def _without_state(table: CandidateTable) -> dict[tuple[str, int], Candidate]:
    return {key: made._replace(state={}) for key, made in table.made.items()}


@pytest.fixture(scope="module", params=["digits-resnet", "digits-vit"])
def network(request: pytest.FixtureRequest) -> Network:
    return Network(request.param)


def test_prefix_reuse_gives_the_numbers_of_whole_forwards(network: Network) -> None:
    before = state_digest(network.model)
    reused, whole = network.matrix(), network.matrix(reuse=False)
    assert np.array_equal(reused.G, whole.G) and reused.base_loss == whole.base_loss
    assert state_digest(network.model) == before
    assert reused.provenance.details.get("not_traced") is None


def test_entries_are_losses_of_candidates_with_their_statistics(network: Network) -> None:
    G = network.matrix().G
    alone = [network.loss({0: 2}), network.loss({2: 2})]
    together = network.loss({0: 2, 2: 2})
    a, b = 0, 2 * len(MENU)
    assert G[a, a] == pytest.approx(2 * alone[0], rel=1e-3, abs=1e-7)
    assert G[b, b] == pytest.approx(2 * alone[1], rel=1e-3, abs=1e-7)
    assert G[a, b] == pytest.approx(together - sum(alone), rel=1e-2, abs=1e-6)


def test_states_matter(network: Network) -> None:
    bare = replace(network.table, made=_without_state(network.table))
    how = MeasurementSettings(MENU, batch_size=16, loss="kl")
    other = measure(network.model, network.layers, network.samples, settings=how, candidates=bare)
    assert not np.array_equal(other.G, network.matrix().G)


def test_bit_widths_of_a_layer_as_one_batch_keep_their_own_statistics(network: Network) -> None:
    alone, grouped = network.matrix(), network.matrix(group_bits=True)
    np.testing.assert_allclose(grouped.G, alone.G, atol=1e-5)


def test_the_highest_bit_width_everywhere_is_the_float_network(network: Network) -> None:
    matrix = network.matrix()
    most = matrix.predicted_loss_increase((8,) * FEW)
    assert abs(most) < 0.02 * abs(matrix.predicted_loss_increase((2,) * FEW))
    assert network.loss(dict.fromkeys(range(FEW), 8)) < 1e-3


def test_what_is_refined_is_what_was_measured(network: Network) -> None:
    matrix = network.matrix()
    evaluator = Evaluator(
        network.model, matrix, network.samples, candidates=network.table, batch_size=16
    )
    rounded = Evaluator(network.model, matrix, network.samples, batch_size=16)
    bits = (2,) * FEW
    found = evaluator.outcomes(bits)
    weights = {name: network.table.of(name, 2).weight for name in network.layers.names}
    states = [network.table.of(name, 2).state for name in network.layers.names]
    together = {name: value for state in states for name, value in state.items()}
    shipped = Repaired(cc.AllocationProblem(matrix).assignment(bits), weights, together)
    assert found.loss == evaluator.repaired_outcomes(shipped).loss
    assert found.loss != rounded.outcomes(bits).loss


def test_derivatives_are_refused(network: Network) -> None:
    for settings in ({"estimator": "hvp"}, {"baselines": ("mpqco",)}):
        with pytest.raises(InputError, match="measure it with rounding to nearest"):
            network.matrix(**settings)


def test_candidates_of_another_menu_are_refused(network: Network) -> None:
    how = MeasurementSettings((2, 4), batch_size=16)
    with pytest.raises(InputError, match=r"no candidate of .* at 4 bits"):
        measure(
            network.model, network.layers, network.samples, settings=how, candidates=network.table
        )
