"""Source tracing from training to a page: the task, the judgement ``classes`` and its evaluation, on tones of three generators."""

import itertools
import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.files import read_json, write, write_json, write_record
from builders.runs import history_of
from builders.small_parts import SPECTRUM
from conftest import load_detector
from numpy.random import default_rng

from nes2net import Detector, decisions, metrics
from nes2net.actions.evaluation import evaluate
from nes2net.actions.known_classes import known_classes
from nes2net.actions.prediction import predict
from nes2net.cli.main import main
from nes2net.evaluation.classes import Classes
from nes2net.evaluation.key import Labels
from nes2net.evaluation.page import html_page
from nes2net.evaluation.resampled_classes import Resamples, Rule
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.judgement import ScoreFile, as_judgement, scores_of
from nes2net.training.averaging import average as average_run
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.run import train
from nes2net.training.tasks.task import create_task

#: generator → frequency in Hz; the last is unknown
TONES = {"A lower": 300, "B, middle": 900, "C=higher": 2700, "D": 5000}
KNOWN = tuple(TONES)[:3]
MODEL = {
    "frontend": SPECTRUM,
    "aggregation": "last",
    "backend": {"name": "asp_mlp", "hidden_dim": 8},
}


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """A list of 12 clips of each generator and part; the development set has a generator that training lacks."""
    root = tmp_path_factory.mktemp("tones")
    rng = default_rng(0)
    rows = ["path,label,vocoder,split"]
    for split, name in itertools.product(("train", "dev", "eval"), [*TONES, ""]):
        if name == "D" and split == "train":
            continue
        frequency = TONES.get(name, 0)
        label = "spoof" if name else "bonafide"
        for number in range(12):
            path = f"{split}_{frequency}_{number}.wav"
            tone = 0.3 * np.sin(2 * math.pi * frequency * np.arange(4000) / 16000 + number)
            soundfile.write(root / path, tone + 0.05 * rng.normal(size=4000), 16000)
            rows.append(f'{path},{label}," {name}",{split}')
    return write(root / "tones.csv", rows)


def recipe_of(tones, folder, task=None, **train_settings):
    return recipe_from_dict(
        {
            "name": "tracer",
            "model": MODEL,
            "data": {"corpora": [{"name": "generic", "root": str(tones)}], "num_samples": 4000, "num_workers": 0},
            "train": {
                "task": {"name": "source_tracing", "field": "vocoder", **(task or {})},
                "epochs": 6,
                "batch_size": 4,
                "lr": 0.03,
                "keep": "all",
                **train_settings,
            },
            "augment": {"algo": 0},
            "validation": {"select_on": "trace_f1_error"},
            "output": str(folder / "models"),
            "logs": str(folder / "logs"),
        }
    )


@pytest.fixture(scope="module")
def run(tones, tmp_path_factory):
    return train(recipe_of(tones, tmp_path_factory.mktemp("run")), "cpu")


@pytest.fixture(scope="module")
def checkpoint(run):
    return run / "epoch_6.pth"


def score_classes(tones, model, out, *flags):
    """Write the logits of classes of the recordings of a list."""
    judgement = ("--judgement", "classes", *flags)
    assert not main(["score", "generic", str(tones), "--model", str(model), "--out", str(out), *judgement])
    return out


def embed(key, model, folder):
    """Write the embeddings of the training set and of the evaluation set."""
    for split in ("train", "eval"):
        command = ["embed", "generic", str(key), "--split", split, "--model", str(model), "--of", "backend"]
        assert not main([*command, "--out", str(folder / f"{split}.npy")])
    return folder / "train.npy", folder / "eval.npy"


@pytest.fixture(scope="module")
def tracer(checkpoint):
    return load_detector(checkpoint)


@pytest.fixture(scope="module")
def scored(tones, checkpoint):
    return score_classes(tones, checkpoint, tones.parent / "classes.tsv")


