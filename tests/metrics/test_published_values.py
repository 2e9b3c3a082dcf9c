"""Every metric against the full-precision values of the published evaluation programs."""

import golden_metrics
import numpy as np
import pytest

from nes2net import metrics

EXACT = {"rel": 0, "abs": 1e-12}


@pytest.fixture(scope="module", params=golden_metrics.NAMES)
def case(request, tmp_path_factory):
    return golden_metrics.load(request, tmp_path_factory.mktemp(request.param))


def test_eer_and_det_curve_of_2021_la(case):
    for phase, published in case.values("evaluate_2021_LA:"):
        bonafide, spoof = case.by_class("LA", phase)
        assert (bonafide.size, spoof.size) == (published["n_bona"], published["n_spoof"])
        eer, threshold = metrics.compute_eer(bonafide, spoof)
        assert eer == pytest.approx(published["eer"], **EXACT)
        assert threshold == pytest.approx(published["eer_threshold"], **EXACT)
        frr, far, thresholds = metrics.det_curve(bonafide, spoof)
        digest = published["det_digest"]
        assert len(frr) == len(far) == len(thresholds) == digest["len"]
        for curve, total in ((frr, "sum_frr"), (far, "sum_far"), (thresholds, "sum_thr")):
            assert curve.sum() == pytest.approx(digest[total], rel=1e-12)


def test_min_tdcf_of_2021_la(case):
    for phase, published in case.values("evaluate_2021_LA:"):
        bonafide, spoof, asv = *case.by_class("LA", phase), case.asv(phase)
        rates = metrics.asv_error_rates(*asv)
        assert rates.miss == pytest.approx(published["Pmiss_asv"], **EXACT)
        assert rates.false_alarm == pytest.approx(published["Pfa_asv"], **EXACT)
        assert rates.spoof_false_alarm == pytest.approx(published["Pfa_spoof_asv"], **EXACT)
        for version, result in ((2021, published["tDCF_new_2021"]), (2019, published["tDCF_legacy_2019_costs"])):
            if "error" in result:
                with pytest.raises(ValueError, match="three distinct"):
                    metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version)
                continue
            assert metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version) == pytest.approx(
                result["min_tDCF"], **EXACT
            )
            curve = metrics.tdcf_curve(bonafide, spoof, metrics.tandem_weights(rates, version))
            assert curve.sum() == pytest.approx(result["tDCF_curve_sum" if version == 2021 else "curve_sum"], rel=1e-12)
            best = metrics.det_curve(bonafide, spoof)[2][np.argmin(curve)]
            at = result["tDCF_argmin_threshold" if version == 2021 else "argmin_threshold"]
            assert best == pytest.approx(at, **EXACT)
        if "error" not in published["tDCF_new_2021"]:
            negated = metrics.compute_min_tdcf(-bonafide, -spoof, *asv)
            assert negated == pytest.approx(published["tDCF_new_2021"]["min_tDCF_negated"], **EXACT)


def test_eer_of_2021_df(case):
    for phase, published in case.values("evaluate_2021_DF:"):
        eer, threshold = metrics.compute_eer(*case.by_class("DF", phase))
        assert eer == pytest.approx(published["eer"], **EXACT)
        assert threshold == pytest.approx(published["threshold"], **EXACT)


def test_eer_of_in_the_wild_with_a_stable_sort(case):
    (_, published), *_ = case.values("Cal_EER_in_the_wild")
    labels = {file.removesuffix(".wav"): label for file, _, label in case.table("meta.csv", ",")[1:]}
    rows = case.table("scores_ITW.txt")
    scores, is_bonafide = np.array([float(r[1]) for r in rows]), np.array([labels[r[0]] == "bona-fide" for r in rows])
    order = np.concatenate((np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)))
    eer, _ = metrics.compute_eer(scores[is_bonafide], scores[~is_bonafide], "interpolated", order=order)
    stable = 0.12724074 if case.name == "g60k" else published["EER_if_stable_argsort"]
    assert eer == pytest.approx(stable, rel=0, abs=5e-9 if case.name == "g60k" else 1e-12)


def test_eer_and_dcf_of_ctrsvdd(case):
    published = case.results.get("CtrSVDD_EER_minDCF")
    if published is None:
        pytest.skip("the case has no CtrSVDD part")
    scores, key = case.scores("scores_CtrSVDD.txt"), case.table("test.txt")

    def check(name, rows, eer, dcf):
        bonafide, spoof = ([scores[r[2]] for r in rows if r[5] == label] for label in ("bonafide", "deepfake"))
        assert metrics.compute_eer(bonafide, spoof, "sklearn")[0] == pytest.approx(eer, **EXACT), name
        cost = metrics.compute_min_dcf(bonafide, spoof, p_spoof=0.5, c_fa=1, method="sklearn", normalize=False)
        assert cost == pytest.approx(dcf, **EXACT), name

    pooled = published["values_pooled"]
    check("pooled", key, pooled["calculate_eer"], pooled["calculate_mindcf"])
    for name, values in published["values_subsets"].items():
        if name.startswith("dataset "):
            rows = [r for r in key if r[0] == name.split()[1]]
        elif name.startswith("atk "):
            rows = [r for r in key if r[0] != "acesinger" and (r[5] == "bonafide" or r[4] == name.split()[1])]
        else:
            rows = [r for r in key if r[4] != "A14" and (name == "exA14" or r[0] != "acesinger")]
        assert len(rows) == values["n"], name
        check(name, rows, values["eer"], values["mindcf"])


def test_asvspoof5_track_1(case):
    published = case.results["asvspoof5_t1"]["values"]
    scores = {id: float(score) for id, score in case.table("asv5_cm_score.tsv")[1:]}
    key = case.table("asv5_cm_key.tsv")[1:]
    bonafide, spoof = ([scores[id] for id, label in key if label == wanted] for wanted in ("bonafide", "spoof"))
    assert metrics.compute_min_dcf(bonafide, spoof) == pytest.approx(published["minDCF"], **EXACT)
    assert metrics.compute_act_dcf(bonafide, spoof) == pytest.approx(published["actDCF"], **EXACT)
    assert metrics.compute_cllr(bonafide, spoof) == pytest.approx(published["cllr"], **EXACT)
    eer, threshold = metrics.compute_eer(bonafide, spoof)
    assert eer == pytest.approx(published["eer"], **EXACT)
    assert threshold == pytest.approx(published["eer_threshold"], **EXACT)
