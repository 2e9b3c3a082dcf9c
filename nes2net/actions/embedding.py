"""Embed recordings: what `nes2net embed` does, for Python too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.lib.devices import choose_device, own_device
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import print_note
from nes2net.scoring.corpus import EmbeddingResult, embed_trials
from nes2net.scoring.heard import samples_to_score

#: What is embedded: the mean over time of a hidden state of the front-end, or of the aggregation; or
#: the input of the back-end's last layer.
Of = Literal["frontend", "aggregation", "backend"]


def embed_recordings(
    detector: Detector,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    of: Of = "frontend",
    layer: int | Literal["last", "all"] = "last",
    num_samples: int | Literal["auto"] | None = "auto",
    about: Mapping[str, Any] | None = None,
    **options: Any,
) -> EmbeddingResult:
    """Embed ``trials`` into the file ``out``, as :func:`nes2net.scoring.corpus.embed_trials` does.

    Args:
        layer: hidden state of the front-end: the last, a number from 0 (the input of the first layer),
            or all of them in a row.
        num_samples: how many leading samples of each recording to take, None for all; ``"auto"`` as
            :func:`nes2net.scoring.heard.samples_to_score` chooses, which a note says.
        about: plain data for the record, such as the corpus and the checkpoint.
        options: see :class:`~nes2net.scoring.engine.Way`.

    Raises:
        InputError: as that function, or if there is no such embedding.
        Unfinished: as that function.
    """
    check_layer(of, layer)
    print_note(detector.frontend.note)
    heard = samples_to_score(detector.record, num_samples)
    print_note(heard.words and f"{heard.words}; `num_samples` chooses another part")
    return embed_trials(
        detector,
        partial(detector.embeddings, of=of, layer=layer),
        trials,
        out,
        what=of if of != "frontend" else f"frontend, layer {layer}",
        num_samples=heard.num_samples,
        about=about,
        **options,
    )


def check_layer(of: str, layer: int | str) -> None:
    """Raise :class:`InputError` if no detector has this embedding."""
    if of == "frontend" and isinstance(layer, str) and layer not in ("last", "all"):
        raise InputError(f"`layer` is last, all or a number from 0, not {layer}")
    if of != "frontend" and layer != "last":
        raise InputError(f"`layer` names a hidden state of the front-end: leave it out with `of` {of}")


def trials_of_files(files: Iterable[str | Path]) -> list[Trial]:
    """Audio files, and the audio files in folders, each once under its path."""
    return [Trial(str(path), path) for path in dict.fromkeys(with_folders_listed(list(map(str, files))))]


def frontend_alone(
    frontend: str | Mapping[str, Any],
    ssl_checkpoint: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Detector:
    """A front-end whose hidden states can be embedded, as a detector with an empty back-end.

    Args:
        frontend: its name, or a mapping of name and options as in a recipe.
        ssl_checkpoint: its pre-training file.

    Raises:
        InputError: if there is no such front-end, or its weights would be random.
    """
    detector = Detector.from_config({"frontend": frontend, "backend": "logistic"}, ssl_checkpoint)
    if ssl_checkpoint is None and any(True for _ in detector.frontend.parameters()):
        raise InputError(
            f"front-end '{detector.frontend.config['name']}' would have random weights: name its pre-training file with "
            "`ssl_checkpoint`, or a trained detector with `model`"
        )
    with torch.no_grad():  # so that the same front-end has the same fingerprint again
        for parameter in detector.backend.parameters():
            parameter.zero_()
    return detector.to(choose_device(own_device(device))).set_precision("float32" if dtype == "auto" else dtype).eval()
