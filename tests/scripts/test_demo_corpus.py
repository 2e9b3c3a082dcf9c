"""The demonstration corpus: its parts on seconds of audio, and a small corpus."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from builders import PATIENCE
from conftest import REPOSITORY
from demo_corpus import build, channel, codecs, cues, layout, plan, recordings, synthesis, verification, voices

from nes2net import InputError
from nes2net.corpora import asvspoof2019_la, asvspoof2021_df, asvspoof2021_la, in_the_wild
from nes2net.evaluation import evaluate as evaluation

RATE = channel.RATE
SIZES = plan.Sizes(train=8, dev=8, evaluation=8, spoofs_in_training=0.25, spoofs_in_evaluation=0.125)


def speech_like(seconds: float, seed: int, pitch: float = 120.0) -> np.ndarray:
    """Syllables of a gliding buzz, noise and pauses, which every method can analyse."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    phase = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t + seed))) / RATE
    x = 0.002 * rng.standard_normal(len(t))
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        weight = 1 / (1 + ((frequency - 500 - 100 * seed % 300) / 200) ** 2) + 0.3 / (
            1 + ((frequency - 1800) / 300) ** 2
        )
        x += 0.2 * weight * np.sin(2 * np.pi * harmonic * phase)
    syllables = np.clip(1.3 * np.sin(2 * np.pi * 2.3 * t + rng.uniform(0, 6)), 0, 1)
    return x * syllables + 0.03 * rng.standard_normal(len(t)) * np.clip(-syllables + 0.2, 0, 1)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return channel.speech_only(speech_like(3.0, 0))


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE))


class TestChannel:
    def test_silence_is_cut(self):
        tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
        x = np.concatenate([silence(0.5), tone, silence(0.7), tone, silence(0.3)])
        cut = channel.speech_only(x)
        assert len(cut) / RATE == pytest.approx(2.1, abs=0.1)  # two tones and 100 ms, as the filter rings

    @pytest.mark.parametrize("x", [silence(1.0), silence(0.01), 1e-5 * np.ones(RATE)])
    def test_no_speech(self, x):
        assert len(channel.speech_only(x)) == 0

    def test_band(self):
        x = np.random.default_rng(0).standard_normal(4 * RATE)
        power = np.abs(np.fft.rfft(channel.band_pass(x))) ** 2
        frequencies = np.fft.rfftfreq(4 * RATE, 1 / RATE)
        inside = power[(frequencies > 110) & (frequencies < 6900)].mean()
        assert power[frequencies < 60].mean() < 1e-3 * inside
        assert power[frequencies > 7500].mean() < 1e-3 * inside

    def test_two_unlike_inputs_come_out_alike(self, speech):
        """Level, crest factor, dynamics and spectrum depend on the drawn channel, not the input."""
        rng = np.random.default_rng(1)
        unlike = np.sign(speech) * np.abs(speech) ** 1.8 + 0.02 * rng.standard_normal(len(speech))
        unlike = 5 * np.append(unlike[0], unlike[1:] - 0.7 * unlike[:-1])
        before = [cues.trivial_cues(x) for x in (speech, unlike)]
        after = [cues.trivial_cues(channel.match(x, channel.generator(0, "same"))) for x in (speech, unlike)]
        level, crest, kurtosis, deviation, bands = 0, 2, 8, 18, slice(28, 36)
        assert abs(before[0][level] - before[1][level]) > 4 and abs(before[0][kurtosis] - before[1][kurtosis]) > 0.3
        assert np.abs(before[0][bands] - before[1][bands]).mean() > 4
        for cue, tolerance in ((level, 0.1), (crest, 1.5), (kurtosis, 0.15), (deviation, 1.5)):
            assert abs(after[0][cue] - after[1][cue]) < tolerance
        assert np.abs(after[0][bands] - after[1][bands]).mean() < 1.5

    def test_length_level_and_ends(self, speech):
        y = channel.match(speech, channel.generator(0, "x"))
        assert len(y) == len(speech) - RATE // 10
        assert -32.01 < 20 * np.log10(np.sqrt(np.mean(y**2))) < -19.99
        assert y[0] == y[-1] == 0 and np.abs(y).max() < 1

    def test_each_clip_has_a_channel_of_its_own(self, speech):
        one, same, other = (
            channel.match(speech, channel.generator(*names)) for names in ((0, "a"), (0, "a"), (0, "b"))
        )
        np.testing.assert_array_equal(one, same)
        assert not np.allclose(one, other)

    def test_window(self):
        x = np.arange(1000.0)
        cut = channel.window(x, 300, np.random.default_rng(0))
        assert len(cut) == 300 and np.all(np.diff(cut) == 1)
        assert len(channel.window(x, 2000, np.random.default_rng(0))) == 1000


