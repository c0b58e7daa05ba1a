"""Pictures known by their contents: what changed between two starts, and what is in two places at once.

At most `cyclegan.files.MOST_BYTES` of each picture are read, so that the cost is bounded: less than the check before
training, which decodes every picture whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from cyclegan.errors import DataError, ImageError, Message, message
from cyclegan.files import read_json

if TYPE_CHECKING:
    from cyclegan.data.domains import Domain, Splits
    from cyclegan.data.loader import Data

__all__ = [
    "EARLIER", "PICTURES", "Known", "fingerprints", "known_pictures", "picture_changes", "picture_notes",
    "replaced_domain", "trained_pictures",
]  # fmt: skip

PICTURES = "pictures.json"
"""The file in a run's folder with the fingerprints of its pictures. It isn't published."""
EARLIER = "earlier"
"""Its entry of pictures that earlier starts of the run have trained on, and that aren't training pictures now."""
_THREADS = 8

Fingerprints = Mapping[str, Sequence[str]]
"""Fingerprints by "train_a", "train_b", "test_a" and "test_b", in the domain's order; "" for what can't be read."""


class Known(NamedTuple):
    """Test pictures that are training pictures, or were, with the file name of one."""

    count: int
    of: int
    example: str

    def sentence(self) -> Message:
        """Return a note."""
        return message(
            "test pictures that are also training pictures: {count} of {total}, such as {example}; their samples and "
            "figures look better than those of new pictures",
            count=self.count, total=self.of, example=self.example,
        )  # fmt: skip


def fingerprints(data: Data | Splits, splits: Collection[str] = ("train", "test")) -> dict[str, list[str]]:
    """Return the fingerprints of a data set's pictures, without those of domains that are drawn by code."""
    domains = {f"{split}_{side}": getattr(data, f"{split}_{side}") for split in splits for side in "ab"}
    if getattr(data, "test_is_train", False):
        domains = {name: domain for name, domain in domains.items() if name.startswith("train")}
    units = [
        (name, index) for name, domain in domains.items() if domain is not None and domain.fallible
        for index in range(len(domain))
    ]  # fmt: skip
    found: dict[str, list[str]] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda unit: _fingerprint_at(domains[unit[0]], unit[1]), units)
        bar = tqdm(results, total=len(units), desc="Comparing pictures", unit="picture", delay=2.0, leave=False)
        for (name, _), digest in zip(units, bar, strict=True):
            found.setdefault(name, []).append(digest)
    return found


def _fingerprint_at(domain: Domain, index: int) -> str:
    try:
        return domain.fingerprint(index)
    except (OSError, ImageError):  # Gone since it was checked; the training will report it.
        return ""


def picture_notes(data: Data, found: Fingerprints, trained: Iterable[str] = ()) -> list[Message]:
    """Return a note on pictures that are in both domains, and one on test pictures that are trained on.

    Args:
        found: `fingerprints`'s result.
        trained: what the run was trained on so far; see `trained_pictures`.
    """
    notes = []
    a, b = (set(found.get(name, ())) - {""} for name in ("train_a", "train_b"))
    names = {"a": data.train_a.name, "b": data.train_b.name}
    if shared := a & b:
        if a == b:
            notes.append(message(
                "{a} and {b} hold the same pictures ({count}), so there is nothing to translate; check --dataset",
                **names, count=len(a),
            ))  # fmt: skip
        else:
            notes.append(message(
                "training pictures in both {a} and {b}: {count}, such as {example}; generators learn from them to "
                "change nothing",
                **names, count=len(shared), example=_example(data.train_a, found["train_a"], shared),
            ))  # fmt: skip
    known = known_pictures(data, found, [*trained, *found.get("train_a", ()), *found.get("train_b", ())])
    return [*notes, known.sentence()] if known else notes


def known_pictures(data: Data | Splits, found: Fingerprints, trained: Iterable[str]) -> Known | None:
    """Return the test pictures that are among those trained on, None without any.

    Args:
        data: the data set.
        found: its `fingerprints`.
        trained: fingerprints of pictures that were trained on, such as `trained_pictures`.
    """
    seen, count, total, example = set(trained) - {""}, 0, 0, ""
    for side, domain in (("a", data.test_a), ("b", data.test_b)):
        digests = found.get(f"test_{side}", ())
        shared = seen.intersection(digests)
        count, total = count + sum(digest in shared for digest in digests), total + len(digests)
        if shared and not example:
            example = _example(domain, digests, shared)
    return Known(count, total, example) if count else None


def trained_pictures(run: Path | None) -> set[str]:
    """Return the fingerprints of all pictures that a run was ever trained on; none where its folder doesn't say.

    Args:
        run: its folder, or one of its epochs'; None for a run that isn't on this computer.
    """
    for folder in (run, run.parent) if run else ():
        try:
            record = read_json(folder / PICTURES, error=DataError)
        except DataError:  # Missing, as in imported runs, or damaged.
            continue
        if isinstance(record, dict):
            parts = (record.get(name) for name in ("train_a", "train_b", EARLIER))
            return {digest for part in parts if _are_digests(part) for digest in part} - {""}
    return set()


def _example(domain: Domain, digests: Sequence[str], shared: set[str]) -> str:
    return domain.label(next(index for index, digest in enumerate(digests) if digest in shared))


def picture_changes(before: Mapping[str, Any], now: Fingerprints) -> str:
    """Return e.g. "trainA: 2 added, 1 removed; testB: 1 replaced"; "" if nothing changed. Order doesn't count.

    Args:
        before: of an earlier start, as read from a file; what isn't a list of fingerprints isn't compared.
        now: of this start.
    """
    known = {name: before[name] for name in before if _are_digests(before[name])}
    if {"train_a", "train_b"} <= known.keys() & now.keys():  # Without test pictures, their names are missing.
        known = {name: [] for name in ("test_a", "test_b") if name not in before} | known
        now = {"test_a": [], "test_b": [], **now}
    changes = []
    for name in ("train_a", "train_b", "test_a", "test_b"):
        if name not in known or name not in now:
            continue
        old, new = Counter(known[name]), Counter(now[name])
        added, removed = (new - old).total(), (old - new).total()
        replaced = min(added, removed)
        counts = {"added": added - replaced, "removed": removed - replaced, "replaced": replaced}
        if said := ", ".join(f"{count} {kind}" for kind, count in counts.items() if count):
            changes.append(f"{name[:-2]}{name[-1].upper()}: {said}")
    return "; ".join(changes)


def replaced_domain(before: Mapping[str, Any], splits: Splits) -> tuple[str, int, int] | None:
    """Return the domain that has lost more than half of its training pictures, how many are left, and of how many.

    Returns ("", 0, 0) if neither has, and None where they can't be compared.

    Args:
        before: of an earlier start, as read from a file.
        splits: the data set of this start.
    """
    for side, domain in (("a", splits.train_a), ("b", splits.train_b)):
        digests = before.get(f"train_{side}")
        known = Counter(digests) if _are_digests(digests) else Counter()
        del known[""]
        if not known or not domain.fallible:
            return None
        total, left = known.total(), 0
        for index in range(len(domain)):
            digest = _fingerprint_at(domain, index)
            if known[digest] > 0:
                known[digest] -= 1
                left += 1
            if 2 * left >= total:
                break  # The others needn't be read.
        else:
            return side.upper(), left, total
    return "", 0, 0


def _are_digests(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(digest, str) for digest in value)
