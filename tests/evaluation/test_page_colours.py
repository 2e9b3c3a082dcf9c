"""The colours of the page: enough contrast, and different also for colour-blind readers."""

import re
from importlib.resources import files
from itertools import combinations, product

import numpy as np
import pytest

STYLE = (files("nes2net.evaluation") / "page.css").read_text(encoding="utf-8")
SERIES = [f"series-{n}" for n in range(1, 9)]
# Machado et al., "A physiologically-based model for simulation of color vision deficiency", 2009: severity 1.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
# Ottosson, "A perceptual color space for image processing", 2020: linear sRGB → cone responses → OKLab.
TO_CONES = np.array([[0.412221, 0.536333, 0.051446], [0.211903, 0.6807, 0.107397], [0.088302, 0.281719, 0.629979]])
TO_OKLAB = np.array([[0.210454, 0.793618, -0.004072], [1.977998, -2.428592, 0.450594], [0.025904, 0.782772, -0.808676]])


def colours_of(theme):
    """Name → linear sRGB of each colour without transparency."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): #(\w{6});", block)) for block in blocks)
    assert light.keys() == dark.keys() >= {"ground", "text", "bonafide", "spoof", *SERIES}
    encoded = {"light": light, "dark": dark}[theme]
    return {name: linear(np.array([*bytes.fromhex(text)]) / 255) for name, text in encoded.items()}


def linear(encoded):
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def contrast(first, second):
    """The contrast ratio of WCAG 2."""
    dark, light = sorted(colour @ [0.2126, 0.7152, 0.0722] for colour in (first, second))
    return (light + 0.05) / (dark + 0.05)


def distance(first, second, vision):
    """The distance of two colours in OKLab, which is about how different they are seen."""
    perceived = [TO_OKLAB @ np.cbrt(TO_CONES @ np.clip(np.array(VISIONS[vision]) @ x, 0, 1)) for x in (first, second)]
    return float(np.linalg.norm(perceived[0] - perceived[1]))


THEMES = {theme: colours_of(theme) for theme in ("light", "dark")}


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_has_contrast_with_the_ground(theme):
    """Text has it on the darkest ground of a table, too."""
    colours = THEMES[theme]
    for name, ground in product(["text", "quiet", "bonafide", "spoof", *SERIES], ["ground", "raised"]):
        assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    (share,) = re.findall(r"var\(--text\) calc\(var\(--heat\) \* ([\d.]+)\), transparent", STYLE)
    encode = np.vectorize(lambda x: 12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055)
    shaded = linear(float(share) * encode(colours["text"]) + (1 - float(share)) * encode(colours["ground"]))
    assert contrast(colours["text"], shaded) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", THEMES)
def test_colours_differ_for_every_reader(theme, vision):
    colours = THEMES[theme]
    for first, second in combinations(SERIES, 2):
        assert distance(colours[first], colours[second], vision) > 0.09, (first, second)
    for first, second in zip(SERIES[:4], SERIES[4:]):  # these have the same line
        assert distance(colours[first], colours[second], vision) > 0.15, (first, second)
    assert distance(colours["bonafide"], colours["spoof"], vision) > 0.11
    for series, name in product(SERIES, ("bonafide", "spoof")):
        smallest = 0.13 if vision == "normal" else 0.05
        assert distance(colours[series], colours[name], vision) > smallest, (series, name)
