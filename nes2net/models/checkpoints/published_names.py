"""Names of tensors in whole-model checkpoints of published code, and their translation.

A detector saves its tensors under the names of the published Nes2Net code: ``ssl_model.model.…``
for the front-end, ``ssl_model.…`` for the aggregation, and a prefix per back-end, perhaps empty.
Parts of other packages keep their names, after ``frontend.``, ``aggregation.`` or ``backend.``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.fairseq import from_torchaudio
from nes2net.models.checkpoints.huggingface import from_library
from nes2net.models.checkpoints.state_dict import StateDict, renamed


def prefix_in_files(role: str, part: Any) -> str:
    """Return the prefix of the tensors of ``part``, such as ``"frontend."`` for one of another package."""
    return part.checkpoint_prefix if type(part).__module__.startswith("nes2net.") else f"{role}."


def name_in_files(network: nn.Module, name: str) -> str:
    """Translate the name of a tensor of ``network`` to that in files; undone by :func:`name_in_network`."""
    role, _, name = name.partition(".")
    return prefix_in_files(role, network.get_submodule(role)) + name


def name_in_network(network: Any, name: str) -> str:
    """Translate the name of a tensor in a file to that in ``network``."""
    role = name.partition(".")[0]
    part = dict(network.named_children()).get(role)
    if part is not None and prefix_in_files(role, part) == f"{role}.":
        return name
    if name.startswith("ssl_model.model."):
        return "frontend." + name[len("ssl_model.") :]
    if name.startswith("ssl_model."):
        return "aggregation." + name[len("ssl_model.") :]
    return "backend." + name.removeprefix(prefix_in_files("backend", network.backend))


@dataclass(frozen=True)
class Layout:
    """Names of tensors in a published code's whole-model files, and this toolkit's names for them."""

    marks: tuple[str, ...]
    """Names that identify the layout; the first layout whose marks are all in a file counts."""
    prefixes: Mapping[str, str]
    """Beginning of a name in the file → beginning here; other names are kept."""
    library_encoder: str = ""
    """Prefix before the transformers library's names, if any."""
    torchaudio_encoder: str = ""
    """Prefix before torchaudio's names, if any."""
    unused: str = r"(?!)"
    """Pattern of the names of unneeded tensors; by default none."""
    code: str = ""
    """Code that writes this layout; empty if the names show which."""

    def name_here(self, name: str) -> str:
        """Translate a tensor's name in a file to this toolkit's."""
        for encoder, translate in ((self.library_encoder, from_library), (self.torchaudio_encoder, from_torchaudio)):
            if encoder and name.startswith(encoder):
                return "ssl_model.model." + translate(name.removeprefix(encoder))
        for prefix, own_prefix in self.prefixes.items():  # the first that fits counts
            if name.startswith(prefix):
                return own_prefix + name.removeprefix(prefix)
        return name


def _deepfense(
    mark: str, own_backend_prefix: str, own_last_layer: str, prefixes: Mapping[str, str] = MappingProxyType({})
) -> Layout:
    """Make the layout of DeepFense's files with a back-end, whose tensor ``mark`` identifies it.

    Args:
        own_last_layer: our prefix for the last layer, which DeepFense's loss contains.
        prefixes: prefix below ``backend.`` → our prefix, where this is not ``own_backend_prefix``.
    """
    backend_prefixes = {f"backend.{prefix}": own_prefix for prefix, own_prefix in prefixes.items()}
    # The first prefix that fits counts, so the exceptions come before "backend.".
    return Layout(
        marks=("losses.0.fc.weight", f"backend.{mark}"),
        prefixes={"losses.0.fc.": own_last_layer, **backend_prefixes, "backend.": own_backend_prefix},
        library_encoder="frontend.model.",  # followed by transformers' or fairseq's names, as DeepFense's `source` says
        unused=r"losses\.0\.criterion\.weight|frontend\.model\.(masked_spec_embed|mask_emb|label_embs_concat)"
        r"|frontend\.model\.(quantizer|project_q|final_proj)\..*",
        code="deepfense",
    )


