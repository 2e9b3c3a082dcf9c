"""`nes2net enrol` keeps people with their consent, shows and forgets them, and refuses what it cannot enrol."""

import numpy as np
import pytest
import soundfile
from builders.strangers import install, installed_in
from builders.voices import voice

from nes2net.models.speakers import create_speaker_encoder
from nes2net.scoring.people import PeopleStore

#: Embeds the levels of 8 parts of a recording.
LEVELS = """
import numpy as np
from nes2net.models.speakers import SpeakerEncoder

class Levels(SpeakerEncoder):
    "Levels of eight parts of the recording."
    name = "levels"
    revision = "1"
    sha256 = "0" * 64
    dimension = 8

    def compute(self, waveform):
        return np.array([np.abs(part).mean() for part in np.array_split(waveform, 8)])

class Bands(Levels):
    "Energies of eight bands of the recording."
    name = "bands"

    def compute(self, waveform):
        return np.array([np.abs(part).mean() for part in np.array_split(np.fft.rfft(waveform), 8)])
"""


@pytest.fixture(scope="module", autouse=True)
def encoders(tmp_path_factory):
    """A package with two speaker encoders."""
    site = tmp_path_factory.mktemp("speakers") / "site"
    targets = {"levels": "levels_and_bands:Levels", "bands": "levels_and_bands:Bands"}
    install(site, "my-speakers 0.1", {"speakers": targets}, {"levels_and_bands": LEVELS})
    with installed_in(site):
        yield


@pytest.fixture
def recordings(workdir):
    """Recordings of 3 s in the folder of the test."""
    for number in range(3):
        soundfile.write(f"{number}.wav", voice(number, 3.0), 16000, subtype="FLOAT")
    return workdir


@pytest.fixture
def anna(recordings, output):
    """A store in which Anna is enrolled with two recordings."""
    printed = output("enrol add people anna 0.wav 1.wav --consent form_1 --encoder levels")
    assert printed.out == "anna is enrolled; recordings: 2\n"
    return PeopleStore("people")


def test_the_model_is_the_mean_of_the_embeddings_of_the_recordings(anna):
    encoder = create_speaker_encoder("levels")
    total = encoder.embed("0.wav") + encoder.embed("1.wav")
    np.testing.assert_allclose(anna.read("anna").vectors[0], total / np.linalg.norm(total), rtol=0, atol=1e-6)


def test_the_store_holds_no_audio_and_no_path(anna, recordings):
    content = b"".join(file.read_bytes() for file in anna.folder.iterdir())
    assert len(content) < 3000
    assert b"0.wav" not in content
    assert str(recordings).encode() not in content
    assert voice(0, 3.0)[1000:1004].tobytes() not in content


def test_a_further_recording_is_added_with_its_own_consent(anna, output):
    output("enrol add people anna 2.wav --consent form_2 --encoder levels")
    facts = anna.read("anna").facts.recordings
    assert sorted(recording.consent for recording in facts) == ["form_1", "form_1", "form_2"]
    assert [recording.seconds for recording in facts] == [3.0] * 3
    assert all(0 < recording.speech <= 3 for recording in facts)


def test_order_of_files_and_folders_do_not_change_a_person(anna, recordings, output):
    (recordings / "2.wav").rename(recordings / "2.txt")
    output(["enrol", "add", "people", "bob", ".", "--consent", "c", "--encoder", "{name: levels}"])
    np.testing.assert_array_equal(anna.read("anna").vectors, anna.read("bob").vectors)


def test_people_are_listed_and_shown_as_biometric_data(anna, output):
    assert output("enrol list people").out == "anna\n"
    shown = output("enrol show people anna").out
    for fact in ("biometric data", "form_1", "name: levels, revision: 1", anna.read("anna").facts.recordings[0].sha256):
        assert fact in shown


def test_forgetting_names_what_was_removed_and_who_removes_copies(anna, output):
    printed = output("enrol forget people anna").out
    assert "anna.json" in printed
    assert "anna.safetensors" in printed
    assert "Remove copies and backups" in printed
    assert not list(anna.folder.iterdir())


@pytest.mark.parametrize(
    "words, message",
    [
        ("add people bob 0.wav --encoder levels", "required: --consent"),
        ("add people ../bob 0.wav --encoder levels --consent c", "no person can have the name '../bob'"),
        ("add people anna 2.wav --encoder bands --consent c", "not (name='bands'"),
        ("add people bob silent.wav --encoder levels --consent c", "no speech found"),
        ("add people bob none.wav --encoder levels --consent c", "none.wav"),
        ("add people bob 0.wav --encoder level --consent c", "did you mean 'levels'"),
        ("show people ana", "there is no person 'ana'; did you mean 'anna'"),
        ("forget people bob", "there is no person 'bob'; known: anna"),
        (["add", "people", "bob", "0.wav", "--consent", " "], "--consent must be how the person has agreed, not ' '"),
    ],
    ids=str,
)
def test_what_cannot_be_enrolled_or_found_is_refused_and_changes_nothing(anna, refused, words, message):
    soundfile.write("silent.wav", np.zeros(48000), 16000)
    before = {file: file.read_bytes() for file in anna.folder.iterdir()}
    refused(["enrol", *(words.split() if isinstance(words, str) else words)], message)
    assert {file: file.read_bytes() for file in anna.folder.iterdir()} == before
