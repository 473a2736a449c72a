"""What a stopped training needs to continue exactly: kept beside the weights it will write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from clado_core.errors import InputError
from clado_core.files.atomic import write_atomically

Schedule: TypeAlias = tuple[tuple[int, int], ...]
"""Legs of a training: (passes done at its end, passes its learning rates were planned for)."""
MODEL, OPTIMIZER, GENERATOR = "model.", "optimizer.", "generator"


def save_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    /,
    *,
    run: str,
    schedule: Schedule,
) -> None:
    """Write weights, optimizer moments and the generator's state atomically.

    Args:
        path: Of the file.
        model: Its state dict is stored.
        optimizer: Its per-parameter tensors are stored.
        generator: Of order and augmentation.
        run: Says what is being trained, and how; ``load_state`` wants the same.
        schedule: Passes behind it.
    """
    tensors = {MODEL + name: value for name, value in model.state_dict().items()}
    for parameter, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            tensors[f"{OPTIMIZER}{parameter}.{name}"] = torch.as_tensor(value)
    tensors[GENERATOR] = generator.get_state()
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    about = json.dumps({"run": run, "schedule": schedule})
    write_atomically(path, save(contiguous, {"training": about}))


def load_state(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    /,
    *,
    run: str,
) -> Schedule:
    """Restore what ``save_state`` wrote, in place.

    Returns:
        Passes that are done; none where there is no such file.

    Raises:
        InputError: The file is of another training, or damaged.
    """
    if not path.is_file():
        return ()
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["training"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, KeyError, ValueError):
        raise InputError(f"{path} is no stopped training; delete it to start anew.") from None
    if about.get("run") != run:
        raise InputError(
            f"{path} is of a training with other settings; repeat those to continue it, or "
            "delete it to start anew."
        )
    model.load_state_dict(_part(tensors, MODEL))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, OPTIMIZER).items():
        parameter, _, entry = name.partition(".")
        moments.setdefault(int(parameter), {})[entry] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    generator.set_state(tensors[GENERATOR])
    return tuple((int(done), int(planned)) for done, planned in about["schedule"])


def load_finished(path: Path, model: nn.Module, /) -> Schedule:
    """Load the weights that a finished training wrote, in place; the optimizer starts anew.

    Returns:
        Passes behind them.

    Raises:
        InputError: The file is not of this network, or does not say how it was trained.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["training"])
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return tuple((int(done), int(planned)) for done, planned in about["schedule"])
    except (SafetensorError, OSError, RuntimeError, TypeError, KeyError, ValueError):
        raise InputError(f"{path} holds no finished training of this network.") from None


def with_leg(schedule: Schedule, done: int, planned: int, /) -> Schedule:
    """The schedule after more passes under a plan; a plan that is kept stays one leg."""
    kept = schedule[:-1] if schedule and schedule[-1][1] == planned else schedule
    return (*kept, (done, planned))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
