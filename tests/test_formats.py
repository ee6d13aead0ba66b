from __future__ import annotations

import io
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import ception
from ception.checking import scan
from ception.data import formats, images
from ception.data.images import PictureError, decode
from ception.data.pictures import Files
from support.pictures import write_pictures
from support.reporters import Notes

UPRIGHT = np.zeros((16, 24, 3), np.uint8)
UPRIGHT[:, :12], UPRIGHT[:, 12:], UPRIGHT[:4] = (220, 30, 30), (30, 30, 220), (30, 220, 30)
LYING = Image.fromarray(UPRIGHT).transpose(Image.Transpose.ROTATE_90)  # as orientation 6 stores it
ORIENTED = struct.pack("<HHII", 0x0112, 3, 1, 6)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF tiff:Orientation="6"/></x:xmpmeta>'


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def with_exif(entry: bytes, more: bytes = b"") -> bytes:
    """A JPEG that lies on its side, whose EXIF holds one more entry, which begins what lies at byte 38."""
    directory = struct.pack("<H", 2) + ORIENTED + entry + b"\0\0\0\0"
    body = b"Exif\0\0II*\0\x08\0\0\0" + directory + more
    data = encoded(LYING, "JPEG", quality=95, subsampling=0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def assert_upright(image: Image.Image) -> None:
    found = np.asarray(image.convert("RGB"), int)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found - UPRIGHT).mean() < 15  # a JPEG of few pixels


# What cannot be written back: a rational number whose sign or size its type has no room for
BAD_EXIF = {
    "a negative number of an unsigned kind": with_exif(
        struct.pack("<HHII", 0x011A, 10, 1, 38), struct.pack("<ii", -1, 0)
    ),
    "a division by zero": with_exif(struct.pack("<HHII", 0x011A, 5, 1, 38), struct.pack("<II", 72, 0)),
    "two numbers for one": with_exif(struct.pack("<HHII", 0x011A, 3, 2, 0x00480048)),
    "an unknown type": with_exif(struct.pack("<HHII", 0x0131, 99, 1, 0)),
}
BAD_EXIF_THAT_ENDS = with_exif(struct.pack("<HHII", 0x0131, 2, 500, 60000))


class TestOrientation:
    @pytest.mark.parametrize("data", BAD_EXIF.values(), ids=BAD_EXIF.keys())
    def test_is_read_from_exif_with_a_bad_number(self, data, tmp_path):
        assert_upright(decode(data))
        (tmp_path / "a.jpg").write_bytes(data)
        facts, failed = scan.scan(Files([str(tmp_path / "a.jpg")]), str(tmp_path), cache_limit=1, reporter=Notes())
        assert (not failed, *facts[["orientation", "width", "height"]][0].tolist()) == (True, 6, 24, 16)

    @pytest.mark.filterwarnings("ignore:Tag data larger than file")
    def test_is_read_from_exif_that_ends_too_early(self):
        assert_upright(decode(BAD_EXIF_THAT_ENDS))

    def test_rubbish_turns_nothing(self):
        data = with_exif(b"")
        place = data.index(b"II*\0")
        image = decode(data[:place] + b"what" + data[place + 4 :])
        assert image.size == LYING.size

    @pytest.mark.parametrize("stated", [0, 9, 77])
    def test_a_number_that_is_none_turns_nothing(self, stated):
        exif = Image.Exif()
        exif[0x0112] = stated
        assert decode(encoded(LYING, "JPEG", exif=exif)).size == LYING.size

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_what_was_turned_is_not_turned_again(self, format):
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = decode(encoded(LYING, format, exif=exif))
        assert_upright(turned)
        assert_upright(images.open_picture(turned))


def text(keyword: str, value: str, *, plain: bool = False, international: bool = False) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    (info.add_itxt if international else info.add_text)(keyword, value, zip=not plain)
    return info


def late(data: bytes) -> bytes:
    """The same PNG with its text behind its pixels."""
    chunks, place = [], 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        chunks.append(data[place:end])
        place = end
    chunks.sort(key=lambda chunk: (chunk[4:8] == b"IEND", chunk[4:8] in (b"zTXt", b"iTXt")))
    return data[:8] + b"".join(chunks)


