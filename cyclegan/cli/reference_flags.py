"""The flags of the reference implementation, and the line that does the same here.

People who come from junyanz/pytorch-CycleGAN-and-pix2pix type its flags at our programs. The answer is the whole line,
ready to paste, and a note on each flag that differs or has no counterpart. Loads no torch, so that it comes at once.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cyclegan.cli.near import nearest
from cyclegan.config import METHOD_CONFIGS, ModelConfig, OptimConfig, RunConfig, TrainConfig

REFERENCE = "junyanz/pytorch-CycleGAN-and-pix2pix"


@dataclass(frozen=True)
class _Flag:
    """A flag of the reference.

    Attributes:
        here: our flag that takes the same value; "" where there is none.
        words: our words for some of its values; "" for what is so here anyway.
        note: on a value that is in neither; with `here`, on every value.
        bare: it takes no value.
        option: our flag for the same thing, whose own values people mix in.
    """

    here: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    bare: bool = False
    option: str = ""

    def words_for(self, value: str) -> list[str] | None:
        """Return our words for a value, theirs or one of ours; None where there are none."""
        if value in self.words:
            return shlex.split(self.words[value])
        if self.here:
            return [self.here, value]
        return [self.option, value] if self.option and value in _choices(self.option) else None


def _choices(flag: str) -> Collection[str]:
    """Return the values of a flag of ours that takes one of a few."""
    fields = (f for kind in (ModelConfig, OptimConfig, RunConfig) for f in dataclasses.fields(kind))
    return next((f.metadata["choices"] for f in fields if f"--{f.name}" == flag), None) or ()


_UNNEEDED = _Flag()
_VISDOM = _Flag(note="there is no visdom or HTML page; samples and curves are in the run's folder and in app.py")
_OWN_TIMES = _Flag(note="the checkpoint and the training state of every epoch are saved")
_TEST_ONLY = _Flag(note="is for test.py; see python -m cyclegan translate --help")
_SUFFIX = _Flag(note="left out; write the whole name into --output_dir")
_SCHEDULE = "the learning rate is constant for --epochs, then falls linearly over --decay_epochs"
_GREY = "pictures are read as RGB here, grey ones too"

BOTH = {
    "gpu_ids": _UNNEEDED, "name": _UNNEEDED, "checkpoints_dir": _UNNEEDED,  # See `_launcher` and `_run_folder`.
    "input_nc": _Flag(words={"3": ""}, note=_GREY), "output_nc": _Flag(words={"3": ""}, note=_GREY),
    "load_size": _Flag("--load_size"), "crop_size": _Flag("--crop_size"), "display_winsize": _UNNEEDED,
    "verbose": _Flag(bare=True), "no_dropout": _Flag(bare=True), "suffix": _SUFFIX, "load_iter": _UNNEEDED,
}  # fmt: skip
"""Flags that mean the same in train.py and in test.py."""

TRAIN = BOTH | {
    "dataroot": _Flag("--dataset"),
    "model": _Flag(words={"cycle_gan": "", "pix2pix": "--method pix2pix"}, option="--method",
                   note="has no counterpart; see --method"),
    "dataset_mode": _Flag(
        words={"unaligned": ""}, note="the layout of --dataset is recognised by itself; pix2pix trains on its pairs, "
        "CycleGAN on two separate sets"
    ),
    "direction": _Flag(words={"AtoB": "--direction ab", "BtoA": "--direction ba"}, here="--direction"),
    "netG": _Flag(
        words={"resnet_9blocks": "--generator resnet_9", "resnet_6blocks": "--generator resnet_6",
               "unet_256": "--generator unet_256", "unet_128": "--generator unet_128"},
        note="has no counterpart; see --generator", option="--generator",
    ),
    "netD": _Flag(
        words={"basic": "--discriminator patch", "n_layers": "--discriminator patch", "pixel": "--discriminator pixel"},
        note="has no counterpart; see --discriminator", option="--discriminator",
    ),
    "n_layers_D": _Flag("--n_layers_d"),
    "norm": _Flag(
        words={"instance": ""}, note="networks here always have instance norm, which at --batch_size 1 with "
        "--norm_affine is the same as batch norm"
    ),
    "init_type": _Flag(words={"normal": ""}, note="initial weights are always normal here; see --init_gain"),
    "preprocess": _Flag(words={"resize_and_crop": "--preprocess resize_crop", "crop": "--preprocess crop",
                               "scale_width": "--preprocess scale_width", "none": "--preprocess none",
                               "scale_width_and_crop": "--preprocess scale_width_crop"}, here="--preprocess"),
    "no_flip": _Flag(words={"": "--no-flip"}, bare=True),
    "serial_batches": _Flag(note="the order is random here; see --order", bare=True),
    "num_threads": _Flag("--num_workers"),
    "batch_size": _Flag("--batch_size"),
    "max_dataset_size": _Flag("--max_images"),
    "n_epochs": _Flag("--epochs"), "n_epochs_decay": _Flag("--decay_epochs"),
    "continue_train": _Flag(
        words={"": "--resume auto"}, note="continues runs of this program, not those of the reference", bare=True
    ),
    "epoch_count": _Flag(note="--resume auto counts on by itself"),
    "epoch": _Flag(words={"latest": ""}, note="--resume auto continues from the newest training state"),
    "lambda_A": _Flag("--lambda_cycle_a"), "lambda_B": _Flag("--lambda_cycle_b"),
    "lambda_identity": _Flag("--lambda_identity"), "lambda_L1": _Flag("--lambda_l1"),
    "gan_mode": _Flag(words={"wgangp": "--gan_mode wgan_gp"}, here="--gan_mode"),
    "no_lsgan": _Flag(words={"": "--gan_mode vanilla"}, bare=True),
    "lr_policy": _Flag(
        words={"linear": "", "lambda": "", "cosine": "--schedule cosine", "plateau": "--schedule plateau"},
        note=_SCHEDULE, option="--schedule",
    ), "lr_decay_iters": _Flag(note=_SCHEDULE),
    "print_freq": _Flag("--log_every"),
    "use_wandb": _Flag(words={"": "--report_to wandb"}, bare=True),
    "wandb_project_name": _Flag(note="set the variable WANDB_PROJECT"),
    "phase": _Flag(words={"train": ""}, note="training uses the pictures of train"),
    "display_id": _VISDOM, "display_freq": _VISDOM, "display_ncols": _VISDOM, "display_server": _VISDOM,
    "display_env": _VISDOM, "display_port": _VISDOM, "update_html_freq": _VISDOM,
    "no_html": _Flag(bare=True),
    "save_epoch_freq": _OWN_TIMES, "save_latest_freq": _OWN_TIMES,
    "save_by_iter": _Flag(note=_OWN_TIMES.note, bare=True),
    "results_dir": _TEST_ONLY, "num_test": _TEST_ONLY, "aspect_ratio": _TEST_ONLY, "model_suffix": _TEST_ONLY,
}  # fmt: skip
"""Flags of train.py. A name that is a flag of ours, too, is here for its values."""

TEST = BOTH | dict.fromkeys(
    ("dataroot", "results_dir", "model", "model_suffix", "dataset_mode", "phase", "netG", "netD", "n_layers_D", "ngf",
     "ndf", "norm", "init_type", "init_gain", "num_threads", "batch_size", "preprocess", "max_dataset_size",
     "load_size", "crop_size"),
    _UNNEEDED,
) | {
    "direction": _Flag(words={"AtoB": "--direction ab", "BtoA": "--direction ba"}, here="--direction"),
    "epoch": _Flag("--epoch"),
    "num_test": _Flag(note="every picture of the folder is translated"),
    "aspect_ratio": _Flag(note="results have the shape of the input"),
    "no_flip": _Flag(bare=True), "serial_batches": _Flag(bare=True), "eval": _Flag(bare=True),
}  # fmt: skip
"""Flags of test.py. `_translate_lines` reads those that are here without words."""

OLD_NAMES = {
    "niter": "n_epochs", "niter_decay": "n_epochs_decay", "loadSize": "load_size", "fineSize": "crop_size",
    "batchSize": "batch_size", "which_direction": "direction", "which_epoch": "epoch", "nThreads": "num_threads",
    "resize_or_crop": "preprocess", "which_model_netG": "netG", "which_model_netD": "netD",
    "identity": "lambda_identity", "how_many": "num_test", "ntest": "num_test", "align_data": "dataset_mode",
}  # fmt: skip
"""Flags' older names, which tutorials still have."""


