"""RawBoost rendered by firwin, freqz and lfilter: the published program of an epoch, and what the tests compare with."""

import numpy as np
from scipy import signal

from nes2net.data.augment import RawBoostParameters

#: Algorithm → kinds of noise, one after the other; and those whose results are added.
SERIES = {0: (), 1: (1,), 2: (2,), 3: (3,), 4: (1, 2, 3), 5: (1, 2), 6: (1, 3), 7: (2, 3)}
PARALLEL = {8: (1, 2), 9: (1, 2, 3)}


class PlainRawBoost:
    """RawBoost word for word: one draw per call, one ``firwin`` per band, one ``lfilter`` per power.

    It is slow and shares no code with :mod:`nes2net.data.augment.rawboost`; the tests compare the
    two on new inputs.
    """

    def __init__(self, rng: np.random.RandomState, parameters: RawBoostParameters, sample_rate: float = 16000) -> None:
        self.rng = rng
        self.p = parameters
        self.sample_rate = sample_rate

    def __call__(self, x: np.ndarray, algo: int) -> np.ndarray:
        """Apply algorithm ``algo``, 0 to 9, to a waveform."""
        noises = {1: self.convolutive, 2: self.impulsive, 3: self.stationary}
        if algo in PARALLEL:
            total = np.zeros(len(x))
            for kind in PARALLEL[algo]:
                noise = noises[kind]
                total = total + noise(x)
            return self.normalise(total, always=False)
        for kind in SERIES[algo]:
            noise = noises[kind]
            x = noise(x)
        return x

    def draw(self, low: float, high: float) -> float:
        """Draw a number from ``low`` to ``high``."""
        return self.rng.uniform(low, high)

    @staticmethod
    def normalise(x: np.ndarray, always: bool) -> np.ndarray:
        """Divide by the peak: ``always``, or only if it is above 1."""
        peak = np.abs(x).max()
        if always or peak > 1:
            return x / peak
        return x

    def notch_filter(self, min_gain: float, max_gain: float) -> np.ndarray:
        """Draw notches and a gain, and return the coefficients of the filter."""
        p = self.p
        nyquist = self.sample_rate / 2
        b = np.ones(1)
        for _ in range(p.nBands):
            centre = self.draw(p.minF, p.maxF)
            width = self.draw(p.minBW, p.maxBW)
            count = int(self.draw(p.minCoeff, p.maxCoeff))
            count += 1 - count % 2
            low = centre - width / 2
            high = centre + width / 2
            edges = np.clip([low, high], 0.001, nyquist - 0.001)
            band = signal.firwin(count, edges, window="hamming", fs=self.sample_rate)
            b = np.convolve(band, b)
        gain = self.draw(min_gain, max_gain)
        _, response = signal.freqz(b, 1, fs=self.sample_rate)
        factor = 10 ** (gain / 20)
        return factor * b / np.abs(response).max()

    @staticmethod
    def filter(x: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Filter ``x`` by ``b``, and cut the delay off."""
        pad = len(b) + 1
        y = signal.lfilter(b, 1, np.pad(x, (0, pad)))
        return y[pad // 2 : len(y) - pad // 2]

    def convolutive(self, x: np.ndarray) -> np.ndarray:
        """Linear and non-linear convolutive noise (algorithm 1)."""
        p = self.p
        y = np.zeros(len(x))
        for power in range(1, p.N_f + 1):
            min_gain = p.minG
            max_gain = p.maxG
            if power > 1:
                min_gain -= p.minBiasLinNonLin
                max_gain -= p.maxBiasLinNonLin
            b = self.notch_filter(min_gain, max_gain)
            y = y + self.filter(x**power, b)
        return self.normalise(y - y.mean(), always=False)

    def impulsive(self, x: np.ndarray) -> np.ndarray:
        """Impulsive noise that depends on the signal (algorithm 2)."""
        beta = self.draw(0, self.p.P)
        count = int(len(x) * (beta / 100))
        positions = self.rng.permutation(len(x))[:count]
        first_factor = 2 * self.rng.random_sample(count) - 1
        factor = first_factor * (2 * self.rng.random_sample(count) - 1)
        y = x.copy()
        samples = x[positions]
        y[positions] = samples + self.p.g_sd * samples * factor
        return self.normalise(y, always=False)

    def stationary(self, x: np.ndarray) -> np.ndarray:
        """Stationary coloured noise (algorithm 3)."""
        noise = self.rng.normal(0, 1, len(x))
        b = self.notch_filter(self.p.minG, self.p.maxG)
        noise = self.normalise(self.filter(noise, b), always=True)
        snr = self.draw(self.p.SNRmin, self.p.SNRmax)
        gain = 10 ** (-snr / 20)
        return x + gain * noise / np.linalg.norm(noise) * np.linalg.norm(x)
