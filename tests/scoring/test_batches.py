"""Batches: scores do not depend on them, their plan depends only on the trials."""

from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import assert_near, input_error, small_parts, some
from builders.scored import WithoutFirst, score_trials
from builders.systems import samples_of, systems
from conftest import seeded_detector
from numpy.testing import assert_allclose

from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import BrokenPart
from nes2net.lib.process.processes import Processes
from nes2net.models import registry
from nes2net.scoring import batches as batching
from nes2net.scoring.batches import BatchPlan, choose_num_rows, header_length, read_batches
from nes2net.scoring.kernel import default_batch_size
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.waveforms import WaveformReader


def small(name: str, **options) -> dict:
    """A small front-end with these options."""
    return {"name": name, **small_parts.FRONTENDS[name], **options}


FRONTENDS = {
    **{name: small(name) for name in ("wav2vec2", "lps", "waveform")},
    "lfcc": {"name": "lfcc"},
    "wavlm": small("wavlm", normalize=False),
    "wav2vec2_group_norm": small("wav2vec2", extractor_mode="default", layer_norm_first=False),
    **{f"{name}_normalised": small(name, normalize=True) for name in ("wav2vec2", "wavlm", "lps")},
    "lps_first": {"name": "lps", "n_fft": 512, "hop_length": 160, "num_samples": 1000},  # of which 992 are used
}
#: Each back-end, front-end and aggregation, small.
SYSTEMS = {name: config for name, config in systems().items() if not name.startswith("front-end ")}
for front_end in sorted({*FRONTENDS} - {"waveform", "lps_first"}):  # the waveform is that of raw_aasist
    SYSTEMS[f"front-end {front_end}"] = {"frontend": FRONTENDS[front_end], "backend": "asp_mlp"}


