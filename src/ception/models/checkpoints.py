"""Weight files that others wrote, read as named tensors: Keras, PyTorch, safetensors, TF-Slim, and this package's own.

Nothing in a file is run, no graph is deserialised, no link out of a file is followed, and what a file claims to hold
is checked before memory is set aside for it. HDF5 is read in Python, as far as Keras writes it, because the C library
crashes and hangs on broken files. `read` is all that others need.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import re
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from ception.errors import InputError, reason
from ception.models.hdf5 import (
    MOST_NAMES,
    SIGNATURE,
    Allowance,
    Hdf5,
    Node,
    RefusedError,
    to_float32,
    widened,
)  # fmt: skip

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = dict[str, "NDArray[np.float32]"]

_MOST_JSON = 256 << 20  # bytes; ImageNet's training digests take 10 MB
_WEIGHTS, _DESCRIPTION = "model.weights.h5", "model.json"
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
        tensors: float32 by name, all finite, in the order of the file; for Keras `<layer>/<variable>`, layer by layer.
            A legacy `.h5` has its layers in the order of the network's `layers`; of a network that is one of these
            layers, those that train come first. Keras 3 stores its layers by class: there the order is that of the
            classes, and within one class that of the layers; its first versions wrote no names of layers, which here
            have the name of their class with a number in that order.
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
        All floating-point tensors. Of a training's state in PyTorch those of its `state_dict` or `model`, not the
        moving average beside it; without what wrappers put before every name (`module.`, `_orig_mod.`, `model.`).

    Raises:
        InputError: there is no such file, it is broken or no weight file, it holds no weights or such as are not
            finite, claims an implausible size, holds more than tensors, or needs a package that is not installed.
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
    except RefusedError as error:
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
    for name, tensor in checkpoint.tensors.items():
        if not _finite(tensor):
            raise InputError(
                f"{path} is refused: {_one_line(name)} has values that are not finite: the training that wrote it had "
                "diverged, or the file is damaged"
            )
    return checkpoint


def _finite(tensor: NDArray[np.float32]) -> bool:
    """Whether all values are finite, looked at in pieces so that no mask as long as the tensor is made."""
    flat = tensor.reshape(-1)
    return all(np.isfinite(flat[start : start + (1 << 20)]).all() for start in range(0, flat.size, 1 << 20))


def _one_line(said: Exception | str) -> str:
    text = " ".join(str(said).split()) or type(said).__name__
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
    if head.startswith(SIGNATURE):
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


def _put(tensors: Tensors, name: str, tensor: NDArray[np.float32] | None) -> None:
    if name in tensors:
        raise RefusedError(f"it holds {name[:80]} twice, perhaps in two networks: save the one you need alone")
    if tensor is not None:
        tensors[name] = tensor


def _read_h5(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        return Checkpoint(path, "keras", _hdf5([file]))


def _read_shards(path: Path) -> Checkpoint:
    """Several `.weights.h5` that an index names, as Keras writes them with `max_shard_size`."""
    places = json.loads(path.read_bytes())["weight_map"].values()
    shards = {name for names in places for name in ([names] if isinstance(names, str) else names)}
    if any(Path(name).name != name for name in shards):
        raise RefusedError("it names files outside its folder")
    with ExitStack() as stack:
        return Checkpoint(
            path, "keras", _hdf5([stack.enter_context((path.parent / n).open("rb")) for n in sorted(shards)])
        )


def _read_zip(path: Path) -> Checkpoint:
    _check_directory(path)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as weights:
        members = {member.filename: member for member in archive.infolist()}
        Allowance(path.stat().st_size).take([sum(member.file_size for member in members.values())], 1)
        if any(name.endswith("/constants.pkl") for name in members):
            raise InputError(f"{path} is a TorchScript program: save its state_dict() with torch.save instead")
        if any(name.endswith("data.pkl") for name in members):
            # PyTorch itself looks at no checksum; they are all 0 where it was told to write none
            if any(member.CRC for member in members.values()) and (damaged := archive.testzip()):
                raise InputError(f"{path} is damaged (the checksum of {_one_line(damaged)} is wrong): {_AGAIN}")
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
    if size > 46 * MOST_NAMES:  # 46 bytes is the least that a member takes
        raise RefusedError("it holds absurdly many members")


def _json_object(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None) -> dict[str, Any]:
    if member is None:
        return {}
    if member.file_size > _MOST_JSON:
        raise RefusedError(f"its {member.filename} is implausibly large")
    value = json.loads(archive.read(member))
    if not isinstance(value, dict):
        raise ValueError(f"its {member.filename} is no JSON object")
    return value


def _hdf5(files: list[IO[bytes]], config: dict[str, Any] | None = None) -> Tensors:
    allowance = Allowance(sum(file.seek(0, 2) for file in files))
    roots = [Hdf5(file).root() for file in files]
    legacy = roots[0].within("model_weights") if "model_weights" in roots[0].members else roots[0]
    if "layer_names" in legacy.attributes or "layer_names0" in legacy.attributes:
        return _legacy(legacy, allowance)
    return _numbered(roots, config or {}, allowance)


# Keras 1's names, which the published files of Xception have, in those of Keras since: `convolution2d_1_W`
_KERAS_1 = re.compile(
    r"(.+)_(W|b|gamma|beta|running_mean|running_std|depthwise_kernel|pointwise_kernel)(?:_\d+)?", re.DOTALL
)
_KERAS_1_VARIABLES = {
    "W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance",  # no deviation
}  # fmt: skip
_KERAS_1_CLASSES = {
    "convolution2d": "conv2d", "separableconvolution2d": "separable_conv2d",
    "batchnormalization": "batch_normalization",
}  # fmt: skip


def _legacy(root: Node, allowance: Allowance) -> Tensors:
    """Layers with the names of their variables in attributes, as Keras 1 and 2 write them and Keras 3 still can."""
    tensors: Tensors = {}
    for layer in _names(root, "layer_names"):
        group = root.within(layer)
        paths = _names(group, "weight_names")
        parents = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            parent, _, variable = path.rpartition("/")
            owner = layer if len(parents) == 1 else parent.rpartition("/")[2]  # several: a whole model as one layer
            name = f"{owner or layer}/{variable.partition(':')[0]}"
            _put(tensors, _since_keras_1(path) or name, group.within(path).tensor(allowance))
    return tensors


def _since_keras_1(path: str) -> str:
    """What `<layer>_<variable>` of Keras 1 has been called since; nothing for a name of later Keras."""
    found = None if "/" in path else _KERAS_1.fullmatch(path.partition(":")[0])
    if not found:
        return ""
    layer, variable = found[1], found[2]
    kind = re.sub(r"_\d+$", "", layer)
    return f"{_KERAS_1_CLASSES.get(kind, kind)}{layer[len(kind) :]}/{_KERAS_1_VARIABLES.get(variable, variable)}"


def _names(node: Node, attribute: str) -> list[str]:
    """The strings of an attribute, which Keras splits into several where it is large."""
    if attribute in node.attributes:
        return node.attributes[attribute]
    names: list[str] = []
    for number in range(len(node.attributes)):
        names += node.attributes.get(f"{attribute}{number}", [])
    return names


def _numbered(roots: list[Node], config: dict[str, Any], allowance: Allowance) -> Tensors:
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


def _variable_groups(root: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every group of a layer's variables with the path of the layer, however deep models lie in models."""
    pending: list[tuple[tuple[str, ...], Node]] = [((), root)]
    seen = set()
    while pending:
        place, group = pending.pop()
        if group.address in seen:
            raise RefusedError(f"its groups are linked in a circle, at {'/'.join(place)[:80]}")
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


