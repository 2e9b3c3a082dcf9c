"""Attacks as conditions of a robustness run: what they change, what they cost, and what the report says of them."""

import json
import logging
import os
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, small_parts
from builders.interruption import journalled

from nes2net import Detector, robustness
from nes2net.apps.robustness.attacked import AttackedScores, check_detector, plan_attacks
from nes2net.apps.robustness.run import plan, run
from nes2net.apps.robustness.settings import Suite
from nes2net.data.audio.read import load_audio
from nes2net.data.augment.conditions import create_condition
from nes2net.data.corpora.part import Part
from nes2net.data.corpora.trial import SPOOF, Trial
from nes2net.evaluation.page import Pages
from nes2net.lib.output.terminal import LOGGER
from nes2net.lib.storage.files import sha256_of
from nes2net.scoring.corpus import ScoringSettings
from nes2net.scoring.journal import Journal
from nes2net.scoring.score_file import read_scores

#: More than the shortest recordings of the corpus have.
NUM_SAMPLES = 20000


def planned(root, *attacks, **options):
    return plan(Part("asvspoof2019_la", root, "dev"), Suite(attack=attacks, **options))


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return Detector.from_config(small_parts.SPECTRAL_MODEL).eval()


@pytest.fixture(scope="module")
def surrogate():
    """Another detector."""
    torch.manual_seed(1)
    return Detector.from_config(small_parts.SPECTRAL_MODEL).eval()


@pytest.fixture(scope="module")
def attacked(detector, surrogate):
    """A function that does a planned run."""

    def attack(planned_run, out, detector=detector, batch_size=4):
        settings = ScoringSettings(batch_size=batch_size, num_workers=0)
        surrogates = {attack.target: surrogate for attack in planned_run.attacks if attack.link == "from"}
        options = {"checkpoint": "detector.pth", "num_resamples": 20, "attack_from": surrogates}
        return run(detector, planned_run, out, num_samples=NUM_SAMPLES, settings=settings, **options)

    return attack


class Report:
    """A run, which tests only read."""

    def __init__(self, plan, folder, attacked):
        self.folder = folder
        self.trials = plan.trials
        self.result = attacked(plan, folder)
        self.clean = scores_of(folder, "clean")

    def row(self, condition):
        return self.result.tables[1].row(condition=condition)


@pytest.fixture(scope="module")
def report(attacked, corpus, tmp_path_factory):
    return Report(planned(corpus, "fgsm:30", "pgd:40"), tmp_path_factory.mktemp("report"), attacked)


CHAINS = {"attack_from": ["runs/other.pth"], "attack_then": ["alaw"], "attack_through": ["telephone", "white:20"]}
#: The default attacks, and one on another detector, before a condition, and through conditions.
SUITES = {"default": {}, "fgsm:30": CHAINS}


@pytest.fixture(scope="module")
def chained(attacked, detector, surrogate, corpus, tmp_path_factory):
    """FGSM on another detector, before a condition, and through conditions; with counts of gradients and scores."""
    counts = Counter()

    def count(_module, inputs, _output):
        counts[inputs[0].requires_grad] += len(inputs[0])

    handles = [module.register_forward_hook(count) for module in (detector, surrogate)]
    printed = StringIO()
    notes = logging.StreamHandler(printed)
    LOGGER.addHandler(notes)
    report = Report(planned(corpus, "fgsm:30", **CHAINS), tmp_path_factory.mktemp("chained"), attacked)
    LOGGER.removeHandler(notes)
    for handle in handles:
        handle.remove()
    report.counts = counts
    report.printed = printed.getvalue()
    return report


def scores_of(folder, name):
    return dict(zip(*read_scores(folder / "scores" / f"{name}.txt")))


def ratios_of(folder, name):
    """Utterance → SNR in dB."""
    lines = (folder / "scores" / f"{name}.txt").read_text().splitlines()
    cells = [line.split("\t") for line in lines[1:]]
    return {id: float(snr) for id, _, snr in cells}


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.txt"))}


