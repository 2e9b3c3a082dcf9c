"""The demonstration corpus: its parts on seconds of audio, and a small corpus."""

import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import input_error, tiny_corpus
from builders.demonstration import RATE, SIZES, contents, folder_of_voices, recording, speech_like
from builders.files import write
from demonstration import build, channel, codecs, cues, plan, recordings, synthesis, voices

from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_df, asvspoof2021_la, in_the_wild


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return channel.speech_only(speech_like(3.0, 0))


WITHOUT_A_CODEC = {"none", "nocodec"}


@pytest.mark.parametrize("name", sorted(WITHOUT_A_CODEC))
def test_without_a_codec_a_recording_stays_the_same(speech, name):
    np.testing.assert_array_equal(codecs.transmit(speech, name), speech)


@pytest.mark.parametrize("name", sorted({*codecs.LA_CODECS, *codecs.DF_CODECS, *codecs.WILD_CODECS} - WITHOUT_A_CODEC))
def test_a_codec_keeps_length_and_spectrum_but_is_lossy(speech, name):
    x = 0.5 * speech / np.abs(speech).max()
    y = codecs.transmit(x, name)
    assert len(y) == len(x)
    assert not np.allclose(x, y, atol=1e-4)
    first, second = (20 * np.log10(RATE**-0.5 + np.abs(np.fft.rfft(z)))[: 3000 * len(x) // RATE] for z in (x, y))
    assert np.corrcoef(first, second)[0, 1] > 0.6


@pytest.mark.parametrize("name", ["alaw", "ulaw", "gsm"])
def test_a_telephone_codec_keeps_the_band_of_a_telephone(name):
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    power = np.abs(np.fft.rfft(codecs.transmit(noise, name))) ** 2
    assert power[4200:].sum() < 1e-3 * power.sum()


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(synthesis.METHODS))
def test_spoofs_are_speech_of_the_same_length(speech, method, tmp_path):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    if method not in synthesis.available_methods():
        pytest.skip(f"{method} is not installed")
    speech = speech[: 3 * RATE // 2]
    split = "la" if synthesis.METHODS[method].unseen else "train"
    spoofs = []
    for work in (tmp_path / "one", tmp_path / "same"):
        if method in voices.PACKAGES:
            synthesis.read_aloud(method, split, synthesis.sentences("en", split)[:2], work, 0)
        spoofs.append(synthesis.spoof(method, speech, channel.generator(0, method), "en", split, work))
    first, second = spoofs
    np.testing.assert_array_equal(first, second)
    assert len(first) >= len(speech) - RATE // 100
    assert np.sqrt(np.mean(first**2)) > 1e-3
    assert not np.allclose(first[: len(speech)], speech[: len(first)], atol=1e-3)


def test_no_sentence_is_read_in_two_parts():
    parts = (*synthesis.LEARNT, *synthesis.EVALUATION_PARTS)
    sentence_sets = [set(synthesis.sentences(*key)) for key in itertools.product(("en", "fr", "it", "ru"), parts)]
    assert sum(map(bool, sentence_sets)) == 4 * 2 + 3  # all languages to train and develop, English to evaluate
    assert sum(map(len, sentence_sets)) == len(set().union(*sentence_sets))


@pytest.fixture(scope="module")
def built(bonafide, tmp_path_factory) -> Path:
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    out = tmp_path_factory.mktemp("built") / "corpus"
    build.build(out, bonafide, jobs=1, seed=0, sizes=SIZES)
    return out


def methods():
    return [synthesis.METHODS[name] for name in synthesis.available_methods()]


@pytest.mark.slow
class TestCorpus:
    def test_the_parts_to_learn_from_have_the_layout_of_2019_la_and_the_seen_attacks(self, built):
        seen_attacks = {m.attack for m in methods() if not m.unseen}
        for split in ("train", "dev"):
            trials = asvspoof2019_la.CORPUS.trials(built, split)
            assert sum(t.label == "bonafide" for t in trials) == 8
            assert {t.attack for t in trials if t.label == "spoof"} == seen_attacks
            check_audio(trials, f"LA_{split[0].upper()}_1")

    def test_the_parts_to_evaluate_have_the_layout_of_2021_and_every_attack(self, built):
        tracks = (("LA", asvspoof2021_la.CORPUS, codecs.LA_CODECS), ("DF", asvspoof2021_df.CORPUS, codecs.DF_CODECS))
        for track, corpus, names in tracks:
            trials = corpus.trials(built)
            keys = corpus.keys(built / "keys")
            assert [t.id for t in trials] == [t.id for t in keys]
            assert {t.attack for t in keys if t.label == "spoof"} == {m.attack for m in methods()}
            assert {t.codec for t in keys} <= set(names)
            assert {t.phase for t in keys} <= {"eval", "progress"}
            check_audio(trials, f"{track}_E_")

    def test_the_part_in_the_wild_has_the_layout_of_in_the_wild(self, built):
        wild = in_the_wild.CORPUS.trials(built)
        assert {t.label for t in wild} == {"bonafide", "spoof"}
        assert sorted(int(t.id) for t in wild) == list(range(len(wild)))
        check_audio(wild)

    def test_evaluation_speakers_are_kept_apart(self, built):
        learnt = {t.speaker for split in ("train", "dev") for t in asvspoof2019_la.CORPUS.trials(built, split)}
        evaluated = [*in_the_wild.CORPUS.trials(built), *asvspoof2021_la.CORPUS.keys(built / "keys")]
        evaluated += asvspoof2021_df.CORPUS.keys(built / "keys")
        assert learnt
        assert not learnt & {t.speaker for t in evaluated}

    def test_scores_of_speaker_verification_prefer_the_speaker(self, built):
        target, nontarget, spoof = asvspoof2021_la.asv_scores(built / "keys")
        assert len(spoof)
        assert 1 >= target.mean() > nontarget.mean() >= -1

    def test_the_readme_of_the_corpus_names_every_attack(self, built):
        text = (built / "README.md").read_text()
        assert all(f"| {attack} |" in text for attack in {m.attack for m in methods()})

    def test_an_interrupted_build_continues_with_two_processes_to_the_same_corpus(
        self, built, bonafide, tmp_path, monkeypatch
    ):
        out = tmp_path / "corpus"
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
        build.build(out, bonafide, jobs=2, seed=0, sizes=SIZES)
        assert times_before == {p: p.stat().st_mtime_ns for p in times_before}
        assert contents(out) == contents(built)

    def test_a_lost_file_is_made_again(self, built, bonafide):
        before = contents(built)
        min(built.glob("ASVspoof2021_DF_eval/flac/*")).unlink()
        build.build(built, bonafide, jobs=1, seed=0, sizes=SIZES)
        assert contents(built) == before

    def test_a_complete_corpus_is_left_alone(self, built, bonafide, monkeypatch, capsys):
        monkeypatch.setattr(build, "Workers", None)  # no clip is made
        eers = build.build(built, bonafide, jobs=1, seed=0, sizes=SIZES)
        assert "complete already" in capsys.readouterr().out
        assert 0 <= eers["dev"] <= 100
        assert 0 <= eers["eval"] <= 100

    def test_a_corpus_of_another_seed_is_refused(self, built, bonafide):
        with input_error("another seed"):
            build.build(built, bonafide, jobs=1, seed=1, sizes=SIZES)


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


def test_no_recording_is_in_two_parts(split, planned):
    assert len({(c.part_name, c.id) for c in planned}) == len(planned)
    keys = [r.key for split_recordings in split.recordings_by_part.values() for r in split_recordings]
    enrolled = {r.key for r in split.enrolment if r.role == "eval"}
    assert len(keys) == len(set(keys))
    assert not enrolled & set(keys)


def test_unseen_methods_are_only_in_the_evaluation(planned):
    unseen = [clip for clip in planned if not clip.is_human and synthesis.METHODS[clip.method].unseen]
    assert {clip.part_name for clip in unseen} <= set(synthesis.EVALUATION_PARTS)


def test_codecs_are_as_frequent_in_both_classes(planned):
    for part_name in synthesis.EVALUATION_PARTS:
        clips = [clip for clip in planned if clip.part_name == part_name]
        human = [clip.codec for clip in clips if clip.is_human]
        spoof = [clip.codec for clip in clips if not clip.is_human]
        for codec in set(human):
            assert human.count(codec) / len(human) == pytest.approx(spoof.count(codec) / len(spoof), abs=0.01)


def test_speakers_of_own_recordings_are_named_by_folder_and_some_kept_apart(tmp_path):
    """With two speakers, none is kept apart for evaluation."""
    voices = recordings.own_recordings(folder_of_voices(tmp_path / "four", 3, 4), seed=0)
    by_voice = {r.path.parent.name: (r.speaker, r.role) for r in voices}
    assert len(set(by_voice.values())) == 4 == len(by_voice)
    assert {role for _, role in by_voice.values()} == {"train", "eval"}
    assert {r.role for r in recordings.own_recordings(folder_of_voices(tmp_path / "two", 3, 2), seed=0)} == {"any"}


def test_speakers_of_own_recordings_in_one_folder_are_named_by_file(tmp_path):
    for name in ("anna_1", "anna_2", "bert1", "bert 2", "carl-7"):
        soundfile.write(tmp_path / f"{name}.wav", speech_like(1.6, 0), RATE)
    groups = {r.path.stem: r.speaker for r in recordings.own_recordings(tmp_path, seed=0)}
    assert groups["anna_1"] == groups["anna_2"] != groups["bert1"] == groups["bert 2"] != groups["carl-7"]


def test_long_recordings_are_cut_into_pieces(tmp_path):
    x = 0.3 * speech_like(14.0, 0)
    soundfile.write(tmp_path / "long.wav", x, RATE)
    pieces = recordings.own_recordings(tmp_path, seed=0)
    assert [round(p.stop - p.start, 2) for p in pieces] == [3.5] * 4
    read = np.concatenate([recordings.read(p.path, p.start, p.stop) for p in pieces])
    np.testing.assert_allclose(read, x, atol=1e-4)


def test_ffmpeg_reads_a_piece_of_what_libsndfile_does_not(tmp_path):
    x = 0.3 * speech_like(14.0, 0)
    (tmp_path / "voice.m4a").write_bytes(codecs._encode(x, RATE, codecs._CODECS["high_m4a"]).getvalue())
    read = recordings.read(tmp_path / "voice.m4a", 0.5, 1.5)
    assert len(read) == RATE
    assert np.corrcoef(read, x[RATE // 2 : RATE // 2 + RATE])[0, 1] > 0.95


def test_errors_of_the_build_are_one_line_that_names_the_remedy(tmp_path, capsys, monkeypatch):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "broken" / "broken.wav", "no audio")
    write(tmp_path / "letter" / "letter.txt", "Dear")
    folder_of_voices(tmp_path / "few", 2, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recordings, "PROMPTS", tmp_path)
    for words, *messages in (
        ("o --bonafide nowhere", "no such folder"),
        ("o --bonafide empty", "no audio in it"),
        ("o --bonafide broken", "broken.wav", "take the file away"),
        ("o --bonafide few --jobs 1", "too little human speech", "are needed"),
        ("letter --bonafide few", "is not a demonstration corpus"),
        ("p", "asterisk-core-sounds-en-g722", "--bonafide DIR"),
        ("p --partial --bonafide nowhere", "no such folder"),
    ):
        assert build.main(f"--out {words}".split()) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert all(message in line for message in messages), line


def test_the_corpus_is_made_without_missing_synthesisers(monkeypatch, capsys):
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(voices, "installed", lambda method: False)
    methods = synthesis.available_methods()
    assert methods == ["world", "griffin_lim", "lpc", "phase_vocoder"]
    synthesis.say_what_is_missing(methods)
    printed = capsys.readouterr().out
    assert "espeak-ng, flite, hibari" in printed
    assert "made without" in printed


def test_without_pyworld_its_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    synthesis._pyworld.cache_clear()
    with input_error(r"pip install .*\[demo\]"):
        synthesis.available_methods()
    synthesis._pyworld.cache_clear()


def test_the_check_of_cues_finds_an_uneven_noise(tmp_path):
    """So a high EER means that there is no such cue."""
    eers = cues.trivial_cue_eer(tiny_corpus.make(tmp_path, per_class=20))
    assert eers["dev"] < 5
    assert eers["eval"] < 5
