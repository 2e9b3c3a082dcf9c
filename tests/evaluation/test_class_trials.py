"""How trials get their classes: whatever a record says of it is said, and a user may name the field."""

import json

import numpy as np
import pytest
from builders import input_error
from builders.files import write, write_record

from nes2net.actions.evaluation import evaluate
from nes2net.cli.main import main
from nes2net.evaluation.key import Labels
from nes2net.lib.files import sha256_of
from nes2net.scoring.decisions.known import KnownThreshold
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.judgement import ScoreFile, scores_of

ATTACKS = ("A01", "A02", "A03")
FAMILIES = {"A01": "vocoder", "A02": "vocoder", "A03": "codec"}
KNOWN = KnownThreshold.of_logits(np.array([[9.0, 0.0, 0.0], [5.0, 0.0, 1.0]])).to_dict()


@pytest.fixture
def folder(tmp_path):
    """A key of 30 trials of three attacks, and logits of other programs, which say A01, or vocoder, of each trial."""
    lines = ["path,label,attack,family"]
    for number, attack in enumerate(["A01"] * 15 + ["A02"] * 9 + ["A03"] * 6):
        lines.append(f"u{number}.wav,spoof,{attack},{FAMILIES[attack]}")
    write(tmp_path / "key.csv", lines)
    write(tmp_path / "logits.tsv", logits_of(ATTACKS))
    write(tmp_path / "families.tsv", logits_of(["vocoder", "codec", "other"]))
    return tmp_path


def logits_of(names, id="u{}"):
    lines = ["\t".join(["utterance", *names])]
    for number in range(30):
        lines.append(f"{id.format(number)}\t5\t0\t0")
    return "\n".join(lines)


def write_class_labels(folder, class_labels, name="logits.tsv"):
    """Write the record that a stranger might give beside a file."""
    file = folder / name
    judgement = {"name": "classes", "classes": list(ATTACKS)}
    checkpoint = {"class_labels": class_labels}
    write_record(file, run={"model": "x"}, sha256=sha256_of(file), judgement=judgement, checkpoint=checkpoint)


def evaluated(folder, *files, **settings):
    paths = [folder / file for file in files or ("logits.tsv",)]
    return evaluate(Labels("generic", folder / "key.csv", "all"), paths, num_resamples=5, **settings)


def test_without_a_record_the_class_is_the_attack(folder):
    result = evaluated(folder)
    assert result["accuracy"].value == 0.5
    assert "logits: the class of a trial is its attack, by default; no aliases" in result.lines
    assert result.header["class_labels"]["logits"] == {"field": "attack", "aliases": {}, "source": "by default"}
    assert not result.warnings