class TestCodecs:
    NAMES = sorted({*codecs.LA_CODECS, *codecs.DF_CODECS, *codecs.WILD_CODECS})

    @pytest.mark.parametrize("name", NAMES)
    def test_same_length_same_speech(self, speech, name):
        x = 0.5 * speech / np.abs(speech).max()
        y = codecs.transmit(x, name)
        assert len(y) == len(x)
        if name in ("none", "nocodec"):
            np.testing.assert_array_equal(x, y)
            return
        assert not np.allclose(x, y, atol=1e-4)  # it is lossy
        spectra = [20 * np.log10(channel.RATE**-0.5 + np.abs(np.fft.rfft(z))) for z in (x, y)]
        below_3_khz = slice(0, int(3000 * len(x) / RATE))
        assert np.corrcoef(spectra[0][below_3_khz], spectra[1][below_3_khz])[0, 1] > 0.6

    @pytest.mark.parametrize("name", ["alaw", "ulaw", "gsm"])
    def test_telephone_band(self, name):
        x = 0.1 * np.random.default_rng(0).standard_normal(RATE)
        power = np.abs(np.fft.rfft(codecs.transmit(x, name))) ** 2
        assert power[4200:].sum() < 1e-3 * power.sum()

    def test_names_are_those_of_the_keys(self):
        assert set(codecs.LA_CODECS) <= {"none", "alaw", "pstn", "g722", "ulaw", "gsm", "opus"}
        chains = {f"{low_high}_{name}" for low_high in ("low", "high") for name in ("mp3", "m4a", "ogg")}
        assert set(codecs.DF_CODECS) == {"nocodec", "mp3m4a", "oggm4a", *chains}


