"""Every metric equals the published programs in full precision; tables equal what they print."""

from collections import defaultdict
from functools import partial

import numpy as np
import pytest
from builders import golden, golden_metrics, slow

from nes2net.metrics import (
    ASVSPOOF5_WEIGHTS,
    asv_error_rates,
    compute_a_dcf,
    compute_eer,
    compute_min_tdcf,
    compute_t_eer,
    ctrsvdd_rows,
    det_curve,
    tandem_weights,
    tdcf_curve,
)

exactly = partial(pytest.approx, rel=0, abs=1e-12)
to_the_last_place = partial(pytest.approx, rel=5e-16, abs=5e-16)  # they read scores by pandas' default parser


OF_60_000_TRIALS = slow("g60k")
SMALLER = [name for name in golden_metrics.NAMES if name != "g60k"]


@pytest.fixture(scope="module", params=[*SMALLER, *OF_60_000_TRIALS])
def case(request, tmp_path_factory):
    return golden_metrics.load(request.param, tmp_path_factory.mktemp(request.param))


# Results that not every case has.
TRACK_2 = ("g200", "inverted", "g5k")
CTRSVDD = ("g200", "inverted", "g5k", "g5k_cont")
FEWER_THAN_THREE_SCORES = ("single", "all_equal")
T_DCF = ("g200", "inverted", "separated", "g5k", "g5k_cont", *OF_60_000_TRIALS)


def cases(names):
    return pytest.mark.parametrize("case", names, indirect=True)


@pytest.fixture
def phases(case):
    """Of each phase of ASVspoof 2021 LA: the published figures, and the scores of CM and ASV by class."""
    published = case.values("evaluate_2021_LA:")
    assert published
    return [(values, case.by_class("LA", phase), case.asv(phase)) for phase, values in published]


def test_eers_and_thresholds_of_2021_la_equal_those_of_the_published_program(phases):
    for values, classes, _ in phases:
        assert compute_eer(*classes) == exactly((values["eer"], values["eer_threshold"]))


@cases(T_DCF)
@pytest.mark.parametrize(
    "version, name, prefix", [(2021, "tDCF_new_2021", "tDCF_"), (2019, "tDCF_legacy_2019_costs", "")]
)
def test_t_dcfs_of_2021_la_equal_those_of_the_published_program(phases, version, name, prefix):
    """The minimum, its threshold, and the sum of the curve."""
    for values, classes, asv in phases:
        result = values[name]
        assert compute_min_tdcf(*classes, *asv, version=version) == exactly(result["min_tDCF"])
        curve = tdcf_curve(*classes, tandem_weights(asv_error_rates(*asv), version))
        assert curve.sum() == pytest.approx(result[f"{prefix}curve_sum"], rel=1e-12)
        _, _, thresholds = det_curve(*classes)
        assert thresholds[np.argmin(curve)] == exactly(result[f"{prefix}argmin_threshold"])


@cases(FEWER_THAN_THREE_SCORES)
@pytest.mark.parametrize("version", [2021, 2019])
def test_the_t_dcf_of_fewer_than_three_distinct_scores_is_refused(phases, version):
    for _, classes, asv in phases:
        with pytest.raises(ValueError, match="three distinct"):
            compute_min_tdcf(*classes, *asv, version=version)


def eer_of_in_the_wild(case):
    """The EER of the case's scores in the order in which a stable sort puts them."""
    labels = {file.removesuffix(".wav"): label for file, _, label in case.table("meta.csv", ",")[1:]}
    of_ids = case.scores("scores_ITW.txt")
    scores = np.array(list(of_ids.values()))
    is_bonafide = np.array([labels[id] == "bona-fide" for id in of_ids])
    order = np.concatenate((np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)))
    eer, _ = compute_eer(scores[is_bonafide], scores[~is_bonafide], "interpolated", order=order)
    return eer


@cases(["g60k"])
def test_the_eer_of_in_the_wild_of_60_000_trials_equals_that_of_the_published_program_with_a_stable_sort(case):
    assert eer_of_in_the_wild(case) == pytest.approx(0.12724074, rel=0, abs=5e-9)


@pytest.fixture
def ctrsvdd(case):
    """The published figures of CtrSVDD, and for each trial its score, whether it is bona fide, and its row of the key."""
    key = {row[2]: row for row in case.table("test.txt")}
    of_ids = case.scores("scores_CtrSVDD.txt")  # in the order of the score file
    scores = np.array(list(of_ids.values()))
    trials = [key[id] for id in of_ids]
    is_bonafide = np.array([row[5] == "bonafide" for row in trials])
    return case.results["CtrSVDD_EER_minDCF"], scores, is_bonafide, trials


@cases(CTRSVDD)
def test_rows_of_the_table_of_ctrsvdd_equal_those_of_the_published_program(ctrsvdd):
    result, scores, is_bonafide, trials = ctrsvdd
    rows = ctrsvdd_rows(scores, is_bonafide, [row[0] for row in trials], [row[4] for row in trials])
    subsets = {"all without A14": "exA14", "all without A14 and acesinger": "exACE_A14"}
    kinds = {"source": "dataset", "attack": "atk"}
    for row, (subset, values) in zip(rows, result["values_subsets"].items(), strict=True):
        kind, name, *_ = row.part.split()
        assert subset == subsets.get(row.part, f"{kinds.get(kind)} {name}")
        assert row.num_bonafide + row.num_spoof == values["n"], row.part
        assert row.eer == exactly(values["eer"]), row.part
        assert row.min_dcf == exactly(values["mindcf"]), row.part


@cases(TRACK_2)
def test_figures_of_asvspoof5_track_2_equal_those_of_the_published_program(case):
    """a-DCF with its threshold, t-EER, and minimum t-DCF."""
    result = case.results["asvspoof5_t2_tandem"]
    values = result["values"]
    key = {(speaker, id): classes for speaker, id, *classes in case.table("asv5_sasv_key.tsv")[1:]}
    cm_scores = defaultdict(list)
    asv_scores = defaultdict(list)
    tandem_scores = defaultdict(list)
    for speaker, id, cm_score, asv_score, tandem_score in case.table("asv5_sasv_score.tsv")[1:]:
        cm_class, asv_class = key[speaker, id]
        cm_scores[cm_class].append(float(cm_score))
        asv_scores[asv_class].append(float(asv_score))
        tandem_scores[asv_class].append(float(tandem_score))
    cm = (cm_scores["bonafide"], cm_scores["spoof"])
    asv = [asv_scores[name] for name in ("target", "nontarget", "spoof")]
    tandem = [tandem_scores[name] for name in ("target", "nontarget", "spoof")]
    a_dcf, threshold = compute_a_dcf(*tandem)
    assert a_dcf == exactly(values["a_dcf"])
    assert threshold == to_the_last_place(values["a_dcf_threshold"])
    assert 100 * compute_t_eer(*cm, *asv) == exactly(values["t_eer_percent"])
    assert tdcf_curve(*cm, ASVSPOOF5_WEIGHTS).min() == exactly(values["min_tDCF"])


def test_a_dcf_and_t_eer_of_tied_scores_equal_those_of_the_published_program():
    rows = golden.read_case("track2")["cases"]
    assert len(rows) == 24
    for number, row in enumerate(rows):
        asv = row["asv_target"], row["asv_nontarget"], row["asv_spoof"]
        t_eer = 100 * compute_t_eer(row["cm_bonafide"], row["cm_spoof"], *asv)
        a_dcf, _ = compute_a_dcf(*asv)
        assert t_eer == exactly(row["t_eer_percent"]), number
        assert a_dcf == exactly(row["min_a_dcf"]), number
