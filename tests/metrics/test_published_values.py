"""Every metric equals the published programs in full precision; tables equal what they print."""

import numpy as np
import pytest
from builders import golden_metrics

from nes2net import metrics

EXACT = {"rel": 0, "abs": 1e-12}
LAST_PLACE = {"rel": 5e-16, "abs": 5e-16}  # the published programs read scores by pandas' default parser


@pytest.fixture(scope="module", params=golden_metrics.NAMES)
def case(request, tmp_path_factory):
    return golden_metrics.load(request.param, tmp_path_factory.mktemp(request.param))


# Results that not every case has.
TRACK_2 = ("g200", "inverted", "g5k")
CTRSVDD = ("g200", "inverted", "g5k", "g5k_cont")
TRAINING_CODE_2019 = ("g200", "g5k", "g5k_cont")
TRAINING_CODE_ASVSPOOF5 = tuple(name for name in golden_metrics.NAMES if name != "g60k")


def cases(names):
    return pytest.mark.parametrize("case", names, indirect=True)


def test_every_result_is_looked_at(case):
    names = {name for name in case.results if not name.startswith("evaluate_2021_")} - {"Cal_EER_in_the_wild"}
    expected = {"asvspoof5_t1"}
    expected |= {"asvspoof5_t2_tandem", "asvspoof5_t2_single"} if case.name in TRACK_2 else set()
    expected |= {"CtrSVDD_EER_minDCF"} if case.name in CTRSVDD else set()
    expected |= {"clovaai_2019_calculate_tDCF_EER"} if case.name in TRAINING_CODE_2019 else set()
    expected |= {"asvspoof5_branch_eval"} if case.name in TRAINING_CODE_ASVSPOOF5 else set()
    assert names == expected


def test_eer_det_curve_and_min_tdcf_of_2021_la(case):
    for phase, values in case.values("evaluate_2021_LA:"):
        bonafide, spoof = case.by_class("LA", phase)
        assert (bonafide.size, spoof.size) == (values["n_bona"], values["n_spoof"])
        eer, threshold = metrics.compute_eer(bonafide, spoof)
        assert eer == pytest.approx(values["eer"], **EXACT)
        assert threshold == pytest.approx(values["eer_threshold"], **EXACT)
        frr, far, thresholds = metrics.det_curve(bonafide, spoof)
        digest = values["det_digest"]
        assert len(frr) == len(far) == len(thresholds) == digest["len"]
        for curve, total in ((frr, "sum_frr"), (far, "sum_far"), (thresholds, "sum_thr")):
            assert curve.sum() == pytest.approx(digest[total], rel=1e-12)
        asv = case.asv(phase)
        rates = metrics.asv_error_rates(*asv)
        assert rates.miss == pytest.approx(values["Pmiss_asv"], **EXACT)
        assert rates.false_alarm == pytest.approx(values["Pfa_asv"], **EXACT)
        assert rates.spoof_false_alarm == pytest.approx(values["Pfa_spoof_asv"], **EXACT)
        assert 1 - rates.spoof_false_alarm == pytest.approx(values["Pmiss_spoof_asv"], **EXACT)
        for version, result in ((2021, values["tDCF_new_2021"]), (2019, values["tDCF_legacy_2019_costs"])):
            if "error" in result:
                with pytest.raises(ValueError, match="three distinct"):
                    metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version)
                continue
            assert metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version) == pytest.approx(
                result["min_tDCF"], **EXACT
            )
            curve = metrics.tdcf_curve(bonafide, spoof, metrics.tandem_weights(rates, version))
            assert curve.sum() == pytest.approx(result["tDCF_curve_sum" if version == 2021 else "curve_sum"], rel=1e-12)
            best = thresholds[np.argmin(curve)]
            at = result["tDCF_argmin_threshold" if version == 2021 else "argmin_threshold"]
            assert best == pytest.approx(at, **EXACT)
        if "error" not in values["tDCF_new_2021"]:
            negated = values["tDCF_new_2021"]
            assert metrics.compute_min_tdcf(-bonafide, -spoof, *asv) == pytest.approx(
                negated["min_tDCF_negated"], **EXACT
            )
            assert metrics.compute_eer(-bonafide, -spoof)[0] == pytest.approx(negated["eer_negated"], **EXACT)


