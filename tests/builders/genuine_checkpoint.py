"""Writes a front-end as fairseq does, with objects of classes that are not installed."""

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from nes2net.frontends.ssl import SSLFrontend


def _class(module: str, name: str) -> type:
    """A class that pickles as ``module.name``, which pickle looks up in ``sys.modules``."""
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def _node(value: Any, dict_config: type, any_node: type) -> Any:
    """A tree of configuration nodes as omegaconf has it; each node knows its parent."""
    if isinstance(value, dict):
        node = dict_config()
        content = {k: _node(v, dict_config, any_node) for k, v in value.items()}
        for child in content.values():
            child.__dict__["_parent"] = node
        node.__dict__.update(_content=content, _metadata=None, _parent=None)
    else:
        node = any_node()
        node.__dict__.update(_val=value, _metadata=None, _parent=None)
    return node


def write(frontend: SSLFrontend, path: Path) -> None:
    """Save ``frontend`` as fairseq's trainer does, with a DictConfig and a Namespace."""
    options = dict(frontend.config)
    options["conv_feature_layers"] = str([tuple(layer) for layer in options["conv_feature_layers"]])
    with pytest.MonkeyPatch.context() as patch:
        for name in ("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        dict_config, any_node = _class("omegaconf.dictconfig", "DictConfig"), _class("omegaconf.nodes", "AnyNode")
        cfg = {"model": {"_name": "wav2vec2", **options}, "task": {"normalize": True}}
        content = {
            "args": argparse.Namespace(arch="wav2vec2"),
            "cfg": _node(cfg, dict_config, any_node),
            "model": {name.removeprefix("model."): tensor for name, tensor in frontend.state_dict().items()},
            "criterion": None,
            "optimizer_history": [{"num_updates": 100, "optimizer_name": "FairseqAdam"}],
            "task_state": {},
            "extra_state": {"train_iterator": {"epoch": 1}, "previous_training_time": 1.0},
            "last_optimizer_state": None,
        }
        torch.save(content, path)
