"""`python -m cyclegan`: translate, import, streets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclegan.cli import make_parser, run_command
from cyclegan.config import DIRECTIONS, ConfigError
from hub import HubError


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = make_parser("python -m cyclegan", "Translate pictures, import weights, write the built-in data set.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=help, description=help, formatter_class=parser.formatter_class, allow_abbrev=False
        )
        sub.set_defaults(run=run)
        return sub

    sub = add("translate", translate, "translate a picture or a folder of pictures")
    sub.add_argument("--checkpoints", required=True, metavar="SOURCE",
                     help="folder of a run or of one epoch; or USER/NAME, USER/NAME@epoch-0012 on the Hub")
    sub.add_argument("--epoch", default="latest", type=_epoch, metavar="N", help="which epoch, or latest")
    sub.add_argument("--direction", required=True, choices=DIRECTIONS, help="ab: A → B, ba: B → A")
    sub.add_argument("--input", required=True, type=Path, metavar="PATH", help="a picture, or a folder of pictures")
    sub.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="PATH",
        help="a .png file for one picture, else a folder, which is made if need be",
    )
    sub.add_argument("--reconstruct", action="store_true", help="also write the way back, F(G(x)), as NAME_rec.png")
    sub.add_argument(
        "--size",
        type=_positive,
        default=None,
        metavar="N",
        help="work at this length of the shorter side and scale back (default: the picture's own size)",
    )
    sub.add_argument("--device", default=None, help="cpu, cuda, cuda:1, mps; chosen if not given")

    sub = add("import", import_weights, "turn weights of the reference implementation into a checkpoint")
    sub.add_argument(
        "--from",
        dest="files",
        required=True,
        nargs="+",
        metavar="FILE",
        help="latest_net_G_A.pth and latest_net_G_B.pth, or one of them; hub:USER/NAME:FILE downloads one from the Hub",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="RUN", help="folder of the run to write")
    sub.add_argument("--epoch", type=_positive, default=1, metavar="N", help="number of the epoch to write it as")
    sub.add_argument("--domain_a", default="A", help="name of domain A")
    sub.add_argument("--domain_b", default="B", help="name of domain B")
    sub.add_argument("--crop_size", type=_positive, default=256, metavar="N", help="size that it was trained at")

    sub = add("streets", write_streets, "write the built-in day/night scenes as folders, with labels and truth")
    sub.add_argument(
        "--spec",
        default="streets",
        metavar="SPEC",
        help="as for --dataset, e.g. streets:count=400,size=256,seed=1,pedestrian_b=0",
    )
    sub.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder to write, empty or new")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _epoch(text: str) -> int | None:
    return None if text == "latest" else _positive(text)


def translate(args: argparse.Namespace) -> int:
    """Translate one picture or a folder; 1 if any picture failed."""
    from tqdm import tqdm

    from cyclegan.checkpoint import CheckpointError
    from cyclegan.images import IMAGE_SUFFIXES, ImageError, list_images, open_image
    from cyclegan.translator import Translator, save_png
    from hub import open_source

    single = not args.input.is_dir()
    if single and not args.input.exists():
        raise ConfigError(f"--input {args.input} does not exist: name a picture or a folder")
    paths = [args.input] if single else list_images(args.input)
    if not paths:
        raise ConfigError(f"--input {args.input} holds no pictures")
    to_file = single and args.output.suffix.lower() == ".png" and not args.output.is_dir()
    if not single and args.output.suffix.lower() == ".png" and not args.output.is_dir():
        raise ConfigError(f"--output {args.output.name} names one picture, but --input is a folder: name a folder")
    if args.output.suffix.lower() in IMAGE_SUFFIXES - {".png"} and not args.output.is_dir():
        raise ConfigError(f"--output {args.output.name} is no PNG: results are written as .png, or into a folder")
    folder = args.output.parent if to_file else args.output
    if folder.resolve() == (args.input.parent if single else args.input).resolve() and not to_file:
        raise ConfigError("--output is the folder of the input: choose another, so that no picture is overwritten")
    if to_file and args.output.resolve() == args.input.resolve():
        raise ConfigError("--output is the input itself: choose another name")
    translator = Translator(open_source(args.checkpoints).load(args.epoch), _device(args.device))
    if args.reconstruct and len(translator.generators) < 2:
        raise CheckpointError("this checkpoint has one direction only, so --reconstruct has no way back")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {folder} can't be made ({error.strerror}): choose another folder") from error

    failed = []
    names = _output_names(paths, reconstruct=args.reconstruct)
    for path in tqdm(paths, unit="picture", disable=single):
        target = args.output if to_file else folder / names[path]
        try:
            image = open_image(path)
            result = translator.translate(image, args.direction, reconstruct=args.reconstruct, size=args.size)
            save_png(result.fake, target, checkpoint=translator.checkpoint, direction=args.direction)
            if result.rec is not None:
                rec = target.with_name(f"{target.stem}_rec.png")
                save_png(result.rec, rec, checkpoint=translator.checkpoint, direction=args.direction)
        except ImageError as error:
            failed.append(str(error))
        except OSError as error:
            raise ConfigError(
                f"{target} can't be written ({error.strerror or error}): free space or choose another --output"
            ) from error
    for sentence in failed:
        print(f"error: {sentence}", file=sys.stderr)
    epoch, done = translator.checkpoint.info.epoch, len(paths) - len(failed)
    print(f"{done} of {len(paths)} pictures translated with epoch {epoch}, written to {args.output}")
    return 1 if failed else 0


def _device(name: str | None) -> str | None:
    import torch

    if name is None:
        return None
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} is not here: {str(error).splitlines()[0]}") from error
    return name


def _output_names(paths: Sequence[Path], *, reconstruct: bool) -> dict[Path, str]:
    """NAME.png for each input, or NAME.SUFFIX.png where inputs differ in their suffix only; no two alike."""
    stems = [path.stem.casefold() for path in paths]
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        first = [path.stem] if stems.count(path.stem.casefold()) == 1 else []
        for name in (*first, path.name, *(f"{path.name}-{n}" for n in range(2, len(paths) + 2))):
            wanted = {f"{name}.png".casefold()}
            if reconstruct:
                wanted.add(f"{name}_rec.png".casefold())
            if not wanted & taken:
                break
        taken |= wanted
        names[path] = f"{name}.png"
    return names


def import_weights(args: argparse.Namespace) -> int:
    """Write a checkpoint from `.pth` files of the reference implementation."""
    from cyclegan.checkpoint import (
        GENERATOR_OF,
        CheckpointConfig,
        CheckpointError,
        epoch_name,
        save_checkpoint,
    )
    from cyclegan.config import DataConfig
    from cyclegan.reference import import_reference

    target = args.output / epoch_name(args.epoch)
    if target.exists():
        raise CheckpointError(f"{target} exists already: choose another --epoch or --output")
    files = [_fetched(name) for name in args.files]
    found = import_reference(files)
    model = next(iter(found.values()))[0]
    data = DataConfig(
        dataset="unknown",
        domain_a=args.domain_a,
        domain_b=args.domain_b,
        crop_size=args.crop_size,
        load_size=round(args.crop_size * 286 / 256),
    )
    data.validate()
    save_checkpoint(
        args.output,
        epoch=args.epoch,
        weights={GENERATOR_OF[direction]: state for direction, (_, state) in found.items()},
        config=CheckpointConfig(model=model, data=data),
        record={"global_step": 0, "weights": "imported", "files": [path.name for path in files]},
    )
    ways = " and ".join("A → B" if d == "ab" else "B → A" for d in found)
    print(f"{model.generator}, ngf {model.ngf}, {ways}: written to {target}")
    return 0


def _fetched(name: str) -> Path:
    """The file itself, or where one of the Hub was downloaded to."""
    if not name.startswith("hub:"):
        return Path(name)
    from hub.source import fetch_file

    return fetch_file(name.removeprefix("hub:"))


def write_streets(args: argparse.Namespace) -> int:
    """Write the built-in data set to disk."""
    from cyclegan.data.streets import StreetsSpec, write_streets

    write_streets(StreetsSpec.parse(args.spec), args.output)
    print(
        f"written to {args.output}; train on it with: python train_accelerate.py --dataset {args.output} "
        "--output_dir runs/streets"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status. Every error meant for people is a ValueError of ours, or the Hub's."""
    args = build_parser().parse_args(argv)
    return run_command(lambda: args.run(args), (ValueError, HubError))


if __name__ == "__main__":
    sys.exit(main())
