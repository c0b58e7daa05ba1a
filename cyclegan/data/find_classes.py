"""The classes of a data set in a folder: found in its label maps, and in pictures in the classes' colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from cyclegan.data.domains import Files, Splits, with_labels
from cyclegan.data.labels import SIDES, VOID, Classes, Color, Labelling, Side, open_map
from cyclegan.errors import DataError

__all__ = ["FoundClasses", "find_classes"]

_SAMPLE, _OF_EACH_CLASS, _MOST_PIXELS = 100, 5, 65536
# A class's colour is its median. JPEG changes flat colours by less than 48, as the sum over channels, except at edges.
_NEAR, _CODED = 48, 0.75
# Of label maps, 79% (antialiased street maps) to 96% of the pixels are within 12 of one of the commonest colours, which
# are taken 32 apart; of photos, 31 to 51%.
_PEAK, _APART, _PEAKED = 12, 32, 0.7
_LEAST_SHARE, _MOST_COLORS = 0.002, 40

Unit = tuple[Files, int]
"""A domain, and the number of a picture in it."""


@dataclass(frozen=True)
class FoundClasses:
    """The classes that were found.

    Attributes:
        label_domain: the domain whose pictures are label maps in the classes' colours, None if neither's are.
        shares: the share of the pixels that each class has, by position.
        maps: the number of label maps in files; 0 if the classes are the colours of the label domain.
        colors_from: "pictures", "maps" (their palette, or their colours) or "default".
    """

    classes: Classes
    label_domain: Side | None
    shares: tuple[float, ...]
    maps: int
    colors_from: str


def find_classes(
    root: Path, splits: Splits, *, names: Sequence[str] = (), void: Sequence[str] = (), label_domain: Side | None = None
) -> FoundClasses:
    """Find the classes of a folder's data set.

    With maps of indices in ROOT/labels, the classes are these indices, and the colours are the medians over the
    pictures of a colour-coded domain, else the maps' own palette, else distinct colours. Without them, the classes are
    the commonest colours: of coloured maps in ROOT/labels, else of a colour-coded domain.

    Args:
        splits: the data set without its labels.
        names: of the classes, in the order of the indices; by default class_0, class_1, …
        void: names or positions of the classes that no score counts.
        label_domain: the domain that is colour-coded; by default it is found.

    Raises:
        DataError: there are no labels, or they don't fit the names.
        ImageError: a picture can't be read.
    """
    indices = Classes(tuple(map(str, range(VOID))), tuple(map(_distinct, range(VOID))))
    labelled = with_labels(splits, Labelling(root, indices))
    domains = {side: list(_files(labelled, side)) for side in SIDES}
    if not all(domains.values()):
        raise DataError(
            "{root} holds its pictures in tables, which can't have label maps: save them into trainA and trainB",
            root=root,
        )
    mapped = {domain.maps.folder: domain for side in SIDES for domain in domains[side] if domain.maps.files}
    files = [path for domain in mapped.values() for path in domain.maps.files.values()]
    if files and open_map(files[0]).ndim == 2:
        found = _of_indices(mapped.values(), domains, names, label_domain)
    elif names:
        raise DataError(
            "{root} has no label maps of indices, so the order of the classes isn't known: leave --names out, and edit "
            "the names in classes.json",
            root=root,
        )
    else:
        found = _of_colors(root, files, domains, label_domain)
    classes = _with_void(found.classes, void)
    if found.label_domain and (same := classes.same_color):
        raise DataError(
            "{first} and {second} have the same colour in the pictures of domain {side}, so these can't be read as "
            "label maps: name both with --void, or give the two one index in the label maps",
            first=same[0], second=same[1], side=found.label_domain,
        )  # fmt: skip
    return dataclasses.replace(found, classes=classes)


def _files(splits: Splits, side: Side) -> Iterator[Files]:
    for split in ("train", "test"):
        if isinstance(domain := getattr(splits, f"{split}_{side}"), Files):
            yield domain


def _with_void(classes: Classes, void: Sequence[str]) -> Classes:
    positions = set(classes.void)
    for name in void:
        if name in classes.names:
            positions.add(classes.names.index(name))
        elif name.isdecimal() and int(name) < len(classes.names):
            positions.add(int(name))
        else:
            raise DataError(
                "--void {name} isn't one of the classes: {names}", name=name, names=", ".join(classes.names)
            )
    if len(positions) == len(classes.names):
        raise DataError("--void leaves no class to score: name fewer")
    return dataclasses.replace(classes, void=tuple(sorted(positions)))


# --------------------------------------------------------------------------------------------- maps of indices


def _of_indices(
    mapped: Sequence[Files], domains: dict[Side, list[Files]], names: Sequence[str], wanted: Side | None
) -> FoundClasses:
    totals, chosen = _counted([(domain, index) for domain in mapped for index in range(len(domain))])
    used = int(np.flatnonzero(totals[:VOID]).max(initial=-1)) + 1
    if not used:
        raise DataError("the label maps have no class, only {void}: check the files in labels", void=VOID)
    if names and len(names) < used:
        raise DataError(
            "the label maps have the classes 0 to {last}, but {count} names were given: give {used}, in this order",
            last=used - 1, count=len(names), used=used,
        )  # fmt: skip
    names, void, pixels = list(names) or [f"class_{index}" for index in range(used)], (), totals.sum()
    coded = {side: _colors_of_classes(_on_side(chosen, domains[side])) for side in ([wanted] if wanted else SIDES)}
    if wanted and not coded[wanted][0]:
        raise DataError(
            "domain {side} has no label maps in labels, so the classes' colours in its pictures aren't known: leave "
            "--label_domain out, and add the colours and label_domain to classes.json",
            side=wanted,
        )  # fmt: skip
    side = wanted or max(coded, key=lambda side: coded[side][1])
    if wanted or coded[side][1] >= _CODED:
        colors, source = coded[side][0], "pictures"
        if VOID in colors:  # So that its colour isn't taken for that of a class.
            last = len(names)
            totals[last], colors[last], void = totals[VOID], colors[VOID], (last,)
            names = [*names, "void_255" if "void" in names else "void"]
    else:
        side, colors = None, _own_palette(chosen[0])
        source = "maps" if colors else "default"
    shares = totals[: len(names)] / pixels
    spare = (color for color in map(_distinct, range(VOID)) if color not in colors.values())
    classes = Classes(tuple(names), tuple(colors.get(i) or next(spare) for i in range(len(names))), void)
    return FoundClasses(classes, side, tuple(shares.tolist()), sum(map(len, mapped)), source)


def _counted(units: Sequence[Unit]) -> tuple[np.ndarray, list[Unit]]:
    """Return the pixels of each index, int64 (256,), and a sample of the pictures that shows each index."""
    totals, seen = np.zeros((2, VOID + 1), np.int64)
    chosen = set(range(0, len(units), max(1, -(-len(units) // _SAMPLE))))
    for number, unit in enumerate(tqdm(units, desc="Reading label maps", unit="map", delay=2.0, leave=False)):
        counts = np.bincount(unit[0].labels(unit[1]).ravel(), minlength=VOID + 1)
        totals += counts
        seen += counts > 0
        if (seen[counts > 0] <= _OF_EACH_CLASS).any():
            chosen.add(number)
    return totals, [units[number] for number in sorted(chosen)]


def _on_side(chosen: Sequence[Unit], domains: Sequence[Files]) -> list[Unit]:
    """Return the pictures of these domains that share their label maps with the chosen ones: as halves of pairs do."""
    here = {domain.maps.folder: domain for domain in domains}
    return [(here[domain.maps.folder], index) for domain, index in chosen if domain.maps.folder in here]


def _colors_of_classes(units: Sequence[Unit]) -> tuple[dict[int, Color], float]:
    """Return each index's median colour, and the share of pixels that show their index: the mean over the indices.

    These are near its colour, and nearer than to another index's. The first alone holds for dark photos, the second
    for things before a white wall.
    """
    histograms = np.zeros((3, (VOID + 1) * 256), np.int64)
    for domain, index in units:
        labels, picture = domain.labels(index).astype(np.int64), np.asarray(domain.load(index))
        for channel in range(3):
            values = labels * 256 + picture[..., channel]
            histograms[channel] += np.bincount(values.ravel(), minlength=histograms.shape[1])
    below = histograms.reshape(3, VOID + 1, 256).cumsum(-1)
    total = below[0, :, -1]
    medians = (below < (total[:, None] + 1) // 2).sum(-1).T  # (256, 3)
    present = np.flatnonzero(total)
    palette = Classes(tuple(map(str, present)), tuple(map(tuple, medians[present].tolist())))
    coded = np.zeros(VOID + 1, np.int64)
    for domain, index in units:
        labels, picture = domain.labels(index), np.asarray(domain.load(index), np.int16)
        near = np.abs(picture - medians[labels]).sum(-1) <= _NEAR
        coded += np.bincount(labels[near & (present[palette.nearest(picture)] == labels)], minlength=VOID + 1)
    share = (coded[present] / total[present]).mean() if units else 0.0
    return dict(zip(present.tolist(), palette.colors, strict=True)), float(share)


def _own_palette(unit: Unit) -> dict[int, Color]:
    """Return the colours in a label map's file, by index; none if it is grey."""
    domain, index = unit
    with Image.open(domain.maps.files[domain.paths[index].stem]) as image:
        if image.mode != "P":
            return {}
        colors = np.array(image.getpalette("RGB")).reshape(-1, 3)
    grey = (colors == np.arange(len(colors))[:, None]).all()
    return {} if grey else {index: tuple(color) for index, color in enumerate(colors.tolist())}


