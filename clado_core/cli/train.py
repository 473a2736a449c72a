"""Train a built-in network and store its weights.

Example:
  python -m clado_core train digits-resnet --seed 0 --out assets/digits-resnet.safetensors
  python -m clado_core train cifar10-resnet20 --data cifar10:FOLDER --out resnet20.safetensors

A training that is stopped keeps its state in resnet20.safetensors.partial; the same command
continues, with another --epochs if time got short.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from clado_core.cli.progress import ProgressLine
from clado_core.errors import InputError
from clado_core.files.artifact import partial_path
from clado_core.networks.builtin import BUILTIN_NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``train``."""
    parser.add_argument("network", help=f"one of {', '.join(BUILTIN_NETWORKS)}")
    parser.add_argument("--data", help="where its data set is, such as cifar10:FOLDER")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--epochs", type=int, default=None, help="passes over the training split")
    parser.add_argument(
        "--from",
        dest="finished",
        type=Path,
        metavar="FILE",
        help="go on from these weights of a finished training; --epochs counts those behind them",
    )
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, store, and report the held-out accuracy."""
    network = BUILTIN_NETWORKS.get(arguments.network)
    if network is None:
        raise InputError(
            f"There is no built-in network '{arguments.network}': "
            f"choose one of {', '.join(BUILTIN_NETWORKS)}."
        )
    if arguments.epochs is not None and arguments.epochs < 1:
        raise InputError(f"--epochs must be 1 or more, not {arguments.epochs}.")
    if not arguments.out.absolute().parent.is_dir():
        raise InputError(f"The folder of --out {arguments.out} does not exist; create it first.")
    from clado_core.training import recipe_for, save_weights, train

    start = time.perf_counter()
    state = partial_path(arguments.out)
    with ProgressLine(f"Training {network.name}", "epochs") as line:
        model, result = train(
            network,
            seed=arguments.seed,
            data=arguments.data,
            recipe=recipe_for(network, epochs=arguments.epochs),
            state=state,
            finished=arguments.finished,
            on_epoch=line.update,
        )
    save_weights(model, network, result, arguments.out)
    state.unlink(missing_ok=True)
    return {
        "network": network.name,
        "out": str(arguments.out),
        "held_out_accuracy": result.held_out_accuracy,
        "held_out_loss": result.held_out_loss,
        "epochs": result.epochs,
        "seed": result.seed,
        "runtime_s": time.perf_counter() - start,
    }


def show(result: dict[str, Any]) -> str:
    """The result as a sentence."""
    return (
        f"{result['network']}: {result['held_out_accuracy']:.2%} of the held-out images right "
        f"(loss {result['held_out_loss']:.4f}) after {result['epochs']} epochs in "
        f"{result['runtime_s']:.0f} s; weights in {result['out']}"
    )
