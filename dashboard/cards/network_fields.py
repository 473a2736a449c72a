"""Fields for what an artifact does not say of its network, so that it can be run."""

from __future__ import annotations

import streamlit as st

from clado_core.networks.builtin import BUILTIN_NETWORKS
from clado_core.records.provenance import Provenance
from dashboard.known.catalogue import Artifact
from dashboard.state import by_network
from dashboard.state.view_state import ViewState
from dashboard.workers.commands import NetworkWords


def network_fields(state: ViewState, owner: str, /, *, problem: str = "") -> NetworkWords:
    """Draw those that are of use, and return what stands in them, here or on another card.

    Args:
        state: The chosen network.
        owner: Names the card; a part of the widgets' keys.
        problem: What the last run ended with; where it speaks of weights, these are asked for.
    """
    artifact = state.artifact
    typed = by_network.typed().setdefault(artifact.digest, {})
    for name, hint in _fields(state.matrix.provenance, problem).items():
        key = f"{owner}_{name.lower()}_{artifact.digest[:8]}"
        typed[name] = st.text_input(name, typed.get(name, ""), key=key, placeholder=hint)
    return known_words(artifact)


def known_words(artifact: Artifact, /) -> NetworkWords:
    """What was typed of a network."""
    typed = by_network.typed().setdefault(artifact.digest, {})
    return NetworkWords(**{name.lower(): text.strip() for name, text in typed.items()})


def _fields(about: Provenance, problem: str) -> dict[str, str]:
    """What has to be, or may be, said: name of the field → what to type."""
    fields: dict[str, str] = {}
    if about.model is None:
        fields["Model"] = "a built-in name, torchvision:NAME, or path/to/file.py:factory"
    if about.data is None:
        fields["Data"] = "an .npz file, a folder of images per class, or cifar10:FOLDER"
    elif about.data == "cifar10":
        fields["Data"] = "cifar10:FOLDER, where CIFAR-10 is"
    elif about.data != "digits":
        fields["Data"] = f"{about.data}, as measured, unless it has moved"
    if about.model not in BUILTIN_NETWORKS or "weights" in problem:
        fields["Weights"] = "the default ones; else the checkpoint it was measured with"
    return fields
