"""Weight files that others wrote, read as named tensors: Keras, PyTorch, safetensors, TF-Slim, and this package's own.

Nothing in a file is run, no graph is deserialised, no link out of a file is followed, and what a file claims to hold
is checked before memory is set aside for it. HDF5 is read in Python, as far as Keras writes it, because the C library
crashes and hangs on broken files. `read` is all that others need.
"""

from __future__ import annotations

import importlib
import json
import math
import re
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from ception.errors import InputError, reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = dict[str, "NDArray[np.float32]"]

_MOST_BYTES = 4 << 30  # of all tensors; the family's largest network has 170 MB
_MOST_NAMES = 100_000  # of layers, tensors or members; the family's largest network has some 1,000 tensors
_MOST_JSON = 256 << 20  # bytes; ImageNet's training digests take 10 MB
_WEIGHTS, _DESCRIPTION = "model.weights.h5", "model.json"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TABLE = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # ends every table of TensorFlow: V1 checkpoints and .index files
_AGAIN = "download or copy it again"
_READABLE = "Keras (.h5, .weights.h5, .keras), safetensors, PyTorch (.pth) and TF-Slim (.ckpt) files"
_KINDS = {
    ".h5": "HDF5", ".hdf5": "HDF5", ".keras": "Keras", ".safetensors": "safetensors", ".pth": "PyTorch",
    ".pt": "PyTorch", ".bin": "PyTorch", ".ckpt": "TensorFlow", ".index": "TensorFlow", ".json": "Keras",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors of a weight file, as its writer named and laid them out.

    Attributes:
        path: The file.
        layout: Who named the tensors and ordered their axes; "ception" is Keras's, described by this package.
        tensors: float32 by name, in the order of the file; for Keras `<layer>/<variable>`. Keras 3 stores its layers
            by class: there the order is that of the classes, and within one class that of the layers.
        described: For layout "ception" what the file's `model.json` says, not checked any further.
    """

    path: Path
    layout: Literal["keras", "torch", "slim", "ception"]
    tensors: Tensors
    described: dict[str, Any] = field(default_factory=dict)


def read(path: Path | str) -> Checkpoint:
    """The tensors of a weight file, whose format is told by its content rather than by its name.

    Args:
        path: A file of Keras (legacy `.h5`, `.weights.h5`, its index `.weights.json` of several, or `.keras`), of
            safetensors, of PyTorch or of this package; or a TF-Slim checkpoint: its file, `.index` or prefix, or a
            folder with just one.

    Returns:
        All floating-point tensors.

    Raises:
        InputError: there is no such file, it is broken or no weight file, it holds no weights, claims an implausible
            size, holds more than tensors, or needs a package that is not installed.
    """
    path = Path(path)
    try:
        path = _located(path)
        kind, reader = _reader(path)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {reason(error)}") from None
    try:
        checkpoint = reader(path)
    except InputError:
        raise
    except _RefusedError as error:
        way_out = "" if ": " in str(error) else f": {_AGAIN}"
        raise InputError(f"{path} is refused: {_one_line(error)}{way_out}") from None
    except Exception as error:  # what a parser raises at a hostile file is not limited to what it documents
        raise InputError(
            f"{path} is no whole {kind} file (truncated, or another format): {_one_line(error)}; {_AGAIN}"
        ) from None
    if not checkpoint.tensors:
        raise InputError(
            f"{path} holds no weights, only a {kind} file's frame: save the weights, not the configuration"
        )
    return checkpoint


class _RefusedError(ValueError):
    """The file is whole, but not such as this module reads; the message says what to do."""


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(character for character in text if character.isprintable())[:200]


def _located(path: Path) -> Path:
    """The file that a path means: itself, or for a TF-Slim checkpoint its index or single file."""
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in (".index", ".ckpt") and file.is_file())
        if len(found) != 1:
            listed = f" ({', '.join(file.name for file in found[:5])})" if found else ""
            raise InputError(f"{path} is a folder with {len(found)} TF-Slim checkpoints{listed}: name the weight file")
        return found[0]
    prefix = Path(re.sub(r"\.data-\d{5}-of-\d{5}$", "", str(path)))
    index = prefix.with_name(f"{prefix.name}.index")
    if index.is_file() and (prefix != path or not path.exists()):
        return index
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not path.is_file():
        raise InputError(f"{path} is no regular file")
    return path


def _reader(path: Path) -> tuple[str, Callable[[Path], Checkpoint]]:
    """What a file's content says it is, in words, and what reads it."""
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(-min(8, len(head)), 2)
        tail = file.read()
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise InputError(f"{path} is empty (a failed download?): {_AGAIN}")
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a git-lfs pointer, not the weights: fetch them with 'git lfs pull'")
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise InputError(
            f"{path} is a web page, not weights (a failed download): {_AGAIN}, from the file's own address"
        )
    if head.startswith(_HDF5):
        return "HDF5", _read_h5
    if head.startswith(b"PK\x03\x04"):
        return _KINDS.get(path.suffix.lower(), "zip"), _read_zip
    if head[8:9] == b"{":
        return "safetensors", _read_safetensors
    if tail == _TABLE:
        return "TensorFlow", _read_slim
    if head.startswith(b"\x80") and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "PyTorch", _read_torch
    if text.startswith(b"{") and path.name.endswith(".weights.json"):
        return "Keras", _read_shards
    if kind := _KINDS.get(path.suffix.lower()):
        raise InputError(f"{path} is no whole {kind} file (truncated, or another format): {_AGAIN}")
    raise InputError(f"{path} is no weight file, or a broken one: {_READABLE} load")


class _Allowance:
    """What the tensors of a file may take, so that a small file cannot claim all memory."""

    def __init__(self, file_bytes: int) -> None:
        self._left = min(_MOST_BYTES, (64 << 20) + 100 * file_bytes)

    def take(self, shape: Iterable[int], item_bytes: int) -> None:
        """Count a tensor; raises `_RefusedError` where the file claims more than what is left."""
        self._left -= math.prod(int(length) for length in shape) * max(item_bytes, 4)
        if self._left < 0:
            raise _RefusedError("it claims to hold implausibly much for its size")


def _put(tensors: Tensors, name: str, tensor: NDArray[np.float32] | None) -> None:
    if name in tensors:
        raise _RefusedError(f"it holds {name[:80]} twice, perhaps in two networks: save the one you need alone")
    if tensor is not None:
        tensors[name] = tensor


def _float32(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # what float32 cannot hold becomes infinite
        return np.asarray(values, np.float32)


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """float32 from bfloat16, which is its upper half and no type of NumPy's."""
    wide = bits.astype(np.uint32)
    return np.left_shift(wide, 16, out=wide).view(np.float32)


# --- Keras


def _read_h5(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        return Checkpoint(path, "keras", _hdf5([file]))


def _read_shards(path: Path) -> Checkpoint:
    """Several `.weights.h5` that an index names, as Keras writes them with `max_shard_size`."""
    places = json.loads(path.read_bytes())["weight_map"].values()
    shards = {name for names in places for name in ([names] if isinstance(names, str) else names)}
    if any(Path(name).name != name for name in shards):
        raise _RefusedError("it names files outside its folder")
    with ExitStack() as stack:
        return Checkpoint(
            path, "keras", _hdf5([stack.enter_context((path.parent / n).open("rb")) for n in sorted(shards)])
        )


def _read_zip(path: Path) -> Checkpoint:
    _check_directory(path)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as weights:
        members = {member.filename: member for member in archive.infolist()}
        _Allowance(path.stat().st_size).take([sum(member.file_size for member in members.values())], 1)
        if any(name.endswith("/constants.pkl") for name in members):
            raise InputError(f"{path} is a TorchScript program: save its state_dict() with torch.save instead")
        if any(name.endswith("data.pkl") for name in members):
            return _read_torch(path, mapped=all(member.compress_type == 0 for member in members.values()))
        if _WEIGHTS not in members:
            raise InputError(f"{path} is an archive without {_WEIGHTS}: {_READABLE} load")
        texts = {name: _json_object(archive, members.get(name)) for name in (_DESCRIPTION, "config.json")}
        with archive.open(_WEIGHTS) as member:  # to a file: its checksum is verified, and it is in memory only once
            while piece := member.read(1 << 20):
                weights.write(piece)
        tensors = _hdf5([weights], texts["config.json"])
        return Checkpoint(path, "ception" if _DESCRIPTION in members else "keras", tensors, texts[_DESCRIPTION])


def _check_directory(path: Path) -> None:
    """Refuse a zip file with absurdly many members before `zipfile` makes an object of each."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise ValueError("its table of contents is missing")
    (size,) = struct.unpack_from("<L", tail, end + 12)
    if end >= 76 and tail[end - 76 :].startswith(b"PK\x06\x06"):  # the same numbers in 64 bits, as PyTorch writes them
        (size,) = struct.unpack_from("<Q", tail, end - 36)
    if size > 46 * _MOST_NAMES:  # 46 bytes is the least that a member takes
        raise _RefusedError("it holds absurdly many members")


def _json_object(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None) -> dict[str, Any]:
    if member is None:
        return {}
    if member.file_size > _MOST_JSON:
        raise _RefusedError(f"its {member.filename} is implausibly large")
    value = json.loads(archive.read(member))
    if not isinstance(value, dict):
        raise ValueError(f"its {member.filename} is no JSON object")
    return value


def _hdf5(files: list[IO[bytes]], config: dict[str, Any] | None = None) -> Tensors:
    allowance = _Allowance(sum(file.seek(0, 2) for file in files))
    roots = [_Hdf5(file).root() for file in files]
    legacy = roots[0].within("model_weights") if "model_weights" in roots[0].members else roots[0]
    if "layer_names" in legacy.attributes or "layer_names0" in legacy.attributes:
        return _legacy(legacy, allowance)
    return _numbered(roots, config or {}, allowance)


def _legacy(root: _Node, allowance: _Allowance) -> Tensors:
    """Layers with the names of their variables in attributes, as Keras 1 and 2 write them and Keras 3 still can."""
    tensors: Tensors = {}
    for layer in _names(root, "layer_names"):
        group = root.within(layer)
        paths = _names(group, "weight_names")
        parents = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            parent, _, variable = path.rpartition("/")
            owner = layer if len(parents) == 1 else parent.rpartition("/")[2]  # several: a whole model as one layer
            _put(tensors, f"{owner or layer}/{variable.partition(':')[0]}", group.within(path).tensor(allowance))
    return tensors


def _names(node: _Node, attribute: str) -> list[str]:
    """The strings of an attribute, which Keras splits into several where it is large."""
    if attribute in node.attributes:
        return node.attributes[attribute]
    names: list[str] = []
    for number in range(len(node.attributes)):
        names += node.attributes.get(f"{attribute}{number}", [])
    return names


def _numbered(roots: list[_Node], config: dict[str, Any], allowance: _Allowance) -> Tensors:
    """Layers by class and counter with numbered variables, as Keras 3 writes them."""
    layers: dict[tuple[str, ...], dict[int, NDArray[np.float32] | None]] = {}
    names: dict[tuple[str, ...], str] = {}
    for root in roots:
        for place, variables in _variable_groups(root):
            if given := "".join(variables.attributes.get("name", [])):
                names[place] = given
            found = {int(key): variables.within(key).tensor(allowance) for key in variables.members if key.isdecimal()}
            layers[place] = layers.get(place, {}) | found
    tensors: Tensors = {}
    for place in sorted(layers, key=lambda place: [_natural(key) for key in place]):
        name = names.get(place, place[-1])
        uncentred = len(layers[place]) == 3 and name in _uncentred(config)
        known = _variables(place[-1], max(layers[place], default=-1) + 1, uncentred=uncentred)
        for number, tensor in sorted(layers[place].items()):
            _put(tensors, f"{name}/{known[number] if number < len(known) else number}", tensor)
    return tensors


def _natural(key: str) -> list[str | int]:
    """Sorts `conv2d_10` after `conv2d_9`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", key)]


def _variable_groups(root: _Node) -> Iterator[tuple[tuple[str, ...], _Node]]:
    """Every group of a layer's variables with the path of the layer, however deep models lie in models."""
    pending: list[tuple[tuple[str, ...], _Node]] = [((), root)]
    seen = set()
    while pending:
        place, group = pending.pop()
        if group.address in seen:
            raise _RefusedError(f"its groups are linked in a circle, at {'/'.join(place)[:80]}")
        seen.add(group.address)
        for key in group.members:
            if key in ("optimizer", "metrics", "compile_metrics") and not place:
                continue
            member = group.within(key)
            if key == "vars" and place:
                yield place, member
            elif key != "vars":
                pending.append(((*place, key), member))


def _variables(key: str, count: int, *, uncentred: bool) -> list[str]:
    """Names of the variables of a layer whose group is called `key`, after its class; none for an unknown class."""
    kind = re.sub(r"_[0-9]+$", "", key)
    if kind in ("conv2d", "dense", "depthwise_conv2d"):
        return ["kernel", "bias"]
    if kind == "separable_conv2d":
        return ["depthwise_kernel", "pointwise_kernel", "bias"]
    if kind != "batch_normalization":
        return []
    learnt = {3: ["gamma"] if uncentred else ["beta"], 4: ["gamma", "beta"]}
    return [*learnt.get(count, []), "moving_mean", "moving_variance"]


def _uncentred(config: Any) -> Iterator[str]:
    """Names of the normalisations without beta in a network's configuration."""
    if isinstance(config, dict):
        if config.get("center") is False:
            yield str(config.get("name"))
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _uncentred(value)


# --- HDF5

_UNUSUAL = "in a way that Keras does not write: load it in Keras and save it again"
_LONGEST_NAME = 1024
_FLOATS = {
    (8, 11, 52, 1023): "f8", (4, 8, 23, 127): "f4", (2, 5, 10, 15): "f2", (2, 8, 7, 127): "bfloat16",
}  # fmt: skip


class _Hdf5:
    """An HDF5 file of the first layout (superblock 0), which h5py writes unless told otherwise.

    Source: HDF5 File Format Specification, version 3.0, sections II.A, III.A to III.E and IV.A.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.length = file.seek(0, 2)
        self._left = 64 << 20  # bytes of structure; the family's largest network has 3 MB
        self._heaps: dict[int, dict[int, bytes]] = {}

    def root(self) -> _Node:
        head = self.read(0, 96)
        if not head.startswith(_HDF5):
            raise ValueError("it is no HDF5")
        if head[8] != 0 or head[13:15] != b"\x08\x08":
            raise _RefusedError(f"it is laid out {_UNUSUAL}")
        (end,) = struct.unpack_from("<Q", head, 40)
        if end > self.length:
            raise ValueError(f"it has {self.length:,} of {end:,} bytes")
        return _Node(self, *struct.unpack_from("<Q", head, 64))

    def read(self, start: int, length: int, signature: bytes = b"") -> bytes:
        self._left -= length + 64  # so that structures in a circle come to an end
        if self._left < 0:
            raise _RefusedError("its structure is implausibly large")
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
            raise _RefusedError(f"it is laid out {_UNUSUAL}")
        blocks = [(address + 16, length)]
        for start, length in blocks:
            block, at = self.read(start, length), 0
            while at + 8 <= length and count:
                kind, size, flags = struct.unpack_from("<HHB", block, at)
                content, at, count = block[at + 8 : at + 8 + size], at + 8 + size, count - 1
                if flags & 2:
                    raise _RefusedError(f"it shares types {_UNUSUAL}")
                if kind == 0x10:  # goes on elsewhere
                    blocks.append(struct.unpack_from("<QQ", content))
                else:
                    yield kind, content

    def members(self, tree: int, heap: int) -> dict[str, int]:
        """Names and addresses in a group."""
        size, names_at = struct.unpack("<8xQ8xQ", self.read(heap, 32, b"HEAP"))
        names, found, pending = self.read(names_at, size), {}, [tree]
        while pending:
            address = pending.pop()
            if self.read(address, 4) == b"TREE":
                (used,) = struct.unpack("<6xH", self.read(address, 8))
                keys = struct.unpack(f"<{2 * used}Q", self.read(address + 24, 16 * used))
                pending += reversed(keys[1::2])
                continue
            (used,) = struct.unpack("<6xH", self.read(address, 8, b"SNOD"))
            for name_at, target in struct.iter_unpack("<QQ24x", self.read(address + 8, 40 * used)):
                found[names[name_at : name_at + _LONGEST_NAME].partition(b"\0")[0].decode()] = target
        return found

    def text(self, heap: int, number: int) -> bytes:
        """A string of any length."""
        if heap not in self._heaps:
            (size,) = struct.unpack("<8xQ", self.read(heap, 16, b"GCOL"))
            content, at, found = self.read(heap, size), 16, {}
            while at + 16 <= size:
                index, length = struct.unpack_from("<H6xQ", content, at)
                if not index:
                    break
                found[index] = content[at + 16 : at + 16 + length]
                at += 16 + -(-length // 8) * 8
            self._heaps[heap] = found
        if number not in self._heaps[heap]:
            raise ValueError("a name in it is missing")
        return self._heaps[heap][number]


class _Node:
    """A group or dataset of an HDF5 file."""

    def __init__(self, file: _Hdf5, address: int, name: str = "/") -> None:
        self._file, self.address, self._name = file, address, name
        self._messages = list(file.messages(address))

    def _content(self, kind: int) -> bytes | None:
        return next((content for found, content in self._messages if found == kind), None)

    @cached_property
    def members(self) -> dict[str, int]:
        """Addresses by name, none for a dataset."""
        if table := self._content(0x11):
            return self._file.members(*struct.unpack_from("<QQ", table))
        if self._content(0x02) or self._content(0x06):
            raise _RefusedError(f"{self._name} links its members, perhaps to other files, {_UNUSUAL}")
        return {}

    def within(self, path: str) -> _Node:
        """The group or dataset at a path, which lies in the file itself."""
        node = self
        for name in path.split("/"):
            address = node.members.get(name, self._file.length)
            if address >= self._file.length:
                raise _RefusedError(f"its {path[:80]} is missing, or a link out of it")
            node = _Node(self._file, address, name)
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
        if (version > 1 and shared & 3) or count > _MOST_NAMES or at + count * item > len(content):
            raise _RefusedError(f"its attribute {key[:80]} is written {_UNUSUAL}")
        items = [content[start : start + item] for start in (at + item * number for number in range(count))]
        if kind[0] & 15 == 3:  # strings of one length
            return key, [text.rstrip(b"\0").decode() for text in items]
        if kind[0] & 15 == 9 and kind[1] & 15 == 1:  # of any length
            places = [struct.unpack("<IQI", text) for text in items]
            return key, [self._file.text(heap, number)[:length].decode() for length, heap, number in places]
        return key, []

    def tensor(self, allowance: _Allowance) -> NDArray[np.float32] | None:
        """A dataset's floats, None if it holds something else."""
        kind, space, layout = self._content(0x03), self._content(0x01), self._content(0x08)
        if kind is None or space is None or layout is None:
            raise ValueError(f"{self._name} is no tensor")
        dtype = self._dtype(kind)
        if dtype is None:
            return None
        if layout[0] not in (3, 4) or layout[1] != 1 or self._content(0x07):  # not in one piece, or in other files
            raise _RefusedError(f"{self._name} is stored in pieces, packed or outside the file, {_UNUSUAL}")
        shape, numpy_type = _shape(space), np.dtype(dtype.replace("bfloat16", "u2"))
        start, length = struct.unpack_from("<QQ", layout, 2)
        allowance.take(shape, numpy_type.itemsize)
        if length != math.prod(shape) * numpy_type.itemsize or (length and start + length > self._file.length):
            raise ValueError(f"{self._name} has fewer values than its shape {shape} says")
        self._file.file.seek(start if length else 0)
        values = np.fromfile(self._file.file, numpy_type, math.prod(shape)).reshape(shape)
        return _widened(values) if "bfloat16" in dtype else _float32(values)

    def _dtype(self, kind: bytes) -> str | None:
        """NumPy's name of a type, or `bfloat16`; None if it is no float."""
        (size,) = struct.unpack_from("<I", kind, 4)
        if kind[0] & 15 == 5 and size == 2 and self.attributes.get("dtype") == ["bfloat16"]:
            return "<bfloat16"
        if kind[0] & 15 != 1:
            return None
        if (name := _FLOATS.get((size, kind[13], kind[15], *struct.unpack_from("<I", kind, 16)))) is None:
            raise _RefusedError(f"{self._name} holds numbers written {_UNUSUAL}")
        return f"{'>' if kind[1] & 1 else '<'}{name}"


def _shape(space: bytes) -> tuple[int, ...]:
    if space[0] == 2 and space[3] == 2:  # nothing at all
        return (0,)
    return struct.unpack_from(f"<{space[1]}Q", space, 8 if space[0] == 1 else 4)


# --- PyTorch


def _read_safetensors(path: Path) -> Checkpoint:
    safe_open = _imported("safetensors", path, "safetensors").safe_open
    with safe_open(path, framework="np"):
        pass  # that checks the header, and it against the file's length; reading by offset needs half the memory
    allowance, tensors = _Allowance(path.stat().st_size), {}
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            numpy_type = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}.get(entry["dtype"])
            if numpy_type is None:
                continue
            allowance.take(entry["shape"], 4)
            file.seek(8 + length + entry["data_offsets"][0])
            values = np.fromfile(file, numpy_type, math.prod(entry["shape"])).reshape(entry["shape"])
            tensors[name] = _widened(values) if numpy_type == "<u2" else _float32(values)
    return Checkpoint(path, "torch", tensors)


def _read_torch(path: Path, *, mapped: bool = False) -> Checkpoint:
    torch = _imported("torch", path, "ception[torch]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:
            if asked := re.search(r"GLOBAL (\S+)", str(error)):
                raise InputError(
                    f"{path} holds more than tensors (it asks to run {_one_line(ValueError(asked[1]))}), so it stays "
                    "unread: have its author save the state_dict alone, or safetensors"
                ) from None
            raise
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    allowance, tensors = _Allowance(path.stat().st_size), {}
    for name, tensor in loaded.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            allowance.take(tensor.shape, tensor.element_size())
            # no copy of a mapped file: its pages are read when they are used, and are this process's own when changed
            tensors[name] = np.ascontiguousarray(tensor.detach().to(torch.float32).numpy()).reshape(tensor.shape)
    if tensors and all(name.startswith("module.") for name in tensors):  # torch.nn.DataParallel's
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return Checkpoint(path, "torch", tensors)


def _imported(module: str, path: Path, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{path} needs {module} to be read: pip install '{package}'") from None


# --- TensorFlow

_SLOTS = re.compile(r"(^|/)(RMSProp|Momentum|Adam|ExponentialMovingAverage|global_step|beta[12]_power)(_\d+)?(/|$)")


def _read_slim(path: Path) -> Checkpoint:
    files, prefix = [path], path
    if path.suffix == ".index":
        prefix = path.with_suffix("")
        files = [file for file in path.parent.iterdir() if file.name.startswith(f"{prefix.name}.data-")]
        if not files:
            raise InputError(f"{path} is only a table of contents: put {prefix.name}.data-00000-of-00001 beside it")
    reader = _imported("tensorflow", path, "ception[tensorflow]").train.load_checkpoint(str(prefix))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    allowance, tensors = _Allowance(sum(file.stat().st_size for file in files)), {}
    for name in sorted(shapes):
        if dtypes[name].is_floating and not _SLOTS.search(name):
            allowance.take(shapes[name], dtypes[name].size)
            tensors[name] = _float32(reader.get_tensor(name))
    return Checkpoint(path, "slim", tensors)