def test_eer_of_2021_df(case):
    for phase, values in case.values("evaluate_2021_DF:"):
        eer, threshold = metrics.compute_eer(*case.by_class("DF", phase))
        assert eer == pytest.approx(values["eer"], **EXACT)
        assert threshold == pytest.approx(values["threshold"], **EXACT)


def test_eer_of_in_the_wild_with_a_stable_sort(case):
    (_, values), *_ = case.values("Cal_EER_in_the_wild")
    labels = {file.removesuffix(".wav"): label for file, _, label in case.table("meta.csv", ",")[1:]}
    rows = case.table("scores_ITW.txt")
    scores, is_bonafide = np.array([float(r[1]) for r in rows]), np.array([labels[r[0]] == "bona-fide" for r in rows])
    order = np.concatenate((np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)))
    eer, _ = metrics.compute_eer(scores[is_bonafide], scores[~is_bonafide], "interpolated", order=order)
    stable = 0.12724074 if case.name == "g60k" else values["EER_if_stable_argsort"]
    assert eer == pytest.approx(stable, rel=0, abs=5e-9 if case.name == "g60k" else 1e-12)


def ctrsvdd(case):
    """Scores, classes, sources and attacks in the order of the score file."""
    key = {row[2]: row for row in case.table("test.txt")}
    scores = case.scores("scores_CtrSVDD.txt")
    rows = [key[utterance] for utterance in scores]
    return (
        np.array(list(scores.values())),
        np.array([row[5] == "bonafide" for row in rows]),
        [row[0] for row in rows],
        [row[4] for row in rows],
    )


@cases(CTRSVDD)
def test_table_and_pooled_figures_of_ctrsvdd(case):
    result = case.results["CtrSVDD_EER_minDCF"]
    rows = metrics.ctrsvdd_rows(*ctrsvdd(case))
    names = {"A14": "exA14", "A14 and acesinger": "exACE_A14"}
    prefix = {"source": "dataset ", "attack": "atk ", "subset": ""}
    assert [prefix[row.kind] + names.get(row.name, row.name) for row in rows] == list(result["values_subsets"])
    for row, values in zip(rows, result["values_subsets"].values()):
        assert row.num_bonafide + row.num_spoof == values["n"], row.name
        assert row.eer == pytest.approx(values["eer"], **EXACT), row.name
        assert row.min_dcf == pytest.approx(values["mindcf"], **EXACT), row.name
    values, (scores, is_bonafide, *_) = result["values_pooled"], ctrsvdd(case)
    classes = scores[is_bonafide], scores[~is_bonafide]
    assert metrics.compute_eer(*classes, "sklearn")[0] == pytest.approx(values["calculate_eer"], **EXACT)
    assert metrics.compute_eer(*classes)[0] == pytest.approx(values["utils.compute_eer"], **EXACT)
    cost = metrics.compute_min_dcf(*classes, p_spoof=0.5, c_fa=1, method="sklearn", normalize=False)
    assert cost == pytest.approx(values["calculate_mindcf"], **EXACT)


def test_asvspoof5_track_1(case):
    result = case.results["asvspoof5_t1"]
    values, scores = result["values"], {id: float(score) for id, score in case.table("asv5_cm_score.tsv")[1:]}
    key = case.table("asv5_cm_key.tsv")[1:]
    bonafide, spoof = ([scores[id] for id, label in key if label == wanted] for wanted in ("bonafide", "spoof"))
    assert metrics.compute_min_dcf(bonafide, spoof) == values["minDCF"]
    assert metrics.compute_act_dcf(bonafide, spoof) == values["actDCF"]
    assert metrics.compute_cllr(bonafide, spoof) == pytest.approx(values["cllr"], **EXACT)
    assert 0 <= metrics.compute_min_cllr(bonafide, spoof) <= values["cllr"]
    eer, threshold = metrics.compute_eer(bonafide, spoof)
    assert eer == pytest.approx(values["eer"], **EXACT)
    assert threshold == pytest.approx(values["eer_threshold"], **LAST_PLACE)
    frr, far, thresholds = metrics.det_curve(bonafide, spoof)
    best = thresholds[np.argmin(metrics.dcf.dcf(frr, far, 0.05, 1, 10, normalize=True))]
    assert best == pytest.approx(values["minDCF_threshold"], **LAST_PLACE)
    assert metrics.dcf.act_dcf_threshold(0.05, 1, 10) == pytest.approx(values["actDCF_threshold"], **LAST_PLACE)


