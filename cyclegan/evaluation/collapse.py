"""Signs that training went wrong, in plain words: mode collapse, nothing translated, a discriminator that won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from cyclegan.config import MethodConfig
from cyclegan.errors import Message, message

COLLAPSED = 0.15
UNCHANGED = 1.0  # grey levels
WON = 0.995


def diversity(pictures: Sequence[Tensor]) -> float:
    """Return the mean absolute difference between each two of the pictures, shrunk to 32×32.

    Args:
        pictures: (3, H, W) each, in [-1, 1], of any sizes.

    Returns:
        0 (all alike) to 2; 0 for fewer than two pictures.
    """
    small = [F.interpolate(p[None], size=(32, 32), mode="area")[0] for p in pictures]
    pairs = list(combinations(small, 2))
    return float(torch.stack([(x - y).abs().mean() for x, y in pairs]).mean()) if pairs else 0.0


def _flags(names: Sequence[str]) -> str:
    return "/".join(f"--{name}" for name in names)


def warnings(
    metrics: Mapping[str, float], names: Mapping[str, str], options: MethodConfig, discriminator: str = "patch"
) -> list[Message]:
    """Return sentences about `sample_metrics`' figures that show a training gone wrong.

    Args:
        names: domain names by `a`, `b`.
        options: the method's; advice names its flags.
        discriminator: its kind, see `ModelConfig`.
    """
    found = []
    tighter = message("resume from an earlier epoch, raise {flags} or lower --lr", flags=_flags(options.binding))
    if not options.binding:
        tighter = message("resume from an earlier epoch or lower --lr")
    looser = message("lower {flags}, or raise --lambda_gan", flags=_flags(options.copying))
    for source, target in (("a", "b"), ("b", "a")):
        ends = {"source": names[source], "target": names[target]}
        ratio = metrics.get(f"diversity_{source}{target}", 1.0)
        if ratio < COLLAPSED:
            found.append(message(
                "{source} → {target}: the outputs have become alike (their diversity is {ratio:.0%} of the inputs'). "
                "If this persists, {advice}",
                ratio=ratio, advice=tighter, **ends,
            ))  # fmt: skip
        if metrics.get(f"change_l1_{source}{target}", 255.0) < UNCHANGED:
            found.append(message(
                "{source} → {target}: the outputs equal their inputs. If this persists, {advice}",
                advice=looser if options.copying else message("resume from an earlier epoch"), **ends,
            ))  # fmt: skip
        if metrics.get(f"disc_accuracy_{target}", 0.0) > WON:
            found.append(message(
                "{target}: the discriminator recognises every fake, so the generator learns little. Early "
                "on this passes; if it persists, lower {flags}", target=names[target],
                flags="--n_layers_d or --ndf" if discriminator == "patch" else "--ndf",
            ))  # fmt: skip
    return found
