"""Evidence beside an answer, and its first part: the nearest of known recordings."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders.known_voices import FEWEST, write_neighbours, write_voices
from conftest import seeded_detector

from nes2net.lib.errors import InputError
from nes2net.scoring.judging import JudgingSettings, judge_recording
from nes2net.scoring.neighbours import Neighbours, learn_neighbours

MODEL = {"frontend": "lfcc", "backend": "asp_mlp"}
ALPHA = 0.05
LABELS = {"real": "bonafide", "fake": "spoof"}


@pytest.fixture(scope="module")
def small():
    return seeded_detector(MODEL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small):
    """A folder with known recordings and ``n.json``."""
    folder = tmp_path_factory.mktemp("neighbours")
    write_neighbours(folder, small)
    return folder


@pytest.fixture(scope="module")
def embeddings(folder, small):
    """Path of a known recording → its embedding of norm 1."""
    rows = {}
    for path in sorted(folder.glob("*/*.wav")):
        row = small.embed(path, num_samples=64600, of="backend").astype(np.float64)
        rows[str(path)] = row / np.linalg.norm(row)
    return rows


@pytest.fixture(scope="module")
def evidence_of(folder, small):
    """A function that returns the evidence about a recording, as plain data."""
    settings = JudgingSettings(evidence=[f"neighbours:{folder / 'n.json'}"])
    return lambda recording: judge_recording(small, recording, settings=settings).to_row()["evidence"]


def test_the_nearest_are_named_with_labels_and_cosine_distances(evidence_of, embeddings, folder):
    path = str(folder / "fake" / "20.wav")
    distances = {neighbour: 1 - row @ embeddings[path] for neighbour, row in embeddings.items()}
    nearest = sorted(distances, key=distances.get)[:5]
    assert nearest[0] == path
    for row, neighbour in zip(evidence_of(path), nearest, strict=True):
        assert row["neighbour"] == neighbour
        assert row["label"] == LABELS[Path(neighbour).parent.name]
        assert row["distance"] == pytest.approx(distances[neighbour], abs=1e-9)
        assert row["finding"] == f"{neighbour}: {row['label']}, cosine distance {row['distance']:.4f}"


def test_a_recording_is_unlike_all_below_the_order_statistic_of_the_known_ones(embeddings, saved):
    rows = np.stack(list(embeddings.values()))
    cosines = np.sort(rows @ rows.T, axis=1)[:, -6]  # of each to its fifth-nearest other recording
    k = int(ALPHA * (len(rows) + 1))
    assert saved["threshold"] == pytest.approx(np.sort(cosines)[k - 1], abs=1e-9)


def test_only_a_recording_that_is_far_from_the_known_ones_is_called_unlike_them(evidence_of, folder, tmp_path):
    noise = np.random.default_rng(0).standard_normal(4800)
    soundfile.write(tmp_path / "noise.wav", 0.1 * noise, 16000)
    *_, last = evidence_of(tmp_path / "noise.wav")
    assert last["unlike"]
    assert last["finding"].startswith("unlike all: 5% of recordings")
    assert not any("unlike" in row for row in evidence_of(folder / "real" / "05.wav"))


def test_embeddings_of_another_detector_are_refused(folder):
    another_detector = seeded_detector(MODEL, seed=1)
    with pytest.raises(InputError, match=r"n\.json: holds embeddings of another detector; give a file that"):
        Neighbours(another_detector, str(folder / "n.json"))


@pytest.fixture
def saved(folder):
    """The content of ``n.json``."""
    return json.loads((folder / "n.json").read_text())


@pytest.fixture
def refusal(small, tmp_path):
    """A function that asserts that a file with this text is refused; returns the message."""

    def read(text: str) -> str:
        path = tmp_path / "n.json"
        path.write_text(text)
        with pytest.raises(InputError) as error:
            Neighbours(small, str(path))
        message = str(error.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    return read


def test_json_that_is_nested_deeply_is_refused(refusal):
    assert "nested more than 100 deep" in refusal("[" * 100_000)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e300", "true"])
def test_numbers_that_no_embedding_has_are_refused(refusal, saved, number):
    saved["recordings"][0][2][0] = "NUMBER"
    assert "recordings.0.2.0: Input should be" in refusal(json.dumps(saved).replace('"NUMBER"', number))


def test_embeddings_of_several_sizes_are_refused(refusal, saved):
    saved["recordings"][0][2].append(1.0)
    assert "not embeddings of one size" in refusal(json.dumps(saved))


def test_a_file_without_recordings_is_refused(refusal, saved):
    assert "not embeddings of one size" in refusal(json.dumps({**saved, "recordings": []}))


def test_keys_of_other_files_are_refused(refusal, saved):
    assert "more: Extra inputs are not permitted" in refusal(json.dumps({**saved, "more": 1}))


def test_a_length_that_would_fill_the_memory_is_refused(refusal, saved):
    saved["scored_by"]["num_samples"] = 10**15
    assert "scored_by.num_samples: Input should be less than" in refusal(json.dumps(saved))


def test_embeddings_of_another_size_are_told_as_evidence(folder, small, saved, tmp_path):
    """They are found when a recording is compared; the answer stays."""
    (tmp_path / "n.json").write_text(json.dumps({**saved, "recordings": [["a", "spoof", [1.0]]]}))
    settings = JudgingSettings(evidence=[f"neighbours:{tmp_path / 'n.json'}"])
    answer = judge_recording(small, folder / "real" / "00.wav", settings=settings)
    (row,) = answer.facts["evidence"]
    assert row["finding"].startswith("neighbours: trials have embeddings of")
    assert answer.value == judge_recording(small, folder / "real" / "00.wav").value


def test_too_few_recordings_are_refused_with_the_number_that_is_needed(small, tmp_path):
    few = write_voices(tmp_path / "few", range(FEWEST - 1))
    with pytest.raises(InputError, match=r"N = 18 recordings are too few for 5 %: at least 19 are needed"):
        learn_neighbours(small, [str(few)], tmp_path / "n.json")
    assert not (tmp_path / "n.json").exists()


def test_unknown_evidence_is_refused_with_the_known_names(small):
    with pytest.raises(InputError, match="unknown evidence 'nope'; known: .*neighbours"):
        judge_recording(small, np.zeros(1600), sample_rate=16000, settings=JudgingSettings(evidence=["nope"]))
