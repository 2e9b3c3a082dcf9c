"""Claims: XLS-R 300M is as fast as fairseq in float32, and 3 times as fast in bfloat16; WavLM-Large beats its eager form.

On the CPU, with random weights, in batches of 1, 4 and 12 utterances of 64,600 samples (201
frames):

* wav2vec 2.0: the reference is fairseq in float32, or a plain transcription of it if fairseq is not
  installed. This toolkit runs in float32 (not slower), in bfloat16 (at least 3× at batch 4), in int8 (at
  least 5×), and compiled layer by layer in bfloat16 and int8.
* WavLM: the reference is the eager form of the transformers library. The form of this toolkit is at
  least 1.1× as fast; both run in float32.

All rows of a table and the matrix products run in turn (A B A B …). Figures are medians, of CPU
time on one thread, otherwise of wall time. "of peak" is the speed as a share of that of a matrix
product in the same precision, by the faster library. Full size needs some GiB of memory, and
minutes per round.

    OMP_NUM_THREADS=2 scripts/bench frontends
    scripts/bench frontends --rounds 3 --batches 1 4 --no-compile
    scripts/bench frontends --small          # tiny models, as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from _harness import first_line, median_seconds, name_of, thread_seconds, versions
from _published import fairseq_model
from torch import Tensor, nn
from transformers import WavLMModel

from nes2net import create_frontend
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.lib.computing.flops import count_flops
from nes2net.models.frontends.base import Frontend
from nes2net.models.frontends.onednn import with_onednn
from nes2net.models.quantisation import fastest_product, has_fast_product, quantise

TINY = {"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4}
PEAK_SIZE = 2048  # size of the square matrices; their product gives the peak speed


class Row(NamedTuple):
    """A row of a table: a front-end, the type of its waveforms, and the type of its products."""

    model: nn.Module
    dtype: torch.dtype = torch.float32
    product_dtype: torch.dtype = torch.float32


class Eager(nn.Module):
    """WavLM of the transformers library on the weights of ``frontend``, B×N → B×T×D."""

    def __init__(self, frontend: Frontend) -> None:
        super().__init__()
        with torch.device("meta"):
            self.model = WavLMModel(frontend.model.config)
        self.model.load_state_dict(frontend.model.state_dict(), assign=True)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Hidden states of the last layer, B×T×D."""
        return [self.model(F.layer_norm(waveform, waveform.shape[-1:])).last_hidden_state]


@torch.no_grad()
def computed(model: Callable[[Tensor], Any], waveform: Tensor) -> Any:
    """Compute ``model`` without gradients."""
    return model(waveform)


def matrix_products(dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """Make functions that multiply square matrices: by PyTorch's choice of library, and by oneDNN."""
    if dtype == torch.int8:
        weight = torch.randint(-127, 128, (PEAK_SIZE, PEAK_SIZE), dtype=torch.int8)
        values = torch.randint(1, 256, (PEAK_SIZE, PEAK_SIZE), dtype=torch.uint8)
        product = fastest_product(weight, torch.ones(PEAK_SIZE))
        library = "oneDNN" if has_fast_product() else "PyTorch"
        return {library: partial(product, values, torch.float32)}
    linear = nn.Linear(PEAK_SIZE, PEAK_SIZE, bias=False, dtype=dtype)
    x = torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype)
    return {"PyTorch": partial(computed, linear, x), "oneDNN": partial(computed, with_onednn(copy.deepcopy(linear)), x)}


def product_runs(dtypes: Iterable[torch.dtype]) -> dict[Any, Callable[[], Tensor]]:
    """Make the functions of :func:`matrix_products` for several types: (type, library) → function."""
    runs = {}
    for dtype in dict.fromkeys(dtypes):
        for library, product in matrix_products(dtype).items():
            runs[dtype, library] = product
    return runs


def peaks_of(seconds: Mapping[Any, float], products: Iterable[tuple[torch.dtype, str]]) -> dict[torch.dtype, float]:
    """The operations a second of the faster library in each precision.

    Args:
        seconds: (type, library) → seconds of a matrix product.
        products: the keys of :func:`product_runs`.
    """
    peaks: dict[torch.dtype, float] = {}
    for dtype, library in products:
        speed = 2 * PEAK_SIZE**3 / seconds[dtype, library]
        peaks[dtype] = max(speed, peaks.get(dtype, speed))
    return peaks


def measure(rows: dict[str, Row], flops: int, samples: int, batches: list[int], rounds: int) -> None:
    """Print a table for each batch size, with ratios to the first of ``rows``.

    Args:
        flops: operations of one utterance.
    """
    products = product_runs(row.product_dtype for row in rows.values())
    for batch in batches:
        waveform = 0.1 * torch.randn(batch, samples)
        runs = dict(products)
        for name, row in rows.items():
            runs[name] = partial(computed, row.model, waveform.to(row.dtype))
        seconds = median_seconds(runs, rounds, thread_seconds, warm_up=2)
        peaks = peaks_of(seconds, products)
        print(f"batch {batch}")
        for dtype, peak in peaks.items():
            print(f"{f'product, {name_of(dtype)}':>30}  {peak / 1e9:8.1f} GFLOP/s")
        reference = seconds[next(iter(rows))]
        for name, row in rows.items():
            share = flops * batch / seconds[name] / peaks[row.product_dtype]
            each = 1000 * seconds[name] / batch
            print(f"{name:>30}  {each:8.1f} ms/utterance  {reference / seconds[name]:5.2f}×  {share:4.0%} of peak")


def wav2vec2(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    """Compare XLS-R 300M in all precisions with fairseq."""
    frontend = create_frontend("xlsr_300m", pretraining_heads=False, **options).eval()
    source, original = fairseq_model(frontend)
    int8 = quantise(copy.deepcopy(frontend))
    rows = {
        f"{source}, float32": Row(original.eval()),
        "nes2net, float32": Row(frontend),
        "nes2net, bfloat16": Row(copy.deepcopy(frontend).bfloat16(), torch.bfloat16, torch.bfloat16),
        "nes2net, int8": Row(int8, next(int8.parameters()).dtype, torch.int8),
    }
    print("wav2vec 2.0")
    if not arguments.no_compile:
        for name in ("nes2net, bfloat16", "nes2net, int8"):
            compiled = copy.deepcopy(rows[name].model)
            compiled.compile(dynamic=False)
            rows[f"{name}, compiled"] = rows[name]._replace(model=compiled)
    measure(rows, flops_of("xlsr_300m", options, samples), samples, arguments.batches, arguments.rounds)


def wavlm(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    """Compare WavLM-Large with its eager form."""
    frontend = create_frontend("wavlm_large", **options).eval()
    rows = {"eager, float32": Row(Eager(frontend).eval()), "nes2net, float32": Row(frontend)}
    print("WavLM")
    measure(rows, flops_of("wavlm_large", options, samples), samples, arguments.batches, arguments.rounds)


def flops_of(name: str, options: dict[str, Any], samples: int) -> int:
    """Count the operations of a front-end for one utterance."""
    with torch.device("meta"):
        return count_flops(create_frontend(name, **options), torch.zeros(1, samples))


def main() -> None:
    """Measure both front-ends."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--no-compile", action="store_true", help="measure the eager models only")
    parser.add_argument("--small", action="store_true", help="tiny models on half a second, to see that it runs")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    options = TINY if arguments.small else {}
    samples = 8000 if arguments.small else ASVSPOOF_SAMPLES
    print(f"{samples:,} samples, {versions()}")
    wav2vec2(options, samples, arguments)
    wavlm(options, samples, arguments)


if __name__ == "__main__":
    main()
