"""`nes2net enrol` keeps people with their consent, shows and forgets them, and refuses what it cannot enrol."""

import re
import shutil

import numpy as np
import pytest
import soundfile
from builders.speaker_encoders import installed_encoders
from builders.two_calibrations import write_detector_and_calibrations
from builders.voices import voice

from nes2net.models.speakers import create_speaker_encoder
from nes2net.scoring.people import PeopleStore


@pytest.fixture(scope="module", autouse=True)
def encoders(tmp_path_factory):
    """A package with two speaker encoders."""
    with installed_encoders(tmp_path_factory.mktemp("speakers")):
        yield


def save(name, samples):
    soundfile.write(name, samples, 16000, subtype="FLOAT")


@pytest.fixture
def recordings(workdir):
    """Recordings of 6 s in the folder of the test."""
    for number in range(3):
        save(f"{number}.wav", voice(number, 6.0))
    return workdir


@pytest.fixture
def anna(recordings, output):
    """A store in which Anna is enrolled with two recordings."""
    printed = output("enrol add people anna 0.wav 1.wav --consent form_1 --encoder pitches")
    assert printed.out == "anna is enrolled; recordings: 2\n"
    assert "fewer than 3" in printed.err
    return PeopleStore("people")


@pytest.fixture
def add(output):
    """A function that adds a recording to Anna, and returns what is printed."""

    def run(file, *words, status=0, consent="form_2", name="anna"):
        command = ["enrol", "add", "people", name, file, "--consent", consent, "--encoder", "pitches", *words]
        return output(command, status).out

    return run


def test_the_model_is_the_mean_of_the_embeddings_of_the_recordings(anna):
    encoder = create_speaker_encoder("pitches")
    total = encoder.embed("0.wav") + encoder.embed("1.wav")
    np.testing.assert_allclose(anna.read("anna").vectors[0], total / np.linalg.norm(total), rtol=0, atol=1e-6)


def test_a_plain_mean_weighs_embeddings_by_their_lengths_and_is_shown(recordings, output):
    save("quiet.wav", 0.2 * voice(1, 6.0))
    output("enrol add people anna 0.wav quiet.wav --consent c --encoder pitches --mean plain")
    encoder = create_speaker_encoder("pitches")
    computed = [encoder.compute(soundfile.read(name, dtype="float32")[0]) for name in ("0.wav", "quiet.wav")]
    total = np.sum(computed, 0)
    model, *embeddings = PeopleStore("people").read("anna").vectors
    np.testing.assert_allclose(model, total / np.linalg.norm(total), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=0, atol=1e-6)
    shown = output("enrol show people anna").out
    assert all(f"{np.linalg.norm(vector):.6g}" in shown for vector in computed)


def test_the_store_holds_no_audio_and_no_path(anna, recordings):
    content = b"".join(file.read_bytes() for file in anna.folder.iterdir())
    assert len(content) < 3000
    assert b"0.wav" not in content
    assert str(recordings).encode() not in content
    assert voice(0, 6.0)[1000:1004].tobytes() not in content


def test_a_further_recording_is_added_with_its_own_consent(anna, add):
    add("2.wav")
    facts = anna.read("anna").facts.recordings
    assert sorted(recording.consent for recording in facts) == ["form_1", "form_1", "form_2"]
    assert [recording.seconds for recording in facts] == [6.0] * 3
    assert all(0 < recording.speech <= 6 for recording in facts)


def test_order_of_files_and_folders_do_not_change_a_person(anna, recordings, output):
    (recordings / "2.wav").rename(recordings / "2.txt")
    output(["enrol", "add", "people", "bob", ".", "--consent", "c", "--encoder", "{name: pitches}"])
    np.testing.assert_array_equal(anna.read("anna").vectors, anna.read("bob").vectors)


def test_people_are_listed_and_shown_as_biometric_data(anna, output):
    assert output("enrol list people").out == "anna\n"
    shown = output("enrol show people anna").out
    for fact in (
        "biometric data",
        "form_1",
        "name: pitches, revision: 1",
        anna.read("anna").facts.recordings[0].sha256,
    ):
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
        ("add people bob 0.wav --encoder pitches", "required: --consent"),
        ("add people ../bob 0.wav --encoder pitches --consent c", "no person can have the name '../bob'"),
        ("add people anna 2.wav --encoder bands --consent c", "not (name='bands'"),
        ("add people bob silent.wav --encoder pitches --consent c", "no speech found"),
        ("add people bob none.wav --encoder pitches --consent c", "none.wav"),
        ("add people bob 0.wav --encoder pitche --consent c", "did you mean 'pitches'"),
        (
            "add people anna 2.wav --encoder pitches --consent c --mean plain",
            "anna: all recordings need the same --mean",
        ),
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