@pytest.fixture(scope="module")
def evaluated(scored, tones):
    """A function that evaluates the logits, with settings."""
    return partial(evaluate, "generic", scored, tones, num_resamples=20)


def table_of(file):
    return ScoreFile.of(file).judgement.table(file)


def write_posteriors(file, table):
    """Write the posteriors of the logits of a table of classes."""
    posteriors = np.exp(table.logits) / np.exp(table.logits).sum(1, keepdims=True)
    lines = ["\t".join(["utterance", *table.names])]
    for id, row in zip(table.ids, posteriors.tolist()):
        lines.append("\t".join([id, *map(repr, row)]))
    return write(file, lines)


@pytest.fixture(scope="module")
def embeddings(tones, checkpoint, tmp_path_factory):
    """Files of embeddings of the training set and of the evaluation set."""
    return embed(tones, checkpoint, tmp_path_factory.mktemp("embeddings"))


def generators_of(table):
    """Which trials of a table are of a known, and which of the unknown generator."""
    is_unknown = np.array(["_5000_" in id for id in table.ids])
    is_bonafide = np.array(["_0_" in id for id in table.ids])
    return ~is_unknown & ~is_bonafide, is_unknown


@pytest.mark.slow
def test_the_history_of_a_training_for_source_tracing_has_the_classification_errors(run):
    """They are 0: a detector tells these tones apart."""
    last_epoch = history_of(run)[-1]
    assert last_epoch["val_trace_f1_error_wo_aug"] == 0
    assert last_epoch["val_trace_error_wo_aug"] == 0


def test_the_history_of_a_training_for_source_tracing_has_no_eer(run):
    for name in history_of(run)[-1]:
        assert "eer" not in name


def test_a_checkpoint_of_source_tracing_names_its_classes_and_their_field(tracer):
    assert tracer.classes == KNOWN
    assert tracer.provenance.class_labels["field"] == "vocoder"


def test_score_refuses_a_detector_of_classes_without_bona_fide_and_names_the_judgement_classes(
    checkpoint, tones, tmp_path, capsys
):
    command = ["score", "generic", str(tones), "--model", str(checkpoint), "--out", str(tmp_path / "scores.txt")]
    assert main(command) == 2
    assert "use the --judgement classes" in capsys.readouterr().err


def test_development_trials_of_unknown_classes_are_omitted_with_a_note(tones, tmp_path, capsys):
    task = create_task(recipe_of(tones, tmp_path))
    task.trials("train")
    assert len(task.trials("dev")) == 36
    assert "12 trials of dev omitted, because their vocoder is not one of training: D (12)" in capsys.readouterr().err


@pytest.mark.slow
def test_scores_by_a_detector_of_classes_with_bona_fide_equal_those_computed_from_its_logits(tones, tmp_path):
    folder = train(recipe_of(tones, tmp_path, {"bonafide": True}, epochs=1, loss="aam_softmax"), "cpu")
    model = folder / "epoch_1.pth"
    out = score_classes(tones, model, tmp_path / "classes.tsv")
    assert not main(["score", "generic", str(tones), "--model", str(model), "--out", str(tmp_path / "s.txt")])
    bonafide_scores = dict(zip(*scores_of(tmp_path / "s.txt")))
    assert dict(zip(*scores_of(out))) == pytest.approx(bonafide_scores, abs=1e-5)


def test_training_by_a_field_that_spoofed_trials_lack_is_refused(tones, tmp_path):
    with input_error("36 spoofed trials of train with no codec, which would name the class: train_300_0"):
        create_task(recipe_of(tones, tmp_path, {"field": "codec"})).trials("train")


def test_training_by_a_field_without_two_classes_of_enough_trials_is_refused(tones, tmp_path):
    with input_error("at least two classes with 13 training trials each, and the field vocoder has none"):
        create_task(recipe_of(tones, tmp_path, {"min_trials": 13})).trials("train")


