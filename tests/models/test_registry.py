"""Every option of every part has a declared type and range, which is checked when the part is created."""

import inspect
import math
import re
from pathlib import Path

import pytest
import yaml
from builders import input_error

from nes2net import create_backend, create_frontend
from nes2net.lib.computing.without_memory import without_memory
from nes2net.lib.parts.options import check_options, options_of
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.registry import backends, frontends, takes_checkpoint

BACK = "back-end"
FRONT = "front-end"
CREATE = {FRONT: create_frontend, BACK: create_backend}
#: Published sizes have the options of their front-end, and test_every_option_of_a_built_in_front_end_or_back_end_is_declared for them all.
SAME = {name for name, size in SIZES.items() if name != size.frontend}
PARTS = [(registry, name) for registry in (frontends, backends) for name in registry._built_in if name not in SAME]
#: Options without a limit, because nothing grows with them → how many of WRONG they allow.
UNLIMITED = dict.fromkeys(["delta_scale", "mean", "num_bins", "num_samples", "std"], 3) | {"configuration": 1}
WRONG = ["x" * 300, [], {}, "1", -1, 10**9, 10**5000, math.nan, math.inf, 1e300, object(), [[1]], [10**9] * 9]


@pytest.mark.parametrize("registry", [frontends, backends])
def test_every_option_of_a_built_in_front_end_or_back_end_is_declared(registry):
    for name in registry._built_in:
        factory = registry.get(name)
        undeclared = inspect.signature(factory).parameters.keys() - options_of(factory).keys()
        assert not undeclared, f"{name}: {undeclared}"


@pytest.mark.parametrize("registry, name", PARTS)
def test_every_option_takes_its_default_and_refuses_values_that_its_declaration_does_not_allow(registry, name):
    factory = registry.get(name)
    kind = registry.kind
    for option, declaration in options_of(factory).items():
        if option in ("checkpoint", "return"):
            continue
        check_options(factory, {option: declaration.default}, "default")
        wrong = [value for value in WRONG if not declaration.fits(value)]
        assert len(wrong) >= len(WRONG) - UNLIMITED.get(option, 0), option
        message = f"^{kind} '{name}': {option} must be {re.escape(declaration.takes)}, not "
        for value in wrong:
            with input_error(message):
                CREATE[kind](name, **{option: value})


@pytest.mark.parametrize("kind", CREATE)
def test_options_that_a_front_end_or_back_end_cannot_have_are_refused_with_the_reason(kind):
    path = Path(__file__).with_name("refused_options.yaml")
    for name, options, message in yaml.safe_load(path.read_text(encoding="utf-8"))[kind]:
        with without_memory(), input_error(message):
            CREATE[kind](name, **options)


def test_wav2vec2_and_xlsr_300m_take_a_pre_training_file_but_lps_and_waveform_do_not():
    names = ("wav2vec2", "xlsr_300m", "lps", "waveform")
    assert [name for name in names if takes_checkpoint(name)] == ["wav2vec2", "xlsr_300m"]
