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
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _published import fairseq_model, seconds_by_turns
from torch import Tensor, nn

from nes2net import create_frontend
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.lib.flops import count_flops
from nes2net.models.frontends.onednn import OneDNNLinear
from nes2net.models.quantisation import fastest_product, has_fast_product, quantise

TINY = {"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4}
PEAK_SIZE = 2048  # size of the square matrices; their product gives the peak speed


class Eager(nn.Module):
    """WavLM of the transformers library on the weights of ``frontend``, B×N → B×T×D."""

    def __init__(self, frontend: nn.Module) -> None:
        from transformers import WavLMModel

        super().__init__()
        with torch.device("meta"):
            self.model = WavLMModel(frontend.model.config)
        self.model.load_state_dict(frontend.model.state_dict(), assign=True)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Hidden states of the last layer, B×T×D."""
        return [self.model(F.layer_norm(waveform, waveform.shape[-1:])).last_hidden_state]


def forward_pass(model: Callable, waveform: Tensor) -> Callable[[], Any]:
    """Make a function that computes ``model`` without gradients."""

    def run() -> Tensor:
        """Compute the outputs once."""
        with torch.no_grad():
            return model(waveform)

    return run


def matrix_products(dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """Make functions that multiply square matrices: by PyTorch's choice of library, and by oneDNN."""
    if dtype == torch.int8:
        weight = torch.randint(-127, 128, (PEAK_SIZE, PEAK_SIZE), dtype=torch.int8)
        values = torch.randint(1, 256, (PEAK_SIZE, PEAK_SIZE), dtype=torch.uint8)
        product = fastest_product(weight, torch.ones(PEAK_SIZE))
        return {"oneDNN" if has_fast_product() else "PyTorch": lambda: product(values, torch.float32)}
    linear = nn.Linear(PEAK_SIZE, PEAK_SIZE, bias=False, dtype=dtype)
    x = torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype)
    return {"PyTorch": forward_pass(linear, x), "oneDNN": forward_pass(OneDNNLinear(linear), x)}


def measure(
    models: dict[str, tuple[nn.Module, torch.dtype]], flops: int, samples: int, batches: list[int], rounds: int
) -> None:
    """Print a table for each batch size, with ratios to the first of ``models``.

    Args:
        models: title → front-end, and the type of its waveforms.
        flops: operations of one utterance.
    """
    for batch in batches:
        waveform = 0.1 * torch.randn(batch, samples)
        runs = {name: forward_pass(model, waveform.to(dtype)) for name, (model, dtype) in models.items()}
        kinds = {name: torch.int8 if "int8" in name else dtype for name, (_, dtype) in models.items()}
        products = {
            (dtype, library): run
            for dtype in dict.fromkeys(kinds.values())
            for library, run in matrix_products(dtype).items()
        }
        seconds = seconds_by_turns(runs | products, rounds)
        print(f"batch {batch}")
        peak: dict[torch.dtype, float] = {}
        for dtype, library in products:
            speed = 2 * PEAK_SIZE**3 / seconds[dtype, library]
            peak[dtype] = max(peak.get(dtype, 0.0), speed)
            print(f"{f'product, {_name(dtype)}, {library}':>30}  {speed / 1e9:8.1f} GFLOP/s")
        reference = seconds[next(iter(models))]
        for name, dtype in kinds.items():
            share = flops * batch / seconds[name] / peak[dtype]
            each = 1000 * seconds[name] / batch
            print(f"{name:>30}  {each:8.1f} ms/utterance  {reference / seconds[name]:5.2f}×  {share:4.0%} of peak")


def compare(models: dict[str, tuple[nn.Module, torch.dtype]], samples: int) -> None:
    """Print how the outputs differ from those of the first model, as a share of their standard deviation."""
    waveform = 0.1 * torch.randn(1, samples)
    outputs = {name: forward_pass(model, waveform.to(dtype))()[-1].float() for name, (model, dtype) in models.items()}
    reference = outputs[next(iter(models))]
    for name, output in outputs.items():
        difference = (output - reference) / reference.std()
        rms = difference.square().mean().sqrt().item()
        largest = difference.abs().max().item()
        print(f"{name:>30}  differs by {rms:.1e} rms, {largest:.1e} at most, of the output's standard deviation")


def wav2vec2(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    """Compare XLS-R 300M in all precisions with fairseq."""
    frontend = create_frontend("xlsr_300m", pretraining_heads=False, **options).eval()
    source, original = fairseq_model(frontend)
    low = copy.deepcopy(frontend).bfloat16()
    int8 = quantise(copy.deepcopy(frontend))
    models: dict[str, tuple[nn.Module, torch.dtype]] = {
        f"{source}, float32": (original.eval(), torch.float32),
        "nes2net, float32": (frontend, torch.float32),
        "nes2net, bfloat16": (low, torch.bfloat16),
        "nes2net, int8": (int8, next(int8.parameters()).dtype),
    }
    print(f"wav2vec 2.0, {_size(frontend)}")
    compare(models, samples)
    if not arguments.no_compile:
        for name in ("bfloat16", "int8"):
            model, dtype = models[f"nes2net, {name}"]
            (compiled := copy.deepcopy(model)).compile(dynamic=False)
            models[f"nes2net, {name}, compiled"] = compiled, dtype
    measure(models, _flops("xlsr_300m", options, samples), samples, arguments.batches, arguments.rounds)


def wavlm(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    """Compare WavLM-Large with its eager form."""
    frontend = create_frontend("wavlm_large", **options).eval()
    models: dict[str, tuple[nn.Module, torch.dtype]] = {
        "eager, float32": (Eager(frontend).eval(), torch.float32),
        "nes2net, float32": (frontend, torch.float32),
    }
    print(f"WavLM, {_size(frontend)}")
    compare(models, samples)
    measure(models, _flops("wavlm_large", options, samples), samples, arguments.batches, arguments.rounds)


def _flops(name: str, options: dict[str, Any], samples: int) -> int:
    """Count the operations of a front-end for one utterance."""
    with torch.device("meta"):
        return count_flops(create_frontend(name, **options), torch.zeros(1, samples))


def _size(frontend: nn.Module) -> str:
    """Write the number of parameters."""
    return f"{sum(p.numel() for p in frontend.parameters()):,} parameters"


def _name(dtype: torch.dtype) -> str:
    """The name of a type, without ``torch.``."""
    return str(dtype).removeprefix("torch.")


def main() -> None:
    """Measure both front-ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--no-compile", action="store_true", help="measure the eager models only")
    parser.add_argument("--small", action="store_true", help="tiny models on half a second, to see that it runs")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    options, samples = (TINY, 8000) if arguments.small else ({}, ASVSPOOF_SAMPLES)
    print(f"{samples:,} samples, {torch.get_num_threads()} thread(s), torch {torch.__version__}")
    wav2vec2(options, samples, arguments)
    wavlm(options, samples, arguments)


if __name__ == "__main__":
    main()
