"""`python -m cyclegan …`, as typed in a shell."""

import argparse
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from cyclegan.__main__ import main
from cyclegan.checkpoints.format import load_checkpoint
from cyclegan.cli.flags import positive
from cyclegan.networks import build_generator

CYCLEGAN = ("-m", "cyclegan")


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, size in (("a.png", (33, 21)), ("b.jpg", (40, 50)), ("b.png", (16, 16))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_a_folder_with_a_broken_file(tmp_path, pictures, make_checkpoint, run_script):
    make_checkpoint(tmp_path / "run", 1)
    (pictures / "broken.jpg").write_bytes((pictures / "b.jpg").read_bytes()[:300])
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 16).save(pictures / "b.png")
    out = tmp_path / "out"
    done = run_script(*CYCLEGAN, "translate", "--checkpoints", tmp_path / "run", "--direction", "ab",
                      "--input", pictures, "--output", out, "--reconstruct", ok=False)  # fmt: skip
    assert done.returncode == 1
    assert "3 of 4 pictures translated with epoch 1, day → night" in done.stdout
    assert "broken.jpg is truncated" in done.stderr
    assert done.stderr.count("note: 16-bit pictures use only 0..4080 of 65535 and become 17 grey levels") == 1
    expected = {"a.png", "a_rec.png", "b.jpg.png", "b.jpg_rec.png", "b.png.png", "b.png_rec.png"}
    assert {p.name for p in out.iterdir()} == expected
    with Image.open(out / "a.png") as image:
        assert image.size == (33, 21)


def test_a_file_that_is_no_picture_is_not_said_to_be_written(tmp_path, make_checkpoint, capsys):
    make_checkpoint(tmp_path / "run", 1)
    (tmp_path / "notes.jpg").write_text("no picture")
    words = ("translate", "--checkpoints", tmp_path / "run", "--direction", "ab", "--input", tmp_path / "notes.jpg")
    assert main([*map(str, words), "--output", str(tmp_path / "out.png")]) == 1
    said = capsys.readouterr()
    assert "notes.jpg is not a picture but text, whatever its name" in said.err
    assert "0 of 1 picture translated with epoch 1, day → night, so nothing was written; 1 left out" in said.out
    assert not (tmp_path / "out.png").exists()


def test_no_result_overwrites_another():
    from cyclegan.translation.pictures import output_names

    paths = ["a.png", "a_rec.png", "b.jpg", "b.png", "b.jpg.png", "B.gif"]
    for reconstruct in (False, True):
        names = output_names(paths, reconstruct=reconstruct)
        written = [name.casefold() for name in names]
        if reconstruct:
            written += [f"{name[:-4]}_rec.png".casefold() for name in names]
        assert len(set(written)) == len(written) == len(paths) * (1 + reconstruct)
    assert names[0] == "a.png"


def test_one_picture_to_one_file(tmp_path, pictures, make_checkpoint, run_script):
    for epoch in (1, 2):
        make_checkpoint(tmp_path / "run", epoch)
    target = tmp_path / "deep" / "x.png"
    done = run_script(*CYCLEGAN, "translate", "--checkpoints", tmp_path / "run", "--epoch", 1, "--direction", "ba",
                      "--input", pictures / "a.png", "--output", target, plain=True)  # fmt: skip
    assert "with epoch 1" in done.stdout
    with Image.open(target) as image:
        assert image.size == (33, 21) and image.text["cyclegan:epoch"] == "1"


