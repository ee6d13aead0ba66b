"""PyTorch's programs looked at before PyTorch opens them, so that nothing in them is run as code.

`torch.export.load` runs code that a file may hold, and its documentation says so ("uses pickle under the hood"). Each
of these places is looked at here, and refused:

- pickles: weights and constants with `use_pickle`, constants that are objects, examples of inputs, and the .pt files of
  earlier versions, which `torch.load(..., weights_only=False)` reads;
- shared libraries of AOTInductor, in `data/aotinductor`;
- texts that become Python: `guards_code` goes to `exec`, sizes in `expr_str` go to SymPy's `sympify`, which is `eval`,
  and names of nodes become the source of a function;
- names that are looked up: of operations, in `torch`, `math` and `operator`; of types in `in_spec` and `out_spec`,
  whose modules are imported.

What was looked at is written into an archive of its own for PyTorch to open: two readers of ZIP may find different
files in one.

Source: PyTorch 2.13, torch/export/pt2_archive/_package.py (_load_state_dict, _load_constants, load_pt2),
torch/_export/serde/serialize.py (deserialize_torch_artifact, _parse_sym_expr, deserialize_operator),
torch/export/_unlift.py (_convert_guards_code_to_fn), torch/utils/_pytree.py (enum_object_hook).
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

_PROGRAM, _EXAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = {
    _PROGRAM, _EXAMPLES, *_PAYLOADS, "archive_format", "archive_version", "byteorder", ".data/version",
    ".data/serialization_id", "extra/ception.json",
}  # fmt: skip
_NUMBERS = re.compile(r"data/(weights/weight|constants/tensor)_\d+")
_OPERATIONS = {
    f"torch.ops.aten.{name}" for name in (
        "_assert_tensor_metadata.default", "add.Tensor", "avg_pool2d.default", "cat.default", "conv2d.default",
        "conv2d.padding", "elu.default", "flatten.using_ints", "linear.default", "max_pool2d.default", "mean.dim",
        "mul.Tensor", "pad.default", "permute.default", "relu.default", "selu.default", "slice.Tensor", "softmax.int",
        "to.dtype",
    )
}  # fmt: skip
_NAME = re.compile(r"[\w.]*")
_SIZE = re.compile(r"(Symbol\('s\d+'(, (integer|positive)=True)*\)|s\d+)")
_SPECS = {
    "in_spec": '[1,{"type":"builtins.tuple","context":"null","children_spec":[{"type":"builtins.tuple","context":'
    '"null","children_spec":[{"type":null,"context":null,"children_spec":[]}]},{"type":"builtins.dict","context":'
    '"[]","children_spec":[]}]}]',
    "out_spec": '[1,{"type":null,"context":null,"children_spec":[]}]',
}  # one tensor in, one out


class UnsafeError(Exception):
    """A program holds what PyTorch would run as code, or what is not known to be safe; the message says what."""


def safe(path: Path) -> io.BytesIO:
    """A program of ours as an archive that PyTorch can open without running anything in it.

    Raises:
        UnsafeError: it holds something else than tensors and plain operations.
        zipfile.BadZipFile: it is no archive, or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        items = archive.infolist()
        roots = {item.filename.partition("/")[0] for item in items}
        members = {item.filename.partition("/")[2]: item for item in items}
        if len(roots) != 1 or len(members) != len(items):
            raise UnsafeError("its files have not one root, or not one name each")
        held = {}
        for name, item in members.items():
            if name not in _PLAIN and not _NUMBERS.fullmatch(name):
                raise UnsafeError(f"it holds {name}, which may be code")
            if item.compress_type != zipfile.ZIP_STORED:
                raise UnsafeError(f"its {name} is compressed")
            held[name] = archive.read(item)
    _require_plain(held)
    again = io.BytesIO()
    with zipfile.ZipFile(again, "w", zipfile.ZIP_STORED) as archive:
        for name, content in held.items():
            archive.writestr(f"program/{name}", content)
    again.seek(0)
    return again


def _require_plain(held: dict[str, bytes]) -> None:
    """Raise an UnsafeError unless what an archive holds, by name, is tensors and plain operations alone."""
    if held.get(_EXAMPLES):
        raise UnsafeError("its examples of inputs are a pickle")
    for name in _PAYLOADS:
        for of in _json(held, name)["config"].values():
            if of["use_pickle"] is not False or not _NUMBERS.fullmatch(f"{name.rpartition('/')[0]}/{of['path_name']}"):
                raise UnsafeError(f"{name} names what is a pickle")
    _look_at(_json(held, _PROGRAM), "")


def _json(held: dict[str, bytes], name: str) -> Any:
    if name not in held:
        raise UnsafeError(f"it has no {name}")
    return json.loads(held[name])


def _look_at(value: Any, key: str) -> None:
    """Raise an UnsafeError where a text of the program, found under a key, could become more than a name."""
    if key == "guards_code" and value:
        raise UnsafeError("its guards_code would be run")
    if isinstance(value, dict):
        for name, one in value.items():
            if not _NAME.fullmatch(name):
                raise UnsafeError(f"its {key} has the name {name[:40]!r}")
            _look_at(one, name)
    elif isinstance(value, list):
        for one in value:
            _look_at(one, key)
    elif isinstance(value, str) and not _is_plain(value, key):
        raise UnsafeError(f"its {key} is {value[:40]!r}")


def _is_plain(text: str, key: str) -> bool:
    if key == "target":
        return text in _OPERATIONS
    if key == "expr_str":
        return _SIZE.fullmatch(text) is not None
    if key in _SPECS:
        return "".join(text.split()) == _SPECS[key]
    if key == "as_float":
        return text in ("Infinity", "-Infinity", "NaN")
    if key == "torch_version":
        return True
    return _NAME.fullmatch(text) is not None
