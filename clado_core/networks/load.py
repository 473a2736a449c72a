"""Networks by name: the built-in ones, torchvision's, and those of a user's own file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clado_core.errors import ArtifactError, InputError
from clado_core.networks.builtin import ASSETS, BUILTIN_NETWORKS
from clado_core.networks.checkpoint import load_checkpoint, load_state
from clado_core.records.matrix import SensitivityMatrix

TORCHVISION = "torchvision:"
RANDOM_WEIGHTS = "none"
IMAGENET_SHAPE = (3, 224, 224)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A network ready to be measured: eval mode, no gradients.

    Args:
        spec: As the user named it.
        name: Short name for files and titles.
        module: The network.
        weights_sha256: Digest of its state dict.
        data: Name of the data set it was trained on where that is built in, else None.
        input_shape: Channels, height, width of one input where known, else None.
        prepare: From a PIL image to an input, as the weights were trained with; None if not known.
    """

    spec: str
    name: str
    module: nn.Module
    weights_sha256: str
    data: str | None = None
    input_shape: tuple[int, int, int] | None = None
    prepare: Callable[[Any], Tensor] | None = None


def load_model(spec: str, weights: str | None = None, /) -> LoadedModel:
    """Load a network.

    Args:
        spec: A built-in name, ``torchvision:NAME``, or ``path/to/file.py:factory`` where
            ``factory()`` returns the network.
        weights: A ``.safetensors`` or ``.pt`` checkpoint; for torchvision also the name of its
            weights such as IMAGENET1K_V1; "none" for random weights (seed 0). By default the
            built-in's own weights, torchvision's best ones, or those the factory gives.

    Raises:
        InputError: There is no such network or checkpoint, or they do not fit.
    """
    if spec in BUILTIN_NETWORKS:
        builtin = BUILTIN_NETWORKS[spec]
        module = _seeded(importlib.import_module(builtin.module).build)
        _fill(module, weights or str(ASSETS / f"{spec}.safetensors"))
        return _loaded(spec, spec, module, data=builtin.data, input_shape=builtin.input_shape)
    if spec.startswith(TORCHVISION):
        name = spec.removeprefix(TORCHVISION)
        module, prepare = _torchvision(name, weights)
        return _loaded(spec, name, module, input_shape=IMAGENET_SHAPE, prepare=prepare)
    path, colon, factory = spec.rpartition(":")
    if colon and path.endswith(".py"):
        module = _from_file(Path(path).expanduser(), factory)
        if weights is not None:
            _fill(module, weights)
        return _loaded(spec, f"{Path(path).stem}-{factory}", module)
    raise InputError(
        f"There is no network '{spec}': choose one of {', '.join(BUILTIN_NETWORKS)}, "
        "torchvision:NAME such as torchvision:resnet50, or path/to/file.py:factory."
    )


def require_weights(model: LoadedModel, matrix: SensitivityMatrix, /) -> None:
    """Make sure that a network is the one a matrix was measured on.

    Raises:
        ArtifactError: The field ``weights_sha256`` of the artifact differs from the network's.
    """
    require_digest(model.weights_sha256, matrix, of=model.spec)


def require_digest(digest: str, matrix: SensitivityMatrix, /, *, of: str) -> None:
    """The same for weights whose digest is known.

    Args:
        digest: As ``state_digest`` gives it.
        matrix: What was measured; one that names no weights fits all.
        of: Whose weights, for the sentence.

    Raises:
        ArtifactError: The field ``weights_sha256`` of the artifact differs.
    """
    measured = matrix.provenance.weights_sha256
    if measured is not None and measured != digest:
        raise ArtifactError(
            f"The field 'weights_sha256' of '{matrix.name}' is {measured[:12]}…, but the weights "
            f"of {of} give {digest[:12]}…: give those it was measured with as weights, or measure "
            "again."
        )


def state_digest(module: nn.Module, /) -> str:
    """Hexadecimal SHA-256 over the state dict: names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    state: Mapping[str, Tensor] = module.state_dict()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _loaded(
    spec: str,
    name: str,
    module: nn.Module,
    *,
    data: str | None = None,
    input_shape: tuple[int, int, int] | None = None,
    prepare: Callable[[Any], Tensor] | None = None,
) -> LoadedModel:
    module.eval().requires_grad_(False)
    return LoadedModel(spec, name, module, state_digest(module), data, input_shape, prepare)


def _seeded(build: Callable[[], Any]) -> Any:
    """Build with a fixed seed: random weights are then the same in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def _fill(module: nn.Module, weights: str) -> None:
    if weights != RANDOM_WEIGHTS:
        load_state(module, load_checkpoint(Path(weights).expanduser()), weights)


def _torchvision(
    name: str, weights: str | None
) -> tuple[nn.Module, Callable[[Any], Tensor] | None]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=5) or ["resnet50", "mobilenet_v2"]
        raise InputError(
            f"torchvision has no classification network '{name}'; did you mean {', '.join(near)}?"
        )
    module: nn.Module = _seeded(lambda: models.get_model(name))
    if weights == RANDOM_WEIGHTS:
        return module, None
    if weights is not None and Path(weights).suffix:
        _fill(module, weights)
        return module, None
    choices = models.get_model_weights(name)
    chosen = "DEFAULT" if weights is None else weights
    if chosen not in choices.__members__:
        raise InputError(
            f"'{chosen}' is neither a checkpoint file nor weights of torchvision's {name}: choose "
            f"one of {', '.join(choices.__members__)}, or none for random ones."
        )
    try:
        state = choices[chosen].get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as problem:
        raise InputError(
            f"The weights {chosen} of torchvision's {name} cannot be downloaded ({problem}); give "
            "a checkpoint file as weights, or none for random ones."
        ) from None
    load_state(module, state, chosen)
    return module, choices[chosen].transforms()


def _from_file(path: Path, factory: str) -> nn.Module:
    if not path.is_file():
        raise InputError(f"There is no file {path} to take the network '{factory}' from.")
    name = f"_clado_network_{path.stem}"
    description = importlib.util.spec_from_file_location(name, path)
    if description is None or description.loader is None:
        raise InputError(f"{path} is not a Python file.")
    python = importlib.util.module_from_spec(description)
    sys.modules[name] = python  # dataclasses look their module up while it is being executed
    sys.path.insert(0, str(path.resolve().parent))
    try:
        description.loader.exec_module(python)
        build = getattr(python, factory, None)
        module = _seeded(build) if callable(build) else None
    except Exception as problem:  # any fault in the user's own file is one sentence for them
        raise InputError(f"{path}:{factory} failed: {type(problem).__name__}: {problem}") from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    if not callable(build):
        raise InputError(f"{path} has no function '{factory}' that returns the network.")
    if not isinstance(module, nn.Module):
        raise InputError(
            f"{path}:{factory} returned {type(module).__name__}; expected a torch.nn.Module."
        )
    return module
