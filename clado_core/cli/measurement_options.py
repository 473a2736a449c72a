"""Options that state a measurement; other commands on measured networks share some of them."""

from __future__ import annotations

import argparse

from clado_core.cli.problem_options import positive_count
from clado_core.records.calibration import IMAGES
from clado_core.records.names import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    DEVICES,
    ESTIMATORS,
    LOSS_NAMES,
    MEASURED_ALONG,
    NEAREST,
    ROUNDINGS,
    SELECTIONS,
    SPLITS,
)
from clado_core.records.scheme import GRANULARITIES, RANGE_RULES

DEFAULT_SAMPLES = 1024
DEFAULT_MENU = "2,4,8"


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add ``model`` and ``--weights``."""
    parser.add_argument(
        "model", help="a built-in name, torchvision:NAME, or path/to/file.py:factory"
    )
    parser.add_argument(
        "--weights",
        help="checkpoint file, name of torchvision weights, or none for random ones",
    )


def add_moved_network(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--weights`` for a network that was measured."""
    parser.add_argument(
        "--model", help="the network, where the artifact does not name it or it moved"
    )
    parser.add_argument(
        "--weights", help="the weights it was measured with, where they are not the default ones"
    )


def add_split(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Add ``--split``."""
    parser.add_argument("--split", choices=SPLITS, default=default, help=f"default: {default}")


def add_bits(parser: argparse.ArgumentParser) -> None:
    """Add ``--bits`` and ``--granularity``."""
    parser.add_argument(
        "--bits", default=DEFAULT_MENU, help=f"bit-width menu (default: {DEFAULT_MENU})"
    )
    parser.add_argument("--granularity", choices=GRANULARITIES, default=GRANULARITIES[0])


def add_loss(parser: argparse.ArgumentParser) -> None:
    """Add ``--loss``."""
    parser.add_argument("--loss", choices=LOSS_NAMES, default="ce", help="kl needs no labels")


def add_layers(parser: argparse.ArgumentParser) -> None:
    """Add ``--layers``."""
    parser.add_argument(
        "--layers", choices=SELECTIONS, default="all", help="paper: not the first and last"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument("--device", choices=DEVICES, default="auto")


def add_noise(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-noise``."""
    parser.add_argument(
        "--allow-noise",
        action="store_true",
        help="run a network whose outputs for the same images differ each time, with a warning",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    parser.add_argument("--seed", type=int, default=0, help="draws the sensitivity set")


def add_sensitivity_set(parser: argparse.ArgumentParser) -> None:
    """Add what the sensitivity set is drawn from, and how: ``--data`` to ``--seed``."""
    parser.add_argument(
        "--data",
        help="digits, cifar10:FOLDER, torchvision:NAME:FOLDER, an .npz file with x and y, or a "
        "folder of images per class",
    )
    add_split(parser, default="train")
    parser.add_argument(
        "--samples", type=int, help=f"size of the sensitivity set (default: {DEFAULT_SAMPLES})"
    )
    add_seed(parser)


def add_quantizer(parser: argparse.ArgumentParser) -> None:
    """Add what layers are quantized to: ``--bits`` to ``--act-bits``."""
    add_bits(parser)
    parser.add_argument(
        "--range", choices=RANGE_RULES, default=RANGE_RULES[0], help="how scales are chosen"
    )
    parser.add_argument(
        "--act-bits",
        default="none",
        metavar="BITS",
        help="none, or quantize a layer's input too: 8 (the paper); several as in 4,8 are a choice "
        "for each layer beside its weight",
    )


def add_rounding(parser: argparse.ArgumentParser) -> None:
    """Add how weights become integers: ``--rounding`` and ``--calibration-images``."""
    parser.add_argument(
        "--rounding",
        choices=ROUNDINGS,
        default=NEAREST,
        help="nearest, or what repair ships: gptq spreads errors over other weights, adaround "
        "learns; both with statistics and biases that fit",
    )
    parser.add_argument(
        "--calibration-images",
        type=positive_count,
        default=IMAGES,
        metavar="N",
        help=f"training images to calibrate them with (default: {IMAGES})",
    )


def add_estimator(parser: argparse.ArgumentParser) -> None:
    """Add what is measured: ``--estimator``, ``--baselines`` and ``--loss``."""
    parser.add_argument(
        "--estimator",
        choices=tuple(ESTIMATORS),
        help="pairwise: every pair (the paper; the default with rounding to nearest); adaptive: "
        "the pairs that decisions depend on; calibrated (the default with repaired weights) or "
        "logit-gram: single layers only; block: pairs inside a block; hvp: second derivatives",
    )
    parser.add_argument(
        "--baselines",
        default="",
        metavar="NAMES",
        help=f"measure {', '.join(MEASURED_ALONG)} or both along",
    )
    add_loss(parser)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add where it is measured, and in what pieces: ``--batch-size`` to ``--address``."""
    add = parser.add_argument
    add("--batch-size", type=int, help="samples per forward (default: 64 on a CPU, 256 on a GPU)")
    add("--memory-mb", type=float, help="most memory above the network, in MB (10⁶ bytes)")
    add_device(parser)
    add(
        "--memory-format",
        choices=(CHANNELS_LAST, CHANNELS_FIRST),
        default=CHANNELS_LAST,
        help=f"of activations; {CHANNELS_LAST} is faster",
    )
    add("--group-bits", action="store_true", help="run a layer's bit-widths as one batch")
    add_noise(parser)
    add("--engine", choices=("local", "ray"), default="local", help="ray: on a Ray cluster")
    add("--address", default="auto", help="of the Ray cluster; local starts one (default: auto)")
