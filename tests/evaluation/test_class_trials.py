"""How trials get their classes: from the field and the aliases of a record, from the field that a user names, or by default."""

import numpy as np
import pytest
from builders import input_error
from builders.files import write, write_record

from nes2net.actions.evaluation import evaluate
from nes2net.lib.storage.files import sha256_of
from nes2net.scoring.judgement import ScoreFile, scores_of

ATTACKS = ("A01", "A02", "A03")
FAMILIES = {"A01": "vocoder", "A02": "vocoder", "A03": "codec"}


@pytest.fixture
def folder(tmp_path):
    """A key of 30 trials of three attacks, and logits of another program, which say A01 of each trial."""
    lines = ["path,label,attack,family"]
    for number, attack in enumerate(["A01"] * 15 + ["A02"] * 9 + ["A03"] * 6):
        lines.append(f"u{number}.wav,spoof,{attack},{FAMILIES[attack]}")
    write(tmp_path / "key.csv", lines)
    write(tmp_path / "logits.tsv", logits_of(ATTACKS))
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
    return evaluate("generic", paths, folder / "key.csv", "all", num_resamples=5, **settings)


def test_without_a_record_the_class_of_a_trial_is_its_attack(folder):
    assert evaluated(folder)["accuracy"].value == 0.5


def test_the_result_states_that_the_class_of_a_trial_is_its_attack_by_default(folder):
    result = evaluated(folder)
    assert "logits: the class of a trial is its attack, by default; no aliases" in result.lines
    assert result.header["class_labels"]["logits"] == {"field": "attack", "aliases": {}, "source": "by default"}


JOINED = {"field": "attack", "aliases": {"A02": "A01", "A03": "A01"}}
SWAPPED = {"field": "attack", "aliases": {"A01": "A02", "A02": "A01"}}
OTHER_FIELD = {"field": "family", "aliases": {"vocoder": "A01", "codec": "A02"}}


@pytest.mark.parametrize("stated", [JOINED, OTHER_FIELD, {"aliases": {"A02": "A01"}}])
def test_the_result_states_the_class_field_and_the_aliases_that_a_record_gives(folder, stated):
    write_class_labels(folder, stated)
    result = evaluated(folder)
    field = stated.get("field", "attack")
    source = f"as {folder / 'logits.tsv.json'} says"
    assert result.header["class_labels"]["logits"] == {"field": field, "aliases": stated["aliases"], "source": source}
    (line,) = [line for line in result.lines if line.startswith("logits: the class of a trial is ")]
    assert line.startswith(f"logits: the class of a trial is its {field}, {source}; ")
    for value, class_name in stated["aliases"].items():
        assert f"{value} counts as {class_name}" in line


def test_aliases_that_join_classes_of_the_key_are_warned_of(folder):
    write_class_labels(folder, JOINED)
    source = f"as {folder / 'logits.tsv.json'} says"
    assert evaluated(folder).warnings == [f"logits: aliases join 3 classes of the key to 1, {source}"]


def test_a_trial_of_a_class_with_an_alias_counts_as_a_trial_of_the_alias(folder):
    write_class_labels(folder, JOINED)
    assert evaluated(folder)["accuracy"].value == 1


def test_bona_fide_trials_are_evaluated_if_bona_fide_is_a_class_of_the_detector(folder):
    write(folder / "key.csv", (folder / "key.csv").read_text() + "\nb.wav,bonafide,,\n")
    write(folder / "logits.tsv", logits_of(("A01", "A02", "bonafide")) + "\nb\t0\t0\t5")
    assert evaluated(folder).header["num_left_out"] == 0


def test_systems_whose_records_differ_in_the_classes_of_trials_are_warned_of(folder):
    write(folder / "other.tsv", logits_of(ATTACKS))
    assert not evaluated(folder, "logits.tsv", "other.tsv").warnings
    write_class_labels(folder, SWAPPED, "other.tsv")
    differ = "the systems differ in how trials get their classes, so their figures cannot be compared"
    assert evaluated(folder, "logits.tsv", "other.tsv").warnings == [differ]


def test_the_class_field_of_the_user_overrides_that_of_the_record(folder):
    write_class_labels(folder, OTHER_FIELD)
    result = evaluated(folder, class_field="attack")
    assert result["accuracy"].value == 0.5


def test_a_class_field_whose_values_are_no_classes_of_the_detector_is_refused(folder):
    with input_error("no trial of the key has one of the classes A01, A02, A03 as family"):
        evaluated(folder, class_field="family")


def test_spaces_around_names_of_classes_and_ids_in_a_file_of_logits_are_ignored(folder):
    write(folder / "logits.tsv", logits_of([" A01", "A02 ", " A03 "], id=" u{} "))
    result = evaluated(folder)
    assert result.header["classes"]["logits"] == list(ATTACKS)
    assert result["accuracy"].value == 0.5


def test_classes_of_the_detector_that_differ_from_those_of_the_key_only_in_case_are_warned_of(folder):
    write(folder / "logits.tsv", logits_of(("a01", "A02", "A03")))
    hint = "logits: A01 of the key differ from classes of the detector only in case or spaces, and are unknown"
    assert evaluated(folder).warnings == [hint]


@pytest.mark.parametrize(
    "header",
    [
        "utterance\tlogit_spoof\tlogit_bonafide",
        "utterance\tlabel\tscore",
        "utterance\tscore\tllr",
        "utterance\tspoof\tbonafide",
    ],
)
def test_a_table_of_scores_is_not_taken_for_logits_of_classes(tmp_path, header):
    scores = write(tmp_path / "scores.tsv", f"{header}\nu0\t0.1\t0.2\n")
    assert ScoreFile.of(scores).judgement.name == "scores"


def test_the_score_of_a_trial_by_logits_of_classes_is_its_log_odds_of_bona_fide(tmp_path):
    logits = write(tmp_path / "logits.tsv", "utterance\tA01\tA02\tbonafide\nu0\t0\t0\t2\n")
    ids, scores = scores_of(logits)
    assert ids == ["u0"]
    assert scores == pytest.approx(2 - np.log(2))


def test_logits_of_classes_without_bona_fide_are_refused_as_scores(tmp_path):
    logits = write(tmp_path / "logits.tsv", "utterance\tA01\tA02\nu0\t0\t0\n")
    with input_error("none of the classes is bona fide, so the logits give no score"):
        scores_of(logits)
