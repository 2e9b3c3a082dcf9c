"""Which architecture a checkpoint has that does not say so: that of the published model with its keys and shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from os.path import isfile
from typing import Any

import torch
from torch import Tensor

from nes2net.checkpoints.published_names import (
    layout_of,
    of_frontend,
    unwrap_frontend,
)
from nes2net.checkpoints.state_dict import (
    Misfit,
    compare,
)
from nes2net.detector.network import Network
from nes2net.errors import InputError, MissingLibrary, did_you_mean, first_line
from nes2net.frontends.base import Frontend
from nes2net.options import name_and_options
from nes2net.published_models import (
    CODES,
    PUBLISHED_MODELS,
)
from nes2net.recipes.reading import load_recipe
from nes2net.registry import create_frontend


def named_architecture(name: str) -> dict[str, Any]:
    """Architecture of the published model ``name``, or of the recipe in the file ``name``.

    Raises:
        InputError: if ``name`` is neither.
    """
    if name in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[name]
    if isfile(name):
        return load_recipe(name).model
    raise InputError(
        f"architecture '{name}' is neither a published model nor a recipe{did_you_mean(name, PUBLISHED_MODELS, 'nes2net info')}"
    )


@contextmanager
def sound_description(path: str) -> Iterator[None]:
    """Turn errors of building the model that ``path`` describes into :class:`InputError`."""
    try:
        yield
    except MissingLibrary:
        raise
    except InputError as error:
        raise InputError(f"{path} describes a model that cannot be built: {error}") from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{path} describes a model that cannot be built ({type(error).__name__}: {first_line(error)})"
        ) from error


def recognise(state_dict: Mapping[str, Tensor]) -> dict[str, Misfit]:
    """Compare a whole-model state dict with each published model; the nearest one comes first."""
    layout, state_dict = layout_of(state_dict), unwrap_frontend(state_dict)
    code = layout.code if layout else ""
    heard = bool(of_frontend(state_dict))  # else the front-end was frozen
    misfits = {
        name: compare(state_dict, _published_tensors(json.dumps(config), heard))
        for name, config in PUBLISHED_MODELS.items()
        if CODES.get(name, "") == code
    }
    return dict(sorted(misfits.items(), key=lambda item: len(item[1])))


def leaves_out_frontend(state_dict: Mapping[str, Tensor], name: str) -> bool:
    """Whether ``state_dict``, which fits the published model ``name``, is without its front-end."""
    return len(state_dict) < len(_published_tensors(json.dumps(PUBLISHED_MODELS[name]), True))


@cache
def _published_tensors(config: str, frontend: bool) -> dict[str, Tensor]:
    """The tensors, without memory, of the architecture in the JSON ``config``, with its front-end or without."""
    model = json.loads(config)
    with torch.device("meta"):
        detector = Network.with_frontend(_meta_frontend(json.dumps(model["frontend"])), model)
    tensors = detector.state_dict()
    left_out = set() if frontend else set(of_frontend(tensors))
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}


@cache
def _meta_frontend(config: str) -> Frontend:
    """The front-end in the JSON ``config``, without memory; many published models share one."""
    name, options = name_and_options({"frontend": json.loads(config)}, "frontend")
    with torch.device("meta"):
        return create_frontend(name, **options)


def recognised(state_dict: Mapping[str, Tensor], path: str, about: str) -> str:
    """The only published model that a checkpoint fits.

    Args:
        about: what else the message says of ``path``.

    Raises:
        InputError: if no published model fits, or several do.
    """
    misfits = recognise(state_dict)
    fitting = [name for name, misfit in misfits.items() if not misfit]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(
            f"{path} fits {' and '.join(fitting)}, whose weights have the same names and shapes: choose one "
            "with `config`"
        )
    nearest, misfit = next(iter(misfits.items()))
    raise InputError(
        f"{path} fits no published model{about}; from the nearest, {nearest}, it differs in {misfit}: name its architecture "
        "with `config`"
    )
