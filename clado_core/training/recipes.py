"""How each built-in network is trained: hyperparameters and augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

MAX_ROTATION_DEGREES = 12.0
MAX_SHIFT_PIXELS = 1.0
MAX_ZOOM = 0.12
CROP_PADDING = 1 / 8
"""Of an image's shorter side: 4 of 32 pixels."""

Augmentation: TypeAlias = Literal["affine", "crop", "crop-flip"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is trained.

    Args:
        epochs: Passes over the training split.
        batch_size: Samples per step.
        learning_rate: Peak of the cosine schedule; the first tenth warms up.
        weight_decay: Of the optimizer.
        label_smoothing: Keeps the network from being so sure that quantization changes nothing.
        optimizer: "adamw", or "sgd" with Nesterov momentum 0.9.
        augmentation: "affine" (rotate, shift, zoom), "crop" (pad and crop), or "crop-flip".
        bfloat16: Convolutions and matrix products of a step in bfloat16; weights stay float32.
    """

    epochs: int = 240
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    optimizer: Literal["adamw", "sgd"] = "adamw"
    augmentation: Augmentation = "affine"
    bfloat16: bool = False


# No smoothing on CIFAR-10: smoothed networks can lose cross-entropy when bits are added. A pass
# over its images takes 63, 74 and 90 s on one Zen 5 core; 22 passes were too few (ResNet-20 had
# 86.0 % of the JPEG files right).
RECIPES = {
    "cifar10-resnet20": Recipe(
        epochs=100,
        batch_size=128,
        learning_rate=0.15,
        weight_decay=5e-4,
        label_smoothing=0.0,
        optimizer="sgd",
        augmentation="crop-flip",
        bfloat16=True,
    ),
    "cifar10-mobilenetv2": Recipe(
        epochs=60,
        batch_size=64,
        learning_rate=0.08,
        weight_decay=2e-4,
        label_smoothing=0.0,
        optimizer="sgd",
        augmentation="crop-flip",
        bfloat16=True,
    ),
    "cifar10-vit": Recipe(
        epochs=60,
        batch_size=64,
        learning_rate=1e-3,
        weight_decay=0.05,
        label_smoothing=0.0,
        augmentation="crop-flip",
        bfloat16=True,
    ),
}
"""Networks that are trained in a way of their own; the others as ``Recipe()`` says."""


def augment(x: Tensor, kind: Augmentation, generator: torch.Generator, /) -> Tensor:
    """A changed copy of each image; shape (N, C, H, W) in and out."""
    if kind == "affine":
        return _affine(x, generator)
    return _crop(x, generator, flip=kind == "crop-flip")


def learning_rate_schedule(
    optimizer: torch.optim.Optimizer, steps: int, /, *, done: int = 0
) -> LRScheduler:
    """Linear warm-up over the first tenth of the steps, then half a cosine down to 0.

    It is not part of a stopped training's state: the steps done say where it is, and a training
    that is planned anew follows another one.

    Args:
        optimizer: Its learning rate is the peak; its gradients are not there yet.
        steps: In all.
        done: Steps that lie behind.
    """
    warm_up = steps // 10
    schedule: LRScheduler = CosineAnnealingLR(optimizer, T_max=steps - warm_up)
    if warm_up:
        rise = LinearLR(optimizer, start_factor=1 / warm_up, total_iters=warm_up - 1)
        schedule = SequentialLR(optimizer, [rise, schedule], milestones=[warm_up])
    if done:
        optimizer.step()  # changes nothing without gradients, and torch warns where it comes later
    for _ in range(done):
        schedule.step()
    return schedule


def _crop(x: Tensor, generator: torch.Generator, *, flip: bool) -> Tensor:
    """Pad each image, cut a window of its old size anywhere; with ``flip`` mirror half of them."""
    n, _, height, width = x.shape
    padding = int(CROP_PADDING * min(height, width))
    padded = F.pad(x, (padding,) * 4)
    down, across = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
    rows = down + torch.arange(height)
    columns = across + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    images = torch.arange(n).view(n, 1, 1)
    return padded[images, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _affine(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate, shift and zoom each image a little."""
    n = len(x)

    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(n, generator=generator) - 1) * limit

    angle = uniform(math.radians(MAX_ROTATION_DEGREES))
    zoom = 1 + uniform(MAX_ZOOM)
    per_pixel = 2 / x.shape[-1]
    across, down = (uniform(MAX_SHIFT_PIXELS * per_pixel) for _ in range(2))
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    theta = torch.stack(
        [torch.stack([cosine, -sine, across], 1), torch.stack([sine, cosine, down], 1)], 1
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
