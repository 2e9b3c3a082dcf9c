"""Reads ``tests/golden``, the numbers of the published code; its README has the format."""

import json
import lzma
import math
import tarfile
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "golden"


@cache
def read(name: str):
    """The content of the reference file ``name``.

    Every call returns the same object, so a test that changes it must copy it first.
    """
    npz = FOLDER / f"{name}.npz"
    if not npz.is_file():
        return json.loads((FOLDER / f"{name}.json").read_text())
    with np.load(npz) as file:
        stored = dict(file)
    return unpack(json.loads(bytes(stored.pop("tree"))), stored)


def read_case(name: str) -> dict:
    """Score files, keys and results of the case ``name`` of the evaluation programs."""
    return json.loads(lzma.decompress((FOLDER / "metrics" / f"{name}.json.xz").read_bytes()))


def extract_checkpoints(folder: Path) -> Path:
    """Write the tiny checkpoints of fairseq and unilm into ``folder``."""
    with tarfile.open(FOLDER / "frontends" / "checkpoints.tar.xz") as archive:
        for member in archive:  # extractall has no filter before Python 3.10.12 and 3.11.4
            content = archive.extractfile(member)
            assert content is not None, member.name
            (folder / member.name).write_bytes(content.read())
    return folder


def check_tiny_wav2vec2(frontend):
    """Every hidden state that fairseq gives with the tiny checkpoint; its layer i gives state i + 1."""
    reference = read("frontends/tiny_w2v2")["arrays"]
    for length in (64600, 16000, 520):
        waveform = torch.from_numpy(reference[f"in_{length}"])
        with torch.inference_mode():
            states = frontend(waveform, layers="all")
            raw = frontend(waveform, layers="all", final_norm=False)
            (last,) = frontend(waveform)
        for i, state in enumerate(raw[1:]):
            np.testing.assert_allclose(state.numpy(), reference[f"layer{i}_{length}"], atol=5e-6)
        np.testing.assert_allclose(last.numpy(), reference[f"x_{length}"], atol=5e-6)
        assert all(map(torch.equal, states, [*raw[:-1], last]))


def unpack(tree, stored: dict[str, np.ndarray]):
    """Replace every description of an array by the array."""
    if isinstance(tree, list):
        return [unpack(item, stored) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return build(tree["array"], stored)
    if "tensor" in tree:
        return torch.from_numpy(build(tree["tensor"], stored))
    return {key: unpack(item, stored) for key, item in tree.items()}


def build(description: dict, stored: dict[str, np.ndarray]) -> np.ndarray:
    """The array that ``about`` describes: a part of a stored one, or drawn again."""
    kind = description["kind"]
    shape = description["shape"]
    start = description["at"]
    size = math.prod(shape)
    if kind in stored:
        return stored[kind][start : start + size].reshape(shape).copy()
    values = DRAWN[kind](description["seed"], start, size, *description["parameters"])
    if "ulps" in description:
        values = (values.view(np.int32) + stored["ulps"][description["ulps"] :][:size]).view(np.float32)
    return values.reshape(shape)


# Most weights and inputs were drawn from seeded generators: only the seed, the place in its stream
# and the rounding are stored.

BLOCK = 1 << 20


@lru_cache(maxsize=4)
def uniform_block(seed: int, block: int) -> np.ndarray:
    """A block of the numbers in [0, 1) that PyTorch's CPU generator draws.

    They are the low 24 bits of each word of the Mersenne twister.
    """
    state = np.random.RandomState(seed)
    for _ in range(block + 1):
        words = state.randint(0, 2**32, BLOCK, np.uint32)
    return (words & np.uint32(0xFFFFFF)).astype(np.float32) / np.float32(2**24)


def uniform(seed: int, start: int, size: int) -> np.ndarray:
    """``size`` numbers of PyTorch's generator after the first ``start``."""
    blocks = []
    for block in range(start // BLOCK, (start + size - 1) // BLOCK + 1):
        blocks.append(uniform_block(seed, block)[max(start - block * BLOCK, 0) : start + size - block * BLOCK])
    return np.concatenate(blocks)


def torch_uniform(seed: int, start: int, size: int, low: float, high: float) -> np.ndarray:
    """``torch.empty(size).uniform_(low, high)`` after ``start`` draws, to rounding."""
    return uniform(seed, start, size) * np.float32(high - low) + np.float32(low)


def torch_normal(seed: int, start: int, size: int, scale: float) -> np.ndarray:
    """``scale * torch.randn(size)`` after ``start`` draws, to rounding.

    PyTorch applies the Box-Muller transform to blocks of 16 numbers, and draws the last 16 again
    unless ``size`` is a multiple of 16. How its logarithm and cosine round depends on the processor.
    """
    values = np.empty(size, np.float32)
    in_blocks = size // 16 * 16
    values[:in_blocks] = box_muller(uniform(seed, start, in_blocks))
    if in_blocks < size:
        values[-16:] = box_muller(uniform(seed, start + size, 16))
    return values * np.float32(scale)


def box_muller(numbers: np.ndarray) -> np.ndarray:
    first, second = numbers.reshape(-1, 2, 8).transpose(1, 0, 2)
    radius = np.sqrt(np.float32(-2) * np.log(1 - first, dtype=np.float64).astype(np.float32))
    angle = np.float64(np.float32(2 * np.pi) * second)
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    return (radius[:, None] * waves).reshape(-1)


def numpy_normal(seed: int, start: int, size: int, scale: float) -> np.ndarray:
    """``scale * default_rng(seed).standard_normal(size)`` after ``start`` numbers, in float32."""
    return (scale * np.random.default_rng(seed).standard_normal(start + size)[start:]).astype(np.float32)


DRAWN = {"torch_uniform": torch_uniform, "torch_normal": torch_normal, "numpy_normal": numpy_normal}
