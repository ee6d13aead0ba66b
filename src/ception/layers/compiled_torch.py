"""What layers are made of, for PyTorch on a CPU with the compiled kernels; matrix products in float32 alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from ception.layers import torch as plain
from ception.layers.compiled import kernels, windows

KINDS = plain.KINDS
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


def _is_computed(x: Any, *kinds: Any) -> bool:
    """Whether there are numbers of the right kind, not shapes alone; any that the library knows where none is named."""
    return x.dtype in (kinds or _ELEMENTS) and x.device.type == "cpu"


def _reading(statistics: Sequence[Any], epsilon: float) -> Any:
    """A pointer to how maps are read: by mean, variance, gamma and beta."""
    module = kernels()
    assert module is not None
    pointers = (value.data_ptr() for value in statistics)
    return ctypes.byref(module.Reading(*pointers, epsilon, 0))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
        x, kernel = x.contiguous(), kernel.contiguous()
        places = windows(x.shape, tuple(kernel.shape[:2]), strides, padding)
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, x.shape[-1])
        _call("depthwise", ctypes.byref(places), _ELEMENTS[x.dtype], None, x, kernel, y)
        context.save_for_backward(x, kernel)
        context.places = places
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        x, kernel = context.saved_tensors
        of_x, of_kernel = torch.empty_like(x), torch.empty_like(kernel)
        how = (ctypes.byref(context.places), _ELEMENTS[x.dtype], None)
        _call("depthwise_gradients", *how, x, kernel, gradient.contiguous(), of_x, of_kernel, None, None)
        return of_x, of_kernel, None, None


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, depthwise_kernel: Any, kernel: Any, padding: str) -> Any:
        x, depthwise_kernel, kernel = x.contiguous(), depthwise_kernel.contiguous(), kernel.contiguous()
        places, filters = windows(x.shape, tuple(depthwise_kernel.shape[:2]), (1, 1), padding), kernel.shape[-1]
        y = x.new_empty(x.shape[0], places.out_height, places.out_width, filters)
        _call("separable", ctypes.byref(places), filters, x, depthwise_kernel, kernel, y)
        context.save_for_backward(x, depthwise_kernel, kernel)
        context.places = places
        return y

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        given = context.saved_tensors
        made = [torch.empty_like(value) for value in given]
        places = ctypes.byref(context.places)
        _call("separable_gradients", places, given[2].shape[-1], *given, gradient.contiguous(), *made)
        return *made, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, matrix: Any) -> Any:
        x, matrix = x.contiguous(), matrix.contiguous()
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


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        x, gamma, beta = x.contiguous(), gamma.contiguous(), beta.contiguous()
        channels, element = x.shape[-1], _ELEMENTS[x.dtype]
        y, mean, variance = torch.empty_like(x), torch.empty_like(gamma), torch.empty_like(gamma)
        _call("moments", x.numel() // channels, channels, element, x, mean, variance)
        reading = _reading((mean, variance, gamma, beta), epsilon)
        _call("normalize", x.numel() // channels, channels, element, reading, x, y)
        context.save_for_backward(x, mean, variance, gamma, beta)
        context.epsilon = epsilon
        context.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Any, *_: Any) -> Any:
        x, *statistics = context.saved_tensors
        channels, made = x.shape[-1], [torch.empty_like(x), *(torch.empty_like(statistics[0]) for _ in range(2))]
        how = (_ELEMENTS[x.dtype], _reading(statistics, context.epsilon))
        _call("normalize_gradients", x.numel() // channels, channels, *how, x, gradient.contiguous(), *made)
        return *made, None


class _BiasSelu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, bias: Any) -> Any:
        x, bias = x.contiguous(), bias.contiguous()
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


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
        x = x.contiguous()
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
    if not _is_computed(x, torch.float32):
        return plain.pointwise(x, kernel, strides)
    return _Product.apply(x[:, :: strides[0], :: strides[1]], kernel[0, 0])


def depthwise(x: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, with a kernel of (height, width, channels, 1)."""
    if not _is_computed(x):
        return plain.depthwise(x, kernel, strides, padding)
    return _Depthwise.apply(x, kernel, strides, padding)


def separable(x: Any, depthwise_kernel: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """A convolution of each channel alone, then one across all, without the result between them."""
    if strides != (1, 1) or not _is_computed(x, torch.float32):
        return pointwise(depthwise(x, depthwise_kernel, strides, padding), kernel, (1, 1))
    return _Separable.apply(x, depthwise_kernel, kernel, padding)


def batch_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """The input with mean beta and deviation gamma in each channel, and the batch's mean and variance."""
    if not _is_computed(x):
        return plain.batch_norm(x, gamma, beta, epsilon)
    return _BatchNorm.apply(x, gamma, beta, epsilon)


def bias_selu(x: Any, bias: Any) -> Any:
    """SELU of the sum with a bias of float32 for each channel."""
    if not _is_computed(x, torch.float32):
        return torch.nn.functional.selu(x + bias.to(x.dtype))
    return _BiasSelu.apply(x, bias)


def max_pool(x: Any, window: tuple[int, int], strides: tuple[int, int], padding: str) -> Any:
    """The largest value of each window."""
    if not _is_computed(x):
        return plain.max_pool(x, window, strides, padding)
    return _MaxPool.apply(x, window, strides, padding)
