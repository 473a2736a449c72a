"""The database of a network's candidates: every layer at every bit-width, from calibration images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch import nn

from clado_core.data.sources import Samples
from clado_core.networks.inference import make_batches
from clado_core.networks.state_digest import state_digest
from clado_core.quantization.candidate import CandidateTable
from clado_core.quantization.moments import collect_moments
from clado_core.records.calibration import Calibration
from clado_core.records.layers import LayerInfo, LayerTable
from clado_core.records.names import Rounding
from clado_core.records.scheme import BitWidths, QuantizationScheme, weight_bits
from clado_core.repairs.candidate_file import SUFFIX, CandidateFile
from clado_core.repairs.candidates import Candidates

OnCandidate = Callable[[int, int], None]
"""Called with (candidates made, candidates in all)."""

VERSION = 1
"""Of the algorithms that make candidates: raise it when they give other integers or statistics."""
BATCH_SIZE = 64
"""Images run at once: sums, and with them candidates, depend on it a little."""


def calibration_of(images: Samples, /, *, rounding: Rounding, seed: int | None) -> Calibration:
    """What candidates depend on, beside network and quantizer.

    Args:
        images: That they are calibrated with.
        rounding: "gptq" or "adaround".
        seed: That drew the images; None where they were given.
    """
    return Calibration(rounding, len(images), seed, images.inputs_digest, VERSION)


def database_path(artifact: Path, rounding: Rounding, /) -> Path:
    """Where an artifact's candidates are kept: ``NAME.gptq.candidates`` beside ``NAME.clado``."""
    return artifact.with_name(f"{artifact.stem}.{rounding}{SUFFIX}")


@contextmanager
def candidates_in(
    path: Path | None,
    model: nn.Module,
    layers: LayerTable,
    scheme: QuantizationScheme,
    images: Samples,
    calibration: Calibration,
    /,
) -> Iterator[Candidates]:
    """Candidates of a network, those of a file and new ones, which are kept in it.

    Args:
        path: Of the file; None keeps them in memory alone.
        model: The float network, on its device.
        layers: Its searched layers.
        scheme: The quantizer.
        images: That candidates are calibrated with.
        calibration: Of these images.

    Raises:
        InputError: The file is of another network, quantizer or calibration.
    """
    with ExitStack() as stack:
        kept = None
        if path is not None:
            identity = {
                "granularity": scheme.granularity,
                "range_rule": scheme.range_rule,
                **calibration.to_json(),
                "weights_sha256": state_digest(model),
            }
            kept = stack.enter_context(CandidateFile(path, identity, layers))
        inputs = (batch.x for batch in make_batches(model, images, BATCH_SIZE))
        yield Candidates(model, layers, scheme, inputs, rounding=calibration.rounding, kept=kept)


def candidate_table(
    candidates: Candidates,
    layers: LayerTable,
    menu: BitWidths,
    calibration: Calibration,
    /,
    *,
    on_progress: OnCandidate | None = None,
) -> CandidateTable:
    """Every layer at every bit-width of a menu; makes those that are missing.

    Args:
        candidates: Of the network.
        layers: Its searched layers.
        menu: Joint choices share the weights of their bit-width.
        calibration: Of the candidates.
        on_progress: Called after each one, at first with those there are.
    """
    wanted = [(layer, bits) for layer in layers.layers for bits in _widths(menu)]
    done = sum(candidates.is_made(*pair) for pair in wanted)
    if on_progress is not None:
        on_progress(done, len(wanted))
    made = {}
    for layer, bits in wanted:
        is_new = not candidates.is_made(layer, bits)
        made[layer.name, bits] = candidates.make(layer, bits)
        if is_new and on_progress is not None:
            done += 1
            on_progress(done, len(wanted))
    return CandidateTable(made, calibration)


def seconds_to_make(
    model: nn.Module,
    layers: LayerTable,
    scheme: QuantizationScheme,
    menu: BitWidths,
    images: Samples,
    /,
    *,
    rounding: Rounding,
) -> float:
    """About how long a database takes: one batch is run, and one layer rounded.

    Args:
        model: The float network, on its device.
        layers: Its searched layers.
        scheme: The quantizer.
        menu: Bit-widths.
        images: To calibrate with.
        rounding: As of ``Candidates``.
    """
    first = make_batches(model, images, BATCH_SIZE)[0].x
    started = time.perf_counter()
    collect_moments(model, layers.layers, [first])
    running = (time.perf_counter() - started) * len(images) / len(first)
    works = [_work(layer) for layer in layers.layers]
    typical = sorted(layers.layers, key=_work)[len(layers) // 2]
    one = Candidates(model, LayerTable((typical,)), scheme, [first], rounding=rounding)
    bits: Sequence[int] = _widths(menu)
    one.prepare()
    started = time.perf_counter()
    one.make(typical, bits[0])
    each = (time.perf_counter() - started) / _work(typical)
    return running + each * sum(works) * len(bits)


def _work(layer: LayerInfo) -> float:
    """Multiply-accumulates of a product of the weight with its second moments, to scale."""
    width = layer.n_weights / layer.out_channels
    return layer.n_weights * width


def _widths(menu: BitWidths) -> list[int]:
    return sorted({weight_bits(bits) for bits in menu})
