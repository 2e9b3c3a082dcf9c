"""The metrics of two classes that nes2net declares."""

from nes2net.metrics.dcf import compute_act_dcf, compute_cllr, compute_min_cllr, compute_min_dcf
from nes2net.metrics.eer import compute_eer
from nes2net.metrics.rates import compute_rates
from nes2net.metrics.registry import Metric, Term
from nes2net.metrics.resampling import (
    quick_a_dcf,
    quick_act_dcf,
    quick_claim_eer,
    quick_cllr,
    quick_eer,
    quick_min_cllr,
    quick_min_dcf,
    quick_min_tdcf,
    quick_rates,
)
from nes2net.metrics.sasv import compute_a_dcf, compute_claim_eer
from nes2net.metrics.tdcf import compute_min_tdcf

_ASVSPOOF_5 = "ASVspoof 5 evaluation plan, track 1, 2024"

EER = Metric(
    "eer",
    "EER %",
    compute_eer,
    quick=quick_eer,
    term=Term(
        "EER",
        "Equal error rate: the rate of errors at the threshold where as large a share of bona fide trials is rejected "
        "as of spoofed trials is accepted. Lower is better; guessing has 50 %.",
        "Wang et al., Computer Speech & Language 64, 2020",
    ),
    has_interval=True,
)
MIN_TDCF = Metric(
    "min_tdcf",
    "min t-DCF",
    compute_min_tdcf,
    "cost",
    4,
    "tandem",
    quick_min_tdcf,
    Term(
        "min t-DCF",
        "Cost of a spoofing detector in front of speaker verification (ASV), by the priors and costs of ASVspoof, at "
        "the best threshold. 1 is a detector that does not help.",
        "Kinnunen et al., IEEE/ACM TASLP 28, 2020; the form of 2019: Odyssey 2018",
    ),
)
MIN_DCF = Metric(
    "min_dcf",
    "minDCF",
    compute_min_dcf,
    "cost",
    4,
    quick=quick_min_dcf,
    term=Term(
        "minDCF",
        "Detection cost: misses and false alarms, weighted by priors and costs, at the best threshold for the "
        "evaluated trials.",
        _ASVSPOOF_5,
    ),
)
ACT_DCF = Metric(
    "act_dcf",
    "actDCF",
    compute_act_dcf,
    "cost",
    4,
    "ratios",
    quick_act_dcf,
    Term(
        "actDCF",
        "The detection cost at the threshold that is best for log-likelihood ratios. The excess over the minDCF of "
        "the same costs is lost by calibration.",
        _ASVSPOOF_5,
    ),
)
CLLR = Metric(
    "cllr",
    "Cllr",
    compute_cllr,
    "bits",
    4,
    "ratios",
    quick_cllr,
    Term(
        "Cllr",
        "Cost of log-likelihood ratios in bits, over all thresholds. 0 is perfect, and 1 is a system that tells "
        "nothing; scores that mislead may cost more.",
        "Brümmer and du Preez, Computer Speech & Language 20, 2006",
    ),
)
MIN_CLLR = Metric("min_cllr", "min Cllr", compute_min_cllr, "bits", 4, "ratios", quick_min_cllr)
RATES = Metric("rates", "error rates", compute_rates, of="decisions", quick=quick_rates)
_SASV_2022 = "Jung et al., “SASV 2022”, Interspeech 2022"
SASV_EER = Metric(
    "sasv_eer",
    "SASV-EER %",
    compute_claim_eer,
    of="claims",
    quick=quick_claim_eer,
    term=Term(
        "SASV-EER",
        "EER of targets (the claimed person, bona fide) against nontargets (other people) and spoofed trials together.",
        _SASV_2022,
    ),
)
SV_EER = Metric(
    "sv_eer",
    "SV-EER %",
    compute_claim_eer,
    of="claims",
    options={"against": (1,)},
    quick=quick_claim_eer,
    term=Term("SV-EER", "EER of targets against nontargets, without spoofed trials.", _SASV_2022),
)
SPF_EER = Metric(
    "spf_eer",
    "SPF-EER %",
    compute_claim_eer,
    of="claims",
    options={"against": (2,)},
    quick=quick_claim_eer,
    term=Term("SPF-EER", "EER of targets against spoofed trials, without nontargets.", _SASV_2022),
)
_A_DCF = "Shim et al., “a-DCF”, Odyssey 2024"
MIN_A_DCF = Metric(
    "min_a_dcf",
    "min a-DCF",
    compute_a_dcf,
    "cost",
    4,
    "claims",
    quick_a_dcf,
    Term(
        "min a-DCF",
        "Cost of rejected targets, accepted nontargets and accepted spoofed trials at the best threshold. Figures of "
        "other weights cannot be compared.",
        _A_DCF,
    ),
)
ACT_A_DCF = Metric(
    "act_a_dcf",
    "actual a-DCF",
    compute_a_dcf,
    "cost",
    4,
    "claims",
    quick_a_dcf,
    Term("actual a-DCF", "The a-DCF at a threshold chosen before.", _A_DCF),
)
