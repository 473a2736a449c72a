"""Training: what it reaches, that it repeats, and that a stopped one continues."""

import dataclasses

import pytest
import torch

from clado_core.errors import InputError
from clado_core.networks.builtin import BUILTIN_NETWORKS
from clado_core.networks.load import load_model, state_digest
from clado_core.training import Recipe, recipe_for, save_weights, train
from clado_core.training.precision import bfloat16_steps
from clado_core.training.recipes import augment, learning_rate_schedule

RESNET = BUILTIN_NETWORKS["digits-resnet"]
SHORT = Recipe(epochs=3, batch_size=128, optimizer="sgd", learning_rate=0.05)


class Stop(Exception):
    """Stands for the user's interrupt."""


def stop_after(epochs):
    def on_epoch(done, total):
        if done == epochs:
            raise Stop

    return on_epoch


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_stopped_training_continues_to_the_same_weights(tmp_path, optimizer):
    recipe = dataclasses.replace(SHORT, optimizer=optimizer, augmentation="crop-flip")
    whole, result = train(RESNET, seed=1, recipe=recipe)
    state = tmp_path / "net.partial"
    for epochs in (1, 2):
        with pytest.raises(Stop):
            train(RESNET, seed=1, recipe=recipe, state=state, on_epoch=stop_after(epochs))
    seen = []
    again, same = train(
        RESNET, seed=1, recipe=recipe, state=state, on_epoch=lambda done, total: seen.append(done)
    )
    assert seen == [2, 3] and result == same and result.schedule == ((3, 3),)
    assert state_digest(again) == state_digest(whole)


def test_a_stopped_training_can_be_planned_anew(tmp_path):
    state = tmp_path / "net.partial"
    with pytest.raises(Stop):
        train(RESNET, seed=1, recipe=SHORT, state=state, on_epoch=stop_after(1))
    shorter = dataclasses.replace(SHORT, epochs=2)
    _, result = train(RESNET, seed=1, recipe=shorter, state=state)
    assert result.schedule == ((1, 3), (2, 2))
    with pytest.raises(InputError, match="2 epochs are done already"):
        train(RESNET, seed=1, recipe=dataclasses.replace(SHORT, epochs=1), state=state)


def test_finished_weights_can_be_trained_further(tmp_path):
    weights, recipe = tmp_path / "net.safetensors", dataclasses.replace(SHORT, epochs=2)
    model, first = train(RESNET, seed=1, recipe=recipe)
    save_weights(model, RESNET, first, weights)
    seen = []
    _, more = train(
        RESNET, seed=1, recipe=SHORT, finished=weights, on_epoch=lambda *at: seen.append(at)
    )
    assert seen == [(2, 3), (3, 3)] and more.schedule == ((2, 2), (3, 3))
    _, none = train(RESNET, seed=1, recipe=recipe, finished=weights)
    assert none.held_out_accuracy == first.held_out_accuracy, "it starts from those very weights"
    weights.write_bytes(b"no weights")
    with pytest.raises(InputError, match="holds no finished training"):
        train(RESNET, seed=1, recipe=SHORT, finished=weights)


def test_ten_epochs_learn_most_digits():
    recipe = recipe_for(RESNET, epochs=10)
    _, result = train(RESNET, seed=0, recipe=recipe)
    assert result.held_out_accuracy > 0.8 and result.held_out_loss < 1
    assert (result.epochs, result.seed) == (10, 0)


def test_a_state_of_another_training_is_refused(tmp_path):
    state = tmp_path / "net.partial"
    with pytest.raises(Stop):
        train(RESNET, seed=1, recipe=SHORT, state=state, on_epoch=stop_after(1))
    with pytest.raises(InputError, match="other settings"):
        train(RESNET, seed=2, recipe=SHORT, state=state)
    state.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no stopped training"):
        train(RESNET, seed=1, recipe=SHORT, state=state)


def test_weights_are_stored_with_how_they_were_made(tmp_path):
    model, result = train(RESNET, seed=0, recipe=dataclasses.replace(SHORT, epochs=1))
    path = tmp_path / "net.safetensors"
    save_weights(model, RESNET, result, path)
    assert load_model("digits-resnet", str(path)).weights_sha256 == state_digest(model)


def test_crop_and_flip_keeps_pixels_and_mirrors_half():
    x = torch.arange(1.0, 33).expand(64, 1, 32, 32).contiguous()  # rises from left to right
    changed = augment(x, "crop-flip", torch.Generator().manual_seed(0))
    assert changed.shape == x.shape and set(changed.unique().tolist()) <= set(range(33))
    middle = changed[:, 0, 16, 10:22]
    rising = (middle.diff(dim=1) == 1).all(dim=1)
    assert ((middle.diff(dim=1) == -1).all(dim=1) == ~rising).all()
    assert 16 <= int(rising.sum()) <= 48
    offsets = middle[rising][:, 0] - x[0, 0, 16, 10]
    assert offsets.abs().max() <= 4 and len(offsets.unique()) > 3
    assert torch.equal(x[5, 0, 3], torch.arange(1.0, 33)), "the input is not changed"
    only_moved = augment(x, "crop", torch.Generator().manual_seed(0))
    assert (only_moved[:, 0, 16, 10:22].diff(dim=1) == 1).all()
    small = augment(x[..., :8, :8], "crop", torch.Generator().manual_seed(0))
    assert (small[:, 0, 4, 1:7].diff(dim=1) == 1).all(), "an eighth of 8 pixels is one"


def learning_rates(steps, done=0):
    """The rate of each step that is left; its peak is 0.5."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    schedule = learning_rate_schedule(optimizer, steps, done=done)
    rates = []
    for _ in range(done, steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_learning_rate_warms_up_and_ends_at_zero():
    rates = learning_rates(100)
    assert rates[:3] == pytest.approx([0.05, 0.1, 0.15]) and max(rates) == rates[10] == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 1e-3
    assert rates[55] == pytest.approx(0.25), "the middle of the cosine"
    assert learning_rates(5)[0] == 0.5, "too few steps to warm up"


@pytest.mark.parametrize("done", [1, 9, 10, 11, 60, 99])
def test_learning_rates_go_on_where_they_were(done):
    assert learning_rates(100, done) == learning_rates(100)[done:]


@pytest.mark.parametrize("name", ["cifar10-resnet20", "cifar10-mobilenetv2", "cifar10-vit"])
def test_bfloat16_steps_give_nearly_the_same_gradients(name):
    module = load_model(name, "none").module.train().requires_grad_(True)
    x = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    gradients = []
    for enabled in (False, True):
        module.zero_grad()
        with bfloat16_steps(enabled):
            logits = module(x)
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.arange(32) % 10)
        torch.autograd.backward(loss)
        assert (logits.dtype == torch.bfloat16) == enabled
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.9
    assert recipe_for(BUILTIN_NETWORKS[name]).bfloat16