COLOUR = Image.fromarray(UPRIGHT)
LONG = {
    "compressed text": encoded(COLOUR, "PNG", pnginfo=text("prompt", "a" * 3_000_000)),
    "international text": encoded(COLOUR, "PNG", pnginfo=text("parameters", "ü" * 1_000_000, international=True)),
    "much plain text": encoded(COLOUR, "PNG", pnginfo=text("workflow", "a" * 70_000_000, plain=True)),
    "text behind the pixels": late(encoded(COLOUR, "PNG", pnginfo=text("prompt", "a" * 3_000_000))),
    "a colour profile": encoded(COLOUR, "PNG", icc_profile=bytes(2_000_000)),
}


class TestPng:
    @pytest.mark.parametrize("data", LONG.values(), ids=LONG.keys())
    def test_long_text_is_no_reason_to_refuse_it(self, data, tmp_path):
        limits = PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
        with pytest.raises(
            ValueError, match=r"Decompressed data too large|Too much memory"
        ):  # or there is no test here
            Image.open(io.BytesIO(data)).load()
        np.testing.assert_array_equal(decode(data), UPRIGHT)
        (tmp_path / "a.png").write_bytes(data)
        for picture in (data, tmp_path / "a.png"):
            assert not images.is_grey(picture)
            assert images.shorter_side(picture) == 16
        assert limits == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)

    def test_is_described_by_the_check(self, tmp_path):
        (tmp_path / "a.png").write_bytes(LONG["compressed text"])
        facts, failed = scan.scan(Files([str(tmp_path / "a.png")]), str(tmp_path), cache_limit=1, reporter=Notes())
        assert not failed
        assert facts[["format", "mode", "width", "height"]][0].tolist() == (b"PNG", b"RGB", 24, 16)

    @pytest.mark.parametrize("long_one", [text("prompt", "a" * 3_000_000)])
    def test_text_that_tells_the_orientation_stays(self, long_one):
        long_one.add_itxt("XML:com.adobe.xmp", XMP)
        assert_upright(decode(encoded(LYING, "PNG", pnginfo=long_one)))

    @pytest.mark.parametrize("international", [False, True])
    def test_so_does_long_text_that_does(self, international):
        if international:
            info = text("XML:com.adobe.xmp", XMP + " " * 3_000_000, international=True)
        else:
            exif = struct.pack("<2sHIH", b"II", 42, 8, 1) + ORIENTED + bytes(4)
            info = text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}" + "\n" * 3_000_000)
        assert_upright(decode(encoded(LYING, "PNG", pnginfo=info)))

    def test_orientation_in_text_beyond_all_measure_is_not_passed_over(self):
        info = text("XML:com.adobe.xmp", XMP + " " * (formats._LONGEST_TEXT + 1), international=True)
        with pytest.raises(PictureError, match="too large"):
            decode(encoded(LYING, "PNG", pnginfo=info))

    def test_pixels_cut_off_are_broken_with_any_text(self):
        data = LONG["compressed text"]
        with pytest.raises(PictureError, match="broken"):
            decode(data[: data.index(b"IDAT") + 20])

    def test_too_many_pixels_are_refused_with_any_text(self):
        data = LONG["compressed text"]
        header = b"IHDR" + struct.pack(">II", 20_000, 20_000) + data[24:29]
        with pytest.raises(PictureError, match="400,000,000 pixels"):
            decode(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])

    @given(st.integers(0, 4000), st.integers(0, 255))
    def test_any_changed_byte_gives_a_picture_or_a_reason(self, place, value):
        data = bytearray(LONG["compressed text"])
        data[place % len(data)] = value
        with suppress(PictureError):
            assert decode(bytes(data)).size


def box(*brands: bytes) -> bytes:
    """The start of a file of the family of HEIF."""
    return struct.pack(">I4s", 12 + 4 * len(brands), b"ftyp") + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(40)


STARTS = {
    "HEIF": [box(b"heic", b"mif1"), box(b"heix"), box(b"hevc"), box(b"mif1", b"heic"), box(b"msf1", b"hevc")],
    "AVIF": [box(b"avif", b"mif1"), box(b"mif1", b"miaf", b"avif"), box(b"avis")],
    "JPEG XL": [b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)],
    "WEBP": [b"RIFF\0\0\0\0WEBP"],
    "": [b"", b"RIFF\0\0\0\0WAVE", box(b"mp42", b"isom"), b"hello"],
}