@pytest.mark.parametrize("single", [False, True])
def test_pictures_that_are_translated_in_pieces_show_how_far_they_are(
    tmp_path, pictures, make_checkpoint, monkeypatch, single
):
    bars, seen = [], []

    class Bar(tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **{**options, "delay": 0.0})
            if options.get("desc") != "Finding pictures":
                bars.append(self)

        def update(self, n=1):
            super().update(n)
            if self in bars:
                seen.append((self.n, str(self)))

    monkeypatch.setattr("cyclegan.cli.progress.Bar", Bar)
    # The smallest pictures are too large.
    monkeypatch.setattr("cyclegan.translation.translator.BYTES_PER_PIXEL_AND_CHANNEL", 10**9)
    make_checkpoint(tmp_path / "run", 1)
    (pictures / "c.jpg").write_bytes(b"no picture")
    count = 1 if single else 4
    assert main(["translate", "--checkpoints", str(tmp_path / "run"), "--direction", "ab", "--reconstruct",
                 "--input", str(pictures / "a.png" if single else pictures), "--output", str(tmp_path / "out")]
                ) == (not single)  # fmt: skip
    done = [n for n, _ in seen]
    assert done == sorted(done) and done[-1] == count == bars[0].total
    parts = [sum(k < n < k + 1 for n in done) for k in range(count)]
    assert max(parts) > 4 and sorted(parts) == [0] * (count > 1) + [max(parts)] * min(count, 3), "but one is bad"
    assert len({text for _, text in seen}) > 4 and f" {done[0]:.2f}/{count} [" in seen[0][1]
    assert bars[0].mininterval >= 10, "where standard error is no terminal, a line now and then"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--input": "none"}, "does not exist"),
        ({"--checkpoints": "none"}, "is not a folder"),
        ({"--epoch": "7"}, "has no epoch 7"),
        ({"--output": "pictures"}, "folder of the input"),
        ({"--input": "pictures/a.png", "--output": "x.jpg"}, "isn't a .png file"),
        ({"--input": "pictures/a.png", "--output": "x.png", "--size": "9999999"}, "working size"),
        ({"--input": "pictures/a.png", "--output": "pictures/a.png"}, "input itself"),
        ({"--device": "cuda:99"}, "is unavailable"),
        ({"--input": "run/epoch-0001/config.json", "--output": "o.png"}, "not a picture"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, pictures, make_checkpoint, run_script, change, says):
    make_checkpoint(tmp_path / "run", 1)
    flags = {"--checkpoints": "run", "--direction": "ab", "--input": "pictures", "--output": "out", **change}
    paths = ("--checkpoints", "--input", "--output")
    words = [w for k, v in flags.items() for w in (k, tmp_path / v if k in paths else v)]
    before = {p: p.read_bytes() for p in pictures.iterdir()}
    done = run_script(*CYCLEGAN, "translate", *words, ok=False)
    assert done.returncode != 0 and says in done.stderr.splitlines()[-1]
    assert {p: p.read_bytes() for p in pictures.iterdir()} == before


@pytest.mark.parametrize("text", ["0", "-1", "+1", "1.0", " 1", "1_0", "²", "٣", "１", "", "x"])
def test_a_whole_number_is_of_ascii_digits(text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"{re.escape(repr(text))} is not a whole number above 0"):
        positive(text)
    assert positive("07") == 7


@pytest.mark.parametrize("flag", ["--size", "--epoch"])
def test_flags_that_take_whole_numbers_say_so(capsys, flag):
    words = ("translate", "--checkpoints", "r", "--direction", "ab", "--input", "i", "--output", "o")
    with pytest.raises(SystemExit):
        main([*words, flag, "٣"])
    assert f"argument {flag}: '٣' is not a whole number above 0" in capsys.readouterr().err


def reference_state(generator, blocks):
    """Our weights under the reference's key names, built from the facts rather than from the importer's table."""
    state, names = generator.state_dict(), {"stem.conv": "model.1", "head": f"model.{blocks + 17}"}
    for i in (0, 1):
        names |= {f"down.{i}.conv": f"model.{4 + 3 * i}", f"up.{i}.conv": f"model.{10 + blocks + 3 * i}"}
    for i in range(blocks):
        for j, k in ((1, 1), (2, 5)):
            names[f"blocks.{i}.conv{j}"] = f"model.{10 + i}.conv_block.{k}"
    renamed = {}
    for key, value in state.items():
        layer, kind = key.rsplit(".", 1)
        renamed[f"{names[layer]}.{kind}"] = value
    return renamed