RECORDS = {
    "joined": {"field": "attack", "aliases": {"A02": "A01", "A03": "A01"}},
    "swapped": {"field": "attack", "aliases": {"A01": "A02", "A02": "A01"}},
    "renamed": {"field": "attack", "aliases": {"A03": "A04"}},
    "another field": {"field": "family", "aliases": {"vocoder": "A01", "codec": "A02"}},
    "only aliases": {"aliases": {"A02": "A01"}},
    "a threshold": {"field": "attack", "aliases": {}, "known": KNOWN},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_line_says_how_a_record_changes_the_classes_of_trials(folder, name):
    stated = RECORDS[name]
    alone = evaluated(folder)
    write_class_labels(folder, stated)
    result = evaluated(folder)
    field = stated.get("field", "attack")
    source = f"as {folder / 'logits.tsv.json'} says"
    assert result.header["class_labels"]["logits"] == {"field": field, "aliases": stated["aliases"], "source": source}
    (line,) = [line for line in result.lines if line.startswith("logits: the class of a trial is ")]
    assert line.startswith(f"logits: the class of a trial is its {field}, {source}; ")
    for value, class_name in stated["aliases"].items():
        assert f"{value} counts as {class_name}" in line
    content = json.loads(json.dumps(result.to_dict()))
    assert line in content["lines"]
    has_other_figures = content["tables"] != json.loads(json.dumps(alone.to_dict()))["tables"]
    assert has_other_figures == (name != "a threshold")


def test_aliases_that_join_classes_of_the_key_are_warned_of(folder):
    write_class_labels(folder, RECORDS["joined"])
    result = evaluated(folder)
    assert result["accuracy"].value == 1
    source = f"as {folder / 'logits.tsv.json'} says"
    assert result.warnings == [f"logits: aliases join 3 classes of the key to 1, {source}"]
    assert result.warnings[0] in result.to_dict()["notices"]
    write_class_labels(folder, RECORDS["swapped"])
    assert not evaluated(folder).warnings


def test_systems_whose_records_differ_are_warned_of(folder):
    write(folder / "other.tsv", logits_of(ATTACKS))
    assert not evaluated(folder, "logits.tsv", "other.tsv").warnings
    write_class_labels(folder, RECORDS["swapped"], "other.tsv")
    differ = "the systems differ in how trials get their classes, so their figures cannot be compared"
    assert evaluated(folder, "logits.tsv", "other.tsv").warnings == [differ]


def test_the_class_field_of_the_user_overrides_that_of_the_record(folder):
    write_class_labels(folder, RECORDS["joined"])
    result = evaluated(folder, "families.tsv", class_field="family")
    assert result["accuracy"].value == 0.8
    assert result.header["class_labels"]["families"]["field"] == "family"
    assert evaluated(folder, class_field="attack").header["class_labels"]["logits"]["aliases"]


def test_a_class_field_without_classes_of_the_detector_is_refused(folder):
    with input_error("no trial of the key has one of the classes A01, A02, A03 as family"):
        evaluated(folder, class_field="family")
    with input_error("30 spoofed trials of the key with no codec, .*name the field .* `class_field`"):
        evaluated(folder, class_field="codec")


def test_evaluate_has_a_flag_for_the_class_field(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = "evaluate generic families.tsv --keys key.csv --phase all --resamples 5 --class-field family"
    assert not main(words.split())
    assert "families: the class of a trial is its family, as asked for; no aliases" in capsys.readouterr().out


def test_calibrate_classes_says_how_trials_get_their_classes(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write_class_labels(folder, RECORDS["joined"])
    words = "calibrate classes generic logits.tsv --keys key.csv --phase all --save known.json"
    assert not main(words.split())
    printed = capsys.readouterr().err
    assert "note: logits: the class of a trial is its attack, as logits.tsv.json says; A02 counts as A01" in printed
    assert "aliases join 3 classes of the key to 1" in printed
    assert main([*words.split(), "--class-field", "family"]) == 2


def test_class_field_has_no_effect_on_scores(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    write(folder / "scores.txt", "u0 1\nu1 2\n")
    assert main("evaluate generic scores.txt --keys key.csv --phase all --class-field family".split()) == 2
    assert "--class-field has no effect on scores, which scores.txt holds" in capsys.readouterr().err


def test_spaces_around_class_names_are_ignored(folder):
    write(folder / "logits.tsv", logits_of([" A01", "A02 ", " A03 "], id=" u{} "))
    result = evaluated(folder)
    assert result.header["classes"]["logits"] == list(ATTACKS)
    assert result["accuracy"].value == 0.5


@pytest.mark.parametrize("names, unknown", [(("a01", "A02", "A03"), "A01"), (("A 01", "A-02", "A03"), "")])
def test_classes_that_differ_only_in_case_are_warned_of(folder, names, unknown):
    write(folder / "logits.tsv", logits_of(names))
    warnings = evaluated(folder).warnings
    hint = f"logits: {unknown} of the key differ from classes of the detector only in case or spaces, and are unknown"
    assert warnings == ([hint] if unknown else [])


def test_the_error_says_that_classes_differ_only_in_case(folder):
    write(folder / "logits.tsv", logits_of(["a01", "a02", "a03"]))
    with input_error("A01, A02, A03 of the key differ from classes of the detector only in case"):
        evaluated(folder)


@pytest.mark.parametrize(
    "header",
    [
        "utterance\tlogit_spoof\tlogit_bonafide",
        "utterance\tlabel\tscore",
        "utterance\tscore\tllr",
        "utterance\tspoof\tbonafide",
    ],
)
def test_a_table_of_scores_is_not_taken_for_classes(tmp_path, header):
    scores = write(tmp_path / "scores.tsv", f"{header}\nu0\t0.1\t0.2\n")
    assert ScoreFile.of(scores).judgement.name == "scores"


def test_classes_may_be_called_like_scores(tmp_path):
    logits = write(tmp_path / "logits.tsv", "utterance\tFakeYou\tReal time cloning\nu0\t0.1\t0.2\n")
    assert ScoreFile.of(logits).judgement.name == "classes"


def test_classes_of_another_program_are_scores_if_the_last_is_bona_fide(tmp_path):
    logits = write(tmp_path / "logits.tsv", "utterance\tA01\tA02\tbonafide\nu0\t0\t0\t2\n")
    ids, scores = scores_of(logits)
    assert ids == ["u0"]
    assert scores == pytest.approx(2 - np.log(2))
    write(logits, "utterance\tA01\tA02\nu0\t0\t0\n")
    with input_error("none of the classes is bona fide, so the logits give no score"):
        scores_of(logits)


def embeddings(folder, name, ids):
    """Write embeddings of trials ``ids``; those of an attack point into one direction."""
    file = folder / f"{name}.npy"
    directions = np.eye(3, dtype=np.float32)
    np.save(file, directions[np.arange(len(ids)) % 3])
    rows = [f"{id},spoof" for id in ids]
    write(folder / f"{name}.npy.csv", ["id,label", *rows])
    assert len(dict(Embeddings().read(file))) == len(ids)
    return file


def test_verification_names_the_records_that_it_used(folder):
    """Of the class of a trial, and of the corpus that labels trials that the key lacks."""
    trials = embeddings(folder, "trials", [f"u{number}" for number in range(30)])
    corpus = write(folder / "corpus.csv", "path,label,attack\ne0.wav,spoof,A01\ne1.wav,spoof,A02\ne2.wav,spoof,A03\n")
    enrolled = embeddings(folder, "enrolled", ["e0", "e1", "e2"])
    write_record(enrolled, corpus={"name": "generic", "root": str(corpus), "split": "all"})
    write_record(trials, judgement={"name": "embeddings"}, checkpoint={"class_labels": RECORDS["joined"]})
    result = evaluated(folder, "trials.npy", reference=(enrolled,))
    labels = f"{enrolled}: trials that the key lacks have the labels of generic in {corpus}, says its record"
    assert labels in result.lines
    source = f"as {trials}.json says"
    assert f"trials: the class of a trial is its attack, {source}; A02 counts as A01, A03 counts as A01" in result.lines
    assert f"aliases join 3 classes of the key to 1, {source}" in result.notes
    assert result.header["class_labels"]["trials"]["aliases"] == RECORDS["joined"]["aliases"]
