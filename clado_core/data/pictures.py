"""One image file to RGB pixels, whatever the format it was stored in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clado_core.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".tif", ".tiff", ".gif", ".avif"),
)
"""Of the formats that are read, where the installed Pillow has a decoder for them."""

STATED_16_BIT = ("PNG", "PPM")
"""Formats in which Pillow's wide integers mean 0 to 65,535."""

BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION = 258, 262, 274
"""Tags of TIFF, the last of EXIF too."""


def readable_suffixes() -> frozenset[str]:
    """Those of SUFFIXES that the installed Pillow decodes: AVIF is left out of some builds."""
    from PIL import Image

    return frozenset(SUFFIXES) & frozenset(Image.registered_extensions())


def read_picture(file: Path, /) -> Image:
    """Decode an image to 8-bit RGB, upright; of several frames or pages, the first.

    Transparency is dropped, not laid over a colour, as torchvision's own folders do: networks were
    trained on such pixels. Gray values of 16 bits are scaled, 65,535 to 255. EXIF's orientation is
    applied.

    Raises:
        InputError: It cannot be decoded, is too large for Pillow, or holds numbers of no stated
            range.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow speaks of what it mends, such as damaged EXIF; twice the limit is an error.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                image.load()
                return _upright(_rgb(image), _orientation(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"it has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels; make it smaller"
    except UnidentifiedImageError:
        reason = "it holds no image of a known format, whatever its name says; replace or remove it"
    except Exception as problem:  # Pillow raises OS, syntax, value, struct and index errors here
        reason = f"{str(problem) or type(problem).__name__}; replace or remove it"
    raise InputError(f"The image {file} cannot be read: {reason}.")


def _rgb(image: Image) -> Image:
    """Widths beyond 8 bits by hand: Pillow's own conversion cuts them off at 255."""
    from PIL import Image as images

    if image.mode == "F" or (image.mode == "I" and image.format not in STATED_16_BIT):
        raise ValueError(
            "its gray values are 32-bit or signed numbers, whose range no file states (store it "
            "with 8 or 16 bits)"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        gray = np.asarray(image).astype(np.float64) * (255 / _white(image))
        if _white_is_zero(image):
            gray = 255 - gray
        image = images.fromarray(np.rint(gray).astype(np.uint8))
    return image.convert("RGB")


def _white(image: Image) -> int:
    """The largest value that can be stored; TIFF has 12 bits too."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    return (1 << int(bits)) - 1


def _white_is_zero(image: Image) -> bool:
    """Whether a TIFF file counts from white; Pillow turns only 8-bit values round."""
    return getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _upright(image: Image, orientation: int) -> Image:
    # By hand: ImageOps.exif_transpose writes the other tags anew, which fails for odd ones.
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image
