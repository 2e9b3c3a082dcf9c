"""The section ``augment`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    Strict,
)

from nes2net.lib.errors import refuse
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.training.recipes.section import Probability, Section, Source, Speed, Text


class AugmentConfig(Section):
    """Effects before the crop, in this order: speed, noise or reverberation, RawBoost, a condition, a low-pass filter.

    Validation applies only RawBoost.
    """

    prefix = "augment."

    algo: Annotated[int, Strict(), Field(ge=0, le=11), Source("main.py --algo; arXiv 2111.04433")] = 0
    """Algorithm of RawBoost: 0 none, 1 convolutive noise, 2 impulsive noise, 3 stationary noise; 4
    to 11 combine these kinds of noise."""
    parameters: Annotated[dict[str, Any], UsedWith("algo"), Source("main.py: N_f, nBands, …; arXiv 2111.04433")] = {}
    """Values that replace the published values of RawBoost's parameters, by the parameters' published names."""
    speed: Annotated[
        Annotated[list[Speed], Field(min_length=2, max_length=2)] | None,
        NotWith("data.crop=pieces"),
        Source("Ko et al., Interspeech 2015: 0.9, 1 or 1.1"),
    ] = None
    """Lowest and highest speed at which a training utterance is played, as `[0.9, 1.1]`. A higher
    speed raises pitch and formants. The speed is drawn for each utterance and epoch, on a
    logarithmic scale."""
    musan: Annotated[Text | None, Source("ASVspoof 5 program; openslr.org/17")] = None
    """Folder of MUSAN, for background noise."""
    rir: Annotated[Text | None, Source("ASVspoof 5 program; openslr.org/28")] = None
    """Folder of room impulse responses, for reverberation."""
    noise_probability: Annotated[Probability | None, Source("ASVspoof 5 program: 0.5")] = None
    """Probability that a training utterance gets background noise or reverberation. If not given,
    the probability is 0.5 if `augment.musan` or `augment.rir` is given and `augment.conditions` is
    empty; otherwise it is 0."""
    conditions: Annotated[list[Text], Source("toolkit, as nes2net robustness")] = []
    """Conditions applied to training utterances, as `[mp3:16, white:10]`: codecs, channels, noise,
    rooms and others. One condition is drawn for an utterance; all conditions are equally likely.
    Conditions with MUSAN take recordings from `augment.musan`, conditions with measured rooms from
    `augment.rir`, and babble is made of the training speech."""
    condition_probability: Annotated[Probability, UsedWith("conditions")] = 0.5
    """Probability that one of `augment.conditions` is applied to a training utterance."""
    rng: Annotated[
        Literal["utterance", "legacy"],
        UsedWith("algo"),
        NotWith("speed", "musan", "rir", "conditions", "fir", "data.crop"),
        Source("toolkit; legacy: main.py (deviation 8)"),
    ] = "utterance"
    """Random numbers of the augmentation: one stream for each seed, epoch and utterance
    (`utterance`), or one stream for all utterances in the published order (`legacy`), which covers
    only RawBoost."""
    specmix: Annotated[
        dict[str, object] | None, NotWith("segments.resolutions"), Source("arXiv 2306.15389; arXiv 2108.03020")
    ] = None
    """Settings of Specmix, which mixes spectrograms between front-end and back-end in training:
    `frequency_bands`, `time_bands`, `gamma`, `probability`, `mix_labels`."""
    fir: Annotated[dict[str, object] | None, Source("arXiv 2203.01573")] = None
    """Settings of a low-pass filter over training utterances: `band` (`telephone` or `wide`),
    `probability`, `taps`."""
    latent: Annotated[dict[str, object] | None, Source("arXiv 2501.14240")] = None
    """Settings of latent augmentation, which perturbs embeddings of spoofed utterances before the
    last layer in training: `kinds`, `probability`, `noise`, `affine`, `mixup`, `factor`. With `{}`,
    all these settings have their defaults."""
    adversarial: Annotated[dict[str, object] | None, Source("arXiv 1706.06083")] = None
    """Settings of adversarial training, which attacks training utterances by the current weights:
    `attack` (as in nes2net.robustness), `probability`, `side` (`spoof`, `bonafide` or `both`),
    `steps`."""

    def check(self) -> None:
        if self.noise_probability is None:
            self.noise_probability = 0.5 if (self.musan or self.rir) and not self.conditions else 0.0
        refuse(
            (
                (self.musan or self.rir) and not self.noise_probability and not self.conditions,
                "`augment.musan` and `augment.rir` change nothing with `augment.noise_probability=0`: "
                "remove them, or set it to 0.5",
            ),
            (
                self.speed and self.speed[0] > self.speed[1],
                f"`augment.speed` must be the lowest and the highest speed, in this order, not {self.speed}",
            ),
            (
                self.conditions and not self.condition_probability,
                "`augment.conditions` change nothing with `augment.condition_probability=0`: remove them",
            ),
        )
