from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ception.data import images, pictures
from ception.data.images import ImageContract, PictureError, decode, open_picture, to_pixels
from ception.errors import InputError

RGB = ImageContract(height=4, width=6, channels=3)
GREY = ImageContract(height=4, width=6, channels=1)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixel(data: bytes, contract: ImageContract = RGB) -> list[int]:
    """The top left pixel after decoding and fitting."""
    return to_pixels(decode(data), contract)[0, 0].tolist()


def said_to_be(width: int, height: int) -> bytes:
    """A PNG without content whose header names a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def solid(mode: str, colour, size=(6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


class TestKinds:
    def test_rgb_stays_as_it_is(self):
        values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
        np.testing.assert_array_equal(to_pixels(decode(encoded(Image.fromarray(values))), RGB), values)

    def test_grey_becomes_three_equal_channels(self):
        assert pixel(encoded(solid("L", 77))) == [77, 77, 77]

    def test_colour_becomes_grey_by_luma(self):
        assert pixel(encoded(solid("RGB", (255, 0, 0))), GREY) == [76]

    def test_transparent_lies_over_white(self):
        assert pixel(encoded(solid("RGBA", (0, 0, 0, 0)))) == [255, 255, 255]
        assert pixel(encoded(solid("RGBA", (200, 0, 0, 255)))) == [200, 0, 0]
        assert pixel(encoded(solid("LA", (0, 0))), GREY) == [255]

    def test_half_transparent_is_mixed_with_white(self):
        assert np.allclose(pixel(encoded(solid("RGBA", (0, 0, 0, 128)))), 127, atol=1)

    def test_palette_and_its_transparent_colour(self):
        image = solid("P", 1)
        image.putpalette([0, 0, 0, 10, 200, 30])
        assert pixel(encoded(image, "PNG")) == [10, 200, 30]
        assert pixel(encoded(image, "PNG", transparency=1)) == [255, 255, 255]

    def test_cmyk(self):
        assert np.allclose(pixel(encoded(solid("CMYK", (0, 255, 255, 0)), "JPEG", quality=100)), [255, 0, 0], atol=12)

    def test_one_bit(self):
        assert pixel(encoded(solid("1", 1)), GREY) == [255]

    @pytest.mark.parametrize("format", ["PNG", "TIFF"])
    def test_sixteen_bits_are_scaled(self, format):
        image = Image.fromarray(np.full((4, 6), 0x8080, np.uint16))
        assert pixel(encoded(image, format), GREY) == [0x80]
        assert pixel(encoded(image, format)) == [0x80] * 3
        assert pixel(encoded(Image.fromarray(np.full((4, 6), 65535, np.uint16)), format), GREY) == [255]

    def test_floating_point_is_refused(self):
        with pytest.raises(PictureError, match="floating-point"):
            pixel(encoded(Image.fromarray(np.zeros((4, 6), np.float32)), "TIFF"))

    @pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
    def test_first_frame_of_an_animation(self, format):
        frames = [solid("RGB", colour) for colour in ((250, 0, 0), (0, 250, 0))]
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)
        assert np.allclose(pixel(data), [250, 0, 0], atol=6)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation(self, orientation):
        upright = np.zeros((4, 6, 3), np.uint8)
        upright[0, 0] = 255
        stored = {
            1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
            5: upright.swapaxes(0, 1),
            6: np.rot90(upright), 7: upright.swapaxes(0, 1)[::-1, ::-1], 8: np.rot90(upright, -1),
        }[orientation]  # fmt: skip
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
        np.testing.assert_array_equal(to_pixels(decode(data), RGB), upright)


class TestNames:
    def test_the_content_decides_not_the_suffix(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(encoded(solid("RGB", (9, 8, 7)), "PNG"))
        assert to_pixels(images.read(tmp_path / "a.jpg"), RGB)[0, 0].tolist() == [9, 8, 7]

    def test_one_pixel(self):
        assert pixel(encoded(solid("RGB", (9, 8, 7), (1, 1)))) == [9, 8, 7]

    def test_a_folder_with_the_name_of_a_picture(self, tmp_path):
        (tmp_path / "a.jpg").mkdir()
        with pytest.raises(PictureError, match="Is a directory"):
            images.read(tmp_path / "a.jpg")


class TestBroken:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "empty"),
            (b"hello, I am text", "not a picture"),
            (encoded(solid("RGB", "red"))[:50], "broken"),
            (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:700], "broken"),
            (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not a picture|broken"),
        ],
    )
    def test_is_refused_with_a_reason(self, data, says):
        with pytest.raises(PictureError, match=says):
            decode(data)

    def test_decompression_bomb_is_refused_with_its_size(self):
        with pytest.raises(PictureError, match="400,000,000 pixels"):
            decode(said_to_be(20000, 20000))

    def test_pillow_may_warn_of_a_large_one(self, tmp_path):
        (tmp_path / "large.png").write_bytes(said_to_be(11000, 10000))
        with pytest.warns(Image.DecompressionBombWarning):
            assert images.shorter_side(tmp_path / "large.png") == 10000

    def test_importing_leaves_the_filters_of_warnings(self):
        code = "import warnings, numpy, PIL.Image; before = list(warnings.filters); import ception.data.images"
        subprocess.run([sys.executable, "-c", f"{code}; assert warnings.filters == before"], check=True)

    @given(st.binary(max_size=300))
    def test_any_bytes_give_a_picture_or_a_reason(self, data):
        with suppress(PictureError):
            assert to_pixels(decode(data), RGB).shape == RGB.shape

    @given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
    def test_any_changed_byte_gives_a_picture_or_a_reason(self, place, value, format):
        data = bytearray(encoded(Image.effect_noise((16, 12), 60).convert("RGB"), format))
        data[place % len(data)] = value
        with suppress(PictureError):
            assert to_pixels(decode(bytes(data)), RGB).shape == RGB.shape

    def test_missing_file(self, tmp_path):
        with pytest.raises(PictureError, match="No such file"):
            images.read(tmp_path / "none.png")


class TestResize:
    @pytest.mark.parametrize("size", [(1, 1), (500, 3), (3, 500), (6, 4)])
    @pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_any_shape_fits(self, size, resize, channels):
        contract = ImageContract(height=9, width=5, channels=channels, resize=resize)
        found = to_pixels(Image.new("RGB", size, (9, 9, 9)), contract)
        assert found.shape == (9, 5, channels)
        assert found.dtype == np.uint8

    def test_shrinking_does_not_alias(self):
        stripes = np.zeros((64, 64), np.uint8)
        stripes[:, ::2] = 255
        found = to_pixels(Image.fromarray(stripes), ImageContract(height=9, width=9, channels=1))
        assert found.min() > 110
        assert found.max() < 145

    def test_crop_keeps_the_middle_and_pad_keeps_all(self):
        picture = Image.fromarray(np.repeat(np.array([[0, 100, 200, 255]], np.uint8), 2, 0))
        square = {"height": 2, "width": 2, "channels": 1}
        assert to_pixels(picture, ImageContract(**square, resize="crop"))[..., 0].tolist() == [[100, 200]] * 2
        padded = to_pixels(picture, ImageContract(height=4, width=4, channels=1, resize="pad"))[..., 0]
        assert padded.tolist() == [[0] * 4, [0, 100, 200, 255], [0, 100, 200, 255], [0] * 4]

    def test_arrays_go_the_same_way(self):
        values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
        np.testing.assert_array_equal(to_pixels(images.from_array(values), RGB), values)
        np.testing.assert_array_equal(to_pixels(images.from_array(values[..., :1]), GREY), values[..., :1])
        assert to_pixels(images.from_array(values[..., 0]), RGB).shape == (4, 6, 3)


VALUES = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
PNG = encoded(Image.fromarray(VALUES))


def turned() -> Image.Image:
    """`VALUES` as a camera that was held upright stores them."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return Image.open(io.BytesIO(encoded(Image.fromarray(np.ascontiguousarray(np.rot90(VALUES))), exif=exif)))