def test_development_trials_whose_alias_is_a_known_class_are_not_omitted(tones, tmp_path):
    task = create_task(recipe_of(tones, tmp_path, {"aliases": {"D": "A lower"}}))
    task.trials("train")
    assert len(task.trials("dev")) == 48


def test_scoring_by_the_judgement_classes_writes_logits_of_the_known_classes_for_all_trials(scored):
    table = table_of(scored)
    assert table.names == KNOWN
    assert len(table.ids) == 60
    assert not table.holds_posteriors


def test_logits_of_classes_are_converted_to_the_posteriors_that_the_detector_gives(scored, tracer, tones):
    judgement = ScoreFile.of(scored).judgement
    waveform = soundfile.read(tones.parent / f"{table_of(scored).ids[0]}.wav", dtype="float32")[0]
    _, logits = next(iter(judgement.read(scored)))
    with torch.inference_mode():
        expected = tracer.posteriors(torch.from_numpy(waveform)[None])[0]
    posteriors = judgement.tell(logits)["posteriors"]
    assert tuple(posteriors) == KNOWN
    assert list(posteriors.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_file_of_logits_of_classes_without_a_record_is_recognised_by_its_first_line(scored, tmp_path):
    copy = shutil.copy(scored, tmp_path / "copy.tsv")
    assert isinstance(ScoreFile.of(copy).judgement, Classes)


@pytest.fixture(scope="module")
def result(evaluated):
    return evaluated(num_resamples=200)


def test_accuracy_and_macro_f1_of_tones_that_the_detector_tells_apart_are_1(result):
    assert result["accuracy"].value == 1
    assert result["macro_f1"].value == 1


def test_auroc_fpr95_and_eer_of_scores_of_being_known_equal_direct_calls_of_the_metrics(result, scored):
    """The mean AUROC over unknown classes is that of the only one."""
    table = table_of(scored)
    is_known, is_unknown = generators_of(table)
    rows = result.rows("open")
    assert [row.labels["score"] for row in rows] == ["log_odds", "max_logit", "energy", "sme"]
    for row in rows:
        scores = decisions.known_scores(table.logits, row.labels["score"])
        known_scores = scores[is_known]
        unknown_scores = scores[is_unknown]
        assert row.value("auroc") == row.value("mean_auroc") == metrics.auroc(known_scores, unknown_scores)
        assert row.value("fpr95") == metrics.fpr95(known_scores, unknown_scores)[0]
        assert row.value("eer") == metrics.compute_eer(known_scores, unknown_scores, "roc")[0]


def test_trials_of_known_and_of_unknown_classes_and_left_out_bona_fide_trials_are_counted(result):
    assert result.header["num_known"] == 36
    assert result.header["num_unknown"] == 12
    assert result.header["num_left_out"] == 12  # bona fide
    (row,) = result.rows("unknown")
    assert row.labels["unknown class"] == "D"
    assert row.value("num_trials") == 12


def test_trials_whose_score_of_being_known_is_below_the_threshold_count_as_unknown(result, scored, tracer):
    table = table_of(scored)
    is_known, is_unknown = generators_of(table)
    threshold = decisions.KnownThreshold.read(tracer.provenance.class_labels["known"])
    scores = decisions.known_scores(table.logits, threshold.kind)
    (row,) = result.rows("with_unknown")
    assert row.value("unknown_found") == np.mean(scores[is_unknown] < threshold.threshold)
    assert row.value("known_rejected") == np.mean(scores[is_known] < threshold.threshold)


FREQUENCIES = ("300", "900", "2700")  # of the known generators


def frequency_of(id):
    return id.split("_")[1]


def test_the_knn_score_compares_a_trial_only_with_training_trials_of_known_classes(evaluated, embeddings):
    result = evaluated(reference=embeddings)
    training, test = (dict(Embeddings().read(file)) for file in embeddings)
    known_training = {id: row for id, row in training.items() if frequency_of(id) in FREQUENCIES}
    classes = np.array([FREQUENCIES.index(frequency_of(id)) for id in known_training])
    reference = decisions.Reference(np.stack(list(known_training.values())), classes)
    scores = dict(zip(test, reference.scores(np.stack(list(test.values())))))
    known_scores = [score for id, score in scores.items() if frequency_of(id) in FREQUENCIES]
    unknown_scores = [score for id, score in scores.items() if frequency_of(id) == "5000"]
    (row,) = [row for row in result.rows("open") if row.labels["score"] == "knn"]
    assert row.value("auroc") == metrics.auroc(known_scores, unknown_scores)


def test_the_knn_score_of_being_known_requires_embeddings_of_evaluated_trials(evaluated, embeddings):
    with input_error("no embedding of 60 evaluated trials"):
        evaluated(unknown="knn", reference=embeddings[:1])


def test_the_knn_score_of_being_known_requires_embeddings_of_training_trials(evaluated, embeddings):
    with input_error("no training trial is of a known class"):
        evaluated(unknown="knn", reference=embeddings[1:])


@pytest.fixture(scope="module")
def train_logits(checkpoint, tones):
    return score_classes(tones, checkpoint, tones.parent / "train.tsv", "--split", "train")


@pytest.fixture
def embedded(scored, train_logits, embeddings, tones, tmp_path):
    """Logits and embeddings of training and of evaluation, and a key without the training set."""
    folder = Path(shutil.copytree(embeddings[0].parent, tmp_path / "embedded"))
    for file in (scored, train_logits):
        shutil.copy(file, folder)
        shutil.copy(f"{file}.json", folder)
    lines = tones.read_text().splitlines()
    write(folder / "key.csv", [line for line in lines if not line.startswith(("train", "dev"))])
    return folder


def compared(folder, logits="classes.tsv", reference=("train.npy", "train.tsv", "eval.npy")):
    """The rows of the scores of being known, with embeddings and logits of training."""
    settings = {"reference": tuple(folder / name for name in reference), "num_resamples": 20}
    rows = evaluate("generic", folder / logits, folder / "key.csv", **settings).rows("open")
    return {row.labels["score"]: row.figures for row in rows}


def test_training_trials_that_the_key_lacks_get_their_classes_from_the_record_of_their_embeddings(embedded):
    """So all scores that compare with training trials are computed."""
    assert list(compared(embedded))[-3:] == ["knn", "mahalanobis", "nsd"]


def test_training_logits_with_two_rows_of_one_id_are_refused(embedded):
    table = embedded / "train.tsv"
    row = table.read_text().splitlines()[-1].split("\t")
    write(table, f"{table.read_text()}{row[0]}\t" + "\t".join("9" for _ in row[1:]) + "\n")
    with input_error(rf"train\.tsv: '{row[0]}' has different values"):
        compared(embedded)


def test_embeddings_with_the_file_name_of_the_logits_beside_them_are_used_without_being_named(embedded):
    expected = compared(embedded)
    for path in embedded.glob("eval.npy*"):
        path.rename(path.with_name(path.name.replace("eval", "classes")))
    assert compared(embedded, reference=("train.npy", "train.tsv")) == expected


def test_training_logits_of_another_detector_are_refused_as_a_reference(embedded):
    other_record = read_json(embedded / "train.tsv.json")
    other_record["run"]["model"] = "another"
    write_json(embedded / "train.tsv.json", other_record)
    with input_error("train.tsv: its detector is not that of"):
        compared(embedded)


def test_comparison_refuses_training_embeddings_with_no_record_whose_trials_the_key_lacks(embedded):
    (embedded / "train.npy.json").unlink()
    with input_error("train.npy: neither the key nor the corpus in the record"):
        compared(embedded)


def test_a_named_file_of_embeddings_is_used_instead_of_a_stale_one_beside_the_logits(embedded):
    expected = compared(embedded)
    shutil.copy(embedded / "eval.npy.csv", embedded / "classes.npy.csv")
    np.save(embedded / "classes.npy", np.ones_like(np.load(embedded / "eval.npy")))
    assert compared(embedded) == expected


def test_posteriors_have_no_nsd_score_of_being_known(embedded):
    """The score NSD needs the sum of exponentials of the logits, which posteriors do not tell."""
    scores = write_posteriors(embedded / "classes.tsv", table_of(embedded / "classes.tsv"))
    record = read_json(embedded / "classes.tsv.json")
    record.pop("sha256", None)
    write_record(scores, **record)
    assert "nsd" not in compared(embedded)


def test_with_the_option_bonafide_unknown_bona_fide_trials_count_as_an_unknown_class(evaluated):
    result = evaluated(bonafide_unknown=True)
    assert result.header["num_unknown"] == 24
    assert result.header["num_left_out"] == 0
    assert {row.labels["unknown class"] for row in result.rows("unknown")} == {"D", "bonafide"}


def test_the_one_against_rest_eer_is_computed_only_if_it_is_asked_for(result, evaluated):
    assert "one_against_rest_eer" not in result.rows("closed")[0].figures
    assert evaluated(metrics=["one_against_rest_eer"])["one_against_rest_eer"].value == 0


def test_accuracy_is_tabulated_by_a_condition_with_24_trials_but_not_by_one_with_12(scored, tones, tmp_path):
    """A condition is a value of a field of the key."""
    header, *lines = tones.read_text().splitlines()
    rows = [f"{header},codec"]
    for line in lines:
        codec = "a" if "_300_" in line or "_900_" in line else "b"
        rows.append(f"{line},{codec}")
    key = write(tmp_path / "key.csv", rows)
    result = evaluate("generic", scored, key, num_resamples=20)
    (row,) = result.rows("by codec")
    assert row.labels["codec"] == "a"
    assert row.value("num_trials") == 24
    assert row.value("accuracy") == 1


def verification_eer(embeddings, enrolled, frequencies):
    """The EER of spoofed trials against models, each of the mean embedding of enrolled trials of one generator."""
    training, test = (dict(Embeddings().read(file)) for file in embeddings)
    spoofed = {id: row for id, row in test.items() if frequency_of(id) != "0"}
    models = [np.stack([training[id] for id in ids]) for ids in enrolled]
    scores = decisions.verification_scores(list(spoofed.values()), models)
    is_target = np.array([[frequency_of(id) == frequency for frequency in frequencies] for id in spoofed])
    return metrics.compute_eer(scores[is_target], scores[~is_target])[0]


@pytest.fixture(scope="module")
def verification(embeddings, tones):
    """The result of verifying the evaluation set against the classes of the training set."""
    training, evaluation = embeddings
    return evaluate("generic", evaluation, tones, reference=(training,), num_resamples=20)


def test_verification_counts_the_pairs_of_each_spoofed_trial_with_each_class(verification):
    """Of all trials, and with nontargets only of known or only of unknown classes; D is no class of training."""
    pairs = [[row.value("num_targets"), row.value("num_nontargets")] for row in verification.rows("verification")]
    assert pairs == [[36, 36 * 2 + 12 * 3], [36, 36 * 2], [36, 12 * 3]]


def test_the_eer_of_verification_compares_trials_with_the_mean_embedding_of_each_class(verification, embeddings):
    models = [[f"train_{frequency}_{number}" for number in range(12)] for frequency in FREQUENCIES]
    assert verification["eer"].value == verification_eer(embeddings, models, FREQUENCIES)


def test_verification_requires_embeddings_of_enrolled_trials(embeddings, tones):
    with input_error("compared with embeddings of enrolled trials: add `reference`"):
        evaluate("generic", embeddings[1:], tones)


def test_verification_requires_embeddings_of_evaluated_trials(embeddings, tones):
    training, evaluation = embeddings
    with input_error("train.npy: has no embedding of a spoofed trial of the phase"):
        evaluate("generic", training, tones, reference=(evaluation,), allow_partial=True)


@pytest.fixture(scope="module")
def enrolled(checkpoint, tones, tmp_path_factory):
    """Embeddings of training and evaluation, and their result: one trial enrols in two models of a class, as in STOPA."""
    key = tones.with_name("models.csv")
    models = {"train_300_0.wav": "one all", "train_300_1.wav": "all", "train_900_0.wav": "other"}
    rows = ["path,label,vocoder,split,enrolment_models"]
    for line in tones.read_text().splitlines()[1:]:
        enrolment = models.get(line.partition(",")[0], "")
        if enrolment or line.startswith("eval"):
            rows.append(f"{line},{enrolment}")
    write(key, rows)
    files = embed(key, checkpoint, tmp_path_factory.mktemp("enrolled"))
    return files, evaluate("generic", files[1], key, reference=files[:1])


def test_each_enrolled_model_has_a_row_in_the_result_of_verification(enrolled):
    _, result = enrolled
    assert [row.labels["enrolled model"] for row in result.rows("by_model")] == ["all", "one", "other"]


def test_verification_pools_all_pairs_of_trials_and_models_that_one_or_two_trials_enrol(enrolled):
    files, result = enrolled
    pooled = result.rows("verification")[0]
    assert pooled.value("num_targets") == 12 * 2 + 12
    assert pooled.value("num_nontargets") == 48 * 3 - 36
    models = [["train_300_0", "train_300_1"], ["train_300_0"], ["train_900_0"]]
    assert pooled.value("eer") == verification_eer(files, models, ["300", "300", "900"])


def test_a_model_enrolled_by_trials_of_two_classes_is_refused(embeddings, tones, tmp_path):
    training, evaluation = embeddings
    header, *lines = tones.read_text().splitlines()
    rows = [f"{line},{'one' if line.startswith('train') else ''}" for line in lines]
    key = write(tmp_path / "key.csv", [f"{header},enrolment_models", *rows])
    with input_error("a model must have examples of only one vocoder"):
        evaluate("generic", evaluation, key, reference=(training,))


def test_the_json_of_a_result_has_the_confusions_of_known_classes(result):
    assert result.to_dict()["confusion"]["classes"]["known"] == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]


