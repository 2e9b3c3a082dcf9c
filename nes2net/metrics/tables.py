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
# Omitted from some rows: a source outside of the challenge, and an attack trained on the bona fide singers.
_LEFT_OUT_SOURCE = "acesinger"
_LEFT_OUT_ATTACK = "A14"
_ATTACKS = ("A09", "A10", "A11", "A12", "A13")


class CtrSvddRow(NamedTuple):
    """A row of the CtrSVDD table, in fractions; None if a class has no trials.

    ``kind`` is ``"source"``, ``"attack"`` or ``"subset"``, named by what is omitted.
    """

    kind: str
    name: str
    num_bonafide: int
    num_spoof: int
    eer: float | None
    min_dcf: float | None


def ctrsvdd_rows(
    scores: ArrayLike, is_bonafide: ArrayLike, sources: Sequence[str], attacks: Sequence[str | None]
) -> list[CtrSvddRow]:
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
    in_challenge = source != _LEFT_OUT_SOURCE
    is_left_out_attack = ~bonafide & (attack == _LEFT_OUT_ATTACK)
    subsets = [("source", name, source == name) for name in dict.fromkeys(source) if name != _LEFT_OUT_SOURCE]
    subsets += [
        ("subset", _LEFT_OUT_ATTACK, ~is_left_out_attack),
        ("subset", f"{_LEFT_OUT_ATTACK} and {_LEFT_OUT_SOURCE}", ~is_left_out_attack & in_challenge),
        *(("attack", name, in_challenge & (bonafide | (attack == name))) for name in _ATTACKS),
    ]
    rows = []
    for kind, name, in_subset in subsets:
        classes = scores[in_subset & bonafide], scores[in_subset & ~bonafide]
        eer = min_dcf = None
        if classes[0].size and classes[1].size:
            eer, _ = compute_eer(*classes, "sklearn")
            min_dcf = compute_min_dcf(*classes, **CTRSVDD_DCF)
        rows.append(CtrSvddRow(kind, name, classes[0].size, classes[1].size, eer, min_dcf))
    return rows
