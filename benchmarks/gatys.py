"""Neural style transfer next to CycleGAN on the same pictures, as in the paper's Figures 15 and 16.

    python -m benchmarks.gatys
    python -m benchmarks.gatys --run USER/NAME --dataset data/maps --features vgg19

For each test picture (Gatys et al. 2016): from the picture itself, L-BFGS lowers a content loss, on the features of a
middle layer, plus `--style` × the mean over layers of a style loss, on Gram matrices. The style is that of one real
picture of the target (two are tried), or the Gram matrices averaged over the target's training pictures. Each loss is
divided by the mean square of what it compares with, so that one `--style` fits all networks. Where the truth is known,
the mean distance to it stands under each column, with those of the untranslated input and of one colour.

`lite0`, which needs no download, was trained for the same task as VGG-19, but style transfer is weaker by it: its
pictures are smoother than published ones. `vgg19` is the network that was published, with average pooling.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from benchmarks.machine import describe
from cyclegan.cli.progress import progress_bar
from cyclegan.evaluation.scores.evaluate import Evaluator, data_config, translate_all
from cyclegan.evaluation.scores.sets import evenly
from cyclegan.images import mean_difference, to_image, to_tensor
from cyclegan.networks.features import build_features
from cyclegan.translation.translator import Translator
from hub import open_source

TAKES = "about 3 minutes on two cores"
REPORT = Path(__file__).parent / "reports" / "gatys"
TRAINED = 200
"""Training pictures whose Gram matrices are averaged, at most."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Layers = Callable[[Tensor], tuple[Tensor, list[Tensor]]]


def lite0() -> Layers:
    """Return EfficientNet-Lite0: content of its third stage; style of the stem and of stages 1, 2, 3 and 5."""
    features = build_features("lite0")

    def layers(pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = features.network.bn1(features.network.conv_stem(features.prepared(pictures)))
        style, content = [x], x
        for number, stage in enumerate(features.network.blocks[:5]):
            x = stage(x)
            if number in (0, 1, 2, 4):
                style.append(x)
            if number == 2:
                content = x
        return content, style

    return layers


def vgg19(weights: Path | None) -> Layers:
    """Return VGG-19: content is conv4_2, style conv1_1, conv2_1, conv3_1, conv4_1 and conv5_1, after their ReLUs.

    Args:
        weights: a file with torchvision's weights; None downloads them.
    """
    from torchvision.models import VGG19_Weights
    from torchvision.models import vgg19 as build

    try:
        network = build(weights=None if weights else VGG19_Weights.IMAGENET1K_V1)
        if weights:
            network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        sys.exit(f"VGG-19's weights can't be had ({error}): give torchvision's file with --vgg_weights FILE, "
                 "or use --features lite0")  # fmt: skip
    steps = [
        nn.AvgPool2d(2) if isinstance(step, nn.MaxPool2d) else nn.ReLU() if isinstance(step, nn.ReLU) else step
        for step in network.features[:30]
    ]
    network = nn.ModuleList(steps).eval().requires_grad_(False)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))

    def layers(pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, style, content = ((pictures + 1) / 2 - mean) / deviation, [], None
        for number, step in enumerate(network):
            x = step(x)
            if number in (1, 6, 11, 20, 29):
                style.append(x)
            if number == 22:
                content = x
        assert content is not None
        return content, style

    return layers


def gram(features: Tensor) -> Tensor:
    """Return the Gram matrix (C, C) of features (1, C, H, W), divided by their number of places."""
    flat = features[0].flatten(1)
    return flat @ flat.T / flat.shape[1]


def grams_of(layers: Layers, picture: Image.Image) -> list[Tensor]:
    """Return a picture's Gram matrices."""
    with torch.inference_mode():
        return [gram(style) for style in layers(to_tensor(picture)[None])[1]]


def transferred(layers: Layers, picture: Image.Image, style: list[Tensor], weight: float, steps: int) -> Image.Image:
    """Return a picture in a style.

    Args:
        style: the Gram matrices aimed at.
        weight: of the style loss; the content loss has 1.
        steps: iterations of L-BFGS.
    """
    start = to_tensor(picture)[None]
    with torch.no_grad():
        content = layers(start)[0]
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=0)

    def loss() -> Tensor:
        optimizer.zero_grad()
        found, styles = layers(x)
        of_content = (found - content).square().mean() / content.square().mean()
        of_style = torch.stack([
            (gram(each) - aim).square().mean() / aim.square().mean() for each, aim in zip(styles, style, strict=True)
        ]).mean()  # fmt: skip
        total = of_content + weight * of_style
        total.backward()
        return total

    optimizer.step(loss)
    return to_image(x.detach()[0].clamp(-1, 1))