def test_the_page_of_a_result_says_that_unknown_classes_lie_below_a_line_in_the_confusions(result):
    assert "Below the line are unknown classes" in html_page(result)


def test_predict_compares_the_score_of_being_known_with_the_threshold(tracer, tones):
    paths = [tones.parent / f"eval_{frequency}_0.wav" for frequency in (900, 5000)]
    for prediction in predict(tracer, paths, "classes").rows:
        known = prediction.to_row()["known"]
        assert known["is_known"] == (known["score"] >= known["threshold"])


def test_predict_gives_a_p_value_of_being_known_above_0_and_at_most_1(tracer, tones):
    (prediction,) = predict(tracer, [tones.parent / "eval_900_0.wav"], "classes").rows
    assert 0 < prediction.to_row()["known"]["p"] <= 1


def test_the_words_for_a_trial_of_no_known_class_name_the_nearest_class():
    known = {"is_known": False, "p": 0.01, "score": 0.0, "threshold": 1.0}
    told = {"class": "B, middle", "posteriors": {}, "known": known}
    assert Classes(KNOWN).in_words(told) == "none of the known (p 0.01); nearest: B, middle"


@pytest.fixture(scope="module")
def average(run):
    return average_run(run, [5, 6]).path


@pytest.fixture(scope="module")
def dev_logits(average, tones):
    return score_classes(tones, average, tones.parent / "dev.tsv", "--split", "dev")


