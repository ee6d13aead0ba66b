from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ception.data import images
from ception.data.images import ImageContract, PictureError, decode, fit

RGB = ImageContract(height=4, width=6, channels=3)
GREY = ImageContract(height=4, width=6, channels=1)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixel(data: bytes, contract: ImageContract = RGB) -> list[int]:
    """The top left pixel after decoding and fitting."""
    return fit(decode(data), contract)[0, 0].tolist()


def solid(mode: str, colour, size=(6, 4)) -> Image.Image:
    return Image.new(mode, size, colour)


class TestKinds:
    def test_rgb_stays_as_it_is(self):
        values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
        np.testing.assert_array_equal(fit(decode(encoded(Image.fromarray(values))), RGB), values)

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
        np.testing.assert_array_equal(fit(decode(data), RGB), upright)


class TestNames:
    def test_the_content_decides_not_the_suffix(self, tmp_path):
        (tmp_path / "a.jpg").write_bytes(encoded(solid("RGB", (9, 8, 7)), "PNG"))
        assert fit(images.read(tmp_path / "a.jpg"), RGB)[0, 0].tolist() == [9, 8, 7]

    def test_one_pixel(self):
        assert pixel(encoded(solid("RGB", (9, 8, 7), (1, 1)))) == [9, 8, 7]

    def test_heic_is_told_what_to_do(self):
        with pytest.raises(PictureError, match="convert it to JPEG"):
            decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")

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
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        with pytest.raises(PictureError, match="400,000,000 pixels"):
            decode(data)

    @given(st.binary(max_size=300))
    def test_any_bytes_give_a_picture_or_a_reason(self, data):
        with suppress(PictureError):
            assert fit(decode(data), RGB).shape == RGB.shape

    @given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
    def test_any_changed_byte_gives_a_picture_or_a_reason(self, place, value, format):
        data = bytearray(encoded(Image.effect_noise((16, 12), 60).convert("RGB"), format))
        data[place % len(data)] = value
        with suppress(PictureError):
            assert fit(decode(bytes(data)), RGB).shape == RGB.shape

    def test_missing_file(self, tmp_path):
        with pytest.raises(PictureError, match="No such file"):
            images.read(tmp_path / "none.png")


class TestResize:
    @pytest.mark.parametrize("size", [(1, 1), (500, 3), (3, 500), (6, 4)])
    @pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_any_shape_fits(self, size, resize, channels):
        contract = ImageContract(height=9, width=5, channels=channels, resize=resize)
        found = fit(Image.new("RGB", size, (9, 9, 9)), contract)
        assert found.shape == (9, 5, channels)
        assert found.dtype == np.uint8

    def test_shrinking_does_not_alias(self):
        stripes = np.zeros((64, 64), np.uint8)
        stripes[:, ::2] = 255
        found = fit(Image.fromarray(stripes), ImageContract(height=9, width=9, channels=1))
        assert found.min() > 110
        assert found.max() < 145

    def test_crop_keeps_the_middle_and_pad_keeps_all(self):
        picture = Image.fromarray(np.repeat(np.array([[0, 100, 200, 255]], np.uint8), 2, 0))
        square = {"height": 2, "width": 2, "channels": 1}
        assert fit(picture, ImageContract(**square, resize="crop"))[..., 0].tolist() == [[100, 200]] * 2
        padded = fit(picture, ImageContract(height=4, width=4, channels=1, resize="pad"))[..., 0]
        assert padded.tolist() == [[0] * 4, [0, 100, 200, 255], [0, 100, 200, 255], [0] * 4]

    def test_arrays_go_the_same_way(self):
        values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
        np.testing.assert_array_equal(fit(images.from_array(values), RGB), values)
        np.testing.assert_array_equal(fit(images.from_array(values[..., :1]), GREY), values[..., :1])
        assert fit(images.from_array(values[..., 0]), RGB).shape == (4, 6, 3)
