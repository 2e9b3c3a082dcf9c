"""Writes a front-end as fairseq does, with objects of classes that are not installed."""

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from nes2net.models.frontends.ssl import SSLFrontend


def _class(module, name):
    """A class that pickles as ``module.name``, which pickle looks up in ``sys.modules``."""
    replacement = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, replacement)
    return replacement


def _node(value, dict_config, any_node):
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


def tensors_of(frontend: SSLFrontend) -> dict[str, torch.Tensor]:
    """The tensors of ``frontend`` under fairseq's names."""
    return {name.removeprefix("model."): tensor for name, tensor in frontend.state_dict().items()}


def write(frontend: SSLFrontend, path: Path):
    """Save ``frontend`` as fairseq's trainer does, with a DictConfig and a Namespace."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("omegaconf", "omegaconf.dictconfig", "omegaconf.nodes"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        dict_config = _class("omegaconf.dictconfig", "DictConfig")
        any_node = _class("omegaconf.nodes", "AnyNode")
        cfg = {"model": configuration(frontend), "task": {"normalize": True}}
        content = {
            "args": argparse.Namespace(arch="wav2vec2"),
            "cfg": _node(cfg, dict_config, any_node),
            "model": tensors_of(frontend),
            "criterion": None,
            "optimizer_history": [{"num_updates": 100, "optimizer_name": "FairseqAdam"}],
            "task_state": {},
            "extra_state": {"train_iterator": {"epoch": 1}, "previous_training_time": 1.0},
            "last_optimizer_state": None,
        }
        torch.save(content, path)


#: Options that make a front-end tiny.
TINY = {
    "encoder_layers": 2,
    "encoder_embed_dim": 48,
    "encoder_ffn_embed_dim": 48,
    "conv_feature_layers": [[8, 320, 320]],
}
#: Forms of a small wav2vec 2.0 in files of other programs.
FORMS = ("fine-tuned", "fine-tuned, older", "s3prl", "prefix", "container")


def configuration(frontend: SSLFrontend) -> dict[str, Any]:
    """The options of ``frontend`` as fairseq's configuration of its model has them."""
    options = {key: value for key, value in frontend.config.items() if key != "name"}
    layers = [tuple(layer) for layer in options["conv_feature_layers"]]
    return {**options, "_name": "wav2vec2", "conv_feature_layers": str(layers)}


def write_form(frontend: SSLFrontend, path: Path, form: str) -> Path:
    """Save ``frontend`` in one of :data:`FORMS`; a type with an ellipsis stands in the configuration."""
    tensors = tensors_of(frontend)
    options = {**configuration(frontend), "of_type": ...}
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}
    content = {"cfg": {"model": options}, "model": tensors, "last_optimizer_state": optimizer}
    if form == "fine-tuned":
        names = {f"w2v_encoder.w2v_model.{name}": tensor for name, tensor in tensors.items()}
        names["w2v_encoder.w2v_model.mask_emb"] = torch.ones(frontend.out_dim)
        names["w2v_encoder.proj.weight"] = torch.ones(32, frontend.out_dim)
        settings = {"_name": "wav2vec_ctc", "encoder_layers": 1, "w2v_args": {"model": options, "task": {}}}
        content = {"cfg": {"model": settings}, "model": names}
    elif form == "fine-tuned, older":
        options = {key: value for key, value in options.items() if key != "_name"}
        args = argparse.Namespace(arch="wav2vec_ctc", w2v_args=argparse.Namespace(**options))
        content = {"args": args, "model": {f"w2v_encoder.w2v_model.{name}": tensors[name] for name in tensors}}
    elif form == "s3prl":
        content = {"task_cfg": {"normalize": False}, "model_cfg": options, "model_weight": tensors}
    elif form == "prefix":
        content["model"] = {f"upstream.net.{name}": tensor for name, tensor in tensors.items()}
    else:
        content["weights"] = content.pop("model")
    torch.save(content, path)
    return path
