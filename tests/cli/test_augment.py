"""`nes2net augment`: the augmented waveform of training, as a file and as a picture."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import noise_folders
from matplotlib.image import imread

from nes2net.audio.files import recordings_below
from nes2net.augment import NoiseAugmentation, RawBoostParameters, Sources
from nes2net.augment.rawboost import RawBoost
from nes2net.augment.timing import DrawnSpeed
from nes2net.cli.main import main
from nes2net.corpora import asvspoof2019_la
from nes2net.registry import create_condition
from nes2net.training.dataset import Examples, TrainingSet
from nes2net.training.preview import spectrogram_db


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    return {"musan": str(noise_folders.make_musan(root)), "rir": str(noise_folders.make_rirs(root))}


def written(folder):
    (path,) = folder.glob("*.wav")
    waveform, sample_rate = soundfile.read(path, dtype="float32")
    assert sample_rate == 16000 and soundfile.info(path).subtype == "FLOAT"
    return waveform


def test_the_waveform_is_that_of_training(corpus, folders, tmp_path, capsys):
    trials = asvspoof2019_la.CORPUS.trials(corpus, "train")
    noise = NoiseAugmentation(**folders)
    sources = Sources(folders["musan"], speech=recordings_below(Path(folders["musan"], "speech")))
    conditions = [create_condition(text, sources) for text in ("mp3:16", "noise:5", "babble:10")]
    musan, rir = folders["musan"], folders["rir"]
    parameters = RawBoostParameters(N_f=2, SNRmin=3.5)

    def training(*augmentation, samples=None, seed=1234, **options):
        return TrainingSet(Examples(trials), samples, list(augmentation), seed=seed, **options)

    cases = [
        ("--algo 4 --seed 1", training(RawBoost(4), seed=1), 1),
        ("--algo 8 --seed 7 --epoch 3 --samples 64600", training(RawBoost(8), samples=64600, seed=7), 3),
        (
            "--algo 5 --set N_f=2 SNRmin=3.5 --samples 9000 --crop random",
            training(RawBoost(5, parameters=parameters), samples=9000, crop="random"),
            1,
        ),
        *((f"--musan {musan} --rir {rir} --epoch {epoch}", training(noise), epoch) for epoch in range(1, 5)),
        ("--speed 0.9 1.1 --seed 2", training(DrawnSpeed(0.9, 1.1), seed=2), 1),
        (
            f"--algo 3 --musan {musan} --noise-probability 1",
            training(NoiseAugmentation(musan, probability=1), RawBoost(3)),
            1,
        ),
        (
            f"--condition mp3:16 --condition noise:5 --condition babble:10 --musan {musan} --speech {musan}/speech --algo 2",
            training(RawBoost(2), *conditions),
            1,
        ),
    ]
    for number, (arguments, dataset, epoch) in enumerate(cases):
        index = number % len(trials)
        out = tmp_path / str(number)
        assert main(["augment", str(trials[index].path), *arguments.split(), "--out", str(out)]) == 0
        np.testing.assert_array_equal(written(out), dataset[epoch, index].waveform.numpy())
    assert "nothing was changed" in capsys.readouterr().out  # probability 0.5: some epochs draw no noise


@pytest.fixture
def recording(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "train")[0].path


def test_the_picture(recording, tmp_path, command):
    """Its name has the settings, with the conditions in their order."""
    status, out, _ = command(["augment", recording, "--algo", 4, "--seed", 1, "--out", tmp_path, "--plot"])
    names = [f"{recording.stem}_algo4_seed1_epoch1.{suffix}" for suffix in ("png", "wav")]
    assert status == 0 and sorted(p.name for p in tmp_path.iterdir()) == names
    assert [line.split()[0] for line in out.splitlines()] == ["wrote", "wrote"]
    picture = imread(tmp_path / names[0])
    height, width, _ = picture.shape
    assert width > 1200 and height > 600
    for half in (picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :]):
        assert len(np.unique(half.reshape(-1, 4), axis=0)) > 200  # a spectrogram in colours
    words = ["augment", recording, "--out", tmp_path / "o", *"--condition telephone --condition white:10".split()]
    assert command(words)[0] == 0
    assert [p.name for p in (tmp_path / "o").iterdir()] == [f"{recording.stem}_telephone_white10_seed1234_epoch1.wav"]


@pytest.mark.parametrize("length", [1, 600])
def test_silence_of_any_length_is_drawn(length, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(length), 16000)
    assert main(["augment", str(tmp_path / "a.wav"), "--algo", "4", "--out", str(tmp_path / "o"), "--plot"]) == 0
    assert len(written(tmp_path / "o")) == length and len(list((tmp_path / "o").glob("*.png"))) == 1


def test_a_full_scale_sine_is_at_0_db():
    levels = spectrogram_db(np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))
    assert levels.shape == (257, 126)
    assert np.argmax(levels[:, 60]) == 32  # 1000 Hz at 31.25 Hz a row
    assert levels[32, 60] == pytest.approx(0, abs=0.01)
    half = spectrogram_db(0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))
    assert half[32, 60] == pytest.approx(20 * np.log10(0.5), abs=0.01)


def test_existing_files_are_kept(recording, tmp_path, command, refused):
    words = f"augment {recording} --algo 2 --out {tmp_path}"
    assert command(words)[0] == 0
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"mine")
    refused(words, "is there already: give --overwrite", file.name)
    refused(f"{words} --plot")  # the missing picture is not written either
    assert file.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [file]
    assert command(f"{words} --overwrite")[0] == 0
    assert len(written(tmp_path)) > 0 and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("none.wav --algo 4", "none.wav not found"),
        ("text.wav --algo 4", "text.wav was read by neither"),
        ("a.wav", "nothing to do: choose --algo 1 to 11"),
        ("a.wav --condition mp3", "condition 'mp3': it needs a strength"),
        ("a.wav --condition mp4:16", "unknown condition 'mp4'"),
        ("a.wav --condition noise:3", "name its folder with --musan"),
        ("a.wav --condition babble:3", "name their folder with --speech"),
        ("a.wav --condition babble:3 --speech .", "condition 'babble:3': needs more than 3 recordings, not 2"),
        ("a.wav --condition babble:3 --speech none", "there is no folder none"),
        ("a.wav --condition alaw --musan none", "--musan changes nothing, because no --condition needs it"),
        ("a.wav --algo 4 --speech .", "--speech changes nothing, because no --condition needs it: leave it out"),
        ("a.wav --algo 12", "--algo is a whole number from 0 to 11, not 12"),
        ("a.wav --speed 2 1", "--speed is the lowest and the highest speed"),
        ("a.wav --algo 4 --set N=3", "no parameter 'N'"),
        ("a.wav --algo 4 --set N_f", "'N_f' is not of the form KEY=NUMBER"),
        ("a.wav --algo 4 --set N_f=many", "'N_f=many' is not of the form KEY=NUMBER"),
        ("a.wav --algo 4 --set P=200", "P=200 must be a percentage"),
        ("a.wav --algo 4 --seed -1", "--seed is at least 0, not -1"),
        ("a.wav --algo 4 --epoch 0", "--epoch is at least 1, not 0"),
        ("a.wav --algo 4 --samples 0", "--samples is at least 1, not 0"),
        ("a.wav --musan nowhere", "MUSAN folder nowhere not found"),
        ("a.wav --rir nowhere", "impulse response folder nowhere not found"),
        ("a.wav --rir . --noise-probability 3", "--noise-probability is a number from 0 to 1, not 3.0"),
        ("a.wav --algo 4 --out text.wav", "cannot be written"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(100), 16000)
    (tmp_path / "text.wav").write_text("no audio")
    refused(f"augment --out o {arguments}", message)
    assert not (tmp_path / "o").exists()


def test_the_output_folder_is_required(refused):
    refused("augment a.wav", "--out")
