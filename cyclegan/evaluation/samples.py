"""Fixed test pictures through both generators: the figures and the grids of an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from cyclegan.config import Direction
from cyclegan.evaluation.collapse import diversity
from cyclegan.images import to_image
from cyclegan.methods.losses import judged_correctly

MIN_TILE = 96  # pixels


@dataclass
class Translated:
    """What one direction makes of the fixed test pictures; all lists of (3, H, W) in [-1, 1] on the CPU."""

    direction: Direction
    labels: list[str]
    real: list[Tensor]
    fake: list[Tensor]
    rec: list[Tensor]
    truth: list[Tensor] | None = None


@torch.no_grad()
def translate_samples(
    samples: dict[str, Any], generators: dict[str, nn.Module], device: torch.device | str
) -> dict[str, Translated]:
    """Translate and reconstruct the fixed test pictures, one by one, in eval mode, both ways.

    Args:
        samples: `Data.samples()`'s result.
        generators: `gen_ab` and `gen_ba`.
    """
    results = {}
    for direction, source, target in (("ab", "a", "b"), ("ba", "b", "a")):
        there, back = generators[f"gen_{direction}"], generators[f"gen_{direction[::-1]}"]
        fake, rec = [], []
        for network in (there, back):
            network.eval()
        for real in samples[f"real_{source}"]:
            translated = there(real[None].to(device))
            fake.append(translated[0].float().cpu())
            rec.append(back(translated)[0].float().cpu())
        results[direction] = Translated(
            direction=direction,
            labels=samples[f"label_{source}"],
            real=samples[f"real_{source}"],
            fake=fake,
            rec=rec,
            truth=samples.get(f"truth_{target}"),
        )
    return results


@torch.no_grad()
def sample_metrics(
    translated: dict[str, Translated],
    discriminators: dict[str, nn.Module],
    gan_mode: str,
    device: torch.device | str,
) -> dict[str, float]:
    """Figures of an epoch on the fixed test pictures.

    Returns, for each direction `ab`, `ba`:
        reconstruction_l1_*: mean |rec − real| in grey levels (0 to 255).
        change_l1_*: mean |fake − real| in grey levels; near 0 means that nothing is translated.
        truth_l1_*: mean |fake − truth| in grey levels, where the true other-domain picture is known.
        diversity_*: diversity of the fakes over that of their inputs; see `collapse`.
    and for each domain `a`, `b`:
        disc_accuracy_*: share of patches, real and fake, that its discriminator calls by the right name.
    """
    metrics = {}
    for direction, pictures in translated.items():
        pairs = {
            "reconstruction_l1": (pictures.rec, pictures.real),
            "change_l1": (pictures.fake, pictures.real),
        }
        if pictures.truth is not None:
            pairs["truth_l1"] = (pictures.fake, pictures.truth)
        for name, (ours, theirs) in pairs.items():
            differences = [(x - y).abs().mean() for x, y in zip(ours, theirs, strict=True) if x.shape == y.shape]
            if differences:
                metrics[f"{name}_{direction}"] = float(torch.stack(differences).mean()) * 127.5
        inputs = diversity(pictures.real)
        if len(pictures.real) > 1 and inputs > 0:
            metrics[f"diversity_{direction}"] = diversity(pictures.fake) / inputs
    for domain, into, source in (("a", "ba", "ab"), ("b", "ab", "ba")):
        judge = discriminators.get(f"disc_{domain}")
        if judge is None or gan_mode == "wgan_gp":  # A Wasserstein critic has no threshold.
            continue
        judge.eval()
        shares = [
            judged_correctly(judge(picture[None].to(device)), real=is_real, mode=gan_mode)
            for pictures, is_real in ((translated[source].real, True), (translated[into].fake, False))
            for picture in pictures
        ]
        metrics[f"disc_accuracy_{domain}"] = float(torch.stack(shares).mean())
    return metrics


def sample_grid(translated: Translated, names: dict[str, str], *, count: int, tile: int = 256) -> Image.Image:
    """A captioned grid: a row per picture; columns real, fake, rec, and truth where it is known.

    Args:
        names: domain names by `a`, `b`.
        count: rows at the most.
        tile: longest side of a picture in pixels; larger ones are scaled down.
    """
    source, target = translated.direction
    columns = [
        (f"real: {names[source]}", translated.real),
        (f"fake: {names[target]}", translated.fake),
        ("rec", translated.rec),
    ]
    if translated.truth is not None:
        columns.append((f"truth: {names[target]}", translated.truth))
    rows = min(count, len(translated.real))
    tiles = [[_fit(to_image(pictures[row]), tile) for _, pictures in columns] for row in range(rows)]
    widths = [max(tiles[row][c].width for row in range(rows)) for c in range(len(columns))]
    heights = [max(picture.height for picture in tiles[row]) for row in range(rows)]
    gap, head = 4, 22
    sheet = Image.new("RGB", (sum(widths) + gap * (len(columns) + 1), head + sum(heights) + gap * (rows + 1)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    x = gap
    for c, (caption, _) in enumerate(columns):
        draw.text((x, 4), _shorten(caption, widths[c], font), fill="#222222", font=font)
        y = head + gap
        for row in range(rows):
            sheet.paste(tiles[row][c], (x, y))
            y += heights[row] + gap
        x += widths[c] + gap
    return sheet


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    while font.getlength(text) > width and len(text) > 2:
        text = text[:-2].rstrip() + "…"
    return text


def _fit(image: Image.Image, side: int) -> Image.Image:
    """Scale down to `side`; pictures too small to judge are doubled by whole factors, so that pixels stay pixels."""
    longest = max(image.size)
    if longest > side:
        scale = side / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.BICUBIC)
    factor = max(1, MIN_TILE // longest)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
