"""Makes the files of this folder: ``python tests/golden/make.py ../shared/golden``.

Nothing is rounded. What a seeded generator drew is stored as its place in the generator's stream.
"""

import gzip
import io
import json
import lzma
import math
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from builders import golden

#: File → seed of the PyTorch generator that drew its weights or inputs (found by search).
TORCH_SEEDS = {
    "inputs": 1000,
    "aasist_raw_L_random": 1006,
    "nes2net_x_main__mean_8_8_se1_d2_o2": 1010,
    "nes2net_x_main__ASTP_8_8_se1_d2_o2": 1011,
    "nes2net_x_main__mean_4_4_se8_d2_o2": 1012,
    "nes2net_x_main__mean_8_4_se8_d2_o2": 1013,
    "nes2net_x_asv5__mean_8_8_se1_d1": 1020,
    "aasist_w2v_main": 1030,
    "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1": 1040,
    "svdd_WavLM_Nes2Net_X__WeightedSum_mean_8_8_se1_d1": 1041,
    "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1": 1042,
    "svdd_WavLM_Nes2Net_X__AttM_mean_16_8_se8_d1": 1043,
    "svdd2024_model_SE": 1068,
    "attm_pandarial": 1070,
    "svdd2024_model_attention": 1075,
    "sls": 1080,
    "tcm_e32_h4_k31_n2": 1090,
    "tcm_e24_h2_k16_n3": 1091,
    "xlsr_mamba_e32_n4": 1095,
    "xlsr_mamba_e24_n2": 1096,
}
#: Seed → block where the search begins, if a large matrix was drawn before.
FIRST_BLOCK = {1043: 25}
#: Standard deviations and ranges that were drawn from; a matrix also has 1/√(its inputs).
SCALES = (1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0.02)
RANGES = ((0.5, 1.5), (0.5, 2.0), (0.0, 1.0), (-1.0, 1.0))
#: File → seed of the NumPy generator that drew its inputs, with standard deviation 0.1.
NUMPY_SEEDS = {"frontends/tiny_w2v2": 5, "frontends/tiny_wavlm": 6}
NUMPY_SCALE = 0.1
NUMPY_LENGTH = 200_000
#: Parts of the back-ends' files that are kept; the others repeat them.
KEPT = ("config", "state_dict", "state_formula", "input_formula", "input_key", "cases", "agg_output")
KEPT += ("all_inputs", "merge_output")
WHOLE = ("inputs", "checkpoint_average", "aasist_raw_published_weights_outputs")
FRONTENDS = {"tiny_w2v2": ("in_", "layer", "x_"), "tiny_wavlm": ("in_", "hs", "s3prl", "x_")}
CASES = ("all_equal", "g200", "g5k", "g5k_cont", "g60k", "inverted", "separated", "single", "track2")

#: JSON files that are kept as they are.
COPIED = ("losses_schedules_names", "tracing/g711", "tracing/windows")


