"""What layers are made of, for PyTorch on a CPU with the compiled kernels; matrix products in float32 alone.

Operations that follow one another are taken together while they are called: what normalises or clips gives maps that
nobody has computed yet, and a depthwise convolution of such maps reads what they are made of, and normalises and clips
that while it reads. Any other operation gets their values, which are computed then, once.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ception.layers import torch as plain
from ception.layers.compiled import covers_few, kernels, windows

KINDS = (*plain.KINDS, "ReLU")
convolution = plain.convolution


def _call(name: str, *arguments: Any) -> None:
    """Call the library: tensors by the addresses of their values, which lie one after another.

    Raises:
        MemoryError: it got no memory.
    """
    module = kernels()
    assert module is not None
    passed = [value.data_ptr() if isinstance(value, torch.Tensor) else value for value in arguments]
    if getattr(module.library(), f"ception_{name}")(*passed):
        raise MemoryError(f"{name}: out of memory")


_ELEMENTS = {torch.float32: 0, torch.bfloat16: 1}  # as the library counts them


def is_computed(x: Any, *kinds: Any) -> bool:
    """Whether there are numbers of the right kind, not shapes alone; any that the library knows where none is named."""
    return x.dtype in (kinds or _ELEMENTS) and x.device.type == "cpu"


@dataclass(frozen=True)
class _Reading:
    """How maps are read: normalised where there are statistics, then clipped at 0 or not.

    Attributes:
        statistics: Mean, variance, gamma and beta of the channels; the first two are those of the maps.
        epsilon: Added to the variance.
        clipped: Whether 0 stands where values are below.
        added: Adds up a vector, in place, over the processes whose maps the statistics are of; None for this one's.
    """

    statistics: tuple[Any, ...] = ()
    epsilon: float = 0.0
    clipped: bool = False
    added: Callable[[Any], Any] | None = None

    @contextmanager
    def pointer(self) -> Iterator[Any]:
        """A pointer to what the library takes; what fails while sums are added up is raised at its end."""
        module, failures, added = kernels(), list[BaseException](), self.added or (lambda numbers: None)
        assert module is not None

        def add_up(numbers: Any, count: int) -> None:
            try:
                added(torch.from_numpy(np.ctypeslib.as_array(numbers, (count,))))
            except BaseException as error:  # Ctrl-C, too: none passes through the library
                failures.append(error)

        pointers = [value.data_ptr() for value in self.statistics] or [None] * 4
        called = module.Added(add_up) if self.added else module.Added()
        yield ctypes.byref(module.Reading(*pointers, self.epsilon, self.clipped, 0, called))
        if failures:
            raise failures[0]

    @property
    def factors(self) -> list[Any]:
        """Gamma and beta; None twice where nothing is normalised."""
        return list(self.statistics[2:]) or [None, None]

    def kept(self, context: Any, *tensors: Any) -> None:
        """Keep this, and tensors beside it, for the gradients."""
        context.save_for_backward(*tensors, *self.statistics)
        context.reading = replace(self, statistics=())


def _kept(context: Any, count: int) -> tuple[list[Any], _Reading]:
    """So many tensors and the reading that were kept."""
    tensors = context.saved_tensors
    return list(tensors[:count]), replace(context.reading, statistics=tensors[count:])


def _room(tensors: Any) -> list[Any]:
    """For the gradients of tensors; None for None."""
    return [None if value is None else torch.empty_like(value) for value in tensors]


class _Unread(torch.Tensor):
    """Maps that nobody has computed: what they are made of, and how that is read.

    To autograd they are the result of an operation like any other.
    """

    made_of: Any
    reading: _Reading
    values: Any

    __torch_function__ = torch._C._disabled_torch_function_impl  # what follows sees operations below autograd

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Any operation: it gets the values."""
        return function(*_plain(arguments), **(options or {}))


