"""Core ML Tools: per-module palettization, for ``coremltools.optimize.torch``.

Names of constants change when a network is converted, those of PyTorch modules do not: the
configuration is that of ``PostTrainingPalettizerConfig.from_dict``, used before the conversion. A
palette of 2^b values per layer takes the place of b-bit integers.
"""

from __future__ import annotations

from clado_core.exports.as_text import json_file
from clado_core.exports.capability import (
    KIND_NOT_KNOWN,
    Capability,
    ChosenLayer,
    Fate,
    Handling,
    refuse,
)
from clado_core.exports.format import Format
from clado_core.exports.job import ExportJob

PALETTE_BITS = (2, 3, 4, 6, 8)


def render(job: ExportJob, report: Capability, /) -> bytes:
    """Module name → palette; q, k and v of one packed parameter share their module's."""
    modules = {}
    for chosen, fate in zip(report.layers, report.fates, strict=True):
        modules[_module(chosen)] = {"n_bits": fate.bits, "granularity": "per_tensor"}
    return json_file({"module_name_configs": modules})


def fates(layers: tuple[ChosenLayer, ...], /) -> tuple[Fate, ...]:
    """Palettes of 2, 3, 4, 6 and 8 bits; one palette for the packed q, k and v."""
    widest: dict[str, int] = {}
    for chosen in layers:
        module = _module(chosen)
        widest[module] = max(widest.get(module, 0), chosen.bits)
    return tuple(_fate(chosen, widest[_module(chosen)]) for chosen in layers)


def _fate(chosen: ChosenLayer, widest: int) -> Fate:
    if chosen.layer.kind == "unknown":
        return KIND_NOT_KNOWN
    bits = next(b for b in PALETTE_BITS if b >= widest)
    stored = f"palette of {bits} bits"
    if chosen.bits != widest:
        return refuse("q, k and v share one palette there", stored=stored, bits=bits)
    if bits != chosen.bits:
        return refuse(f"there is no palette of {chosen.bits} bits", stored=stored, bits=bits)
    return Fate(Handling.RUNS, stored, bits)


def _module(chosen: ChosenLayer) -> str:
    name = chosen.layer.name
    return name.rpartition(".")[0] if chosen.is_packed_projection else name


FORMAT = Format(
    name="coreml",
    suffix=".coreml.json",
    mime="application/json",
    keeps="Core ML Tools' per-module palettes, for PostTrainingPalettizer before the conversion.",
    render=render,
    fates=fates,
    checked_with=("coremltools",),
    notes=(
        "A palette of 2^b values by k-means takes the place of b-bit integers, so accuracy differs "
        "from what was measured; 3 bits need iOS 18 or macOS 15.",
        "Palettizing is checked for every kind of layer here, the conversion to Core ML for a "
        "network of convolutions; running it on a Mac is not.",
    ),
)
