"""The adapter for the Speech Anti-Spoofing Arena: its scores, the folder, and the client that runs it."""

import importlib.util
import itertools
import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile
import yaml
from builders import input_error

from nes2net import Detector
from nes2net.apps.export.arena import ArenaModel
from nes2net.models.card import arxiv_number
from nes2net.models.provenance import Provenance
from nes2net.scoring.score_file import read_scores

LENGTHS = [16000, 9000, 16000, 30000, 9000, 70000, 12345]


@pytest.fixture
def recordings(tmp_path):
    """Seven recordings of five lengths, as a corpus of one's own, and as the client decodes them."""
    rng = np.random.default_rng(0)
    lines = ["path,label,id\n"]
    decoded = {}
    for number, length in enumerate(LENGTHS):
        path = tmp_path / f"u{number}.flac"
        soundfile.write(path, 0.1 * rng.standard_normal(length), 16000, subtype="PCM_16")
        decoded[path.stem] = soundfile.read(path, dtype="float32")[0]
        lines.append(f"{path.name},{'spoof' if number % 2 else 'bonafide'},{path.stem}\n")
    (tmp_path / "list.csv").write_text("".join(lines))
    return decoded


def model_of(checkpoint, **settings):
    return type("Model", (ArenaModel,), {"checkpoint": checkpoint, "device": "cpu", **settings})()


def score_of(model, audio, rate=16000):
    (score,) = model.score_batch([audio], [rate])
    return score


@pytest.fixture
def checkpoint(tmp_path, spectral_detector):
    spectral_detector.save(tmp_path / "model.pth")
    return tmp_path / "model.pth"


@pytest.fixture
def model(checkpoint):
    """A loaded model."""
    model = model_of(checkpoint)
    model.load()
    return model


def test_an_arena_model_scores_only_while_it_is_loaded(checkpoint, recordings):
    model = model_of(checkpoint)
    audio = recordings["u0"]
    with input_error(r"call load\(\)"):
        score_of(model, audio)
    model.load()
    score = score_of(model, audio)
    model.unload()
    with input_error("not loaded"):
        score_of(model, audio)
    model.load()
    assert score_of(model, audio) == score


def test_an_arena_model_converts_audio_of_another_type_rate_or_number_of_channels(model, recordings, spectral_detector):
    audio = recordings["u0"]
    alone = score_of(model, audio)
    assert score_of(model, audio.astype(np.float64)) == alone
    assert score_of(model, np.stack([audio, audio])) == alone
    at_8k = score_of(model, audio, 8000)
    assert at_8k == pytest.approx(spectral_detector.score(audio, 8000), abs=1e-6)
    assert at_8k != alone


def test_an_arena_model_refuses_audio_in_whole_numbers_with_nan_or_without_a_sample_rate(model, recordings):
    audio = recordings["u0"]
    for wrong, rates, says in (
        ((audio * 32767).astype(np.int16), [16000, 16000], "whole numbers"),
        (np.full_like(audio, np.nan), [16000, 16000], "NaN"),
        (audio, [16000], "2 recordings with 1 sample rate"),
    ):
        with input_error(says):
            model.score_batch([audio, wrong], rates)


def test_an_arena_model_whose_scores_depend_on_the_batch_scores_each_recording_alone(
    checkpoint, recordings, monkeypatch
):
    monkeypatch.setattr("nes2net.scoring.kernel.depends_on_batch", lambda scorer: True)
    model = model_of(checkpoint, num_samples=16000)
    audios = list(recordings.values())
    model.load()
    together = model.score_batch(audios, [16000] * len(audios))
    assert together == [score_of(model, audio) for audio in audios]


@pytest.fixture
def write(checkpoint, tmp_path, output):
    """A function that writes the folder ``out``: what is printed."""
    return lambda *more: output(["export", checkpoint, "--to", "arena", "--out", tmp_path / "out", *more]).out


def system_in(folder):
    """The description of the system, as the client reads it."""
    return yaml.safe_load((folder / "meta.yaml").read_text())["system"]


def test_an_arena_folder_without_the_addresses_of_code_and_checkpoint_does_not_pass_the_check(write, tmp_path, output):
    write()
    error = output(f"export {tmp_path}/out --to arena --check", 2).err
    assert "fill in system.code, system.checkpoint" in error


