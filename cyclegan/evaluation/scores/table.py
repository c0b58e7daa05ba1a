"""The table of scores: every figure about a checkpoint on a whole test set, one row each, without torch.

A score is a kind of measurement, such as `pairs`; each gives some of these figures, recorded as `KEY_ab` and `KEY_ba`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cyclegan.errors import Message, message, rounded
from cyclegan.evaluation.figures import GREY_LEVELS, UNITS, Figure

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class ScoreFigure(Figure):
    """A figure of a score."""

    score: str = ""
    """The score that gives it."""
    by_features: bool = False
    """True if it depends on the network of features, which is then named next to it."""

    @property
    def shares_its_label(self) -> bool:
        """True if another score has figures of these names, so that both scores are named with them."""
        return self.score in ("segmentation", "labels")


def _row(
    score: str, key: str, label: Message, meaning: Message, better: Better | None = "higher", form: str = ".3f", *,
    unit: Message | None = None, by_features: bool = False,
) -> ScoreFigure:  # fmt: skip
    return ScoreFigure(
        key, "metrics", "direction", label, meaning, label, unit=unit, better=better, format=form, score=score,
        by_features=by_features,
    )  # fmt: skip


SCORES: Mapping[str, Message] = {
    "kid": message("kernel distance of translations to real pictures, by a network's features"),
    "fid": message("Fréchet distance of translations to real pictures, by a network's features"),
    "pairs": message("distance of translations to the true pictures, where those are known"),
    "reconstruction": message("distance of pictures brought back to their originals, and what the way back lives on"),
    "collapse": message("how far translations differ from each other, and whether they depend on their inputs"),
    "segmentation": message("whether a segmenter finds the input's labels in the translation (FCN score)"),
    "labels": message("whether translations into label maps have the right label, by the nearest colour"),
    "content": message("what a segmenter sees erased and invented, class by class"),
}
"""The meaning of each score."""

SCORE_FIGURES: tuple[ScoreFigure, ...] = (
    _row("kid", "kid", message("KID × 1000"),
         message("kernel distance to real pictures of the target; 0 on average for pictures that can't be told apart, "
                 "so it can be negative"),
         "lower", ".1f", by_features=True),
    _row("fid", "fid", message("Fréchet distance"),
         message("to real pictures of the target; too large with few pictures, so compare equal numbers alone. It is "
                 "FID only with Inception's features"),
         "lower", ".1f", by_features=True),
    _row("pairs", "pairs_l1", message("truth L1"), message("mean difference from the true picture"), "lower", ".1f",
         unit=GREY_LEVELS),
    _row("pairs", "pairs_units", message("truth (units)"),
         message("mean difference from the true picture, in the pictures' own units"), "lower", ".4g", unit=UNITS),
    _row("pairs", "pairs_psnr", message("truth PSNR"), message("peak signal-to-noise ratio against the true picture"),
         form=".1f", unit=message("dB")),
    _row("pairs", "pairs_ssim", message("truth SSIM"), message("structural similarity to the true picture, −1 to 1")),
    _row("pairs", "pairs_features", message("truth, by features"),
         message("distance from the true picture in a network's features (0: equal)"), "lower", by_features=True),
    _row("pairs", "pairs_rmse", message("truth RMSE (GcGAN)"),
         message("root of the squared differences summed over the channels, as published on maps"), "lower", ".1f",
         unit=GREY_LEVELS),
    _row("pairs", "pairs_within_5", message("within 5"),
         message("share of pixels whose channels are all less than 5 grey levels off, as published on maps"),
         form=".1%"),
    _row("pairs", "pairs_within_10", message("within 10"),
         message("share of pixels whose channels are all less than 10 grey levels off"), form=".1%"),
    _row("pairs", "pairs_colours_iou", message("colours IoU"),
         message("overlap with the truth of each of the target's main colours, mean over the colours, 0 to 1")),
    _row("reconstruction", "rec_l1", message("way back L1"), message("mean difference from the original"),
         "lower", ".1f", unit=GREY_LEVELS),
    _row("reconstruction", "rec_units", message("way back (units)"),
         message("mean difference from the original, in the pictures' own units"), "lower", ".4g", unit=UNITS),
    _row("reconstruction", "rec_psnr", message("way back PSNR"),
         message("peak signal-to-noise ratio against the original"), form=".1f", unit=message("dB")),
    _row("reconstruction", "rec_ssim", message("way back SSIM"),
         message("structural similarity to the original, −1 to 1")),
    _row("reconstruction", "rec_features", message("way back, by features"),
         message("distance from the original in a network's features (0: equal)"), "lower", by_features=True),
    _row("reconstruction", "rec_noise_l1", message("L1 after noise"),
         message("the same with the translation changed by one grey level at random. If it is much larger, the "
                 "translation hides its input in invisible detail"),
         "lower", ".1f", unit=GREY_LEVELS),
    _row("reconstruction", "rec_jpeg_l1", message("L1 after JPEG"),
         message("the same with the translation saved as JPEG of quality 90"), "lower", ".1f", unit=GREY_LEVELS),
    _row("collapse", "spread_of_inputs", message("spread / inputs"),
         message("how much translations differ from each other, over how much their inputs do; near 0, all look alike. "
                 "In a training's curves: diversity"),
         None, ".2f"),
    _row("collapse", "spread_of_targets", message("spread / real"),
         message("how much translations differ from each other, over how much real pictures of the target do; near 0, "
                 "all look alike"),
         None, ".2f"),
    _row("collapse", "follows_input", message("follows its input"),
         message("correlation of the distances between translations with those between their inputs; near 0, the "
                 "input is ignored. More than the true pictures have isn't better"),
         None, ".2f"),
    _row("collapse", "ndb", message("bins off (NDB)"),
         message("share of the clusters of real pictures that hold another share of the translations, by a test at "
                 "5%; about 5% for pictures that can't be told apart"),
         "lower", ".0%", by_features=True),
    _row("segmentation", "seg_pixel", message("pixel accuracy"),
         message("share of pixels in which a segmenter finds the input's label"), form=".3f"),
    _row("segmentation", "seg_class", message("class accuracy"), message("the same, mean over the classes")),
    _row("segmentation", "seg_iou", message("class IoU"),
         message("overlap of found and true pixels of each class, mean over the classes")),
    _row("labels", "labels_pixel", message("pixel accuracy"), message("share of pixels that have the right label")),
    _row("labels", "labels_class", message("class accuracy"), message("the same, mean over the classes")),
    _row("labels", "labels_iou", message("class IoU"),
         message("overlap of labelled and true pixels of each class, mean over the classes")),
    _row("content", "content_kept", message("kept"),
         message("share of the inputs' classes of which the segmenter still finds at least a tenth in place, all "
                 "pictures together; – for fewer than 10")),
    _row("content", "content_invented", message("invented"),
         message("share of the classes that inputs lack which the segmenter finds in their translations, all pictures "
                 "together; – for fewer than 10"),
         "lower"),
)  # fmt: skip
"""In the order in which they are shown."""
BY_KEY: Mapping[str, ScoreFigure] = {figure.key: figure for figure in SCORE_FIGURES}

LABELS: Mapping[str, Message] = {
    "untranslated": message("the input, untranslated"),
    "one_colour": message("one colour"),
    "blind": message("blind: the usual at each place"),
    "another": message("another real picture"),
    "real": message("real pictures"),
    "truth": message("the true pictures"),
}
"""Baselines and ceilings by name."""


def cell(figure: ScoreFigure, value: Mapping[str, float] | None) -> str:
    """Return "41.2 [36.0, 46.4]", without the interval where none is known; "–" where nothing was measured."""
    if value is None:
        return "–"
    shown = figure.show(value["value"])
    if "low" not in value:
        return shown
    return f"{shown} [{rounded(value['low'], figure.format)}, {rounded(value['high'], figure.format)}]"
