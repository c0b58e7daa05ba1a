"""The scores by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cyclegan.evaluation.scores.kinds import Collapse, Fid, Kid, Pairs, Reconstruction, Score
from cyclegan.evaluation.scores.labelled import Content, Labels, Segmentation

KINDS: Mapping[str, Callable[[], Score]] = {
    "kid": Kid, "fid": Fid, "pairs": Pairs, "reconstruction": Reconstruction, "collapse": Collapse,
    "segmentation": Segmentation, "labels": Labels, "content": Content,
}  # fmt: skip
"""In the order of `table.SCORES`."""