@dataclass
class _Line:
    """A command line, taken apart.

    Attributes:
        theirs: values of the reference's flags by their present names, "" for those without.
        typed: the reference's flags that aren't ours, as they were typed.
        words: the words for our line, with ours as they were.
        notes: by the flag as it was typed.
        left_out: flags with values that nothing in our line stands for, as they were typed.
    """

    theirs: dict[str, str] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def value(self, flag: str, default: str = "") -> str:
        """Return the value of our flag, the default where the line has none."""
        return self.words[self.words.index(flag) + 1] if flag in self.words[:-1] else default

    def put(self, flag: str, value: str) -> None:
        """Set the value of our flag."""
        if flag in self.words:
            self.words[self.words.index(flag) + 1] = value
        else:
            self.words += [flag, value]

    def drop(self, flag: str) -> None:
        """Leave our flag out, with its value."""
        if flag in self.words:
            place = self.words.index(flag)
            del self.words[place : place + 2]


def _take_apart(
    argv: Sequence[str], table: Mapping[str, _Flag], ours: Collection[str], known: Collection[str] = ()
) -> _Line:
    """Return the line with the reference's flags replaced one by one.

    Args:
        ours: names in `table` that are flags of ours, too, so that some of their values are no reason to object.
        known: all flags of ours; flags in neither are taken for the nearest of them, or left out. None are left out
            if it is empty.
    """
    line, rest = _Line(), list(argv)
    while rest:
        word = rest.pop(0)
        typed, equals, value = word.partition("=")
        name = OLD_NAMES.get(typed[2:], typed[2:])
        flag = table.get(name) if typed.startswith("--") else None
        if flag is None:
            words = [typed, value] if equals and typed.startswith("--") else [word]
            if known and typed.startswith("--") and typed not in known:
                near = nearest(typed, known)
                line.notes[typed] = f"taken for {near}" if near else (
                    "is known neither here nor there, so it is left out"
                )
                while not near and rest and not rest[0].startswith("--"):
                    rest.pop(0)
                words = [near, *words[1:]] if near else []
            line.words += words
            continue
        if not flag.bare and not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        found = flag.words_for(value)
        words = found or []
        if typed[2:] not in ours or words != [typed, value]:
            line.typed.append(f"{typed} {value}" if typed[2:] in ours else typed)
        if not flag.bare and not value.strip(" ,;"):
            line.notes[typed] = "has no value in the line that was typed"
            value, words = "", []
        elif flag.note and (found is None or flag.bare or flag.here and value not in flag.words):
            line.notes[typed] = flag.note
            if flag.words and found is None and not flag.bare:
                line.left_out.append(f"{typed} {value}")
        line.theirs[name] = value
        line.words += words
    return line