@pytest.fixture
def calibrate_classes(dev_logits, tones, tmp_path):
    """A function that runs the command with further flags, and gives the file that it saves."""
    words = ["calibrate", "classes", "generic", str(dev_logits), "--keys", str(tones)]

    def run_with(*flags):
        assert not main([*words, "--save", str(tmp_path / "known.json"), *flags])
        return tmp_path / "known.json"

    return run_with


def fitted(known_file, detector):
    return as_judgement({"name": "classes", "known": str(known_file)}).fit_to(detector)


def test_calibrate_classes_learns_the_threshold_of_an_averaged_checkpoint(average, dev_logits, calibrate_classes):
    """Such a checkpoint has none of its own."""
    known_file = calibrate_classes()
    table = table_of(dev_logits)
    is_known, _ = generators_of(table)
    expected = decisions.KnownThreshold.of_logits(table.logits[is_known])
    detector = load_detector(average)
    assert as_judgement("classes").fit_to(detector).threshold is None
    judgement = fitted(known_file, detector)
    assert judgement.threshold.scores == expected.scores


def test_the_threshold_of_equal_errors_rejects_known_about_as_often_as_it_accepts_unknown_trials(
    average, dev_logits, calibrate_classes
):
    known_file = calibrate_classes("--equal-errors")
    threshold = fitted(known_file, load_detector(average)).threshold.threshold
    table = table_of(dev_logits)
    is_known, is_unknown = generators_of(table)
    scores = decisions.known_scores(table.logits)
    gaps = {t: abs(np.mean(scores[is_known] < t) - np.mean(scores[is_unknown] >= t)) for t in [threshold, *scores]}
    assert gaps[threshold] == min(gaps.values())


