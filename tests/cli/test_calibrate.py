"""`nes2net calibrate` from files to files: learned, fused, applied."""

import hashlib
import lzma
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import hears_a_tone, input_error
from builders.files import read_json, write_json, write_record, write_scores
from builders.recordings import load_head_and_length
from builders.small_parts import SPECTRUM
from builders.tiny_corpus import generated_clips, make_partialspoof
from conftest import seeded_detector

from nes2net import Detector, metrics
from nes2net.actions.calibration import calibrate_recordings
from nes2net.actions.flags import Learning
from nes2net.cli.main import main
from nes2net.data.corpora import partialspoof
from nes2net.lib.output.progress import SECONDS
from nes2net.scoring.decisions import calibration, genuine_threshold
from nes2net.scoring.decisions.population import Population, measure
from nes2net.scoring.segment_file import lines

PROTOCOLS = {"dev": "ASVspoof2019.LA.cm.dev.trl.txt", "eval": "ASVspoof2019.LA.cm.eval.trl.txt"}
FIT = "fit asvspoof2019_la A.dev.txt"
APPLY = "apply A.json A.eval.txt --out"


@pytest.fixture
def calibrate(output):
    """A function that runs the command; it must end with 0: standard output and standard error."""
    return lambda words: output(f"calibrate {words}")


@pytest.fixture
def folder(workdir):
    """The working folder, with protocols of dev and eval, and scores of systems ``A`` and ``B``."""
    rng = np.random.default_rng(0)
    for split, name in PROTOCOLS.items():
        labels = ["bonafide"] * 60 + ["spoof"] * 140
        lines = [f"S{i % 9} {split}{i} - {'-' if x == 'bonafide' else 'A07'} {x}" for i, x in enumerate(labels)]
        (workdir / name).write_text("\n".join(lines) + "\n")
        for system, scale in (("A", 5), ("B", 0.2)):
            scores = scale * (rng.normal(0, 1, 200) + np.repeat((1, -1), (60, 140)))
            write(f"{system}.{split}.txt", {f"{split}{i}": score for i, score in enumerate(scores.tolist())})
    return workdir


def write(path, scores):
    write_scores(Path(path), scores)


def read(path):
    return {id: float(score) for id, score in (line.split() for line in Path(path).read_text().splitlines())}


def change(path, edit):
    """Write the scores ``edit(id, score)`` where that is not None."""
    edited = {id: edit(id, score) for id, score in read(path).items()}
    write(path, {id: score for id, score in edited.items() if score is not None})


def by_class(scores, split="eval"):
    return [scores[f"{split}{i}"] for i in range(60)], [scores[f"{split}{i}"] for i in range(60, 200)]


def figures_printed(stdout):
    """Read the table: name of each line → its numbers."""
    lines = stdout[stdout.index("EER %") :].splitlines()[1:]
    lines = [line.rsplit(maxsplit=5) for line in lines if not line.endswith((".txt", ".json"))]
    return {name: [float(number) for number in numbers] for name, *numbers in lines}


@pytest.fixture
def fitted(folder, calibrate):
    """``folder``, with the calibration of system ``A`` in A.json."""
    calibrate(f"{FIT} --save A.json")
    return folder


@pytest.mark.usefixtures("fitted")
def test_calibrate_fit_saves_the_calibration_of_the_function_fit_and_apply_writes_its_scores(calibrate):
    calibrate(f"{APPLY} out/A.txt")
    loaded = calibration.load("A.json")
    expected = calibration.fit(*by_class(read("A.dev.txt"), "dev"), systems=["A.dev"])
    assert (loaded.weights, loaded.offset, loaded.systems) == (expected.weights, expected.offset, ("A.dev",))
    raw = read("A.eval.txt")
    assert list(read("out/A.txt").items()) == list(zip(raw, loaded(list(raw.values())).tolist()))


@pytest.mark.usefixtures("folder")
def test_calibrate_fit_prints_eer_and_costs_of_scores_before_and_after_calibration(calibrate):
    table = figures_printed(calibrate(f"{FIT} --save A.json")[0])
    raw = np.concatenate(by_class(read("A.dev.txt"), "dev"))
    costs = (metrics.compute_min_dcf, metrics.compute_act_dcf, metrics.compute_min_cllr, metrics.compute_cllr)
    for name, scores in (("dev A.dev", raw), ("dev calibrated", calibration.load("A.json")(raw))):
        classes = scores[:60], scores[60:]
        expected = [100 * metrics.compute_eer(*classes)[0], *(cost(*classes) for cost in costs)]
        assert table.pop(name) == pytest.approx(expected, abs=5.1e-5)
    assert not table


