"""The names of corpora and of effects."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nes2net.lib.errors import short_repr
from nes2net.lib.parts.contracts import PartCheck
from nes2net.lib.parts.registry import Registry

if TYPE_CHECKING:
    from nes2net.data.augment import Effect
    from nes2net.data.corpora.corpus import Corpus


class CorpusRegistry(Registry["Corpus"]):
    """The names of corpora; ``hub:OWNER/NAME`` stands for a data set on the Hugging Face hub."""

    def get(self, name: str) -> Corpus:
        """Import a corpus; ``hub:OWNER/NAME`` is downloaded when first needed.

        Trials that the corpus of another package lists are checked.
        """
        if name.startswith("hub:"):
            from nes2net.data.corpora.hub import hub_corpus  # imported late, so that listing names needs no NumPy

            return hub_corpus(name)
        corpus: Corpus = super().get(name)
        if self.is_built_in(name):
            return corpus
        checked = copy.copy(corpus)
        for method in ("trials", "read_protocol", "read_keys"):
            listing = partial(self._checked_trials, name, method, getattr(corpus, method))
            object.__setattr__(checked, method, listing)  # a corpus is a frozen dataclass
        return checked

    def check(self, name: str, registered: Any) -> None:
        """Check also the attributes of a corpus of another package."""
        super().check(name, registered)
        PartCheck(self.subject(name)).attributes(registered)

    def _checked_trials(self, name: str, method: str, listing: Callable[..., Any], *args: Any, **options: Any) -> Any:
        from nes2net.data.corpora.trial import Trial  # imported late, so that listing names needs no NumPy
        from nes2net.lib.parts.options import attributes_of  # imported late, so that listing names needs no pydantic

        check = PartCheck(self.subject(name))
        with self.guard(name, method):
            trials = list(listing(*args, **options))
            is_same = trials == list(listing(*args, **options))
        check.that(is_same, f"a second call of {method} gave", "other trials", "the same, in the same order")
        for field_name, field in attributes_of(Trial).items():
            trial_of = {repr(getattr(trial, field_name)): trial for trial in trials}
            for trial in trial_of.values():
                value = getattr(trial, field_name)
                given = f"{method} gave trial {short_repr(trial.id)} the {field_name}"
                check.that(field.fits(value), given, value, field.takes)
        return trials


#: The corpora whose module has their name.
_IN_MODULES_OF_THEIR_NAME = (
    "asvspoof2019_la asvspoof2021_la asvspoof2021_df asvspoof5 in_the_wild ctrsvdd partialspoof mlaad spoofceleb "
    "deepfake_eval_2024 codecfake wavefake fake_or_real dfadd add2022 add2023 add2023_track3 stopa compspoof "
    "librisevoc habla asvspoof_laundered famous_figures partialedit llamapartialspoof hq_mpsd speechfake generic "
    "shards"
).split()
corpora = CorpusRegistry(
    "corpus",
    "corpora",
    {
        **{name: f"nes2net.data.corpora.{name}:CORPUS" for name in _IN_MODULES_OF_THEIR_NAME},
        "at_add_track1": "nes2net.data.corpora.at_add:TRACK_1",
        "at_add_track2": "nes2net.data.corpora.at_add:TRACK_2",
        "asvspoof2019_la_sasv": "nes2net.data.corpora.claims:ASVSPOOF2019_LA",
        "asvspoof5_track2": "nes2net.data.corpora.claims:ASVSPOOF5",
        "spoofceleb_sasv": "nes2net.data.corpora.claims:SPOOFCELEB",
        "jspaw2": "nes2net.data.corpora.claims:JSPAW2",
    },
    "nes2net.data.corpora.corpus:Corpus",
    registers="instance",
)
effects: Registry[Effect] = Registry(
    "condition",
    "effects",
    {
        "mp3": "nes2net.data.augment.codecs:Mp3",
        "aac": "nes2net.data.augment.codecs:Aac",
        "opus": "nes2net.data.augment.codecs:Opus",
        "g722": "nes2net.data.augment.codecs:G722",
        "alaw": "nes2net.data.augment.codecs:ALaw",
        "ulaw": "nes2net.data.augment.codecs:MuLaw",
        "gsm": "nes2net.data.augment.codecs:Gsm",
        "amr_nb": "nes2net.data.augment.codecs:AmrNb",
        "telephone": "nes2net.data.augment.channels:Telephone",
        "resample": "nes2net.data.augment.channels:Resample",
        "white": "nes2net.data.augment.noise:White",
        "pink": "nes2net.data.augment.noise:Pink",
        "babble": "nes2net.data.augment.noise:Babble",
        "noise": "nes2net.data.augment.noise:MusanNoise",
        "music": "nes2net.data.augment.noise:MusanMusic",
        "speech": "nes2net.data.augment.noise:MusanSpeech",
        "room": "nes2net.data.augment.rooms:Room",
        "rir": "nes2net.data.augment.rooms:MeasuredRoom",
        "gain": "nes2net.data.augment.channels:Gain",
        "clip": "nes2net.data.augment.channels:Clip",
        "trim": "nes2net.data.augment.timing:Trim",
        "cut": "nes2net.data.augment.timing:Cut",
        "speed": "nes2net.data.augment.timing:Speed",
        "pitch": "nes2net.data.augment.timing:Pitch",
        "rawboost": "nes2net.data.augment.rawboost:RawBoost",
    },
    "nes2net.data.augment.effect:Effect",
    given=("strength", "sources"),
)
