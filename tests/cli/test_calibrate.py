"""`nes2net calibrate` from files to files: learned, fused, applied."""

import hashlib
import json
import lzma
import os
import shutil
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
import soundfile
import torch
from builders.tiny_corpus import generated_clips, make_partialspoof

from nes2net import Detector, metrics
from nes2net.audio.read import load_head_and_length
from nes2net.cli.main import main
from nes2net.decisions import calibration
from nes2net.decisions.population import Population, measure
from nes2net.scoring.segment_file import lines

PROTOCOLS = {"dev": "ASVspoof2019.LA.cm.dev.trl.txt", "eval": "ASVspoof2019.LA.cm.eval.trl.txt"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with protocols of dev and eval, and scores of systems ``A`` and ``B``."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split, name in PROTOCOLS.items():
        labels = ["bonafide"] * 60 + ["spoof"] * 140
        lines = [f"S{i % 9} {split}{i} - {'-' if x == 'bonafide' else 'A07'} {x}" for i, x in enumerate(labels)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        for system, scale in (("A", 5), ("B", 0.2)):
            scores = scale * (rng.normal(0, 1, 200) + np.repeat((1, -1), (60, 140)))
            write(f"{system}.{split}.txt", {f"{split}{i}": score for i, score in enumerate(scores.tolist())})
    return tmp_path


def write(path, scores):
    with open(path, "w") as file:
        file.writelines(f"{id} {score!r}\n" for id, score in scores.items())


def read(path):
    with open(path) as file:
        return {id: float(score) for id, score in (line.split() for line in file)}


def by_class(scores, split="eval"):
    return [scores[f"{split}{i}"] for i in range(60)], [scores[f"{split}{i}"] for i in range(60, 200)]


def figures_printed(stdout):
    """Read the table: name of each line → its numbers."""
    lines = stdout[stdout.index("EER %") :].splitlines()[1:]
    lines = [line.rsplit(maxsplit=5) for line in lines if not line.endswith((".txt", ".json"))]
    return {name: [float(number) for number in numbers] for name, *numbers in lines}


def test_calibrate(folder, capsys):
    command = "calibrate fit asvspoof2019_la A.dev.txt --apply A.eval.txt --out out/A.txt --save A.json"
    assert main(command.split()) == 0
    printed = capsys.readouterr().out
    assert "trained on asvspoof2019_la, phase dev: 60 bona fide and 140 spoofed trials, prior 0.5" in printed
    raw, calibrated = read("A.eval.txt"), read("out/A.txt")
    assert list(calibrated) == list(raw)
    found = calibration.load("A.json")
    expected = calibration.fit(*by_class(read("A.dev.txt"), "dev"), systems=["A.dev"])
    assert (found.weights, found.offset, found.systems) == (expected.weights, expected.offset, ("A.dev",))
    assert list(calibrated.values()) == expected(list(raw.values())).tolist()
    assert f"A.dev  {found.weights[0]:+.6g}" in printed
    table = figures_printed(printed)
    assert list(table) == ["dev A.dev", "dev calibrated", "eval A.dev", "eval calibrated"]
    for name, scores in (("eval A.dev", raw), ("eval calibrated", calibrated)):
        classes = by_class(scores)
        expected = 100 * metrics.compute_eer(*classes)[0], metrics.compute_min_dcf(*classes)
        expected += (
            metrics.compute_act_dcf(*classes),
            metrics.compute_min_cllr(*classes),
            metrics.compute_cllr(*classes),
        )
        assert table[name] == pytest.approx(expected, abs=5.1e-5)
    assert table["eval calibrated"][:2] == table["eval A.dev"][:2]  # calibration keeps the order of scores
    assert table["eval calibrated"][4] < table["eval A.dev"][4]
    assert json.loads((folder / "A.json").read_text())["trained_on"]["num_bonafide"] == 60


def test_fuse_and_apply_a_saved_fusion(folder, capsys):
    command = "calibrate fit asvspoof2019_la A.dev.txt B.dev.txt --prior 0.655 --apply A.eval.txt B.eval.txt --out F.txt --save F.json"
    assert main(command.split()) == 0
    table = figures_printed(capsys.readouterr().out)
    assert table["eval fused"][0] < min(table["eval A.dev"][0], table["eval B.dev"][0])
    assert table["eval fused"][4] < min(table["eval A.dev"][4], table["eval B.dev"][4])
    # The order of trials in the files does not matter.
    write("shuffled.txt", dict(reversed(read("B.eval.txt").items())))
    command = "calibrate apply F.json A.eval.txt shuffled.txt --out again.txt --eval-corpus asvspoof2019_la"
    assert main(command.split()) == 0
    again = figures_printed(capsys.readouterr().out)
    assert (folder / "again.txt").read_text() == (folder / "F.txt").read_text()
    assert again == {name: numbers for name, numbers in table.items() if name.startswith("eval")}
    assert main("calibrate apply F.json A.eval.txt B.eval.txt --out again.txt".split()) == 0
    assert "EER" not in capsys.readouterr().out


def test_without_labels_of_eval_scores_are_written_but_not_evaluated(folder, capsys):
    (folder / PROTOCOLS["eval"]).unlink()
    assert main("calibrate fit asvspoof2019_la A.dev.txt --apply A.eval.txt --out A.txt".split()) == 0
    printed = capsys.readouterr().out
    assert "note: the keys have no labels for phase eval" in printed
    assert len(read("A.txt")) == 200


def test_notes_on_negative_weights_and_separated_classes(folder, capsys):
    write("B.dev.txt", {id: -score for id, score in read("B.dev.txt").items()})
    assert main("calibrate fit asvspoof2019_la A.dev.txt B.dev.txt".split()) == 0
    assert "note: the weight of B.dev is negative" in capsys.readouterr().out
    write("A.dev.txt", {f"dev{i}": float(i < 60) + i / 1000 for i in range(200)})
    assert main("calibrate fit asvspoof2019_la A.dev.txt".split()) == 0
    assert "note: the classes are separated without error here" in capsys.readouterr().out


def test_a_weight_below_0_is_refused_unless_asked_for(folder, capsys):
    write("A.dev.txt", {id: -score for id, score in read("A.dev.txt").items()})
    command = "calibrate fit asvspoof2019_la A.dev.txt --save c.json".split()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "the weight of A.dev is -" in error and "pass --allow-inverted" in error
    assert not (folder / "c.json").exists()
    assert main([*command, "--allow-inverted"]) == 0
    assert "note: the weight of A.dev is negative" in capsys.readouterr().out
    assert calibration.load("c.json").weights[0] < 0


@pytest.mark.parametrize("number, warned", [(2, True), (19, True), (20, False)])
def test_what_few_trials_are_worth_is_said(folder, capsys, number, warned):
    scores = read("A.dev.txt")
    write("A.dev.txt", {id: score for id, score in scores.items() if id not in {f"dev{i}" for i in range(number, 60)}})
    assert main("calibrate fit asvspoof2019_la A.dev.txt --allow-partial --allow-inverted".split()) == 0
    assert (f"warning: there are only {number} bona fide trials" in capsys.readouterr().err) is warned


def test_partial_scores(folder, capsys):
    scores = read("B.dev.txt")
    write("B.dev.txt", {id: score for id, score in scores.items() if id != "dev7"})
    command = ["calibrate", "fit", "asvspoof2019_la", "A.dev.txt", "B.dev.txt"]
    assert main(command) == 2
    assert "B.dev.txt: scores and key do not fit: 1 of 200 trials without a score: dev7" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 0
    assert "59 bona fide and 140 spoofed trials" in capsys.readouterr().out
    write("B.eval.txt", {id: score for id, score in read("B.eval.txt").items() if id != "eval3"})
    command = [*command, "--apply", "A.eval.txt", "B.eval.txt", "--out", "F.txt", "--allow-partial"]
    assert main(command) == 0
    assert set(read("A.eval.txt")) - set(read("F.txt")) == {"eval3"}


@pytest.mark.parametrize(
    "command, message",
    [
        ("calibrate fit asvspoof2019_la A.dev.txt --out x.txt", "--apply and --out go together"),
        (
            "calibrate fit asvspoof2019_la A.dev.txt B.dev.txt --apply A.eval.txt --out x.txt",
            "--apply takes as many, not 1",
        ),
        ("calibrate fit asvspoof2019_la none.txt", "none.txt: cannot be read"),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --apply A.eval.txt --out A.eval.txt",
            "A.eval.txt is one of the files that are read",
        ),
        ("calibrate fit asvspoof2019_la A.dev.txt --prior 2", "prior must lie between 0 and 1"),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --apply doubled.txt --out x.txt",
            "doubled.txt: 12 scored more than once",
        ),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --apply bad.txt --out x.txt",
            "bad.txt: 1 scored twice with different",
        ),
        (
            "calibrate fit asvspoof2019_la A.dev.txt B.dev.txt --apply A.eval.txt one.txt --out x.txt",
            "one.txt: no score for 199 trials",
        ),
        ("calibrate fit asvspoof2019_la constant.txt", "constant: all trials have the same score"),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --keys onesided",
            "60 bona fide trials with scores, but no spoofed ones",
        ),
        ("calibrate apply A.dev.txt A.eval.txt --out x.txt", "A.dev.txt: not a calibration"),
        (
            "calibrate apply A.json A.eval.txt B.eval.txt --out x.txt",
            "the calibration needs scores of 1 system (A.dev), but 2 score files",
        ),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --apply A.eval.txt --out x.txt --save ./x.txt",
            "--out and --save are both x.txt",
        ),
        ("calibrate apply A.json A.eval.txt --out A.json", "A.json is one of the files that are read"),
        ("calibrate fit asvspoof2019_la A.dev.txt --save A.json/B.json", "A.json/B.json: cannot be written"),
        ("calibrate apply A.json A.eval.txt --out A.json/x.txt", "A.json/x.txt: cannot be written"),
        ("calibrate fit asvspoof2019_la A.dev.txt --phase dve", "has no phase 'dve'; it has train, dev, eval"),
        (
            "calibrate fit asvspoof2019_la A.dev.txt --apply A.eval.txt --out x.txt --eval-phase evla",
            "has no phase 'evla'; it has train, dev, eval",
        ),
        ("calibrate fit in_the_wild A.dev.txt --keys wild", "In-the-Wild has no phase 'dev'; it has eval"),
        ("calibrate apply A.json A.eval.txt --out x.txt --eval-keys .", "--eval-keys needs --eval-corpus"),
    ],
)
def test_errors_are_one_line(folder, capsys, command, message):
    assert main("calibrate fit asvspoof2019_la A.dev.txt --save A.json".split()) == 0
    write("constant.txt", dict.fromkeys(read("A.dev.txt"), 1.0))
    write("one.txt", {"eval0": 1.0})
    (folder / "bad.txt").write_text("eval0 1.0\neval0 2.0\n")
    (folder / "doubled.txt").write_text("".join(f"eval{n} 1.0\n" for n in range(12)) * 2)
    (folder / "onesided").mkdir()
    protocol = (folder / PROTOCOLS["dev"]).read_text()
    (folder / "onesided" / PROTOCOLS["dev"]).write_text(
        "".join(x for x in protocol.splitlines(True) if "bonafide" in x)
    )
    (folder / "wild").mkdir()
    (folder / "wild" / "meta.csv").write_text("file,speaker,label\n0.wav,A,spoof\n1.wav,A,bona-fide\n")
    if "onesided" in command:
        write("A.dev.txt", {f"dev{i}": float(i) for i in range(60)})
    capsys.readouterr()
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (folder / "x.txt").exists()