class TorchStream:
    """Finds arrays among the numbers that PyTorch's generator draws from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.base = seed, FIRST_BLOCK.get(seed, 0) * golden.BLOCK
        self.numbers = golden.uniform(seed, self.base, 2 * golden.BLOCK)
        self.order = np.argsort(self.numbers)
        self.ascending = self.numbers[self.order]

    def find(self, values: np.ndarray) -> dict | None:
        """The description of ``values``, or None if they cannot be found."""
        size = values.size
        if values.ndim == 0 or size < 16 or 16 < size < 32:  # too few to be recognised
            return None
        first = values.reshape(-1)[:16].astype(np.float64)
        scales = (*SCALES, 1 / math.sqrt(values[0].size), 1 / math.sqrt(len(values)))
        guesses = [("torch_normal", [scale], undo_box_muller(first / scale)) for scale in scales]
        guesses += [("torch_uniform", [low, high], (first - low) / (high - low)) for low, high in RANGES]
        for kind, parameters, numbers in guesses:
            for start in self.places(numbers):
                description = {
                    "kind": kind,
                    "seed": self.seed,
                    "at": start,
                    "parameters": parameters,
                    "shape": values.shape,
                }
                if np.abs(ulps(values, golden.build(description, {}))).max() < 128:
                    return description
        return None

    def places(self, numbers: np.ndarray) -> list[int]:
        """Where in the stream these 16 numbers are, up to rounding."""
        low, high = np.searchsorted(self.ascending, [numbers[0] - 1e-5, numbers[0] + 1e-5])
        starts = [start for start in self.order[low:high] if start + 16 <= len(self.numbers)]
        near = [start for start in starts if np.abs(self.numbers[start : start + 16] - numbers).max() < 3e-4]
        return [self.base + int(start) for start in near]


class NumpyStream:
    """Finds arrays among the normal numbers that NumPy's default generator draws from a seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.numbers = seed, golden.numpy_normal(seed, 0, NUMPY_LENGTH, NUMPY_SCALE)

    def find(self, values: np.ndarray) -> dict | None:
        """The description of ``values``, or None if they cannot be found."""
        for start in np.flatnonzero(self.numbers == values.reshape(-1)[0]):
            if np.array_equal(self.numbers[start : start + values.size], values.reshape(-1)):
                position = {"seed": self.seed, "at": int(start), "parameters": [NUMPY_SCALE]}
                return {"kind": "numpy_normal", **position, "shape": values.shape}
        return None


def undo_box_muller(x: np.ndarray) -> np.ndarray:
    """The uniform numbers from which a block of 16 normal ones was made."""
    return np.concatenate([1 - np.exp(-(x[:8] ** 2 + x[8:] ** 2) / 2), np.arctan2(x[8:], x[:8]) / (2 * np.pi) % 1])