@pytest.fixture(scope="module")
def utterances(tmp_path_factory) -> list[Trial]:
    """Noise of many lengths.

    Some lengths are equal, some give the same number of frames, some are shorter than a detector
    needs, and one is at another sampling rate.
    """
    folder = tmp_path_factory.mktemp("utterances")
    rng = np.random.default_rng(0)
    lengths = (9000, 9017, 9000, 9100, 300, 12000, 12100, 9050, 8000, 16001, 12000, 24000)
    trials = [Trial(f"u{number:02d}", folder / f"u{number:02d}.wav") for number in range(len(lengths))]
    for trial, length in zip(trials, lengths):
        rate = 8000 if length == 24000 else 16000
        soundfile.write(trial.path, 0.1 * rng.standard_normal(length * rate // 16000), rate)
    return trials


def scored_as_alone(detector, trials, out, num_samples) -> Counter:
    """Compare scores in batches of at most four with those computed alone; returns how many batches had which size."""
    compute = detector.scores
    sizes = Counter()
    detector.scores = lambda waveforms: sizes.update([len(waveforms)]) or compute(waveforms)
    assert not score_trials(detector, trials, out, num_samples=num_samples, batch_size=4).failures
    detector.scores = compute
    _, written_scores = read_scores(out)
    alone = [detector.score(trial.path, num_samples=num_samples) for trial in trials]
    assert_allclose(written_scores, alone, rtol=0, atol=1e-6)
    assert len(set(written_scores)) == len(trials)
    return sizes


@pytest.mark.parametrize("name", ["back-end sls", "front-end lps_normalised"])
def test_utterances_cut_to_one_length_have_the_same_scores_in_batches_as_alone(name, utterances, tmp_path):
    detector = seeded_detector(SYSTEMS[name])
    sizes = scored_as_alone(detector, utterances[3:8], tmp_path / "s", samples_of(detector, 8000))
    assert sizes == {4: 1, 1: 1}


@pytest.mark.parametrize("name", some(sorted({*SYSTEMS} - {"back-end sls"}), 6))  # which reads one number of frames
def test_whole_utterances_have_the_same_scores_in_batches_as_alone(name, utterances, tmp_path):
    """At least two utterances of 9,000 samples share a batch, and two of 12,000."""
    sizes = scored_as_alone(seeded_detector(SYSTEMS[name]), utterances, tmp_path / "s", None)
    assert sizes[2] + sizes[3] + sizes[4] >= 2


@pytest.mark.parametrize("name", FRONTENDS)
def test_used_samples_ends_with_the_last_sample_on_which_hidden_states_depend(name):
    torch.manual_seed(0)
    frontend = registry.create_frontend(**FRONTENDS[name]).eval()
    for num_samples in (5000, 5113, 6007):
        waveform = 0.1 * torch.randn(2, num_samples)
        used = frontend.used_samples(num_samples)
        beyond = waveform.clone()
        last = waveform.clone()
        beyond[:, used:] = 1
        last[:, used - 1] += 0.5
        with torch.inference_mode():
            full_states, cut, changed = (frontend(w, layers="all") for w in (waveform, waveform[:, :used], beyond))
            assert not torch.equal(frontend(last)[-1], full_states[-1])
        for states in zip(full_states, cut, changed):
            assert_near(states[1], states[0], 1e-5)  # shapes differ, and so does rounding
            assert torch.equal(states[2], states[0])


# The plan


def trials_of(number: int) -> list[Trial]:
    return [Trial(f"t{i}", Path(f"t{i}.wav")) for i in range(number)]


def length_of(trial: Trial) -> int:
    return int(trial.id[1:]) * 7919 % 13


def indices(batches) -> list[list[int]]:
    return [[int(item.id[1:]) for item in batch] for batch in batches]


NUM_TRIALS = 173
by_length_or_not = pytest.mark.parametrize("by_length", [None, length_of])


@pytest.fixture
def plan(monkeypatch, by_length) -> BatchPlan:
    """A plan of batches of four; windows have at most 48 trials."""
    monkeypatch.setattr(batching, "_WINDOW_TRIALS", 50)
    return BatchPlan(4, whole=by_length is not None)


@pytest.mark.parametrize("by_length", [length_of])
def test_each_trial_is_in_exactly_one_batch(plan, by_length):
    batches = indices(plan.batches(trials_of(NUM_TRIALS), by_length))
    assert sorted(chain.from_iterable(batches)) == list(range(NUM_TRIALS))


@pytest.mark.parametrize("by_length", [length_of])
def test_all_trials_of_a_batch_have_the_same_length(plan, by_length):
    for batch in plan.batches(trials_of(NUM_TRIALS), by_length):
        assert len({length_of(item) for item in batch}) == 1


@pytest.mark.parametrize("by_length", [length_of])
def test_173_trials_of_13_lengths_share_fewer_than_90_batches_of_at_most_four(plan, by_length):
    sizes = [len(batch) for batch in plan.batches(trials_of(NUM_TRIALS), by_length)]
    assert max(sizes) == 4
    assert len(sizes) < 90


@pytest.mark.parametrize("by_length", [None])
def test_without_lengths_each_batch_has_the_next_four_trials(plan):
    numbers = list(range(NUM_TRIALS))
    batches = indices(plan.batches(trials_of(NUM_TRIALS)))
    assert batches == [numbers[first : first + 4] for first in range(0, NUM_TRIALS, 4)]


@pytest.fixture(params=[2, 3])
def shares(request, plan, by_length):
    """The batches of each of two or three processes."""
    processes = [Processes(rank, request.param) for rank in range(request.param)]
    return [indices(plan.batches(trials_of(NUM_TRIALS), by_length, processes=process)) for process in processes]


@by_length_or_not
def test_each_batch_is_in_the_share_of_exactly_one_process(shares, plan, by_length):
    batches = indices(plan.batches(trials_of(NUM_TRIALS), by_length))
    assert sorted(chain.from_iterable(shares)) == sorted(batches)


@by_length_or_not
def test_no_process_gets_less_than_two_thirds_of_an_even_share_of_the_batches(shares):
    sizes = list(map(len, shares))
    assert min(sizes) > np.mean(sizes) / 1.5


@by_length_or_not
def test_a_batch_is_left_out_only_if_all_of_its_trials_are_done(plan, by_length):
    trials = trials_of(NUM_TRIALS)
    batches = indices(plan.batches(trials, by_length))
    done = {trials[i].id for i in chain.from_iterable(batches[:20])}
    assert indices(plan.batches(trials, by_length, done)) == batches[20:]
    done.remove(trials[batches[7][0]].id)
    assert sorted(indices(plan.batches(trials, by_length, done))) == sorted([batches[7], *batches[20:]])


@pytest.mark.parametrize("by_length", [length_of])
def test_lengths_of_trials_that_are_done_are_not_read(plan, by_length):
    """Unless one of the 48 trials planned together is to do: of 120 that are done, 96 fill two such groups."""
    trials = trials_of(NUM_TRIALS)
    requested = []

    def read_length(trial):
        requested.append(trial.id)
        return 7

    list(plan.batches(trials, read_length, {trial.id for trial in trials[:120]}))
    assert sorted(requested) == sorted(trial.id for trial in trials[96:])


@pytest.fixture
def shared_batches(monkeypatch):
    """A function that plans batches of at most 200 samples for trials of these lengths, and names their trials."""
    monkeypatch.setattr(batching, "ASVSPOOF_SAMPLES", 50)

    def plan(lengths):
        trials = [Trial(name, name) for name in lengths]
        batches = BatchPlan(4, whole=True).batches(trials, lambda trial: lengths[trial.id])
        return sorted("".join(item.id for item in batch) for batch in batches)

    return plan


def test_fewer_long_utterances_than_short_ones_share_a_batch(shared_batches):
    lengths = {"a": 100, "b": 100, "c": 100, "d": 40, "e": 40, "f": 40}
    assert shared_batches(lengths) == ["ab", "c", "def"]


def test_a_compressed_file_of_unknown_length_is_planned_with_four_samples_a_byte(shared_batches):
    """A negative number stands for its bytes: two of −25 have 200 samples, the most of a batch, and two of −26 have more."""
    assert shared_batches({"f": -26, "g": -26, "h": -25, "i": -25}) == ["f", "g", "hi"]


# Reading


def test_a_worker_gets_only_a_few_batches_at_a_time(utterances):
    told = []
    planned = (told.append(batch) or batch for batch in BatchPlan(2).batches(utterances * 20))
    read = iter(read_batches(planned, WaveformReader(8000), num_workers=1))
    for number in range(5):
        next(read)
        assert len(told) <= number + 4


def test_header_length_of_a_file_without_a_readable_header_is_minus_2_minus_its_bytes(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    assert header_length(WaveformReader(None))(Trial("a", tmp_path / "a.wav")) == -2 - len("no audio")


def test_header_length_of_a_missing_file_is_minus_1(tmp_path):
    assert header_length(WaveformReader(None))(Trial("b", tmp_path / "none.wav")) == -1


@pytest.fixture
def mixed_batch(tmp_path):
    """A batch of two files of one length, one of another, and three that cannot be read."""
    trials = [Trial(name, tmp_path / f"{name}.wav") for name in "abcde"] + [Trial("f", None)]
    for trial, length in zip(trials, (5000, 5000, 7000)):
        soundfile.write(trial.path, 0.1 * np.random.default_rng(1).standard_normal(length), 16000)
    trials[3].path.write_text("no audio")
    (batch,) = read_batches(BatchPlan(6).batches(trials), WaveformReader(None), num_workers=0)
    return batch


def test_a_batch_is_split_by_the_lengths_of_its_readable_files(mixed_batch):
    groups = [(group.ids, group.waveforms.shape) for group in mixed_batch.groups]
    assert groups == [(["a", "b"], (2, 5000)), (["c"], (1, 7000))]


def test_files_of_a_batch_that_cannot_be_read_are_its_failures(mixed_batch):
    assert list(mixed_batch.failures) == ["d", "e", "f"]


def test_header_length_of_an_mp3_is_minus_2_minus_its_bytes(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, np.zeros(24000), 48000)
    assert header_length(WaveformReader(None))(Trial("a", path)) == -2 - path.stat().st_size


def test_a_file_is_refused_if_it_is_cut_though_behind_the_head_that_is_scored(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(2).standard_normal((6 * 44100, 2)), 44100)
    path.write_bytes(path.read_bytes()[:-20000])
    with input_error():
        WaveformReader(20000).read(path)


def test_batches_have_the_same_scores_if_later_ones_are_started_before_the_first_is_waited_for(detector, utterances):
    """None, one or nine later ones, as on a GPU."""
    results = []
    for ahead in (0, 1, 9):
        read = read_batches(BatchPlan(5).batches(utterances), WaveformReader.of(detector, 8000), num_workers=0)
        results.append(list(batching.Compute(detector, batching.BatchPlan(5), Scores(), ahead=ahead)(read)))
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 3


def test_a_judgement_that_loses_a_row_gives_no_recording_the_value_of_another(detector, utterances):
    read = read_batches(BatchPlan(5).batches(utterances), WaveformReader.of(detector, 8000), num_workers=0)
    with pytest.raises(BrokenPart, match="the judgement: 4 rows for a batch of 5"):
        list(batching.Compute(detector, batching.BatchPlan(5), WithoutFirst())(read))


CPU = torch.device("cpu")
GPU = torch.device("cuda")


def test_by_default_a_batch_has_8_recordings_on_a_cpu_and_64_on_a_gpu():
    assert default_batch_size(CPU) == 8
    assert default_batch_size(GPU) == 64


@pytest.mark.parametrize(
    "device, batch_size, sizes",
    [
        (GPU, 64, {8, 16, 32, 64}),
        (GPU, 20, {8, 16, 20}),
        (CPU, 64, set(range(1, 65))),
    ],
)
def test_batches_are_filled_up_to_few_sizes_on_a_gpu_only(device, batch_size, sizes):
    """To powers of two from 8 on, and at most to a whole batch."""
    assert {choose_num_rows(device, count, batch_size) for count in range(1, batch_size + 1)} == sizes