def _plain(value: Any) -> Any:
    """The values of maps that nobody has computed, in lists, too; all else as it is."""
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if not isinstance(value, _Unread):
        return value
    if value.values is None:
        (maps,), channels = _ready(value.made_of), value.shape[-1]
        value.values = torch.empty_like(maps)
        with value.reading.pointer() as reading:
            how = (_ELEMENTS[maps.dtype], reading)
            _call("normalize", maps.numel() // channels, channels, *how, maps, value.values)
    return value.values


def _ready(*tensors: Any) -> list[Any]:
    """Tensors as the library takes them: their values, one after another."""
    return [_plain(tensor).detach().contiguous() for tensor in tensors]


def _source(x: Any) -> tuple[Any, _Reading]:
    """What maps are made of, and how that is read; themselves, as they are, where they have values."""
    return (x.made_of, x.reading) if isinstance(x, _Unread) else (x, _Reading())


class _Read(torch.autograd.Function):
    """Maps normalised or clipped by whoever reads them."""

    @staticmethod
    def forward(context: Any, x: Any, gamma: Any, beta: Any, reading: _Reading) -> Any:
        made = torch.Tensor._make_wrapper_subclass(_Unread, x.shape, dtype=x.dtype, device=x.device)
        made.made_of, made.reading, made.values = x, reading, None
        reading.kept(context, x)
        return made

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        (x,), reading = _kept(context, 1)
        if not reading.statistics:
            return torch.ops.aten.threshold_backward(gradient, x, 0), None, None, None
        x, gradient = _ready(x, gradient)
        channels, made = x.shape[-1], _room([x, *reading.factors])
        with reading.pointer() as read:
            how = (_ELEMENTS[x.dtype], read)
            _call("normalize_gradients", x.numel() // channels, channels, *how, x, gradient, *made)
        return *made, None


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, x: Any, kernel: Any, gamma: Any, beta: Any, reading: _Reading, strides: Any, padding: str
    ) -> Any:
        x, kernel = _ready(x, kernel)
        places = windows(x.shape, tuple(kernel.shape[:2]), strides, padding)
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, x.shape[-1])
        with reading.pointer() as read:
            _call("depthwise", ctypes.byref(places), _ELEMENTS[x.dtype], read, x, kernel, y)
        reading.kept(context, x, kernel)
        context.places = places
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        (x, kernel), reading = _kept(context, 2)
        made = _room([x, kernel, *reading.factors])
        with reading.pointer() as read:
            how = (ctypes.byref(context.places), _ELEMENTS[x.dtype], read)
            _call("depthwise_gradients", *how, x, kernel, *_ready(gradient), *made)
        return *made, None, None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, matrix: Any) -> Any:
        x, matrix = _ready(x, matrix)
        (channels, filters), values = matrix.shape, x.numel() // x.shape[-1]
        y = x.new_empty(*x.shape[:-1], filters)
        _call("product", values, filters, channels, x, 0, matrix, 0, y)
        context.save_for_backward(x, matrix)
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        x, matrix = context.saved_tensors
        gradient = gradient.contiguous()
        (channels, filters), values = matrix.shape, x.numel() // x.shape[-1]
        of_x, of_matrix = torch.empty_like(x), torch.empty_like(matrix)
        _call("product", values, channels, filters, gradient, 0, matrix, 1, of_x)
        _call("product", channels, filters, values, x, 1, gradient, 0, of_matrix)
        return of_x, of_matrix


class _BiasSelu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, bias: Any) -> Any:
        x, bias = _ready(x, bias)
        channels, y = x.shape[-1], torch.empty_like(x)
        _call("bias_selu", x.numel() // channels, channels, _ELEMENTS[x.dtype], x, bias, y)
        context.save_for_backward(y)
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        (y,) = context.saved_tensors
        channels, of_x = y.shape[-1], torch.empty_like(y)
        of_bias = torch.empty(channels, dtype=torch.float32)
        given = (_ELEMENTS[y.dtype], y, gradient.contiguous())
        _call("bias_selu_gradients", y.numel() // channels, channels, *given, of_x, of_bias)
        return of_x, of_bias


class _ConvolutionSelu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, kernel: Any, bias: Any, strides: Any, padding: str) -> Any:
        x, kernel, bias = _ready(x, kernel, bias)
        places, filters = windows(x.shape, tuple(kernel.shape[:2]), strides, padding), kernel.shape[-1]
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, filters)
        _call("convolution_selu", ctypes.byref(places), filters, x, kernel, bias, y)
        context.save_for_backward(x, kernel, y)
        context.places, context.how = places, (strides, padding)
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        x, kernel, y = context.saved_tensors
        gradient, filters = gradient.contiguous(), y.shape[-1]
        of_x, of_kernel, of_bias = None, torch.empty_like(kernel), y.new_empty(filters)
        how = (ctypes.byref(context.places), filters)
        _call("convolution_selu_gradients", *how, x, y, gradient, of_kernel, of_bias)
        if context.needs_input_grad[0]:
            before, unread = torch.empty_like(y), y.new_empty(filters)
            _call("bias_selu_gradients", y.numel() // filters, filters, _ELEMENTS[y.dtype], y, gradient, before, unread)
            with torch.enable_grad():
                maps = x.detach().requires_grad_()
                (of_x,) = torch.autograd.grad(convolution(maps, kernel.detach(), *context.how), maps, before)
        return of_x, of_kernel, of_bias, None, None


class _SeparableSelu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, depthwise: Any, kernel: Any, bias: Any, strides: Any, padding: str) -> Any:
        x, depthwise, kernel, bias = _ready(x, depthwise, kernel, bias)
        places, filters = windows(x.shape, tuple(depthwise.shape[:2]), strides, padding), kernel.shape[-1]
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, filters)
        _call("separable_selu", ctypes.byref(places), filters, x, depthwise, kernel, bias, y)
        context.save_for_backward(x, depthwise, kernel, y)
        context.places = places
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        *given, y = context.saved_tensors
        made = [*_room(given), y.new_empty(y.shape[-1])]
        how = (ctypes.byref(context.places), y.shape[-1])
        _call("separable_selu_gradients", *how, *given, y, gradient.contiguous(), *made)
        return *made, None, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
        (x,) = _ready(x)
        places = windows(x.shape, window, strides, padding)
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, x.shape[-1])
        _call("max_pool", ctypes.byref(places), _ELEMENTS[x.dtype], x, y)
        context.save_for_backward(x, y)
        context.places = places
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        x, y = context.saved_tensors
        of_x = torch.empty_like(x)
        how = (ctypes.byref(context.places), _ELEMENTS[x.dtype])
        _call("max_pool_gradient", *how, x, y, gradient.contiguous(), of_x)
        return of_x, None, None, None


