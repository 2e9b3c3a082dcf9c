"""Records that programs read again: a field of another type, or a missing one, ends in one line or is another record."""

import copy
import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from builders.experiments import experiment_file
from builders.files import read_json, write, write_json, write_scores

from nes2net.apps.experiments.description import load_experiment
from nes2net.apps.experiments.jobs import EvaluateJob, select_unfinished
from nes2net.apps.experiments.plan import plan_experiment
from nes2net.apps.scale import results
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import sha256_of
from nes2net.lib.web.http_files import _saved_validator, _state_of
from nes2net.models.card import CARD_FILE, CardFile
from nes2net.scoring import calibrated
from nes2net.scoring.decisions import calibration
from nes2net.scoring.decisions.known import KnownThreshold, read_known
from nes2net.scoring.journal import journal_path, open_journals
from nes2net.scoring.record import read_whole_record, record_of, record_path
from nes2net.training.selection import read_history

VALUES = [None, "", "x\x1b\n\0", -1, 1.5, math.inf, math.nan, 10**30, True, [], [[None]], {}, {"x": 1}]
SHA256 = "0f" * 32


def fields_of(content, above=()):
    """The ways to all fields of nested mappings and lists; of a list, to its first two items."""
    yield above
    names = {dict: content, list: range(2)}.get(type(content), ())
    for name in list(names)[: len(content) if names else 0]:
        yield from fields_of(content[name], (*above, name))


def spoiled(content):
    """Copies of ``content``, in each of which a field is missing or has another value."""
    for *above, last in filter(None, fields_of(content)):
        for value in (fields_of, *VALUES):  # the first one stands for a missing field
            changed = copy.deepcopy(content)
            holder = changed
            for name in above:
                holder = holder[name]
            if value is fields_of:
                del holder[last]
            else:
                holder[last] = value
            yield changed
    yield from VALUES


def of_scores(folder: Path):
    scores = write_scores(folder / "s.txt", {"a": 0.5})
    content = {
        "run": {"model": SHA256, "num_samples": 64600, "compiled": False},
        **{"failures": {"b": "damaged"}, "sha256": sha256_of(scores), "audio_sha256": SHA256, "total": 2},
        **{"judgement": {"name": "scores"}, "kept_from_earlier_runs": 0, "seconds": 0.5, "scored_at": "2026"},
        "checkpoint": {"path": "d.pth", "recipe": {"name": "r", "data": {"corpora": [{"name": "generic"}]}}},
    }

    def read():
        record_of(scores)
        record = read_whole_record(record_path(scores))
        assert isinstance(record.text("checkpoint", "path"), str)
        return record.provenance.name, record.provenance.corpora, record.provenance.to_dict()

    return write_json(record_path(scores), content), read


def of_decisions(folder: Path):
    table = write(folder / "s.txt.decisions.csv", "id\n")
    basis = {"basis": {"prior": 0.5}, "scores_sha256": SHA256}
    content = {**basis, "counts": {"bonafide": 3}, "unmeasured": [], "decisions_sha256": sha256_of(table)}
    path = write_json(folder / "s.txt.decisions.json", content)
    return path, lambda: calibrated._earlier_decisions(table, path, basis)


def of_a_calibration(folder: Path):
    path = folder / "c.json"
    calibration.fit([1.0, 2.0, 0.2], [-2.0, -1.0, 0.5]).save(path)
    return path, lambda: calibration.load(path)([0.5])


def of_known_classes(folder: Path):
    threshold = KnownThreshold(classes=("vits", "bark"), kind="energy", scores=(0.5, 1.0, 2.0))
    path = write(folder / "k.json", threshold.model_dump_json())
    return path, lambda: read_known(path, ("vits", "bark")).threshold


def of_training(folder: Path):
    rows = [{"epoch": number, "loss": 0.5, "seconds": 1.0, "val_eer_wo_aug": 0.1} for number in (1, 2)]
    path = write_json(folder / "history.json", rows)
    return path, lambda: read_history(path)


def of_a_card(folder: Path):
    figure = {"corpus": "generic", "split": "eval", "value": 0.1, "interval": [0.05, 0.2], "notes": ["partial"]}
    path = write_json(folder / CARD_FILE, {"checkpoint": "a.pth", "figures": [figure]})
    return path, lambda: [
        (figure.text, figure.metadata(), figure.to_dict()) for figure in CardFile.read(folder).figures
    ]


def of_a_collection(folder: Path):
    content = {"run": {"model": SHA256}, "failures": {"a.tar": "damaged"}, "total": 3, "shards": 2, "scored": 3}
    path = write_json(folder / results.RECORD, {**content, "asked": {"model": "d.pth"}, "seconds": 0.5})
    return path, lambda: results.read_record(folder).is_complete


def of_an_experiment(folder: Path):
    jobs = plan_experiment(
        load_experiment(experiment_file(folder, folder, seeds=[1], averages=[1])), folder / "out"
    ).jobs
    (job,) = (job for job in jobs if isinstance(job, EvaluateJob))
    scores = write_scores(job.needs.scores, {"a": 0.5})
    write(job.page, "")
    inputs = [{"kind": "scores", "path": str(scores), "sha256": sha256_of(scores)}]
    measured = {"run": "a", "seed": 1, "metrics": {"eer": 0.1}, "interval": [0.0, 0.2], "interval_over": "trials"}
    measured |= {"num_bonafide": 3, "num_spoof": 4, "left_out": "", "trials": SHA256, "key": SHA256, "page": "p.html"}
    content = {"asked": job.settings(), "inputs": inputs, "measured": measured}
    path = write_json(job.page.with_suffix(".json"), content)
    return path, lambda: (select_unfinished([job]), job.read().measured.figures())


def of_a_download(folder: Path):
    path = folder / "part"
    write_json(_state_of(path), {"url": "https://a/b", "validator": "c"})
    return _state_of(path), lambda: _saved_validator(path, "https://a/b")


def of_a_journal(folder: Path):
    lines = [{"model": SHA256}, ["a", 0.5, "1 2"], ["b", "damaged"]]
    path = write_json(folder / "journal.json", lines)

    def read():
        content = read_json(path)
        lines = content if isinstance(content, list) else [content]
        write(journal_path(folder / "s.txt"), list(map(json.dumps, lines)))
        with open_journals(folder / "s.txt", float) as rows:
            return list(map(rows.value, rows.stamps))

    return path, read


RECORDS = [
    *(of_scores, of_decisions, of_a_calibration, of_known_classes, of_training, of_a_card, of_a_collection),
    *(of_an_experiment, of_a_download, of_a_journal),
]


@pytest.mark.parametrize("record", RECORDS)
def test_no_spoiled_field_of_a_record_ends_in_more_than_one_line_of_error(record, tmp_path):
    path, read = record(tmp_path)
    read()
    for content in spoiled(read_json(path)):
        write_json(path, content)
        with suppress(InputError):
            read()
