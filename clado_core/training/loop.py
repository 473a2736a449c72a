"""Fit a built-in network to its data, epoch by epoch."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from clado_core.data.sources import Samples, load_data
from clado_core.errors import InputError
from clado_core.files.atomic import write_atomically
from clado_core.networks.builtin import BuiltinNetwork
from clado_core.training.precision import bfloat16_steps
from clado_core.training.recipes import RECIPES, Recipe, augment, learning_rate_schedule
from clado_core.training.state import Schedule, load_finished, load_state, save_state, with_leg

SGD_MOMENTUM = 0.9
SCORE_BATCH = 500


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What training reached.

    Args:
        held_out_accuracy: Fraction of held-out images classified right.
        held_out_loss: Mean cross-entropy on them.
        epochs: Passes over the training split.
        seed: Of initialization, order and augmentation.
        schedule: (passes done, passes planned) at the end of each leg; more than one where a
            stopped training was continued with another number of epochs.
    """

    held_out_accuracy: float
    held_out_loss: float
    epochs: int
    seed: int
    schedule: Schedule


def recipe_for(network: BuiltinNetwork, /, *, epochs: int | None = None) -> Recipe:
    """The network's own recipe, or the common one; with another number of epochs if given."""
    recipe = RECIPES.get(network.name, Recipe())
    return recipe if epochs is None else dataclasses.replace(recipe, epochs=epochs)


def train(
    network: BuiltinNetwork,
    /,
    *,
    seed: int,
    data: str | None = None,
    recipe: Recipe | None = None,
    state: Path | None = None,
    finished: Path | None = None,
    on_epoch: Callable[[int, int], None] | None = None,
) -> tuple[nn.Module, TrainingResult]:
    """Train a built-in network from scratch; equal seeds give equal weights on one machine.

    Args:
        network: One of ``BUILTIN_NETWORKS``.
        seed: Of initialization, sample order and augmentation.
        data: Its data set as ``load_data`` takes it; the network's own where None.
        recipe: Hyperparameters; ``recipe_for(network)`` where None.
        state: File that keeps a stopped training; where it is there, training continues from it.
            The recipe must be the same but for its epochs: the rest is planned anew then.
        finished: Weights of a finished training to go on from, for more epochs; a stopped
            training comes before it.
        on_epoch: Called with (epochs done, epochs in all), once before the first.

    Returns:
        The network in eval mode, and what it reached.
    """
    recipe = recipe or recipe_for(network)
    source = load_data(data or network.data)
    training, held_out = source.split("train"), source.split("held-out")
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = importlib.import_module(network.module).build()
        progress = _Progress(state, _identity(network, training, recipe, seed), on_epoch)
        before: Schedule = () if finished is None else load_finished(finished, model)
        # Further passes draw other orders than the first ones did.
        generator = torch.Generator().manual_seed(seed + (before[-1][0] if before else 0))
        schedule = _fit(model, training, recipe, generator, progress, before)
        accuracy, loss = _score(model.eval(), held_out)
    return model, TrainingResult(accuracy, loss, recipe.epochs, seed, schedule)


def save_weights(
    model: nn.Module, network: BuiltinNetwork, result: TrainingResult, path: Path, /
) -> None:
    """Write the weights as safetensors, with how they were made as metadata."""
    about = {
        "network": network.name,
        "data": network.data,
        **asdict(result),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    # One metadata key: safetensors writes several in no fixed order, and files should be equal.
    write_atomically(path, save(tensors, {"training": json.dumps(about, sort_keys=True)}))


def _identity(network: BuiltinNetwork, data: Samples, recipe: Recipe, seed: int) -> str:
    """What must be equal for a stopped training to go on: all but the number of epochs."""
    how = {name: value for name, value in asdict(recipe).items() if name != "epochs"}
    return json.dumps([network.name, data.digest, how, seed])


@dataclass(frozen=True, slots=True)
class _Progress:
    """Where a training is kept, what it is, and who is told about it."""

    state: Path | None
    run: str
    on_epoch: Callable[[int, int], None] | None

    def report(self, done: int, epochs: int) -> None:
        if self.on_epoch:
            self.on_epoch(done, epochs)


def _fit(
    model: nn.Module,
    data: Samples,
    recipe: Recipe,
    generator: torch.Generator,
    progress: _Progress,
    schedule: Schedule,
) -> Schedule:
    optimizer = _optimizer(model, recipe)
    if progress.state:
        stopped = load_state(progress.state, model, optimizer, generator, run=progress.run)
        schedule = stopped or schedule
    done = schedule[-1][0] if schedule else 0
    if done > recipe.epochs:
        raise InputError(f"{done} epochs are done already; ask for {done} or more.")
    progress.report(done, recipe.epochs)
    steps = math.ceil(len(data) / recipe.batch_size)
    rates = learning_rate_schedule(optimizer, steps * recipe.epochs, done=steps * done)
    model.to(memory_format=torch.channels_last)  # about a quarter faster on CPUs
    model.train()
    for epoch in range(done, recipe.epochs):
        order = torch.randperm(len(data), generator=generator)
        for batch in torch.split(order, recipe.batch_size):
            x = augment(data.x[batch], recipe.augmentation, generator)
            _step(model, optimizer, x, data.y[batch], recipe)
            rates.step()
        schedule = with_leg(schedule, epoch + 1, recipe.epochs)
        if progress.state:
            kept = (progress.state, model, optimizer, generator)
            save_state(*kept, run=progress.run, schedule=schedule)
        progress.report(epoch + 1, recipe.epochs)
    model.to(memory_format=torch.contiguous_format)
    return schedule


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, recipe: Recipe
) -> None:
    with bfloat16_steps(recipe.bfloat16):
        logits = model(x.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits.float(), y, label_smoothing=recipe.label_smoothing)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=recipe.learning_rate,
        momentum=SGD_MOMENTUM,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )


@torch.no_grad()
def _score(model: nn.Module, data: Samples) -> tuple[float, float]:
    logits = torch.cat([model(x) for x in torch.split(data.x, SCORE_BATCH)])
    accuracy = (logits.argmax(1) == data.y).double().mean().item()
    return accuracy, F.cross_entropy(logits.double(), data.y).item()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread: the order of floating-point sums, and so the weights, is then fixed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
