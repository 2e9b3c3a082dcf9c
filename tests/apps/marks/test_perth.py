"""The reader of Perth against the decoder of its package, in ../shared/golden/marks/perth.json."""

import io
import json
from functools import partial

import numpy as np
import pytest
import soundfile
from builders import input_error, shared_path, some
from builders.marks import first_seconds, in_16_bits
from scipy.signal import resample_poly

from nes2net.apps.marks import perth
from nes2net.models.speakers.files import find_encoder_file

NUMBERS = [str(number) for number in range(8)]


def resampled(samples, rate, new_rate):
    divisor = np.gcd(rate, new_rate)
    return resample_poly(samples, new_rate // divisor, rate // divisor), new_rate


def coded(samples, rate, **options):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **options)
    file.seek(0)
    return soundfile.read(file)


def in_mu_law(samples, rate):
    at_8_khz, new_rate = resampled(samples, rate, 8000)
    return coded(at_8_khz, new_rate, format="WAV", subtype="ULAW")


def with_noise(samples, rate, decibels):
    noise = np.random.default_rng(0).standard_normal(len(samples))
    power = np.mean(samples**2) / 10 ** (decibels / 10)
    return samples + noise * np.sqrt(power / np.mean(noise**2)), rate


def faster(samples, rate):
    return resample_poly(samples, 10, 11), rate


def first_second(samples, rate):
    return samples[:rate], rate


def quieter(samples, rate):
    return 0.1 * samples, rate


#: Name of a change → function of samples and rate that returns both.
CHANGES = {
    "8 kHz": partial(resampled, new_rate=8000),
    "8 kHz mu-law": in_mu_law,
    "16 kHz": partial(resampled, new_rate=16000),
    "MP3": partial(coded, format="MP3"),
    "noise 20 dB": partial(with_noise, decibels=20),
    "noise 10 dB": partial(with_noise, decibels=10),
    "speed 1.1": faster,
    "first second": first_second,
    "gain 0.1": quieter,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_marked_recordings_have_the_values_of_the_package(read_perth, golden, perth_golden, number):
    expected = perth_golden["files"][number]
    values = {expected["marked_file"]: expected["marked"]["as it is"], **expected.get("stored", {})}
    for name, value in values.items():
        assert read_perth(golden / name).facts["value"] == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_same_recordings_without_the_mark_have_them_too(read_samples, perth_golden, number):
    expected = perth_golden["files"][number]
    source = shared_path("real", "audio", expected["source"])
    samples, rate = first_seconds(source, 4)
    facts = read_samples(in_16_bits(samples[: expected["samples"]]), rate)
    assert facts["value"] == pytest.approx(expected["unmarked"]["as it is"], abs=1e-4)
    assert facts["state"] == "not_found"


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", some(NUMBERS, size=4))
def test_changed_recordings_have_nearly_the_values_of_the_package(read_samples, golden, perth_golden, number, change):
    expected = perth_golden["files"][number]
    marked, rate = soundfile.read(golden / expected["marked_file"])
    facts = read_samples(*CHANGES[change](marked, rate))
    assert facts["value"] == pytest.approx(expected["marked"][change], abs=0.02)


@pytest.mark.parametrize("change", ["noise_10_dB", "speed_1.1"])
def test_a_mark_that_a_change_hides_is_not_found_which_says_nothing(read_perth, golden, change):
    finding = read_perth(golden / f"perth_marked_0_{change}.flac")
    assert finding.facts["state"] == "not_found"
    assert "says nothing: noise, a change of speed or no mark at all look alike" in str(finding)


@pytest.mark.slow
def test_of_the_real_recordings_without_marks_one_is_above_one_half(read_samples, perth_golden):
    values = []
    for name, value in perth_golden["unmarked_real"].items():
        values.append(read_samples(*first_seconds(shared_path("real", "audio", name), 6))["value"])
        assert values[-1] == pytest.approx(value, abs=1e-4), name
    assert sum(value > 0.5 for value in values) <= 1


SILENT = pytest.param(np.zeros(32000), "silent", id="silence")
TOO_SHORT = pytest.param(np.ones(1024) / 9, "too short for Perth", id="1024 samples")
SHORTER = pytest.param(np.ones(640) / 9, "too short for Perth", id="20 ms")


@pytest.mark.parametrize("samples, reason", [SILENT, TOO_SHORT, SHORTER])
def test_silence_and_too_short_recordings_have_no_reading(read_samples, samples, reason):
    facts = read_samples(samples, 32000)
    assert facts["state"] == "no_reading"
    assert facts["value"] is None
    assert facts["reason"] == reason
    json.dumps(facts, allow_nan=False)


def test_1025_samples_are_read(read_samples, perth_golden):
    noise = np.random.default_rng(2).standard_normal(1025) * 0.1
    expected = perth_golden["special"]["default_rng(2).standard_normal(1025)*0.1 at 32 kHz"]
    assert read_samples(noise, 32000)["value"] == pytest.approx(expected, abs=1e-4)


def test_other_weights_are_refused_with_both_digests(needs_perth, tmp_path):
    file = find_encoder_file(perth._WEIGHTS)
    content = bytearray(file.path.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 1
    path = tmp_path / "perth.pth.tar"
    path.write_bytes(content)
    with input_error(f"has the SHA-256 [0-9a-f]{{64}}, expected {perth._SHA256}: install resemble-perth"):
        perth.load_weights(find_encoder_file(path))


def test_each_channel_is_read_and_the_one_with_the_mark_is_named(read_perth, golden, tmp_path):
    marked, rate = soundfile.read(golden / "perth_marked_4.flac")
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(marked))
    path = tmp_path / "stereo.wav"
    stereo = np.stack([noise, marked], axis=1)
    soundfile.write(path, stereo, rate)
    finding = read_perth(path)
    assert finding.facts["state"] == "found"
    assert "found, 1.000 in channel 1 from 0:00 on (" in str(finding)


def test_a_long_recording_is_read_in_pieces_and_the_time_of_the_mark_is_told(read_perth, golden, tmp_path, monkeypatch):
    monkeypatch.setattr(perth, "_LONG", 4)
    monkeypatch.setattr(perth, "_PIECE", 3)
    marked, rate = soundfile.read(golden / "perth_marked_4.flac")
    noise = 0.1 * np.random.default_rng(0).standard_normal(6 * rate)
    path = tmp_path / "long.wav"
    samples = np.concatenate([noise, marked])
    soundfile.write(path, samples, rate)
    text = str(read_perth(path))
    assert "found, 1.000 in channel 0 from 0:06 on (" in text


def test_without_measured_false_alarms_that_is_told(read_perth, golden):
    text = str(read_perth(golden / "perth_marked_0.flac"))
    assert text == (
        "mark: Perth (Resemble AI) found, 1.000 (false alarms not measured on your recordings; here: 0 of 90 genuine)"
    )
