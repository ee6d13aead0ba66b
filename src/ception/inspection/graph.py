"""A network as a graph to draw: its blocks, what is in them, and what is connected with what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import keras

from ception.inspection.layers import costs
from ception.keras_internals import producer
from ception.results import LayerCost

TIMES, _DASH, DOTS = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}", " \N{HORIZONTAL ELLIPSIS} "
AND, _BAR = " \N{MIDDLE DOT} ", " | "
_WORDS = {
    "Rescaling": "scaled to", "Conv2D": "conv", "DepthwiseConv2D": "depthwise conv",
    "SeparableConv2D": "separable conv", "MaxPooling2D": "max pool", "AveragePooling2D": "avg pool",
    "GlobalAveragePooling2D": "global average pool", "AlphaDropout": "alpha dropout",
}  # fmt: skip
ASIDES = {"BatchNormalization": "batch norm", "ReLU": "ReLU", "Activation": "", "ZeroPadding2D": "padding"}


@dataclass(frozen=True)
class Cell:
    """A layer.

    Attributes:
        name: Its name within its block.
        kind: The stock Keras class that it is, or derives from.
        size: Kernel or window and stride, such as `3x3/2` with a multiplication sign.
        detail: All that is said of it, such as `3x3/2, 32`.
        shape: Of its output, without the batch.
    """

    name: str
    kind: str
    size: str
    detail: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """A way from where a fork begins to where it ends.

    Attributes:
        content: Layers in series; none are an identity.
        source: Layer of another block that it begins at instead of where the fork begins; "" for none.
    """

    content: Series
    source: str = ""


@dataclass(frozen=True)
class Fork:
    """Branches side by side, and the layer that joins them; None where nothing does."""

    branches: tuple[Branch, ...]
    merge: Cell | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its output."""
        return self.merge.shape if self.merge else ()

    @property
    def residual(self) -> tuple[Branch, Branch] | None:
        """The branch that has more in it and the shortcut that is added to it; None where nothing is added."""
        if self.merge is None or self.merge.kind != "Add" or len(self.branches) != 2:
            return None
        shortcut, main = sorted(self.branches, key=lambda branch: len(branch.content))
        return main, shortcut