def low_passed(samples):
    """Only frequencies below 1 kHz."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 8 :] = 0
    return np.fft.irfft(spectrum)


#: Kind of a finding → samples in which it is found beside two recordings of Anna.
FOUND = {
    "short": voice(5, 1.5),
    "quiet": 0.001 * voice(5, 6.0),
    "narrow": low_passed(voice(5, 6.0)),
    "clipped": np.clip(8 * voice(5, 6.0), -0.9, 0.9),
    "unfit": 0.1 * np.random.default_rng(0).standard_normal(96000),
    "unlike": voice(5, 6.0, pitch=220),
    "two_people": np.concatenate([voice(5, 4.0), voice(5, 4.0, pitch=220)]),
    "same_audio": voice(0, 6.0),
}


@pytest.mark.parametrize("kind", FOUND)
def test_a_recording_with_a_finding_is_enrolled_only_if_it_is_accepted(anna, add, kind):
    save("new.wav", FOUND[kind])
    printed = add("new.wav", status=3)
    assert "nothing is enrolled" in printed
    assert len(anna.read("anna").facts.recordings) == 2
    kinds = re.findall(r"--accept\s+(\w+)", printed)
    assert kind in kinds
    add("new.wav", "--accept", *kinds)
    recordings = anna.read("anna").facts.recordings
    (accepted,) = [recording.accepted for recording in recordings if recording.consent == "form_2"]
    assert sorted(accepted) == sorted(kinds)


def test_a_person_with_too_little_speech_is_refused(anna, add):
    printed = add("2.wav", status=3, name="bob")
    assert "the speech of all recordings in seconds is 6, below" in printed
    assert anna.names() == ["anna"]


def test_the_same_audio_under_another_name_is_noticed(anna, add):
    shutil.copy("0.wav", "copy.wav")
    assert "same_audio" in add("copy.wav", status=3)


def test_checking_compares_with_the_person_and_changes_nothing(anna, output):
    before = {file: file.read_bytes() for file in anna.folder.iterdir()}
    printed = output("enrol check people anna 2.wav --encoder pitches")
    (cosine,) = re.findall(r"cosine (\S+) to anna", printed.out)
    assert float(cosine) > 0.9
    assert "same_audio" in output("enrol check people anna 0.wav --encoder pitches", 3).out
    assert {file: file.read_bytes() for file in anna.folder.iterdir()} == before


def test_a_recording_that_the_detector_takes_for_a_fake_may_not_be_live(anna, add, recordings, refused):
    write_detector_and_calibrations(recordings, voice(2, 6.0), 1.0, 0.5)
    detector = ["--detector", "small.pth", "--calibration"]
    assert "may not be live" in add("2.wav", *detector, "spoof.json", status=3)
    add("2.wav", *detector, "spoof.json", "--accept", "fake")
    words = "enrol add people bob 2.wav 1.wav --consent c --encoder pitches --accept fake --calibration spoof.json"
    refused(f"{words} --detector small.pth", "all recordings may be fakes")
    add("1.wav", *detector, "bonafide.json", "--accept", "too_little", name="bob")


@pytest.fixture
def track_2(workdir):
    """A corpus with two enrolled people and a claim of each; the lists are returned as one function that writes them."""
    (workdir / "flac_E").mkdir()
    for number in range(5):
        soundfile.write(workdir / "flac_E" / f"E_{number}.flac", voice(number, 6.0), 16000)

    def write(enrolled="A E_0,E_1\nB E_2\n", claims="A E_3 F bonafide target\nB E_4 F A17 spoof\n"):
        (workdir / "ASVspoof5.eval.track_2.enroll.tsv").write_text(enrolled)
        (workdir / "ASVspoof5.eval.track_2.trial.tsv").write_text(claims)

    return write


ENROL_TRACK_2 = "enrol corpus people asvspoof5_track2 . --consent licence --encoder pitches --accept too_little unlike"


def test_the_lists_of_a_corpus_enrol_all_its_people(track_2, output):
    track_2()
    assert output(ENROL_TRACK_2).out == "A is enrolled; recordings: 2\nB is enrolled; recordings: 1\n"
    assert PeopleStore("people").names() == ["A", "B"]
    # Nobody is enrolled twice with the same recordings.
    assert "was enrolled before" in output(ENROL_TRACK_2, status=3).out
    assert len(PeopleStore("people").read("A").facts.recordings) == 2


def test_the_people_of_a_corpus_are_enrolled_by_a_plain_mean(track_2, output):
    track_2()
    output([*ENROL_TRACK_2.split(), "--mean", "plain"])
    store = PeopleStore("people")
    recordings = [recording for name in store.names() for recording in store.read(name).facts.recordings]
    assert all(recording.plain_weight > 0 for recording in recordings)


@pytest.mark.parametrize(
    "lists, message",
    [
        ({"enrolled": "A E_0\n"}, "ASVspoof5.eval.track_2.enroll.tsv: do not enrol B, who are claimed"),
        ({"enrolled": "A E_0,E_3\nB E_2\n"}, "enrol with recordings of the trials A:E_3"),
        ({"enrolled": "A ../E_0\nB E_2\n"}, "line 1: '../E_0' cannot be an utterance id"),
    ],
)
def test_lists_of_enrolment_that_do_not_fit_the_claims_are_refused(track_2, refused, lists, message):
    track_2(**lists)
    refused(ENROL_TRACK_2, message)


def test_a_list_of_own_recordings_enrols_each_speaker_with_all_that_are_not_spoofed(recordings, output):
    rows = ["file,speaker,label", "0.wav,Ann,real", "1.wav,Bob,real", "2.wav,Bob,fake"]
    (recordings / "people.csv").write_text("\n".join(rows))
    command = (
        "enrol corpus people generic people.csv --split all --consent form_1 --encoder pitches --accept too_little"
    )
    assert output(command).out == "Ann is enrolled; recordings: 1\nBob is enrolled; recordings: 1\n"


@pytest.mark.parametrize(
    "rows",
    [
        ["file,label", "0.wav,real"],
        ["file,speaker,claim", "0.wav,Ann,target"],
        ["file,speaker,label", "0.wav,Ann,fake"],
    ],
)
def test_a_list_that_enrols_nobody_is_refused(recordings, refused, rows):
    (recordings / "people.csv").write_text("\n".join(rows))
    command = "enrol corpus people generic people.csv --split all --consent form_1 --encoder pitches"
    refused(command, "people.csv: 1 trial, but none that enrols a person: it needs a speaker")
