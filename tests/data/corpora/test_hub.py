"""Data sets of the hub as corpora, from a server on this machine and from the folder that huggingface_hub keeps."""

import shutil

import pytest
from builders import input_error
from builders.files import read_json, write
from builders.hub_server import COMMIT, make_cache, serving, spoil, use_cache

from nes2net.cli.main import main
from nes2net.data.corpora import asvspoof2019_la, hub
from nes2net.data.corpora.pack import pack
from nes2net.data.registry import corpora
from nes2net.evaluation.judgements import Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials


@pytest.fixture(scope="module")
def packed(corpus, tmp_path_factory):
    """The development trials as an evaluation set in the Arena's layout."""
    out = tmp_path_factory.mktemp("packed") / "set"
    pack({"eval": asvspoof2019_la.CORPUS.trials(corpus, "dev")}, out, title="ASVspoof 2019 LA dev", shard_bytes=250_000)
    assert len(list(out.glob("data/test-*.parquet"))) > 1
    return out


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No hub can be reached; the folder in which its sets would be kept."""
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    return tmp_path / "hf"


@pytest.fixture
def scored_by_name(packed, spectral_detector, tmp_path, offline):
    """The scores of a set of the hub that `nes2net score` wrote."""
    make_cache(offline, "owner/set", packed)
    spectral_detector.save(tmp_path / "model.pth")
    out = tmp_path / "by_command.txt"
    command = ["score", "hub:owner/set", "--model", str(tmp_path / "model.pth"), "--device", "cpu", "--workers", "0"]
    assert main([*command, "--samples", "8000", "--batch-size", "3", "--out", str(out)]) == 0
    return out


def test_scores_of_a_data_set_of_the_hub_equal_those_of_the_files_packed_into_it(
    corpus, scored_by_name, spectral_detector, tmp_path
):
    trials = asvspoof2019_la.CORPUS.trials(corpus, "dev")
    settings = ScoringSettings(num_samples=8000, batch_size=3, num_workers=0)
    judge_trials(spectral_detector, trials, tmp_path / "files.txt", Scores(), settings=settings)
    assert scored_by_name.read_bytes() == (tmp_path / "files.txt").read_bytes()


def test_the_name_and_revision_of_a_data_set_of_the_hub_are_recorded_beside_its_scores(scored_by_name):
    recorded_corpus = read_json(scored_by_name.with_suffix(".txt.json"))["corpus"]
    assert recorded_corpus["name"] == "hub:owner/set"
    assert recorded_corpus["revision"] == COMMIT


def test_scores_are_evaluated_against_a_data_set_of_the_hub_given_by_its_name(packed, tmp_path, offline, capsys):
    make_cache(offline, "owner/set", packed)
    trials = corpora.get("hub:owner/set").keys(None, "eval")
    scores = write(tmp_path / "scores.txt", "".join(f"{trial.id} {trial.target}\n" for trial in trials))
    assert main(["evaluate", "hub:owner/set", str(scores)]) == 0
    assert "hub:owner/set, phase eval: 12 trials (6 bona fide, 6 spoof)" in capsys.readouterr().out


def test_only_the_shards_and_the_description_of_a_data_set_of_the_hub_are_downloaded(packed, tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    served = tmp_path / "served"
    shutil.copytree(packed, served)
    write(served / "submissions/x.parquet")
    write(served / "scores.bin", "0")
    with serving(monkeypatch, {"owner/set": served}):
        folder = hub.download("hub:owner/set")
        names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        expected = [path.relative_to(packed) for path in (*packed.rglob("*.parquet"), packed / "eval.yaml")]
        assert sorted(names) == sorted(expected)


def test_a_shard_with_another_sha256_than_the_hub_states_is_refused(packed, tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    with serving(monkeypatch, {"owner/set": packed}) as server:
        spoil(server, ".parquet")
        with input_error("the SHA-256 of what came is .*, but the hub states"):
            hub.download("hub:owner/set")


def test_the_shards_of_a_data_set_of_the_hub_are_downloaded_by_the_first_run_alone(packed, tmp_path, monkeypatch):
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    with serving(monkeypatch, {"owner/set": packed}) as server:
        hub.download("hub:owner/set")
        assert any(path.startswith("/datasets") for path in server.fetched())
        server.requests.clear()
        hub.download.cache_clear()
        hub.download("hub:owner/set")
        assert not any(path.startswith("/datasets") for path in server.fetched())


@pytest.mark.parametrize(
    "name, message",
    [
        ("gated", r"hub:owner/gated is not here .*/owner/gated is gated; accept .* log in by `hf auth login`"),
        ("none", "there is no .*/owner/none, or it is private"),
        ("set@v9", "hub:owner/set@v9 .*it has no such revision; .*/owner/set/commits/main lists them"),
    ],
)
def test_a_data_set_that_the_hub_does_not_give_is_refused_with_the_reason(packed, tmp_path, monkeypatch, name, message):
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    with serving(monkeypatch, {"owner/set": packed, "owner/gated": packed}), input_error(message):
        hub.download(f"hub:owner/{name}")


@pytest.mark.usefixtures("offline")
def test_a_data_set_without_a_local_copy_is_refused_if_the_hub_cannot_be_reached():
    with input_error("hub:owner/set is not here .*: the hub cannot be reached"):
        corpora.get("hub:owner/set").trials(None, "eval")


def test_a_malformed_name_of_a_data_set_of_the_hub_is_refused():
    for name in ("hub:set", "hub:a/../b", "hub:a/b@", "hub:"):
        with input_error("not a data set of the hub: write hub:OWNER/NAME"):
            corpora.get(name)


@pytest.mark.usefixtures("offline")
def test_a_copied_folder_of_a_data_set_of_the_hub_is_read_offline(packed):
    assert len(corpora.get("hub:owner/set").trials(packed, "eval")) == 12


def test_a_shard_of_the_hub_that_an_interrupted_download_left_out_is_named_in_the_refusal(packed, offline):
    first = min(make_cache(offline, "owner/set", packed).glob("data/test-*"))
    first.unlink()
    with input_error(f"shards are missing: data/{first.name}; copy or download"):
        corpora.get("hub:owner/set").trials(None, "eval")