@cases(TRAINING_CODE_ASVSPOOF5)
def test_asvspoof5_branch_of_the_training_code(case):
    values = case.results["asvspoof5_branch_eval"]["values"]
    rows = case.table("asv5branch_scores.txt")
    bonafide, spoof = ([float(row[2]) for row in rows if row[3] == wanted] for wanted in ("bonafide", "spoof"))
    min_dcf, (eer, _) = metrics.compute_min_dcf(bonafide, spoof), metrics.compute_eer(bonafide, spoof)
    cllr = metrics.compute_cllr(bonafide, spoof)
    assert (min_dcf, eer) == (values["ret_0_minDCF"], pytest.approx(values["ret_1_eer"], **EXACT))
    assert cllr == pytest.approx(values["ret_2_cllr"], **EXACT)
    assert values["printed"] == (
        f"\nCM SYSTEM\n\tmin DCF \t\t= {min_dcf} % (min DCF for countermeasure)\n"
        f"\tEER\t\t= {100 * eer:.9f} % (EER for countermeasure)\n\tCLLR\t\t= {100 * cllr:.9f} % (CLLR for countermeasure)\n"
    )


@cases(TRACK_2)
def test_asvspoof5_track_2(case):
    result = case.results["asvspoof5_t2_tandem"]
    values, key = result["values"], {(row[0], row[1]): row[2:] for row in case.table("asv5_sasv_key.tsv")[1:]}
    rows = [(*key[row[0], row[1]], *map(float, row[2:])) for row in case.table("asv5_sasv_score.tsv")[1:]]
    cm = [[row[2] for row in rows if row[0] == wanted] for wanted in ("bonafide", "spoof")]
    asv, tandem = (
        [[row[i] for row in rows if row[1] == wanted] for wanted in ("target", "nontarget", "spoof")] for i in (3, 4)
    )
    a_dcf, threshold = metrics.compute_a_dcf(*tandem)
    assert a_dcf == pytest.approx(values["a_dcf"], **EXACT)
    assert threshold == pytest.approx(values["a_dcf_threshold"], **LAST_PLACE)
    t_eer = metrics.compute_t_eer(*cm, *asv)
    assert 100 * t_eer == pytest.approx(values["t_eer_percent"], **EXACT)
    min_tdcf = metrics.tdcf_curve(*cm, metrics.ASVSPOOF5_WEIGHTS).min()
    assert min_tdcf == pytest.approx(values["min_tDCF"], **EXACT)


@cases(TRAINING_CODE_2019)
def test_2019_figures_of_the_training_code(case):
    values = case.results["clovaai_2019_calculate_tDCF_EER"]["values"]
    rows = case.table("clova2019_cm.txt")
    bonafide = [float(row[3]) for row in rows if row[2] == "bonafide"]
    spoof = {f"A{n:02}": [float(row[3]) for row in rows if row[1] == f"A{n:02}"] for n in range(7, 20)}
    asv_rows = case.table("clova2019_asv.txt")
    asv = [[float(row[2]) for row in asv_rows if row[1] == wanted] for wanted in ("target", "nontarget", "spoof")]
    pooled = [score for scores in spoof.values() for score in scores]
    assert len(bonafide) + len(pooled) == len(rows)
    (eer, _), min_tdcf = (
        metrics.compute_eer(bonafide, pooled),
        metrics.compute_min_tdcf(bonafide, pooled, *asv, version=2019),
    )
    assert 100 * eer == pytest.approx(values["eer_percent"], **EXACT)
    assert min_tdcf == pytest.approx(values["min_tDCF"], **EXACT)
    by_attack = [
        f"\tEER {name}\t\t= {100 * metrics.compute_eer(bonafide, scores)[0]:.9f} %" for name, scores in spoof.items()
    ]
    printed = values["printed"].splitlines()
    assert printed[2] == f"\tEER\t\t= {100 * eer:.9f} % (Equal error rate for countermeasure)"
    assert printed[5] == f"\tmin-tDCF\t\t= {min_tdcf:.9f}"
    assert [line.partition(" (")[0] for line in printed[8:]] == by_attack
