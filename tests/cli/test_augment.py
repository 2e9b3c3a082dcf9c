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
    cases = [
        ("--algo 4 --seed 1", TrainingSet(Examples(trials), None, [RawBoost(4)], seed=1), 1),
        (
            "--algo 8 --seed 7 --epoch 3 --samples 64600",
            TrainingSet(Examples(trials), 64600, [RawBoost(8)], seed=7),
            3,
        ),
        (
            "--algo 5 --set N_f=2 SNRmin=3.5 --samples 9000 --crop random",
            TrainingSet(
                Examples(trials),
                9000,
                [RawBoost(5, parameters=RawBoostParameters(N_f=2, SNRmin=3.5))],
                seed=1234,
                crop="random",
            ),
            1,
        ),
        *(
            (
                f"--musan {folders['musan']} --rir {folders['rir']} --epoch {epoch}",
                TrainingSet(Examples(trials), None, [noise], seed=1234),
                epoch,
            )
            for epoch in range(1, 5)
        ),
        ("--speed 0.9 1.1 --seed 2", TrainingSet(Examples(trials), None, [DrawnSpeed(0.9, 1.1)], seed=2), 1),
        (
            f"--algo 3 --musan {folders['musan']} --noise-probability 1",
            TrainingSet(
                Examples(trials),
                None,
                [NoiseAugmentation(folders["musan"], probability=1), RawBoost(3)],
                seed=1234,
            ),
            1,
        ),
        (
            f"--condition mp3:16 --condition noise:5 --condition babble:10 --musan {folders['musan']} "
            f"--speech {folders['musan']}/speech --algo 2",
            TrainingSet(
                Examples(trials),
                None,
                [RawBoost(2), *(create_condition(text, sources) for text in ("mp3:16", "noise:5", "babble:10"))],
                seed=1234,
            ),
            1,
        ),
    ]
    for number, (arguments, dataset, epoch) in enumerate(cases):
        index = number % len(trials)
        out = tmp_path / str(number)
        assert main(["augment", str(trials[index].path), *arguments.split(), "--out", str(out)]) == 0
        np.testing.assert_array_equal(written(out), dataset[epoch, index].waveform.numpy())
    assert "nothing was changed" in capsys.readouterr().out  # probability 0.5: some epochs draw no noise


def test_the_picture(corpus, tmp_path, capsys):
    path = asvspoof2019_la.CORPUS.trials(corpus, "train")[0].path
    assert main(["augment", str(path), "--algo", "4", "--seed", "1", "--out", str(tmp_path), "--plot"]) == 0
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [f"{path.stem}_algo4_seed1_epoch1.{suffix}" for suffix in ("png", "wav")]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["wrote", "wrote"]
    picture = imread(tmp_path / names[0])
    height, width, _ = picture.shape
    assert width > 1200 and height > 600
    left, right = picture[height // 2 :, : width // 2], picture[height // 2 :, width // 2 :]
    assert len(np.unique(left.reshape(-1, 4), axis=0)) > 200  # a spectrogram in colours
    assert len(np.unique(right.reshape(-1, 4), axis=0)) > 200


@pytest.mark.parametrize("length", [1, 100, 600, 50000])
def test_silence_of_any_length_is_drawn(length, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(length), 16000)
    assert main(["augment", str(tmp_path / "a.wav"), "--algo", "4", "--out", str(tmp_path / "o"), "--plot"]) == 0
    assert len(written(tmp_path / "o")) == length
    assert len(list((tmp_path / "o").glob("*.png"))) == 1


def test_a_full_scale_sine_is_at_0_db():
    levels = spectrogram_db(np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000))
    assert levels.shape == (257, 126)
    assert np.argmax(levels[:, 60]) == 32  # 1000 Hz at 31.25 Hz a row
    assert levels[32, 60] == pytest.approx(0, abs=0.01)


def test_a_picture_names_the_conditions_in_their_order(corpus, tmp_path):
    path = asvspoof2019_la.CORPUS.trials(corpus, "train")[0].path
    arguments = "--condition telephone --condition white:10 --seed 1 --plot --out".split()
    assert main(["augment", str(path), *arguments, str(tmp_path)]) == 0
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [f"{path.stem}_telephone_white10_seed1_epoch1.{suffix}" for suffix in ("png", "wav")]


def test_existing_files_are_kept(corpus, tmp_path, capsys):
    path = str(asvspoof2019_la.CORPUS.trials(corpus, "train")[0].path)
    arguments = ["augment", path, "--algo", "2", "--out", str(tmp_path)]
    assert main(arguments) == 0
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"mine")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "is there already: give --overwrite" in error and file.name in error
    assert main([*arguments, "--plot"]) == 2  # the missing picture is not written either
    assert file.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [file]
    assert main([*arguments, "--overwrite"]) == 0
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
def test_errors_are_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", np.zeros(100), 16000)
    (tmp_path / "text.wav").write_text("no audio")
    if "--out" not in arguments:
        arguments += " --out o"
    assert main(["augment", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_the_output_folder_is_required(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["augment", "a.wav"])
    assert stop.value.code == 2 and "--out" in capsys.readouterr().err