def test_a_threshold_of_equal_errors_requires_trials_of_unknown_classes(dev_logits, tones, tmp_path):
    rows = tones.read_text().splitlines()
    known_only = write(tmp_path / "known.csv", [row for row in rows if "_5000_" not in row and "_0_" not in row])
    with input_error("all trials are of known classes"):
        known_classes(Labels("generic", known_only, "dev"), dev_logits, equal_errors=True, allow_partial=True)


def test_a_threshold_learned_for_other_classes_than_those_of_the_detector_is_refused(average, calibrate_classes):
    known_file = calibrate_classes()
    known_file.write_text(known_file.read_text().replace("A lower", "A"))
    with input_error("this one has A lower, B, middle, C=higher"):
        fitted(known_file, load_detector(average))


@pytest.fixture
def of_posteriors(scored, tones, tmp_path):
    """A function that evaluates posteriors of another program, with settings."""
    file = write_posteriors(tmp_path / "posteriors.tsv", table_of(scored))
    key = write(tmp_path / "key.csv", tones.read_text().replace("vocoder", "attack"))
    return partial(evaluate, "generic", file, key)


def test_of_posteriors_only_the_scores_of_being_known_that_need_no_logits_are_tabulated(of_posteriors):
    assert [row.labels["score"] for row in of_posteriors().rows("open")] == ["log_odds", "sme"]


