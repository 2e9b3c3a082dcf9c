"""Best, mean and deviation over seeds, and the tables of an experiment."""

from dataclasses import replace
from statistics import stdev

import pytest

from nes2net.apps.experiments.description import Experiment
from nes2net.apps.experiments.result import SetResult, SystemOnSet, comparability_notes, experiment_result
from nes2net.evaluation.writers import grid


def measured(seed: int, eer: float, **changes) -> SetResult:
    figures = {"metrics": {"eer": eer, "min_dcf": 2 * eer}, "interval": (eer - 0.001, eer + 0.001)}
    counts = {"interval_over": "trials", "num_bonafide": 6, "num_spoof": 1200, "left_out": ""}
    files = {"trials": "t", "key": "k", "page": f"reports/seed{seed}/a b.html"}
    return SetResult(run=f"seed{seed}", seed=seed, **figures | counts | files | changes)


@pytest.fixture
def measurements() -> list[SystemOnSet]:
    first = [measured(1, 0.0195), measured(2, 0.0173), measured(3, 0.02)]
    return [
        SystemOnSet("single", "LA", first, 3),
        SystemOnSet("single", "DF", [measured(1, 0.01)], 3),
        SystemOnSet("3 <averaged>", "LA", [measured(1, 0.0166)], 3),
        SystemOnSet("3 <averaged>", "DF", [], 3),
    ]


def test_a_result_has_the_notes_of_its_reports_once_with_the_systems(measurements):
    note = "there are only 6 bona fide trials"
    for on_set in measurements:
        on_set.measured[:] = [replace(measured, notices=(note,)) for measured in on_set.measured]
    result = of_experiment(measurements, [])
    assert result.notices == [f"LA: {note} (of single, 3 <averaged>)", f"DF: {note} (of single)"]


def of_experiment(measurements, notes, **settings):
    """The result of an experiment with these settings, whose draws are few."""
    settings = {"title": "Title", "metrics": ["eer"], "seeds": [1, 2, 3], "leave_one_out": False, **settings}
    return experiment_result(Experiment.model_construct(num_resamples=100, **settings), measurements, notes)


@pytest.fixture
def result(measurements):
    return of_experiment(measurements, ["a *note*"], title="Title & <b>", metrics=["eer", "min_dcf"])


def texts(table):
    return [[cell.text_with_details for cell in row] for row in grid(table).rows]


def test_the_table_of_details_has_the_figures_over_seeds_and_the_numbers_of_trials_of_each_set(result):
    deviation = f"{100 * stdev([0.0195, 0.0173, 0.02]):.2f}"
    trials = ["6", "1\u202f200"]
    first, second, _, last = texts(result.tables[2])
    assert first == ["single", "LA", "1.73 (1.63–1.83)", "2", "1.89", deviation, *trials, "3", "3"]
    assert second == ["single", "DF", "1.00 (0.90–1.10)", "1", "–", "–", *trials, "1", "3"]
    assert last == ["3 <averaged>", "DF", *["–"] * 6, "0", "3"]


def test_the_mean_and_worst_over_sets_are_taken_of_each_seed_before_the_best_seed_is_chosen():
    columns = {"LA": (0.01, 0.02), "DF": (0.05, 0.03, 0.001)}
    measurements = []
    for name, eers in columns.items():
        measurements.append(SystemOnSet("single", name, [measured(n, eer) for n, eer in enumerate(eers, 1)], 2))
    result = of_experiment(measurements, [], leave_one_out=True)
    table = result.tables[0]
    assert grid(table).head == ["system", "LA", "DF", "mean", "worst"]
    assert texts(table) == [["single", "1.00 (mean 1.50)", "0.10 (mean 2.70)", "2.50 (mean 2.75)", "3.00 (mean 4.00)"]]


@pytest.mark.parametrize("changes, differ", [({"trials": "u"}, "recordings"), ({"num_spoof": 1}, "numbers of trials")])
def test_a_note_says_that_detectors_measured_on_different_trials_cannot_be_compared(changes, differ):
    notes = comparability_notes([SystemOnSet("x", "LA", [measured(1, 0.1), measured(2, 0.1, **changes)])])
    assert notes == [f"LA: the detectors were measured on different {differ}, so their figures cannot be compared"]


def test_a_note_names_the_runs_with_a_partial_result_if_there_are_any(measurements):
    notes = comparability_notes([SystemOnSet("x", "LA", [measured(1, 0.1), measured(2, 0.1, left_out="1 trial")])])
    assert notes == ["LA: a partial result, because scores are missing: seed2"]
    assert comparability_notes(measurements) == []
