"""The word that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that begins with this one, if there is only one, or is nearly it; None if there is none."""
    plain = {name.lower().replace("-", "_"): name for name in known}
    word = word.lower().replace("-", "_")
    longer = [name for name in plain if word and name.startswith(word)]
    found = longer if len(longer) == 1 else difflib.get_close_matches(word, plain, n=1, cutoff=0.75)
    return plain[found[0]] if found else None
