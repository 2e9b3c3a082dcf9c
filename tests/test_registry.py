"""Every option of every part has a declared type and range, which is checked when the part is created."""

import inspect
import math
import re
from importlib.metadata import EntryPoint

import pytest
import torch

from nes2net import InputError, create_backend, create_frontend
from nes2net.frontends.sizes import SIZES
from nes2net.options import check_options, declared
from nes2net.registry import Registry, backends, frontends, takes_checkpoint

CREATE = {"front-end": create_frontend, "back-end": create_backend}
#: Published sizes have the options of their front-end, and test_every_option_is_declared for them all.
SAME = {name for name, size in SIZES.items() if name != size.frontend}
PARTS = [(registry, name) for registry in (frontends, backends) for name in registry._own if name not in SAME]
WRONG = ["x" * 300, [], {}, "1", -1, 10**9, 10**5000, math.nan, math.inf, 1e300, object(), [[1]], [10**9] * 9]


@pytest.mark.parametrize("registry", [frontends, backends])
def test_every_option_is_declared(registry):
    for name in registry._own:
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
        ("back-end", "nes2net_x", {"nes_ratio": (8, 1)}, r"a list of two whole numbers from 2 to 64, not \(8, 1\)"),
        ("back-end", "nes2net_x", {"pool": "ast"}, "one of mean, astp, or null, not 'ast'; did you mean 'astp'?"),
        ("back-end", "mamba", {"num_layers": 3}, "an even number from 2 to 128, which counts both columns"),
        ("back-end", "sls", {"num_logits": 1}, "a whole number from 2 to 1000, as sls ends in a log-softmax"),
        ("back-end", "raw_aasist", {"feature_dim": 1024}, "feature_dim is 1, the samples of the front-end 'waveform'"),
        ("back-end", "aasist", {"feature_dim": 1}, "feature_dim is a whole number from 2 to 65536, not 1"),
        ("back-end", "sls", {"feature_dim": 60_000, "num_frames": 10_000}, "'sls' has more than 5,000,000,000 weights"),
        ("back-end", "mpif_res2net", {"blocks": [64] * 4, "scale": 64}, "'mpif_res2net' has more than 3,000 modules"),
        ("front-end", "wav2vec2", {"encoder_embed_dim": 64 * 1024}, "'wav2vec2' has more than 5,000,000,000 weights"),
    ],
)
def test_values_that_are_wrong_or_too_large(kind, name, options, message):
    with torch.device("meta"), pytest.raises(InputError, match=message):
        CREATE[kind](name, **options)


@pytest.mark.parametrize("target", ["nowhere.at_all:Part", "nes2net.errors:Part"])
def test_what_an_installed_package_does_not_have(monkeypatch, target):
    point = EntryPoint("mine", target, "nes2net.backends")
    monkeypatch.setattr("nes2net.registry.entry_points", lambda group: [point])
    registry = Registry("back-end", "nes2net.backends", {"own": "nes2net.errors:InputError"})
    assert registry.names() == ["mine", "own"] and registry.names(installed=False) == ["own"]
    with pytest.raises(InputError, match=f"back-end 'mine' cannot be imported from {target} .*: mend the entry point"):
        registry.get("mine")


def test_what_can_start_from_a_pre_training_file(monkeypatch):
    for name, takes in (("wav2vec2", True), ("xlsr_300m", True), ("lps", False), ("waveform", False)):
        assert takes_checkpoint(name) is takes
    monkeypatch.setattr(Registry, "get", lambda *_: lambda checkpoint=None: None)
    assert takes_checkpoint("theirs")  # a function that builds a front-end


@pytest.mark.parametrize(
    ("name", "option", "least"),
    [("wav2vec2", "conv_feature_layers", [[1, 1, 1]]), ("wav2vec2", "encoder_embed_dim", 1), ("lps", "num_samples", 1)],
)
def test_the_least_value_of_a_range_is_in_it(name, option, least):
    assert declared(frontends.get(name))[option].fits(least)
