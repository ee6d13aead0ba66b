"""Where each format keeps a text of ours, and all that is not this text.

A text is put into a file that its own library has written, and read without that library: an ONNX model is a message of
protocol buffers, which may be longer by a field; LiteRT's models carry files in a ZIP archive behind them; PyTorch's
programs are ZIP archives; OpenVINO's graph is XML with a place for what others have to say; TensorFlow's folder has one
for files, too.

Source: ModelProto.metadata_props in onnx/onnx.proto3; TensorFlow Lite Metadata, "associated files"; the `assets.extra`
of SavedModel's README; the `extra` folder of PyTorch's PT2 archives; `rt_info` of OpenVINO's IR.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape, unescape

from ception.artefacts import FormatName, files_of

KEY = "ception"  # what the text is called, where it has a name
MEMBER = "ception.json"  # and where it is a file
PLACE = b'<ception value="" />'  # what an OpenVINO graph is written with
MOST_TEXT = 256 << 20  # bytes; ImageNet's training digests take 10 MB
_QUOTED = {'"': "&quot;"}
_UNQUOTED = {"&quot;": '"', "&#10;": "\n"}
_IN_XML = re.compile(rb'<ception value="([^"]*)" ?/>')
_CHUNK = 1 << 22


class DamagedError(Exception):
    """What a file holds cannot be read as its format says; the message says why."""


class Container(NamedTuple):
    """How one format keeps the text.

    Attributes:
        text: Reads it; None where there is none.
        rest: All bytes that are not the text, in a fixed order.
        put: Writes it into an artefact that has none.
    """

    text: Callable[[Path], str | None]
    rest: Callable[[Path], Iterator[bytes]]
    put: Callable[[Path, str], None]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


# ONNX: fields of a message, each a tag, and the length of what follows


_PROPERTY = 14  # metadata_props of ModelProto, an entry with key (1) and value (2)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of variable length, and where what follows it begins."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise DamagedError("a number in it is cut off")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Number, content and all bytes of each field of a message; the content of a number's field is empty."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, wire, content = tag >> 3, tag & 7, data[:0]
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, at = _varint(data, at)
            content, at = data[at : at + length], at + length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise DamagedError(f"a field of its message has the type {wire}")
        if at > len(data) or number == 0:
            raise DamagedError("a field of its message is cut off")
        yield number, content, data[start:at]


def _entry(content: memoryview) -> tuple[str, str]:
    """Key and value of an entry."""
    held = {number: value for number, value, _ in _fields(content)}
    return bytes(held.get(1, b"")).decode(), bytes(held.get(2, b"")).decode()


def _is_ours(number: int, content: memoryview) -> bool:
    return number == _PROPERTY and _entry(content)[0] == KEY


def _onnx_text(path: Path) -> str | None:
    for number, content, _ in _fields(memoryview(path.read_bytes())):
        if _is_ours(number, content):
            return _entry(content)[1]
    return None


def _onnx_rest(path: Path) -> Iterator[bytes]:
    for number, content, whole in _fields(memoryview(path.read_bytes())):
        if not _is_ours(number, content):
            yield bytes(whole)


def _length(value: int) -> bytes:
    """A number of variable length."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def _put_into_onnx(path: Path, text: str) -> None:
    entry = b"".join(
        bytes([number << 3 | 2]) + _length(len(value)) + value
        for number, value in ((1, KEY.encode()), (2, text.encode()))
    )
    with path.open("ab") as file:
        file.write(bytes([_PROPERTY << 3 | 2]) + _length(len(entry)) + entry)


# ZIP archives, alone or behind a file


def _zip_text(path: Path) -> str | None:
    with path.open("rb") as file:  # of one that cannot be opened, too, it would say no more than that it is no archive
        if not zipfile.is_zipfile(file):
            return None
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == MEMBER]
        if not names:
            return None
        if archive.getinfo(names[0]).file_size > MOST_TEXT:
            raise DamagedError(f"its {MEMBER} is larger than {MOST_TEXT / 1e9:.1f} GB")
        return archive.read(names[0]).decode()


def _litert_rest(path: Path) -> Iterator[bytes]:
    """What comes before the archive; all, where there is none."""
    end = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            end = min((item.header_offset for item in archive.infolist()), default=end)
    for chunk in _chunks(path):
        yield chunk[:end]
        end -= len(chunk)
        if end <= 0:
            return


def _torch_rest(path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        for item in archive.infolist():
            if item.filename.rpartition("/")[2] != MEMBER:
                if item.compress_type != zipfile.ZIP_STORED:  # PyTorch packs nothing, and what is packed may be endless
                    raise DamagedError(f"{item.filename} in it is packed")
                yield item.filename.encode()
                with archive.open(item) as file:
                    yield from iter(lambda: file.read(_CHUNK), b"")


def _put_into_litert(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(MEMBER, text)


def _put_into_torch(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/{MEMBER}", text)


# OpenVINO: XML beside its numbers


def _openvino_text(path: Path) -> str | None:
    held = _IN_XML.search(path.read_bytes())
    return unescape(held[1].decode(), _UNQUOTED) if held and held[1] else None


def _openvino_rest(path: Path) -> Iterator[bytes]:
    yield _IN_XML.sub(PLACE, path.read_bytes(), count=1)
    yield from _chunks(path.with_suffix(".bin"))


def _put_into_openvino(path: Path, text: str) -> None:
    graph = path.read_bytes()
    if PLACE not in graph:
        raise ValueError(f"{path} has no place for a text")
    path.write_bytes(graph.replace(PLACE, f'<ception value="{escape(text, _QUOTED)}" />'.encode(), 1))


# TensorFlow: a folder


def _extra(path: Path) -> Path:
    return path / "assets.extra" / MEMBER


def _names_of_others(path: Path) -> list[str]:
    """What lies where TensorFlow does not look; an OSError where there is no such folder at all."""
    return os.listdir(_extra(path).parent) if _extra(path).parent.name in os.listdir(path) else []


def _folder_text(path: Path) -> str | None:
    return _extra(path).read_text("utf-8") if MEMBER in _names_of_others(path) else None


def _folder_rest(path: Path) -> Iterator[bytes]:
    for file in files_of(path):
        if file != _extra(path):
            yield file.relative_to(path).as_posix().encode()
            yield from _chunks(file)


def _put_into_folder(path: Path, text: str) -> None:
    _extra(path).parent.mkdir(exist_ok=True)
    _extra(path).write_text(text, "utf-8")


CONTAINERS: dict[FormatName, Container] = {
    "onnx": Container(_onnx_text, _onnx_rest, _put_into_onnx),
    "openvino": Container(_openvino_text, _openvino_rest, _put_into_openvino),
    "litert": Container(_zip_text, _litert_rest, _put_into_litert),
    "saved-model": Container(_folder_text, _folder_rest, _put_into_folder),
    "torch": Container(_zip_text, _torch_rest, _put_into_torch),
}