def grid(columns: dict[str, list[Image.Image]], under: dict[str, str], size: int) -> Image.Image:
    """Return pictures by rows under their column's name, at `size` pixels, with a line below each column."""
    gap, head, font = 6, 26, ImageFont.load_default(13)
    rows = max(map(len, columns.values()))
    sheet = Image.new("RGB", (len(columns) * (size + gap) + gap, head + rows * (size + gap) + 24), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (name, pictures) in enumerate(columns.items()):
        left = gap + place * (size + gap)
        draw.text((left, 6), name, "black", font)
        for row, picture in enumerate(pictures):
            sheet.paste(picture.resize((size, size), Image.Resampling.LANCZOS), (left, head + row * (size + gap)))
        draw.text((left, sheet.height - 21), under.get(name, ""), "black", font)
    return sheet


def main() -> int:
    """Transfer, compare and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="demo/streets", help="CycleGAN's run: a folder, or USER/NAME on the Hub")
    parser.add_argument("--dataset", default=None, help="data set (default: the run's)")
    parser.add_argument("--direction", choices=("ab", "ba"), default="ab")
    parser.add_argument("--pictures", type=int, default=4, help="test pictures")
    parser.add_argument("--features", choices=("lite0", "vgg19"), default="lite0")
    parser.add_argument("--vgg_weights", type=Path, help="file with torchvision's VGG-19, in place of a download")
    parser.add_argument("--style", type=float, default=100.0, help="weight of the style loss")
    parser.add_argument("--steps", type=int, default=80, help="iterations of L-BFGS for a picture")
    parser.add_argument("--output", type=Path, default=REPORT, help="folder of the report")
    args = parser.parse_args()
    layers = lite0() if args.features == "lite0" else vgg19(args.vgg_weights)
    source, began = open_source(args.run), time.monotonic()
    info = source.list()[0]
    test = Evaluator(data_config(args.dataset, info, source), scores=["collapse"], device="cpu").test(args.direction)
    chosen = evenly(min(args.pictures, len(test.inputs)), len(test.inputs))
    inputs = [test.inputs[index] for index in chosen]
    examples = [test.trained[0], test.trained[len(test.trained) // 2]]
    styles = {f"style picture {number}": grams_of(layers, each) for number, each in enumerate(examples, 1)}
    averaged = progress_bar(iterable=range(min(TRAINED, len(test.trained))), desc="styles", unit="picture")
    whole = [grams_of(layers, test.trained[index]) for index in averaged]
    styles["whole target"] = [torch.stack(each).mean(0) for each in zip(*whole, strict=True)]
    columns: dict[str, list[Image.Image]] = {"input": inputs}
    with progress_bar(total=len(styles) * len(inputs), unit="picture") as bar:
        for name, style in styles.items():
            columns[name] = []
            for picture in inputs:
                columns[name].append(transferred(layers, picture, style, args.style, args.steps))
                bar.update()
    columns["CycleGAN"] = translate_all(Translator(source.load(info.epoch), "cpu"), inputs, args.direction)
    figures: dict[str, float] = {}
    if test.has_truth:
        truths = [picture for index in chosen if (picture := test.truth(index)) is not None]
        plain = [Image.new("RGB", picture.size, test.colour) for picture in inputs]
        for name, answers in {**columns, "one colour": plain}.items():
            pairs = zip(answers, truths, strict=True)
            figures[name] = round(float(np.mean([mean_difference(*pair) for pair in pairs])), 1)
        columns["truth"] = truths
    write(args, columns, examples, figures, time.monotonic() - began)
    return 0


def write(
    args: argparse.Namespace, columns: dict[str, list[Image.Image]], examples: list[Image.Image],
    figures: dict[str, float], seconds: float,
) -> None:  # fmt: skip
    """Write OUTPUT/report.json, README.md, grid.png and styles.png."""
    args.output.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gatys", *sys.argv[1:]])
    report: dict[str, Any] = {
        "command": command, "machine": describe(), "run": args.run, "direction": args.direction,
        "features": args.features, "style_weight": args.style, "steps": args.steps,
        "pictures": len(columns["input"]), "l1_to_truth": figures or None, "seconds": round(seconds, 1),
    }  # fmt: skip
    (args.output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    grid(columns, {name: f"{value} from the truth" for name, value in figures.items()}, 168).save(
        args.output / "grid.png", optimize=True
    )
    grid({f"style picture {n}": [each] for n, each in enumerate(examples, 1)}, {}, 168).save(
        args.output / "styles.png", optimize=True
    )
    one_colour = f"; one colour alone is {figures['one colour']} from it" if figures else ""
    machine = report["machine"]
    lines = [
        "# Neural style transfer next to CycleGAN", "", f"    {command}", "",
        f"{args.run}, {args.direction}; features of {args.features}, style × {args.style:g}, {args.steps} iterations "
        f"of L-BFGS from the input; {seconds:.0f} s in all on {machine['gpu'] or machine['processor']}, "
        f"torch {machine['torch']}, commit {machine['commit']}.", "",
        "![The same pictures by each](grid.png)", "",
        f"Under the columns: mean distance to the truth in grey levels{one_colour}." if figures else "",
        "", "The two style pictures:", "", "![Style pictures](styles.png)", "",
        "Style transfer takes colours and small patterns from the style, and doesn't know what belongs where; the "
        "averaged style of a whole collection is the fairest form of it (section 5.2, Figures 15 and 16).", "",
    ]  # fmt: skip
    (args.output / "README.md").write_text("\n".join(lines), encoding="utf-8")
    print(f"written: {args.output / 'README.md'}")


if __name__ == "__main__":
    sys.exit(main())
