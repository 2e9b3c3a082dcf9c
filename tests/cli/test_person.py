"""Is an enrolled person speaking, live? Outcomes, words and refusals of commands with a claimed person."""

import html
import json
import re
import shutil
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
import soundfile
from builders import hears_a_tone
from builders.files import read_json
from builders.live import lines_of, serving
from builders.speaker_encoders import installed_encoders
from builders.voices import voice
from pydantic import TypeAdapter
from safetensors.numpy import load as decode
from safetensors.numpy import save as encode

from nes2net.actions.people import ClaimScoring
from nes2net.apps.listen.channel import Tally
from nes2net.apps.listen.listening import AudioBlock, Listening, LiveJudge
from nes2net.apps.listen.saved_calls import SavedCalls
from nes2net.apps.serve.answers import JudgedRecording
from nes2net.apps.serve.desk import Desk
from nes2net.cli.main import main
from nes2net.data.audio.read import AudioFile
from nes2net.scoring import people
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions import Decider, fit_sasv, load
from nes2net.scoring.decisions.population import Traits
from nes2net.scoring.judging import Judge
from nes2net.scoring.measuring import Measurer
from nes2net.scoring.waveforms import RecordingToJudge

ANNA = 120  # Hz
SECONDS = 4.0
#: What may never be said of a claim.
NEVER_SAID = re.compile(r"verified|confiden|\bis anna\b|(?<!p_)genuine|probability of", re.IGNORECASE)


def spoken(seed, pitch, is_fake=False, seconds=SECONDS):
    """A voice in noise, with the tone that the detector takes for fake if ``is_fake``."""
    samples = 0.3 * voice(seed, seconds, pauses=False, pitch=pitch)
    samples += 0.02 * np.random.default_rng(seed).standard_normal(len(samples))
    if is_fake:
        samples += 0.1 * np.sin(2 * np.pi * hears_a_tone.FREQUENCY * np.arange(len(samples)) / 16000)
    return samples.astype(np.float32)


