"""Attacks as conditions: scores of recordings that an attack on a detector has changed.

In reading order: ``AttackedScores`` attacks and scores a batch, ``plan_attacks`` lists attacks,
``prepare_attacks`` checks their gradients and counts their cost, and ``attack_row`` and
``transfer_table`` report them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net import metrics
from nes2net.apps.robustness.condition import UnderCondition
from nes2net.apps.robustness.settings import Per, Suite
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.augment import Effect
from nes2net.data.corpora.trial import BONAFIDE, Trial, Trials, stratified_subset
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.matching import system_names
from nes2net.evaluation.tables import Figure, Row, Table, column
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import print_note
from nes2net.lib.output.times import readable_duration
from nes2net.lib.storage.files import json_text, path_below, sha256_of, write_json
from nes2net.models.attacks import robustness
from nes2net.models.attacks.attack import create_attack
from nes2net.models.attacks.batch import AttackedBatch, NoGradient, Side, generators_of
from nes2net.models.attacks.channel import changed, logits_through
from nes2net.models.attacks.universal import UniversalAttack
from nes2net.models.frontends.base import UsedSamples
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.waveforms import WaveformReader

_DEFAULT = "fgsm:60 pgd:60 pgd_l2:60 fgsm:50 pgd:50 pgd_l2:50 fgsm:40 pgd:40 pgd_l2:40 fgsm:30 pgd:30 pgd_l2:30"
_ADAPTIVE = 0.6  # smallest agreement of signs through a condition; an assumption
_FIT_BATCH = 8  # recordings of a step of a fit, as of Malafide
_MOST_FITTED = 200  # trials, or more if they are of more attacks; an assumption
_CONSTANTS = {"objective": "score", "restarts": 1, "bits": 16}
#: Verdict on a gradient → what it means for attacks.
_MEANINGS = {
    "curved": ", so one step says little: use attacks of many steps",
    "masked": ", so attacks that follow it are no evidence of robustness: use spsa or square, too",
    "random": f", so gradients are the mean of {robustness.DRAWS}",
    "broken": ", so attacks that follow it are not made on this detector",
}


@dataclass(frozen=True)
class AttackedScores(Rows):
    """Scores of attacked recordings; the file also has what the attack changed.

    Args:
        attack, side, steps, seed, num_samples, draws: as for :func:`nes2net.robustness.attack`.
        link, target: ``from`` another detector, on which the attack is made; or ``then`` or ``through`` a
            condition that attacked recordings pass, which the attack knows only with ``through``.
        passed: this condition, if any.
        made_on: the detector that the attack is made on.
        verdict: on its gradient.
        per: whether each spoofing ``attack`` has a perturbation, or the ``corpus`` one for all.
        fit_trials: name of a perturbation → trials on which it is fitted.
        fit: file of the perturbations, by name.
    """

    attack: str
    side: Side
    steps: int | None
    seed: int
    link: str = ""
    target: str = ""
    passed: UnderCondition | None = None
    num_samples: int | None = None
    draws: int = 1
    made_on: Any = None
    verdict: str = ""
    per: Per = "corpus"
    fit_trials: Mapping[str, Trials] = field(default_factory=dict)
    fit: Path | None = None

    name = "scores"
    columns = ("score", "snr_db")

    @property
    def condition(self) -> str:
        """Name among conditions, such as ``"attack_pgd:40_then_mp3:64"``."""
        return "_".join(filter(None, ("attack", self.attack, self.link, self.target)))

    @property
    def through(self) -> Effect | None:
        """The condition that the attack knows."""
        if self.passed is None or self.link == "then":
            return None
        return self.passed.condition

    def includes(self, trial: Trial) -> bool:
        return self.side in (trial.label, "both")

    def group_of(self, trial: Trial) -> str:
        """Return the name of the perturbation of ``trial``."""
        if self.per == "attack":
            return trial.attack or BONAFIDE
        return self.per

    def numbers(self, trial: Trial) -> tuple[float, ...]:
        """Return whether ``trial`` is spoofed, and the position of its perturbation, or 0."""
        positions = {name: position for position, name in enumerate(self.fit_trials)}
        return float(trial.label != BONAFIDE), positions.get(self.group_of(trial), 0)

    def describe(self) -> Facts:
        return {"name": self.name}  # a file is read as one of scores

    def identity(self) -> Facts:
        detectors = {"verdict": None, "made_on": self.made_on.fingerprint()}
        return {"judgement": self.name, **self.facts(), **detectors, "passed": self.passed and self.passed.identity}

    def facts(self) -> Facts:
        attack = create_attack(self.attack, steps=self.steps)
        facts = {**vars(self), **vars(attack), "unit": attack.unit, "keep": attack.keep, **_CONSTANTS}
        del facts["passed"], facts["made_on"]
        facts["fit_trials"] = " ".join(trial.id for trial in itertools.chain(*self.fit_trials.values()))
        facts["fit"] = self.fit and sha256_of(self.fit)
        return facts

    def fitted(self, folder: Path) -> AttackedScores:
        """Fit the perturbations, if there are trials for them; save them in ``folder``."""
        if not self.fit_trials:
            return self
        fit_alone = replace(self, link="", target="", passed=None)
        basis = hashlib.sha256(json_text(fit_alone.identity()).encode())  # another run has another file
        path = path_below(folder, "fits", f"{basis.hexdigest()}.json")
        if not path.exists():
            write_json(path, {name: self.fit_on(trials).tolist() for name, trials in self.fit_trials.items()})
        return replace(self, fit=path)

    def fit_on(self, trials: Trials) -> Tensor:
        waveforms, is_spoof = self.read_recordings(trials, f"to fit {self.attack} on")
        batches = zip(waveforms.split(_FIT_BATCH), is_spoof.split(_FIT_BATCH))
        with robustness.attackable(self.made_on) as logits_of:
            return robustness.fit_attack(
                logits_of,
                batches,
                self.attack,
                objective=robustness.judged_objective(self.made_on.score_rule),
                steps=self.steps,
                seed=self.seed,
            )

    def read_recordings(self, trials: Trials, purpose: str) -> tuple[Tensor, Tensor]:
        """Read waveforms B×N of the score length, and whether they are spoofed (B,)."""
        reader = WaveformReader(self.num_samples or ASVSPOOF_SAMPLES, self.made_on.min_samples)
        recordings = []
        labels = []
        for trial in trials:
            with suppress(InputError):
                recordings.append(reader.read(trial.recording()).waveform)
                labels.append(trial.label != BONAFIDE)
        if not recordings:
            raise InputError(f"no recording of those {purpose} can be read: see nes2net data check")
        if num_unread := len(trials) - len(recordings):
            print_note(f"{num_unread} of {len(trials)} recordings {purpose} cannot be read and are omitted")
        return torch.from_numpy(np.stack(recordings)), torch.tensor(labels)

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """Return a reader of the samples that are heard, each once."""
        heard = UsedSamples(most=self.num_samples)
        return replace(reader, num_samples=None, min_samples=1, used=heard, pre_emphasis=0)

    def compute(self, scorer: Any, waveforms: Tensor, numbers: Tensor) -> Tensor:  # type: ignore[override]
        """Attack ``waveforms`` B×N, and score them as files of 16 bits.

        Args:
            numbers: B×2, from :meth:`numbers`.

        Returns:
            B×2, by :attr:`columns`: score, SNR in dB (0 for silence, about 300 without a change).
        """
        attacked = waveforms.clone()
        perturbations: list[Any] = [None]
        if self.fit:
            perturbations = read_perturbations(self.fit, waveforms.device)
        for position, perturbation in enumerate(perturbations):
            rows = numbers[:, 1] == position
            attacked[rows] = robustness.attack(
                self.made_on,
                waveforms[rows],
                numbers[rows, 0],
                self.attack,
                side=self.side,
                num_samples=self.num_samples,
                steps=self.steps,
                seed=self.seed,
                draws=self.draws,
                through=self.through,
                perturbation=perturbation,
            )
        clean = (waveforms * 2**15).round() / 2**15
        powers = torch.stack([clean, attacked - clean]).square().sum(2).clamp(min=1e-30)
        if self.passed is not None:
            attacked = changed(self.passed.condition, generators_of(clean, self.seed, 1), attacked)
        reader = WaveformReader.of(scorer, self.num_samples)
        judged = [reader.read_audio(samples, SAMPLE_RATE).waveform for samples in attacked.cpu().numpy()]
        scores = scorer.scores(torch.tensor(np.stack(judged), device=waveforms.device))
        return torch.stack([scores, 10 * (powers[0] / powers[1]).log10()], 1)


@lru_cache(maxsize=1)
def read_perturbations(path: Path, device: torch.device) -> list[Tensor]:
    by_name = json.loads(path.read_text())
    return [torch.tensor(numbers, dtype=torch.float64, device=device) for numbers in by_name.values()]


def plan_attacks(
    suite: Suite,
    passed: Mapping[str, Sequence[str]],
    conditions: Mapping[str, UnderCondition],
    to_fit_on: Trials,
) -> list[AttackedScores]:
    """List attacks made on the detector, on others, and with each condition that they pass.

    ``default`` is expanded, and the control ``noise`` stands before attacks of its budget.

    Raises:
        InputError: if an attack is unknown or impossible, or cannot pass a condition.
    """
    chains: list[tuple[str, str, UnderCondition | None]] = [("", "", None)]
    chains += [("from", name, None) for name in system_names(suite.attack_from)]
    for link, names in passed.items():
        for name in names:
            changed(conditions[name].condition, [np.random.default_rng(0)], torch.zeros(1, 400))
            chains.append((link, name, conditions[name]))
    attacks: dict[str, AttackedScores] = {}
    for text in " ".join(suite.attack).replace("default", _DEFAULT).split():
        variants = [(f"noise:{text.partition(':')[2]}", chains[0]), *itertools.product([text], chains)]
        if create_attack(text).unit == "taps":
            del variants[0]  # a filter has no amplitude
        for attack_text, chain in variants:
            attack = AttackedScores(attack_text, suite.attack_side, suite.attack_steps, suite.seed, *chain)
            if isinstance(create_attack(attack_text), UniversalAttack):
                attack = replace(attack, per=suite.attack_per)
                groups = defaultdict(list)
                for trial in to_fit_on:
                    groups[attack.group_of(trial)].append(trial)
                for name, trials in groups.items():
                    strata = {(trial.label, trial.attack) for trial in trials}
                    groups[name] = stratified_subset(trials, max(_MOST_FITTED, len(strata)), suite.seed)
                attack = replace(attack, fit_trials=groups)
                if attack.through is not None:
                    raise InputError(f"attack '{text}' is not fitted through conditions: remove `attack_through`")
            count_calls(attack)  # what is impossible raises an error here, not after hours of scoring
            attacks.setdefault(attack.condition, attack)
    return list(attacks.values())


def count_calls(attack: AttackedScores) -> tuple[int, int]:
    """Count the gradients and scores that an attack on one recording takes, by attacking a simple function.

    Raises:
        InputError: if the attack does not fit.
    """
    has_gradient: list[bool] = []

    def logits_of(waveforms: Tensor) -> Tensor:
        has_gradient.append(waveforms.requires_grad)
        return waveforms[:, -2:]

    waveform = torch.full((1, 400), 0.5)
    robustness.attack_logits(logits_of, waveform, torch.ones(1), attack.attack, steps=attack.steps, draws=attack.draws)
    return sum(has_gradient), has_gradient.count(False)


def check_detector(attack: AttackedScores, trials: Trials) -> tuple[str, str, list[float]]:
    """Check the gradient that ``attack`` follows on 8 recordings of each class.

    Returns:
        Verdict; it in words; and the seconds of one gradient and of one score.
    """
    by_label = sorted(trials, key=lambda trial: str(trial.label))
    waveforms, is_spoof = attack.read_recordings(by_label[:8] + by_label[-8:], "to check the gradient on")
    with robustness.attackable(attack.made_on) as logits_of:
        if attack.through is not None:
            logits_of = partial(logits_through, attack.through, generators_of(waveforms), logits_of)
        check = robustness.check_gradient(logits_of, waveforms, is_spoof)
        batch = AttackedBatch(logits_of, waveforms, is_spoof, "score")
        seconds = []
        for compute in (batch.gradient, batch.mean_values):
            began = time.perf_counter()
            with suppress(NoGradient):
                compute(batch.clean)
            seconds.append((time.perf_counter() - began) / len(waveforms))
    verdict = check.verdict
    agreement = ""
    if attack.through is not None and check.coarse is not None and verdict != "random":
        share = check.coarse.agreement.nanmedian()
        agreement = f" ({100 * share:.0f} % of the signs agree)"
        verdict = "masked"
        if share >= _ADAPTIVE:
            verdict = "usable"
    return verdict, f"{verdict}{agreement}{_MEANINGS.get(verdict, '')}", seconds


def prepare_attacks(
    attacks: Iterable[AttackedScores],
    scorer: Scorer,
    detectors: Mapping[str, Scorer],
    trials: Trials,
    num_samples: int | None,
) -> tuple[dict[str, AttackedScores], list[str]]:
    """Check the gradients that ``attacks`` follow, and print what they cost.

    Args:
        detectors: other detectors that attacks are made on, by name.

    Returns:
        Name among conditions → attack, and notes. Attacks on a scored detector without gradients
        are omitted if there are other detectors.

    Raises:
        InputError: if a detector gives no gradients.
    """
    checks: dict[str, tuple[str, str, list[float]]] = {}
    prepared = {}
    notes = []
    total_cost = np.zeros(2, int)  # gradients and scores
    seconds = 0.0
    for planned in attacks:
        made_on = scorer
        if planned.link == "from":
            made_on = detectors[planned.target]
        attack = replace(planned, made_on=made_on, num_samples=num_samples)
        subject = ""
        if attack.link != "then":
            subject = f" {attack.link} {attack.target}".rstrip()
        if subject not in checks:
            checks[subject] = check_detector(attack, trials)
        verdict, _, seconds_of_each = checks[subject]
        attack = replace(attack, verdict=verdict)
        if verdict == "random":
            attack = replace(attack, draws=robustness.DRAWS)
        calls = count_calls(attack)
        if verdict == "broken" and calls[0]:
            if attack.link == "from" or not detectors:
                raise InputError(
                    "this detector gives no gradients, as in int8 or an ONNX file, or gradients that are not finite: attack by "
                    "spsa or square, or make the attacks on another detector, with `attack_from`"
                )
            continue
        attacked = list(filter(attack.includes, trials))
        cost = len(attacked) * np.array(calls)
        cost[1] += len(trials)
        if attack.fit_trials:
            if unfitted := set(map(attack.group_of, attacked)) - attack.fit_trials.keys():
                raise InputError(
                    f"attack '{attack.attack}': no trial to fit on is of {join_names(sorted(unfitted))}: use another `attack_split`, or "
                    "`attack_per=corpus`"
                )
            cost[0] = 0
            fitted: list[Trial] = []
            for fit_trials in attack.fit_trials.values():
                sizes = map(len, itertools.cycle(torch.ones(len(fit_trials)).split(_FIT_BATCH)))
                cost[0] += sum(itertools.islice(sizes, calls[0]))
                fitted += fit_trials
            scored = "not scored"
            if fitted[0] in trials:
                scored = "scored, too"
            notes.append(f"{attack.condition} is fitted on {len(fitted)} trials, which are {scored}")
        total_cost += cost
        seconds += float(cost @ seconds_of_each)
        prepared[attack.condition] = attack
    if prepared:
        duration = readable_duration(seconds)
        print_note(f"the attacks take {total_cost[0]:,} gradients and {total_cost[1]:,} scores, about {duration}")
    return prepared, [*(f"gradient check{subject}: {words}" for subject, (_, words, _) in checks.items()), *notes]


def attack_row(row: Row, attack: AttackedScores, path: Path, trials: Trials, is_wrong: NDArray) -> Row:
    """Add the figures of ``attack``, whose file is ``path``, to those of any condition.

    Args:
        is_wrong: 2×N, whether the decisions on the clean and on the attacked ``trials`` are wrong.
    """
    table = attack.table(path)  # in the order of the trials, perhaps with others
    snr = table.logits[np.isin(table.ids, [trial.id for trial in trials]), 1]
    of_side = np.array(list(map(attack.includes, trials)))
    is_attacked = of_side & (snr != 0)
    was_right = is_attacked & ~is_wrong[0]
    if not was_right.any():
        return row
    success = is_wrong[1, was_right].mean()
    median, *snr_range = np.quantile(snr[is_attacked], (0.5, 0, 1)).tolist()
    figures = {
        "success": Figure(success, metrics.wilson_interval(success, was_right.sum())),
        "num_right": Figure(float(was_right.sum())),
        "snr": Figure(median, tuple(snr_range)),
        "not_attacked": Figure(float((of_side & ~is_attacked).sum())),
    }
    return replace(row, figures={**row.figures, **figures})


def transfer_table(attacks: Mapping[str, AttackedScores], rows: Mapping[str, Row]) -> Table:
    """Make a matrix of EERs under ``rows`` of attacks: where an attack is made × attack."""
    table_rows = []
    for name, row in rows.items():
        attack = attacks[name]
        if attack.passed is None:
            labels = {"made on": attack.target or "this detector", "attack": attack.attack}
            table_rows.append(replace(row, labels=labels))
    caption = "EER of this detector under attacks that are made on it (white box) or on another."
    return Table("transfer", caption, [column("eer")], table_rows, "Transfer", across="attack")