def test_energy_is_refused_as_the_score_of_being_known_of_posteriors(of_posteriors):
    with input_error("the score energy needs logits, and the file holds posteriors"):
        of_posteriors(unknown="energy")


@pytest.mark.parametrize(
    "text, message",
    [
        ("utterance\ta\tb\nx\t1\n", "line 2: expected an utterance and 2 numbers"),
        ("utterance\ta\ta\nx\t1\t2\n", "names of at least two classes, each once"),
    ],
)
def test_malformed_files_of_logits_of_classes_are_refused(tmp_path, text, message):
    with input_error(message):
        Classes().table(write(tmp_path / "classes.tsv", text))


def test_logits_that_are_not_finite_are_refused(scored, tones, tmp_path):
    text = scored.read_text()
    first_logit = text.split("\n")[1].split("\t")[1]
    file = write(tmp_path / "classes.tsv", text.replace(first_logit, "nan", 1))
    with input_error("with a score that is not finite"):
        evaluate("generic", file, tones)


def test_the_judgement_classes_refuses_a_detector_that_only_tells_bona_fide_from_spoof():
    with input_error("only tells bona fide from spoof"):
        Classes().fit_to(Detector.from_config(MODEL))


def test_a_file_of_logits_with_other_classes_than_its_record_is_refused(scored, tmp_path):
    file = write(tmp_path / "classes.tsv", scored.read_text().replace("A lower", "Z", 1))
    with input_error("has the columns Z, B, middle, C=higher, but its record states A lower"):
        Classes(KNOWN).table(file)


