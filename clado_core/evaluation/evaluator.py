"""What quantized networks do image by image: each assignment is run once and remembered."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor, nn

from clado_core.data.sources import Samples
from clado_core.errors import InputError
from clado_core.files.json_lines import append_line, read_lines
from clado_core.networks.inference import (
    Batch,
    cross_entropy,
    make_batches,
    measuring,
    reference_outputs,
    run_batch,
)
from clado_core.networks.load import state_digest
from clado_core.networks.placement import default_batch_size
from clado_core.networks.steady import Steadiness
from clado_core.quantization.candidate import CandidateTable
from clado_core.quantization.inputs import quantizing_inputs
from clado_core.quantization.weight_swap import WeightSwap
from clado_core.records.image_outcomes import ImageOutcomes
from clado_core.records.matrix import SensitivityMatrix
from clado_core.records.scheme import BitWidths
from clado_core.repairs.repaired import Repaired, repaired_in


def image_outcomes(outputs: Sequence[Tensor], batches: Sequence[Batch], /) -> ImageOutcomes:
    """What logits, one tensor per batch, say of the batches' labels."""
    pairs = list(zip(outputs, batches, strict=True))
    right = np.concatenate([(z.argmax(1) == batch.y).cpu().numpy() for z, batch in pairs])
    loss = sum(float(cross_entropy(z, batch.y, z)) for z, batch in pairs)
    return ImageOutcomes(right, loss / len(right))


class Evaluator:
    """Evaluates assignments of one network on the same images; known ones are not run again.

    Args:
        model: On its device; its weights are swapped in place and put back.
        matrix: What was measured on it: layers, quantizer, and ranges of quantized inputs.
        samples: Best held out from training and measuring; or the sensitivity set, to choose by.
        cache: Keeps outcomes as they are found, one JSON object a line; any network's and any
            data's may share it. A last line that was cut off is ignored.
        batch_size: Samples per forward; that of ``default_batch_size`` where None.
        allow_noise: Run a network whose outputs differ from run to run, with a warning.
        candidates: What layers are at each bit-width; rounded to nearest where None.
    """

    def __init__(
        self,
        model: nn.Module,
        matrix: SensitivityMatrix,
        samples: Samples,
        /,
        *,
        cache: Path | None = None,
        batch_size: int | None = None,
        allow_noise: bool = False,
        candidates: CandidateTable | None = None,
    ) -> None:
        self._model, self._matrix = model, matrix
        self._calibration = None if candidates is None else candidates.calibration
        self._allow_noise = allow_noise
        self._found_out: list[Steadiness] = []  # on the first run, for all that share the network
        device = next(model.parameters()).device
        self._batch_size = default_batch_size(device) if batch_size is None else batch_size
        self._cache = cache
        self._known = {} if cache is None else _read(cache)
        self._swap = WeightSwap(model, matrix.layers, matrix.scheme, candidates=candidates)
        self._weights_digest = state_digest(model)
        self._take(samples)

    def on(self, samples: Samples, /) -> Self:
        """The same on other images; what is known and the quantized weights are shared."""
        other = copy.copy(self)
        other._take(samples)
        return other

    def on_first(self, n: int, /) -> Self:
        """The same on the first n images (all where there are fewer)."""
        samples = self._samples
        return self.on(Samples(samples.x[:n], samples.y[:n], samples.name))

    def __len__(self) -> int:
        """Images that an assignment is run on."""
        return len(self._samples)

    def is_known(self, bits: BitWidths | None, /) -> bool:
        """Whether an assignment need not be run again."""
        return self._key(bits) in self._known

    def outcomes(self, bits: BitWidths | None, /) -> ImageOutcomes:
        """Quantize for real and run all images; None leaves the network as it is.

        Raises:
            MeasurementError: The network cannot run the images, or gives other outputs each time.
            InputError: Labels are not among its classes.
        """
        key = self._key(bits)
        if key not in self._known:
            found = self._run(bits)
            self._known[key] = found
            if self._cache is not None:
                append_line(self._cache, {"key": key, **found.to_json()})
        return self._known[key]

    def repaired_outcomes(self, repaired: Repaired, /) -> ImageOutcomes:
        """Run all images as a choice is shipped; not remembered, as a repair has no name.

        Raises:
            MeasurementError, InputError: As for ``outcomes``.
        """
        return self._run(repaired)

    def _take(self, samples: Samples) -> None:
        matrix = self._matrix
        ranges = b"" if matrix.input_ranges is None else matrix.input_ranges.tobytes()
        about = [self._weights_digest, samples.digest, repr(matrix.scheme)]
        about += [*matrix.layers.names, repr(matrix.bit_widths), ranges.hex()]
        about += [] if self._calibration is None else [repr(self._calibration)]
        self._identity = hashlib.sha256("\n".join(about).encode()).hexdigest()
        self._samples = samples
        self._batches = make_batches(self._model, samples, self._batch_size)

    def _run(self, choice: BitWidths | Repaired | None) -> ImageOutcomes:
        matrix = self._matrix
        bits = choice.assignment.bits if isinstance(choice, Repaired) else choice
        inside = (self._model, matrix.layers, matrix.bit_widths, matrix.scheme)
        known = self._found_out[0] if self._found_out else None
        with (
            measuring(
                self._model, self._batches, allow_noise=self._allow_noise, known=known
            ) as found,
            quantizing_inputs(*inside, ranges=matrix.input_ranges) as inputs,
            self._swap as swap,
        ):
            swap.inputs = inputs
            if bits is None:
                logits = reference_outputs(self._model, self._batches)
            else:
                swap.apply(dict(enumerate(bits)))
                shipped = choice if isinstance(choice, Repaired) else None
                with repaired_in(self._model, shipped) if shipped else nullcontext():
                    logits = [run_batch(self._model, batch) for batch in self._batches]
        self._found_out[:] = [found]
        return image_outcomes(logits, self._batches)

    def _key(self, bits: BitWidths | None) -> str:
        return hashlib.sha256(f"{self._identity} {bits}".encode()).hexdigest()


def _read(cache: Path) -> dict[str, ImageOutcomes]:
    found = {}
    for values in read_lines(cache):
        try:
            found[str(values["key"])] = ImageOutcomes.from_json(values)
        except (KeyError, InputError):
            continue  # some other line
    return found