class TestSynthesis:
    @pytest.mark.slow
    @pytest.mark.parametrize("method", sorted(synthesis.METHODS))
    def test_spoofs_are_speech_of_the_same_length(self, speech, method, tmp_path):
        pytest.importorskip("pyworld", reason="pyworld is not installed")
        if method not in synthesis.available_methods():
            pytest.skip(f"{method} is not installed")
        speech = speech[: 3 * RATE // 2]
        part = "la" if synthesis.METHODS[method].unseen else "train"
        made = []
        for work in (tmp_path / "one", tmp_path / "same"):
            if method in voices.PACKAGES:
                synthesis.read_aloud(method, part, 2, work, 0)
            made.append(synthesis.spoof(method, speech, channel.generator(0, method), "en", part, work))
        one, same = made
        np.testing.assert_array_equal(one, same)
        assert len(one) >= len(speech) - RATE // 100
        assert np.isfinite(one).all() and np.sqrt(np.mean(one**2)) > 1e-3
        assert not np.allclose(one[: len(speech)], speech[: len(one)], atol=1e-3)
        if method in ("world", "griffin_lim", "lpc", "phase_vocoder"):  # copies, which keep the spectrum
            bands = [10 * np.log10(1e-9 + _band_powers(x) / np.sum(_band_powers(x))) for x in (speech, one)]
            assert np.abs(bands[0] - bands[1]).mean() < 5

    def test_no_sentence_is_read_in_two_parts(self):
        parts = {
            (language, part): set(synthesis.sentences(language, part))
            for language in ("en", "fr", "it", "ru")
            for part in (*synthesis.LEARNT, *synthesis.EVALUATION_PARTS)
        }
        read = {key: texts for key, texts in parts.items() if texts}
        assert len(read) == 4 * 2 + 3  # all languages to train and develop, English to evaluate
        assert sum(map(len, read.values())) == len(set().union(*read.values()))


def _band_powers(x: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(x, 8 * RATE)) ** 2
    return np.add.reduceat(power, [800, 2400, 4800, 8000, 14400, 22400])[:5]


def folder_of_voices(folder: Path, files: int = 20, speakers: int = 4) -> Path:
    """Fill a folder with recordings of several formats and rates, in one subfolder per speaker."""
    for speaker in range(speakers):
        for number in range(files):
            container, rate = [("wav", 16000), ("flac", 22050), ("ogg", 48000)][number % 3]
            x = speech_like(2.6 + 0.05 * number, 10 * speaker + number, 100 + 30 * speaker)
            path = folder / f"voice{speaker}" / f"{number:02d}.{container}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, soxr.resample(x, RATE, rate), rate)
    return folder


@pytest.fixture(scope="module")
def bonafide(tmp_path_factory) -> Path:
    return folder_of_voices(tmp_path_factory.mktemp("voices"))


@pytest.fixture(scope="module")
def built(bonafide, tmp_path_factory) -> Path:
    pytest.importorskip("pyworld", reason="pyworld is not installed")
    out = tmp_path_factory.mktemp("built") / "corpus"
    build.build(out, bonafide, jobs=1, seed=0, sizes=SIZES)
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.slow
class TestCorpus:
    def test_layout_is_the_published_one(self, built):
        methods = synthesis.available_methods()
        seen = {synthesis.METHODS[m].attack for m in methods if not synthesis.METHODS[m].unseen}
        every = {synthesis.METHODS[m].attack for m in methods}
        for split in ("train", "dev"):
            trials = asvspoof2019_la.CORPUS.trials(built, split)
            assert sum(t.label == "bonafide" for t in trials) == 8
            assert {t.attack for t in trials if t.label == "spoof"} == seen
            assert all(t.id.startswith(f"LA_{split[0].upper()}_1") for t in trials)
            check_audio(trials)
        tracks = (("LA", asvspoof2021_la.CORPUS, codecs.LA_CODECS), ("DF", asvspoof2021_df.CORPUS, codecs.DF_CODECS))
        for track, corpus, names in tracks:
            trials, keys = corpus.trials(built), corpus.keys(built / "keys")
            assert [t.id for t in trials] == [t.id for t in keys]
            assert all(t.id.startswith(f"{track}_E_") for t in trials)
            assert {t.attack for t in keys if t.label == "spoof"} == every
            assert {t.codec for t in keys} <= set(names)
            assert {t.phase for t in keys} <= {"eval", "progress"}
            check_audio(trials)
        wild = in_the_wild.CORPUS.trials(built)
        assert {t.label for t in wild} == {"bonafide", "spoof"}
        assert sorted(int(t.id) for t in wild) == list(range(len(wild)))
        check_audio(wild)

    def test_evaluation_speakers_are_kept_apart(self, built):
        learnt = {t.speaker for split in ("train", "dev") for t in asvspoof2019_la.CORPUS.trials(built, split)}
        keys = [*asvspoof2021_la.CORPUS.keys(built / "keys"), *asvspoof2021_df.CORPUS.keys(built / "keys")]
        assert learnt and not learnt & {t.speaker for t in [*keys, *in_the_wild.CORPUS.trials(built)]}

    def test_min_tdcf_can_be_computed(self, built, tmp_path):
        target, nontarget, spoof = asvspoof2021_la.asv_scores(built / "keys")
        assert len(target) and len(nontarget) and len(spoof)
        assert np.abs(np.concatenate([target, nontarget, spoof])).max() <= 1  # cosines
        assert target.mean() > nontarget.mean()
        rng = np.random.default_rng(0)
        keys = asvspoof2021_la.CORPUS.keys(built / "keys")
        (tmp_path / "scores.txt").write_text("".join(f"{t.id} {rng.normal() + 2 * t.target}\n" for t in keys))
        result = evaluation.evaluate("asvspoof2021_la", tmp_path / "scores.txt", built / "keys")
        assert 0 < result.min_tdcf <= 1

    def test_readme_names_the_attacks_and_calls_the_corpus_a_toy(self, built):
        text = (built / "README.md").read_text()
        for trial in asvspoof2021_la.CORPUS.keys(built / "keys"):
            assert trial.label == "bonafide" or f"| {trial.attack} |" in text
        assert "toy" in text

    def test_second_call_returns_at_once(self, built, bonafide, monkeypatch, capsys):
        monkeypatch.setattr(build, "Workers", None)  # no clip is made
        before = contents(built)
        eers = build.build(built, bonafide, jobs=1, seed=0, sizes=SIZES)
        assert "complete already" in capsys.readouterr().out
        assert 0 <= eers["dev"] <= 100 and 0 <= eers["eval"] <= 100
        assert contents(built) == before

    def test_interrupted_build_continues_to_the_same_corpus(self, built, bonafide, tmp_path, monkeypatch):
        """Two processes make the same corpus as one, and a lost file is made again."""
        out, made, real = tmp_path / "corpus", [], build.render

        def render(clip, human, work, seed):
            if len(made) == 10:
                raise KeyboardInterrupt
            made.append(clip.id)
            return real(clip, human, work, seed)

        monkeypatch.setattr(build, "render", render)
        with pytest.raises(KeyboardInterrupt):
            build.build(out, bonafide, jobs=1, seed=0, sizes=SIZES)
        monkeypatch.undo()
        kept = {p: p.stat().st_mtime_ns for p in out.rglob("*.flac")}
        assert len(kept) == 10
        build.build(out, bonafide, jobs=2, seed=0, sizes=SIZES)
        assert kept == {p: p.stat().st_mtime_ns for p in kept}
        assert contents(out) == contents(built)
        lost = min(out.glob("ASVspoof2021_DF_eval/flac/*"))
        lost.unlink()
        build.build(out, bonafide, jobs=1, seed=0, sizes=SIZES)
        assert contents(out) == contents(built)

    def test_two_interrupts_end_the_build(self, bonafide, tmp_path):
        pytest.importorskip("pyworld", reason="pyworld is not installed")
        command = [sys.executable, REPOSITORY / "scripts/demo_corpus", "--out", tmp_path / "o", "--bonafide", bonafide]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not any(tmp_path.glob("o/*/flac/*.flac")):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=PATIENCE)
            finally:
                process.kill()
        assert process.returncode == 130
        assert "the same command continues" in said
        assert not [p for p in tmp_path.glob("o/*/flac/*") if p.name.startswith(".")]