def _distinct(index: int) -> Color:
    """Return one of 255 distinct colours, those of PASCAL VOC without its first, black."""
    index += 1
    return tuple(
        sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
    )


# ----------------------------------------------------------------------------------------------------- colours


def _of_colors(
    root: Path, files: Sequence[Path], domains: dict[Side, list[Files]], wanted: Side | None
) -> FoundClasses:
    pixels = {
        side: _pixels([(domain, index) for domain in domains[side] for index in range(len(domain))])
        for side in ([wanted] if wanted else SIDES)
    }
    if files:
        maps = Files("labels", files)
        colors, shares = _palette(_pixels([(maps, index) for index in range(len(files))]))
        side = wanted or max(pixels, key=lambda side: _peaked(pixels[side], colors))
    else:
        palettes = {side: _palette(pixels[side]) for side in pixels}
        side = wanted or max(palettes, key=lambda side: _peaked(pixels[side], palettes[side][0]))
        colors, shares = palettes[side]
    if not wanted and _peaked(pixels[side], colors) < _PEAKED:
        if not files:
            folders = dict.fromkeys(f"labels/{domain.part}" for side in SIDES for domain in domains[side])
            raise DataError(
                "{root} has no labels: put label maps, PNG files with the pictures' names and the class of each pixel, "
                "into {folders}. If the pictures of a domain are label maps in colours, name it with --label_domain",
                root=root, folders=", ".join(folders),
            )  # fmt: skip
        side = None
    names = tuple(f"class_{index}" for index in range(len(colors)))
    return FoundClasses(Classes(names, tuple(colors)), side, tuple(shares), len(files), "maps" if files else "pictures")


