"""Exposure and size of the pictures as they were really shown, and what disturbed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import number_of, rounded
from cyclegan.study import statistics
from cyclegan.study.format import Study

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("left", "right")


def exposure(study: Study, counted: pd.DataFrame, impossible: int) -> dict[str, Any]:
    """Return how long pictures were shown, and what disturbed it.

    `lagging`: trials whose exposure by the clock at draw and clear differs from the one by the frames' times by more
    than the tolerance, because the page was busy.
    """
    result: dict[str, Any] = {
        "planned_ms": study.protocol.exposure_ms,
        "tolerance_ms": statistics.TOLERANCE_MS,
        "trials": len(counted),
        "participants": counted["participant"].nunique(),
        "marked": int(counted["exposure_marked"].sum()),
        "impossible": impossible,
        "marked_share": float(counted["exposure_marked"].mean()) if len(counted) else None,
        "unmeasured": int(np.isinf(counted["exposure_error_ms"]).sum()),
        "lagging": None,
        "error_ms": None,
        "focus_lost": int(counted["focus_lost"].sum()),
        "resumed": int(counted["resumed"].sum()),
    }
    if not study.protocol.exposure_ms:
        return result
    by_frames, by_clock = (
        np.array([counted[f"exposure_{side}_{unit}"].to_numpy(float) for side in SIDES]) for unit in ("ms", "clock_ms")
    )
    if np.isfinite(by_clock).any():
        lag = np.abs(by_clock - by_frames)
        result["lagging"] = int((lag > statistics.TOLERANCE_MS).any(0).sum())
    both = (by_frames - counted["exposure_planned_ms"].to_numpy(float)).ravel()
    both = both[~np.isnan(both)]
    if len(both):
        low, median, high = (float(v) for v in np.percentile(both, [5, 50, 95]))
        result["error_ms"] = {"median": median, "p5": low, "p95": high, "pictures": len(both)}
    return result


def size(study: Study, counted: pd.DataFrame) -> dict[str, Any] | None:
    """Return how wide each picture was on the screen; None if no vote says so, as in older studies.

    `too_small`: trials below the protocol's least_px; `off_scale`: those not at its device_scale, None without one.
    """
    known = counted[counted["picture_css_px"].notna()]
    if not len(known):
        return None

    def spread(column: str) -> dict[str, float]:
        low, median, high = (float(value) for value in np.percentile(known[column].dropna(), [5, 50, 95]))
        return {"median": median, "p5": low, "p95": high}

    width, height = study.size
    shorter = known["picture_css_px"] * min(1.0, height / width)
    off_scale = None
    if scale := study.protocol.device_scale:
        off_scale = int(((known["picture_device_px"] - scale * width).abs() >= 1).sum())
    return {
        "trials": len(known), "css_px": spread("picture_css_px"), "device_px": spread("picture_device_px"),
        "least_px": study.protocol.least_px, "too_small": int((shorter <= study.protocol.least_px - 1).sum()),
        "device_scale": study.protocol.device_scale, "off_scale": off_scale,
        "stacked": int(known["stacked"].eq(True).sum()),
    }  # fmt: skip


def words(report: Mapping[str, Any], percent: Any) -> str:
    """Return how pictures were shown, in sentences.

    Args:
        percent: writes a share.
    """
    found, sentences = report["exposure"], []
    if found["planned_ms"] and found["error_ms"]:
        planned = "one" if report["thresholds"] else f"{found['planned_ms']} ms"
        median, low, high = (rounded(found["error_ms"][name], "+.0f") for name in ("median", "p5", "p95"))
        sentences.append(
            f"Measured exposure differed from the planned {planned} by {median} ms in the median "
            f"(5th to 95th percentile {low} to {high}). Not measured, or outside ± {found['tolerance_ms']} ms: "
            f"{found['marked']} of {number_of(found['trials'], 'trial')} ({percent(found['marked_share'])}), "
            "which count, and are marked."
        )
    elif found["planned_ms"]:
        sentences.append("No exposure was measured: all trials count, and are marked.")
    if found["lagging"] is not None:
        sentences.append(
            f"In {number_of(found['lagging'], 'trial')}, the clock at drawing and clearing disagreed with the frames' "
            f"times by more than {found['tolerance_ms']} ms, because the page was busy."
        )
    if found["impossible"]:
        sentences.append("Answered before the pictures could have been shown, and so not counted: "
                         f"{number_of(found['impossible'], 'vote')}.")
    sentences.append(f"The window lost the focus in {number_of(found['focus_lost'], 'trial')}; "
                     f"{number_of(found['resumed'], 'trial')} had been seen before a reload.")
    return " ".join([*sentences, *_size_words(report["size"])])


def _size_words(found: Mapping[str, Any] | None) -> list[str]:
    if not found:
        return []

    def spread(pixels: Mapping[str, float]) -> str:
        return f"{pixels['median']:.0f} (5th to 95th percentile {pixels['p5']:.0f} to {pixels['p95']:.0f})"

    text = (f"On the screen, pictures were {spread(found['css_px'])} CSS pixels wide, and {spread(found['device_px'])} "
            f"pixels of the display")
    if found["stacked"]:
        text += f"; in {number_of(found['stacked'], 'trial')}, the left picture stood above the right one"
    sentences = [f"{text}."]
    if found["too_small"]:
        sentences.append(f"Smaller than the protocol's {found['least_px']} CSS pixels: "
                         f"{number_of(found['too_small'], 'trial')}, which count.")
    if found["device_scale"]:
        scale = f"{found['device_scale']} × {found['device_scale']} pixels of the display"
        off_scale = number_of(found["off_scale"], "trial")
        sentences.append(f"Each pixel was to be {scale}: it wasn't in {off_scale}, which count.")
    return sentences


def when(counted: pd.DataFrame) -> dict[str, Any]:
    """Return the days (UTC) of the first and last vote that counts, and how many participants had which language."""
    import pandas as pd

    times = pd.to_datetime(counted["server_time"].dropna(), utc=True, format="ISO8601")
    people = counted.drop_duplicates("participant")["language"].dropna().value_counts()
    return {
        "first": times.min().date().isoformat() if len(times) else None,
        "last": times.max().date().isoformat() if len(times) else None,
        "languages": {str(language): int(people[language]) for language in sorted(people.index)},
    }
