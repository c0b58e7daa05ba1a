"""The flags of the reference implementation are answered with the line that does the same here."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.__main__ import build_parser
from cyclegan.cli.flags import parse_train_config
from cyclegan.cli.reference_flags import TRAIN, explain_training, explain_translation

ROOT = Path(__file__).parents[2]


def line_of(answer):
    """The words of the first line that is given."""
    return shlex.split(answer.split("\n\n")[1].splitlines()[0])


def config_of(text):
    """The config that our line for this line of the reference's means."""
    words = line_of(explain_training(shlex.split(text)))
    assert words[:2] == ["python", "train_accelerate.py"]
    return parse_train_config(words[2:])


def test_the_line_of_the_readme_there_works_here():
    answer = explain_training(shlex.split("--dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan"))
    assert answer == (
        "train_accelerate.py: error: --dataroot, --name, --model are flags of "
        "junyanz/pytorch-CycleGAN-and-pix2pix; here, use this line:\n\n"
        "python train_accelerate.py --dataset ./datasets/maps --output_dir checkpoints/maps_cyclegan\n"
    )


def test_every_flag_has_its_place():
    config = config_of(
        "--dataroot d --name n --checkpoints_dir /c/ --gpu_ids 0 --model cycle_gan --netG resnet_6blocks "
        "--netD n_layers --n_layers_D 4 --norm instance --direction AtoB --continue_train --epoch_count 12 "
        "--n_epochs 30 --n_epochs_decay=40 --input_nc 3 --output_nc 3 --load_size 300 --crop_size 256 --ngf 32 "
        "--preprocess resize_and_crop --no_flip --no_dropout --lambda_A 5 --lambda_B 6 --lambda_identity 0.1 "
        "--pool_size 20 --gan_mode wgangp --lr_policy linear --lr 0.0001 --beta1 0.4 --display_id -1 --no_html "
        "--save_epoch_freq 5 --num_threads 2 --batch_size 3 --phase train --max_dataset_size 900 --ema 0.99"
    )
    assert (config.data.dataset, config.run.output_dir, config.run.resume) == ("d", "/c/n", "auto")
    assert (config.model.generator, config.model.ngf) == ("resnet_6", 32)
    assert (config.model.discriminator, config.model.n_layers_d) == ("patch", 4)
    assert (config.optim.epochs, config.optim.decay_epochs, config.optim.batch_size) == (30, 40, 3)
    assert (config.optim.lr, config.optim.beta1, config.optim.ema) == (0.0001, 0.4, 0.99)
    data = config.data
    assert (data.preprocess, data.load_size, data.crop_size, data.flip) == ("resize_crop", 300, 256, False)
    assert (data.num_workers, data.max_images) == (2, 900)
    loss = config.loss
    assert (loss.lambda_cycle_a, loss.lambda_cycle_b, loss.lambda_identity, loss.pool_size) == (5, 6, 0.1, 20)
    assert loss.gan_mode == "wgan_gp"


def test_pix2pix_has_its_direction_its_weight_and_its_dropout():
    config = config_of(
        "--dataroot d --name n --model pix2pix --dataset_mode aligned --direction BtoA --lambda_L1 50 --norm batch"
    )
    assert (config.run.method, config.loss.direction, config.loss.lambda_l1) == ("pix2pix", "ba", 50)
    assert (config.model.generator, config.model.dropout, config.loss.gan_mode) == ("unet_256", True, "vanilla")
    assert not config_of("--dataroot d --model pix2pix --no_dropout --which_direction AtoB").model.dropout
    assert explain_training(["--method", "pix2pix", "--direction", "ba", "--lambda_l1", "3"]) == ""


def test_flags_of_old_tutorials():
    config = config_of(
        "--dataroot d --name n --niter 3 --niter_decay 4 --loadSize 143 --fineSize 128 --batchSize 2 --nThreads 1 "
        "--which_model_netG unet_128 --which_model_netD pixel --identity 0 --resize_or_crop crop --no_lsgan "
        "--which_direction AtoB"
    )
    assert (config.optim.epochs, config.optim.decay_epochs, config.optim.batch_size) == (3, 4, 2)
    assert (config.model.generator, config.model.discriminator) == ("unet_128", "pixel")
    assert (config.data.load_size, config.data.crop_size, config.data.preprocess) == (143, 128, "crop")
    assert (config.loss.lambda_identity, config.loss.gan_mode) == (0, "vanilla")


def test_the_width_of_scale_width_is_the_load_size_there():
    data = config_of("--dataroot d --name n --preprocess scale_width --load_size 512 --crop_size 256").data
    assert (data.preprocess, data.crop_size) == ("scale_width", 512)
    assert config_of("--dataroot d --name n --preprocess scale_width").data.crop_size == 286


def test_n_layers_D_counts_where_the_reference_reads_it():
    assert config_of("--dataroot d --name n --n_layers_D 5").model.n_layers_d == 3


