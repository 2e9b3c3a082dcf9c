"""Speaker encoders: recording → unit-length embedding. Begin with ``base``."""

from nes2net.models.registry import create_speaker_encoder
from nes2net.models.speakers.base import EncoderIdentity, SpeakerEncoder

__all__ = ["EncoderIdentity", "SpeakerEncoder", "create_speaker_encoder"]
