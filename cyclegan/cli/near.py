"""The word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is nearly this one, or the only one that begins with it; None if there is none."""
    plain = {name.lower().replace("-", "_"): name for name in known}
    word = word.lower().replace("-", "_")
    longer = [name for name in plain if word and name.startswith(word)]
    found = difflib.get_close_matches(word, plain, n=1, cutoff=0.75) or (longer if len(longer) == 1 else [])
    return plain[found[0]] if found else None
