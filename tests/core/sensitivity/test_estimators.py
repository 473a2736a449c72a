"""The cheaper estimators and the baselines, against what defines them."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from clado_core.data.sources import Samples, load_data
from clado_core.errors import InputError
from clado_core.networks.discovery import find_layers
from clado_core.networks.load import load_model, state_digest
from clado_core.quantization.weights import fake_quantize
from clado_core.records.scheme import QuantizationScheme
from clado_core.sensitivity import MeasurementSettings, forecast, measure
from clado_core.sensitivity.calibrate import calibrate, pairs_to_fit
from clado_core.sensitivity.derivatives import PROBES
from clado_core.sensitivity.logit_gram import output_gram
from tests.core.small_networks import convolutional, quadratic, squared_error

ESTIMATORS = ("pairwise", "adaptive", "calibrated", "logit-gram", "block", "hvp")


@pytest.fixture(scope="module")
def digits():
    """A trained network with residuals, its layers, and 64 samples."""
    model = load_model("digits-resnet").module
    samples = load_data("digits").sensitivity_set(64, seed=0)
    return model, find_layers(model, samples.x[:1]), samples


@pytest.fixture(scope="module")
def measured(digits):
    """Estimator → matrix on the same samples."""
    return {
        name: measure(
            *digits,
            settings=MeasurementSettings(
                (2, 4, 8),
                batch_size=32,
                estimator=name,
                baselines=("mpqco",) if name == "hvp" else (),
            ),
        )
        for name in ESTIMATORS
    }


def test_output_gram_by_hand():
    """One sample, two classes at probability ½: δz' (diag p − pp') δz = ¼(δz₁ − δz₂)²."""
    outputs = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]).double()
    G = output_gram(outputs, torch.zeros(1, 2).double())
    assert pytest.approx(np.array([[0.25, -0.5], [-0.5, 1.0]])) == G


def test_logit_gram_is_psd_with_its_same_layer_entries(measured):
    G = measured["logit-gram"].G
    same = measured["logit-gram"].same_layer() & ~np.eye(len(G), dtype=bool)
    assert np.linalg.eigvalsh(G).min() >= -1e-12 * np.abs(G).max() and (G[same] != 0).any()


def test_second_order_model_of_a_quadratic_loss_is_exact():
    model, layers, samples = quadratic()
    how = {"bit_widths": (2, 4), "batch_size": 10, "loss": "squared"}
    pair, hvp = (
        measure(
            model,
            layers,
            samples,
            settings=MeasurementSettings(estimator=name, **how),
            loss_function=squared_error,
        ).G
        for name in ("pairwise", "hvp")
    )
    assert np.abs(pair - hvp).max() < 1e-10


def test_block_keeps_pairs_inside_blocks_alone(measured):
    assert np.array_equal(measured["block"].G, measured["pairwise"].within_blocks().G)


@pytest.mark.parametrize("name", ["calibrated", "adaptive", "block"])
def test_measured_singles_are_kept(measured, name):
    assert np.array_equal(measured[name].G.diagonal(), measured["pairwise"].G.diagonal())


def test_calibration_recovers_factors():
    rng = np.random.default_rng(0)
    n_bits, n = 2, 10
    gram = rng.normal(size=(n, n))
    gram += gram.T
    bit = np.arange(n) % n_bits
    factor = 1.0 + np.add.outer(bit, bit)
    measured = gram * factor
    found = calibrate(gram, measured, pairs_to_fit(gram, n_bits), n_bits)
    layer = np.arange(n) // n_bits
    between = np.not_equal.outer(layer, layer)
    assert np.allclose(found.G[between], measured[between])
    assert np.allclose(found.G.diagonal(), measured.diagonal())
    assert (found.G[~between & ~np.eye(n, dtype=bool)] == 0).all()
    assert found.uncertainty.max() < 1e-10


def test_adaptive_measures_some_pairs_and_says_how_many(measured):
    details = measured["adaptive"].provenance.details
    assert 0 < details["share_of_pairs"] <= 0.25
    assert details["pairs_measured"] == round(details["share_of_pairs"] * 9 * 13 * 12 / 2)
    same = np.isclose(measured["adaptive"].G, measured["pairwise"].G, rtol=0, atol=1e-15)
    between = ~measured["adaptive"].same_layer()
    assert (same & between).sum() / 2 >= details["pairs_measured"]


def test_estimators_rank_assignments_as_pairwise_does(measured):
    rng = np.random.default_rng(1)
    chosen = rng.choice([4, 8], size=(40, 13))
    values = {k: [m.objective(tuple(c.tolist())) for c in chosen] for k, m in measured.items()}
    for name, least in (("adaptive", 0.9), ("calibrated", 0.9), ("logit-gram", 0.6)):
        assert np.corrcoef(values["pairwise"], values[name])[0, 1] > least, name


def test_mpqco_is_half_the_fisher_form(digits, measured):
    """Against gradients of single samples, one after another."""
    model, layers, samples = digits
    i, bits = 12, 4
    weight = model.get_parameter(layers.layers[i].parameter)
    step = fake_quantize(weight, bits, QuantizationScheme()) - weight
    total = 0.0
    weight.requires_grad_(True)
    for x, y in zip(samples.x, samples.y, strict=True):
        log_p = model(x[None]).log_softmax(1)[0, y]
        (gradient,) = torch.autograd.grad(log_p, weight)
        total += float((gradient * step).sum()) ** 2
    weight.requires_grad_(False)
    mpqco = measured["hvp"].diagonals["mpqco"]
    assert mpqco[i, 1] == pytest.approx(total / (2 * len(samples)), rel=1e-3)
    assert mpqco.shape == (13, 3) and (mpqco >= 0).all()


def squared_steps(model, layers, how):
    """‖Q(w) − w‖² of every layer and bit-width."""
    weights = [model.get_parameter(layer.parameter).detach() for layer in layers.layers]
    menu = how.bit_widths
    return np.array(
        [
            [float((fake_quantize(w, b, how.scheme) - w).square().sum()) for b in menu]
            for w in weights
        ]
    )


def test_hawq_is_exact_where_the_hessian_is_diagonal():
    """Σ ½‖W x‖² has Hessian I ⊗ mean(x x'); random signs give its trace if features are orthogonal.

    So trace/numel is mean(x²), up to the samples' single precision.
    """
    model, layers, samples = quadratic()
    features = torch.linalg.qr(samples.x.double().flatten(1))[0] * torch.arange(1.0, 25.0)
    samples = Samples(features.reshape(samples.x.shape).float(), samples.y, "orthogonal")
    how = MeasurementSettings((2, 4), loss="squared", baselines=("hawq",), estimator="hvp")
    found = measure(model, layers, samples, settings=how, loss_function=squared_error)
    trace = samples.x.double()[:, 0].square().mean((0, 2)).numpy()
    expected = trace[:, None] * squared_steps(model, layers, how)
    assert found.diagonals["hawq"] == pytest.approx(expected, rel=1e-5)
    assert trace.max() > 5 * trace.min(), "layers must not be alike"


def test_hawq_is_within_the_spread_of_its_probes():
    """Against the whole Hessian of a cross-entropy, differentiated entry by entry.

    A probe's v_i'(Hv)_i has variance 2 Σ_{j≠k in i} H_jk² + Σ_{j in i, k elsewhere} H_jk².
    """
    model, layers, samples = quadratic()
    how = MeasurementSettings((2, 4), batch_size=7, baselines=("hawq",), estimator="hvp")
    found = measure(model, layers, samples, settings=how)
    names = [layer.parameter for layer in layers.layers]
    weights = [model.get_parameter(name).detach() for name in names]
    numel = [weight.numel() for weight in weights]

    def loss(flat):
        parts = [p.view_as(w) for p, w in zip(flat.split(numel), weights, strict=True)]
        named = dict(zip(names, parts, strict=True))
        logits = functional_call(model, named, samples.x.double())
        return torch.nn.functional.cross_entropy(logits, samples.y)

    flat = torch.cat([weight.flatten() for weight in weights])
    H = torch.autograd.functional.hessian(loss, flat).numpy()
    own = np.equal.outer(*[np.repeat(np.arange(len(numel)), numel)] * 2)
    variance = (H**2 * np.where(own, 2.0, 1.0) * ~np.eye(len(H), dtype=bool)).sum(axis=1)
    first = np.cumsum([0, *numel[:-1]])
    trace = np.add.reduceat(H.diagonal(), first)
    error = np.sqrt(np.add.reduceat(variance, first) / PROBES)
    expected = trace / numel
    assert (error < 0.1 * trace).all(), "the probes must say something"
    mean = found.diagonals["hawq"] / squared_steps(model, layers, how)
    assert (abs(mean - expected[:, None]) < 3 * (error / numel)[:, None]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_killed_estimators_resume_to_the_same_bits(name, tmp_path):
    model, layers, samples = convolutional()
    before = state_digest(model)
    how = MeasurementSettings((2, 4), batch_size=7, estimator=name, baselines=("mpqco",))
    whole = measure(model, layers, samples, settings=how, journal=tmp_path / "whole")
    size = (tmp_path / "whole").stat().st_size
    for cut in np.random.default_rng(0).integers(0, size, 8):
        path = tmp_path / f"cut{cut}"
        path.write_bytes((tmp_path / "whole").read_bytes()[:cut])
        again = measure(model, layers, samples, settings=how, journal=path)
        assert again.G.tobytes() == whole.G.tobytes()
        assert again.diagonals["mpqco"].tobytes() == whole.diagonals["mpqco"].tobytes()
    assert state_digest(model) == before
    assert not any(p.requires_grad is False for p in model.parameters())


@pytest.mark.parametrize("name", ["pairwise", "logit-gram", "block"])
def test_forecast_counts_what_is_measured(digits, measured, name):
    settings = MeasurementSettings((2, 4, 8), batch_size=32, estimator=name)
    cost = forecast(*digits, settings)
    assert cost.forwards == measured[name].provenance.details["losses"]
    assert 0 < cost.macs <= cost.naive_macs and cost.memory_bytes > 0 and cost.seconds > 0


def test_parts_average_to_the_whole_and_give_standard_errors(measured):
    for name, matrix in measured.items():
        mean = np.tensordot(matrix.part_weights, matrix.part_G, 1)
        assert np.allclose(mean, matrix.G, atol=1e-6 * abs(matrix.G).max()), name
        error = matrix.standard_error()
        assert error.shape == matrix.G.shape and (error >= 0).all() and error.max() > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"estimator": "guess"}, "Unknown estimator 'guess'"), ({"baselines": ("x",)}, "baseline")],
)
def test_unknown_names_are_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        MeasurementSettings(**change)