def _run_folder(line: _Line) -> str:
    """Return the folder that the reference would use for the run."""
    return str(Path(line.theirs.get("checkpoints_dir") or "checkpoints", line.theirs.get("name") or "experiment_name"))


def _train_line(line: _Line) -> list[str]:
    """Return the words before and of the line that trains."""
    theirs = line.theirs
    if "--output_dir" not in line.words:
        line.put("--output_dir", _run_folder(line))
    if "n_layers_D" in theirs and theirs.get("netD") != "n_layers":  # The reference ignores it then.
        line.drop("--n_layers_d")
        line.notes["--n_layers_D"] = "counts only with --netD n_layers, so it is left out"
    epoch = theirs.get("epoch", "")
    if epoch.isdecimal() and not {"continue_train", "n_epochs"} & theirs.keys() and "--epochs" not in line.words:
        line.put("--epochs", epoch)
        line.left_out = [each for each in line.left_out if not each.startswith("--epoch ")]
        line.notes["--epoch"] = "taken for --epochs; there, it names the epoch to load"
    if theirs.get("preprocess") == "scale_width":
        line.put("--crop_size", line.value("--load_size", "286"))
        line.drop("--load_size")
        line.notes["--preprocess scale_width"] = "the width is --crop_size here, --load_size there"
    _fit_method(line)
    return _launcher(line) + line.words


