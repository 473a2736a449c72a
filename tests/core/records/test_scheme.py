import pytest

from clado_core.errors import InputError
from clado_core.records.scheme import (
    QuantizationScheme,
    bit_menu,
    integer_range,
    parse_bit_menu,
    parse_bits,
)


@pytest.mark.parametrize(("bits", "levels"), [(2, (-2, 1)), (4, (-8, 7)), (8, (-128, 127))])
def test_integer_range_is_that_of_onnx(bits: int, levels: tuple[int, int]) -> None:
    assert integer_range(bits) == levels


def test_menu_is_sorted() -> None:
    assert parse_bit_menu("8, 2,4") == (2, 4, 8)


@pytest.mark.parametrize("bad", ["", "2,2", "1,4", "4,16", "two", "2;4"])
def test_bad_menus_are_refused_in_a_sentence(bad: str) -> None:
    with pytest.raises(InputError):
        parse_bit_menu(bad)


def test_an_empty_menu_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        bit_menu(())


def test_scales_cost_four_bytes_per_channel_or_in_all() -> None:
    assert QuantizationScheme("per-channel").scale_bytes(64) == 256
    assert QuantizationScheme("per-tensor").scale_bytes(64) == 4


@pytest.mark.parametrize(
    "fields", [{"granularity": "per-row"}, {"range_rule": "entropy"}, {"act_bits": 1}]
)
def test_unknown_fields_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InputError):
        QuantizationScheme(**fields)  # type: ignore[arg-type]


def test_float_activations_count_32_bits() -> None:
    assert QuantizationScheme().activation_bits == 32
    assert QuantizationScheme(act_bits=8).activation_bits == 8


@pytest.mark.parametrize("text", ["2a520", "1032", "0a8", "0", "-4", "4a0", "4a-8", "9" * 5000])
def test_an_entry_out_of_range_is_not_read_as_another(text: str) -> None:
    with pytest.raises(InputError, match="is not a bit-width"):
        parse_bits(text)
    with pytest.raises(InputError):
        parse_bit_menu(text)