class Stream:
    """What comes over the network: it can be read once, and not be wound back."""

    def __init__(self, data: bytes):
        self.read = io.BytesIO(data).read


class Failing(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise OSError(5, "Input/output error")


def wound_on(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.read()
    return file


def closed(file: io.BytesIO) -> io.BytesIO:
    file.close()
    return file


KINDS = {
    "bytes": lambda: PNG,
    "bytearray": lambda: bytearray(PNG),
    "memoryview": lambda: memoryview(PNG),
    "file object": lambda: io.BytesIO(PNG),
    "file object that was read before": lambda: wound_on(PNG),
    "stream": lambda: Stream(PNG),
    "array": lambda: VALUES.copy(),
    "view of an array": lambda: np.repeat(VALUES, 2, 1)[:, ::2],
    "Pillow image": lambda: Image.fromarray(VALUES),
    "Pillow image not read yet": lambda: Image.open(io.BytesIO(PNG)),
    "Pillow image that lies on its side": turned,
}

WRONG = {
    "None": (lambda: None, "NoneType is nothing that a picture can be in: give a path"),
    "a number": (lambda: 3, "int is nothing"),
    "a list": (lambda: [[0, 1], [2, 3]], "list is nothing"),
    "text": (lambda: io.StringIO("text"), r"StringIO does not give bytes: open the file in binary mode \('rb'\)"),
    "floats": (lambda: VALUES / 255, r"an array of float64 \(4, 6, 3\) is no picture: scale its values to 0..255"),
    "wide integers": (lambda: VALUES.astype(np.int64), r"an array of int64 .* \.astype\('uint8'\)"),
    "a batch": (lambda: VALUES[None], r"an array of uint8 \(1, 4, 6, 3\) .* must have the shape \(height, width\)"),
    "channels first": (lambda: VALUES.transpose(2, 0, 1), r"\(3, 4, 6\) .* \(height, width, 1, 3 or 4\)"),
    "a row": (lambda: VALUES[0, :, 0], r"uint8 \(6,\) is no picture"),
    "no pixels": (lambda: VALUES[:0], r"uint8 \(0, 6, 3\) is no picture"),
}

BROKEN = {
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"hello", "not a picture of a known format"),
    "cut off": (lambda: io.BytesIO(PNG[:60]), "broken picture"),
    "closed": (lambda: closed(io.BytesIO(PNG)), "cannot be read: I/O operation on closed file"),
    "failing": (Failing, "cannot be read: Input/output error"),
    "missing": (lambda: "no/such.png", "cannot be read: No such file or directory"),
    "image cut off": (lambda: Image.open(io.BytesIO(PNG[:60])), "broken picture"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request):
    """A picture of `VALUES` in one of the kinds."""
    return request.param()


class TestOpenPicture:
    def test_any_kind_gives_the_same_pixels(self, kind):
        np.testing.assert_array_equal(to_pixels(open_picture(kind), RGB), VALUES)

    @pytest.mark.parametrize("as_path", [str, lambda path: path])
    def test_a_path(self, tmp_path, as_path):
        (tmp_path / "a.png").write_bytes(PNG)
        np.testing.assert_array_equal(open_picture(as_path(tmp_path / "a.png")), VALUES)
        with open(tmp_path / "a.png", "rb") as file:
            np.testing.assert_array_equal(open_picture(file), VALUES)

    @pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
    def test_shapes_of_arrays(self, shape):
        array = np.full(shape, 255, np.uint8)
        assert (to_pixels(open_picture(array), RGB) == 255).all()

    @pytest.mark.parametrize(("make", "says"), WRONG.values(), ids=WRONG.keys())
    def test_what_no_picture_can_be_in_is_refused(self, make, says):
        with pytest.raises(InputError, match=says):
            open_picture(make())

    @pytest.mark.parametrize(("make", "says"), BROKEN.values(), ids=BROKEN.keys())
    def test_what_cannot_be_read_is_told(self, make, says):
        with pytest.raises(PictureError, match=says):
            open_picture(make())

    def test_a_file_opened_as_text(self, tmp_path):
        (tmp_path / "a.png").write_bytes(PNG)
        with open(tmp_path / "a.png") as file, pytest.raises(InputError, match="binary mode"):
            open_picture(file)

    def test_neither_image_nor_array_is_changed_or_closed(self):
        image, array = turned(), VALUES.copy()
        open_picture(image).putpixel((0, 0), (1, 2, 3))
        assert image.getexif()[0x0112] == 6
        np.testing.assert_array_equal(image, np.rot90(VALUES))
        open_picture(array).putpixel((0, 0), (1, 2, 3))
        np.testing.assert_array_equal(array, VALUES)

    def test_of_an_animation_the_present_frame(self):
        frames = [solid("RGB", colour) for colour in ((250, 0, 0), (0, 250, 0))]
        data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50)
        assert to_pixels(open_picture(data), RGB)[0, 0].tolist() == [250, 0, 0]
        with Image.open(io.BytesIO(data)) as image:
            image.seek(1)
            assert to_pixels(open_picture(image), RGB)[0, 0].tolist() == [0, 250, 0]


class TestGiven:
    def test_any_kind_is_kept(self, kind):
        held = pictures.given([kind])
        assert len(held) == 1
        for _ in range(2):  # a stream can be read once only
            np.testing.assert_array_equal(to_pixels(held.open(0), RGB), VALUES)
            assert len(held.digest(0)) == 16
        assert held.name(0) == "picture 1"
        assert held.shorter_side(0) == 4
        assert not held.is_grey(0)

    def test_grey_is_told(self):
        grey = Image.fromarray(VALUES[..., 0])
        held = pictures.given([VALUES[..., :1], VALUES[..., 0], grey, encoded(grey), VALUES])
        assert [held.is_grey(index) for index in range(5)] == [True] * 4 + [False]

    def test_the_digest_is_that_of_a_data_set(self, tmp_path):
        (tmp_path / "a.png").write_bytes(PNG)
        path = str(tmp_path / "a.png")
        in_file, in_array = pictures.Files([path]).digest(0), pictures.Arrays([("x", VALUES[None])]).digest(0)
        held = pictures.given(
            [path, tmp_path / "a.png", PNG, io.BytesIO(PNG), VALUES, Image.fromarray(VALUES), turned()]
        )
        assert [held.digest(index) for index in range(7)] == [in_file] * 4 + [in_array] * 3

    def test_images_of_different_palettes_differ(self):
        images_ = [solid("P", 1), solid("P", 1)]
        for image, colour in zip(images_, (10, 20), strict=True):
            image.putpalette([0, 0, 0, colour, 200, 30])
        held = pictures.given(images_)
        assert held.digest(0) != held.digest(1)

    def test_names_are_paths_where_there_are_any(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(PNG)
        with open(path, "rb") as file, Image.open(path) as image:
            held = pictures.given([path, str(path), PNG, file, image, np.memmap(path, shape=(2, 2))])
        assert list(held.names) == [str(path), str(path), "picture 3", str(path), str(path), "picture 6"]
        np.testing.assert_array_equal(held.open(3), VALUES)  # though the files are closed by now
        np.testing.assert_array_equal(held.open(4), VALUES)

    @pytest.mark.parametrize(("make", "says"), WRONG.values(), ids=WRONG.keys())
    def test_what_no_picture_can_be_in_is_refused_with_its_number(self, make, says):
        with pytest.raises(InputError, match=f"picture 2: .*{says}"):
            pictures.given([PNG, make()])

    @pytest.mark.parametrize(("make", "says"), BROKEN.values(), ids=BROKEN.keys())
    def test_what_cannot_be_read_spoils_no_other(self, make, says):
        held = pictures.given([make(), PNG])
        with pytest.raises(PictureError, match=says):
            held.open(0)
        np.testing.assert_array_equal(held.open(1), VALUES)
        digests, unreadable = pictures.digests(held)
        assert digests[1].tobytes() == held.digest(1)
        assert set(unreadable) <= {0}

    def test_none_at_all(self):
        assert len(pictures.given([])) == 0