def _gpus(line: _Line) -> list[str]:
    """Return the numbers of --gpu_ids, ["-1"] for the CPU, ["0"] where they aren't known."""
    ids = [number.strip() for number in line.theirs.get("gpu_ids", "").split(",") if number.strip()]
    if all(number.lstrip("-").isdecimal() for number in ids):
        # The reference leaves negative numbers out, and without any other it takes the CPU.
        return list(dict.fromkeys(number for number in ids if number[0] != "-")) or ["-1" if ids else "0"]
    line.notes["--gpu_ids"] = "isn't a list of GPUs such as 0,1 in the line that was typed, so it is left out"
    return ["0"]


def _fit_method(line: _Line) -> None:
    """Leave out what the method hasn't, and say in our words what the reference's flags say for it."""
    name = line.value("--method", RunConfig.method)
    kind = METHOD_CONFIGS.get(name, METHOD_CONFIGS[RunConfig.method])
    options = {f.name for f in dataclasses.fields(kind)}
    if "direction" not in options and line.value("--direction") == "ba":
        line.notes["--direction"] = "both directions are trained; swap trainA and trainB to swap their names"
    if "lambda_l1" not in options and "lambda_L1" in line.theirs:
        line.notes["--lambda_L1"] = "is pix2pix's, so it is left out"
    for flag in ("direction", "lambda_l1"):
        if flag not in options:
            line.drop(f"--{flag}")
    if "no_dropout" in line.theirs and kind.defaults.get("dropout"):
        line.words.append("--no-dropout")


