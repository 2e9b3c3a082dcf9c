"""Translate some operators to ONNX, mostly operators of spectral front-ends.

torch.onnx lacks these operators, or its translation is not accurate enough.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxscript import opset18 as op


def translations() -> dict[Callable, Callable]:
    """Map PyTorch operators to functions that build their ONNX nodes, for ``torch.onnx.export``.

    A complex tensor becomes a real tensor with a last axis of size 2, a window function a constant,
    and a spectrum a product with the Fourier matrix. onnxruntime's own transform is not used: for
    lengths other than powers of two, its error is 1e-4 of the largest bin, and the logarithm of a
    small bin would be meaningless.
    """

    def constant(array: NDArray) -> Any:
        return op.Constant(value=numpy_helper.from_array(array))

    def window(function: Callable, length: int, periodic: bool = True, dtype: int | None = None, **_: Any) -> Any:
        precision = torch.float64 if dtype == TensorProto.DOUBLE else torch.float32
        return constant(function(length, periodic=periodic, dtype=precision).numpy())

    def remainder(dividend: Any, divisor: Any) -> Any:
        """``aten::remainder``."""
        return op.Mod(dividend, op.CastLike(divisor, dividend))  # ONNX requires equal types

    def stable_sort(x: Any, stable: bool, dim: int = -1, descending: bool = False) -> Any:
        """``aten::sort.stable``: keep the order of equal values."""
        axis = dim % len(x.shape)
        length = op.Shape(x, start=axis, end=axis + 1)
        return op.TopK(x, length, axis=axis, largest=int(descending))  # TopK keeps the order of equal values

    def fft_r2c(x: Any, dim: list[int], normalization: int, onesided: bool) -> Any:
        """``aten::_fft_r2c``: the spectrum …×bins×2 of real signals …×N."""
        if list(dim) not in ([-1], [len(x.shape) - 1]) or normalization or not onesided:
            raise NotImplementedError(
                f"a Fourier transform along {dim} is not translated: only a one-sided, unscaled one along the last axis"
            )
        basis = _fourier_basis(x.shape[-1])
        length, num_bins, parts = basis.shape
        spectrum = op.MatMul(x, op.CastLike(constant(basis.reshape(length, -1)), x))  # …×(bins·2)
        kept_axes = [0] * (len(x.shape) - 1)  # in ONNX's Reshape, 0 keeps the size of an axis
        return op.Reshape(spectrum, constant(np.array([*kept_axes, num_bins, parts])))

    def stft(x: Any, n_fft: int, hop_length: int, win_length: int | None, window: Any, *options: Any, **_: Any) -> Any:
        """``aten::stft``: the spectrogram B×bins×frames×2 of waveforms B×N."""
        # PyTorch passes `normalized` as the first of `options`.
        if len(x.shape) != 2 or win_length not in (None, n_fft) or options[:1] == (True,):
            raise NotImplementedError(
                f"torch.stft of a tensor of shape {list(x.shape)} is not translated: it must be B×N, win_length equal to n_fft, and "
                "normalized=False"
            )
        basis = _fourier_basis(n_fft).transpose(2, 1, 0)  # 2×bins×n_fft
        kernel = op.Mul(constant(basis.reshape(-1, 1, n_fft)), window)
        spectrum = op.Conv(op.Unsqueeze(x, constant(np.array([1]))), kernel, strides=[hop_length])
        spectrum = op.Reshape(spectrum, constant(np.array([0, *basis.shape[:2], -1])))
        return op.Transpose(spectrum, perm=[0, 2, 3, 1])

    aten = torch.ops.aten
    windows: dict[Callable, Callable] = {
        getattr(aten, name).periodic: partial(window, getattr(torch, name))
        for name in ("blackman_window", "hamming_window", "hann_window")
    }
    spectra: dict[Callable, Callable] = {aten._fft_r2c.default: fft_r2c, aten.stft.default: stft}
    return {**windows, **spectra, aten.remainder.Scalar: remainder, aten.sort.stable: stable_sort}


def _fourier_basis(length: int) -> NDArray:
    """exp(−2πi·n·k/length) as length×bins×2 float32 (real, imaginary), computed in float64."""
    # The product n·k modulo the length has the same exponential, and a smaller rounding error.
    phase = 2 * np.pi * (np.outer(np.arange(length), np.arange(length // 2 + 1)) % length) / length
    return np.stack([np.cos(phase), -np.sin(phase)], axis=2).astype(np.float32)
