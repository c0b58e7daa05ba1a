"""The figures, sentences and pictures of an epoch."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from cyclegan.checkpoints.progress import MetricsLog
from cyclegan.config import METHOD_CONFIGS
from cyclegan.evaluation.collapse import diversity, warnings
from cyclegan.evaluation.figures import fit_axes
from cyclegan.evaluation.samples import TranslatedSamples, sample_grid, sample_metrics, translate_samples
from cyclegan.methods.losses import called_real
from cyclegan.training.curves import draw_curves, line_name

NAMES = {"a": "day", "b": "night"}


def pictures(count, seed, size=32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, 1, 1, generator=generator) * torch.ones(3, size, size) * 2 - 1 for _ in range(count)]


class Constant(torch.nn.Module):
    def forward(self, x):
        return torch.full_like(x, 0.25) + 0 * x


class Negative(torch.nn.Module):
    def forward(self, x):
        return -x


def samples(count=4):
    labels = [f"{i}.png" for i in range(count)]
    return {"real_a": pictures(count, 0), "real_b": pictures(count, 1), "label_a": labels, "label_b": labels}


def test_diversity_is_the_mean_difference():
    assert diversity([torch.zeros(3, 40, 40), torch.ones(3, 16, 24)]) == pytest.approx(1.0)
    assert diversity([torch.ones(3, 8, 8)] * 3) == 0 and diversity([torch.ones(3, 8, 8)]) == 0


def test_figures_of_networks_whose_results_are_known():
    given = {**samples(), "truth_b": [-x for x in samples()["real_a"]]}
    translated = translate_samples(given, {"gen_ab": Negative(), "gen_ba": Constant()}, "cpu")

    def judge(picture):
        return called_real(-picture, mode="vanilla")  # Calls bright pictures fake.

    metrics = sample_metrics(given, translated, {"a": judge, "b": judge}, "cpu")
    assert metrics["truth_l1_ab"] == 0 and metrics["diversity_ab"] == pytest.approx(1.0, rel=1e-4)
    assert metrics["diversity_ba"] == pytest.approx(0.0, abs=1e-6)
    expected = np.mean([(0.25 - x).abs().mean() for x in given["real_a"]]) * 127.5
    assert metrics["reconstruction_l1_ab"] == pytest.approx(expected, rel=1e-5)
    dark = np.mean([float((x < 0).float().mean()) for x in given["real_a"]])
    # Fakes of a are all 0.25, so their logits are below 0: called fake, rightly.
    assert metrics["disc_accuracy_a"] == pytest.approx((dark + 1) / 2)
    assert "disc_accuracy_a" not in sample_metrics(given, translated, {"b": judge}, "cpu")


def test_one_direction_alone_has_no_way_back():
    given = samples()
    translated = translate_samples(given, {"gen_ab": Negative()}, "cpu")
    judge = {"a": lambda picture: picture < 0, "b": lambda picture: picture < 0}
    assert list(translated) == ["ab"] and translated["ab"].rec is None
    assert sample_metrics(given, translated, judge, "cpu").keys() == {"change_l1_ab", "diversity_ab", "disc_accuracy_b"}
    assert sample_grid(translated["ab"], NAMES, count=2).width == 2 * 128 + 3 * 4


@pytest.mark.parametrize(
    ("method", "tighter", "looser"),
    [
        ("cyclegan", "raise --lambda_cycle_a/--lambda_cycle_b or lower --lr", "lower --lambda_identity, or raise"),
        ("cut", "raise --lambda_nce or lower --lr", "lower --lambda_nce, or raise --lambda_gan"),
        ("bigan", "epoch or lower --lr", "resume from an earlier epoch"),
    ],
)
def test_warnings_speak_of_what_went_wrong_and_of_nothing_else(method, tighter, looser):
    good, options = {"diversity_ab": 0.9, "change_l1_ab": 30.0, "disc_accuracy_b": 0.8}, METHOD_CONFIGS[method]()
    assert warnings(good, NAMES, options) == []
    (collapsed,) = map(str, warnings({**good, "diversity_ab": 0.05}, NAMES, options))
    assert "day → night" in collapsed and "alike" in collapsed and "5%" in collapsed and tighter in collapsed
    (unchanged,) = map(str, warnings({**good, "change_l1_ab": 0.2}, NAMES, options))
    assert "equal their inputs" in unchanged and looser in unchanged
    (won,) = map(str, warnings({**good, "disc_accuracy_b": 1.0}, NAMES, options))
    for kind in ("pixel", "coupled"):  # They have no layers to leave out.
        (other,) = map(str, warnings({**good, "disc_accuracy_b": 1.0}, NAMES, options, kind))
        assert other.endswith("if it persists, lower --ndf") and "--n_layers_d or --ndf" in won
    assert "night" in won and "discriminator" in won
    offered = {f.name for f in dataclasses.fields(options)} | {"lr", "n_layers_d", "ndf"}
    assert set(re.findall(r"--(\w+)", " ".join([collapsed, unchanged, won]))) <= offered


def test_the_grid_has_a_row_per_picture_and_a_column_per_stage():
    translated = translate_samples(samples(), {"gen_ab": Negative(), "gen_ba": Negative()}, "cpu")["ab"]
    grid = sample_grid(translated, NAMES, count=2)
    # 32 px pictures are enlarged to 128; 22 px of captions, gaps of 4.
    assert grid.size == (3 * 128 + 4 * 4, 22 + 2 * 128 + 3 * 4)
    tile = np.asarray(grid.crop((4, 26, 132, 154)), dtype=np.int16)
    assert np.abs(tile - np.asarray((translated.real[0][:, 0, 0] + 1) * 127.5)).max() <= 1
    fake = np.asarray(grid.crop((136, 26, 264, 154)), dtype=np.int16)
    assert np.abs(tile + fake - 255).max() <= 1
    translated.truth = translated.real
    assert sample_grid(translated, NAMES, count=9).size == (4 * 128 + 5 * 4, 22 + 4 * 128 + 5 * 4)


def test_a_caption_that_is_too_long_for_its_column_takes_two_lines():
    translated = translate_samples(samples(), {"gen_ab": Negative()}, "cpu")["ab"]
    short, long = (sample_grid(translated, {"a": name, "b": name}, count=1) for name in ("day", "aerial photographs"))
    assert long.width == short.width and long.height == short.height + 16
    longer = np.asarray(sample_grid(translated, {"a": "w" * 99, "b": "aerial photographs"}, count=1).convert("L"))
    assert longer.shape[0] == long.height and (longer[:38, 132:136] == 255).all(), "shortened within its column"
    tall = [torch.zeros(3, 96, 64)] * 2
    translated = TranslatedSamples("ab", ["x"] * 2, tall, tall, None, None, None)
    shown = np.asarray(sample_grid(translated, dict.fromkeys("ab", "golden hour"), count=1))[20:36, 4:68]
    whole = Image.new("RGB", (72, 40), "white")
    ImageDraw.Draw(whole).text((4, 20), "golden hour", fill="#222222", font=ImageFont.load_default(10))
    assert (shown == np.asarray(whole)[20:36, 4:68]).all(), "in smaller letters, not cut"


@pytest.mark.parametrize("values, least, most", [
    ([0.5], 0, 0.7), ([0.5, 0.5001], 0, 0.6), ([0.0], 0, 2), ([-0.5], -0.7, 0), ([-0.2, 0.3], -0.3, 0.4), ([], 0, 1),
])  # fmt: skip
@pytest.mark.parametrize("first", [1, 200])
def test_axes_are_sane_however_few_points_there_are(values, least, most, first):
    axes = Figure().subplots()
    epochs = range(first, first + len(values))
    if values:
        axes.plot(epochs, values)
    fit_axes(axes)
    (bottom, top), (left, right) = axes.get_ylim(), axes.get_xlim()
    assert least <= bottom <= 0 <= top <= most and top - bottom > 0.3
    ticks = [tick for tick in axes.get_xticks() if left <= tick <= right]
    assert all(tick == round(tick) for tick in ticks)
    if len(values) == 1:
        assert ticks == [first]


def test_metrics_are_rewound_to_the_step_that_is_resumed(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.append({"event": "step", "epoch": 1, "step": step, "losses": {"cycle_a": 0.5}})
    with open(log.path, "a") as file:
        file.write('{"event": "st')  # A crash amid a line.
    log.rewind(2)
    assert [row["step"] for row in log.read()] == [1, 2]
    assert all(json.loads(line) for line in log.path.read_text().splitlines())


def test_legends_of_curves_have_the_domains_names():
    names = {"a": "day", "b": "night"}
    shown = [line_name(key, names) for key in ("cycle_a", "gan_ba", "extra")]
    assert shown == ["day", "night → day", "extra"]
    assert line_name("gan_ab", {}) == "A → B"


def test_curves_are_drawn_for_any_history(tmp_path):
    losses = {"gan_ab": 0.5, "cycle_a": 0.2}
    rows = [{"event": "step", "epoch": 1, "step": s, "losses": losses} for s in range(1, 9)]
    sizes = []
    for history in ([], rows, [*rows, {"event": "epoch", "epoch": 1, "step": 8, "losses": losses}]):
        draw_curves(history, tmp_path / "curves.png", "day ↔ night", {"a": "day", "b": "night"})
        with Image.open(tmp_path / "curves.png") as image:
            sizes.append(len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)))
    assert sizes[2] > 20