def ulps(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Distances in units in the last place."""
    return np.ravel(values).view(np.int32).astype(np.int64) - np.ravel(reference).view(np.int32)


class Packer:
    """Replaces the arrays of a tree by descriptions, and collects what has to be stored of them."""

    def __init__(self, stream: TorchStream | NumpyStream | None) -> None:
        self.stream = stream
        self.stored: dict[str, list[np.ndarray]] = {}
        self.seen: dict[tuple, dict] = {}

    def pack(self, tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: self.pack(item) for key, item in tree.items()}
        if isinstance(tree, list):
            return [self.pack(item) for item in tree]
        if isinstance(tree, torch.Tensor):
            return {"tensor": self.describe(tree.numpy())}
        if isinstance(tree, np.ndarray):
            return {"array": self.describe(tree)}
        return tree

    def describe(self, values: np.ndarray) -> dict:
        """The description of ``values``; equal arrays share one."""
        key = (values.dtype.name, values.shape, values.tobytes())
        if key not in self.seen:
            description = self.stream.find(values) if self.stream and values.dtype == np.float32 else None
            if description is None:
                description = {
                    "kind": values.dtype.name,
                    "shape": values.shape,
                    "at": self.store(values.dtype.name, values),
                }
            else:
                rounding = ulps(values, golden.build(description, {}))
                if rounding.any():
                    description["ulps"] = self.store("ulps", rounding.astype(np.int8))
            self.seen[key] = description
        return self.seen[key]

    def store(self, kind: str, values: np.ndarray) -> int:
        arrays = self.stored.setdefault(kind, [])
        start = sum(array.size for array in arrays)
        arrays.append(values.reshape(-1))
        return start


def stream_of(name: str) -> TorchStream | NumpyStream | None:
    if name in TORCH_SEEDS:
        return TorchStream(TORCH_SEEDS[name])
    return NumpyStream(NUMPY_SEEDS[name]) if name in NUMPY_SEEDS else None


def trees(reference: Path) -> Iterator[tuple[str, Any]]:
    """Every file that is made in NumPy's format: its name and its content."""
    for path in sorted(reference.glob("*.pt")):
        tree = torch.load(path, weights_only=True)
        yield path.stem, tree if path.stem in WHOLE else {key: tree[key] for key in KEPT if key in tree}
    for name, prefixes in FRONTENDS.items():
        arrays = np.load(reference / "frontends" / f"{name}_golden.npz")
        norms = json.loads((reference / "frontends" / f"{name}_gradnorms.json").read_text())
        arrays = {key: arrays[key] for key in arrays.files if key.startswith(prefixes)}
        yield f"frontends/{name}", {"arrays": arrays, "gradient_norms": norms}
    manifests = [*sorted(reference.glob("manifest_*.json")), *sorted(reference.glob("frontends/manifest_*.json"))]
    yield "manifests", {path.stem.removeprefix("manifest_"): json.loads(path.read_text()) for path in manifests}
    digests = json.loads((reference / "rawboost_digests.json").read_text())
    yield "rawboost", {"arrays": dict(np.load(reference / "rawboost_arrays.npz")), **digests}
    yield "vector_losses", torch.load(reference / "zoo" / "losses.pt", weights_only=True)
    yield "pad_indices", dict(np.load(reference / "pad_indices.npz"))


def case(folder: Path) -> dict:
    """Files, results and errors of one case of the evaluation programs; a case that is one file is its content."""
    single_file = folder.with_suffix(".json")
    if single_file.is_file():
        return json.loads(single_file.read_text())
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    files = {
        name.removesuffix(".gz"): (gzip.open(path, "rt") if path.suffix == ".gz" else path.open()).read()
        for name, path in sorted(paths.items())
    }
    result = plain(json.loads(files.pop("result.json")))
    return {"files": files, "results": result["results"], "cli_errors": result.get("cli_errors", {})}


def plain(value: Any) -> Any:
    """Numbers stand there as value, repr and hexadecimal; the value is enough."""
    if not isinstance(value, dict):
        return value
    return value["v"] if set(value) == {"v", "repr", "hex"} else {key: plain(item) for key, item in value.items()}


def write(name: str, tree: Any) -> None:
    packer = Packer(stream_of(name))
    text = json.dumps(packer.pack(tree), separators=(",", ":"))
    arrays = {"tree": np.frombuffer(text.encode(), np.uint8)}
    arrays |= {kind: np.concatenate(arrays_of_kind) for kind, arrays_of_kind in packer.stored.items()}
    path = golden.FOLDER / f"{name}.npz"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for kind, array in arrays.items():
            file = io.BytesIO()
            np.lib.format.write_array(file, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{kind}.npy"), file.getvalue(), zipfile.ZIP_LZMA)  # with no date
    print(f"{path.stat().st_size:9,} {name}")


def write_checkpoints(reference: Path) -> None:
    """The packings have the same tensors, so together they are hardly larger than one."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path in sorted(reference.glob("frontends/*.pt")):
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    target = golden.FOLDER / "frontends" / "checkpoints.tar.xz"
    target.write_bytes(lzma.compress(raw.getvalue(), preset=9))
    print(f"{target.stat().st_size:9,} frontends/checkpoints.tar.xz")


def main(reference: Path, names: list[str]) -> None:
    """Make the files of these names, or all of them."""
    for name, tree in trees(reference):
        if not names or name in names:
            write(name, tree)
    if not names or "frontends/checkpoints" in names:
        write_checkpoints(reference)
    for name in CASES:
        if not names or f"metrics/{name}" in names:
            target = golden.FOLDER / "metrics" / f"{name}.json.xz"
            target.write_bytes(lzma.compress(json.dumps(case(reference / "metrics" / name)).encode(), preset=9))
            print(f"{target.stat().st_size:9,} metrics/{name}")
    for name in COPIED:
        if not names or name in names:
            (golden.FOLDER / f"{name}.json").write_text((reference / f"{name}.json").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