def test_fakes_are_attacked_within_the_budget(report):
    scores = scores_of(report.folder, "attack_pgd_40")
    ratios = ratios_of(report.folder, "attack_pgd_40")
    spoofed_ratios = []
    for trial in report.trials:
        if trial.label == SPOOF:
            assert scores[trial.id] > report.clean[trial.id]
            spoofed_ratios.append(ratios[trial.id])
        else:
            assert scores[trial.id] == pytest.approx(report.clean[trial.id], abs=1e-6)
    assert min(spoofed_ratios) >= 40
    assert max(spoofed_ratios) < 45
    snr = report.row("attack_pgd:40")["snr"]
    assert snr.value == pytest.approx(np.median(spoofed_ratios))
    assert snr.interval == pytest.approx((min(spoofed_ratios), max(spoofed_ratios)))


def test_the_score_under_attack_is_that_of_a_file_of_16_bits(report, detector, tmp_path):
    scores = scores_of(report.folder, "attack_pgd_40")
    trial = next(trial for trial in report.trials if trial.label == SPOOF)
    clip = torch.from_numpy(load_audio(trial.path))
    changed = robustness.attack(detector, clip[None], [True], "pgd:40", num_samples=NUM_SAMPLES)
    soundfile.write(tmp_path / "u.wav", changed[0].numpy(), 16000, subtype="PCM_16")
    repeated = np.resize(load_audio(tmp_path / "u.wav"), NUM_SAMPLES)
    assert scores[trial.id] == pytest.approx(detector.score(repeated, 16000), abs=1e-5)


def test_success_is_the_share_of_right_decisions_that_an_attack_turns(report):
    threshold = report.result.header["threshold"]
    changed = scores_of(report.folder, "attack_fgsm_30")
    right = [trial.id for trial in report.trials if trial.label == SPOOF and report.clean[trial.id] < threshold]
    success = report.row("attack_fgsm:30")["success"]
    assert success.value == np.mean([changed[id] >= threshold for id in right])
    assert success.interval[0] < success.value <= success.interval[1]


def test_a_report_has_noise_beside_attacks_and_the_verdict_on_the_gradient(report, tmp_path):
    conditions = [row.labels["condition"] for row in report.result.rows("attacks")]
    assert conditions == ["clean", "attack_noise:30", "attack_fgsm:30", "attack_noise:40", "attack_pgd:40"]
    Pages(tmp_path / "r.html", tmp_path / "r.json", markdown=tmp_path / "r.md").write(report.result)
    facts = json.loads((tmp_path / "r.json").read_text())
    settings = {"attack": "pgd:40", "side": "spoof", "objective": "score", "steps": 10, "step": 0.25, "seed": 0}
    budget = {"size": 40, "unit": "dB", "restarts": 1, "keep": "best", "bits": 16, "draws": 1}
    chain = {"link": "", "target": "", "num_samples": NUM_SAMPLES, "verdict": "curved", "fit_trials": "", "fit": None}
    assert facts["attacks"]["attack_pgd:40"] == {**settings, **budget, **chain, "per": "corpus"}
    assert "gradient check: curved, so one step says little: use attacks of many steps" in facts["notices"]
    assert "What this detector does not withstand" in (tmp_path / "r.html").read_text()


def test_an_attack_on_genuine_recordings_lowers_their_scores(attacked, report, corpus, tmp_path):
    attacked(planned(corpus, "fgsm:30", attack_side="bonafide"), tmp_path)
    changed = scores_of(tmp_path, "attack_fgsm_30")
    for trial in report.trials:
        if trial.label == SPOOF:
            assert changed[trial.id] == pytest.approx(report.clean[trial.id], abs=1e-6)
        else:
            assert changed[trial.id] < report.clean[trial.id]


