"""Choose how many samples are scored: by the user, the detector's authors or its training."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES
from nes2net.lib.errors import InputError
from nes2net.models.provenance import Provenance

#: The number of leading samples that a user asks for; None for all, "auto" to choose as for training.
RequestedSamples: TypeAlias = int | Literal["auto"] | None
#: The same for a corpus; "4sec" chooses like "auto", but the usual number of the corpus instead of all samples.
CorpusSamples: TypeAlias = RequestedSamples | Literal["4sec"]
#: Training crops of published recipes, whose authors score the usual samples of the corpus ('4sec')
#: or whole utterances.
_USUAL = (ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES)
# Two minutes in samples, longer than any real training crop. A recipe that states longer crops counts as damaged.
_MAX_SAMPLES = 120 * 16_000


class ScoreLength(NamedTuple):
    """How many samples of a recording are scored, and why."""

    num_samples: int | None
    """Leading samples at 16 kHz, repeating shorter recordings; None for all."""
    why: str = ""
    """Words that follow "as", such as ``"in training"``; empty for the user's or the usual number."""

    @property
    def words(self) -> str:
        """A note for the user; empty without :attr:`why`.

        >>> ScoreLength(16000, "in training").words
        'the first 1.00 s of each recording are scored (16,000 samples, repeating shorter ones), as in training'
        """
        if not self.why:
            return ""
        if self.num_samples is None:
            return f"whole recordings are scored, as {self.why}"
        head = f"the first {self.num_samples / 16_000:.2f} s of each recording"
        return f"{head} are scored ({self.num_samples:,} samples, repeating shorter ones), as {self.why}"

    @property
    def note(self) -> str:
        """:attr:`words` with advice; empty without :attr:`why`."""
        if not self.why:
            return ""
        return f"{self.words}; `num_samples` chooses another part"


def samples_to_score(
    provenance: Provenance, requested: CorpusSamples = "auto", usual: int | None = None
) -> ScoreLength:
    """Choose how many samples a detector of this ``provenance`` scores.

    The user decides; else the authors of a published architecture; else the length of training
    crops.

    Args:
        usual: used if nothing else decides, or for training crops of 64,600 or 64,000 samples, as
            in published recipes with '4sec' protocols; None for all.

    Raises:
        InputError: if "4sec" is requested without ``usual``, which only a corpus has.

    >>> samples_to_score(Provenance("df_arena_1b")).num_samples
    64600
    >>> samples_to_score(Provenance(recipe={"data": {"num_samples": 16000}}), usual=64600).num_samples
    16000
    """
    if requested == "4sec" and usual is None:
        raise InputError(
            "`num_samples` must be at least 1, or None for the whole recording, not '4sec', which a corpus defines"
        )
    if requested != "auto" and requested != "4sec":
        return ScoreLength(requested)
    # If the detector has a published architecture, its authors decide; otherwise the training decides.
    samples: Any
    if provenance.architecture:
        name, model = provenance.architecture
        samples = model.num_samples
        why = f"by the authors of {name}, whose architecture it has"
        if provenance.published_model:
            why = "by the detector's authors"
    else:
        why = "in training"
        data = provenance.data
        samples = data.get("num_samples", "corpus")
        if "num_samples" in data and data.get("crop") == "pieces":
            samples = None  # training cut each recording into pieces, and used all pieces
        elif samples is not None and (
            type(samples) is not int or not 1 <= samples <= _MAX_SAMPLES or samples in _USUAL
        ):
            samples = "corpus"  # a damaged or usual length in the recipe does not decide

    # If the usual number of samples is scored, leave the reason empty.
    if samples in ("corpus", usual) or (samples is None and requested == "4sec"):
        return ScoreLength(usual)
    return ScoreLength(samples, why)


def samples_to_calibrate(provenance: Provenance, requested: RequestedSamples = "auto") -> ScoreLength:
    """Choose how many samples to score for a calibration: by default a window, to judge recordings of any length."""
    score_length = samples_to_score(provenance, requested)
    if requested != "auto" or score_length.num_samples:
        return score_length
    # A detector that scores whole recordings is calibrated on 64,600 samples, the usual length of training.
    return ScoreLength(ASVSPOOF_SAMPLES, "in training")


def length_of_training(provenance: Provenance) -> int:
    """Return the number of :func:`samples_to_score`; 64,600 for whole recordings."""
    return samples_to_score(provenance).num_samples or ASVSPOOF_SAMPLES
