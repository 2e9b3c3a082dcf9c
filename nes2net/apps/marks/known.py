"""The marks of `nes2net info marks`: what reads them here, or where else to look."""

KNOWN_MARKS = {
    "perth: the watermark of Resemble AI": "read by the weights of the package resemble-perth",
    "c2pa: Content Credentials": "read by the packages encypher-c2pa and c2pa-python, or one of them",
    "AudioSeal (Meta)": "not read here; its package audioseal",
    "WavMark": "not read here; its package wavmark",
    "SilentCipher (Sony)": "not read here; its package silentcipher",
    "SynthID (Google, ElevenLabs and others)": "closed; the makers' web pages, such as ElevenLabs' own",
    "Cartesia, the service of Resemble AI": "closed; the makers' web pages and paid interfaces",
}