Series = tuple[Cell | Fork, ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block, or equal blocks in a row.

    Attributes:
        name: Its name; the first one's.
        last: The last one's name.
        count: Number of blocks.
        content: Its layers; the first block's.
        shape: Of its output, without the batch.
        parameters: Of one block.
        macs: Of one block.
        inputs: Layers of other blocks whose outputs the first block takes.
        after: Block that it follows on; "" for none.
        side: Whether it lies off the longest way through the network.
    """

    name: str
    last: str
    count: int = 1
    content: Series
    shape: tuple[int, ...]
    parameters: int
    macs: int
    inputs: tuple[str, ...]
    after: str
    side: bool = False

    @property
    def kind(self) -> str:
        """What kind of block it is, which decides its colour."""
        kinds = {cell.kind for cell in cells(self.content)}
        if "Concatenate" in kinds:
            return "inception"
        if kinds & {"SeparableConv2D", "DepthwiseConv2D"}:
            return "separable convolution"
        if "InputLayer" in kinds:
            return "input"
        return "convolution" if "Conv2D" in kinds and "Dense" not in kinds else "pooling and head"

    @property
    def residual(self) -> tuple[Branch, Branch] | None:
        """What the block consists of and the shortcut around all of it; None where there is no such shortcut."""
        only = self.content[0] if len(self.content) == 1 else None
        return only.residual if isinstance(only, Fork) else None

    @property
    def shortcut(self) -> str:
        """What the shortcut does, such as `identity`; "" where there is none."""
        if self.residual is None:
            return ""
        parts = [(_words(cell).split(" ")[0], cell.size) for cell in cells(self.residual[1].content)
                 if cell.kind not in ASIDES]  # fmt: skip
        return AND.join(f"{size.split('/')[0]} {word} {''.join(size.partition('/')[1:])}".strip()
                         for word, size in parts) or "identity"  # fmt: skip

    @property
    def main(self) -> Series:
        """Its layers without the shortcut around all of them."""
        return self.residual[0].content if self.residual else self.content

    @property
    def words(self) -> list[str]:
        """What it does in the field's words, line by line."""
        fork = next((item for item in self.main if isinstance(item, Fork)), None)
        if fork is None:
            return _wrapped(_phrases(self.main))
        ends = [str(branch.content[-1].shape[-1]) for branch in fork.branches if branch.content]
        joined = fork.merge is not None and fork.merge.kind == "Concatenate"
        return [_brief(self.main)] + ([f"concatenates {' + '.join(ends)}"] if joined else [])

    @property
    def asides(self) -> str:
        """What stands between and goes without saying."""
        counts = Counter(ASIDES[cell.kind] or cell.detail for cell in cells(self.main) if cell.kind in ASIDES)
        return AND.join(f"{count} {word}" if count > 1 else word for word, count in counts.items())


def cells(series: Series) -> Iterator[Cell]:
    """Every layer of a series."""
    for item in series:
        if isinstance(item, Cell):
            yield item
            continue
        for branch in item.branches:
            yield from cells(branch.content)
        if item.merge:
            yield item.merge


def _words(cell: Cell) -> str:
    return f"{_WORDS.get(cell.kind, cell.kind.lower())} {cell.detail}".strip()


def _phrases(series: Series) -> list[str]:
    """What the layers do; a depthwise and then a pointwise convolution are a separable one."""
    said: list[str] = []
    depthwise, inside = "", ""
    for cell in cells(series):
        if cell.kind == "InputLayer":
            continue
        if cell.kind in ASIDES:
            inside = inside or (cell.kind not in ("BatchNormalization", "ZeroPadding2D") and said[-1:] == [depthwise]
                                and f" with {ASIDES[cell.kind] or cell.detail} inside") or ""  # fmt: skip
        elif said and said[-1] == depthwise and cell.kind == "Conv2D" and cell.size == f"1{TIMES}1":
            size = depthwise.removeprefix("depthwise ")
            said[-1] = f"separable {size}{cell.detail.removeprefix(cell.size)}{inside}"
        else:
            said.append(_words(cell))
            depthwise, inside = (said[-1] if cell.kind == "DepthwiseConv2D" else ""), ""
    return [f"{n} {TIMES} {phrase}" if n > 1 else phrase for phrase, n in _runs(said)]


def _brief(series: Series) -> str:
    """Kernels alone, with branches: `1x1 | 1x1-3x3 | avg pool-1x1`."""
    parts = []
    for item in series:
        if isinstance(item, Fork):
            branches = [(_brief(branch.content) or "identity") for branch in item.branches]
            several = [f"{n} {TIMES} ({text})" if n > 2 else _BAR.join([text] * n) for text, n in _runs(branches)]
            parts.append(_BAR.join(several) if item is series[0] else f"({_BAR.join(several)})")
        elif item.kind not in ASIDES:
            plain = _WORDS.get(item.kind, item.kind.lower())
            stride = "".join(item.size.partition("/")[1:])
            parts.append(item.size if item.kind == "Conv2D" else plain + stride)
    return _DASH.join(parts)


def _runs(values: Iterable[str]) -> list[tuple[str, int]]:
    return [(value, len(list(run))) for value, run in groupby(values)]


def _wrapped(phrases: Sequence[str], most: int = 44) -> list[str]:
    lines: list[str] = []
    for phrase in phrases:
        if lines and len(lines[-1]) + len(phrase) < most:
            lines[-1] += AND + phrase
        else:
            lines.append(phrase)
    return lines


def blocks(network: keras.Model) -> list[Block]:
    """The network's blocks: the longest way from its input to an output, then what lies off that way.

    Equal blocks in a row are one entry. All connections are those of the Keras graph.
    """
    parents = _parents(network)
    members: dict[str, list[LayerCost]] = {}
    for cost in costs(network):
        members.setdefault(cost.block, []).append(cost)
    owner = {cost.name: name for name, group in members.items() for cost in group}
    ends = set(owner) - {above for name in owner for above in parents[name] if owner[above] == owner[name]}
    layers = {layer.name: layer for layer in network.layers}
    by_name = {name: _block(name, group, layers, parents, ends) for name, group in members.items()}
    depth: dict[str, int] = {"": 0}
    for name, block in by_name.items():
        depth[name] = depth.get(block.after, 0) + 1
    main = [max(by_name, key=lambda name: depth[name])]
    while by_name[main[-1]].after in by_name:
        main.append(by_name[main[-1]].after)
    users = Counter(owner[layer] for block in by_name.values() for layer in set(block.inputs))
    busy = {name for name, count in users.items() if count > 1} | {
        owner[producer(tensor)[0].name] for tensor in network.outputs
    }
    way = _grouped([by_name[name] for name in reversed(main)], busy)
    return way + [replace(block, side=True) for name, block in by_name.items() if name not in main]


def _parents(network: keras.Model) -> dict[str, list[str]]:
    """Every layer with those whose outputs it takes."""
    parents: dict[str, list[str]] = {}
    tensors = list(network.outputs)
    while tensors:
        layer, inputs = producer(tensors.pop())
        if layer.name not in parents:
            parents[layer.name] = [producer(tensor)[0].name for tensor in inputs]
            tensors += inputs
    return parents


def _block(
    name: str, group: Sequence[LayerCost], layers: dict[str, Any], parents: dict[str, list[str]], ends: set[str]
) -> Block:
    inside = [cost.name for cost in group]
    inputs = tuple(dict.fromkeys(above for layer in inside for above in parents[layer] if above not in inside))
    spine = max(inputs, key=lambda layer: (layer in ends, list(layers).index(layer)), default="")
    made = {cost.name: _cell(layers[cost.name], cost) for cost in group}
    return Block(
        name=name, last=name, content=_content(made, parents, [layer for layer in inside if layer in ends], spine),
        shape=group[-1].output_shape, parameters=sum(cost.parameters for cost in group),
        macs=sum(cost.macs for cost in group), inputs=inputs, after=spine.split("_")[0],
    )  # fmt: skip


def _content(made: dict[str, Cell], parents: dict[str, list[str]], ends: list[str], spine: str) -> Series:
    """A block's layers as series of layers and forks.

    Args:
        made: The block's layers in the network's order.
        parents: Of every layer.
        ends: Layers of the block that none of its layers takes the output of.
        spine: Layer that the block follows on.
    """
    parents = parents | {"": ends}  # where several ends would meet
    above: dict[str, set[str]] = {}  # the layers that every way from the input to this one goes through
    for name in [*made, ""]:
        ways = [above.get(parent, {parent}) for parent in parents[name]]
        above[name] = {name}.union(set.intersection(*ways) if ways else ())

    def trace(name: str, stop: str) -> Branch:
        items: list[Cell | Fork] = []
        while name not in (stop, spine) and (name in made or name == ""):
            inputs = parents[name]
            if len(inputs) > 1:
                fork = max(above[name] & {spine, *made} - {name}, key=[spine, *made].index, default="?")
                items.append(Fork(tuple(trace(parent, fork) for parent in inputs), made.get(name)))
                name = fork
            else:
                items.append(made[name])
                name = inputs[0] if inputs else "?"
        return Branch(tuple(reversed(items)), "" if name in (stop, spine, "?") else name)

    return trace("" if len(ends) > 1 else ends[0], "?").content


def _cell(layer: keras.Layer, cost: LayerCost) -> Cell:
    size = ""
    window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    if window:
        strides = tuple(layer.strides)
        step = "" if set(strides) == {1} else f"/{shape_text(dict.fromkeys(strides))}"
        size = shape_text(window, "") + step
    return Cell(
        cost.name.removeprefix(f"{cost.block}_"), cost.kind, size, _detail(layer, cost.kind, size), cost.output_shape
    )


def _detail(layer: keras.Layer, kind: str, size: str) -> str:
    parts = [size] if size else []
    if kind == "Conv2D" and layer.groups > 1:
        parts[-1] += f" in {layer.groups} groups"
    if kind in ("Conv2D", "SeparableConv2D"):
        parts.append(str(layer.filters))
    elif kind == "Dense":
        parts.append(str(layer.units))
    elif kind in ("Dropout", "AlphaDropout"):
        parts.append(f"{layer.rate:g}")
    elif kind == "Rescaling" and isinstance(layer.scale, int | float):
        parts.append(f"{layer.offset:.3g}..{255 * layer.scale + layer.offset:.3g}")
    function = getattr(getattr(layer, "activation", None), "__name__", "linear")
    name = {"relu": "ReLU"}.get(function, function.upper() if function.endswith("lu") else function)
    return ", ".join(parts + ([] if function == "linear" else [name]))


def shape_text(sizes: Iterable[int], space: str = " ") -> str:
    """Sizes with multiplication signs between them."""
    return f"{space}{TIMES}{space}".join(map(str, sizes))


def _grouped(way: list[Block], busy: set[str]) -> list[Block]:
    """The blocks with equal ones in a row as one; what is seen of those of `busy` elsewhere keeps them apart."""

    def looks(block: Block) -> Block:
        return replace(block, name="", last="", count=1, inputs=(), after="", content=_anonymous(block))

    groups: list[Block] = []
    for block in way:
        source, first = groups[-2:] if len(groups) > 1 else (block, block)
        if (block.after == first.last not in busy and len(block.inputs) == 1
                and source.shape == first.shape and looks(block) == looks(first)):  # fmt: skip
            groups[-1] = replace(first, last=block.name, count=first.count + 1)
        else:
            groups.append(block)
    return groups


def _anonymous(block: Block) -> Series:
    """The block's layers with its last layer's name, which is the block's, left out."""
    *rest, end = block.content
    if isinstance(end, Cell):
        return (*rest, replace(end, name=""))
    return (*rest, replace(end, merge=end.merge and replace(end.merge, name="")))