def save(path, samples, rate=16000):
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector, a store with Anna and Bob, recordings of others, fakes of Anna, and the calibrations of these."""
    folder = tmp_path_factory.mktemp("claimed")
    hears_a_tone.detector().save(folder / "tone.pth")
    for number in range(4):
        save(folder / "anna" / f"{number}.wav", spoken(number, ANNA))
        save(folder / "bob" / f"{number}.wav", spoken(number, 200))
    for number in range(12):
        save(folder / "others" / f"{number}.wav", spoken(20 + number, (80, 160, 240)[number % 3] + 3 * number))
        save(folder / "fakes" / f"{number}.wav", spoken(40 + number, ANNA, is_fake=True))
    save(folder / "test" / "anna.wav", spoken(60, ANNA))
    save(folder / "test" / "other.wav", spoken(61, 165))
    save(folder / "test" / "fake.wav", spoken(62, ANNA, is_fake=True))
    save(folder / "test" / "other_fake.wav", spoken(63, 165, is_fake=True))
    with installed_encoders(folder), pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("anna", "bob"):
            words = ["enrol", "add", "people", name, name, "--consent", "form 1", "--encoder", "pitches"]
            assert main([*words, "--accept", "narrow", "unlike", "two_people"]) == 0
        command = "calibrate person people --others others --model tone.pth --device cpu --save"
        assert main([*command.split(), "p.json", "--fakes", "fakes"]) == 0
        assert main([*command.split(), "speaker.json"]) == 0
        yield folder


@pytest.fixture
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


PREDICT = "predict --model tone.pth --device cpu"
CLAIM = [*PREDICT.split(), "--person", "people:anna", "--calibration", "p.json"]


@pytest.fixture
def rows(in_folder, output):
    """A function that predicts, and returns the JSON of each file by its name."""

    def predicted(*words, files=("test",)):
        out = output([*PREDICT.split(), *files, "--json", *words]).out
        rows = map(json.loads, out.splitlines())
        return {row["file"].removeprefix("test/"): row for row in rows}

    return predicted


#: Recording → outcome of the claim that Anna speaks.
OUTCOMES = {
    "anna.wav": "this person, live",
    "fake.wav": "this person, but not live",
    "other.wav": "another person",
    "other_fake.wav": "another person, and may not be live",
}


def test_each_recording_of_a_claim_gets_its_outcome(rows):
    answers = rows("--person", "people:anna", "--calibration", "p.json")
    outcomes = {name: row["outcome"] for name, row in answers.items()}
    codes = [row["code"] for row in answers.values()]
    assert outcomes == OUTCOMES
    assert codes == ["accept", "not_live", "other_person", "other_person"]


def test_json_has_the_scores_the_ratios_and_their_basis(rows):
    row = rows("--person", "people:anna", "--calibration", "p.json")["anna.wav"]
    assert row["person"] == "anna"
    assert row["decision"] == row["outcome"]
    assert row["reason"] == []
    assert row["cm_score"] == row["score"]
    assert 0.8 < row["asv_score"] <= 1
    mixture = np.logaddexp(-row["llr_asv"], -row["llr_cm"]) - np.log(2)
    assert row["llr_sasv"] == pytest.approx(-mixture)
    assert row["threshold"] == pytest.approx(np.log(2))
    assert row["weights"] == {"target": 1, "nontarget": 1, "spoof": 1}
    assert row["basis"] == "trials"
    assert row["encoder"] == "pitches"
    assert row["calibration"] == "p.json"
    assert row["enrolled"] == 4
    assert row["detector"] == hears_a_tone.detector().fingerprint()


def test_without_fakes_live_is_not_checked(rows, output):
    answers = rows("--person", "people:anna", "--calibration", "speaker.json")
    assert answers["anna.wav"]["outcome"] == "this person; live: not checked"
    assert answers["fake.wav"]["code"] == "accept_speaker_only"
    assert answers["anna.wav"]["llr_cm"] is None
    printed = output([*PREDICT.split(), "test", "--person", "people:anna", "--calibration", "speaker.json"]).out
    assert "live is not checked: no spoof trials" in printed


def test_without_a_calibration_there_are_only_scores(rows):
    row = rows("--person", "people:anna")["anna.wav"]
    assert row["outcome"] == "cannot tell"
    assert row["code"] == "scores_only"
    assert row["asv_score"] > 0.8
    assert row["llr_asv"] is None
    assert row["probability"] is None
    assert row["threshold"] is None


def test_a_calibration_of_a_detector_decides_nothing_about_people(rows, in_folder):
    calibration = read_json(in_folder / "p.json") | {"claim": None}
    (in_folder / "c.json").write_text(json.dumps(calibration))
    assert rows("--person", "people:anna", "--calibration", "c.json")["anna.wav"]["code"] == "scores_only"


def test_without_a_name_the_nearest_are_ranked_and_nobody_is_identified(rows, output):
    row = rows("--person", "people", "--calibration", "p.json")["anna.wav"]
    assert list(row["nearest"]) == ["anna", "bob"]
    assert row["nearest"]["anna"] > row["nearest"]["bob"]
    assert row["person"] is None
    assert row["outcome"] == "cannot tell"
    assert "need not be the one who speaks" in row["reason"][0]


def test_a_recording_of_the_enrolment_is_no_test(rows):
    row = rows("--person", "people:anna", "--calibration", "p.json", files=["anna/0.wav"])["anna/0.wav"]
    assert row["outcome"] == "cannot tell"
    assert row["code"] == "unusable"
    assert "part of the enrolment" in row["reason"][0]


def test_a_recording_unlike_those_of_the_calibration_has_no_outcome(in_folder):
    liveness = Decider(load("p.json", claims=True), abstain=0.1)
    decider = PersonDecider.of("people:anna", liveness=liveness)
    traits = Traits(SECONDS, -200.0, 8000.0, voice=decider.store.read("anna").vectors[0])
    facts = decider(-9.0, traits).facts
    assert facts["code"] == "unusable"
    assert facts["outcome"] == "cannot tell"
    assert "level" in facts["reason"][0]


def stereo():
    first = spoken(0, ANNA)
    second = spoken(1, 200)
    return np.stack([first, second], 1), 16000


def short():
    samples = spoken(0, ANNA, seconds=0.1)
    return samples, 16000


def telephone():
    samples = spoken(0, ANNA)
    return samples[::2], 8000


def silence():
    samples = np.zeros(64000)
    return samples, 16000


def not_a_number():
    samples = np.full(64000, np.nan)
    return samples, 16000


@pytest.mark.parametrize("make", [stereo, short, telephone, silence, not_a_number])
def test_whatever_is_recorded_gets_an_outcome_or_a_named_error(tmp_path, in_folder, command, make):
    path = tmp_path / "odd" / "x.wav"
    samples, rate = make()
    save(path, samples, rate)
    words = [*CLAIM, path, "--json"]
    _, out, _ = command(words)
    row = json.loads(out)
    assert row.get("outcome") or row["error"]
    if make in (silence, short):
        assert row["code"] == "unusable"
        assert row["reason"]


def test_a_recording_is_opened_once_for_both_scores(in_folder, monkeypatch):
    opened = []
    enter = AudioFile.__enter__
    monkeypatch.setattr(AudioFile, "__enter__", lambda file: opened.append(file) or enter(file))
    judge = Judge(hears_a_tone.detector(), decider=PersonDecider.of("people:anna"))
    row = judge.answer(RecordingToJudge.of("test/anna.wav")).to_row()
    assert row["asv_score"] > 0.8
    assert len(opened) == 1


def test_the_answer_about_a_long_recording_rests_on_all_of_it(in_folder):
    decider = PersonDecider.of("people:anna", liveness=Decider(load("p.json", claims=True)))
    judge = Judge(hears_a_tone.detector(), decider=decider)
    samples = np.concatenate([spoken(0, ANNA), spoken(1, ANNA, is_fake=True), spoken(2, ANNA, is_fake=True)])
    row = judge.answer(RecordingToJudge.of(samples, 16000)).to_row()
    assert row["code"] == "not_live"
    assert row["cm_score"] < row["score"]


def test_claims_of_more_than_two_minutes_are_judged_along_their_time(in_folder):
    samples = np.tile(spoken(0, ANNA), 32)
    answer = Judge(hears_a_tone.detector(), decider=PersonDecider.of("people:anna")).answer(
        RecordingToJudge.of(samples, 16000)
    )
    assert answer.is_mean
    assert answer.to_row()["asv_score"] > 0.8


def test_near_the_threshold_the_answer_is_cannot_tell(rows):
    claim = ["--person", "people:anna", "--calibration", "p.json"]
    row = rows(*claim)["anna.wav"]
    distance = row["llr_sasv"] - row["threshold"]
    assert rows(*claim, "--abstain-within", str(0.99 * distance))["anna.wav"]["code"] == "accept"
    near = rows(*claim, "--abstain-within", str(1.01 * distance))["anna.wav"]
    assert near["code"] == "borderline"
    assert near["outcome"] == "cannot tell"
    assert "too near the threshold" in near["reason"][0]


#: Bandwidth in Hz of all enrolled recordings, and whether the trial is by telephone → the warning.
CHANNELS = {
    (3400, False): ["enrolled by telephone only, while this recording is not by telephone"],
    (8000, True): ["enrolled without a telephone, while this recording is by telephone"],
    (3400, True): [],
    (8000, False): [],
}


@pytest.mark.parametrize("bandwidth, by_telephone", CHANNELS)
def test_a_person_enrolled_by_another_kind_of_channel_causes_a_warning(
    rows, hostile, output, tmp_path, bandwidth, by_telephone
):
    store = hostile(".json", lambda content: re.sub(rb'"bandwidth":[^,]+', b'"bandwidth":%d' % bandwidth, content))
    file = tmp_path / "hissing.wav"
    samples = spoken(0, ANNA) + 0.1 * np.diff(np.random.default_rng(1).standard_normal(64001))
    if by_telephone:
        save(file, samples[::2], 8000)
    else:
        save(file, samples)
    warnings = CHANNELS[bandwidth, by_telephone]
    (row,) = rows("--person", store, files=[file]).values()
    assert row["warnings"] == warnings
    printed = output([*PREDICT.split(), file, "--person", store]).out
    assert ("while this recording is" in " ".join(printed.split())) == bool(warnings)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--person people:ana", "there is no person 'ana'; did you mean 'anna'"),
        ("--person nowhere", "nowhere: nobody is enrolled here"),
        ("--person people:../x", "no person can have the name '../x'"),
        ("--person people:anna --encoder bands", "not (name='bands'"),
        ("--person people:anna --calibration other.json", "the calibration is of the speaker encoder (other), not"),
        ("--person people:anna --calibration tone.json", "does not belong to this detector"),
        ("--person people:anna --calibration cascade.json --abstain-within 1", "a threshold for each score"),
        ("--person people:anna --calibration p.json --prior 0.1", "--prior"),
        ("--calibration p.json", "p.json: decides on claims of people alone: use it with nes2net predict --person"),
        ("--encoder pitches", "--person"),
        ("--abstain-within 1 --calibration p.json", "--person"),
        ("--abstain-within 1 --person people:anna", "--calibration"),
    ],
)
def test_what_does_not_fit_together_is_refused(in_folder, refused, words, message):
    calibration = read_json(in_folder / "p.json")
    scored_by = {**calibration["scored_by"], "fingerprint": "0" * 64}
    (in_folder / "tone.json").write_text(json.dumps(calibration | {"scored_by": scored_by}))
    cascade = {**calibration["claim"], "rule": "cascade"}
    (in_folder / "cascade.json").write_text(json.dumps(calibration | {"claim": cascade}))
    calibration["claim"]["encoder"] = "other"
    (in_folder / "other.json").write_text(json.dumps(calibration))
    refused([*PREDICT.split(), "test/anna.wav", *words.split()], message)


CLAIMS = ["people", "people:anna", "people:anna --calibration p.json"]


@pytest.mark.parametrize("flags", ["--json", "", "--csv"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_no_output_claims_more_than_was_measured(in_folder, output, claim, flags):
    printed = output([*PREDICT.split(), "test", "--person", *claim.split(), *flags.split()])
    assert not NEVER_SAID.search(printed.out + printed.err)
    assert "cannot tell" in printed.out or "this person" in printed.out


@pytest.fixture
def reported(in_folder, output, tmp_path):
    """A function that reports on a recording of a claim, and returns the page without its picture, and the JSON."""

    def report(claim, file="test/fake.wav"):
        words = ["report", file, "--model", "tone.pth", "--device", "cpu", "--person", *claim.split()]
        output([*words, "--html", tmp_path / "r.html", "--json", tmp_path / "r.json"])
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
        text = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
        return html.unescape(" ".join(text.split())), read_json(tmp_path / "r.json")

    return report


def test_a_report_has_the_outcome_and_the_json_of_predict(reported, rows):
    claim = "people:anna --calibration p.json"
    page, row = reported(claim)
    expected = rows("--person", *claim.split(), "--track", files=["test/fake.wav"])["fake.wav"]
    del expected["calibration"]
    assert row == expected
    assert '<h2 class="verdict">This person, but not live</h2>' in page
    assert "Claimed to speak: anna. Outcome: this person, but not live; speaker ratio" in page
    assert "--person people:anna" in page


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_report_claims_more_than_was_measured(reported, claim):
    page, _ = reported(claim)
    assert not NEVER_SAID.search(page)
    assert "cannot tell" in page or "this person, but not live" in page


@pytest.fixture
def served(in_folder, tmp_path):
    """A function that serves the store by a calibration, if any: a client without the guard."""
    pytest.importorskip("fastapi_offline")
    from starlette.testclient import TestClient

    from nes2net.apps.serve.app import build

    def serve(calibration="p.json", store="people"):
        liveness = Decider(load(calibration, claims=True)) if calibration else None
        people = PersonDecider.of(store, liveness=liveness) if store else None
        return TestClient(build(Desk(hears_a_tone.detector(), tmp_path, decider=liveness, people=people)))

    return serve


def sent(client, person, file="test/fake.wav", path="/api/score"):
    """The answer about a recording of which ``person`` is claimed; None sends no such field."""
    with open(file, "rb") as recording:
        data = {} if person is None else {"person": person}
        return client.post(path, files={"file": ("a.wav", recording)}, data=data)


def without_names(row):
    names = ("file", "calibration", "detector")
    return {key: value for key, value in row.items() if key not in names}


def test_a_request_names_the_claimed_person_and_gets_the_answer_of_predict(served, rows):
    expected = rows("--person", "people:anna", "--calibration", "p.json", "--track", files=["test/fake.wav"])
    client = served()
    row = sent(client, "anna").json()
    TypeAdapter(JudgedRecording).validate_python(row)
    assert without_names(row) == without_names(expected["fake.wav"])
    assert sent(client, "bob").json()["outcome"] == "another person, and may not be live"
    assert sent(client, "anna", "anna/0.wav").json()["code"] == "unusable"
    assert client.get("/api/info").json()["people"] == ["anna", "bob"]


@pytest.mark.parametrize("calibration", ["p.json", None])
def test_a_request_that_claims_nobody_gets_scores_without_people(served, calibration):
    client = served(calibration)
    expected = sent(served(None, store=None), None).json()
    assert sent(client, None).json() == expected
    assert sent(client, "").json() == expected


@pytest.mark.parametrize("person", ["ana", "../people/anna", "x" * 1000])
def test_an_unknown_person_in_a_request_is_refused_without_the_names(served, person):
    for store in ("people", None):
        answer = sent(served(store=store), person)
        assert answer.status_code == 422
        assert "anna" not in answer.json()["error"].replace(person, "")
        assert "bob" not in answer.json()["error"]


def test_a_claim_is_decided_by_scores_only(served):
    client = served()
    answer = sent(client, "anna", path="/api/score?judgement=frames")
    assert answer.status_code == 422
    assert "remove" in answer.json()["error"]


@pytest.mark.parametrize("person", ["anna", None])
@pytest.mark.parametrize("calibration", ["p.json", None])
def test_no_answer_to_the_page_claims_more_than_was_measured(served, calibration, person):
    told = sent(served(calibration), person, path="/page/score?each=false").text
    answer = json.loads(told.splitlines()[-1])
    if person is None:
        assert answer.get("verdict") is None
        return
    assert not NEVER_SAID.search(json.dumps([answer[key] for key in ("row", "columns", "along", "basis", "verdict")]))
    assert answer["verdict"] == ("this person, but not live" if calibration else "cannot tell")
    assert answer["along"][0] == answer["verdict"]
    assert answer["basis"][0].startswith("this person: consistent with the enrolled voice")
    assert answer["why"] is None


def test_the_server_gets_a_store_and_each_request_the_name(in_folder, refused):
    words = ["serve", "--model", "tone.pth", "--person", "people:anna"]
    refused(words, "--person must be a folder of people here, STORE: each request names a person")


def test_a_report_on_a_claim_about_silence_has_a_reason(reported, in_folder):
    samples, rate = silence()
    save(in_folder / "odd" / "silence.wav", samples, rate)
    page, row = reported("people:anna", "odd/silence.wav")
    assert "Claimed to speak: anna. Outcome: cannot tell; " in page
    assert row["reason"][0] in page


def test_a_report_on_a_long_claim_rests_on_all_of_it(reported, in_folder):
    samples = np.concatenate([spoken(number, ANNA) for number in range(70, 73)])
    save(in_folder / "odd" / "long.wav", samples)
    page, _ = reported("people:anna --calibration p.json", "odd/long.wav")
    assert "The whole recording." in page


def test_where_liveness_is_refused_nothing_is_called_live(in_folder, output, heard):
    words = [*PREDICT.split(), "test", "--person", "people:anna", "--calibration", "speaker.json"]
    for printed in (output(words).out, heard(call(False, True), "--calibration", "speaker.json")):
        assert not re.search(r"(?<!not )\blive\b(?!: not| is not)", printed)


def call(*are_fake):
    """Samples of Anna, in parts of 4 s; ``are_fake`` says which are fake."""
    return np.concatenate([spoken(70 + number, ANNA, is_fake) for number, is_fake in enumerate(are_fake)])


@pytest.fixture
def heard(in_folder, output, tmp_path):
    """A function that listens to samples of a call, and returns what is printed."""

    def listen(samples, *words):
        save(tmp_path / "calls" / "call.wav", samples)
        command = ["listen", tmp_path / "calls" / "call.wav", "--model", "tone.pth", "--device", "cpu"]
        return output([*command, "--speed", "inf", "--person", "people:anna", *words]).out

    return listen


@pytest.fixture
def lines(heard):
    """A function that listens to samples of a call, and returns the lines of JSON."""

    def listen(samples, calibration="p.json"):
        printed = heard(samples, "--calibration", calibration, "--json")
        return [json.loads(line) for line in printed.splitlines()]

    return listen


def test_the_outcome_of_a_call_rests_on_the_means_of_its_windows(lines):
    samples = call(False, False, False)
    told = lines(samples)
    windows = lines_of(told, "score")
    end = told[-1]
    decider = PersonDecider.of("people:anna")
    voices = [
        decider.encoder.embed(samples[round(16000 * line["start"]) : round(16000 * line["end"])], 16000)
        for line in windows
    ]
    voice = np.sum(voices, 0) / np.linalg.norm(np.sum(voices, 0))
    claim = end["claim"]
    assert len(windows) > 5
    assert claim["cm_score"] == pytest.approx(np.mean([line["score"] for line in windows]))
    assert claim["asv_score"] == pytest.approx(decider.store.read("anna").vectors[0] @ voice, abs=1e-6)
    assert claim["code"] == "accept"
    assert windows[-1]["claim"] == claim
    assert "probability" not in end
    assert "unusual_share" not in end


def test_the_outcome_changes_when_a_call_becomes_fake(lines):
    codes = [line["claim"]["code"] for line in lines_of(lines(call(False, True, True, True)), "score")]
    assert codes[0] == "accept"
    assert codes[-1] == "not_live"


def test_a_call_without_speech_has_no_outcome(lines):
    samples, _ = silence()
    heard_lines = lines(samples)
    assert lines_of(heard_lines, "silence")
    assert not any("claim" in line for line in heard_lines)


@pytest.mark.parametrize("words", ["", "--calibration p.json", "--calibration speaker.json", "--json"])
def test_listening_claims_no_more_than_was_measured(heard, words):
    printed = heard(call(False, True), *words.split())
    assert not NEVER_SAID.search(printed)
    assert "consistent with the enrolled voice" in printed
    assert "cannot tell; scores decide nothing" in printed or "this person" in printed.splitlines()[-1]


def test_the_outcome_of_a_call_goes_on_after_a_restart(in_folder):
    judge = LiveJudge(hears_a_tone.detector(), "tone.pth", PersonDecider.of("people:anna"))
    earlier = []
    scores = []
    for samples in (call(False, False), call(True, True)):
        session = judge.session(16000, "f32le", ["mix"], False, "all", earlier)
        told = list(Listening(session, [AudioBlock(samples[None])]).lines())
        scores += [line["score"] for line in lines_of(told, "score")]
        earlier = [Tally.model_validate_json(session.channels[0].tally().model_dump_json())]
    assert told[-1]["claim"]["cm_score"] == pytest.approx(np.mean(scores))


def test_a_saved_call_does_not_go_on_as_a_call_of_another_person(in_folder, tmp_path):
    key = ""
    restored = {}
    for name in ("anna", "bob", "anna"):
        judge = LiveJudge(hears_a_tone.detector(), "tone.pth", PersonDecider.of(f"people:{name}"))
        begin = partial(judge.session, 16000, "f32le", ["mix"], True, "all")
        calls = SavedCalls(tmp_path / "state", judge)
        if not key:
            session = begin()
            key = session.ready["session"]
            calls.save(session, [channel.tally() for channel in session.channels])
        restored[name] = calls.restore(key, begin)
    assert restored["bob"] is None
    assert restored["anna"] is not None


@pytest.fixture
def called(in_folder):
    """A function that calls a server with a store, and returns the lines; ``person`` is the name in `start`."""
    pytest.importorskip("websockets")
    from builders.websocket_calls import START, rest_or_closed, say
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    judge = LiveJudge(hears_a_tone.detector(), "tone.pth", PersonDecider.of("people"))

    def call_server(**start):
        with connect(url) as client:
            say(client, **START, **start)
            with suppress(ConnectionClosed):  # the server may have refused the call
                client.send(spoken(70, ANNA).tobytes())
                say(client, event="stop")
            return rest_or_closed(client)

    with serving(judge) as (url, _):
        yield call_server


def test_each_call_of_a_server_names_the_claimed_person(called):
    for name in ("anna", "bob"):
        lines = called(person=name)
        assert lines[0]["person"] == lines[-1]["claim"]["person"] == name


@pytest.mark.parametrize("start", [{"person": "ana"}, {}])
def test_a_call_of_nobody_enrolled_is_refused_without_the_names(called, start):
    (line,) = called(**start)
    assert line["event"] == "error"
    assert "nobody of this name is enrolled here" in line["message"]
    assert "anna" not in line["message"]


def test_a_call_needs_the_name_of_a_person(in_folder, refused):
    refused(
        ["listen", "test/anna.wav", "--model", "tone.pth", "--person", "people"], "--person must name who is claimed"
    )


#: Claim → claimed person, and means of the scores cm and asv.
MADE_UP = {"target": ("anna", 2.0, 0.8), "nontarget": ("bob", 2.0, 0.3), "spoof": ("anna", -2.0, 0.8)}


@pytest.fixture
def claims(tmp_path):
    """A list and a score file of 90 claims, whose scores tell the classes apart but for some errors."""
    rng = np.random.default_rng(0)
    rows = ["path,speaker,claim"]
    scores = ["spk\tfilename\tcm-score\tasv-score\tsasv-score"]
    for number in range(30):
        for claim, (person, cm, asv) in MADE_UP.items():
            cm += 1.5 * rng.standard_normal()
            asv += 0.2 * rng.standard_normal()
            file = f"{claim}{number}"
            rows.append(f"{file}.wav,{person},{claim}")
            scores.append(f"{person}\t{file}\t{cm}\t{asv}\t-")
    (tmp_path / "keys.csv").write_text("\n".join(rows))
    (tmp_path / "claims.tsv").write_text("\n".join(scores))
    return tmp_path


@pytest.mark.parametrize("separate", [[], ["--separate"]])
def test_a_calibration_is_learned_from_a_score_file_of_claims(in_folder, claims, output, separate):
    words = ["calibrate", "person", "people", "--scores", claims / "claims.tsv"]
    words += ["--keys", claims / "keys.csv", "--phase", "all", "--save", claims / "p.json"]
    words += ["--costs", "miss:1,other:2,fake:4", "--priors", "target:0.5,other:0.25,fake:0.25"]
    output([*words, *separate])
    claim = load(claims / "p.json", claims=True).claim
    table = np.loadtxt(claims / "claims.tsv", skiprows=1, usecols=(2, 3))
    classes = np.tile([0, 1, 2], 30)
    expected = fit_sasv(table[:, 1], table[:, 0], classes, (0.5, 0.5, 1.0), joint=not separate)
    np.testing.assert_allclose(claim[:4], expected[:4], rtol=1e-5)
    assert claim.weights == (0.5, 0.5, 1.0)
    assert claim.counts == [30, 30, 30]


@pytest.fixture
def calibrated(in_folder, tmp_path, output, rows):
    """A function that calibrates on recordings, and returns what is printed, and the rows of the recordings of a claim."""

    def calibrate(*words):
        command = "calibrate person people --others others --model tone.pth --device cpu --save"
        printed = output([*command.split(), tmp_path / "p.json", *words]).out
        return printed, rows("--person", "people:anna", "--calibration", tmp_path / "p.json")

    return calibrate


def test_a_sum_decides_from_its_own_threshold_on(calibrated, tmp_path):
    _, answers = calibrated("--fakes", "fakes", "--rule", "sum")
    threshold = load(tmp_path / "p.json", claims=True).claim.threshold
    for row in answers.values():
        assert row["rule"] == "sum"
        assert row["sasv_score"] == pytest.approx(row["asv_score"] + row["cm_score"])
        assert row["threshold"] == threshold
        assert row["llr_sasv"] is None
        assert (row["code"] == "accept") == (row["sasv_score"] >= threshold)


def test_a_cascade_decides_by_each_score_and_has_no_ratios(calibrated):
    _, answers = calibrated("--fakes", "fakes", "--rule", "cascade")
    assert {name: row["outcome"] for name, row in answers.items()} == OUTCOMES
    row = answers["anna.wav"]
    assert row["asv_score"] >= row["thresholds"][0]
    assert row["cm_score"] >= row["thresholds"][1]
    assert [row[name] for name in ("llr_asv", "llr_cm", "llr_sasv", "sasv_score", "threshold")] == [None] * 5


def test_genuine_recordings_alone_give_a_threshold_of_each_score(calibrated, tmp_path):
    printed, answers = calibrated("--operating-point", "miss:20%")
    assert "together at most 40 % of your genuine recordings are refused" in printed
    assert "how many fakes fall below it is not known" in printed
    assert {name: row["outcome"] for name, row in answers.items()} == OUTCOMES
    calibration = load(tmp_path / "p.json", claims=True)
    for row in answers.values():
        assert row["basis"] == "genuine recordings"
        assert row["thresholds"][1] == calibration.rule.threshold
        assert row["llr_sasv"] is None


def test_few_genuine_recordings_are_refused(in_folder, refused):
    command = "calibrate person people --others others --model tone.pth --device cpu --save new.json"
    refused([*command.split(), "--operating-point", "miss:5%"], "N = 8 recordings are too few for 5 %")
    assert not (in_folder / "new.json").exists()


def test_few_trials_and_people_are_told(calibrated):
    printed, _ = calibrated("--fakes", "fakes")
    assert "Figures are coarse: 8 target trials, 12 nontarget trials, 12 spoof trials, 2 enrolled people." in printed


@pytest.mark.parametrize(
    "words, message",
    [
        ("--others others --model tone.pth --fakes fakes --operating-point miss:20%", "--fakes"),
        ("--others others --model tone.pth --rule sum --separate", "--rule"),
        (
            "--others others --model tone.pth --fakes fakes --rule summ",
            "'summ'",
        ),
        ("", "name recordings of other people and a detector, --others and --model, or --scores"),
        ("--others others", "--model"),
        ("--others others --model tone.pth --scores claims.tsv", "--scores"),
        ("--others others --model tone.pth --costs miss:1,other:1,fake:1", "--priors"),
        ("--scores tone.pth", "tone.pth"),
    ],
)
def test_a_calibration_needs_recordings_or_scores(in_folder, refused, words, message):
    refused(["calibrate", "person", "people", "--save", "new.json", *words.split()], message)
    assert not (in_folder / "new.json").exists()


@pytest.fixture
def hostile(in_folder, tmp_path):
    """A function that changes the files of Anna in a copy of the store."""
    shutil.copytree(in_folder / "people", tmp_path / "people")

    def change(suffix, function):
        path = tmp_path / "people" / f"anna{suffix}"
        path.write_bytes(function(path.read_bytes()))
        return f"{tmp_path / 'people'}:anna"

    return change


def with_nan(content):
    vectors = np.array(decode(content)["vectors"])
    vectors[0, 0] = np.nan
    return encode({"vectors": vectors})


def with_fewer(content):
    vectors = decode(content)["vectors"]
    return encode({"vectors": vectors[:2]})


ATTACKS = {
    "depth": (".json", lambda content: b"[" * 100_000),
    "other weights": (".json", lambda content: content.replace(b"0" * 64, b"1" * 64)),
    "NaN": (".safetensors", with_nan),
    "fewer vectors": (".safetensors", with_fewer),
    "cut": (".safetensors", lambda content: content[:100]),
}


@pytest.mark.parametrize("claimed", ["anna", ""])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_spoiled_store_is_refused_in_one_line(hostile, refused, attack, claimed):
    store = hostile(*ATTACKS[attack])
    if not claimed:
        store = store.removesuffix(":anna")
    message = refused([*PREDICT.split(), "test/anna.wav", "--person", store])
    assert "anna" in message


def test_a_link_in_a_store_is_refused(hostile, refused, tmp_path):
    store = hostile(".json", lambda content: content)
    path = tmp_path / "people" / "anna.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    refused([*PREDICT.split(), "test/anna.wav", "--person", store], "anna.json")


def test_a_store_of_too_many_people_is_refused(hostile, refused, monkeypatch):
    monkeypatch.setattr(people, "_MAX_PEOPLE", 1)
    store = hostile(".json", lambda content: content).removesuffix(":anna")
    refused([*PREDICT.split(), "test/anna.wav", "--person", store], "holds more than 1 people")


def test_a_calibration_of_wrong_numbers_is_refused(in_folder, tmp_path, refused):
    calibration = read_json(in_folder / "p.json")
    for key, value in {"asv_scale": 1e300, "weights": [1, 1], "counts": "x", "encoder": None}.items():
        spoiled = calibration | {"claim": calibration["claim"] | {key: value}}
        path = tmp_path / "p.json"
        path.write_text(json.dumps(spoiled))
        words = ["--person", "people:anna", "--calibration", path]
        refused([*PREDICT.split(), "test/anna.wav", *words], "not a calibration")


@pytest.fixture
def scored(in_folder, tmp_path, output):
    """A function that scores claims of Anna and Bob, and returns the printed text and the file."""
    rows = ["path,speaker,claim"]
    for number in range(4):
        rows += [f"others/{number}.wav,{name},nontarget" for name in ("anna", "bob")]
        rows.append(f"fakes/{number}.wav,anna,spoof")
    rows += ["test/anna.wav,anna,target", "anna/0.wav,anna,target", "test/anna.wav,bob,nontarget"]
    key = in_folder / "claims.csv"
    key.write_text("\n".join(rows))
    out = tmp_path / "claims.tsv"

    def score(*words, status=1):
        command = ["score", "generic", key, "--model", "tone.pth", "--split", "all", "--device", "cpu", "--out", out]
        return output([*command, "--person", "people", *words], status=status), out

    return score


def test_claims_of_a_corpus_are_scored_and_evaluated(scored, rows, output):
    printed, out = scored("--calibration", "p.json")
    assert f"14 of 15 scores of claims written to {out}" in printed.out
    record = read_json(out.with_name("claims.tsv.json"))
    assert record["failures"].keys() == {"anna:anna/0"}  # it is part of the enrolment
    assert record["run"].keys() >= {"model", "encoder", "people", "calibration"}
    cells = [line.split("\t") for line in out.read_text().splitlines()]
    scores = {tuple(row[:2]): [float(cell) for cell in row[2:]] for row in cells[1:]}
    for name in ("anna", "bob"):
        claim = rows("--person", f"people:{name}", "--calibration", "p.json")["anna.wav"]
        expected = [claim["cm_score"], claim["asv_score"], claim["llr_sasv"]]
        assert scores[name, "test/anna"] == pytest.approx(expected, abs=1e-4)
    words = ["evaluate", "generic", out, "--keys", "claims.csv", "--phase", "all", "--allow-partial"]
    assert "sasv" in output(words).out


def test_a_recording_in_several_claims_is_read_scored_and_embedded_once(scored, monkeypatch):
    embedded = []
    with_voice = Measurer.with_voice
    monkeypatch.setattr(Measurer, "with_voice", lambda *words: embedded.append(words) or with_voice(*words))
    _, out = scored()
    record = read_json(out.with_name("claims.tsv.json"))
    assert record["total"] == 15
    assert len(embedded) == 10  # recordings
    assert record["audio_seconds"] == pytest.approx(10 * SECONDS, abs=1)


def test_an_interrupted_run_over_claims_resumes_to_the_same_file(scored, monkeypatch, tmp_path):
    _, out = scored("--batch-size", "2")
    uninterrupted = out.read_bytes()
    assert b"\t-\n" in uninterrupted  # no sasv without a calibration
    out.unlink()
    out.with_name("claims.tsv.json").unlink()
    complete = ClaimScoring.complete
    recordings = []

    def interrupted(judgement, value, ids, recording):
        if len(recordings) == 5:
            raise KeyboardInterrupt
        recordings.append(ids[0])
        return complete(judgement, value, ids, recording)

    with monkeypatch.context() as patch:
        patch.setattr(ClaimScoring, "complete", interrupted)
        scored("--batch-size", "2", status=130)
    assert not out.exists()
    scored("--batch-size", "2")
    assert out.read_bytes() == uninterrupted
    assert read_json(out.with_name("claims.tsv.json"))["kept_from_earlier_runs"] == 6  # claims of 4 recordings


def test_people_who_are_claimed_must_be_enrolled_and_are_named_by_the_corpus(in_folder, tmp_path, refused):
    key = tmp_path / "claims.csv"
    key.write_text(f"path,speaker,claim\n{in_folder / 'test' / 'anna.wav'},anne,target\n")
    words = ["score", "generic", key, "--model", "tone.pth", "--split", "all", "--out", tmp_path / "claims.tsv"]
    refused([*words, "--person", "people"], "people: there is no person 'anne'; did you mean 'anna'?")
    refused([*words, "--person", "people:anna"], "the corpus says who is claimed")
    refused([*words, "--person", "people", "--judgement", "frames"], "--person")
    abstaining = ["--calibration", "p.json", "--abstain-within", "1"]
    refused([*words, "--person", "people", *abstaining], "a score file of claims has no outcomes")


def test_a_corpus_without_claims_is_refused_before_the_detector_is_read(in_folder, tmp_path, refused):
    key = tmp_path / "list.csv"
    key.write_text("path,speaker\na.wav,anna\nb.wav,bob\n")
    words = ["score", "generic", key, "--model", "missing.pth", "--split", "all", "--out", tmp_path / "claims.tsv"]
    message = refused([*words, "--person", "people"], f"{key}: a, b names no claim")
    assert "use a corpus of claims, such as asvspoof2019_la_sasv" in message
    assert "or remove --person" in message


def test_claims_have_no_fused_score_by_a_cascade(scored, in_folder):
    calibration = read_json(in_folder / "p.json")
    calibration["claim"]["rule"] = "cascade"
    (in_folder / "cascade.json").write_text(json.dumps(calibration))
    _, out = scored("--calibration", "cascade.json")
    _, *rows = out.read_text().splitlines()
    assert rows
    assert all(row.endswith("\t-") for row in rows)


def test_claims_are_not_scored_with_the_calibration_of_another_detector(scored, in_folder):
    calibration = read_json(in_folder / "p.json")
    calibration["scored_by"]["fingerprint"] = "0" * 64
    (in_folder / "of_another.json").write_text(json.dumps(calibration))
    printed, out = scored("--calibration", "of_another.json", status=2)
    assert "use the detector of the calibration" in printed.err
    assert not out.exists()