def test_a_silent_recording_is_not_attacked_but_counted(attacked, corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    planned_run = planned(root, "fgsm:40")
    silent = next(trial for trial in planned_run.trials if trial.label == SPOOF)
    soundfile.write(silent.path, np.zeros(16000), 16000)
    row = attacked(planned_run, tmp_path / "out").tables[1].row(condition="attack_fgsm:40")
    assert row["not_attacked"].value == 1
    assert row["snr"].interval[0] > 39.9


def test_a_recording_of_one_sample_and_one_beyond_full_scale_are_attacked(attacked, corpus, tmp_path):
    root = shutil.copytree(corpus, tmp_path / "corpus")
    planned_run = planned(root, "fgsm:40")
    shortest, loudest = [trial for trial in planned_run.trials if trial.label == SPOOF][:2]
    soundfile.write(shortest.path, [0.5], 16000)
    soundfile.write(
        loudest.path, 0.1 * np.sin(np.arange(16000)) + 1.2 * (np.arange(16000) == 99), 16000, "FLOAT", format="WAV"
    )
    result = attacked(planned_run, tmp_path / "out")
    assert result.header["left_out"] == {}
    ratios = ratios_of(tmp_path / "out", "attack_fgsm_40")
    assert min(ratios[shortest.id], ratios[loudest.id]) >= 39.9


def test_the_printed_cost_is_what_the_detector_computes(attacked, detector, corpus, tmp_path, capsys):
    """In rows of waveforms: forwards with a gradient, and surrogates."""
    counts = {True: 0, False: 0}

    def count(_module, inputs, _output):
        counts[inputs[0].requires_grad] += len(inputs[0])

    planned_run = planned(corpus, "pgd:40", "fgsm:40")
    handle = detector.register_forward_hook(count)
    attacked(planned_run, tmp_path)
    handle.remove()
    num_checked = 16  # recordings, of which the gradient check computes 2 gradients and 39 or 57 scores
    gradients = counts[True] - 2 * num_checked
    assert gradients == 6 * 11
    scores = 6 * (2 + 2 + 11) + 3 * 12  # the clean recording, each iterate, and the result
    assert counts[False] - scores - 12 in (num_checked * 39, num_checked * 57)
    assert f"the attacks take {gradients} gradients and {scores} scores, about " in capsys.readouterr().err


def clip_of(report):
    """A fake, and its waveform 1×N."""
    trial = next(trial for trial in report.trials if trial.label == SPOOF)
    return trial, torch.from_numpy(load_audio(trial.path))[None]


def judged(detector, waveform):
    return detector.score(np.resize(waveform, NUM_SAMPLES), 16000)


def test_an_attack_from_another_detector_is_made_on_it_and_scored_by_this_one(chained, detector, surrogate):
    trial, clip = clip_of(chained)
    changed = robustness.attack(surrogate, clip, [True], "fgsm:30", num_samples=NUM_SAMPLES)
    scores = scores_of(chained.folder, "attack_fgsm_30_from_other")
    assert scores[trial.id] == pytest.approx(judged(detector, changed[0].numpy()), abs=1e-5)
    matrix = {}
    for row in chained.result.rows("transfer"):
        matrix[row.labels["made on"], row.labels["attack"]] = row["eer"]
    assert matrix.keys() == {("this detector", "noise:30"), ("this detector", "fgsm:30"), ("other", "fgsm:30")}
    assert matrix["other", "fgsm:30"] == chained.row("attack_fgsm:30_from_other")["eer"]


def test_an_attacked_recording_passes_a_condition_before_it_is_scored(chained, detector):
    trial, clip = clip_of(chained)
    changed = robustness.attack(detector, clip, [True], "fgsm:30", num_samples=NUM_SAMPLES)
    received = create_condition("alaw")(changed[0].numpy(), np.random.default_rng(0))
    scores = scores_of(chained.folder, "attack_fgsm_30_then_alaw")
    assert scores[trial.id] == pytest.approx(judged(detector, received), abs=1e-5)
    genuine = next(trial for trial in chained.trials if trial.label != SPOOF)
    price = scores_of(chained.folder, "alaw")
    assert scores[genuine.id] == pytest.approx(price[genuine.id], abs=0.01)


def test_an_attack_through_a_condition_knows_it(chained, detector):
    trial, clip = clip_of(chained)
    telephone = create_condition("telephone")
    changed = robustness.attack(detector, clip, [True], "fgsm:30", num_samples=NUM_SAMPLES, through=telephone)
    adaptive = judged(detector, telephone(changed[0].numpy(), np.random.default_rng(0)))
    unaware = robustness.attack(detector, clip, [True], "fgsm:30", num_samples=NUM_SAMPLES)
    assert scores_of(chained.folder, "attack_fgsm_30_through_telephone")[trial.id] == pytest.approx(adaptive, abs=1e-3)
    assert adaptive > judged(detector, telephone(unaware[0].numpy(), np.random.default_rng(0)))


def test_the_gradients_of_a_chain_are_checked(chained):
    verdicts = {name: attack["verdict"] for name, attack in chained.result.header["attacks"].items()}
    assert verdicts["attack_fgsm:30_from_other"] in ("usable", "curved")
    assert verdicts["attack_fgsm:30_through_telephone"] == "usable"
    assert verdicts["attack_fgsm:30_through_white:20"] == "random"
    notes = "\n".join(chained.result.notes)
    assert "gradient check from other: " in notes
    assert re.search(r"gradient check through telephone: usable \(\d+ % of the signs agree\)", notes)
    assert "gradient check through white:20: random, so gradients are the mean of 8" in notes


def test_the_cost_of_a_chain_is_exact(chained):
    gradients = 6 * (1 + 1 + 1 + 1 + 8)
    scores = 6 * (5 * 2 + 16) + 6 * 12
    assert chained.counts[True] == gradients + 4 * 2 * 16  # and four checks
    assert f"the attacks take {gradients} gradients and {scores} scores, about " in chained.printed


def test_noise_after_an_attack_depends_only_on_the_recording(attacked, chained, corpus, tmp_path):
    attacked(planned(corpus, "fgsm:30", attack_through=["white:20"], num_trials=6), tmp_path, batch_size=2)
    few = scores_of(tmp_path, "attack_fgsm_30_through_white_20")
    all_trials = scores_of(chained.folder, "attack_fgsm_30_through_white_20")
    assert few == pytest.approx({id: all_trials[id] for id in few}, abs=1e-3)


def test_a_detector_without_gradients_is_attacked_from_another(attacked, detector, corpus, tmp_path):
    handle = detector.register_forward_pre_hook(lambda _, inputs: inputs[0].detach())
    result = attacked(planned(corpus, "fgsm:40", attack_from=["other"]), tmp_path)
    handle.remove()
    names = [row.labels["condition"] for row in result.rows("attacks")]
    assert names == ["clean", "attack_noise:40", "attack_fgsm:40_from_other"]
    assert "gradient check: broken, so attacks that follow it are not made on this detector" in result.notes


def test_a_condition_that_moves_sounds_is_refused_for_attacked_recordings(corpus):
    with input_error(r"Trim\(30.0\) moves sounds in time, so no attacked recording can pass it"):
        planned(corpus, "fgsm:40", attack_then=["trim:30"])


def test_a_run_that_was_interrupted_ends_with_the_same_scores(attacked, report, corpus, tmp_path):
    planned_run = planned(corpus, "fgsm:30", "pgd:40")
    with journalled(stop_after=14):  # in the last of five conditions of three batches
        attacked(planned_run, tmp_path)
    with journalled() as added:
        attacked(planned_run, tmp_path)
    assert len(added) == 1
    assert files_of(tmp_path) == files_of(report.folder)


@pytest.mark.slow
@pytest.mark.parametrize("attack", SUITES)
def test_attacks_resume_after_kill_9_in_each_condition(attacked, corpus, tmp_path, monkeypatch, attack):
    planned_run = planned(corpus, attack, **SUITES[attack])
    attacked(planned_run, tmp_path / "whole")
    add = Journal.add
    num_batches = Counter()

    def add_and_die(journal, rows, failures=None):
        add(journal, rows, failures)
        num_batches[journal.path] += 1
        if num_batches[journal.path] == 2:  # of three; the run that resumes has one
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Journal, "add", add_and_die)
    statuses = []
    num_conditions = len(planned_run.conditions) + len(planned_run.attacks) + 1
    while len(statuses) <= num_conditions:
        child = os.fork()
        if child == 0:
            try:
                attacked(planned_run, tmp_path / "killed")
                os._exit(0)
            finally:
                os._exit(1)  # in place of the other tests
        statuses.append(os.waitpid(child, 0)[1])
    assert statuses == [signal.SIGKILL] * num_conditions + [0]
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_only_a_new_attack_is_computed(attacked, corpus, tmp_path):
    attacked(planned(corpus, "fgsm:30", conditions=["gain:-20"]), tmp_path)
    before = files_of(tmp_path)
    with journalled() as added:
        attacked(planned(corpus, "fgsm:30", "mi_fgsm:30", conditions=["gain:-20"]), tmp_path)
    assert len(added) == 3
    after = files_of(tmp_path)
    assert after.keys() - before.keys() == {"attack_mi_fgsm_30.txt"}
    assert before.items() <= after.items()
    with input_error("attack_noise_30.txt was made by another run or program \\(another steps\\)"):
        attacked(planned(corpus, "fgsm:30", attack_steps=2), tmp_path)


