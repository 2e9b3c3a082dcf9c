"""The official result table of CtrSVDD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nes2net.lib.errors import InputError
from nes2net.metrics.dcf import compute_min_dcf
from nes2net.metrics.eer import check_scores, compute_eer

#: Options of ``compute_min_dcf`` for the published cost on CtrSVDD, ½ FRR + ½ FAR.
CTRSVDD_DCF: dict[str, Any] = {"p_spoof": 0.5, "c_fa": 1, "method": "sklearn", "normalize": False}
_ATTACKS = ("A09", "A10", "A11", "A12", "A13")


class OfficialRow(NamedTuple):
    """A row of the table in which the organisers of a corpus publish the results of a system.

    ``eer`` and ``min_dcf`` are fractions, or None if a class has no trials.
    """

    part: str
    num_bonafide: int
    num_spoof: int
    eer: float | None
    min_dcf: float | None = None


def ctrsvdd_rows(
    scores: ArrayLike, is_bonafide: ArrayLike, sources: Sequence[str], attacks: Sequence[str | None]
) -> list[OfficialRow]:
    """Compute the official table of CtrSVDD.

    Source: Zang et al., "CtrSVDD: A Benchmark Dataset and Baseline Analysis", Interspeech 2024, and
    its evaluation program. The EER follows the rule ``"sklearn"``; minDCF is ½ FRR + ½ FAR.

    Args:
        scores: (N,), in the order of the score file, which is also the order of the sources.
        is_bonafide: (N,).
        sources: The source set of each trial, such as ``"m4singer"``, length N.
        attacks: A09 to A14 of each trial, length N; ignored for bona fide trials.

    Returns:
        A row for each source except acesinger, with A14; all sources without A14; all without A14
        and acesinger; then each attack A09 to A13 against all bona fide trials but acesinger's.

    Raises:
        InputError: if lengths differ, or a score is NaN.
    """
    scores = check_scores(scores, "CtrSVDD")
    bonafide = np.asarray(is_bonafide, dtype=bool)
    source = np.array(sources, dtype=object)
    attack = np.array(attacks, dtype=object)
    if not scores.size == bonafide.size == source.size == attack.size:
        raise InputError(
            f"each score needs a class, a source and an attack: there are {scores.size} scores, but {bonafide.size} "
            f"classes, {source.size} sources and {attack.size} attacks; give all of equal length"
        )
    # Omitted from some rows: a source outside of the challenge, and an attack trained on the bona fide singers.
    in_challenge = source != "acesinger"
    is_left_out_attack = ~bonafide & (attack == "A14")
    subsets = {f"source {name} (with A14)": source == name for name in dict.fromkeys(source[in_challenge])}
    subsets["all without A14"] = ~is_left_out_attack
    subsets["all without A14 and acesinger"] = ~is_left_out_attack & in_challenge
    for name in _ATTACKS:
        subsets[f"attack {name} (without acesinger)"] = in_challenge & (bonafide | (attack == name))
    rows = []
    for part, in_subset in subsets.items():
        classes = scores[in_subset & bonafide], scores[in_subset & ~bonafide]
        eer = min_dcf = None
        if classes[0].size and classes[1].size:
            eer, _ = compute_eer(*classes, "sklearn")
            min_dcf = compute_min_dcf(*classes, **CTRSVDD_DCF)
        rows.append(OfficialRow(part, classes[0].size, classes[1].size, eer, min_dcf))
    return rows
