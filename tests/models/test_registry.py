"""Every option of every part has a declared type and range, which is checked when the part is created."""

import inspect
import math
import re
from importlib.metadata import EntryPoint

import pytest
import torch

from nes2net import InputError, create_backend, create_frontend
from nes2net.lib.options import check_options, declared
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.registry import Registry, backends, frontends, takes_checkpoint

BACK, FRONT = "back-end", "front-end"
CREATE = {FRONT: create_frontend, BACK: create_backend}
#: Published sizes have the options of their front-end, and test_every_option_is_declared for them all.
SAME = {name for name, size in SIZES.items() if name != size.frontend}
PARTS = [(registry, name) for registry in (frontends, backends) for name in registry._built_in if name not in SAME]
WRONG = ["x" * 300, [], {}, "1", -1, 10**9, 10**5000, math.nan, math.inf, 1e300, object(), [[1]], [10**9] * 9]


@pytest.mark.parametrize("registry", [frontends, backends])
def test_every_option_is_declared(registry):
    for name in registry._built_in:
        factory = registry.get(name)
        undeclared = inspect.signature(factory).parameters.keys() - declared(factory).keys()
        assert not undeclared, f"{name}: {undeclared}"


@pytest.mark.parametrize(("registry", "name"), PARTS)
def test_defaults_pass_and_wrong_values_are_named(registry, name):
    factory, kind = registry.get(name), registry.kind
    for option, known in declared(factory).items():
        if option in ("checkpoint", "return"):
            continue
        check_options(factory, {option: known.default}, "default")
        wrong = [value for value in WRONG if not known.fits(value)]
        free = {"delta_scale", "num_bins", "num_samples"}  # numbers without a limit: nothing grows with them
        assert len(wrong) >= len(WRONG) - (3 if option in free else 0), option
        message = f"^{kind} '{name}': {option} is {re.escape(known.takes)}, not "
        for value in wrong:
            with pytest.raises(InputError, match=message) as error:
                CREATE[kind](name, **{option: value})
            assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        (BACK, "nes2net_x", {"nes_ratio": (8, 1)}, r"a list of two whole numbers from 2 to 64, not \(8, 1\)"),
        (BACK, "nes2net_x", {"pool": "ast"}, "one of mean, astp, or null, not 'ast'; did you mean 'astp'?"),
        (BACK, "mamba", {"num_layers": 3}, "an even number from 2 to 128, which counts both columns"),
        (BACK, "sls", {"num_logits": 1}, "a whole number from 2 to 1000, as sls ends in a log-softmax"),
        (BACK, "raw_aasist", {"feature_dim": 1024}, "feature_dim is 1, the samples of the front-end 'waveform'"),
        (BACK, "aasist", {"feature_dim": 1}, "feature_dim is a whole number from 2 to 65536, not 1"),
        (BACK, "sls", {"feature_dim": 60_000, "num_frames": 10_000}, "'sls' has more than 5,000,000,000 weights"),
        (BACK, "mpif_res2net", {"blocks": [64] * 4, "scale": 64}, "'mpif_res2net' has more than 3,000 modules"),
        (BACK, "nes2net_x", {"feature_dim": 1000, "nes_ratio": (16, 8)}, r"1000 cannot .* = 16; .* by 2, 4, 5, 8"),
        (BACK, "nes2net_x", {"nes_ratio": (8, 24)}, r"= 128 cannot .* nes_ratio\[1\] = 24; .* by 2, 4, 8, 16, 32, 64$"),
        (BACK, "nes2net_x", {"feature_dim": 14, "nes_ratio": (2, 3)}, "= 7 cannot .* = 3; it can be divided by 7$"),
        (BACK, "nes2net_la", {"feature_dim": 64, "window": 4}, "window is an odd number from 1 to 63, not 4"),
        (BACK, "mambo", {"head_dim": 48, "embed_dim": 32}, "64 cannot .* head_dim = 48; .* by 2, 4, 8, 16, 32, 64$"),
        (BACK, "mambo", {"embed_dim": 30}, "embed_dim = 30 cannot be divided by num_heads = 4"),
        (BACK, "conformer", {"num_heads": 5}, "embed_dim = 144 cannot be divided by num_heads = 5"),
        (BACK, "tcm", {"num_heads": 5}, "embed_dim = 144 cannot be divided by num_heads = 5"),
        (BACK, "raptor", {"feature_dim": 10}, "feature_dim = 10 cannot be divided by num_heads = 4"),
        (BACK, "lgf", {"hidden_dim": 9}, "hidden_dim is an even number from 2 to 65536, not 9"),
        (BACK, "mpif_res2net", {"planes": (16, 32)}, "lists of one length"),
        (BACK, "mpif_res2net", {"strides": (1, 2, 0)}, "strides is a list of 1 to 8 whole numbers from 1 to 8, not"),
        (BACK, "mpif_res2net", {"scale": 1}, "scale is a whole number from 2 to 64, not 1"),
        (BACK, "mpif_res2net", {"num_frames": 0}, "num_frames is a whole number from 1 to 10000, or null, not 0"),
        (BACK, "mpif_res2net", {"perspectives": ("phase",)}, "one or more of channel, time, frequency, not"),
        (BACK, "mpif_res2net", {"attention_kernel": 2}, "an odd number up to 255, or 0 for none, not 2"),
        (BACK, "mpif_res2net", {"feature_dim": 8193, "stem_channels": 1024}, "1024 channels are too many for 600 fram"),
        (BACK, "mpif_res2net", {"num_logits": 1}, "num_logits is at least 2, not 1"),
        (BACK, "multires_gmlp", {"feature_dim": 192}, "feature_dim is a multiple of 128 up to 65536, not 192"),
        (BACK, "multires_gmlp", {"num_layers": 31}, "num_layers is a whole number from 1 to 30"),
        (BACK, "multires_gmlp", {"resolutions": [10]}, r"resolutions is a list of some of 20, .*, not \[10\]"),
        (BACK, "multires_gmlp", {"head": "linear"}, "its head is p2sgrad"),
        (BACK, "ensemble", {"num_logits": 3}, "num_logits is 2, not 3"),
        (BACK, "ensemble", {"head": "cosine"}, "no last layer"),
        (BACK, "mean_linear", {"head": "one_class", "num_logits": 1}, "num_logits is 2, not 1"),
        (BACK, "asp_mlp", {"num_logits": 1, "head": "cosine"}, "num_logits is at least 2, not 1"),
        (BACK, "asp_mlp", {"head": "cosin"}, "unknown head 'cosin'; did you mean 'cosine'"),
        (BACK, "asp_mlp", {"head": {"name": "cosin"}}, "unknown head 'cosin'; did you mean 'cosine'"),
        (BACK, "asp_mlp", {"head": {"name": "cosine", "scael": 3}}, "head 'cosine' has no option 'scael'"),
        (FRONT, "wav2vec2", {"encoder_embed_dim": 64 * 1024}, "'wav2vec2' has more than 5,000,000,000 weights"),
        (FRONT, "wav2vec2", {"encoder_layers": 10**9}, "from 1 to 128"),
        (FRONT, "wav2vec2", {"conv_pos": 0}, "whole number"),
        (FRONT, "wav2vec2", {"encoder_layerdrop": 1.0}, "a number from 0 to below 1, not 1.0"),
        (FRONT, "wav2vec2", {"feature_grad_mult": -1}, "from 0 to 1"),
        (FRONT, "wav2vec2", {"encoder_attention_heads": 5}, "not divisible"),
        (FRONT, "wav2vec2", {"conv_pos_groups": 5}, "not divisible"),
        (FRONT, "wav2vec2", {"conv_feature_layers": [[64, 10]]}, r"1 to 16 lists \[channels, kernel, stride\]"),
        (FRONT, "wav2vec2", {"conv_feature_layers": [[64, 10, 5]]}, "5 samples from one frame .*: at least 128"),
        (FRONT, "wav2vec2", {"conv_feature_layers": [[4096, 10, 2], [8, 8, 64]]}, "4096 numbers of every 2 samples"),
        (FRONT, "wav2vec2", {"conv_feature_layers": [[64, 4096, 4096]] * 16}, "samples for a frame: at most 160000"),
        (FRONT, "w2v_bert2", {"conv_kernel": 4}, "must be odd"),
        (FRONT, "w2v_bert2", {"encoder_attention_heads": 5}, "not divisible"),
        (FRONT, "whisper", {"encoder_embed_dim": 2}, "at least 4|not divisible"),
        (FRONT, "whisper", {"chunk_length": 31}, "from 1 to 30"),
        (FRONT, "lps", {"n_fft": 512, "num_bins": 300}, "num_bins must be 1 to 257"),
        (FRONT, "lps", {"checkpoint": "file.pt"}, "takes no checkpoint"),
        (FRONT, "lps", {"num_samples": 1000}, "num_samples must be at least n_fft, 1728"),
        (FRONT, "lps", {"n_fft": 4096, "hop_length": 60}, "60 samples from one frame to the next: at least 64"),
        (FRONT, "lfcc", {"window_length": 600}, "window_length must be 1 to n_fft, 512, not 600"),
        (FRONT, "lfcc", {"num_coefficients": 21}, "num_coefficients must be 1 to num_filters, 20, not 21"),
        (FRONT, "lfcc", {"max_frequency": 9000}, "above 0 and at most 8000, not 9000"),
        (FRONT, "lfcc", {"deltas": 3}, "deltas is a whole number from 0 to 2, not 3"),
    ],
)
def test_values_that_are_wrong_or_do_not_go_together(kind, name, options, message):
    with torch.device("meta"), pytest.raises(InputError, match=message):
        CREATE[kind](name, **options)


@pytest.mark.parametrize("target", ["nowhere.at_all:Part", "nes2net.lib.errors:Part"])
def test_what_an_installed_package_does_not_have(monkeypatch, target):
    point = EntryPoint("mine", target, "nes2net.backends")
    monkeypatch.setattr("nes2net.models.registry.entry_points", lambda group: [point])
    registry = Registry(BACK, "nes2net.backends", {"own": "nes2net.lib.errors:InputError"})
    assert registry.names() == ["mine", "own"] and registry.names(installed=False) == ["own"]
    with pytest.raises(InputError, match=f"back-end 'mine' cannot be imported from {target} .*: mend the entry point"):
        registry.get("mine")


def test_what_can_start_from_a_pre_training_file(monkeypatch):
    for name, takes in (("wav2vec2", True), ("xlsr_300m", True), ("lps", False), ("waveform", False)):
        assert takes_checkpoint(name) is takes
    monkeypatch.setattr(Registry, "get", lambda *_: lambda checkpoint=None: None)
    assert takes_checkpoint("theirs")  # a function that builds a front-end
