"""Fixed test pictures through the generators: the figures and the grids of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from cyclegan.config import DIRECTIONS, Direction
from cyclegan.evaluation.collapse import diversity
from cyclegan.evaluation.grids import GAP, HEADS
from cyclegan.images import to_image
from cyclegan.values import RGB, Values

MIN_TILE = 128  # pixels
CAPTION_GAP = 6
"""Pixels between a caption and the next column's."""
FONT_SIZES = (13, 12, 11, 10, 9)  # pixels
DIVERSITY_SAMPLES = 8
"""Test pictures per domain for the figures, even where the grid shows fewer: collapse needs some to show."""


@dataclass
class TranslatedSamples:
    """The fixed test pictures in one direction; all lists of (3, H, W) in [-1, 1] on the CPU."""

    direction: Direction
    labels: list[str]
    real: list[Tensor]
    fake: list[Tensor]
    rec: list[Tensor] | None = None
    """The way back; None where there is no generator for it."""
    redrawn: list[Tensor] | None = None
    """The source domain's generator in place of the inputs; None unless the generator translates by inversion."""
    truth: list[Tensor] | None = None


@torch.no_grad()
def translate_samples(
    samples: dict[str, Any], generators: Mapping[str, nn.Module], device: torch.device | str,
    on_picture: Callable[[], object] = lambda: None,
) -> dict[Direction, TranslatedSamples]:
    """Translate the fixed test pictures in each direction, and back where possible; one by one, in eval mode.

    Args:
        samples: `Data.samples()`'s result.
        generators: `gen_ab`, `gen_ba`, or one of them.
        on_picture: called after each picture.
    """
    results: dict[Direction, TranslatedSamples] = {}
    for network in generators.values():
        network.eval()
    for direction in DIRECTIONS:
        if f"gen_{direction}" not in generators:
            continue
        source, target = direction
        there, back = generators[f"gen_{direction}"], generators.get(f"gen_{direction[::-1]}")
        fake: list[Tensor] = []
        rec: list[Tensor] = []
        redrawn: list[Tensor] = []
        for real in samples[f"real_{source}"]:
            if hasattr(there, "translate_and_redraw"):
                translated, drawn = there.translate_and_redraw(real[None].to(device))
                redrawn.append(drawn[0].float().cpu())
            else:
                translated = there(real[None].to(device))
            fake.append(translated[0].float().cpu())
            if back is not None:
                rec.append(back(translated)[0].float().cpu())
            on_picture()
        results[direction] = TranslatedSamples(
            direction, samples[f"label_{source}"], samples[f"real_{source}"], fake,
            rec=rec if back is not None else None, truth=samples.get(f"truth_{target}"),
            redrawn=redrawn or None,
        )  # fmt: skip
    return results


@torch.no_grad()
def sample_metrics(
    samples: Mapping[str, Any],
    translated: Mapping[Direction, TranslatedSamples],
    judges: Mapping[str, Callable[[Tensor], Tensor]],
    device: torch.device | str,
    values: Callable[[str], Values] = lambda domain: RGB,
) -> dict[str, float]:
    """Return the figures of an epoch on the fixed test pictures.

    For each translated direction, `ab` or `ba`:
        reconstruction_l1_*: mean |rec − real| in grey levels (0 to 255), where there is a way back.
        change_l1_*: mean |fake − real| in grey levels; near 0 means that nothing is translated.
        inversion_l1_*: mean |redrawn − real| in grey levels, where the generator translates by inversion.
        truth_l1_*: mean |fake − truth| in grey levels, where the true other-domain picture is known.
        reconstruction_units_*, truth_units_*: the same two in the domain's own units, where it isn't 8-bit RGB. Grey
            levels are 255ths of a domain's range.
        diversity_*: diversity of the fakes over that of their inputs; see `collapse`.
    and for each domain with a judge, `a` or `b`:
        disc_accuracy_*: share of patches, real and fake, that its discriminator judges correctly.

    Args:
        samples: `Data.samples()`'s result.
        translated: `translate_samples()`'s result.
        judges: see `Method.judges`; in eval mode.
        values: channels and range of domain "a" or "b".
    """
    metrics = {}
    for direction, pictures in translated.items():
        pairs = {"reconstruction_l1": (pictures.rec, pictures.real), "change_l1": (pictures.fake, pictures.real),
                 "inversion_l1": (pictures.redrawn, pictures.real),
                 "truth_l1": (pictures.fake, pictures.truth)}  # fmt: skip
        for name, (ours, theirs) in pairs.items():
            if ours is None or theirs is None:
                continue
            differences = [(x - y).abs().mean() for x, y in zip(ours, theirs, strict=True) if x.shape == y.shape]
            if differences:
                metrics[f"{name}_{direction}"] = mean = float(torch.stack(differences).mean()) * 127.5
                of = values(direction[name == "truth_l1"])
                if name in ("reconstruction_l1", "truth_l1") and not of.plain:
                    metrics[f"{name.removesuffix('l1')}units_{direction}"] = mean * (of.high - of.low) / 255
        inputs = diversity(pictures.real)
        if len(pictures.real) > 1 and inputs > 0:
            metrics[f"diversity_{direction}"] = diversity(pictures.fake) / inputs
    for domain, into in (("a", "ba"), ("b", "ab")):
        judge = judges.get(domain)
        if judge is None or into not in translated:
            continue
        on_real = [judge(picture[None].to(device)) for picture in samples[f"real_{domain}"]]
        on_fake = [~judge(picture[None].to(device)) for picture in translated[into].fake]
        shares = [correct.float().mean() for correct in (*on_real, *on_fake)]
        metrics[f"disc_accuracy_{domain}"] = float(torch.stack(shares).mean())
    return metrics