_LAYOUTS = (
    Layout(  # the mixture of experts (MoE): a checkpoint of Lightning
        marks=("model.moe_l.w_gate",),
        prefixes={"model.moe_l.": "ssl_model.", "model.classifier.": ""},
        library_encoder="model.pretrain_model.",
        unused=r"loss_criterion\.weight|model\.pretrain_model\.masked_spec_embed",
    ),
    Layout(  # the multi-resolution gMLP of PartialSpoof
        marks=("m_angle_scales.64.weight", "output_std"),
        prefixes={"extracter.model.": "ssl_model.model."},
        unused=r"(input|output)_(mean|std)",
    ),
    Layout(  # GF, LGF and LLGF
        marks=("output_std",),
        prefixes={"m_ssl.model.": "ssl_model.model."},
        unused=r"(input|output)_(mean|std)",
    ),
    Layout(marks=("proj_fc.weight",), prefixes={"m_ssl.model.": "ssl_model.model."}),  # AntiDeepfake
    Layout(  # DF Arena
        marks=("backbone.attn_scores.weight",),
        prefixes={"backbone.": ""},
        library_encoder="backbone.ssl_model.",
        unused=r"backbone\.ssl_model\.masked_spec_embed",
    ),
    Layout(  # Spectra
        marks=("bridge.mlp.0.weight",), prefixes={}, library_encoder="ssl_encoder.model."
    ),
    Layout(  # XLSR-MamBo
        marks=("stacked_mamba2.layers.norm.weight",), prefixes={}, torchaudio_encoder="feature_extractor.model.model."
    ),
    Layout(  # Spoof-SUPERB; some files include the encoder, under names with s3prl's prefix
        marks=("ssl_model.featurizer.weights", "post_net.linear.weight"),
        prefixes={"ssl_model.featurizer.weights": "ssl_model.weight_hidd", "post_net.linear.": "proj_fc."},
    ),
    _deepfense("Build_in_Res2Nets.0.conv1.weight", "Nested_Res2Net_TDNN.", "Nested_Res2Net_TDNN.fc."),
    _deepfense("pos_S", "", "out_layer."),
    _deepfense("class_token", "conformer.", "conformer.fc5.", {"LL.": "LL.", "first_bn.": "first_bn."}),
)


def layout_of(state_dict: StateDict) -> Layout | None:
    """Find the layout of a whole-model file; None for that of the published Nes2Net code."""
    return next((layout for layout in _LAYOUTS if all(mark in state_dict for mark in layout.marks)), None)


def unwrap_frontend(state_dict: StateDict, path: AnyPath = "the checkpoint") -> StateDict:
    """Rename the tensors of the whole-model file ``path`` to those that a detector saves.

    Unneeded tensors are omitted. Layouts of other published code are translated; prefixes of
    wrappers around the encoder, such as s3prl's ``upstream``, are removed.

    Raises:
        InputError: if the file holds one tensor under two names.

    >>> list(unwrap_frontend({"m_ssl.model.mask_emb": 1, "m_output_act.0.weight": 2, "output_std": 3}))
    ['ssl_model.model.mask_emb', 'm_output_act.0.weight']
    """
    if (layout := layout_of(state_dict)) is not None:
        unused = re.compile(layout.unused)
        used = {name: tensor for name, tensor in state_dict.items() if not unused.fullmatch(name)}
        state_dict = renamed(used, layout.name_here, path)
    end = "encoder.pos_conv.0.weight_v"  # every encoder has this tensor
    wrappers = [k.removesuffix(end) for k in state_dict if k.startswith("ssl_model.") and k.endswith(end)]
    if len(wrappers) != 1 or wrappers[0] == "ssl_model.model.":
        return state_dict

    def without_wrapper(name: str) -> str:
        if name.startswith(wrappers[0]):
            return f"ssl_model.model.{name.removeprefix(wrappers[0])}"
        return name

    return renamed(state_dict, without_wrapper, path)


_FRONTEND_PREFIXES = ("ssl_model.model.", "frontend.")


def select_frontend(state_dict: StateDict) -> StateDict:
    """Select the front-end's tensors."""
    return {name: tensor for name, tensor in state_dict.items() if name.startswith(_FRONTEND_PREFIXES)}


def without_frontend(state_dict: StateDict) -> StateDict:
    """Select the tensors of aggregation and back-end."""
    return {name: tensor for name, tensor in state_dict.items() if not name.startswith(_FRONTEND_PREFIXES)}