def check_audio(trials):
    for trial in trials:
        info = soundfile.info(trial.path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        assert 1.0 <= info.duration <= 5.5
    assert {t.path for t in trials} == set(trials[0].path.parent.glob("*" + trials[0].path.suffix))


def recording(number: int) -> recordings.Recording:
    role = "eval" if number < 156 * 3 + 50 else "train"
    speaker = f"LA_{number % 2 + (1 if role == 'train' else 3):04d}"
    return recordings.Recording(f"r{number}", Path("r.wav"), speaker, "en", role, 0.0, 3.0)


@pytest.fixture(scope="module")
def shared_out() -> plan.Split:
    return plan.split([recording(i) for i in range(156 * 3 + 200)], plan.Sizes(), seed=0)


@pytest.fixture(scope="module")
def planned(shared_out) -> list[plan.Clip]:
    return plan.clips(shared_out, list(synthesis.METHODS), plan.Sizes(), seed=0)


class TestPlan:
    @pytest.mark.parametrize("part", synthesis.EVALUATION_PARTS)
    def test_codecs_are_as_frequent_in_both_classes(self, planned, part):
        human, spoof = ([c.codec for c in planned if c.part == part and c.is_human is h] for h in (True, False))
        for codec in set(human):
            assert human.count(codec) / len(human) == pytest.approx(spoof.count(codec) / len(spoof), abs=0.01)

    def test_ids_are_unique_and_no_recording_is_in_two_parts(self, shared_out, planned):
        assert len({(c.part, c.id) for c in planned}) == len(planned)
        keys = [r.key for part in shared_out.parts.values() for r in part]
        enrolled = {r.key for r in shared_out.enrolment if r.role == "eval"}
        assert len(keys) == len(set(keys)) and not enrolled & set(keys)

    def test_unseen_methods_are_not_trained_on(self, planned):
        for clip in planned:
            assert clip.is_human or not synthesis.METHODS[clip.method].unseen or clip.part in synthesis.EVALUATION_PARTS


class TestOwnRecordings:
    def test_speakers_are_subfolders(self, tmp_path):
        found = recordings.own_recordings(folder_of_voices(tmp_path, 3, 4), seed=0)
        by_voice = {r.path.parent.name: (r.speaker, r.role) for r in found}
        assert len(set(by_voice.values())) == 4 == len(by_voice)
        assert {role for _, role in by_voice.values()} == {"train", "eval"}

    def test_speakers_are_groups_of_names(self, tmp_path):
        for name in ("anna_1", "anna_2", "bert1", "bert 2", "carl-7"):
            soundfile.write(tmp_path / f"{name}.wav", speech_like(1.6, 0), RATE)
        groups = {r.path.stem: r.speaker for r in recordings.own_recordings(tmp_path, seed=0)}
        assert groups["anna_1"] == groups["anna_2"] != groups["bert1"] == groups["bert 2"] != groups["carl-7"]

    def test_two_speakers_cannot_be_kept_apart(self, tmp_path):
        assert {r.role for r in recordings.own_recordings(folder_of_voices(tmp_path, 3, 2), seed=0)} == {"any"}

    def test_long_recordings_come_in_pieces(self, tmp_path):
        x = 0.3 * speech_like(14.0, 0)
        soundfile.write(tmp_path / "long.wav", x, RATE)
        pieces = recordings.own_recordings(tmp_path, seed=0)
        assert [round(p.stop - p.start, 2) for p in pieces] == [3.5] * 4
        read = np.concatenate([recordings.read(p.path, p.start, p.stop) for p in pieces])
        np.testing.assert_allclose(read, x, atol=1e-4)

    def test_a_format_that_only_ffmpeg_reads(self, tmp_path):
        x = 0.3 * speech_like(2.0, 0)
        path = tmp_path / "voice.m4a"
        path.write_bytes(codecs._encode(x, RATE, codecs._CODECS["high_m4a"]).getvalue())
        read = recordings.read(path, 0.5, 1.5)
        assert len(read) == RATE
        assert np.corrcoef(read, x[RATE // 2 : RATE // 2 + RATE])[0, 1] > 0.95


class TestErrors:
    """An error is one line that names the remedy, and exit status 2."""

    @pytest.fixture
    def failing(self, tmp_path, capsys):
        pytest.importorskip("pyworld", reason="pyworld is not installed")

        def failing(*arguments, out="o") -> str:
            assert build.main([str(a) for a in ("--out", tmp_path / out, *arguments)]) == 2
            return capsys.readouterr().err.strip().splitlines()[-1]

        return failing

    def test_wrong_folders(self, failing, tmp_path):
        given = tmp_path / "in"
        assert "no such folder" in failing("--bonafide", given)
        given.mkdir()
        assert "no audio in it" in failing("--bonafide", given)
        (given / "broken.wav").write_text("no audio")
        line = failing("--bonafide", given)
        assert "broken.wav" in line and "take the file away" in line
        (given / "broken.wav").unlink()
        line = failing("--bonafide", folder_of_voices(given, 2, 3), "--jobs", 1)
        assert "too little human speech" in line and "are needed" in line
        (tmp_path / "letter").mkdir()
        (tmp_path / "letter" / "letter.txt").write_text("Dear")
        assert "is not a demonstration corpus" in failing("--bonafide", given, out="letter")

    @pytest.mark.slow
    def test_another_seed(self, built, bonafide):
        with pytest.raises(InputError, match="another seed"):
            build.build(built, bonafide, jobs=1, seed=1, sizes=SIZES)

    def test_no_prompts(self, failing, tmp_path, monkeypatch):
        monkeypatch.setattr(recordings, "PROMPTS", tmp_path)
        line = failing()
        assert "asterisk-core-sounds-en-g722" in line and "--bonafide DIR" in line

    def test_no_pyworld(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyworld", None)
        synthesis._pyworld.cache_clear()
        with pytest.raises(InputError, match=r"pip install .*\[demo\]"):
            synthesis.available_methods()
        synthesis._pyworld.cache_clear()

    def test_without_synthesisers(self, monkeypatch, capsys):
        pytest.importorskip("pyworld", reason="pyworld is not installed")
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(voices, "installed", lambda method: False)
        methods = synthesis.available_methods()
        assert methods == ["world", "griffin_lim", "lpc", "phase_vocoder"]
        build._say_what_is_used(Path("mine"), methods)
        said = capsys.readouterr().out
        assert "espeak-ng, flite, hibari" in said and "made without" in said


def trial_line(part: str, name: str, label: str) -> str:
    return {
        "LA": f"s {name} none loc_tx A01 {label} notrim eval",
        "DF": f"s {name} nocodec asvspoof A01 {label} notrim eval x - - - -",
        "wild": f"{name}.wav,s,{label.replace('bonafide', 'bona-fide')}",
    }.get(part, f"s {name} - A01 {label}")


def test_cues_find_a_trivial_difference(tmp_path):
    """The check finds an uneven level, so a high EER means that there is no such cue."""
    rng = np.random.default_rng(0)
    folders = {"train": "ASVspoof2019_LA_train/flac", "dev": "ASVspoof2019_LA_dev/flac", "wild": "release_in_the_wild"}
    rows = {}
    for part in ("train", "dev", "LA", "DF", "wild"):
        names = [f"{part}{number}" for number in range(40)]
        rows[part] = [trial_line(part, name, ("bonafide", "spoof")[i % 2]) for i, name in enumerate(names)]
        for number, name in enumerate(names):
            level = 0.05 * (1 + number % 2) * rng.uniform(0.9, 1.1)
            folder = tmp_path / folders.get(part, f"ASVspoof2021_{part}_eval/flac")
            path = folder / f"{name}.{'wav' if part == 'wild' else 'flac'}"
            layout.write_audio(path, level * rng.standard_normal(RATE // 2))
    files = {
        "ASVspoof_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt": rows["train"],
        "ASVspoof_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt": rows["dev"],
        "ASVspoof_LA_cm_protocols/ASVspoof2021.LA.cm.eval.trl.txt": [row.split()[1] for row in rows["LA"]],
        "ASVspoof_DF_cm_protocols/ASVspoof2021.DF.cm.eval.trl.txt": [row.split()[1] for row in rows["DF"]],
        "keys/LA/CM/trial_metadata.txt": rows["LA"],
        "keys/DF/CM/trial_metadata.txt": rows["DF"],
        "release_in_the_wild/meta.csv": ["file,speaker,label", *rows["wild"]],
    }
    for name, lines in files.items():
        layout.write_text(tmp_path / name, "\n".join(lines) + "\n")
    eers = cues.trivial_cue_eer(tmp_path)
    assert eers["dev"] < 5 and eers["eval"] < 5


def test_one_speaker_alone_has_no_nontarget_trials():
    rows = np.random.default_rng(0).standard_normal((5, 60))
    assert verification.score_trials(rows, {"LA_0001": rows}, [], rows[:0]) == []
