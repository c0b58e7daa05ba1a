"""HDR frames → ordinary ones."""

from __future__ import annotations

import functools

import numpy as np

PQ, HLG = 16, 18
"""The curves of HDR video, by their numbers in files (ITU-T H.273)."""
BT2020 = 9
"""The matrix of HDR video's colours, by its number there."""
WHITE, PEAK = 203.0, 1000.0
"""cd/m²: HDR's reference white (ITU-R BT.2408), which becomes nearly white, and the brightest highlight that keeps
detail (HLG's nominal peak in BT.2100; most PQ video is graded for it)."""
# Linear light with BT.2020's primaries in BT.709's (ITU-R BT.2407).
_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_BRIGHTEST, _STEPS = 20_000.0, 2**14
_BLOCK = 2**15
"""Pixels at a time, so that intermediate results fit into a processor's cache."""


def tone_mapped(pixels: np.ndarray, curve: int) -> np.ndarray:
    """Return HDR pixels as an ordinary video has them, uint8 (H, W, 3).

    The curves are those of ITU-R BT.2100. Colours outside of BT.709 are clipped. Highlights are compressed from PEAK to
    WHITE by the EETF of ITU-R BT.2390 (section 5.4.1), applied to the largest of the three channels: all three are
    scaled alike, so hues stay, and what is darker than half of WHITE stays as it is. The result is encoded for the
    display of BT.1886.

    Args:
        pixels: R'G'B' with BT.2020's primaries, uint16 (H, W, 3).
        curve: PQ or HLG.
    """
    result = np.empty(pixels.shape, np.uint8)
    given, written = pixels.reshape(-1, 3), result.reshape(-1, 3)
    to_light, (compressed, levels) = _light_table(curve), _display_tables()
    for first in range(0, len(given), _BLOCK):
        light = to_light.take(given[first : first + _BLOCK].T)  # (3, N): each step then runs along a channel.
        if curve == HLG:  # The OOTF, on a display of PEAK.
            light *= PEAK * np.power(_LUMINANCE @ light, np.float32(0.2))
        light = np.maximum(_TO_BT709 @ light, 0)
        most = light.max(axis=0)
        light *= compressed.take(_place(most, _BRIGHTEST)) / np.maximum(most, np.float32(1e-6))
        written[first : first + _BLOCK] = levels.take(_place(light, WHITE)).T
    return result


def _place(light: np.ndarray, most: float) -> np.ndarray:
    """Return the places of cd/m² in a table that is denser where it is dark."""
    root = np.sqrt(np.minimum(light * np.float32(1 / most), 1))
    return (root * np.float32(_STEPS - 1) + np.float32(0.5)).astype(np.uint16)


@functools.cache
def _light_table(curve: int) -> np.ndarray:
    """Return light for each of 65,536 signals: cd/m² for PQ; the scene's, 0 to 1, for HLG."""
    signal = np.linspace(0, 1, 2**16)
    if curve == PQ:
        return _pq_light(signal).astype(np.float32)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    return scene.astype(np.float32)


@functools.cache
def _display_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return compressed cd/m² for those up to _BRIGHTEST, and levels for those up to WHITE."""
    squares = np.linspace(0, 1, _STEPS) ** 2
    levels = np.rint(255 * squares ** (1 / 2.4)).astype(np.uint8)
    return _compressed(squares * _BRIGHTEST).astype(np.float32), levels


def _pq_light(signal: np.ndarray) -> np.ndarray:
    """PQ's EOTF: cd/m²."""
    power = signal ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _pq_signal(light: np.ndarray) -> np.ndarray:
    power = (light / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _compressed(light: np.ndarray) -> np.ndarray:
    """BT.2390's EETF, without its lift of black: a Hermite spline in PQ's scale from the knee on; cd/m²."""
    peak, white = _pq_signal(np.array([PEAK, WHITE]))
    most = white / peak
    knee = 1.5 * most - 0.5
    given = np.minimum(_pq_signal(light) / peak, 1)
    t = np.maximum((given - knee) / (1 - knee), 0)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return _pq_light(np.where(given < knee, given, spline) * peak)
