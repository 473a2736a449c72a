"""The database of candidates: every layer at every bit-width, made from calibration images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from torch import nn

from clado_core.data.sources import Samples
from clado_core.errors import CladoError, InputError
from clado_core.networks.load import LoadedModel
from clado_core.networks.measured import open_data
from clado_core.networks.state_digest import state_digest
from clado_core.quantization.candidate import CandidateTable
from clado_core.records.calibration import Calibration
from clado_core.records.layers import LayerTable
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.names import Rounding
from clado_core.records.scheme import BitWidths, QuantizationScheme, weight_bits
from clado_core.repairs.candidate_file import SUFFIX, CandidateFile
from clado_core.repairs.candidates import Candidates, candidates_from
from clado_core.repairs.repair import calibration_sets

OnCandidate = Callable[[int, int], None]
"""Called with (candidates made, candidates in all)."""

VERSION = 1
"""Of the algorithms that make candidates: raise it when they give other integers or statistics."""


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
        yield candidates_from(
            *(model, layers, scheme, images), rounding=calibration.rounding, kept=kept
        )


@contextmanager
def candidates_beside(
    artifact: Path,
    model: nn.Module,
    layers: LayerTable,
    scheme: QuantizationScheme,
    images: Samples,
    calibration: Calibration,
    /,
) -> Iterator[Candidates]:
    """As ``candidates_in``, with the file beside an artifact; in memory where that file holds other
    candidates or cannot be written.
    """
    inside = (model, layers, scheme, images, calibration)
    with ExitStack() as stack:
        path = database_path(artifact, calibration.rounding)
        try:
            found = stack.enter_context(candidates_in(path, *inside))
        except CladoError:
            found = stack.enter_context(candidates_in(None, *inside))
        yield found


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
    wanted = [(layer, bits) for layer in layers.layers for bits in widths(menu)]
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


def candidates_of(
    model: nn.Module,
    layers: LayerTable,
    scheme: QuantizationScheme,
    menu: BitWidths,
    images: Samples,
    /,
    *,
    rounding: Rounding,
    seed: int | None = None,
    artifact: Path | None = None,
    on_progress: OnCandidate | None = None,
) -> CandidateTable:
    """The database of a network; what is missing is made.

    Args:
        model: The float network, on its device.
        layers: Its searched layers.
        scheme: The quantizer.
        menu: Bit-widths.
        images: To calibrate with.
        rounding: "gptq" or "adaround".
        seed: That drew the images; None where they were given.
        artifact: What it belongs to: it is kept beside it. None keeps it in memory alone.
        on_progress: As for ``candidate_table``.

    Raises:
        InputError: The file that is there is of another network, quantizer or calibration.
        MeasurementError: The network cannot run the images.
    """
    calibration = calibration_of(images, rounding=rounding, seed=seed)
    path = None if artifact is None else database_path(artifact, rounding)
    inside = (model, layers, scheme, images, calibration)
    with candidates_in(path, *inside) as candidates:
        return candidate_table(candidates, layers, menu, calibration, on_progress=on_progress)


def measured_candidates(
    matrix: SensitivityMatrix,
    model: LoadedModel,
    /,
    *,
    artifact: Path | None = None,
    data: str | None = None,
    on_progress: OnCandidate | None = None,
) -> CandidateTable | None:
    """The candidates that a matrix was measured with; None where weights were rounded to nearest.

    Args:
        matrix: Says how they were calibrated.
        model: The network that was measured, on its device.
        artifact: Where the matrix is stored: what is not in the file beside it is made, and kept.
        data: As for ``load_data``, where the matrix does not name its data, or that moved.
        on_progress: As for ``candidate_table``.

    Raises:
        InputError: No data is named, or it gives other images.
    """
    calibration, spec = matrix.provenance.calibration, data or matrix.provenance.data
    if calibration is None:
        return None
    if spec is None or calibration.seed is None:
        raise InputError(
            f"'{matrix.name}' does not say which images its candidates were calibrated with."
        )
    images, _ = calibration_sets(
        open_data(model, spec), calibration.n_images, seed=calibration.seed
    )
    return recalibrated(matrix, model.module, images, artifact=artifact, on_progress=on_progress)


def recalibrated(
    matrix: SensitivityMatrix,
    model: nn.Module,
    images: Samples,
    /,
    *,
    artifact: Path | None = None,
    on_progress: OnCandidate | None = None,
) -> CandidateTable | None:
    """As ``measured_candidates``, with given images.

    Args:
        matrix: Says how its candidates were calibrated.
        model: The network that was measured, on its device.
        images: The same that they were calibrated with.
        artifact: As for ``measured_candidates``, likewise ``on_progress``.
        on_progress: As for ``candidate_table``.

    Raises:
        InputError: They are others.
    """
    if (calibration := matrix.provenance.calibration) is None:
        return None
    rounding, seed = calibration.rounding, calibration.seed
    if calibration_of(images, rounding=rounding, seed=seed) != calibration:
        raise InputError(
            f"The images are not those that the candidates of '{matrix.name}' were calibrated "
            "with; give the same data."
        )
    wanted = (matrix.layers, matrix.scheme, matrix.bit_widths, images)
    return candidates_of(
        *(model, *wanted),
        rounding=rounding,
        seed=seed,
        artifact=artifact,
        on_progress=on_progress,
    )


def widths(menu: BitWidths, /) -> list[int]:
    """Bit-widths of weights in a menu, ascending; joint choices share them."""
    return sorted({weight_bits(bits) for bits in menu})
