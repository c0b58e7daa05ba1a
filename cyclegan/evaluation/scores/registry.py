"""The scores by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cyclegan.evaluation.scores.kinds import Collapse, Fid, Kid, Pairs, Reconstruction, Score

KINDS: Mapping[str, Callable[[], Score]] = {
    "kid": Kid, "fid": Fid, "pairs": Pairs, "reconstruction": Reconstruction, "collapse": Collapse,
}  # fmt: skip
"""In the order of `table.SCORES`."""