def _launcher(line: _Line) -> list[str]:
    """Return the words that start the training on the devices of --gpu_ids."""
    ids = _gpus(line)
    if ids == ["-1"]:
        return ["ACCELERATE_USE_CPU=true", "python", "train_accelerate.py"]
    here = [] if ids == [str(number) for number in range(len(ids))] else [f"CUDA_VISIBLE_DEVICES={','.join(ids)}"]
    if len(ids) < 2:
        return [*here, "python", "train_accelerate.py"]
    batch = line.value("--batch_size")
    if batch.isdecimal() and int(batch) > 1:
        line.put("--batch_size", str(max(1, int(batch) // len(ids))))
    line.notes["--gpu_ids"] = "--batch_size is for each GPU here, for all of them together there"
    return [*here, "accelerate", "launch", "--multi_gpu", "--num_processes", str(len(ids)), "train_accelerate.py"]


def _translate_lines(line: _Line) -> list[list[str]]:
    """Return the words of the lines that translate as test.py does: one for each direction."""
    theirs, run = line.theirs, line.value("--checkpoints", _run_folder(line))
    lines = []
    for size in ("--load_size", "--crop_size"):
        line.drop(size)
    epoch = line.value("--epoch", "latest")
    if "--checkpoints" not in line.words and (files := sorted(map(str, Path(run).glob(f"{epoch}_net_G*.pth")))):
        lines.append(["python", "-m", "cyclegan", "import", "--from", *files, "--output", f"{run}-imported"])
        line.drop("--epoch")  # It is imported as an epoch of its own.
        run = f"{run}-imported"
    line.put("--checkpoints", run)
    if theirs.get("preprocess") != "none" and (size := theirs.get("crop_size") or theirs.get("load_size")):
        line.put("--size", size)
        line.notes["--size"] = "the shorter side while it works; results have the size of the input"
    if (first := _gpus(line)[0]) != "0":
        line.put("--device", "cpu" if first == "-1" else f"cuda:{first}")
    folder, single = theirs.get("dataroot", ""), theirs.get("model") == "test" or theirs.get("dataset_mode") == "single"
    output = str(Path(theirs.get("results_dir") or "results", theirs.get("name") or Path(run).name))
    asked = line.value("--direction") or ("ba" if theirs.get("model_suffix") == "_B" else "ab" if single else "")
    line.drop("--direction")
    split = theirs.get("phase") or "test"
    for way in [asked] if asked else ["ab", "ba"]:
        words = ["python", "-m", "cyclegan", "translate", *line.words, "--direction", way]
        if "--input" not in line.words:
            words += ["--input", folder if single else str(Path(folder, f"{split}{way[0].upper()}"))]
        if "--output" not in line.words:
            words += ["--output", output if asked else str(Path(output, way))]
        lines.append(words)
    return lines


def _sentence(program: str, line: _Line, lines: list[list[str]]) -> str:
    """Return the whole answer."""
    typed = list(dict.fromkeys(line.typed))
    some = ", ".join(typed[:4]) + (f" and {len(typed) - 4} more" if len(typed) > 4 else "")
    kind = "is a flag" if len(typed) == 1 else "are flags"
    here = "this line" if len(lines) == 1 else "these lines"
    if line.left_out:
        here += f", without {' and '.join(dict.fromkeys(line.left_out))} (see below)"
    text = f"{program}: error: {some} {kind} of {REFERENCE}; here, use {here}:\n\n"
    text += "\n".join(_shown(words) for words in lines) + "\n"
    by_note: dict[str, list[str]] = {}
    for flag, note in line.notes.items():
        by_note.setdefault(note, []).append(flag)
    return text + "".join(f"\n{', '.join(flags)}: {note}" for note, flags in by_note.items()) + "\n" * bool(by_note)


def _shown(words: Sequence[str]) -> str:
    """Return a line for a shell; a variable before the program isn't quoted."""
    return " ".join(word if word.startswith(("CUDA_", "ACCELERATE_")) else shlex.quote(word) for word in words)


def explain_training(argv: Sequence[str]) -> str:
    """Return the answer to the reference's train.py flags at train_accelerate.py; "" where there are none."""
    kinds = [*typing.get_type_hints(TrainConfig).values(), *METHOD_CONFIGS.values()]
    names = {f.name for kind in kinds if dataclasses.is_dataclass(kind) for f in dataclasses.fields(kind)}
    known = {f"--{name}" for name in names} | {f"--no-{name}" for name in names}
    line = _take_apart(argv, TRAIN, names & TRAIN.keys(), known)
    return _sentence("train_accelerate.py", line, [_train_line(line)]) if line.typed else ""


def explain_translation(argv: Sequence[str]) -> str:
    """Return the answer to the reference's test.py flags at `python -m cyclegan translate`; "" without any.

    Args:
        argv: the words after `translate`.
    """
    line = _take_apart(argv, TEST, ("direction", "epoch"))
    return _sentence("python -m cyclegan translate", line, _translate_lines(line)) if line.typed else ""


def refuse(answer: str) -> None:
    """End the program with the answer on stderr and argparse's status 2; do nothing without an answer."""
    if answer:
        sys.stderr.write(answer)
        sys.exit(2)