@pytest.mark.parametrize(
    ("ids", "starts"),
    [
        ("0", "python train_accelerate.py"),
        ("2", "CUDA_VISIBLE_DEVICES=2 python train_accelerate.py"),
        ("-1", "ACCELERATE_USE_CPU=true python train_accelerate.py"),
        ("-1,2", "CUDA_VISIBLE_DEVICES=2 python train_accelerate.py"),
        ("1,1", "CUDA_VISIBLE_DEVICES=1 python train_accelerate.py"),
        ("0,1", "accelerate launch --multi_gpu --num_processes 2 train_accelerate.py"),
        ("1,3", "CUDA_VISIBLE_DEVICES=1,3 accelerate launch --multi_gpu --num_processes 2 train_accelerate.py"),
    ],
)
def test_devices(ids, starts):
    answer = explain_training(["--dataroot", "d", "--gpu_ids", ids, "--batch_size", "8"])
    assert answer.split("\n\n")[1].startswith(f"{starts} --dataset d --batch_size {4 if 'launch' in starts else 8} ")
    assert ("--batch_size is for each GPU here" in answer) == ("launch" in starts)


@pytest.mark.parametrize(("ids", "note"), [
    (",", "has no value in the line that was typed"), (" , ,", "has no value in the line that was typed"),
    ("a,b", "isn't a list of GPUs such as 0,1 in the line that was typed, so it is left out"),
    ("0-3", "isn't a list of GPUs such as 0,1 in the line that was typed, so it is left out"),
])  # fmt: skip
def test_devices_that_are_none_are_left_out(ids, note):
    for answer in (explain_training(["--dataroot", "d", "--gpu_ids", ids]),
                   explain_translation(["--dataroot", "d", "--gpu_ids", ids])):  # fmt: skip
        line = answer.split("\n\n")[1]
        assert "cuda" not in line.lower() and ids not in line and answer.endswith(f"--gpu_ids: {note}\n")
    assert "--netG: has no value" in explain_training(["--dataroot", "d", "--netG", ","])


def test_a_mistyped_flag_of_ours_is_taken_for_it():
    answer = explain_training(shlex.split("--dataset d --output_dir r --epoch 2 --cropsize 64"))
    assert "--epoch: taken for --epochs" in answer and "--cropsize: taken for --crop_size" in answer
    config = config_of("--dataset d --output_dir r --epoch 2 --cropsize 64")
    assert (config.optim.epochs, config.data.crop_size) == (2, 64) and "without" not in answer
    # There, with --continue_train, it is the epoch to load.
    assert config_of("--dataroot d --continue_train --epoch 2").optim.epochs == config_of("--dataroot d").optim.epochs


@pytest.mark.parametrize(
    ("typed", "note"),
    [
        ("--norm batch", "--norm: networks here always have instance norm"),
        ("--model colorization", "--model: has no counterpart; see --method"),
        ("--lambda_L1 10", "--lambda_L1: is pix2pix's"),
        ("--netG stylegan2", "--netG: has no counterpart; see --generator"),
        ("--input_nc 1", "--input_nc: pictures are read as RGB here"),
        ("--direction BtoA", "--direction: both directions are trained"),
        ("--lr_policy step", "--lr_policy: the learning rate is constant for --epochs"),
        ("--display_id 0 --display_port 1", "--display_id, --display_port: there is no visdom"),
        ("--continue_train", "not those of the reference"),
        ("--serial_batches", "--serial_batches: the order is random here"),
        ("--made_up 5 6", "--made_up: is known neither here nor there"),
        ("--name", "--name: has no value"),
    ],
)
def test_what_has_no_counterpart_gets_a_note_and_leaves_a_line_that_works(typed, note):
    text = f"--dataroot d {typed}"
    assert note in explain_training(shlex.split(text))
    assert config_of(text).data.dataset == "d"


@pytest.mark.parametrize(("typed", "ours", "value"), [
    ("--netG resnet_6", "generator", "resnet_6"), ("--netG=resnet_9", "generator", "resnet_9"),
    ("--which_model_netG encoder_decoder", "generator", "encoder_decoder"),
    ("--netD patch", "discriminator", "patch"),
])  # fmt: skip
def test_our_own_value_for_their_flag_is_taken(typed, ours, value):
    answer = explain_training(shlex.split(f"--dataroot d {typed}"))
    assert "; here, use this line:\n\n" in answer and "counterpart" not in answer
    assert f"--{ours} {value}" in answer and getattr(config_of(f"--dataroot d {typed}").model, ours) == value
    assert config_of("--dataroot d --model cut --direction AtoB").run.method == "cut"
    assert config_of("--dataroot d --lr_policy constant").optim.schedule == "constant"