# --- PyTorch


def _read_safetensors(path: Path) -> Checkpoint:
    safe_open = _imported("safetensors", path, "safetensors").safe_open
    with safe_open(path, framework="np"):
        pass  # that checks the header, and it against the file's length; reading by offset needs half the memory
    allowance, tensors = Allowance(path.stat().st_size), {}
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
            tensors[name] = widened(values) if numpy_type == "<u2" else to_float32(values)
    return Checkpoint(path, "torch", _unwrapped(tensors))


def _read_torch(path: Path, *, mapped: bool = False) -> Checkpoint:
    torch = _imported("torch", path, "ception[torch]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # the options of a training, which timm saves with it: attributes alone, no code of anyone's
            with torch.serialization.safe_globals([argparse.Namespace]):
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        except Exception as error:
            if asked := re.search(r"GLOBAL (\S+)", str(error)):
                raise InputError(
                    f"{path} holds more than tensors (it asks to run {_one_line(asked[1])}), so it stays "
                    "unread: have its author save the state_dict alone, or safetensors"
                ) from None
            raise
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict):
        raise InputError(f"{path} holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    allowance, tensors = Allowance(path.stat().st_size), {}
    for name, tensor in loaded.items():
        if isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            allowance.take(tensor.shape, tensor.element_size())
            # no copy of a mapped file: its pages are read when they are used, and are this process's own when changed
            tensors[name] = np.ascontiguousarray(tensor.detach().to(torch.float32).numpy()).reshape(tensor.shape)
    return Checkpoint(path, "torch", _unwrapped(tensors))


def _unwrapped(tensors: Tensors) -> Tensors:
    """Without what DataParallel, torch.compile and training frameworks put before every name."""
    shared = os.path.commonprefix(list(tensors))  # noqa: RUF071 - of names, not of paths
    wrappers = re.match(r"(?:(?:module|_orig_mod|model)\.)*", shared)
    return {name[wrappers.end() if wrappers else 0 :]: tensor for name, tensor in tensors.items()}


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
    allowance, tensors = Allowance(sum(file.stat().st_size for file in files)), {}
    for name in sorted(shapes):
        if dtypes[name].is_floating and not _SLOTS.search(name):
            allowance.take(shapes[name], dtypes[name].size)
            tensors[name] = to_float32(reader.get_tensor(name))
    return Checkpoint(path, "slim", tensors)