def test_a_saved_fusion_gives_the_same_scores_if_a_file_has_its_trials_in_another_order(folder, calibrate):
    calibrate(f"{FIT} B.dev.txt --prior 0.655 --save F.json")
    calibrate("apply F.json A.eval.txt B.eval.txt --out F.txt")
    write("shuffled.txt", dict(reversed(read("B.eval.txt").items())))
    calibrate("apply F.json A.eval.txt shuffled.txt --out again.txt")
    assert (folder / "again.txt").read_text() == (folder / "F.txt").read_text()


def test_a_fit_of_one_system_with_a_negative_weight_is_refused_without_allow_inverted(folder, calibrate, refused):
    change("B.dev.txt", lambda _, score: -score)
    refused(
        "calibrate fit asvspoof2019_la B.dev.txt --save c.json",
        "every weight is below 0 (B.dev -",
        "pass --allow-inverted",
    )
    assert not (folder / "c.json").exists()
    calibrate("fit asvspoof2019_la B.dev.txt --save c.json --allow-inverted")
    assert calibration.load("c.json").weights[0] < 0


def test_trials_without_a_score_are_omitted_only_with_allow_partial(folder, calibrate, refused):
    change("B.dev.txt", lambda id, score: None if id == "dev7" else score)
    refused(f"calibrate {FIT} B.dev.txt", "B.dev.txt: scores and key do not fit: 1 of 200 trials without a score: dev7")
    change("B.eval.txt", lambda id, score: None if id == "eval3" else score)
    out, _ = calibrate(f"{FIT} B.dev.txt --allow-partial --save F.json")
    calibrate("apply F.json A.eval.txt B.eval.txt --allow-partial --out F.txt")
    assert "59 bona fide and 140 spoofed trials" in out
    assert set(read("A.eval.txt")) - set(read("F.txt")) == {"eval3"}


def test_fewer_than_20_bonafide_trials_are_warned_of(folder, calibrate):
    warnings = []
    for number in (20, 19):
        change("A.dev.txt", lambda id, score, number=number: None if number <= int(id[3:]) < 60 else score)
        warnings.append(calibrate(f"{FIT} --allow-partial --allow-inverted")[1])
    assert "there are only" not in warnings[0]
    assert "warning: there are only 19 bona fide trials" in warnings[1]


def test_a_calibration_is_applied_only_to_as_many_score_files_as_it_has_systems(fitted, refused):
    problem = "needs scores of 1 system (A.dev), but 2 score files"
    refused("calibrate apply A.json A.eval.txt B.eval.txt --out x.txt", problem)
    assert not (fitted / "x.txt").exists()


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("words", [f"{FIT} --save A.dev.txt", "apply A.json A.eval.txt --out A.json"])
def test_a_file_that_calibrate_reads_is_refused_as_its_output(refused, words):
    refused(f"calibrate {words}", f"{words.split()[-1]} is one of the files that are read")