def pointwise(x: Any, kernel: Any, strides: tuple[int, int]) -> Any:
    """A convolution with a kernel of (1, 1, channels, filters)."""
    if not is_computed(x, torch.float32):
        return plain.pointwise(x, kernel, strides)
    return _Product.apply(x[:, :: strides[0], :: strides[1]], kernel[0, 0])


def relu(x: Any) -> Any:
    """The inputs, or 0 where they are below."""
    if not is_computed(x):
        return torch.relu(x)
    x, reading = _source(x)
    return _Read.apply(x, *reading.factors, replace(reading, clipped=True))


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    if not is_computed(x):
        return plain.depthwise(x, kernel, strides, padding)
    x, reading = _source(x)
    return _Depthwise.apply(x, kernel, *reading.factors, reading, strides, padding)


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all."""
    return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))


def batch_norm(
    x: Any, gamma: Any, beta: Any, epsilon: float, added: Callable[[Any], Any] | None = None
) -> tuple[Any, Any, Any]:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance.

    Args:
        x: Maps (batch, height, width, channels).
        gamma: Of each channel.
        beta: Of each channel.
        epsilon: Added to the variance.
        added: Adds up a vector, in place, over the processes of which each has a share of the batch, where there are
            several.
    """
    if not is_computed(x):
        return plain.batch_norm(x, gamma, beta, epsilon)
    (maps,), channels = _ready(x), x.shape[-1]
    mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    if len(maps):  # of several processes one may have no share of a last batch
        _call("moments", maps.numel() // channels, channels, _ELEMENTS[x.dtype], maps, mean, variance)
    if added is not None:
        count = mean.new_full((1,), maps.numel() / channels)
        sums = added(torch.cat([mean * count, (variance + mean.square()) * count, count]))
        mean, square = (sums[:-1] / sums[-1]).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
    reading = _Reading((mean.contiguous(), variance.contiguous(), gamma, beta), epsilon, added=added)
    return _Read.apply(x, gamma, beta, reading), mean, variance


def bias_selu(x: Any, bias: Any) -> Any:
    """SELU of the sum with a bias of float32 for each channel."""
    if not is_computed(x, torch.float32):
        return torch.nn.functional.selu(x + bias.to(x.dtype))
    return _BiasSelu.apply(x, bias)


def convolution_selu(x: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution, SELU of its sum with a bias of float32 for each filter."""
    if not is_computed(x, torch.float32) or not covers_few(kernel):
        return bias_selu(convolution(x, kernel, strides, padding), bias)
    return _ConvolutionSelu.apply(x, kernel, bias, strides, padding)


def separable_selu(
    x: Any, depthwise_kernel: Any, kernel: Any, bias: Any, strides: tuple[int, int], padding: str
) -> Any:
    """A separable convolution, SELU of its sum with a bias of float32 for each filter."""
    if not is_computed(x, torch.float32):
        return bias_selu(separable(x, depthwise_kernel, kernel, strides, padding), bias)
    return _SeparableSelu.apply(x, depthwise_kernel, kernel, bias, strides, padding)


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window."""
    if not is_computed(x):
        return plain.max_pool(x, window, strides, padding)
    return _MaxPool.apply(x, window, strides, padding)
