"""Every kind of picture to RGB, against values worked out by hand, and every kind of broken one told as such."""

import contextlib
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslcli.data.pictures import BrokenPicture, decode_picture, read_picture

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "error::PIL.Image.DecompressionBombWarning")

RAMP = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def encoded(picture, form="PNG", **options):
    """A picture as the bytes of a file."""
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pixels(data, **options):
    """The decoded pixels of a file, which must be plain RGB."""
    picture = decode_picture(data, "a picture", **options)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def reason(data, **options):
    """Why a file cannot be decoded."""
    with pytest.raises(BrokenPicture) as caught:
        decode_picture(data, "pets/one.jpg", **options)
    assert caught.value.path == "pets/one.jpg"
    return caught.value.reason


def test_an_rgb_picture_stays_as_it_is():
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(RAMP))), RAMP)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "PPM", "JPEG", "WEBP"])
def test_grey_has_three_equal_channels_in_every_format(form):
    options = {"lossless": True} if form == "WEBP" else {}
    assert (pixels(encoded(Image.new("L", (5, 3), 60), form, **options)) == 60).all()


def test_one_bit_is_black_and_white():
    picture = Image.fromarray(np.array([[True, False]]))
    assert pixels(encoded(picture))[0].tolist() == [[255] * 3, [0] * 3]


def test_transparent_pixels_are_laid_on_white():
    picture = Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8))
    assert pixels(encoded(picture))[0].tolist() == [[255] * 3, [10, 20, 30], [204] * 3]


def test_grey_with_alpha_is_laid_on_white():
    picture = Image.fromarray(np.array([[[40, 0], [40, 255]]], np.uint8), "LA")
    assert pixels(encoded(picture))[0].tolist() == [[255] * 3, [40] * 3]


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_the_transparent_colour_of_a_palette_is_white(form):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    assert pixels(encoded(picture, form, transparency=0))[0].tolist() == [[255] * 3, [200, 100, 50]]


def test_a_palette_without_transparency_gives_its_colours():
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    assert pixels(encoded(picture))[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (10, 20, 30)), ("L", 40)])
def test_a_colour_named_as_transparent_is_white(mode, colour):
    data = encoded(Image.new(mode, (2, 2), colour), transparency=colour)
    assert (pixels(data) == 255).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(form):
    levels = np.array([[0, 257, 25700, 32896, 65535]], np.uint16)
    data = encoded(Image.fromarray(levels), form)
    assert pixels(data)[0, :, 0].tolist() == [0, 1, 100, 128, 255]


def test_big_endian_sixteen_bit_grey_reads_the_same():
    levels = np.array([[0, 25700, 65535]], ">u2")
    header = b"P5 3 1 65535\n"  # PGM is big endian
    assert pixels(header + levels.tobytes())[0, :, 0].tolist() == [0, 100, 255]


def test_sixteen_bit_colour_keeps_its_high_bytes():
    levels = np.array([0, 25700, 65535], ">u2")
    assert pixels(b"P6 1 1 65535\n" + levels.tobytes())[0, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(("top", "values"), [(1.0, [0, 51, 255]), (200.0, [0, 40, 200]), (5000.0, [0, 51, 255])])
def test_floats_are_scaled_by_the_white_that_holds_them(top, values):
    picture = Image.fromarray(np.array([[0.0, top / 5, top]], np.float32))
    assert pixels(encoded(picture, "TIFF"))[0, :, 0].tolist() == values


def test_a_constant_float_picture_and_its_nans_do_not_crash():
    picture = Image.fromarray(np.array([[-3.0, -3.0], [np.nan, -3.0]], np.float32))
    assert pixels(encoded(picture, "TIFF")).shape == (2, 2, 3)


def test_cmyk_jpeg_has_the_right_colours():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(pixels(encoded(red, "JPEG", quality=95)).mean((0, 1)) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_stand_upright_by_their_exif(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(RAMP), form, exif=exif, **lossless)
    np.testing.assert_array_equal(pixels(data), UPRIGHT[orientation](RAMP))


def test_a_rotated_jpeg_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert pixels(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)).shape == (30, 20, 3)


def test_a_damaged_exif_block_does_not_spoil_the_pixels():
    data = encoded(Image.new("RGB", (30, 20)), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert pixels(data).shape == (20, 30, 3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(form):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(red, form, save_all=True, append_images=[blue], **options)
    assert (pixels(data) == [255, 0, 0]).all()


def test_a_picture_of_one_pixel_is_a_picture():
    assert pixels(encoded(Image.new("RGB", (1, 1), "lime"))).tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_truncated_file_is_broken(form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    assert reason(data[: len(data) // 2])


def test_an_empty_file_is_broken():
    assert reason(b"") == "the file is empty"


@pytest.mark.parametrize("data", [b"just some text, renamed to .jpg", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_picture_is_broken(data):
    assert reason(data) == "not a picture of a known format"


def test_every_cut_of_a_picture_is_a_picture_or_broken_and_nothing_else():
    data = encoded(Image.fromarray(RAMP).resize((40, 40)), "TIFF")
    for length in range(0, len(data), 101):
        with contextlib.suppress(BrokenPicture):
            assert decode_picture(data[:length], "cut").mode == "RGB"


def test_a_picture_over_the_limit_is_refused_by_its_header():
    header_only = encoded(Image.new("L", (2000, 1000)))[:60]
    assert reason(header_only, max_megapixels=1.9) == "it has more than 1.9 megapixels"


@pytest.mark.parametrize("side", [15000, 60000])
def test_decompression_bombs_are_refused(side):
    bomb = b"P6 %d %d 255\n" % (side, side)  # a header that promises the pixels
    assert reason(bomb) == "it has more than 178 megapixels"


def test_a_large_picture_under_the_limit_is_decoded():
    assert pixels(encoded(Image.new("1", (1100, 1000))), max_megapixels=1.1).shape == (1000, 1100, 3)


def test_a_missing_file_is_broken_with_its_path(tmp_path):
    with pytest.raises(BrokenPicture, match="no such file") as caught:
        read_picture(tmp_path / "gone.jpg")
    assert caught.value.path == str(tmp_path / "gone.jpg")


def test_a_file_that_may_not_be_read_is_broken(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(BrokenPicture, match="permission denied"):
        read_picture(Path("locked.jpg"))


def test_a_broken_picture_comes_whole_out_of_a_worker():
    error = pickle.loads(pickle.dumps(BrokenPicture("a.jpg", "the file is empty")))
    assert (error.path, error.reason, str(error)) == ("a.jpg", "the file is empty", "a.jpg: the file is empty")
