"""Choose the part of a recording to score: the user, the detector's authors or the detector's training decide."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES
from nes2net.models.provenance import Provenance

#: Usual lengths of training crops. Authors who train on crops of these lengths score the corpus's usual number of
#: samples ('4sec'), or whole utterances.
_USUAL = (ASVSPOOF_SAMPLES, IN_THE_WILD_SAMPLES)
# Two minutes, which is longer than any real training crop. If a record states longer crops, the record counts as
# damaged.
_LONGEST = 120 * 16_000


class ScoreLength(NamedTuple):
    """The part of a recording that is scored, and the reason."""

    num_samples: int | None
    """Number of leading samples at 16 kHz; a shorter recording is repeated. None for all samples."""
    why: str = ""
    """The reason for this number, in words that follow "as", such as ``"in training"``. Empty if
    the user chose the number, or if the number is the usual one."""

    @property
    def words(self) -> str:
        """A note for the user about the number; empty if :attr:`why` is empty.

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
    provenance: Provenance,
    requested: int | Literal["auto"] | None = "auto",
    usual: int | None = None,
    protocol: Literal["4sec", "full"] | None = None,
) -> ScoreLength:
    """Choose how many samples of a recording are scored with a detector of this ``provenance``.

    The user's choice decides, if there is one. Otherwise the practice of the authors decides, if
    the detector has a published architecture. Otherwise the length of the detector's training crops
    decides.

    Args:
        requested: the user's choice, as for :class:`ScoreLength`; ``"auto"`` for no choice.
        usual: the number to take in two cases: nothing else decides, or the training crops have
            64,600 or 64,000 samples, as in the published recipes with '4sec' protocols. None for
            all samples.
        protocol: ``"full"`` to score whole recordings in any case. ``"4sec"`` to score ``usual``
            samples of recordings that would otherwise be scored as a whole. None for neither.

    >>> samples_to_score(Provenance("df_arena_1b")).num_samples
    64600
    >>> samples_to_score(Provenance(recipe={"data": {"num_samples": 16000}}), usual=64600).num_samples
    16000
    """
    if protocol == "full":
        return ScoreLength(None)
    if requested != "auto":
        return ScoreLength(requested)
    # If there is an architecture, its authors decide; otherwise the training decides.
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
            samples = None  # training used all pieces of each recording
        elif samples is not None and (type(samples) is not int or not 1 <= samples <= _LONGEST or samples in _USUAL):
            samples = "corpus"  # the length in the recipe is damaged or usual, so it does not decide
    # If the usual number is scored, no reason is given.
    if samples in ("corpus", usual) or (samples is None and protocol == "4sec"):
        return ScoreLength(usual)
    return ScoreLength(samples, why)


def length_of_training(provenance: Provenance) -> int:
    """Find the length in samples of a detector's training crops; if the length is not known, it is 64,600."""
    return samples_to_score(provenance).num_samples or ASVSPOOF_SAMPLES
