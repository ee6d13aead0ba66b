"""HDF5 files of weights, parsed without the HDF5 library, which crashes the process on damaged files.

Only the layout that h5py and Keras write by default is read: no links out of the file, no external storage, no packed
or chunked data. Whatever else a file claims is refused before memory is set aside for it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import IO, TYPE_CHECKING

import numpy as np

from ception.weights.tensors import MOST_NAMES, Allowance, RefusedError, to_float32, widened

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNUSUAL = "in a way that Keras does not write: load it in Keras and save it again"
_LONGEST_NAME = 1024
_FLOATS = {
    (8, 11, 52, 1023): "f8", (4, 8, 23, 127): "f4", (2, 5, 10, 15): "f2", (2, 8, 7, 127): "bfloat16",
}  # fmt: skip


class Hdf5:
    """An HDF5 file of the first layout (superblock 0), which h5py writes unless told otherwise.

    Source: HDF5 File Format Specification, version 3.0, sections II.A, III.A to III.E and IV.A.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.length = file.seek(0, 2)
        self._left = 64 << 20  # bytes of structure; the family's largest network has 3 MB
        self._heaps: dict[int, dict[int, bytes]] = {}

    def root(self) -> Node:
        """The group that all others are in."""
        head = self.read(0, 96)
        if not head.startswith(SIGNATURE):
            raise ValueError("it is no HDF5")
        if head[8] != 0 or head[13:15] != b"\x08\x08":
            raise RefusedError(f"it is laid out {_UNUSUAL}")
        (end,) = struct.unpack_from("<Q", head, 40)
        if end > self.length:
            raise ValueError(f"it has {self.length:,} of {end:,} bytes")
        return Node(self, *struct.unpack_from("<Q", head, 64))

    def read(self, start: int, length: int, signature: bytes = b"") -> bytes:
        """Some bytes of structure, which must begin with a signature."""
        self._left -= length + 64  # so that structures in a circle come to an end
        if self._left < 0:
            raise RefusedError("its structure is implausibly large")
        if start + length > self.length:
            raise ValueError("a part of it lies beyond its end")
        self.file.seek(start)
        content = self.file.read(length)
        if not content.startswith(signature):
            raise ValueError(f"its {signature.decode()} is broken")
        return content

    def messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """What the header of a group or dataset says, as pairs of a type and its content."""
        version, count, length = struct.unpack("<BxHxxxxI", self.read(address, 12))
        if version != 1:
            raise RefusedError(f"it is laid out {_UNUSUAL}")
        blocks = [(address + 16, length)]
        for start, length in blocks:
            block, at = self.read(start, length), 0
            while at + 8 <= length and count:
                kind, size, flags = struct.unpack_from("<HHB", block, at)
                content, at, count = block[at + 8 : at + 8 + size], at + 8 + size, count - 1
                if flags & 2:
                    raise RefusedError(f"it shares types {_UNUSUAL}")
                if kind == 0x10:  # goes on elsewhere
                    blocks.append(struct.unpack_from("<QQ", content))
                else:
                    yield kind, content

    def members(self, tree: int, heap: int) -> dict[str, int]:
        """Names and addresses in a group."""
        size, names_at = struct.unpack("<8xQ8xQ", self.read(heap, 32, b"HEAP"))
        names, members, pending = self.read(names_at, size), {}, [tree]
        while pending:
            address = pending.pop()
            if self.read(address, 4) == b"TREE":
                (used,) = struct.unpack("<6xH", self.read(address, 8))
                keys = struct.unpack(f"<{2 * used}Q", self.read(address + 24, 16 * used))
                pending += reversed(keys[1::2])
                continue
            (used,) = struct.unpack("<6xH", self.read(address, 8, b"SNOD"))
            for name_at, target in struct.iter_unpack("<QQ24x", self.read(address + 8, 40 * used)):
                members[names[name_at : name_at + _LONGEST_NAME].partition(b"\0")[0].decode()] = target
        return members

    def text(self, heap: int, number: int) -> bytes:
        """A string of any length."""
        if heap not in self._heaps:
            (size,) = struct.unpack("<8xQ", self.read(heap, 16, b"GCOL"))
            content, at, texts = self.read(heap, size), 16, {}
            while at + 16 <= size:
                index, length = struct.unpack_from("<H6xQ", content, at)
                if not index:
                    break
                texts[index] = content[at + 16 : at + 16 + length]
                at += 16 + -(-length // 8) * 8
            self._heaps[heap] = texts
        if number not in self._heaps[heap]:
            raise ValueError("a name in it is missing")
        return self._heaps[heap][number]


class Node:
    """A group or dataset of an HDF5 file."""

    def __init__(self, file: Hdf5, address: int, name: str = "/") -> None:
        self._file, self.address, self._name = file, address, name
        self._messages = list(file.messages(address))

    def _content(self, kind: int) -> bytes | None:
        return next((content for other, content in self._messages if other == kind), None)

    @cached_property
    def members(self) -> dict[str, int]:
        """Addresses by name, none for a dataset."""
        if table := self._content(0x11):
            return self._file.members(*struct.unpack_from("<QQ", table))
        if self._content(0x02) or self._content(0x06):
            raise RefusedError(f"{self._name} links its members, perhaps to other files, {_UNUSUAL}")
        return {}

    def within(self, path: str) -> Node:
        """The group or dataset at a path, which lies in the file itself."""
        node = self
        for name in path.split("/"):
            address = node.members.get(name, self._file.length)
            if address >= self._file.length:
                raise RefusedError(f"its {path[:80]} is missing, or a link out of it")
            node = Node(self._file, address, name)
        return node

    @cached_property
    def attributes(self) -> dict[str, list[str]]:
        """Attributes that are strings; any other is empty."""
        return dict(self._attribute(content) for kind, content in self._messages if kind == 0x0C)

    def _attribute(self, content: bytes) -> tuple[str, list[str]]:
        version, shared, *sizes = struct.unpack_from("<BBHHH", content)
        at, parts = (9 if version == 3 else 8), []
        for size in sizes:
            parts.append(content[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name, kind, space = parts
        key = name.partition(b"\0")[0].decode()
        (item,), count = struct.unpack_from("<I", kind, 4), math.prod(_shape(space))
        if (version > 1 and shared & 3) or count > MOST_NAMES or at + count * item > len(content):
            raise RefusedError(f"its attribute {key[:80]} is written {_UNUSUAL}")
        items = [content[start : start + item] for start in (at + item * number for number in range(count))]
        if kind[0] & 15 == 3:  # strings of one length
            return key, [text.rstrip(b"\0").decode() for text in items]
        if kind[0] & 15 == 9 and kind[1] & 15 == 1:  # of any length
            references = [struct.unpack("<IQI", text) for text in items]
            return key, [self._file.text(heap, number)[:length].decode() for length, heap, number in references]
        return key, []

    def tensor(self, allowance: Allowance) -> NDArray[np.float32] | None:
        """A dataset's floats, None if it holds something else."""
        kind, space, layout = self._content(0x03), self._content(0x01), self._content(0x08)
        if kind is None or space is None or layout is None:
            raise ValueError(f"{self._name} is no tensor")
        dtype = self._dtype(kind)
        if dtype is None:
            return None
        if layout[0] not in (3, 4) or layout[1] != 1 or self._content(0x07):  # not in one piece, or in other files
            raise RefusedError(f"{self._name} is stored in pieces, packed or outside the file, {_UNUSUAL}")
        shape, numpy_type = _shape(space), np.dtype(dtype.replace("bfloat16", "u2"))
        start, length = struct.unpack_from("<QQ", layout, 2)
        allowance.take(shape, numpy_type.itemsize)
        if length != math.prod(shape) * numpy_type.itemsize or (length and start + length > self._file.length):
            raise ValueError(f"{self._name} has fewer values than its shape {shape} says")
        self._file.file.seek(start if length else 0)
        values = np.fromfile(self._file.file, numpy_type, math.prod(shape)).reshape(shape)
        return widened(values) if "bfloat16" in dtype else to_float32(values)

    def _dtype(self, kind: bytes) -> str | None:
        """NumPy's name of a type, or `bfloat16`; None if it is no float."""
        (size,) = struct.unpack_from("<I", kind, 4)
        if kind[0] & 15 == 5 and size == 2 and self.attributes.get("dtype") == ["bfloat16"]:
            return "<bfloat16"
        if kind[0] & 15 != 1:
            return None
        if (name := _FLOATS.get((size, kind[13], kind[15], *struct.unpack_from("<I", kind, 16)))) is None:
            raise RefusedError(f"{self._name} holds numbers written {_UNUSUAL}")
        return f"{'>' if kind[1] & 1 else '<'}{name}"


def _shape(space: bytes) -> tuple[int, ...]:
    if space[0] == 2 and space[3] == 2:  # nothing at all
        return (0,)
    return struct.unpack_from(f"<{space[1]}Q", space, 8 if space[0] == 1 else 4)