def test_the_interval_of_the_auroc_is_close_to_that_of_resampled_trials_and_unknown_classes():
    rng = default_rng(0)
    known_scores = rng.normal(2, 1, 300)
    groups = [rng.normal(mean, 1, 100) for mean in (-1, 0, 1, 2)]
    intervals = Resamples(500, 0).of_scores(known_scores, groups)
    draws = []
    for _ in range(500):
        drawn_classes = rng.integers(0, 4, 4)
        drawn = [rng.choice(groups[number], 100) for number in drawn_classes]
        draws.append(metrics.auroc(rng.choice(known_scores, 300), np.concatenate(drawn)))
    expected = metrics.rate_interval(intervals["auroc"].value, draws, 300)
    assert intervals["auroc"].interval == pytest.approx(expected, abs=0.02)


def test_the_interval_of_the_accuracy_of_a_confusion_matrix_is_close_to_that_of_drawn_trials():
    rng = default_rng(0)
    confusion = np.array([[40, 10], [20, 30]])
    figure = Resamples(2000, 0).of_confusion({"accuracy": Rule(metrics.accuracy, 100)}, confusion)["accuracy"]
    accuracies = rng.binomial(50, 0.8, 20_000) + rng.binomial(50, 0.6, 20_000)
    assert figure.interval == pytest.approx(metrics.rate_interval(0.7, accuracies / 100, 100), abs=0.011)


def test_a_prediction_of_a_class_states_how_often_the_detector_was_wrong_in_development(tracer, tones, monkeypatch):
    figures = tuple({**figure, "value": 0.25} for figure in tracer.provenance.figures)  # that of the tones is 0
    monkeypatch.setattr(tracer, "provenance", replace(tracer.provenance, figures=figures))
    (prediction,) = predict(tracer, [tones.parent / "eval_900_0.wav"], "classes").rows
    assert prediction.words.endswith("it was wrong on 25 % of its development trials")


@pytest.fixture
def first(tmp_path):
    """A detector of fakes, saved as first.pth."""
    detector = Detector.from_config(MODEL)
    detector.save(tmp_path / "first.pth")
    return detector.eval()


@pytest.fixture
def predicted(checkpoint, tones, tmp_path, first, capsys):
    """A function that gives what predict prints of a recording with a detector of fakes and further flags."""
    recording = str(tones.parent / "eval_900_0.wav")
    words = ["predict", recording, "--model", str(checkpoint), "--judgement", "classes"]
    words += ["--detector", str(tmp_path / "first.pth"), "--device", "cpu"]

    def run_with(*flags):
        assert not main([*words, *flags])
        return capsys.readouterr().out

    return run_with


def test_predict_gives_the_score_of_a_detector_of_fakes_beside_the_class(predicted, first, tones):
    row = json.loads(predicted("--json"))
    assert row["class"] == "B, middle"
    assert row["first"]["score"] == pytest.approx(first.score(tones.parent / "eval_900_0.wav"), abs=1e-5)


def test_predict_says_to_ignore_the_class_of_a_recording_that_a_detector_of_fakes_calls_bona_fide(
    predicted, first, tmp_path
):
    scored_by = decisions.ScoredBy(first.fingerprint(), "float32", None)
    calibration = decisions.LinearCalibration((1.0,), 100.0, 0.5, 1e-6, ("first",), scored_by=scored_by)
    calibration.save(tmp_path / "c.json")
    printed = predicted("--calibration", str(tmp_path / "c.json"))
    assert "the detector says first: bonafide, so ignore the name of the class; " in printed
