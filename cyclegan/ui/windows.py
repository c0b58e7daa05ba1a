"""The windows through which a page shows pictures that aren't 8-bit RGB: level, width and channels, one per domain."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from cyclegan.rasters.raster import Raster
from cyclegan.ui import words
from cyclegan.ui.results import SERVED, put_values, served, values_behind
from cyclegan.values import Values

WHOLE, MIDDLE, OWN = "whole", "middle", "own"
MIDDLE_PERCENTS = 1, 99
CT = {"soft": (40, 400), "lung": (-600, 1500), "bone": (480, 2500), "brain": (40, 80)}
"""The usual windows of Hounsfield units, by level and width."""
CT_LOW, CT_HIGH = -900, 300
"""A range that goes below the one and above the other is of Hounsfield units, from air to bone."""
SHOWN_AT_ONCE = 3
"""Most channels of a screen."""
OF_WINDOWS = "window-"
"""Prefix of the folder of a picture that another window has drawn; nobody needs it when the next is drawn."""
PER_ROW = 3
"""The pictures of a row that a window draws: the input, the translation, the way back."""


@dataclass(frozen=True)
class Window:
    """A part of a domain's range, and the channels that are shown."""

    preset: str
    level: float
    width: float
    channels: tuple[int, ...]
    """Counted from 1: one is grey, two are red and green, three red, green and blue."""

    @property
    def ends(self) -> tuple[float, float]:
        """The values that become black and white."""
        return self.level - self.width / 2, self.level + self.width / 2

    def drawn(self, raster: Raster, values: Values) -> Any:
        """Return an 8-bit RGB picture of a raster."""
        first = 0 if raster.channels == values.channels else values.own.start  # Of a slice without its neighbours.
        chosen = [number - 1 - first for number in self.channels if 0 <= number - 1 - first < raster.channels]
        return values.shown(Raster(raster.values[..., chosen or [0]]), self.ends)


def shown_channels(values: Values) -> tuple[int, int]:
    """Return the numbers of channels that a domain's rasters have: with and without a slice's neighbours."""
    return values.channels, len(range(values.channels)[values.own])


def whole(values: Values) -> Window:
    """Return the window with which a domain's pictures are first shown."""
    own = range(1, values.channels + 1)[values.own]  # Not those of a slice's neighbours.
    return Window(WHOLE, *_middle_of(values.low, values.high), tuple(own[:SHOWN_AT_ONCE]))


def _middle_of(low: float, high: float) -> tuple[float, float]:
    return float(f"{(low + high) / 2:.9g}"), float(f"{high - low:.9g}")


def is_ct(values: Values) -> bool:
    """Return whether a range looks like Hounsfield units."""
    return values.low <= CT_LOW and values.high >= CT_HIGH


def step_of(values: Values) -> float:
    """Return the step of a range's sliders: a power of ten, about a thousandth of it."""
    return 10.0 ** math.floor(math.log10((values.high - values.low) / 500))


def chosen(given: Sequence[Any], before: Window, values: Values, picture: Raster | None) -> Window:
    """Return the window that a page's controls mean.

    Args:
        given: the values of the controls, from a browser: preset, level, width and channels.
        before: the window that is shown.
        values: the domain's.
        picture: of this domain, for the window that depends on it.
    """
    preset, level, width, channels = given
    preset = preset if isinstance(preset, str) else before.preset
    numbers = map(_whole_number, channels if isinstance(channels, list) else ())
    known = tuple(dict.fromkeys(n for n in numbers if 1 <= n <= values.channels))
    window = replace(before, channels=known[:SHOWN_AT_ONCE] or whole(values).channels)
    moved = _valid(level, width) and not _are(level, width, before, step_of(values))
    if preset == MIDDLE and (preset != before.preset or not moved):
        return replace(window, preset=MIDDLE, **_fitting(picture, window, values))
    if preset != before.preset and preset == WHOLE:
        return replace(whole(values), channels=window.channels)
    if preset != before.preset and preset in CT:
        return replace(window, preset=preset, level=CT[preset][0], width=CT[preset][1])
    if not moved:
        return window
    return replace(window, preset=OWN, level=float(level), width=max(float(width), step_of(values)))


def _whole_number(text: Any) -> int:
    return int(text) if isinstance(text, (int, str)) and str(text).isdecimal() and len(str(text)) < 4 else 0


def _valid(level: Any, width: Any) -> bool:
    return all(isinstance(one, (int, float)) and math.isfinite(one) for one in (level, width))


def _are(level: float, width: float, window: Window, step: float) -> bool:
    """Return whether sliders stand where the server has put them, up to the browser's rounding to their step."""
    return max(abs(level - window.level), abs(width - window.width)) < 0.6 * step


def _fitting(picture: Raster | None, window: Window, values: Values) -> dict[str, float]:
    """Return level and width of the middle 98% of a picture's values, of the whole range without a picture."""
    shown = None if picture is None else picture.values[..., [number - 1 for number in window.channels]]
    finite = None if shown is None else shown[np.isfinite(shown)]
    low, high = values.low, values.high
    if finite is not None and finite.size:
        low, high = (float(one) for one in np.percentile(finite, MIDDLE_PERCENTS))
    step = step_of(values)
    level, width = _middle_of(low, max(high, low + step))
    rounded = (float(f"{round(one / step) * step:.10g}") for one in (level, max(step, width)))
    return dict(zip(("level", "width"), rounded, strict=True))


