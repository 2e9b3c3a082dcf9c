"""XLS-R 300M is not slower than fairseq in float32 and at least 3 times as fast in bfloat16; WavLM-Large at least 1.1 times its eager form.

On the CPU, with random weights, in batches of 1, 4 and 12 utterances of 64,600 samples (201 frames):

* wav2vec 2.0: fairseq in float32 where it is installed, else a plain transcription of its computation (:class:`Published`); this
  toolkit's in float32 (not slower), in bfloat16 (at least 3× at batch 4) and compiled in bfloat16 (at least 3.3×);
* WavLM: the eager form of the transformers library, the only one that it has; this toolkit's (at least 1.1×), both in float32.

All of a table run by turns (A B A B …), matrix products among them; figures are of medians, of CPU time on one thread, else of wall
time. "of peak" is the share of the matrix product's speed in the same precision, of the faster library. Full size takes some GiB of
memory and minutes a round.

    OMP_NUM_THREADS=2 scripts/bench frontends
    scripts/bench frontends --rounds 3 --batches 1 4 --no-compile
    scripts/bench frontends --small          # tiny models: that it runs, no figures worth reading
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from nes2net_x import seconds_by_turns
from torch import Tensor, nn

from nes2net import InputError, create_frontend
from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.frontends.onednn import OneDNNLinear
from nes2net.info import count_flops

TINY = {"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4}
PEAK_SIZE = 2048  # of the square matrices whose product is the yardstick


class TransposedNorm(nn.Sequential):
    """Layer normalisation over the channels of B×C×T."""

    def forward(self, x: Tensor) -> Tensor:
        return self[1](x.transpose(-2, -1)).transpose(-2, -1)


class PositionalConvolution(nn.Module):
    """Grouped convolution over time whose weight is normalised over all but the kernel's axis, B×D×T → B×D×T."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups, self.padding = groups, kernel // 2
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(dim, dim // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        return F.gelu(F.conv1d(x, weight, self.bias, padding=self.padding, groups=self.groups)[..., : x.shape[-1]])


class PublishedLayer(nn.Module):
    """Transformer layer with the norms first, T×B×D → T×B×D."""

    def __init__(self, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.self_attn = nn.ModuleDict({f"{name}_proj": nn.Linear(dim, dim) for name in ("q", "k", "v", "out")})
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, inner), nn.Linear(inner, dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        q, k, v, out = self.self_attn.values()
        y = self.self_attn_layer_norm(x)
        y, _ = F.multi_head_attention_forward(
            y, y, y, self.dim, self.heads, torch.empty([0]), torch.cat([q.bias, k.bias, v.bias]), None, None, False, 0.0,
            out.weight, out.bias, training=False, key_padding_mask=padding, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=q.weight, k_proj_weight=k.weight, v_proj_weight=v.weight,
        )  # fmt: skip
        x = x + y
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class Published(nn.Module):
    """fairseq's wav2vec 2.0 in eval mode under its names, B×N → B×T×D: layer norms in the extractor and first in the layers."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        dim, blocks, channels = options["encoder_embed_dim"], [], 1
        for out, kernel, stride in options["conv_feature_layers"]:
            norm = TransposedNorm(nn.Identity(), nn.LayerNorm(out), nn.Identity())
            blocks.append(nn.Sequential(nn.Conv1d(channels, out, kernel, stride), nn.Dropout(0.0), norm, nn.GELU()))
            channels = out
        self.feature_extractor = nn.ModuleDict({"conv_layers": nn.Sequential(*blocks)})
        self.layer_norm, self.post_extract_proj = nn.LayerNorm(channels), nn.Linear(channels, dim)
        inner, heads = options["encoder_ffn_embed_dim"], options["encoder_attention_heads"]
        self.encoder = nn.ModuleDict(
            {
                "pos_conv": nn.Sequential(PositionalConvolution(dim, options["conv_pos"], options["conv_pos_groups"])),
                "layers": nn.ModuleList(PublishedLayer(dim, inner, heads) for _ in range(options["encoder_layers"])),
                "layer_norm": nn.LayerNorm(dim),
            }
        )

    def forward(self, waveform: Tensor) -> list[Tensor]:
        x = self.feature_extractor["conv_layers"](waveform[:, None]).transpose(1, 2)
        x = self.post_extract_proj(self.layer_norm(x))
        x = x + self.encoder["pos_conv"](x.transpose(1, 2)).transpose(1, 2)
        frames, padding = x.shape[1], None
        if frames % 2:  # fairseq pads to an even number of frames
            x = F.pad(x, (0, 0, 0, 1))
            padding = x.new_zeros(x.shape[:2], dtype=torch.bool)
            padding[:, -1] = True
        x = x.transpose(0, 1)
        for layer in self.encoder["layers"]:
            x = layer(x, padding)
        return [self.encoder["layer_norm"](x.transpose(0, 1)[:, :frames])]


def fairseq_model(frontend: nn.Module) -> tuple[str, nn.Module]:
    """fairseq's module, or :class:`Published` where it is not installed, on the weights of ``frontend``, and what it is."""
    options = {k: v for k, v in frontend.config.items() if k != "name"}
    weights = frontend.state_dict()
    try:
        original = create_frontend("wav2vec2", engine="fairseq", **options)
        original.load_state_dict(weights, assign=True)
        return "fairseq", original
    except InputError:
        with torch.device("meta"):
            original = Published(options)
        original.load_state_dict({name: weights[f"model.{name}"] for name in original.state_dict()}, assign=True)
        return "transcription", original


class Eager(nn.Module):
    """The transformers library's own WavLM on the weights of ``frontend``, B×N → B×T×D."""

    def __init__(self, frontend: nn.Module) -> None:
        from transformers import WavLMModel

        super().__init__()
        with torch.device("meta"):
            self.model = WavLMModel(frontend.model.config)
        self.model.load_state_dict(frontend.model.state_dict(), assign=True)

    def forward(self, waveform: Tensor) -> list[Tensor]:
        return [self.model(F.layer_norm(waveform, waveform.shape[-1:])).last_hidden_state]


def forward_pass(model: Callable, waveform: Tensor) -> Callable[[], Any]:
    def run() -> Tensor:
        with torch.no_grad():
            return model(waveform)

    return run


def matrix_products(dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """A product of square matrices by PyTorch's choice of library and by oneDNN."""
    linear = nn.Linear(PEAK_SIZE, PEAK_SIZE, bias=False, dtype=dtype)
    x = torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype)
    return {"PyTorch": forward_pass(linear, x), "oneDNN": forward_pass(OneDNNLinear(linear), x)}


def measure(
    models: dict[str, tuple[nn.Module, torch.dtype]], flops: int, samples: int, batches: list[int], rounds: int
) -> None:
    """Print a table for each batch size; ratios are to the first of ``models``. ``flops`` are of one utterance."""
    for batch in batches:
        waveform = 0.1 * torch.randn(batch, samples)
        runs = {name: forward_pass(model, waveform.to(dtype)) for name, (model, dtype) in models.items()}
        products = {
            (dtype, library): run
            for dtype in dict.fromkeys(dtype for _, dtype in models.values())
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
        for name, (_, dtype) in models.items():
            share = flops * batch / seconds[name] / peak[dtype]
            each = 1000 * seconds[name] / batch
            print(f"{name:>30}  {each:8.1f} ms/utterance  {reference / seconds[name]:5.2f}×  {share:4.0%} of peak")


def compare(models: dict[str, tuple[nn.Module, torch.dtype]], samples: int) -> None:
    """Print how far the outputs are from the first model's, as a share of their standard deviation."""
    waveform = 0.1 * torch.randn(1, samples)
    outputs = {name: forward_pass(model, waveform.to(dtype))()[-1].float() for name, (model, dtype) in models.items()}
    reference = outputs[next(iter(models))]
    for name, output in outputs.items():
        difference = (output - reference) / reference.std()
        rms, largest = difference.square().mean().sqrt().item(), difference.abs().max().item()
        print(f"{name:>30}  differs by {rms:.1e} rms, {largest:.1e} at most, of the output's standard deviation")


def wav2vec2(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    frontend = create_frontend("xlsr_300m", pretraining_heads=False, **options).eval()
    what, original = fairseq_model(frontend)
    low = copy.deepcopy(frontend).bfloat16()
    models: dict[str, tuple[nn.Module, torch.dtype]] = {
        f"{what}, float32": (original.eval(), torch.float32),
        "nes2net, float32": (frontend, torch.float32),
        "nes2net, bfloat16": (low, torch.bfloat16),
    }
    print(f"wav2vec 2.0, {_size(frontend)}")
    compare(models, samples)
    if not arguments.no_compile:
        models["nes2net, bfloat16, compiled"] = torch.compile(low, fullgraph=True, dynamic=False), torch.bfloat16
    measure(models, _flops("xlsr_300m", options, samples), samples, arguments.batches, arguments.rounds)


def wavlm(options: dict[str, Any], samples: int, arguments: argparse.Namespace) -> None:
    frontend = create_frontend("wavlm_large", **options).eval()
    models: dict[str, tuple[nn.Module, torch.dtype]] = {
        "eager, float32": (Eager(frontend).eval(), torch.float32),
        "nes2net, float32": (frontend, torch.float32),
    }
    print(f"WavLM, {_size(frontend)}")
    compare(models, samples)
    measure(models, _flops("wavlm_large", options, samples), samples, arguments.batches, arguments.rounds)


def _flops(name: str, options: dict[str, Any], samples: int) -> int:
    with torch.device("meta"):
        return count_flops(create_frontend(name, **options), torch.zeros(1, samples))


def _size(frontend: nn.Module) -> str:
    return f"{sum(p.numel() for p in frontend.parameters()):,} parameters"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main() -> None:
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
