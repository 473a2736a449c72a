"""Integers at their real bit-width: a stream of bits, lowest first, as ONNX packs int4 and int2."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clado_core.errors import InputError


def pack(integers: npt.NDArray[np.int8], bits: int, /) -> bytes:
    """Pack two's complement integers: value i takes bits i·b to i·b + b − 1 of the stream.

    For 2, 4 and 8 bits these are the bytes of ONNX's INT2, INT4 and INT8; 3, 5, 6 and 7 bits run
    over byte borders without gaps. The last byte is filled with zeros.

    Args:
        integers: Any shape, row-major; levels within ``integer_range(bits)``.
        bits: 2 to 8.
    """
    planes = np.unpackbits(
        integers.reshape(-1, 1).view(np.uint8), axis=1, count=bits, bitorder="little"
    )
    return np.packbits(planes.reshape(-1), bitorder="little").tobytes()


def unpack(data: bytes, bits: int, shape: tuple[int, ...], /) -> npt.NDArray[np.int8]:
    """The integers of ``pack``.

    Args:
        data: As packed, without anything behind.
        bits: 2 to 8.
        shape: Of the weight.

    Raises:
        InputError: The number of bytes is not that of this shape.
    """
    count = int(np.prod(shape))
    if len(data) != -(-count * bits // 8):
        raise InputError(f"{len(data)} bytes do not hold {count} integers of {bits} bits.")
    stream = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits, bitorder="little")
    values = np.packbits(stream.reshape(count, bits), axis=1, bitorder="little").astype(np.int16)
    sign = 1 << (bits - 1)
    return ((values.reshape(shape) ^ sign) - sign).astype(np.int8)