def test_import_of_the_references_files(tmp_path, make_checkpoint, run_script, pictures):
    ours = load_checkpoint(make_checkpoint(tmp_path / "ours", 1))
    for letter, direction in (("A", "ab"), ("B", "ba")):
        torch.save(reference_state(ours.generators[direction], 6), tmp_path / f"latest_net_G_{letter}.pth")
    files = [tmp_path / f"latest_net_G_{letter}.pth" for letter in "AB"]
    run = tmp_path / "imported"
    done = run_script(*CYCLEGAN, "import", "--from", *files, "--output", run, "--domain_a", "day")
    assert "resnet_6, ngf 4" in done.stdout
    imported = load_checkpoint(run / "epoch-0001")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    for direction in ("ab", "ba"):
        assert (imported.generators[direction](x) - ours.generators[direction](x)).abs().max() < 1e-4
    assert json.loads((run / "epoch-0001" / "checkpoint.json").read_text())["weights"] == "imported"
    run_script(*CYCLEGAN, "translate", "--checkpoints", run, "--direction", "ab", "--input", pictures,
               "--output", tmp_path / "out")  # fmt: skip
    again = run_script(*CYCLEGAN, "import", "--from", *files, "--output", run, ok=False)
    assert again.returncode == 1 and "exists already" in again.stderr
    (tmp_path / "latest_net_G.pth").write_bytes(b"no pickle")
    bad = run_script(*CYCLEGAN, "import", "--from", tmp_path / "latest_net_G.pth", "--output", run, "--epoch", 2,
                     ok=False)  # fmt: skip
    assert bad.returncode == 1 and "latest_net_G.pth" in bad.stderr
    assert not (run / "epoch-0002").exists()


def test_a_discogan_generator_is_no_resnet():
    """The table above fits ResNets only, so that a wrong architecture can't pass for a right one."""
    from cyclegan.config import ModelConfig

    with pytest.raises(KeyError):
        reference_state(build_generator(ModelConfig(generator="encoder_decoder", ngf=4)), 6)


def test_streets_are_written(tmp_path, run_script):
    out = tmp_path / "streets"
    run_script(*CYCLEGAN, "streets", "--spec", "streets:count=2,test_count=1,size=32", "--output", out)
    assert len(list((out / "trainA").iterdir())) == 2 and len(list((out / "testB").iterdir())) == 1
    bad = run_script(*CYCLEGAN, "streets", "--spec", "streets:moon=2", "--output", tmp_path / "x", ok=False)
    assert bad.returncode == 1 and "moon" in bad.stderr


def test_phantoms_are_written(tmp_path, run_script):
    out = tmp_path / "phantoms"
    said = run_script(
        *CYCLEGAN, "phantoms", "--spec", "phantoms:count=2,test_count=1,size=32", "--output", out
    ).stdout  # fmt: skip
    assert len(list((out / "trainA").glob("*.tif"))) == 2 and len(list((out / "truth" / "testB").iterdir())) == 1
    assert f"train_accelerate.py --dataset {out} --output_dir runs/phantoms" in said
    bad = run_script(*CYCLEGAN, "phantoms", "--spec", "phantoms:moon=2", "--output", tmp_path / "x", ok=False)
    assert bad.returncode == 1 and "moon" in bad.stderr and "Traceback" not in bad.stderr
    assert not (tmp_path / "x").exists()


def test_classes_of_written_streets_are_found_again(tmp_path, run_script):
    out = tmp_path / "streets"
    run_script(*CYCLEGAN, "streets", "--spec", "streets:count=2,test_count=2,size=64,a=labels,b=day", "--output", out)
    refused = run_script(*CYCLEGAN, "classes", out, ok=False)
    assert refused.returncode == 1 and "streets.json is there already" in refused.stderr
    known = json.loads((out / "streets.json").read_text())["classes"]
    names = [entry["name"] for entry in known]
    shown = run_script(
        *CYCLEGAN, "classes", out, "--names", ", ".join(names), "--void", "lamp,8", "--overwrite"
    ).stdout  # fmt: skip
    assert "0 sky           #4682b4" in shown and "8 pedestrian" in shown and "void" in shown
    assert "8 label maps; colours from domain a's pictures; domain of label maps in these colours: a" in shown
    assert f"8 classes to score, and 2 void, written to {out / 'classes.json'}" in shown
    written = json.loads((out / "classes.json").read_text())
    assert written["label_domain"] == "a"
    assert [entry["name"] for entry in written["classes"] if entry.get("void")] == ["pedestrian", "lamp"]
    assert written["classes"][:8] == known[:8]


def test_classes_refuses_what_is_no_folder_and_names_twice(tmp_path, run_script):
    missing = run_script(*CYCLEGAN, "classes", tmp_path / "none", ok=False)
    assert missing.returncode == 1 and "there is no folder" in missing.stderr
    twice = run_script(*CYCLEGAN, "classes", tmp_path, "--names", "sky,sky", ok=False)
    assert twice.returncode == 2 and "different names" in twice.stderr
