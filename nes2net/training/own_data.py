"""Make a corpus of a user's own data: lists or data sets of pairs of audio and label."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from zlib import crc32

import soundfile
import torch

from nes2net.data.audio.read import join_blocks
from nes2net.data.audio.sources import blocks_of
from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.id_tables import label_of
from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.errors import InputError, concerning
from nes2net.lib.storage.files import AnyPath, json_text, make_folder, path_below, replacing, write_text
from nes2net.training.recipes.data import CorpusConfig
from nes2net.training.recipes.recipe import Recipe

# The text of a number as a label → the label.
_LABELS = {**dict.fromkeys(("1", "1.0", "True"), BONAFIDE), **dict.fromkeys(("0", "0.0", "False"), SPOOF)}


def with_own_data(recipe: Recipe, sets: Mapping[str, Any], sample_rate: float | None) -> Recipe:
    """Write ``{output}/{tag}_data/list.jsonl``, and return ``recipe`` with this list in place of its corpora.

    Audio that is no path becomes a WAV file beside the list, at 16 kHz, named by number and checksum.

    Args:
        sets: split → pairs; ``sample_rate`` is that of samples that do not state it.

    Raises:
        InputError: if a set is None, a label is unknown, or audio cannot be read or written.
    """
    list_path = path_below(recipe.output, f"{recipe.tag}_data", "list.jsonl")
    make_folder(list_path.parent)
    lines = []
    for split, pairs in sets.items():
        if pairs is None:
            raise InputError(f"own data must train and validate: give `{split}`, too")
        for number, (audio, label) in zip(range(len(pairs)), pairs):
            if isinstance(label, torch.Tensor):
                label = label.tolist()  # a number, of a tensor without dimensions
            with concerning(f"`{split}`, pair {number}:"):
                label = _LABELS.get(str(label)) or label_of(label)
            if isinstance(audio, AnyPath):
                path = os.path.abspath(audio)
            else:
                waveform = join_blocks(blocks_of(audio, sample_rate))
                path = f"{split}_{number}_{crc32(waveform.data)}.wav"
                with replacing(list_path.with_name(path)) as temporary:
                    soundfile.write(temporary, waveform, SAMPLE_RATE, "FLOAT", format="WAV")
            lines.append(json_text({"path": path, "label": label, "split": split}))
    write_text(list_path, "\n".join(lines))
    data = recipe.data.model_copy(update={"corpora": [CorpusConfig(name="generic", root=str(list_path))]})
    return recipe.model_copy(update={"data": data})