def sample_grid(
    translated: TranslatedSamples, names: dict[str, str], *, count: int, tile: int = 256,
    values: Callable[[str], Values] = lambda domain: RGB,
) -> Image.Image:
    """Return a captioned grid: a row per picture; columns real, fake, and rec, truth and redrawn where they are known.

    Args:
        names: domain names by `a`, `b`.
        count: rows at most.
        tile: longest side of a picture in pixels; larger ones are scaled down.
        values: channels and range of domain "a" or "b"; a slice's neighbours aren't shown.
    """
    source, target = translated.direction
    own = {"real:": source, "fake:": target, "rec": source, "truth:": target, "redrawn:": source}
    columns = [(("real:", names[source]), translated.real), (("fake:", names[target]), translated.fake)]
    if translated.rec is not None:
        columns.append((("rec",), translated.rec))
    if translated.truth is not None:
        columns.append((("truth:", names[target]), translated.truth))
    if translated.redrawn is not None:
        columns.append((("redrawn:", names[source]), translated.redrawn))
    rows = min(count, len(translated.real))
    tiles = [
        [_fit(to_image(pictures[row][values(own[caption[0]]).own]), tile) for caption, pictures in columns]
        for row in range(rows)
    ]
    widths = [max(tiles[row][c].width for row in range(rows)) for c in range(len(columns))]
    heights = [max(picture.height for picture in tiles[row]) for row in range(rows)]
    captions = [(caption, width - CAPTION_GAP) for (caption, _), width in zip(columns, widths, strict=True)]
    font = _font(captions)
    lines = [_lines(caption, width, font) for caption, width in captions]
    head = HEADS[max(map(len, lines)) - 1]
    sheet = Image.new("RGB", (sum(widths) + GAP * (len(columns) + 1), head + sum(heights) + GAP * (rows + 1)), "white")
    draw = ImageDraw.Draw(sheet)
    x = GAP
    for c, texts in enumerate(lines):
        for line, text in enumerate(texts):
            draw.text((x, 4 + 16 * line), text, fill="#222222", font=font)
        y = head + GAP
        for row in range(rows):
            sheet.paste(tiles[row][c], (x, y))
            y += heights[row] + GAP
        x += widths[c] + GAP
    return sheet


def _font(captions: Sequence[tuple[tuple[str, ...], int]]) -> ImageFont.FreeTypeFont:
    """Return the largest font in which every part of a caption fits its column, or else the smallest."""
    for size in FONT_SIZES:
        font = ImageFont.load_default(size)
        if all(font.getlength(part) <= width for caption, width in captions for part in caption):
            break
    return font


def _lines(caption: tuple[str, ...], width: int, font: ImageFont.FreeTypeFont) -> list[str]:
    """Return a caption in one line, or where that doesn't fit a line for each part, shortened."""
    whole = " ".join(caption)
    return [whole] if font.getlength(whole) <= width else [_shorten(part, width, font) for part in caption]


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2].rstrip() + "…"
    return text


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Scale down to `side`; enlarge tiny pictures by a whole factor, so that each pixel remains a square."""
    longest = max(image.size)
    if longest > side:
        scale = side / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.BICUBIC)
    factor = max(1, MIN_TILE // longest)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
