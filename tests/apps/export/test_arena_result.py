"""The result of a system on a set of the Arena, written for its repository on the hub."""

import hashlib
import shlex

import pytest
import yaml
from builders.hub_server import COMMIT, make_cache, use_cache

from nes2net.apps.export.arena_result import DEEP_VOICE

parquet = pytest.importorskip("pyarrow.parquet")
arrow = pytest.importorskip("pyarrow")
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


def write_set(folder, labels):
    """Write a set in the layout of the Arena's; label 1 is spoof."""
    (folder / "data").mkdir(parents=True)
    rows = []
    for number, label in enumerate(labels):
        audio = {"bytes": b"", "path": f"u{number}.flac"}
        notes = f'{{"utterance_id": "u{number}"}}'
        row = {"path": audio["path"], "audio": audio}
        row["label"] = label
        row["notes"] = notes
        rows.append(row)
    table = arrow.Table.from_pylist(rows)
    parquet.write_table(table, folder / "data" / "test-00000-of-00001.parquet")
    task = {"id": "antispoofing_eval", "config": "default"}
    task["split"] = "test"
    task["metrics"] = ["eer_percent"]
    task["field_spec"] = {"input": "audio", "target": "label"}
    (folder / "eval.yaml").write_text(yaml.safe_dump({"name": "Tiny", "tasks": [task]}))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "meta.yaml").write_text(yaml.safe_dump({"system": SYSTEM}))
    (tmp_path / "scores.txt").write_text("".join(f"{name} {score}\n" for name, score in SCORES.items()))
    return tmp_path


def test_the_result_of_a_set_with_both_classes(home, output):
    write_set(home / "set", [1, 0, 1, 0])
    make_cache(home / "hf", SET.removeprefix("hub:"), home / "set")
    words = f"export system --to arena --scores scores.txt --corpus {SET}"
    out = output(words).out
    folder = home / "system" / ".eval_results" / "SpeechAntiSpoofingBenchmarks" / "Tiny"
    assert "result.yaml" in out
    result = yaml.safe_load((folder / "result.yaml").read_text())
    assert result["schema_version"] == 1
    assert result["system"] == {"name": "Mine", "slug": "mine", "paper": {"arxiv_id": "2504.05657"}}
    assert result["dataset"] == {"id": "SpeechAntiSpoofingBenchmarks/Tiny", "revision": COMMIT, "split": "test"}
    assert result["scores"] == {"eer_percent": 0.0, "n_trials": 4, "n_skipped": 0}
    assert result["arena"]["system_url"].endswith("SpeechAntiSpoofingArena?system=mine")
    scores = (folder / "scores.txt").read_bytes()
    assert scores == b"u0 -1.0\nu1 1.5\nu2 0.5\nu3 2.0\n"
    artifact = result["artifact"]
    address = "https://huggingface.co/me/mine/resolve/COMMIT/.eval_results/SpeechAntiSpoofingBenchmarks/Tiny"
    assert artifact["scores_url"] == f"{address}/scores.txt"
    assert artifact["scores_sha256"] == hashlib.sha256(scores).hexdigest()


def test_a_set_with_only_spoofed_trials_is_judged_at_the_threshold_of_deep_voice(home, output):
    write_set(home / "set", [1, 1, 1, 1])
    write_set(home / "deep_voice", [1, 0, 1, 0])
    make_cache(home / "hf", SET.removeprefix("hub:"), home / "set")
    make_cache(home / "hf", DEEP_VOICE.removeprefix("hub:"), home / "deep_voice")
    (home / "deep_voice.txt").write_text("u0 0.0\nu1 1.4\nu2 0.1\nu3 3.0\n")
    words = f"export system --to arena --scores scores.txt --corpus {SET} --deep-voice deep_voice.txt"
    output(words)
    (path,) = (home / "system" / ".eval_results").rglob("result.yaml")
    scores = yaml.safe_load(path.read_text())["scores"]
    assert scores == {"srr_complement": 50.0, "n_trials": 4, "n_skipped": 0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--scores scores.txt --corpus in_the_wild",
            "the Arena has sets of the hub, not in_the_wild: use hub:OWNER/NAME",
        ),
        ("--scores scores.txt", "--corpus"),
        (f"--corpus {SET}", "--scores"),
    ],
)
def test_a_result_needs_scores_and_a_set_of_the_hub(home, refused, words, message):
    refused(f"export system --to arena {words}", message)
    assert not (home / "system" / ".eval_results").exists()


def test_an_incomplete_description_of_the_system_is_refused(home, refused):
    (home / "system" / "meta.yaml").write_text(yaml.safe_dump({"system": {**SYSTEM, "code": None}}))
    refused(shlex.join(["export", "system", "--to", "arena", "--scores", "scores.txt", "--corpus", SET]), "system.code")