def test_a_corpus_without_parts_needs_the_phase_all_and_is_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    labels = ["real", "fake"] * 20
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{n}.wav,{x}\n" for n, x in enumerate(labels)))
    scores = np.random.default_rng(0).normal(0, 1, 40) + np.tile((1, 0), 20)
    write("s.txt", {str(n): score for n, score in enumerate(scores.tolist())})
    command = ["calibrate", "fit", "generic", "s.txt", "--keys", "list.csv", "--apply", "s.txt", "--out", "x.txt"]
    assert main(command) == 2
    assert "the list names no parts, so there is no phase 'dev'" in capsys.readouterr().err
    assert main([*command, "--phase", "all"]) == 0
    assert "note: 40 of the trials to evaluate were trained on" in capsys.readouterr().out
    table = "path,label,split\n" + "".join(f"{n}.wav,{x},{'dev' if n < 20 else 'eval'}\n" for n, x in enumerate(labels))
    (tmp_path / "list.csv").write_text(table)
    assert main(command) == 0
    assert "trained on;" not in capsys.readouterr().out
    assert main([*command, "--phase", "all"]) == 0
    assert "note: 20 of the trials to evaluate were trained on" in capsys.readouterr().out


def test_the_eer_goes_by_the_rule_of_the_corpus(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scores = {"CtrSVDD_0": 0.0, "CtrSVDD_1": 0.0, "CtrSVDD_2": 1.0, "CtrSVDD_3": 1.0, "CtrSVDD_4": 0.0}
    labels = ["bonafide", "deepfake", "bonafide", "deepfake", "deepfake"]
    lines = (f"kiritan s {id} - {'A09' if x == 'deepfake' else '-'} {x}\n" for id, x in zip(scores, labels))
    (tmp_path / "dev.txt").write_text("".join(lines))
    write("s.txt", scores)
    assert main(["calibrate", "fit", "ctrsvdd", "s.txt"]) == 0
    bonafide, spoof = [0.0, 1.0], [0.0, 1.0, 0.0]
    rules = {rule: 100 * metrics.compute_eer(bonafide, spoof, rule)[0] for rule in ("sklearn", "asvspoof")}
    assert rules["sklearn"] != pytest.approx(rules["asvspoof"])
    assert figures_printed(capsys.readouterr().out)["dev s"][0] == pytest.approx(rules["sklearn"], abs=5e-5)


def test_scores_of_a_real_system(shared, tmp_path, monkeypatch, capsys):
    """CQCC-GMM on the dev set of ASVspoof 2019 LA gives badly calibrated log-likelihood ratios."""
    monkeypatch.chdir(tmp_path)
    source = shared / "real" / "scores" / "asvspoof2019_la"
    (tmp_path / PROTOCOLS["dev"]).write_bytes(lzma.open(source / f"{PROTOCOLS['dev']}.xz").read())
    rows = (line.split() for line in lzma.open(source / "CQCC-GMM.dev.txt.xz", "rt"))
    write("CQCC-GMM.txt", {row[0]: float(row[3]) for row in rows})
    assert main("calibrate fit asvspoof2019_la CQCC-GMM.txt".split()) == 0
    table = figures_printed(capsys.readouterr().out)
    before, after = table["dev CQCC-GMM"], table["dev calibrated"]
    assert before[:2] == after[:2] == [0.4311, 0.0109]
    assert after[4] < 0.025 < 0.08 < before[4]
    assert after[2] < 0.015 < 0.05 < before[2]


# Recordings and detectors


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A folder with ``list.csv``, its 24 recordings, a detector, and the scores ``s.txt`` of their first half second."""
    folder = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(24):
        noise = rng.normal(0, 0.02 + 0.02 * (number % 2), 6000 + 500 * number)
        soundfile.write(folder / f"r{number}.wav", noise, 16000)
        rows.append(f"r{number}.wav,{('real', 'fake')[number % 2]}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    config = {"frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}, "backend": "mean_linear"}
    Detector.from_config(config).save(folder / "d.pth")
    assert score(folder) == 0
    return folder


def score(folder):
    flags = f"--split all --model {folder}/d.pth --samples 8000 --workers 0 --out {folder}/s.txt"
    return main(["score", "generic", f"{folder}/list.csv", *flags.split()])


@pytest.fixture
def recordings(scored, tmp_path, monkeypatch, capsys):
    """A copy of ``scored``, to work in."""
    folder = tmp_path / "work"
    shutil.copytree(scored, folder)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    return folder


LEARN = "calibrate fit generic s.txt --root list.csv --phase all --workers 0 --save c.json --allow-inverted".split()


def test_a_calibration_holds_detector_recordings_and_date(recordings, capsys):
    (recordings / "r5.wav").write_bytes(b"RIFF")
    assert main(LEARN) == 0
    printed = capsys.readouterr()
    assert "left out: r5: audio file" in printed.err and "1 recording was left out: r5" in printed.err
    fingerprint = Detector.from_pretrained(recordings / "d.pth").fingerprint()
    assert f"detector: {fingerprint[:12]} in float32, scored the first 8000 samples" in printed.out
    assert "recordings: 23 measured by duration, level, bandwidth\n" in printed.out
    found = calibration.load("c.json")
    assert found.scored_by == calibration.ScoredBy(fingerprint, "float32", 8000)
    facts = found.trained_on
    assert (facts["corpus"], facts["phase"], facts["num_bonafide"], facts["num_spoof"]) == ("generic", "all", 12, 12)
    assert facts["scores_sha256"] == hashlib.sha256((recordings / "s.txt").read_bytes()).hexdigest()
    assert datetime.fromisoformat(facts["date"]).utcoffset() == timedelta(0)
    assert sum(map(len, found.llrs)) == 24
    population = found.population
    assert population.num_recordings == 23 and not population.has_embeddings
    heard = [measure(load_head_and_length(f"r{n}.wav", 8000)[0]).level for n in range(24) if n != 5]
    assert population.usual["level"].middle == pytest.approx(np.median(heard), rel=1e-5)
    assert main(["info", "c.json"]) == 0
    told = capsys.readouterr().out
    assert fingerprint in told and "23 measured" in told and "usual bandwidth" in told and "0.4 to 0.5 s" in told
    kept = json.loads((recordings / "c.json").read_text())
    assert main(LEARN) == 0
    again = json.loads((recordings / "c.json").read_text())
    assert again["population"] == kept["population"] and again["weights"] == kept["weights"]


def test_with_the_model_embeddings_count_and_an_interrupted_run_goes_on(recordings, capsys, monkeypatch):
    command = [*LEARN, "--model", "d.pth", "--device", "cpu"]
    kept = recordings / "c.json.embeddings.npy"
    given: list = []

    def interrupted(traits, classes):
        given.extend(traits)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Population, "fit", interrupted)
        assert main(command) != 0
    assert kept.is_file() and not (recordings / "c.json").exists()
    written = os.stat(kept).st_mtime_ns
    fit = Population.fit

    def resumed(traits, classes):
        assert os.stat(kept).st_mtime_ns == written  # nothing was embedded again
        return fit(traits, classes)

    monkeypatch.setattr(Population, "fit", resumed)
    capsys.readouterr()
    assert main(command) == 0
    assert "24 measured by duration, level, bandwidth, embedding" in capsys.readouterr().out
    assert not list(recordings.glob("c.json.embeddings*"))
    assert calibration.load("c.json").population.has_embeddings
    head = torch.from_numpy(np.resize(load_head_and_length("r3.wav", 8000)[0], 8000))
    with torch.inference_mode():
        expected = Detector.from_pretrained("d.pth").embeddings(head[None], "backend")[0].numpy()
    np.testing.assert_allclose(given[3].embedding, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--model", "other.pth"], "other.pth is not the detector that made s.txt"),
        (["--model", "d.pth", "--scores", "bare.txt"], "bare.txt: no record of these scores is beside it"),
        (["--save", ""], "name a file for it with --save"),
        (["--root", "", "--keys", "list.csv", "--model", "d.pth"], "name its folder with --root"),
        (["--root", "few.csv", "--keys", "list.csv"], "few.csv: has no recordings of 22 of the 24 trials"),
        (["--resolution", "20"], "--resolution is the length of frames"),
    ],
)
def test_what_cannot_be_measured(recordings, capsys, changes, message):
    command = LEARN.copy()
    for flag, value in zip(changes[::2], changes[1::2]):
        if flag == "--scores":
            command[3] = value
        elif flag in command:
            place = command.index(flag)
            command[place : place + 2] = [flag, value] if value else []
        else:
            command += [flag, value]
    torch.manual_seed(1)
    Detector.from_config(Detector.from_pretrained("d.pth").config).save("other.pth")
    shutil.copy("s.txt", "bare.txt")
    (recordings / "few.csv").write_text("path,label\nr0.wav,real\nr1.wav,fake\n")
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_without_a_record_or_with_that_of_other_scores_the_detector_is_unknown(recordings, capsys):
    (recordings / "s.txt").write_text((recordings / "s.txt").read_text() + "\n")
    command = "calibrate fit generic s.txt --keys list.csv --phase all --save c.json --allow-inverted".split()
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "note: no record of these scores is beside s.txt, so predict cannot check" in printed
    assert "note: the recordings were not measured, so predict cannot say 'cannot tell'; add --root DIR" in printed
    assert calibration.load("c.json").scored_by is None
    assert main(["info", "c.json"]) == 0
    assert "nothing tells whether it is the same one" in capsys.readouterr().out


def test_scores_of_another_detector_are_not_calibrated(recordings, capsys):
    """As `predict` refuses it: a calibration says nothing about the scores of another detector."""
    assert main(LEARN) == 0
    record = json.loads((recordings / "s.txt.json").read_text())
    shutil.copy("s.txt", "again.txt")
    apply = "calibrate apply c.json again.txt --out x.txt".split()
    learn = (
        "calibrate fit generic s.txt --keys list.csv --phase all --allow-inverted --apply again.txt --out x.txt".split()
    )
    for run, said in (
        (
            {"model": "0f" * 32},
            "again.txt: the calibration does not belong to this detector: it was learned from scores of",
        ),
        (
            {"dtype": "bfloat16"},
            "the calibration was learned from scores in float32; scores in bfloat16 differ a little",
        ),
        ({"num_samples": None}, "learned from scores of the first 0.5 s, not of whole recordings"),
        ({}, ""),
    ):
        (recordings / "again.txt.json").write_text(json.dumps(record | {"run": record["run"] | run}))
        for command in (apply, learn):
            (recordings / "x.txt").unlink(missing_ok=True)
            capsys.readouterr()
            refused = "model" in run
            assert main(command) == (2 if refused else 0)
            printed = capsys.readouterr()
            assert said in (printed.err if refused else printed.out)
            assert ("note: the calibration" in printed.out) is bool(said and not refused)
            assert (recordings / "x.txt").exists() is not refused
    (recordings / "again.txt.json").unlink()
    assert main(apply) == 0
    assert "note: no record of these scores is beside again.txt" in capsys.readouterr().out
    own = calibration.load("c.json")
    replace(own, scored_by=replace(own.scored_by, resolution_ms=20.0)).save("c.json")
    (recordings / "again.txt.json").write_text(json.dumps(record))
    assert main(apply) == 2
    assert "the calibration was learned from scores of frames of 20 ms, not of recordings" in capsys.readouterr().err


def test_frames(tmp_path, monkeypatch, capsys):
    """Frames of 20 ms are learned from with the labels of the corpus, as WeDefense's columns are."""
    monkeypatch.chdir(tmp_path)
    clips = [(label, clip[:16000]) for label in ("bonafide", "spoof") for clip in generated_clips(label, 6)]
    make_partialspoof(tmp_path, clips)
    database = tmp_path / "partialspoof" / "database"
    labels = np.load(database / "segment_labels" / "dev_seglab_0.02.npy", allow_pickle=True).item()
    finer = np.load(database / "segment_labels" / "dev_seglab_0.01.npy", allow_pickle=True).item()
    labels = {id: row[: len(finer[id]) // 2] for id, row in labels.items()}  # whole frames
    rng = np.random.default_rng(0)
    scores = {id: (row.astype(int) + rng.normal(0, 1, len(row))) for id, row in labels.items()}
    (tmp_path / "f.txt").write_text("".join(lines(id, row) for id, row in scores.items()))
    command = "calibrate fit partialspoof f.txt --root partialspoof --workers 0 --save c.json".split()
    assert main([*command, "--apply", "f.txt", "--out", "x.txt"]) == 2
    assert "give it to nes2net predict --segments --calibration" in capsys.readouterr().err
    assert main(command) == 2
    assert "no record beside it says how long its frames are" in capsys.readouterr().err
    run = {"model": "0f" * 32, "dtype": "float32", "num_samples": None, "resolution_ms": 20.0}
    digest = hashlib.sha256((tmp_path / "f.txt").read_bytes()).hexdigest()
    record = {"run": run, "failures": {}, "sha256": digest, "resolution_ms": 20.0}
    (tmp_path / "f.txt.json").write_text(json.dumps(record))
    assert main(command) == 0
    printed = capsys.readouterr().out
    is_bonafide = np.concatenate([row == "1" for row in labels.values()])
    assert f"{is_bonafide.sum()} bona fide and {(~is_bonafide).sum()} spoofed frames of 20 ms" in printed
    found = calibration.load("c.json")
    every = np.concatenate(list(scores.values()))
    expected = calibration.fit(every[is_bonafide], every[~is_bonafide])
    assert found.weights == pytest.approx(expected.weights, rel=1e-9) and found.offset == pytest.approx(expected.offset)
    assert found.scored_by == calibration.ScoredBy("0f" * 32, "float32", None, 20.0)
    assert found.trained_on["resolution_ms"] == 20 and found.population.num_recordings == 12
    assert main(["calibrate", "fit", "partialspoof", "f.txt", "f.txt", "--keys", "partialspoof"]) == 2
    assert "holds scores of frames" in capsys.readouterr().err


def test_a_calibration_that_hurts_is_warned_of(folder, capsys):
    """The evaluated scores lie higher than those learned from, as with another channel; as they are, they serve."""
    write("A.eval.txt", {id: score * 0.2 for id, score in read("A.eval.txt").items()})
    write("A.dev.txt", {id: score * 0.2 - 4 for id, score in read("A.dev.txt").items()})
    assert main("calibrate fit asvspoof2019_la A.dev.txt --save A.json --apply A.eval.txt --out x.txt".split()) == 0
    printed = capsys.readouterr()
    table = figures_printed(printed.out)
    before, after = table["eval A.dev"][4], table["eval calibrated"][4]
    assert after > 1 > before
    warned = (
        f"warning: eval calibrated: Cllr is worse than before, {before:.4f} → {after:.4f}, and above 1 it tells less"
    )
    warning, *written = printed.err.splitlines()
    assert (
        warning.startswith(warned) and "learn a calibration" in warning and written == ["wrote x.txt", "wrote A.json"]
    )
    assert main("calibrate apply A.json A.eval.txt --out x.txt --eval-corpus asvspoof2019_la".split()) == 0
    assert capsys.readouterr().err.startswith(warned)
    # A fusion is compared with the best of its systems.
    command = "calibrate fit asvspoof2019_la A.dev.txt B.dev.txt --apply A.eval.txt B.eval.txt --out x.txt"
    assert main(command.split()) == 0
    assert "warning: eval fused: Cllr is worse than before" in capsys.readouterr().err
    assert main("calibrate fit asvspoof2019_la B.dev.txt --apply B.eval.txt --out x.txt".split()) == 0
    assert "warning" not in capsys.readouterr().err
