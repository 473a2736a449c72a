"""The built-in networks, listed without importing torch; each lives in a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "assets"
"""Where the weights and the matrices of these networks lie."""


@dataclass(frozen=True, slots=True)
class BuiltinNetwork:
    """A network that ships with its trained weights.

    Args:
        name: As typed on the command line.
        module: Module of this package with a function ``build() -> nn.Module``.
        title: One line for people.
        data: Name of the data set it was trained on; "cifar10" needs the user to say where it is.
        input_shape: Channels, height and width of one input.
    """

    name: str
    module: str
    title: str
    data: str
    input_shape: tuple[int, int, int]


BUILTIN_NETWORKS: dict[str, BuiltinNetwork] = {
    network.name: network
    for network in (
        BuiltinNetwork(
            name="digits-resnet",
            module="clado_core.networks.zoo.digits_resnet",
            title="residual CNN with depthwise convolutions, handwritten digits 8×8",
            data="digits",
            input_shape=(1, 8, 8),
        ),
        BuiltinNetwork(
            name="digits-vit",
            module="clado_core.networks.zoo.digits_vit",
            title="vision transformer with multi-head attention, handwritten digits 8×8",
            data="digits",
            input_shape=(1, 8, 8),
        ),
        BuiltinNetwork(
            name="cifar10-resnet20",
            module="clado_core.networks.zoo.cifar_resnet",
            title="ResNet-20, CIFAR-10 32×32",
            data="cifar10",
            input_shape=(3, 32, 32),
        ),
        BuiltinNetwork(
            name="cifar10-mobilenetv2",
            module="clado_core.networks.zoo.cifar_mobilenetv2",
            title="narrow MobileNetV2 with depthwise convolutions, CIFAR-10 32×32",
            data="cifar10",
            input_shape=(3, 32, 32),
        ),
        BuiltinNetwork(
            name="cifar10-vit",
            module="clado_core.networks.zoo.cifar_vit",
            title="small vision transformer with multi-head attention, CIFAR-10 32×32",
            data="cifar10",
            input_shape=(3, 32, 32),
        ),
    )
}
