"""The demonstration corpus: its parts on seconds of audio, and a small corpus."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import tiny_corpus
from builders.demonstration import RATE, SIZES, contents, folder_of_voices, recording
from builders.voices import voice
from demonstration import build, channel, codecs, cues, plan, recordings, synthesis

from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_df, asvspoof2021_la, in_the_wild

CODECS = {*codecs.LA_CODECS, *codecs.DF_CODECS, *codecs.WILD_CODECS} - {"none", "nocodec"}


@pytest.mark.parametrize("name", sorted(CODECS))
def test_a_codec_keeps_the_length_and_roughly_the_spectrum_but_changes_the_samples(name):
    speech = channel.speech_only(voice(0, 3.0))
    x = 0.5 * speech / np.abs(speech).max()
    y = codecs.transmit(x, name)
    assert len(y) == len(x)
    assert not np.allclose(x, y, atol=1e-4)
    first, second = (20 * np.log10(RATE**-0.5 + np.abs(np.fft.rfft(z)))[: 3000 * len(x) // RATE] for z in (x, y))
    assert np.corrcoef(first, second)[0, 1] > 0.6


def test_no_sentence_is_read_in_two_parts_of_the_corpus():
    parts = (*synthesis.LEARNT, *synthesis.EVALUATION_PARTS)
    sentence_sets = [set(synthesis.sentences(*key)) for key in itertools.product(("en", "fr", "it", "ru"), parts)]
    assert sum(map(len, sentence_sets)) == len(set().union(*sentence_sets)) > 0


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    folder = tmp_path_factory.mktemp("built")
    voices = folder_of_voices(folder / "voices")
    build.build(folder / "corpus", voices, jobs=1, seed=0, sizes=SIZES)
    return folder / "corpus"


def methods():
    return [synthesis.METHODS[name] for name in synthesis.available_methods()]


@pytest.mark.slow
def test_train_and_dev_have_the_layout_of_asvspoof_2019_la_and_all_seen_attacks(built):
    seen_attacks = {m.attack for m in methods() if not m.unseen}
    for split in ("train", "dev"):
        trials = asvspoof2019_la.CORPUS.trials(built, split)
        assert sum(t.label == "bonafide" for t in trials) == 8
        assert {t.attack for t in trials if t.label == "spoof"} == seen_attacks
        check_audio(trials, f"LA_{split[0].upper()}_1")


@pytest.mark.slow
def test_the_evaluation_parts_have_the_layouts_of_asvspoof_2021_la_and_df_and_every_attack(built):
    tracks = (("LA", asvspoof2021_la.CORPUS, codecs.LA_CODECS), ("DF", asvspoof2021_df.CORPUS, codecs.DF_CODECS))
    for track, corpus, names in tracks:
        trials = corpus.trials(built)
        keys = corpus.keys(built / "keys")
        assert [t.id for t in trials] == [t.id for t in keys]
        assert {t.attack for t in keys if t.label == "spoof"} == {m.attack for m in methods()}
        assert {t.codec for t in keys} <= set(names)
        assert {t.phase for t in keys} <= {"eval", "progress"}
        check_audio(trials, f"{track}_E_")


@pytest.mark.slow
def test_the_part_in_the_wild_has_the_layout_of_in_the_wild(built):
    wild = in_the_wild.CORPUS.trials(built)
    assert {t.label for t in wild} == {"bonafide", "spoof"}
    assert sorted(int(t.id) for t in wild) == list(range(len(wild)))
    check_audio(wild)


@pytest.mark.slow
def test_an_interrupted_build_continued_by_two_processes_part_by_part_gives_the_corpus_of_an_uninterrupted_one(
    built, tmp_path, monkeypatch
):
    out = tmp_path / "corpus"
    bonafide = built.parent / "voices"
    rendered = []
    real = build.render

    def render(clip, human, work, seed):
        if len(rendered) == 10:
            raise KeyboardInterrupt
        rendered.append(clip.id)
        return real(clip, human, work, seed)

    monkeypatch.setattr(build, "render", render)
    with pytest.raises(KeyboardInterrupt):
        build.build(out, bonafide, jobs=1, seed=0, sizes=SIZES)
    monkeypatch.undo()
    times_before = {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
    assert len(times_before) == 10
    build.build(out, bonafide, jobs=2, seed=0, sizes=SIZES, learning_only=True)
    for split in ("train", "dev"):
        check_audio(asvspoof2019_la.CORPUS.trials(out, split))
    assert not list(out.glob("ASVspoof2021*"))
    build.build(out, bonafide, jobs=2, seed=0, sizes=SIZES)
    assert times_before == {p: p.stat().st_mtime_ns for p in times_before}
    assert contents(out) == contents(built)


@pytest.mark.slow
def test_evaluation_speakers_are_in_neither_train_nor_dev(built):
    learnt = {t.speaker for split in ("train", "dev") for t in asvspoof2019_la.CORPUS.trials(built, split)}
    evaluated = [*in_the_wild.CORPUS.trials(built), *asvspoof2021_la.CORPUS.keys(built / "keys")]
    evaluated += asvspoof2021_df.CORPUS.keys(built / "keys")
    assert learnt
    assert not learnt & {t.speaker for t in evaluated}


def check_audio(trials, prefix=""):
    for trial in trials:
        info = soundfile.info(trial.path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert 1.0 <= info.duration <= 5.5
        assert trial.id.startswith(prefix)
    assert {t.path for t in trials} == set(trials[0].path.parent.glob("*" + trials[0].path.suffix))


@pytest.fixture(scope="module")
def split():
    return plan.split([recording(i) for i in range(156 * 3 + 200)], plan.Sizes(), seed=0)


@pytest.fixture(scope="module")
def planned(split):
    return plan.clips(split, list(synthesis.METHODS), plan.Sizes(), seed=0)


def test_the_recordings_of_a_part_of_the_corpus_have_different_names(planned):
    assert len({(c.part_name, c.id) for c in planned}) == len(planned)


@pytest.fixture(scope="module")
def keys(split):
    """The key of each recording of each part."""
    return [r.key for split_recordings in split.recordings_by_part.values() for r in split_recordings]


def test_no_recording_is_in_two_parts_of_the_corpus(keys):
    assert len(keys) == len(set(keys))


def test_no_recording_of_a_part_is_also_an_enrolment_recording_of_an_evaluation_speaker(split, keys):
    enrolled = {r.key for r in split.enrolment if r.role == "eval"}
    assert not enrolled & set(keys)


def test_unseen_spoofing_methods_are_only_in_evaluation_parts(planned):
    unseen = [clip for clip in planned if not clip.is_human and synthesis.METHODS[clip.method].unseen]
    assert unseen
    assert {clip.part_name for clip in unseen} <= set(synthesis.EVALUATION_PARTS)


def test_codecs_of_the_evaluation_are_equally_frequent_in_both_classes(planned):
    for part_name in synthesis.EVALUATION_PARTS:
        clips = [clip for clip in planned if clip.part_name == part_name]
        human = [clip.codec for clip in clips if clip.is_human]
        spoof = [clip.codec for clip in clips if not clip.is_human]
        for codec in set(human):
            assert human.count(codec) / len(human) == pytest.approx(spoof.count(codec) / len(spoof), abs=0.01)


def test_each_folder_of_a_users_recordings_counts_as_one_speaker(tmp_path):
    voices = recordings.own_recordings(folder_of_voices(tmp_path, 3, 4), seed=0)
    pairs = {(r.path.parent.name, r.speaker) for r in voices}
    assert len(pairs) == len({speaker for _, speaker in pairs}) == 4


@pytest.mark.parametrize("num_speakers, roles", [(4, {"train", "eval"}), (2, {"any"})])
def test_some_of_four_speakers_but_none_of_two_are_reserved_for_evaluation(tmp_path, num_speakers, roles):
    voices = recordings.own_recordings(folder_of_voices(tmp_path, 3, num_speakers), seed=0)
    assert {r.role for r in voices} == roles


@pytest.mark.slow
def test_noise_that_only_one_class_has_gives_a_detector_of_trivial_cues_an_eer_below_5_percent(tmp_path):
    eers = cues.trivial_cue_eer(tiny_corpus.make(tmp_path, per_class=20))
    assert eers["dev"] < 5
    assert eers["eval"] < 5