class TestKinds:
    @pytest.mark.parametrize(("kind", "start"), [(kind, one) for kind, some in STARTS.items() for one in some])
    def test_first_bytes_tell_the_format(self, kind, start):
        assert formats.kind_of(start) == kind

    @pytest.mark.parametrize(("kind", "extra", "module"), [
        ("HEIF", "heif", "pillow_heif"), ("JPEG XL", "jxl", "pillow_jxl.JpegXLImagePlugin"),
    ])  # fmt: skip
    def test_what_lacks_a_library_names_it(self, kind, extra, module, monkeypatch):
        monkeypatch.setitem(sys.modules, module, None)
        for start in STARTS[kind]:
            with pytest.raises(PictureError, match=rf"{kind} pictures .* 'ception\[{extra}\]', or convert it to JPEG"):
                decode(start)

    def test_avif_that_this_pillow_cannot_read(self, monkeypatch):
        monkeypatch.setattr(formats.features, "check", lambda name: False)
        with pytest.raises(PictureError, match=r"need Pillow 11\.3"):
            decode(STARTS["AVIF"][0])

    @pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
    def test_a_tiff_of_an_unknown_kind_is_not_called_no_picture(self):
        with pytest.raises(PictureError, match="a TIFF that is broken, or of a kind"):
            decode(b"II*\0\x10\0\0\0CR\2\0")

    def test_training_and_check_name_what_helps(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        monkeypatch.chdir(tmp_path)
        data = write_pictures(tmp_path / "d", {"a": 12, "b": 12})
        (data / "a" / "photo.heif").write_bytes(STARTS["HEIF"][0])
        (data / "b" / "photo.orig").write_bytes(STARTS["HEIF"][0])
        found = ception.check(data)
        told = {finding.kind: str(finding.as_dict()) for finding in found.findings}
        assert "ception[heif]" in told["unreadable"]
        assert f"{data / 'b' / 'photo.orig'} is a HEIF" in told["foreign_suffix"]
        with pytest.raises(ception.InputError, match=r"photo\.heif: HEIF .*ception\[heif\]"):
            ception.train(data, epochs=1, image_size=8, runs=tmp_path / "runs", reporter=Notes())

    def test_nothing_is_made_known_to_pillow(self):
        pytest.importorskip("pillow_heif")
        Image.init()  # or reading Exif makes Pillow's own TIFF known
        before = dict(Image.OPEN)
        assert_upright(decode(heif(6)))
        assert dict(Image.OPEN) == before


def heif(orientation: int) -> bytes:
    import pillow_heif

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    pillow_heif.from_pillow(LYING).save(stream, quality=95, exif=exif.tobytes())
    return stream.getvalue()


class TestPlugins:
    def test_heif_upright(self, tmp_path: Path):
        pytest.importorskip("pillow_heif")
        (tmp_path / "a.heic").write_bytes(heif(6))
        assert_upright(images.read(tmp_path / "a.heic"))
        assert images.shorter_side(tmp_path / "a.heic") == 16
        assert not images.is_grey(tmp_path / "a.heic")
        with pytest.raises(PictureError, match="broken"):
            decode(heif(6)[:300])

    def test_too_many_pixels_of_heif(self, monkeypatch):
        pytest.importorskip("pillow_heif")
        monkeypatch.setattr(formats, "MOST_PIXELS", 100)
        with pytest.raises(PictureError, match="384 pixels are more than the 100 allowed"):
            decode(heif(1))

    def test_jpeg_xl_is_turned_once(self, tmp_path: Path):
        pytest.importorskip("pillow_jxl")
        from pillow_jxl import JpegXLImagePlugin  # noqa: F401  it makes Pillow write them

        exif = Image.Exif()
        exif[0x0112] = 6
        pixels = encoded(Image.fromarray(UPRIGHT), "JXL", lossless=True, exif=exif.tobytes())
        assert_upright(decode(pixels))  # the standard: what EXIF says does not count
        LYING.save(tmp_path / "a.jpg", quality=95, exif=exif)
        with Image.open(tmp_path / "a.jpg") as image:
            packed = encoded(image, "JXL", lossless_jpeg=True)
        assert_upright(decode(packed))
        with pytest.raises(PictureError, match="broken"):
            decode(pixels[:60])
