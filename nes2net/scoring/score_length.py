"""Choose how many samples of a recording to score: the user, the detector's authors or its training decide."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES
from nes2net.lib.errors import InputError
from nes2net.models.provenance import Provenance

#: The number of leading samples that a user asks for; None for all, "auto" to choose as for training.
RequestedSamples: TypeAlias = int | Literal["auto"] | None
#: The same for a corpus; "4sec" chooses like "auto", but the usual number of the corpus instead of all samples.
CorpusSamples: TypeAlias = RequestedSamples | Literal["4sec"]
#: Lengths of training crops in published recipes. Authors who train on crops of one of these lengths score the usual
#: number of samples of the corpus ('4sec'), or whole utterances.
_USUAL = (ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES)
# Two minutes in samples, longer than any real training crop. A recipe that states longer crops counts as damaged.
_LONGEST = 120 * 16_000


class ScoreLength(NamedTuple):
    """How many samples of a recording are scored, and why."""

    num_samples: int | None
    """Number of leading samples at 16 kHz; a shorter recording is repeated. None for all samples."""
    why: str = ""
    """The reason for the number of samples, in words that follow "as", such as ``"in training"``.
    Empty if the user chose the number, or if the usual number is scored."""

    @property
    def words(self) -> str:
        """A note for the user about the number of samples; empty if :attr:`why` is empty.

        >>> ScoreLength(16000, "in training").words
        'the first 1.00 s of each recording are scored (16,000 samples, repeating shorter ones), as in training'
        """
        if not self.why:
            return ""
        if self.num_samples is None:
            return f"whole recordings are scored, as {self.why}"
        head = f"the first {self.num_samples / 16_000:.2f} s of each recording"
        return f"{head} are scored ({self.num_samples:,} samples, repeating shorter ones), as {self.why}"


def samples_to_score(
    provenance: Provenance, requested: CorpusSamples = "auto", usual: int | None = None
) -> ScoreLength:
    """Choose how many samples of a recording are scored with a detector of this ``provenance``.

    The user's choice decides, if there is one. Without a choice, the practice of the authors
    decides if the detector has a published architecture. For any other architecture, the length of
    the detector's training crops decides.

    Args:
        requested: the user's choice.
        usual: the usual number of samples; None for all samples. This number is taken if nothing
            else decides, or if the training crops have 64,600 or 64,000 samples, as in the
            published recipes with '4sec' protocols.

    Raises:
        InputError: if "4sec" is requested without a usual number, which only a corpus has.

    >>> samples_to_score(Provenance("df_arena_1b")).num_samples
    64600
    >>> samples_to_score(Provenance(recipe={"data": {"num_samples": 16000}}), usual=64600).num_samples
    16000
    """
    if requested == "4sec" and usual is None:
        raise InputError(
            "`num_samples` is at least 1, or None for the whole recording, not '4sec', which a corpus defines"
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
        elif samples is not None and (type(samples) is not int or not 1 <= samples <= _LONGEST or samples in _USUAL):
            samples = "corpus"  # a damaged or usual length in the recipe does not decide

    # If the usual number of samples is scored, leave the reason empty.
    if samples in ("corpus", usual) or (samples is None and requested == "4sec"):
        return ScoreLength(usual)
    return ScoreLength(samples, why)


def samples_to_calibrate(provenance: Provenance, requested: RequestedSamples = "auto") -> ScoreLength:
    """Choose how many samples of each recording are scored for a calibration: a window, unless the user chooses.

    Windows along a recording of any length can then be judged. If nothing else decides
    (:func:`samples_to_score`), a window is as long as the crops of training.
    """
    score_length = samples_to_score(provenance, requested)
    if requested != "auto" or score_length.num_samples:
        return score_length
    return ScoreLength(length_of_training(provenance), "in training")


def length_of_training(provenance: Provenance) -> int:
    """Return the number of :func:`samples_to_score`; 64,600 if that is the usual number or whole recordings."""
    return samples_to_score(provenance).num_samples or ASVSPOOF_SAMPLES
