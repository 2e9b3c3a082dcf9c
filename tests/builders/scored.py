"""Score trials into a file, as a run over a corpus does."""

from collections.abc import Sequence
from pathlib import Path

from nes2net import Detector
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials


def score_trials(detector: Detector, trials: Sequence[Trial], out: Path, judgement=None, facts=None, **options):
    """Judge the first 8,000 samples of each trial in this process, if ``options`` do not say otherwise."""
    settings = ScoringSettings(**{"num_samples": 8000, "num_workers": 0, **options})
    return judge_trials(detector, trials, out, judgement or Scores(), about=facts, settings=settings)


class WithoutFirst(Scores):
    """A judgement that loses a row."""

    def start(self, scorer, inputs, **options):
        values = super().start(scorer, inputs, **options)
        return lambda: values()[1:]