# Recordings and detectors


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A folder with ``list.csv``, its 24 recordings, a detector, and the scores ``s.txt`` of their first half second."""
    folder = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    for number in range(24):
        # Levels of the classes overlap: a draw of separated ones has no minimum that is found fast.
        level = 0.02 * rng.uniform(1, 3) * (1 + 0.2 * (number % 2))
        noise = rng.normal(0, level, 6000 + 500 * number)
        soundfile.write(folder / f"r{number}.wav", noise, 16000)
    rows = (f"r{number}.wav,{('real', 'fake')[number % 2]}\n" for number in range(24))
    (folder / "list.csv").write_text("path,label\n" + "".join(rows))
    torch.manual_seed(0)
    config = {"frontend": SPECTRUM, "backend": "mean_linear"}
    Detector.from_config(config).save(folder / "d.pth")
    flags = f"--split all --model {folder}/d.pth --samples 8000 --workers 0 --out {folder}/s.txt"
    assert main(["score", "generic", f"{folder}/list.csv", *flags.split()]) == 0
    return folder


@pytest.fixture
def recordings(scored, tmp_path, monkeypatch):
    """A copy of ``scored``, to work in."""
    monkeypatch.chdir(shutil.copytree(scored, tmp_path / "work"))
    return tmp_path / "work"


LEARN = "fit generic s.txt --root list.csv --phase all --workers 0 --save c.json --allow-inverted"
BY_KEYS = LEARN.replace("--root list.csv", "--keys list.csv")


def test_a_calibration_records_the_detector_the_trials_and_the_scores_it_was_learned_from(recordings, calibrate):
    calibrate(LEARN)
    fingerprint = Detector.from_pretrained("d.pth").fingerprint()
    loaded = calibration.load("c.json")
    assert loaded.scored_by == calibration.ScoredBy(fingerprint, "float32", 8000, judgement="scores")
    facts = loaded.trained_on
    assert (facts["corpus"], facts["phase"], facts["num_bonafide"], facts["num_spoof"]) == ("generic", "all", 12, 12)
    assert facts["scores_sha256"] == hashlib.sha256((recordings / "s.txt").read_bytes()).hexdigest()


def test_a_calibration_has_the_median_level_of_the_recordings_that_can_be_measured(recordings, calibrate):
    """One of the 24 recordings is damaged."""
    (recordings / "r5.wav").write_bytes(b"RIFF")
    calibrate(LEARN)
    population = calibration.load("c.json").population
    assert population.num_recordings == 23
    levels = [measure(load_head_and_length(f"r{n}.wav", 8000)[0]).level for n in range(24) if n != 5]
    assert population.usual["level"].middle == pytest.approx(np.median(levels), rel=1e-5)


def test_a_calibration_continued_after_an_interruption_does_not_write_its_embeddings_again(
    recordings, command, monkeypatch
):
    words = f"calibrate {LEARN} --model d.pth --device cpu"
    embeddings_file = recordings / "c.json.embeddings.npy"
    fit = Population.fit
    written_at = []

    def interrupted_once(traits, classes):
        written_at.append(embeddings_file.stat().st_mtime_ns)
        if len(written_at) == 1:
            raise KeyboardInterrupt
        return fit(traits, classes)

    monkeypatch.setattr(Population, "fit", interrupted_once)
    assert command(words)[0] != 0
    assert command(words)[0] == 0
    assert written_at[0] == written_at[1]


def test_recordings_are_embedded_from_the_samples_that_were_scored(recordings, calibrate, monkeypatch):
    """A recording of 7,500 samples is repeated to 8,000."""
    fit = Population.fit
    embeddings = []

    def recorded_fit(traits, classes):
        embeddings.extend(trait.embedding for trait in traits)
        return fit(traits, classes)

    monkeypatch.setattr(Population, "fit", recorded_fit)
    calibrate(f"{LEARN} --model d.pth --device cpu")
    head = torch.from_numpy(np.resize(load_head_and_length("r3.wav", 8000)[0], 8000))
    with torch.inference_mode():
        expected = Detector.from_pretrained("d.pth").embeddings(head[None], "backend")[0].numpy()
    np.testing.assert_allclose(embeddings[3], expected, atol=1e-5)


TWO = "recordings real fake --model d.pth --device cpu --workers 0 --samples 8000 --allow-inverted --save out/c.json"


@pytest.fixture
def class_folders(recordings):
    """The recordings in a folder for each class."""
    for number in range(24):
        class_folder = recordings / ("real", "fake/tts")[number % 2]
        class_folder.mkdir(parents=True, exist_ok=True)
        (recordings / f"r{number}.wav").rename(class_folder / f"r{number}.wav")
    return recordings


def test_a_link_into_a_missing_folder_is_refused_as_the_calibration_before_scoring(class_folders, refused):
    (class_folders / "out").mkdir()
    (class_folders / "out/c.json").symlink_to("none/c.json")
    refused(f"calibrate {TWO}", "out/c.json: cannot be written")
    assert [path.name for path in Path("out").iterdir()] == ["c.json"]


@pytest.mark.usefixtures("class_folders")
def test_recordings_that_are_in_both_the_bona_fide_and_the_spoof_folder_are_refused(refused):
    refused(f"calibrate {TWO.replace('fake', 'real')}", "12 recordings are in both real and real")


@pytest.mark.usefixtures("class_folders")
def test_calibrate_recordings_saves_the_scores_of_score_and_the_calibration_of_fit_on_them(calibrate):
    calibrate(TWO)
    scores = read("out/c.json.scores.txt")
    assert {Path(id).stem: score for id, score in scores.items()} == read("s.txt")
    from_folders = calibration.load("out/c.json")
    words = "fit generic out/c.json.scores.txt --root out/c.json.recordings.csv --phase all --workers 0 --model d.pth"
    calibrate(f"{words} --device cpu --allow-inverted --save other.json")
    from_list = calibration.load("other.json")
    assert replace(from_folders, trained_on=from_list.trained_on) == from_list


@pytest.mark.usefixtures("class_folders")
def test_the_time_left_of_a_calibration_includes_the_embeddings_of_its_recordings(calibrate, monkeypatch):
    monkeypatch.setenv(SECONDS, "1e-9")
    lines = calibrate(f"{TWO} --batch-size 4").err.splitlines()
    for title, ending in (("scoring", r"s left \(scoring \d+ s\)"), ("embedding", r"[^)]")):
        assert any(re.search(f"{title}: utterance .* of 24, .*{ending}$", line) for line in lines), lines


def test_a_second_calibration_scores_only_recordings_that_were_added(class_folders, calibrate):
    calibrate(TWO)
    assert "complete already" in calibrate(TWO)[0]
    shutil.copy(class_folders / "real" / "r0.wav", class_folders / "real" / "r24.wav")
    calibrate(TWO)
    assert len(read("out/c.json.scores.txt")) == 25


def test_a_recording_that_calibrate_cannot_score_is_named_and_the_status_is_1(class_folders, output):
    (class_folders / "real" / "bad.wav").write_bytes(b"RIFF")
    err = output(f"calibrate {TWO}", status=1).err
    assert "1 file failed: bonafide/bad.wav" in err


@pytest.mark.usefixtures("recordings")
def test_a_detector_that_did_not_make_the_scores_is_refused(refused):
    seeded_detector(Detector.from_pretrained("d.pth").config, 1).save("other.pth")
    refused(f"calibrate {LEARN} --model other.pth", "other.pth is not the detector that made s.txt")


def test_scores_of_trials_without_a_recording_are_refused(recordings, refused):
    (recordings / "few.csv").write_text("path,label\nr0.wav,real\nr1.wav,fake\n")
    refused(f"calibrate {BY_KEYS} --root few.csv", "few.csv: has no recordings of 22 of the 24 trials")


def test_the_flag_model_is_refused_if_no_record_is_beside_the_scores(recordings, refused):
    (recordings / "s.txt.json").unlink()
    refused(f"calibrate {LEARN} --model d.pth", "s.txt: no record of these scores is beside it")


@pytest.fixture
def record_again(recordings, calibrate):
    """A function that records a run with changes beside ``again.txt``, a copy of the scores that ``c.json`` is of."""
    calibrate(LEARN)
    record = read_json(recordings / "s.txt.json")
    shutil.copy("s.txt", "again.txt")
    return lambda **changes: write_json(recordings / "again.txt.json", record | {"run": record["run"] | changes})


AGAIN = "calibrate apply c.json again.txt --out x.txt"


def test_a_calibration_is_not_applied_to_scores_of_another_detector(recordings, record_again, refused):
    record_again(model="0f" * 32)
    mismatch = "again.txt: the calibration does not belong to this detector: it was learned from scores of"
    refused(AGAIN, mismatch)
    assert not (recordings / "x.txt").exists()


def test_scores_of_another_precision_or_length_than_the_calibrations_are_calibrated_with_a_note(record_again, output):
    for changes, note in (
        ({"dtype": "bfloat16"}, "learned from scores in float32; scores in bfloat16 differ a little"),
        ({"num_samples": None}, "learned from scores of the first 0.5 s, not of whole recordings"),
    ):
        record_again(**changes)
        printed, _ = output(AGAIN)
        assert "note: the calibration" in printed
        assert note in printed
    record_again()
    assert "note: the calibration" not in output(AGAIN)[0]


def test_scores_without_a_record_are_calibrated_with_a_note(recordings, calibrate):
    calibrate(LEARN)
    shutil.copy("s.txt", "again.txt")
    assert "note: no record of these scores is beside again.txt" in calibrate("apply c.json again.txt --out x.txt")[0]


def test_a_calibration_from_scores_without_a_record_names_no_detector_which_is_noted(recordings, calibrate):
    (recordings / "s.txt.json").unlink()
    printed, _ = calibrate(BY_KEYS)
    assert "note: no record of these scores is beside s.txt, so predict cannot check" in printed
    assert calibration.load("c.json").scored_by is None


@pytest.fixture
def frames(workdir):
    """Labels and scores of frames of 20 ms by utterance; the scores are in ``f.txt``, without a record."""
    clips = [(label, clip[:16000]) for label in ("bonafide", "spoof") for clip in generated_clips(label, 6)]
    make_partialspoof(workdir, clips)
    in_10_ms = partialspoof.segment_labels(workdir / "partialspoof", "dev", 10)
    in_20_ms = partialspoof.segment_labels(workdir / "partialspoof", "dev", 20)
    labels = {id: row[: len(in_10_ms[id]) // 2] for id, row in in_20_ms.items()}  # whole frames
    rng = np.random.default_rng(0)
    scores = {id: row + rng.normal(0, 1, len(row)) for id, row in labels.items()}
    (workdir / "f.txt").write_text("".join(lines(id, row) for id, row in scores.items()))
    return labels, scores


OF_FRAMES = "fit partialspoof f.txt --root partialspoof --workers 0 --save c.json"


@pytest.mark.usefixtures("frames")
def test_frame_scores_without_the_length_of_their_frames_are_not_calibrated(refused):
    refused(f"calibrate {OF_FRAMES}", "no record beside it states the length of its frames")


@pytest.fixture
def recorded_frames(frames, workdir):
    """The same frames, with a record beside ``f.txt``."""
    run = {"model": "0f" * 32, "dtype": "float32", "num_samples": None, "resolution_ms": 20.0}
    digest = hashlib.sha256((workdir / "f.txt").read_bytes()).hexdigest()
    write_record(workdir / "f.txt", run=run, sha256=digest, resolution_ms=20.0)
    return frames


def test_frames_are_calibrated_with_the_segment_labels_of_the_corpus(recorded_frames, calibrate):
    labels, scores = recorded_frames
    calibrate(OF_FRAMES)
    is_bonafide = np.concatenate(list(labels.values())) == 1
    frame_scores = np.concatenate(list(scores.values()))
    loaded = calibration.load("c.json")
    expected = calibration.fit(frame_scores[is_bonafide], frame_scores[~is_bonafide])
    assert loaded.weights == pytest.approx(expected.weights, rel=1e-9)
    assert loaded.offset == pytest.approx(expected.offset)
    assert loaded.scored_by == calibration.ScoredBy("0f" * 32, "float32", None, 20.0)


def test_a_threshold_from_the_genuine_trials_of_a_real_system_is_that_of_the_reference(calibrate, shared, workdir):
    """And so is the share of its fakes that reach the threshold."""
    published = shared / "real" / "scores" / "in_the_wild"
    key = lzma.open(published / "in_the_wild_key.txt.xz", "rt").read().splitlines()
    scores = lzma.open(published / "SLS_paper.scores_Wild.txt.xz", "rt").read()
    Path("sls.txt").write_text(scores)
    rows = [f"{line.split()[1]},{'spoof' if line.endswith('spoof') else 'bonafide'}" for line in key]
    Path("key.csv").write_text("\n".join(["path,label", *rows, ""]))
    words = "fit generic sls.txt --keys key.csv --phase all --genuine-only --operating-point miss:5% --save c.json"
    printed, notes = calibrate(words)
    assert "unusual below a score of -12.193329811096191, k = 998 of 19,963 genuine recordings" in printed
    assert "95 % range 4.7% to 5.3%" in printed
    assert "10.8243% of the spoofed trials are not below the threshold" in notes
    rule = calibration.load("c.json").rule
    assert (rule.k, rule.number) == (998, 19963)


def test_without_keys_all_scores_are_genuine_and_the_lowest_are_named(calibrate, workdir):
    write("scores.txt", {f"u{number}": float(number) for number in range(400)})
    printed, notes = calibrate("fit generic scores.txt --genuine-only --operating-point miss:0.29% --save c.json")
    assert "unusual below a score of 0.0, k = 1 of 400" in printed
    assert "Scores equal to it: 1\n" in printed
    assert "move the threshold: u0, u1, u2, u3\n" in notes
    calibrate("fit generic scores.txt --genuine-only --operating-point miss:5% --assured --save assured.json")
    rules = [calibration.load(path).rule for path in ("c.json", "assured.json")]
    assert [rule.k for rule in rules] == [1, genuine_threshold(range(400), "5%", assured=True).k]


def test_a_threshold_is_over_people_if_the_key_has_a_speaker_of_each_trial(calibrate, workdir):
    write("scores.txt", {f"u{number}": float(number) for number in range(60)})
    rows = [f"u{number}.wav,bonafide,{number % 20}" for number in range(60)]
    Path("key.csv").write_text("\n".join(["path,label,speaker", *rows, ""]))
    calibrate(
        "fit generic scores.txt --keys key.csv --phase all --genuine-only --operating-point miss:5% --save c.json"
    )
    rule = calibration.load("c.json").rule
    expected = genuine_threshold(range(60), "5%", groups=[number % 20 for number in range(60)])
    assert (rule.k, rule.number, rule.threshold) == (expected.k, 20, expected.threshold)


def test_recordings_without_a_stated_speaker_are_named_before_any_is_scored(workdir):
    for name in ("a.wav", "b.wav", "c.wav"):
        (Path("real") / name).parent.mkdir(exist_ok=True)
        (Path("real") / name).touch()
    Path("people.csv").write_text("path,speaker\nreal/a.wav,p\nreal/b.wav,\n")
    learning = Learning(operating_point="miss:5%")
    with input_error(r"people\.csv: has no speaker of 2 recordings: real/b\.wav, real/c\.wav; add their paths"):
        calibrate_recordings(hears_a_tone.detector(), "real", None, "c.json", learning, speakers="people.csv")


@pytest.mark.parametrize(
    ("point", "speakers", "message"),
    [
        ("eer", None, "a share of misses lies between 0 and 1, such as 0.05 or 5%, not 'eer'"),
        ("miss:20%", None, "N = 3 recordings are too few for 20 %: at least 4 are needed"),
        ("miss:30%", "people.csv", "N = 2 people are too few for 30 %: at least 3 are needed"),
    ],
)
def test_an_operating_point_that_so_many_files_cannot_have_is_refused_before_any_is_read(
    workdir, point, speakers, message
):
    Path("real").mkdir()
    for name in "abc":
        Path(f"real/{name}.wav").touch()  # empty, so reading them would fail
    Path("people.csv").write_text("path,speaker\nreal/a.wav,p\nreal/b.wav,q\nreal/c.wav,q\n")
    learning = Learning(operating_point=point)
    with input_error(message):
        calibrate_recordings(hears_a_tone.detector(), "real", None, "c.json", learning, speakers=speakers)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit generic few.txt --genuine-only --operating-point miss:1%", "at least 99 are needed"),
        ("fit generic few.txt --genuine-only --operating-point eer", "a share of misses lies between 0 and 1"),
        ("fit generic few.txt few.txt --genuine-only --operating-point miss:10%", "fuses 2 systems"),
        ("fit generic few.txt --genuine-only", "--genuine-only is used only with --operating-point"),
        ("fit generic few.txt --operating-point miss:5%", "--operating-point is used only with --genuine-only"),
        ("fit generic few.txt --genuine-only --operating-point miss:5% --prior 0.2", "exclude each other"),
        ("recordings REAL FAKE --operating-point miss:5% --model M --save c.json", "--operating-point; they exclude"),
        (
            "recordings REAL FAKE --speakers t.csv --model M --save c.json",
            "--speakers is used only with --operating-point",
        ),
        ("recordings REAL --model M --save c.json", "name a folder of spoofed recordings, or add --operating-point"),
        ("apply c.json few.txt --out out.txt", "no ratios: calibrate on bona fide and spoofed recordings\n"),
    ],
)
def test_what_does_not_suit_genuine_recordings_alone_is_refused_in_a_line(command, workdir, words, message):
    write("few.txt", {f"u{number}": float(number) for number in range(40)})
    command("calibrate fit generic few.txt --genuine-only --operating-point miss:5% --save c.json")
    status, _, errors = command(f"calibrate {words}")
    assert status == 2
    assert message in errors