def test_the_batch_changes_attacks_only_by_rounding(attacked, report, corpus, tmp_path):
    attacked(planned(corpus, "fgsm:30"), tmp_path, batch_size=12)
    changed = scores_of(tmp_path, "attack_fgsm_30")
    assert changed == pytest.approx(scores_of(report.folder, "attack_fgsm_30"), abs=1e-3)


def test_a_masked_gradient_is_no_evidence_and_a_missing_one_is_refused(attacked, detector, corpus, tmp_path):
    handle = detector.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 128).round() / 128)
    result = attacked(planned(corpus, "fgsm:40"), tmp_path / "masked")
    handle.remove()
    masked = "gradient check: masked, so attacks that follow it are no evidence of robustness: use spsa or square, too"
    assert masked in result.notes
    handle = detector.register_forward_pre_hook(lambda _, inputs: inputs[0].detach())
    with input_error("this detector gives no gradients.*: attack by spsa or square"):
        attacked(planned(corpus, "fgsm:40"), tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    attacked(planned(corpus, "square:40", attack_steps=3), tmp_path / "broken")
    handle.remove()


def test_impossible_attacks_are_refused_by_the_plan(corpus):
    with input_error("unknown attack 'pdg'"):
        planned(corpus, "pdg:40")
    with input_error("attack 'noise:0.00001fs' is below one step of 16 bits"):
        planned(corpus, "pgd:0.00001fs")
    with input_error("budget '512': write an odd number of taps"):
        planned(corpus, "malafide:512")
    with input_error("attack 'malafide:9' is not fitted through conditions: remove `attack_through`"):
        planned(corpus, "malafide:9", attack_steps=1, attack_through=["alaw"])


def test_default_is_noise_and_three_attacks_at_four_budgets(corpus):
    names = [attack.attack for attack in planned(corpus, "default").attacks]
    assert len(names) == 16
    assert names[:4] == ["noise:60", "fgsm:60", "pgd:60", "pgd_l2:60"]
    assert names[-1] == "pgd_l2:30"


def test_without_conditions_only_attacks_are_made(corpus):
    lines = planned(corpus, "fgsm:40").words()
    assert lines[1:] == ["  attack_noise:40", "  attack_fgsm:40"]


def test_the_gradient_check_needs_no_folder_and_no_attack(detector, corpus, tmp_path, output):
    detector.save(tmp_path / "d.pth")
    command = f"robustness asvspoof2019_la {corpus} --split dev --model {tmp_path}/d.pth --samples {NUM_SAMPLES}"
    assert output(f"{command} --device cpu --check-gradients --conditions gain").out == "curved\n"


def test_a_gradient_is_not_checked_on_recordings_that_cannot_be_read(detector, tmp_path):
    missing = Trial("a", tmp_path / "a.wav", SPOOF)
    attack = AttackedScores("pgd:40", "spoof", None, 0, made_on=detector)
    with input_error("no recording of those to check the gradient on can be read"):
        check_detector(attack, [missing])


FITS = ("malafide:9", "universal:0.02fs")


@pytest.fixture(scope="module")
def fitted_plan(corpus):
    """A plan that scores 8 of 12 trials, and fits on other fakes, on this and on another detector."""
    return planned(corpus, *FITS, num_trials=8, attack_steps=3, attack_from=["other"], attack_then=["alaw"])


@pytest.fixture(scope="module")
def fitted(attacked, fitted_plan, tmp_path_factory):
    return Report(fitted_plan, tmp_path_factory.mktemp("fitted"), attacked)


def fit_of(detector, trials, attack):
    waveforms = [np.resize(load_audio(trial.path), NUM_SAMPLES) for trial in trials]
    with robustness.attackable(detector) as logits_of:
        recordings = [(torch.from_numpy(np.stack(waveforms)), torch.ones(len(trials)))]
        return robustness.fit_attack(logits_of, recordings, attack, steps=3)


@pytest.mark.parametrize("attack", FITS)
@pytest.mark.parametrize("made_on", ["", "_from_other"])
def test_a_perturbation_is_fitted_on_fakes_that_are_not_scored(fitted, corpus, detector, surrogate, attack, made_on):
    facts = fitted.result.header["attacks"][f"attack_{attack}{made_on}"]
    fit_trials = [trial for trial in planned(corpus).trials if trial.id in facts["fit_trials"].split()]
    assert {trial.label for trial in fit_trials} == {SPOOF}
    assert not {trial.id for trial in fit_trials} & {trial.id for trial in fitted.trials}
    chosen_detector = {"": detector, "_from_other": surrogate}[made_on]
    perturbation = fit_of(chosen_detector, fit_trials, attack)
    trial, clip = clip_of(fitted)
    changed = robustness.attack(
        chosen_detector, clip, [True], attack, num_samples=NUM_SAMPLES, perturbation=perturbation
    )
    scores = scores_of(fitted.folder, f"attack_{attack}{made_on}".replace(":", "_"))
    assert scores[trial.id] == pytest.approx(judged(detector, changed[0].numpy()), abs=1e-4)


def test_recordings_pass_a_condition_after_a_filter(fitted, detector):
    facts = fitted.result.header["attacks"]
    assert facts["attack_malafide:9_then_alaw"]["fit"] == facts["attack_malafide:9"]["fit"]
    trial, clip = clip_of(fitted)
    path = next(path for path in fitted.folder.glob("fits/*") if sha256_of(path) == facts["attack_malafide:9"]["fit"])
    taps = torch.tensor(json.loads(path.read_text())["corpus"], dtype=torch.float64)
    changed = robustness.attack(detector, clip, [True], "malafide:9", num_samples=NUM_SAMPLES, perturbation=taps)
    received = create_condition("alaw")(changed[0].numpy(), np.random.default_rng(0))
    scores = scores_of(fitted.folder, "attack_malafide_9_then_alaw")
    assert scores[trial.id] == pytest.approx(judged(detector, received), abs=1e-5)


def test_recordings_of_a_fit_that_cannot_be_read_are_named_by_the_fit(detector, corpus, tmp_path, capsys):
    missing = Trial("a", tmp_path / "a.wav", SPOOF)
    attack = AttackedScores("malafide:9", "spoof", 1, 0, num_samples=NUM_SAMPLES, made_on=detector)
    with input_error("no recording of those to fit malafide:9 on can be read: see nes2net data check"):
        replace(attack, fit_trials={"corpus": [missing]}).fitted(tmp_path)
    replace(attack, fit_trials={"corpus": [missing, planned(corpus).trials[-1]]}).fitted(tmp_path)
    assert "1 of 2 recordings to fit malafide:9 on cannot be read and are omitted" in capsys.readouterr().err


def test_a_fit_has_a_trial_of_each_of_more_than_200_attacks():
    trials = [Trial(str(number), label=SPOOF, attack=str(number // 2)) for number in range(402)]
    attack = plan_attacks(Suite(attack=["malafide:9"], attack_steps=1), {}, {}, trials)[0]
    assert sorted(trial.attack for trial in attack.fit_trials["corpus"]) == sorted(map(str, range(201)))


def test_a_fit_may_read_another_split(corpus):
    attack = planned(corpus, "malafide:9", attack_split="train", attack_steps=1).attacks[0]
    fakes = [trial.path for trial in Part("asvspoof2019_la", corpus, "train").trials if trial.label == SPOOF]
    assert sorted(trial.path for trial in attack.fit_trials["corpus"]) == sorted(fakes)


def test_the_report_names_the_trials_of_a_fit_and_its_digest(fitted, attacked, corpus, tmp_path):
    facts = fitted.result.header["attacks"]["attack_malafide:9"]
    num_fitted = len(facts["fit_trials"].split())
    digests = [sha256_of(path) for path in fitted.folder.glob("fits/*.json")]
    assert len(digests) == 4
    assert facts["fit"] in digests
    note = f"attack_malafide:9 is fitted on {num_fitted} trials, which are not scored"
    assert note in fitted.result.notes
    result = attacked(planned(corpus, "malafide:9", attack_steps=1), tmp_path)
    assert "attack_malafide:9 is fitted on 6 trials, which are scored, too" in result.notes


@pytest.fixture(scope="module")
def named_plan(corpus):
    """A plan of two added waveforms, each fitted on every other fake."""
    planned_run = planned(corpus)
    trials = []
    for number, trial in enumerate(sorted(planned_run.trials, key=lambda trial: str(trial.label))):
        name = trial.attack
        if trial.label == SPOOF:
            name = f"A0{7 + number % 2}"
        trials.append(replace(trial, attack=name))
    suite = Suite(attack=["universal:0.02fs"], attack_per="attack", attack_steps=3)
    fakes = [trial for trial in trials if trial.label == SPOOF]
    return replace(planned_run, trials=trials, attacks=plan_attacks(suite, {}, {}, fakes))


def test_each_attack_of_the_corpus_has_its_own_perturbation(named_plan, detector, tmp_path):
    attack = replace(named_plan.attacks[-1], made_on=detector, num_samples=NUM_SAMPLES).fitted(tmp_path)
    trials = [next(trial for trial in named_plan.trials if trial.attack == name) for name in ("A07", "A08")]
    clips = torch.from_numpy(np.stack([np.resize(load_audio(trial.path), NUM_SAMPLES) for trial in trials]))
    rows = attack.compute(detector, clips, torch.tensor([attack.numbers(trial) for trial in trials]))
    for trial, clip, (score, _) in zip(trials, clips, rows.tolist()):
        delta = fit_of(detector, attack.fit_trials[trial.attack], attack.attack)
        changed = robustness.attack(detector, clip[None], [True], attack.attack, perturbation=delta)
        assert score == pytest.approx(judged(detector, changed[0].numpy()), abs=1e-4)


def test_attacks_without_trials_to_fit_on_are_refused(attacked, named_plan, tmp_path):
    attack = named_plan.attacks[-1]
    lacking = replace(named_plan, attacks=[replace(attack, fit_trials={"A07": attack.fit_trials["A07"]})])
    with input_error("attack 'universal:0.02fs': no trial to fit on is of A08: use another `attack_split`"):
        attacked(lacking, tmp_path)


def test_a_filter_has_no_noise_beside_it(fitted_plan):
    names = [attack.attack for attack in fitted_plan.attacks if not attack.link]
    assert names == ["malafide:9", "noise:0.02fs", "universal:0.02fs"]


def test_the_cost_of_a_fit_is_exact(attacked, detector, corpus, tmp_path, capsys):
    counts = Counter()

    def count(_module, inputs, _output):
        counts[inputs[0].requires_grad] += len(inputs[0])

    handle = detector.register_forward_hook(count)
    attacked(planned(corpus, "malafide:9", num_trials=8, attack_steps=3), tmp_path)
    handle.remove()
    gradients = counts[True] - 2 * 16  # of the gradient check
    assert f"the attacks take {gradients} gradients and " in capsys.readouterr().err


def killed_in(function, run, monkeypatch, owner, name):
    """Run in a child that is killed when it calls ``owner.name``."""
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(owner, name, function)
            run()
        finally:
            os._exit(1)  # in place of the other tests
    return os.waitpid(child, 0)[1]


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_run_killed_during_or_after_a_fit_resumes_to_the_same_scores(
    attacked, fitted, fitted_plan, tmp_path, monkeypatch
):
    def resume():
        return attacked(fitted_plan, tmp_path)

    assert killed_in(die, resume, monkeypatch, robustness, "attack") == signal.SIGKILL
    assert len(list(tmp_path.glob("fits/*"))) == 1
    assert killed_in(die, resume, monkeypatch, robustness, "fit_attack") == signal.SIGKILL
    resume()
    assert files_of(tmp_path) == files_of(fitted.folder)


def test_a_fit_is_not_made_again(attacked, fitted, fitted_plan, monkeypatch):
    monkeypatch.delattr(robustness, "fit_attack")
    attacked(fitted_plan, fitted.folder)
