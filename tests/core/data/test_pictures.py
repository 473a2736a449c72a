"""Image files of every format give the pixels that their makers meant, or one sentence."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from clado_core.data.pictures import ORIENTATION, PHOTOMETRIC, read_picture, readable_suffixes
from clado_core.errors import InputError

RAMP = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
SHADES = [0, 1, 128, 255]


def _grays(file):
    """The one row of gray shades in a file."""
    image = read_picture(file)
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bit_gray_is_scaled(tmp_path, suffix):
    file = tmp_path / f"ramp{suffix}"
    Image.fromarray(RAMP).save(file)
    assert _grays(file) == SHADES


def test_16_bit_gray_of_big_endian_and_white_is_zero_tiff(tmp_path):
    file = tmp_path / "ramp.tif"
    Image.frombytes("I;16B", (4, 1), RAMP.astype(">u2").tobytes()).save(file)
    with Image.open(file) as image:
        assert image.mode == "I;16B"
    assert _grays(file) == SHADES
    Image.fromarray(RAMP).save(file, tiffinfo={PHOTOMETRIC: 0})
    assert _grays(file) == [255, 254, 127, 0]


def test_12_bit_gray_of_pgm_is_scaled_by_its_own_white(tmp_path):
    file = tmp_path / "ramp.pgm"
    file.write_bytes(b"P5 3 1 4095\n" + np.array([0, 2048, 4095], dtype=">u2").tobytes())
    assert _grays(file) == [0, 128, 255]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bit_gray_has_no_known_range(tmp_path, kind):
    file = tmp_path / "wide.tif"
    Image.fromarray(np.array([[0, 1]], dtype=kind)).save(file)
    with pytest.raises(InputError, match=r"wide\.tif .*store it with 8 or 16 bits"):
        read_picture(file)


def test_one_bit_is_black_and_white(tmp_path):
    file = tmp_path / "bits.png"
    Image.fromarray(np.array([[0, 255, 255, 0]], dtype=np.uint8)).convert("1").save(file)
    assert _grays(file) == [0, 255, 255, 0]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}),
        (".png", {"transparency": 1}),
        (".png", {"transparency": bytes([255, 0])}),
        (".gif", {}),
        (".gif", {"transparency": 1}),
    ],
)
def test_a_palette_gives_its_colours_with_and_without_transparency(tmp_path, suffix, options):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    file = tmp_path / f"palette{suffix}"
    image.save(file, **options)
    assert np.asarray(read_picture(file)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("LA", (90, 0), (90, 90, 90)),
        ("RGBA", (200, 100, 50, 0), (200, 100, 50)),
        ("RGBA", (200, 100, 50, 128), (200, 100, 50)),
    ],
)
def test_transparency_is_dropped(tmp_path, mode, pixel, expected):
    file = tmp_path / "clear.png"
    Image.new(mode, (2, 2), pixel).save(file)
    assert read_picture(file).getpixel((1, 1)) == expected


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path, suffix):
    file = tmp_path / f"print{suffix}"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(file)
    assert np.allclose(read_picture(file).getpixel((4, 4)), (255, 0, 0), atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation):
    stored = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 10)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = tmp_path / f"turned{suffix}"
    stored.save(file, exif=exif)
    stored.getexif()[ORIENTATION] = orientation
    expected = ImageOps.exif_transpose(stored)
    assert expected.size == ((3, 2) if orientation < 5 else (2, 3))
    assert np.array_equal(np.asarray(read_picture(file)), np.asarray(expected))


def test_a_camera_held_upright(tmp_path):
    """Orientation 6: the row that is stored first belongs on the right."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(np.array([[1, 2], [3, 4]], dtype=np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert np.asarray(read_picture(tmp_path / "a.png"))[..., 0].tolist() == [[3, 1], [4, 2]]


def test_damaged_exif_leaves_the_pixels_as_they_are(tmp_path):
    file = tmp_path / "camera.jpg"
    Image.new("L", (4, 2), 80).save(file, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert read_picture(file).size == (4, 2)


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    for name in ("film.gif", "film.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert read_picture(tmp_path / name).getpixel((0, 0)) == (250, 0, 0)


def test_what_cannot_be_decoded_is_one_sentence_with_its_name(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("half.png", "half.jpg", "half.tif", "half.webp", "half.gif", "half.bmp"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    for file in tmp_path.iterdir():
        with pytest.raises(InputError, match=r"cannot be read: .*replace or remove it\.") as caught:
            read_picture(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [99, 30])
def test_a_picture_above_the_decoders_limit_is_one_sentence(tmp_path, monkeypatch, limit):
    """Up to twice the limit Pillow warns, beyond it raises."""
    file = tmp_path / "wall.png"
    Image.new("RGB", (10, 10)).save(file)
    read_picture(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=rf"wall\.png .*more than {limit} pixels; make it"):
        read_picture(file)


def test_formats_without_a_decoder_are_not_readable(monkeypatch):
    assert {".png", ".jpeg", ".tif", ".gif"} <= readable_suffixes()
    monkeypatch.setattr(Image, "registered_extensions", lambda: {".png": "PNG", ".psd": "PSD"})
    assert readable_suffixes() == {".png"}
