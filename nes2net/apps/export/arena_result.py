"""Write a result for the Speech Anti-Spoofing Arena."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nes2net.actions.evaluation import evaluate
from nes2net.apps.export.arena import META, check_meta
from nes2net.data.corpora.hub import download
from nes2net.evaluation.transfer import ThresholdSource
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import make_folder, sha256_of, write_text
from nes2net.lib.storage.yaml_text import read_yaml_file, write_yaml
from nes2net.lib.web.hub import HUB_PAGES, HUB_PREFIX
from nes2net.models.checkpoints.published_file import COMMIT
from nes2net.scoring.score_file import read_scores, write_scores

#: Folder of all results in the repository of a model on the hub.
RESULTS = ".eval_results"
#: The Arena takes the threshold for sets with only spoofed trials from this set.
DEEP_VOICE = "hub:SpeechAntiSpoofingBenchmarks/DeepVoice"
#: Measure → its name in the Arena, where it is in percent.
_ARENA_NAMES = {"eer": "eer_percent", "one_minus_srr": "srr_complement"}
_ARENA = "https://huggingface.co/spaces/SpeechAntiSpoofingBenchmarks/SpeechAntiSpoofingArena"
_COMMENT = "# Upload scores.txt first, then write the commit of that upload in place of COMMIT.\n"


def write_arena_result(folder: Path, corpus: str, scores: Path, deep_voice: Path | None = None) -> Path:
    """Write the result of the system in ``folder`` on a set of the hub; return the path of ``result.yaml``.

    Args:
        deep_voice: scores of :data:`DEEP_VOICE`, for a set with only spoofed trials.

    Raises:
        InputError: if ``meta.yaml`` is incomplete, the corpus is not of the hub, or the scores do
            not fit it.
    """
    check_meta(folder)
    system = read_yaml_file(folder / META, None, str(folder / META))["system"]
    if not corpus.startswith(HUB_PREFIX):
        raise InputError(f"the Arena only accepts scores of sets of the hub, not of {corpus}: use hub:OWNER/NAME")
    revision = download(corpus).name
    if not COMMIT.fullmatch(revision):
        raise InputError(
            f"the commit of {corpus} is unknown, because its folder is called {revision}, not by the commit: remove "
            "the folder to download it again"
        )
    settings: dict[str, Any] = {"num_resamples": 1}  # the Arena shows no intervals
    if deep_voice is not None:
        settings["threshold_source"] = ThresholdSource(
            dev_scores=[str(deep_voice)], dev_keys=".", dev_corpus=DEEP_VOICE, dev_phase="eval"
        )
    result = evaluate(corpus, scores, **settings)
    measure = "eer" if deep_voice is None else "one_minus_srr"
    figure = result[measure].value
    if figure is None:
        raise InputError(f"{scores} has no {measure} on {corpus}: a set with only spoofed trials requires `deep_voice`")
    ids, values = read_scores(scores)
    repository = corpus.removeprefix(HUB_PREFIX).partition("@")[0]
    result_folder = folder / RESULTS / repository
    make_folder(result_folder)
    score_file = result_folder / "scores.txt"
    write_scores(score_file, ids, values)
    checkpoint = system["checkpoint"]
    if not checkpoint.startswith(HUB_PAGES):
        checkpoint = f"{HUB_PAGES}OWNER/NAME"
    identity = {"name": system["name"], "slug": system["slug"]}
    if "paper" in system:
        identity["paper"] = {"arxiv_id": system["paper"]["arxiv_id"]}
    # The Arena's schema prescribes these keys.
    content = {
        "schema_version": 1,
        "system": identity,
        "dataset": {"id": repository, "revision": revision, "split": "test"},
        "scores": {_ARENA_NAMES[measure]: 100 * figure, "n_trials": len(ids), "n_skipped": 0},
        "arena": {"url": _ARENA, "system_url": f"{_ARENA}?system={system['slug']}"},
        "artifact": {
            "scores_url": f"{checkpoint}/resolve/COMMIT/{score_file.relative_to(folder)}",
            "scores_sha256": sha256_of(score_file),
        },
    }
    path = result_folder / "result.yaml"
    write_text(path, _COMMENT + write_yaml(content))
    return path
