"""The result of a system on a set of the Arena, written for its repository on the hub."""

import hashlib

import pytest
import yaml
from builders.files import write, write_scores
from builders.hub_server import COMMIT, make_cache, use_cache

from nes2net.apps.export.arena_result import DEEP_VOICE

write_arena_set = pytest.importorskip("builders.arena_set").write_arena_set
SET = "hub:SpeechAntiSpoofingBenchmarks/Tiny"
SCORES = {"u0": -1.0, "u1": 1.5, "u2": 0.5, "u3": 2.0}
SYSTEM = {
    "name": "Mine",
    "slug": "mine",
    "description": "a detector",
    "code": "https://github.com/me/mine",
    "checkpoint": "https://huggingface.co/me/mine",
    "paper": {"arxiv_id": "2504.05657", "url": "https://arxiv.org/abs/2504.05657", "bibtex": "@misc{mine}"},
}


def cache_set(home, name, labels):
    """Put a set into the cache of the hub."""
    folder = write_arena_set(home / name.partition("/")[2], labels)
    make_cache(home / "hf", name.removeprefix("hub:"), folder)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    write(tmp_path / "system" / "meta.yaml", yaml.safe_dump({"system": SYSTEM}))
    write_scores(tmp_path / "scores.txt", SCORES)
    return tmp_path


@pytest.fixture
def result_folder(home, output):
    """What is written for a set with both classes."""
    cache_set(home, SET, [1, 1, 0, 0])
    output(f"export system --to arena --scores scores.txt --corpus {SET}")
    return home / "system" / ".eval_results" / "SpeechAntiSpoofingBenchmarks" / "Tiny"


def result_in(folder):
    return yaml.safe_load((folder / "result.yaml").read_text())


def test_the_arena_result_of_a_set_names_the_revision_that_was_scored(result_folder):
    assert result_in(result_folder)["dataset"] == {
        "id": "SpeechAntiSpoofingBenchmarks/Tiny",
        "revision": COMMIT,
        "split": "test",
    }


def test_the_arena_result_of_a_set_with_both_classes_has_its_eer(result_folder):
    assert result_in(result_folder)["scores"] == {"eer_percent": 50.0, "n_trials": 4, "n_skipped": 0}


def test_the_arena_result_of_a_set_has_the_address_and_the_sha256_of_the_score_file_beside_it(result_folder):
    scores = (result_folder / "scores.txt").read_bytes()
    assert scores == b"u0 -1.0\nu1 1.5\nu2 0.5\nu3 2.0\n"
    artifact = result_in(result_folder)["artifact"]
    address = "https://huggingface.co/me/mine/resolve/COMMIT/.eval_results/SpeechAntiSpoofingBenchmarks/Tiny"
    assert artifact["scores_url"] == f"{address}/scores.txt"
    assert artifact["scores_sha256"] == hashlib.sha256(scores).hexdigest()


def test_the_arena_result_of_spoofed_trials_alone_is_their_error_rate_at_the_threshold_of_deep_voice(home, output):
    """Deep Voice is a set with both classes, whose scores are given."""
    cache_set(home, SET, [1, 1, 1, 1])
    cache_set(home, DEEP_VOICE, [1, 0, 1, 0])
    write(home / "deep_voice.txt", "u0 0.0\nu1 1.4\nu2 0.1\nu3 3.0\n")
    output(f"export system --to arena --scores scores.txt --corpus {SET} --deep-voice deep_voice.txt")
    (path,) = (home / "system" / ".eval_results").rglob("result.yaml")
    assert result_in(path.parent)["scores"] == {"srr_complement": 50.0, "n_trials": 4, "n_skipped": 0}


def test_an_arena_result_of_another_corpus_than_a_set_of_the_hub_is_refused(home, refused):
    message = "the Arena only accepts scores of sets of the hub, not of in_the_wild: use hub:OWNER/NAME"
    refused("export system --to arena --scores scores.txt --corpus in_the_wild", message)
    assert not (home / "system" / ".eval_results").exists()
