"""HDR video looks as its reference levels say, not pale."""

from fractions import Fraction

import av
import numpy as np
import pytest

from cyclegan.translation.tone_mapping import BT2020, HLG, PQ
from cyclegan.translation.video_io import Video

# BT.2408: the signal of reference white and of an 18% grey card; and that of a highlight of 1,000 cd/m².
LEVELS = {PQ: (0.58, 0.38, 0.752), HLG: (0.75, 0.38, 1.0)}


def hdr_clip(path, colours, curve, *, matrix=BT2020):
    """A clip of one frame with a square of 32×32 pixels for each colour, R'G'B' from 0 to 1."""
    row = np.repeat(np.array(colours, float), 32, axis=0)
    pixels = np.broadcast_to(np.rint(row * 65535).astype(np.uint16), (32, *row.shape))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = row.shape[0], 32, "yuv420p10le"
        context = stream.codec_context
        context.options = {"crf": "4"}
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = curve, 9, matrix, 1
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb48le")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace=BT2020)
        frame.pts, frame.time_base = 0, Fraction(1, 10)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def seen(path, count):
    pixels = np.asarray(next(Video(path).frames()).image, int)
    return [pixels[10:22, 32 * index + 10 : 32 * index + 22].mean((0, 1)) for index in range(count)]


@pytest.mark.parametrize("curve", [PQ, HLG])
def test_reference_levels_and_hues(tmp_path, curve):
    white, grey, highlight = LEVELS[curve]
    ramp = [(level,) * 3 for level in np.linspace(0, highlight, 12)]
    primaries = [tuple(level * row) for row in np.eye(3) for level in (0.3, white)]
    colours = [(white,) * 3, (grey,) * 3, *primaries, *ramp]
    result = seen(hdr_clip(tmp_path / "hdr.mp4", colours, curve), len(colours))
    assert result[0] == pytest.approx([230] * 3, abs=4)  # A reader that ignores the curve shows 148 for PQ.
    assert result[1] == pytest.approx([0.425 * 255] * 3, abs=5)  # BT.2408's SDR level of the grey card.
    for number, colour in enumerate(result[2:8]):  # A primary stays the largest by far, at any brightness.
        others = np.delete(colour, number // 2)
        assert colour[number // 2] > others.max() + 30
    levels = [colour.mean() for colour in result[8:]]
    assert levels[0] <= 2 and levels[-1] >= 250 and all(np.diff(levels) > 0)
    assert max(np.ptp(colour) for colour in result[8:]) <= 3  # Grey stays grey.


def test_a_file_that_names_no_matrix_is_hdr_all_the_same(tmp_path):
    colours = [(0.5, 0.3, 0.2), (0.2, 0.4, 0.5)]
    tagged = seen(hdr_clip(tmp_path / "a.mp4", colours, PQ), 2)
    assert np.allclose(seen(hdr_clip(tmp_path / "b.mp4", colours, PQ, matrix=2), 2), tagged, atol=1)


def test_ordinary_10_bits_are_left_alone(tmp_path):
    (grey,) = seen(hdr_clip(tmp_path / "sdr.mp4", [(0.5, 0.5, 0.5)], 1), 1)
    assert grey == pytest.approx([127.5] * 3, abs=2)
