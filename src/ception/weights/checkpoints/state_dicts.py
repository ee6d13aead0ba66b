"""State dicts among what trainings save: in wrappers, beside averages and states of optimisers, under prefixes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

_MOST_DEPTH = 6  # wrappers within wrappers
_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|shadow|teacher)([._]|$)", re.IGNORECASE)
# What a training keeps beside a network: no tensor of such a module takes part in what the network computes
_OF_TRAINING = re.compile(
    r"(\w+_)?(loss|losses|criterion|metrics?|accuracy|optimi[sz]ers?|lr_schedulers?|schedulers?|scaler|confusion\w*|"
    r"auroc)(_\w+|\d*)?", re.IGNORECASE,
)  # fmt: skip
_BESIDE = "beside "  # before the name of a tensor outside of a prefix, where one under it has that name too
_Value = TypeVar("_Value")


def state_dicts(loaded: Any, is_tensor: Callable[[Any], bool]) -> dict[str, dict[str, Any]]:
    """Every set of named tensors in what a training saved, by where it is: the likeliest first.

    Args:
        loaded: Mappings within mappings; "" stands for the outermost.
        is_tensor: Whether a value is a tensor of weights.
    """
    found = {where: {name: value for name, value in one.items() if isinstance(name, str) and is_tensor(value)}
             for where, one in _mappings(loaded, "", 0)}  # fmt: skip
    named = {where: tensors for where, tensors in found.items() if tensors}
    return dict(sorted(named.items(), key=lambda item: (bool(_AVERAGE.search(item[0])), -len(item[1]))))


def _mappings(value: Any, where: str, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    if not isinstance(value, Mapping) or depth > _MOST_DEPTH:
        return
    yield where, value
    for key, inner in value.items():
        if isinstance(key, str) and not _OF_TRAINING.fullmatch(key):
            yield from _mappings(inner, f"{where}.{key}" if where else key, depth + 1)


def shared_prefix(names: Iterable[str]) -> str:
    """What DataParallel, torch.compile and training frameworks put before every name."""
    shared = os.path.commonprefix(list(names))  # noqa: RUF071 - of names, not of paths
    wrappers = re.match(r"(?:(?:module|_orig_mod|model)\.)*", shared)
    return wrappers[0] if wrappers else ""


def best_prefix(names: Iterable[str], wanted: Iterable[str]) -> tuple[str, int]:
    """The prefix under which most of the wanted names are, such as `backbone.`, and how many are."""
    known, counts = set(wanted), dict[str, int]()
    for name in names:
        parts = name.split(".")
        for number in range(len(parts)):
            if ".".join(parts[number:]) in known:
                prefix = "".join(f"{part}." for part in parts[:number])
                counts[prefix] = counts.get(prefix, 0) + 1
    return max(counts.items(), key=lambda item: (item[1], not _AVERAGE.search(item[0]), -len(item[0])), default=("", 0))


def under(tensors: Mapping[str, _Value], prefix: str) -> tuple[dict[str, _Value], list[str]]:
    """The tensors under a prefix, without it, and others under their own names; and the names that are left out.

    What a training keeps beside the network is left out: losses, metrics, states of optimisers, averages of weights.
    """
    kept = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    left = []
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            continue
        modules = name.split(".")[:-1] or [name]
        if any(_OF_TRAINING.fullmatch(module) for module in modules) or _AVERAGE.search(modules[0]):
            left.append(name)
        else:
            kept[f"{_BESIDE}{name}" if name in kept else name] = tensor
    return kept, left