@pytest.mark.parametrize(("typed", "named"), [
    ("--netG stylegan2", "--netG stylegan2"), ("--which_model_netG=resnet_5", "--which_model_netG resnet_5"),
    ("--netD patches --norm batch", "--netD patches and --norm batch"), ("--lr_policy step", "--lr_policy step"),
    ("--model pixel2pixel", "--model pixel2pixel"),
])  # fmt: skip
def test_a_value_that_is_neither_is_named_with_the_line(typed, named):
    assert f"; here, use this line, without {named} (see below):\n\n" in explain_training(["--dataroot", "d",
                                                                                      *shlex.split(typed)])  # fmt: skip


@pytest.mark.parametrize("name", [name for name, flag in TRAIN.items() if not flag.words and not flag.here])
def test_no_flag_of_theirs_stays_in_the_line(name):
    value = [] if TRAIN[name].bare else ["1"]
    assert line_of(explain_training(["--dataroot", "d", f"--{name}", *value])).count(f"--{name}") == 0


@pytest.mark.parametrize(
    "ours",
    [
        "--dataset d --output_dir r --preprocess scale_width --load_size 9 --crop_size 8 --batch_size 2",
        "--dataset d --output_dir r --preprocess=resize_crop --gan_mode lsgan --lambda_identity 0.5",
        "--dataset d --output_dir r --preprocess wrong", "--data d", "--dataset", "--batch_size", "--help",
    ],
)  # fmt: skip
def test_our_own_lines_are_left_alone(ours):
    assert explain_training(shlex.split(ours)) == ""


def test_only_the_value_that_is_not_ours_is_objected_to():
    answer = explain_training(shlex.split("--dataset 'a b' --output_dir=r --preprocess resize_and_crop"))
    assert "--preprocess resize_and_crop is a flag of" in answer
    words = ["python", "train_accelerate.py", "--dataset", "a b", "--output_dir", "r", "--preprocess", "resize_crop"]
    assert line_of(answer) == words


@pytest.mark.parametrize("typed", ["--data d", "--n_epoch 3", "--datas d", "--output r", "--resum auto"])
def test_nothing_is_guessed_from_an_abbreviation(typed, capsys):
    with pytest.raises(SystemExit):
        parse_train_config([*typed.split(), "--dataset", "d", "--output_dir", "r"])
    assert f"unrecognized arguments: {typed}" in capsys.readouterr().err


def test_the_answer_comes_before_torch():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['train_accelerate.py', '--dataroot', 'd', '--name', 'n']\n"
        "try: runpy.run_path('train_accelerate.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 2\n"
        "assert not {'torch', 'accelerate'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "python train_accelerate.py --dataset d --output_dir checkpoints/n\n" in done.stderr


# --- test.py --------------------------------------------------------------------------------------------


def translations(text):
    answer = explain_translation(shlex.split(text))
    lines = [shlex.split(line) for line in answer.split("\n\n")[1].splitlines()]
    assert all(words[:3] == ["python", "-m", "cyclegan"] for words in lines)
    parsed = [build_parser().parse_args(words[3:]) for words in lines]
    for args, words in zip(parsed, lines, strict=True):  # As it is typed, one input.
        args.typed = words[words.index("--input") + 1] if "--input" in words else None
    return answer, parsed


def test_both_directions_of_a_test():
    answer, (there, back) = translations("--dataroot ./datasets/maps --name maps --model cycle_gan --num_test 9")
    assert (there.source, there.typed, there.direction) == ("checkpoints/maps", "datasets/maps/testA", "ab")
    assert (back.typed, back.direction) == ("datasets/maps/testB", "ba")
    assert {str(there.output), str(back.output)} == {"results/maps/ab", "results/maps/ba"}
    assert "every picture of the folder is translated" in answer


def test_one_direction_of_a_test():
    _, (line,) = translations(
        "--dataroot h/testA --name h2z --model test --no_dropout --results_dir out --epoch 30 --crop_size 512 "
        "--load_size 512 --gpu_ids -1 --smoothing 0.5"
    )
    assert (line.typed, str(line.output), line.epoch, line.direction) == ("h/testA", "out/h2z", 30, "ab")
    assert (line.size, line.device, line.smoothing) == (512, "cpu", 0.5)
    assert translations("--dataroot h --name h2z --model test --model_suffix _B")[1][0].direction == "ba"
    _, (line,) = translations("--checkpoints r --input i --output o --which_direction BtoA --gpu_ids 1 --which_epoch 7")
    assert (line.source, line.direction, line.device, line.epoch) == ("r", "ba", "cuda:1", 7)


def test_weights_of_the_reference_are_imported_first(tmp_path):
    (tmp_path / "maps").mkdir()
    for letter in "AB":
        (tmp_path / "maps" / f"latest_net_G_{letter}.pth").touch()
    _, (imported, there, back) = translations(f"--dataroot d --name maps --checkpoints_dir {tmp_path}")
    assert len(imported.files) == 2 and str(imported.output) == there.source == back.source


def test_our_own_translations_are_left_alone():
    words = "--checkpoints r --input i --output o --direction ab --epoch 3 --size 256"
    assert explain_translation(words.split()) == ""