def test_an_arena_folder_with_all_facts_passes_the_check_and_describes_its_system(
    write, spectral_detector, tmp_path, output
):
    write("--name", 'Mine: "2"\\', "--arxiv", "2504.05657")
    meta = tmp_path / "out" / "meta.yaml"
    meta.write_text(meta.read_text().replace(": null", ": https://huggingface.co/me/mine"))
    output(f"export {tmp_path}/out --to arena --check")
    system = system_in(tmp_path / "out")
    assert system["slug"] == "mine-2"
    assert system["paper"]["arxiv_id"] == "2504.05657"
    num_parameters = sum(p.numel() for p in spectral_detector.parameters())
    assert system["params_millions"] == round(num_parameters / 1e6, 4)


def test_the_arxiv_number_of_a_system_is_that_of_its_published_parts_or_of_the_model_in_its_record(spectral_detector):
    published = Detector.from_config({"frontend": "waveform", "backend": "raw_aasist_l"})
    assert arxiv_number(published.config, published.provenance) == "2110.01200"
    assert arxiv_number(spectral_detector.config, spectral_detector.provenance) is None
    provenance = Provenance.read({"published_model": "df_arena_1b"})
    assert arxiv_number(spectral_detector.config, provenance) == "2603.06164"


@pytest.fixture
def client(monkeypatch):
    """The client's package, or a stand-in for its base class where it is not installed.

    The stand-in has the documented attributes alone. The real one is run by
    `test_the_installed_client_of_the_arena_has_the_scores_of_nes2net_score`.
    """
    if importlib.util.find_spec("speech_spoof_bench") is None:
        for name in ("speech_spoof_bench", "speech_spoof_bench.model"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        documented = {"name": "unnamed", "expected_sample_rate": 16000, "batch_size": 1, "unload": lambda self: None}
        sys.modules["speech_spoof_bench.model"].AntiSpoofingModel = type("AntiSpoofingModel", (), documented)


def loaded(folder):
    """The model of an adapter, imported from its file and made without arguments, as the client does."""
    spec = importlib.util.spec_from_file_location("arena_model", folder / "arena_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model()


@pytest.fixture
def scored_by_nes2net(checkpoint, tmp_path, output):
    """A function that returns the scores of `nes2net score` by id."""

    def score(*more):
        words = f"score generic {tmp_path}/list.csv --model {checkpoint} --out {tmp_path}/own.txt"
        output([*words.split(), "--split", "all", "--device", "cpu", *more])
        return dict(zip(*read_scores(tmp_path / "own.txt")))

    return score


@pytest.mark.parametrize("length", [[], ["--samples", "full"]])
def test_an_arena_model_driven_as_by_the_client_has_the_scores_of_nes2net_score(
    client, write, scored_by_nes2net, recordings, tmp_path, length
):
    """Made without arguments, loaded once, chunks of `batch_size` with a short last one, unloaded at the end."""
    write("--batch-size", "3", *length)
    model = loaded(tmp_path / "out")
    by_model = {}
    model.load()
    for start in range(0, len(recordings), model.batch_size):
        chunk = dict(itertools.islice(recordings.items(), start, start + model.batch_size))
        by_model |= zip(chunk, model.score_batch([*chunk.values()], [16000] * len(chunk)), strict=True)
    model.unload()
    assert by_model == pytest.approx(scored_by_nes2net(*length), abs=1e-6)


def test_the_installed_client_of_the_arena_has_the_scores_of_nes2net_score(
    write, scored_by_nes2net, recordings, tmp_path, monkeypatch
):
    """`Benchmark.run` of the installed client on a local folder in the Arena's layout."""
    benchmark = pytest.importorskip("speech_spoof_bench.benchmark", reason="the Arena's client is not installed")
    arena_set = pytest.importorskip("builders.arena_set")
    contents = [(tmp_path / f"{name}.flac").read_bytes() for name in recordings]
    dataset = arena_set.write_arena_set(tmp_path / "Tiny", [number % 2 for number in range(len(contents))], contents)
    write("--batch-size", "3")
    monkeypatch.syspath_prepend(tmp_path / "out")
    result = benchmark.Benchmark.run(loaded(tmp_path / "out"), [str(dataset)], tmp_path / "results")["Tiny"]
    assert (result.n_trials, result.n_skipped) == (len(LENGTHS), 0)
    by_client = dict(zip(*read_scores(result.scores_path)))
    assert by_client == pytest.approx(scored_by_nes2net(), abs=1.6e-6)