def _pixels(units: Sequence[Unit]) -> np.ndarray:
    """Return pixels of a sample of pictures, int16 (N, 3)."""
    found = []
    sample = units[:: max(1, -(-len(units) // _SAMPLE))]
    for domain, index in tqdm(sample, desc="Reading colours", unit="picture", delay=2.0, leave=False):
        array = np.asarray(domain.load(index), np.int16)
        step = int(np.ceil((array.shape[0] * array.shape[1] / _MOST_PIXELS) ** 0.5))
        found.append(array[::step, ::step].reshape(-1, 3))
    return np.concatenate(found)


def _palette(pixels: np.ndarray) -> tuple[list[Color], list[float]]:
    """Return the commonest colours, taken apart from each other, with the share of the pixels near each."""
    colors, shares, left = [], [], pixels
    while len(left) and len(colors) < _MOST_COLORS:
        bins = (left >> 3) @ np.array([1024, 32, 1])
        color = np.median(left[bins == np.bincount(bins).argmax()], axis=0).astype(np.int16)
        near = np.abs(left - color).sum(-1) <= _APART
        if near.sum() < _LEAST_SHARE * len(pixels):
            break
        colors.append(tuple(color.tolist()))
        shares.append(float(near.sum() / len(pixels)))
        left = left[~near]
    return colors, shares


def _peaked(pixels: np.ndarray, colors: Sequence[Color]) -> float:
    """Return the share of the pixels that nearly have one of the colours."""
    near = np.zeros(len(pixels), bool)
    for color in colors:
        near |= np.abs(pixels - np.array(color, np.int16)).sum(-1) <= _PEAK
    return float(near.mean())