# --- drawing ------------------------------------------------------------------------------------------------


def redraw(
    values: Mapping[str, Values], before: Mapping[str, Window], given: Mapping[str, Sequence[Any]],
    rows: Mapping[str, Sequence[Path | None]],
) -> tuple[dict[str, Window], dict[str, list[str | None]]]:
    """Return the windows that the controls mean, and the rows' pictures drawn with them; None leaves one as it is.

    No network is needed, because the results' values lie behind their pictures.

    Args:
        values: of the domains.
        before: the windows that are shown.
        given: the controls' values by domain.
        rows: each direction's pictures that are shown: input, translation, way back.
    """
    behind = {way: [path and values_behind(path) for path in paths] for way, paths in rows.items()}
    windows = {
        domain: chosen(given[domain], before[domain], own, _picture_of(domain, own, behind))
        for domain, own in values.items() if not own.plain
    }  # fmt: skip
    drawn: dict[str, list[str | None]] = {way: [None] * PER_ROW for way in rows}
    for way, paths in rows.items():
        for place, domain in enumerate((way[0], way[1], way[0])):
            path, raster, window = paths[place], behind[way][place], windows.get(domain)
            if raster is None or window is None or raster.channels not in shown_channels(values[domain]):
                continue
            if window != whole(values[domain]) or path.parent.name.startswith(OF_WINDOWS):
                drawn[way][place] = _drawn(path, raster, values[domain], window)
    return windows, drawn


def _picture_of(domain: str, values: Values, behind: Mapping[str, Sequence[Raster | None]]) -> Raster | None:
    """Return the picture of a domain whose values set a window: the visitor's, unless it is rather of the other one."""
    other = "ab".replace(domain, "")
    found = [behind[domain + other][0], behind[other + domain][1]]
    there = [one for one in found if one is not None and one.channels == values.channels]
    inside = [np.mean((one.values >= values.low) & (one.values <= values.high)) for one in there]
    return there[int(np.argmax(inside))] if there else None


def _drawn(path: Path, raster: Raster, values: Values, window: Window) -> str:
    image = window.drawn(raster, values)
    new = served(path.name, lambda target: image.save(target, compress_level=1), OF_WINDOWS)
    put_values(new, raster)
    if path.parent.name.startswith(OF_WINDOWS):  # A slider draws many.
        SERVED.difference_update(file for file in list(SERVED) if file.startswith(f"{path.parent}{os.sep}"))
        shutil.rmtree(path.parent, ignore_errors=True)
    return new


# --- the controls -------------------------------------------------------------------------------------------


class Controls:
    """A domain's window: presets, two sliders, channels. Builds itself into the current layout, hidden."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        with gr.Row(visible=False, elem_classes="window") as self.box:
            self.preset = gr.Dropdown([], filterable=False, min_width=130)
            self.level = gr.Slider(0, 1, min_width=130, buttons=[])
            self.width = gr.Slider(0, 1, min_width=130, buttons=[])
            self.channels = gr.Dropdown([], multiselect=True, max_choices=SHOWN_AT_ONCE, min_width=130)
        self.given = [self.preset, self.level, self.width, self.channels]
        self.about = [self.box, *self.given]

    def described(self, name: str, values: Values, window: Window, say: words.Speaker) -> list[Any]:
        """Return the looks of a domain's controls, in the order of `about`.

        Args:
            name: of the domain.
            values: of the domain; 8-bit RGB has no window.
            window: the one that is shown.
            say: the visitor's language.
        """
        if values.plain:
            return [gr.Row(visible=False), *[gr.skip()] * len(self.given)]
        step, ct = step_of(values), is_ct(values)
        widest = max(values.high - values.low, *(width for _, width in CT.values())) if ct else values.high - values.low
        numbers = [str(n + 1) for n in range(values.channels)]
        return [
            gr.Row(visible=True),
            gr.Dropdown(_presets(ct, say), value=window.preset, label=say("Window of {domain}", domain=name)),
            gr.Slider(values.low, values.high, value=window.level, step=step,
                      label=say("Level of {domain}", domain=name)),
            gr.Slider(step, widest, value=window.width, step=step, label=say("Width of {domain}", domain=name)),
            gr.Dropdown(
                numbers, value=[str(n) for n in window.channels], visible=values.channels > 1,
                label=say("Channels of {domain}", domain=name),
            ),
        ]  # fmt: skip

    def moved(self, before: Window, window: Window) -> list[Any]:
        """Return the controls' values where the server has changed them, in the order of `given`."""
        if window == before:
            return [gr.skip()] * len(self.given)
        sliders = [gr.skip()] * 2 if window.preset == OWN else [window.level, window.width]
        return [window.preset, *sliders, gr.skip()]


def _presets(ct: bool, say: words.Speaker) -> list[tuple[str, str]]:
    found = [(say("whole range"), WHOLE), (say("middle 98% of this picture"), MIDDLE)]
    names = {"soft": say("soft tissue"), "lung": say("lung"), "bone": say("bone"), "brain": say("brain")}
    if ct:
        found += [(f"{names[key]} {level}/{width}", key) for key, (level, width) in CT.items()]
    return [*found, (say("as the sliders stand"), OWN)]

