"""Compute embeddings of recordings, for Python programs, as `nes2net embed`."""

from __future__ import annotations

from dataclasses import replace

import torch

from nes2net.data.corpora.trial import Trials
from nes2net.detector import Detector
from nes2net.lib.computing.devices import choose_device, own_device
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.engine import Finished
from nes2net.scoring.score_length import RequestedSamples, samples_to_score


def embed_recordings(
    detector: Detector,
    trials: Trials,
    out: AnyPath,
    embeddings: Embeddings | None = None,
    *,
    num_samples: RequestedSamples = "auto",
    about: Facts | None = None,
    settings: ScoringSettings | None = None,
) -> Finished:
    """Write the embeddings of ``trials`` to ``out``; print the front-end's note, if it has one.

    Args:
        embeddings: None for the front-end's last hidden state.
        num_samples: leading samples; None for all. ``"auto"`` chooses by
            :func:`nes2net.scoring.score_length.samples_to_score` with a note.
        about: plain data for the record.
        settings: ``num_samples`` replaces its setting of this name.

    Raises:
        InputError: as :func:`nes2net.scoring.corpus.judge_trials`, or if the detector has no such
            embedding.
        Unfinished: as :func:`nes2net.scoring.corpus.judge_trials`.
    """
    print_note(detector.frontend.note)
    score_length = samples_to_score(detector.provenance, num_samples)
    print_note(score_length.note)
    return judge_trials(
        detector,
        trials,
        out,
        embeddings or Embeddings(),
        about=about,
        settings=replace(settings or ScoringSettings(), num_samples=score_length.num_samples),
    )


def frontend_alone(
    frontend: str | Options,
    ssl_checkpoint: AnyPath | None = None,
    device: str = "auto",
    dtype: str = "auto",
) -> Detector:
    """Build a detector of a front-end with an untrained back-end, to embed hidden states.

    Args:
        frontend: a name, or name and options as in a recipe.
        ssl_checkpoint: pre-trained weights; None if it has no weights.
        dtype: precision; ``"auto"`` for float32.

    Raises:
        InputError: if the front-end is unknown, or would have random weights.
    """
    detector = Detector.from_config({"frontend": frontend, "backend": "logistic"}, ssl_checkpoint)
    if ssl_checkpoint is None and any(True for _ in detector.frontend.parameters()):
        raise InputError(
            f"front-end '{detector.frontend.config['name']}' would have random weights: name its pre-training file with "
            "`ssl_checkpoint`, or use a trained detector with `model`"
        )
    with torch.no_grad():  # with random weights, each call would give another fingerprint
        for parameter in detector.backend.parameters():
            parameter.zero_()
    precision = "float32" if dtype == "auto" else dtype
    return detector.to(choose_device(own_device(device))).set_precision(precision).eval()
