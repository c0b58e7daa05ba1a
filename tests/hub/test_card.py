"""The model card: what a reader finds, what the Hub reads, and what people wrote staying as they wrote it."""

import ast
import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

import hub
from cyclegan.checkpoints.format import CheckpointConfig, CheckpointInfo
from cyclegan.checkpoints.sources import LocalSource
from cyclegan.config import CycleGANConfig, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from hub.card import make_card
from hub.card.metadata import TAGS
from hub.card.tables import judged_section
from hub.layout import index_entry
from hub.readme import BEGIN, END

ROOT = Path(__file__).parents[2]
NAME = "alice/day-night"
FILES = ("samples/ab.png", "samples/ba.png", "curves.png", "config.json")
METRICS = {"reconstruction_l1_ab": 12.345678, "reconstruction_l1_ba": 11.0, "disc_accuracy_a": 0.8}


def make_info(epoch=12, *, data=None, train=True, **changes):
    config = CheckpointConfig.of(
        TrainConfig(
            data=data or DataConfig(dataset="somewhere", domain_a="day", domain_b="night"),
            model=ModelConfig(generator="resnet_6", ngf=12),
            loss=CycleGANConfig(),
            optim=OptimConfig(),
            run=RunConfig(output_dir="runs/x", mixed_precision="bf16", seed=7),
        )
    )
    info = CheckpointInfo(
        epoch=epoch,
        commit_sha="0" * 40,
        created="2026-11-21T07:56:14+00:00",
        global_step=100 * epoch,
        losses={"cycle_a": 0.25, "cycle_b": 0.125},
        metrics=METRICS,
        config=config if train else dataclasses.replace(config, train=None),
    )
    return dataclasses.replace(info, **changes)


def card_of(info=None, existing=None, *, epochs=None, files=FILES, license=None):
    """The card, which is valid for the Hub and the same again when it is made again."""
    info = info or make_info()
    epochs = [index_entry(info)] if epochs is None else epochs
    card = make_card(NAME, info, epochs, files=files, license=license, existing=existing)
    assert make_card(NAME, info, epochs, files=files, license=license, existing=card) == card
    assert make_card(NAME, info, epochs, files=files, existing=card) == card  # The licence stays.
    card.encode()
    return card


def front_of(card):
    """The front matter, as plain YAML and as the Hub's library reads it."""
    text = re.match(r"\s*---\r?\n(.*?\n)---\r?\n", card, re.DOTALL)[1]
    values = yaml.safe_load(text)
    parsed = ModelCard(card)
    assert parsed.data.get("tags") == values.get("tags")
    return values


def block_of(card):
    assert card.count(BEGIN) == card.count(END) == 1
    return card[card.index(BEGIN) + len(BEGIN) : card.index(END)]


# --- what a reader finds ------------------------------------------------------------------------------------


def test_a_reader_learns_what_it_is_and_how_to_use_it():
    card = card_of()
    block = block_of(card)
    assert card.startswith("---\n") and card.endswith(f"\n{END}\n")
    assert "# day ↔ night\n\nTranslates pictures from **day** to **night**, and from night to day." in block
    assert "sets of pictures that are not paired" in block and "those of epoch 12;" in block
    assert "![day → night](samples/ab.png)" in block and "![night → day](samples/ba.png)" in block
    assert "(*real*), translated (*fake*), and brought back by the other generator (*rec*)" in block
    assert "(*truth*)" not in block and "(curves.png)" in block
    assert "python app.py --checkpoints alice/day-night\n" in block
    assert "--checkpoints alice/day-night@epoch-0012 --direction ab \\\n" in block
    assert "| generators | resnet_6, ngf 12 |" in block and "| data | somewhere |" in block
    assert "| pictures | scaled to 286×286, random crops of 256×256, mirrored at random |" in block
    assert "adversarial (lsgan) × 1, cycle × 10 (A) and × 10 (B), identity × 0.5 of the cycle's weight" in block
    assert "100 epochs at learning rate 0.0002, then 100 towards 0" in block
    assert "trained in bf16 mixed precision, stored as fp32" in block and "| seed | 7 |" in block
    assert "invented" in block and "training pictures if the data have no others" in block
    assert block.endswith("## Licence\n\nNo licence was stated; ask the author before you use it.\n\n")


def test_the_python_example_is_python_and_names_what_there_is():
    (code,) = re.findall(r"```python\n(.*?)```", card_of(), re.DOTALL)
    ast.parse(code)
    assert code.count("\n") <= 6
    assert code.startswith("from hub import open_source\n") and hub.open_source
    assert 'open_source("alice/day-night@epoch-0012").load()' in code
    assert 'checkpoint.generators["ab"]  # A → B; "ba": B → A\n' in code and code.endswith("multiples of 4\n")
    unet = make_info(config=CheckpointConfig(ModelConfig(generator="unet_256"), train={}))
    assert "multiples of 256" in card_of(unet)


def test_one_direction():
    info = make_info(directions=("ba",), metrics=METRICS | {"truth_l1_ba": 20.0})
    card = card_of(info)
    block = block_of(card)
    assert "# night → day\n" in block and "the way back is not in it" in block
    assert "samples/ab.png" not in block and "samples/ba.png" in block and "(*truth*)" in block
    assert 'generators["ba"]  # B → A\n' in block and "--direction ba" in block
    assert "| 1200 | 0.125 | 11.0 | 20.0 |" in block and "Of two figures" not in block
    (entry,) = front_of(card)["model-index"]
    assert [m["type"] for m in entry["results"][0]["metrics"]] == ["reconstruction_l1_ba", "truth_l1_ba"]


def test_imported_weights_tell_no_training():
    data = DataConfig(dataset="unknown", domain_a="A", domain_b="B")
    info = make_info(1, data=data, train=False, global_step=0, losses={}, metrics={})
    card = card_of(info, files=("config.json",))
    block = block_of(card)
    assert "# day-night\n" in block and "The weights were imported." in block
    assert "How the weights were trained, and on what, is not recorded. Generator: resnet_6, ngf 12." in block
    assert "## Samples" not in block and "curves.png" not in block and "lsgan" not in block and "unknown" not in block
    assert "not paired" not in block and "The figures are of" not in block
    assert "| epoch | date |\n|---|---|\n| [epoch-0001](" in block
    assert "model-index" not in front_of(card)


@pytest.mark.parametrize("train", [{}, {"loss": 3}, {"loss": {"gan_mode": "<b>"}, "optim": {"new": 1}}, "text", []])
def test_settings_of_another_version_are_left_out(train):
    info = make_info()
    block = block_of(card_of(dataclasses.replace(info, config=dataclasses.replace(info.config, train=train))))
    assert "| generators | resnet_6, ngf 12 |" in block and "| losses |" not in block and "<b>" not in block


def test_how_many_pictures_there_were():
    card = make_card(NAME, make_info(), [], files=(), pictures={"train_a": 12, "train_b": 7})
    assert ": 12 pictures of A, 7 of B |" in card
    for odd in (None, {}, {"train_a": "many", "train_b": 7}):
        assert "pictures of A" not in make_card(NAME, make_info(), [], files=(), pictures=odd)


def test_training_without_discriminators_and_with_averages():
    train = {
        "loss": {"lambda_gan": 0.0, "lambda_identity": 0.0},
        "optim": {"ema": 0.999, "decay_epochs": 0, "gradient_accumulation_steps": 4},
        "run": {"mixed_precision": "no", "save_precision": "fp16"},
    }
    block = block_of(card_of(make_info(config=dataclasses.replace(make_info().config, train=train))))
    assert "| losses | cycle × 10 (A) and × 10 (B) |" in block and "discriminators |" not in block
    assert "| schedule | 100 epochs at learning rate 0.0002 |" in block
    assert "batch size 1 × 4 accumulated; published weights are averages (decay 0.999)" in block
    assert "trained in fp32, stored as fp16" in block


def test_a_space_with_the_curves_is_linked():
    train = {"run": {"trackio_space": "alice/my_curves", "report_to": "trackio"}}
    block = block_of(card_of(make_info(config=dataclasses.replace(make_info().config, train=train))))
    assert r"| curves | [alice/my\_curves](https://huggingface.co/spaces/alice/my_curves) |" in block
    assert "| curves |" not in block_of(card_of())


def test_another_method_is_named():
    block = block_of(card_of(make_info(config=dataclasses.replace(make_info().config, method="pix*2*pix"))))
    assert r"Trained by the method pix\*2\*pix." in block and "not paired" not in block and "| method | pix" in block


@pytest.mark.parametrize(
    ("dataset", "datasets", "line"),
    [
        ("huggan/maps", ["huggan/maps"], "| [huggan/maps](https://huggingface.co/datasets/huggan/maps) |"),
        ("huggan/maps:small", ["huggan/maps"], "datasets/huggan/maps), configuration small |"),
        ("maps", None, "| data | maps |"),
        ("a/b/c", None, "| data | a/b/c |"),
        ("../maps", None, "| data | ../maps |"),
        ("streets:count=5", None, "| data | streets:count=5, the program's own drawn scenes |"),
        ("", None, "| data | not recorded |"),
    ],
)
def test_data_sets_of_the_hub_are_linked(dataset, datasets, line):
    info = make_info()
    config = dataclasses.replace(info.config, data=DataConfig(dataset=dataset, max_images=None))
    card = card_of(dataclasses.replace(info, config=config))
    assert line in block_of(card)
    front = front_of(card)
    assert front.get("datasets") == datasets
    described = front["model-index"][0]["results"][0]["dataset"]
    assert described["name"] and described["type"] == (datasets[0] if datasets else "pictures")


# --- the table ----------------------------------------------------------------------------------------------


def test_the_table_has_every_epoch_once_newest_first():
    entries = [index_entry(make_info(epoch)) for epoch in (3, 12, 1, 2)]
    rows = re.findall(r"^\| \[epoch-(\d+)\]\(https://huggingface.co/alice/day-night/tree/epoch-\1\) \| (.*)", card_of(
        epochs=entries), re.MULTILINE)  # fmt: skip
    assert [row[0] for row in rows] == ["0012", "0003", "0002", "0001"]
    assert rows[0][1] == "2026-11-21 | 1200 | 0.250 / 0.125 | 12.3 / 11.0 |"


def test_each_column_is_explained():
    metrics = {f"{name}_{way}": 1.0 for name in ("truth_l1", "change_l1", "diversity") for way in ("ab", "ba")}
    block = block_of(card_of(make_info(metrics=METRICS | metrics)))
    head = re.search(r"^\| epoch \| date \| step \| (.*) \|$", block, re.MULTILINE)[1].split(" | ")
    assert head == [
        "cycle loss", "reconstruction L1 (of 255)", "truth L1 (of 255)", "change L1 (of 255)", "diversity"
    ]  # fmt: skip
    assert re.findall(r"^- \*(.*?)\*: .", block, re.MULTILINE) == head
    assert "Of two figures, the first is for day → night, the second for night → day." in block
    assert "disc" not in block.split("## Epochs")[1].split("## Training")[0]


def test_hundreds_of_epochs_are_folded_in():
    card = card_of(make_info(300), epochs=[index_entry(make_info(epoch)) for epoch in range(1, 301)])
    shown, folded = block_of(card).split("<details>\n<summary>280 older epochs</summary>\n\n| epoch |")
    folded, after = folded.split("\n\n</details>\n")
    assert shown.count("[epoch-") == 20 and "[epoch-0281]" in shown and "[epoch-0280]" not in shown
    assert folded.count("[epoch-") == 280 and "[epoch-0001]" in folded and "[epoch-" not in after


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "12"])
def test_figures_that_are_no_numbers(value):
    metrics = {"reconstruction_l1_ab": value, "reconstruction_l1_ba": 2.0, "truth_l1_ab": value}
    card = card_of(make_info(losses={"cycle_a": value}, metrics=metrics))
    assert "| – / 2.0 |" in card and "nan" not in card and "inf" not in card.replace("info", "")
    assert "cycle loss" not in card and "truth L1" not in card.split("## Epochs")[1]
    (entry,) = front_of(card)["model-index"]
    assert [(m["type"], m["value"]) for m in entry["results"][0]["metrics"]] == [("reconstruction_l1_ba", 2.0)]


def test_no_epochs_and_damaged_entries():
    assert "[epoch-0012]" in card_of(epochs=[])
    entries = [{"epoch": 2, "created": "<script>", "global_step": 0, "losses": None, "directions": ["ab"]}]
    card = card_of(make_info(metrics={"diversity_ab": 1e12}), epochs=entries)
    assert "epoch-0002) | – | – | – | – |" in card and "<script>" not in card and "1.00e+12 / –" in card


def test_the_card_tells_the_total_error_of_single_pictures():
    rows = [{"epoch": 20, "revision": "epoch-0020", "fooling_rate": 0.4, "interval": [0.3, 0.5],
             "interval_crossed": [0.28, 0.53], "participants": 9, "trials": 450,
             "total_error": {"error": 0.25, "interval": [0.2, 0.3]}}]  # fmt: skip
    about = {"name": "made-up", "title": "", "domains": ["maps", "photos"], "direction": "ab"}
    single = {"study": about, "protocol": {"name": "hype_infinity", "presentation": "single"}, "epochs": rows}
    pairs = {"study": about, "protocol": {"presentation": "sequence"}, "epochs": [{**rows[0], "total_error": None}]}
    text = judged_section("alice/maps", [single])
    assert "| epoch | fooling rate | 95%, these pictures | 95%, other pictures | total error | participants" in text
    assert "| 40.0% | 30.0% – 50.0% | 28.0% – 53.0% | 25.0% (20.0% – 30.0%) | 9 | 450 |" in text
    assert "real picture. Both 95% intervals" in text and "*total error* is 50% if people can't tell" in text
    text = judged_section("alice/maps", [pairs])
    assert "total error" not in text and "; at 50%" in text
    text = judged_section("a/b", [single, pairs])
    assert "at 50%, people can't tell them apart where two pictures are compared" in text
    for damaged in ("x", {"error": "<b>"}, {"error": float("nan")}, None):
        rows[0]["total_error"] = damaged
        assert "| 40.0% | 30.0% – 50.0% | 28.0% – 53.0% | 9 |" in judged_section("alice/maps", [single])
    for damaged in ("<b>", [0.1], ["<b>", 1], [0.1, float("nan")], None):
        rows[0]["interval_crossed"] = damaged
        assert "| 40.0% | 30.0% – 50.0% | 9 |" in judged_section("alice/maps", [single])


# --- names that are more than names -------------------------------------------------------------------------

HOSTILE = [
    "a|b", "*bold* _x_ `code` ~~s~~ $m$", "[link](http://evil)", "![](http://evil/x.png)", "<script>alert(1)</script>",
    END, BEGIN, f"\n{END}\n", "two\nlines\r\n# heading", "---", "\n---\n", "key: value", "# comment", "'\"", "{}", "  ",
    "x" * 5000, "\ud800\udc80", "\u202edrawkcab", "\x00\x07\x1b", "日本 🚗", "&lt;b&gt;", "\\", "|" * 80, "no", "1.0",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(name):
    data = DataConfig(dataset=name, domain_a=name, domain_b=f"{name} b")
    info = make_info()
    info = dataclasses.replace(info, config=dataclasses.replace(info.config, data=data))
    card = card_of(info, f"Above.\n\n{BEGIN}\n{END}\n\nBelow.\n")
    assert front_of(card)["tags"] == list(TAGS)
    assert card.count(f"\n{BEGIN}\n") == card.count(f"\n{END}\n") == 1
    assert "\n\nAbove.\n\n" in card and card.endswith("\n\nBelow.\n")
    block = card[card.index(f"\n{BEGIN}\n") + 1 + len(BEGIN) : card.index(f"\n{END}\n")]
    assert "<!--" not in block and "<script" not in block and "\u202e" not in block and "x" * 61 not in block
    assert re.findall(r"^#+ .*", block, re.MULTILINE)[1:] == [
        "## Samples", "## Use it", "## Epochs", "## Training", "## Limits", "## Licence"
    ]  # fmt: skip
    assert re.findall(r"(?<!\\)(?:\\\\)*\]\((.*?)\)", block.replace("](https://huggingface.co", "")) == [
        "https://arxiv.org/abs/1703.10593", "samples/ab.png", "samples/ba.png", "curves.png"
    ]  # fmt: skip
    for line in block.split("## Training")[1].splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 3
    ast.parse(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1])


@pytest.mark.parametrize("license", ["a|b: c", f"x {END}", "{{"])
def test_a_licence_is_text(license):
    card = card_of(license=license)
    assert front_of(card)["license"] == license and card.count(END) - card.split("---\n")[1].count(END) == 1


# --- the front matter ---------------------------------------------------------------------------------------


def test_the_front_matter_says_what_the_hub_searches_by():
    front = front_of(card_of(license="cc-by-4.0"))
    assert front["pipeline_tag"] == "image-to-image" and front["tags"] == list(TAGS)
    assert front["license"] == "cc-by-4.0" and front["library_name"] == "cyclegan-workbench"
    (entry,) = front["model-index"]
    assert entry["name"] == "day-night"
    (result,) = entry["results"]
    assert result["task"]["type"] == "image-to-image"
    assert result["dataset"] == {"name": "somewhere", "type": "pictures"}
    assert result["metrics"][0] == {
        "type": "reconstruction_l1_ab", "value": 12.3457, "name": "reconstruction L1 (of 255), day → night"
    }  # fmt: skip
    parsed = ModelCard(card_of()).data
    assert [(r.metric_type, r.metric_value) for r in parsed.eval_results][0] == ("reconstruction_l1_ab", 12.3457)


PERSONAL = """\
# what the lab wants
license: mit  # asked Bob
language: no
thumbnail: "x.png"

version: 1.10
tags: [mine, gan]
# the end
"""


def test_what_people_set_survives_to_the_letter():
    card = card_of(existing=f"---\n{PERSONAL}---\nMine.\n")
    front = front_of(card)
    assert front["license"] == "mit" and front["pipeline_tag"] == "image-to-image"
    assert front["tags"] == ["mine", "gan", "cyclegan", "unpaired-image-to-image-translation"]
    kept, rest = PERSONAL.split("tags: [mine, gan]\n")
    assert card.startswith(f"---\n{kept}tags:\n- mine\n") and rest in card
    assert "## Licence\n\nmit\n" in card and f"---\nMine.\n\n{BEGIN}\n" in card


def test_only_figures_change_from_epoch_to_epoch():
    first = card_of(existing=f"---\n{PERSONAL}---\n")
    again = card_of(existing=first)
    assert again == first
    later = card_of(make_info(13, metrics={"diversity_ab": 0.5}), first)
    before, after = (text.split("model-index:")[0] for text in (first, later))
    assert before == after
    (entry,) = front_of(later)["model-index"]
    assert [m["type"] for m in entry["results"][0]["metrics"]] == ["diversity_ab"]
    none = card_of(make_info(14, metrics={}), later)
    assert "model-index" not in front_of(none) and none.split("---\n")[1] == before.split("---\n")[1]


def test_settings_of_ours_that_people_changed_stay():
    mine = "---\npipeline_tag: unconditional-image-generation\nlibrary_name: pytorch\ndatasets: me/mine\n---\n"
    data = DataConfig(dataset="huggan/maps")
    info = make_info(config=dataclasses.replace(make_info().config, data=data))
    front = front_of(card_of(info, mine))
    assert front["pipeline_tag"] == "unconditional-image-generation" and front["library_name"] == "pytorch"
    assert front["datasets"] == ["me/mine", "huggan/maps"]


def test_licences():
    mine = "---\nlicense: mit\n---\n"
    assert front_of(card_of(existing=mine))["license"] == "mit"
    card = card_of(existing=mine, license="cc0-1.0")
    assert front_of(card)["license"] == "cc0-1.0" and "## Licence\n\ncc0-1.0\n" in card
    assert "license" not in front_of(card_of(license=""))
    assert "## Licence\n\nLab terms\n" in card_of(existing="---\nlicense: other\nlicense_name: Lab terms\n---\n")
    assert "## Licence\n\nmit, bsd\n" in card_of(existing="---\nlicense: [mit, bsd]\n---\n")
    assert "No licence was stated" in card_of(existing="---\nlicense:\n---\n")


def test_model_index_entries_of_others_survive():
    result = {
        "task": {"type": "image-to-image"},
        "dataset": {"name": "FID set", "type": "me/fid"},
        "metrics": [{"type": "fid", "value": 31.5}],
    }
    mine = {"model-index": [{"name": "other", "results": [result]}, {"name": "day-night", "results": [result]}]}
    card = card_of(existing=f"---\n{yaml.safe_dump(mine)}---\n")
    for epoch in (13, 14):
        card = card_of(make_info(epoch, metrics={"diversity_ab": epoch / 10, "change_l1_ab": 3.0}), card)
    other, ours = front_of(card)["model-index"]
    assert other == mine["model-index"][0]
    assert ours["results"][1:] == [result]
    assert [m["value"] for m in ours["results"][0]["metrics"]] == [3.0, 1.4]
    # As huggingface_hub's metadata_update does: another metric of the same data, under the same name.
    front = front_of(card)
    front["model-index"][1]["results"][0]["metrics"].append({"type": "fid", "value": 9})
    card = card_of(existing=f"---\n{yaml.safe_dump(front)}---\n" + card.split("---\n", 2)[2])
    metrics = [m["type"] for r in front_of(card)["model-index"][1]["results"] for m in r["metrics"]]
    assert metrics == ["reconstruction_l1_ab", "reconstruction_l1_ba", "fid", "fid"]


@pytest.mark.parametrize("index", ["text", "{a: b}", "[1, text]", "[{name: day-night}]", "[{name: x, results: 3}]"])
def test_a_model_index_that_is_none_stops_nothing(index):
    mine = f"model-index: {index}\n"
    card = make_card(NAME, make_info(), [], files=(), existing=f"---\n{mine}---\n")
    there, now = yaml.safe_load(mine)["model-index"], yaml.safe_load(card.split("---\n")[1])["model-index"]
    assert now == there or now[: len(there)] == there
    assert make_card(NAME, make_info(), [], files=(), existing=card) == card


@pytest.mark.parametrize(
    "text",
    [
        "{license: mit, language: de}",
        "license: &l mit\nother: *l\ntags: &t [a]\nmore: *t",
        "  license: mit\n  tags:\n    - a",
        "? license\n: mit",
        "license: mit\nlicense: mit",
        "!!map\nlicense: mit",
        "text: |\n  # no comment\n\n  more\ntags: a",
        "text: >-\n  folded\n  text\n# end",
        "tags:\n- a\n# between\n- b\n\n# after\nlanguage: de",
        "1: one  # kept\ntrue: yes\nnull: 0",
        "to_dict: x\ntags:",
        "n: .nan",
        "a: é日本",
        "",
        "# only a comment",
    ],
)
def test_yaml_in_all_its_forms(text):
    card = make_card(NAME, make_info(), [], files=(), existing=f"---\n{text}\n---\nMine.\n")
    mine, now = yaml.safe_load(text) or {}, yaml.safe_load(re.match("---\n(.*?\n)---\n", card, re.DOTALL)[1])
    for key, value in mine.items():
        assert key in now and (key in ("tags", "n") or now[key] == value)
    assert now["tags"][-3:] == list(TAGS) and now["model-index"] and now["pipeline_tag"]
    assert ("# kept" in text) == ("# kept" in card)
    assert ("# after" in text) == ("# after" in card) and ("# only" in text) == ("# only" in card)
    assert make_card(NAME, make_info(), [], files=(), existing=card) == card
    assert f"---\nMine.\n\n{BEGIN}" in card


@pytest.mark.parametrize(
    "front",
    [
        "license: [mit\ntags: {",
        "a: b: c",
        "\tlicense: mit",
        "- a\n- list",
        "just text",
        "date: 2024-13-45",
        "x: !!python/object:os.system ls",
        "? [a, b]\n: c",
        "[" * sys.getrecursionlimit(),
    ],
)
def test_broken_front_matter_stays_and_stops_nothing(front):
    existing = f"---\n{front}\n---\n# Mine\n"
    made = [make_card(NAME, make_info(), [], files=(), existing=existing, license=given) for given in (None, "mit")]
    for card in made:
        assert card.startswith(existing) and block_of(card)
        assert make_card(NAME, make_info(), [], files=(), existing=card).startswith(existing)
    assert "No licence" not in made[0] and "## Licence\n\nmit" in made[1]
    later = make_card(NAME, make_info(13), [], files=(), existing=made[0])
    assert later.startswith(existing) and "those of epoch 13;" in block_of(later)


# --- the text around the block ------------------------------------------------------------------------------


def test_text_around_the_block_survives_byte_for_byte():
    above, below = "\t# Mine \n\n\n  trailing  \n", "\n\n  below\t\n\n<!-- mine -->\n---\n\x0b\u2028 end"
    card = card_of().replace(f"\n{BEGIN}", f"\n{above}{BEGIN}").replace(f"{END}\n", END + below)
    for epoch in (13, 14):
        card = card_of(make_info(epoch), card)
        assert f"---\n\n{above}{BEGIN}\n" in card and card.endswith(f"\n{END}{below}")
        assert f"those of epoch {epoch};" in block_of(card)


@pytest.mark.parametrize(
    "text", ["Mine.", "Mine.\n", "Mine.\n\n", "\n\nMine.\n\n\n\n", "--- not front matter\n", "---\nhalf: a"]
)
def test_text_without_a_block_gets_one_below(text):
    card = card_of(existing=text)
    assert front_of(card)["tags"] == list(TAGS)
    above, _ = card.split(BEGIN)
    assert f"---\n\n{text}" in above and above.split("---\n\n", 1)[1].strip("\n") == text.strip("\n")


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n"])
def test_front_matter_alone_as_the_web_form_makes_it(end):
    card = card_of(existing=f"---\nlicense: mit\n---{end}")
    assert front_of(card)["license"] == "mit" and card.startswith("---\nlicense: mit\n")
    assert re.search(rf"\n---\n\n+{re.escape(BEGIN)}\n", card)


@pytest.mark.parametrize("existing", [None, "", "\n \n"])
def test_nothing_there(existing):
    assert card_of(existing=existing) == card_of()


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (f"one\n{BEGIN}\ntwo\n", f"one\n{BEGIN}\ntwo\n\nBLOCK\n"),
        (f"one\n{END}\ntwo\n", f"one\n{END}\ntwo\n\nBLOCK\n"),
        (f"one\n{END}\ntwo\n{BEGIN}\nthree\n", f"one\n{END}\ntwo\n{BEGIN}\nthree\n\nBLOCK\n"),
        (f"one\n{BEGIN}\ntwo\n{BEGIN}\nold\n{END}\nthree\n", f"one\n{BEGIN}\ntwo\nBLOCK\nthree\n"),
        (f"one\n{BEGIN}\nold\n{END}\ntwo\n{END}\nthree\n", f"one\nBLOCK\ntwo\n{END}\nthree\n"),
        (f"one\n{BEGIN}\nold\n{END}\ntwo\n{BEGIN}\nold\n{END}\nthree\n", "one\nBLOCK\ntwo\n\nthree\n"),
        (f"one `{BEGIN}` two `{END}` three\n", f"one `{BEGIN}` two `{END}` three\n\nBLOCK\n"),
        (f"one\n  {BEGIN}  \nold\n\t{END} \ntwo\n", "one\n  BLOCK \ntwo\n"),
        (f"{BEGIN}\n{END}", "BLOCK"),
    ],
)
def test_odd_markers_lose_nothing(existing, expected):
    card = existing
    for epoch in (12, 13, 14):
        card = card_of(make_info(epoch), card)
        fresh = card_of(make_info(epoch))
        block = fresh[fresh.index(BEGIN) :].removesuffix("\n")
        assert card.split("---\n\n", 1)[1].replace(block, "BLOCK") == expected


def test_windows_line_endings_survive():
    mine = f"---\r\n{PERSONAL}---\r\n\r\nMine.\r\n"
    card = card_of(existing=mine.replace("\r\n", "\n").replace("\n", "\r\n"))
    assert card.count("\n") == card.count("\r\n") and front_of(card)["license"] == "mit" and "Mine.\r\n" in card
    assert card.startswith("---\r\n# what the lab wants\r\nlicense: mit  # asked Bob\r\nlanguage: no\r\n")
    later = card_of(make_info(13), card)
    assert later.count("\n") == later.count("\r\n")

    mixed = f"---\nlicense: mit\n---\nAbove.\r\n{BEGIN}\r\nold\r\n{END}\r\nBelow.\n"
    card = card_of(existing=mixed)
    assert f"---\nAbove.\r\n{BEGIN}\n" in card and card.endswith(f"\n{END}\r\nBelow.\n")


def test_a_byte_order_mark_stays_first():
    card = card_of(existing="\ufeff---\nlicense: mit\n---\nMine.\n")
    assert card.startswith("\ufeff---\nlicense: mit\n") and card.count("\ufeff") == 1
    assert front_of(card.removeprefix("\ufeff"))["license"] == "mit"


def test_the_card_of_the_embedded_run_is_short():
    infos = LocalSource(ROOT / "demo" / "streets").list()
    entries = json.loads(json.dumps([index_entry(info) for info in infos]))
    card = card_of(infos[0], epochs=entries)
    assert len(block_of(card).splitlines()) < 110 and card.count("[epoch-") == 3
    assert "13.0 / 9.1" in card and "day → night" in card and "(*truth*)" in card


@pytest.mark.parametrize(
    ("on_hub", "base", "sentence"),
    [
        (True, "ann/maps", "from the weights of [ann/maps](https://huggingface.co/ann/maps), epoch 9."),
        (False, None, "from the weights of the run ann/maps, epoch 9."),
    ],
)
def test_the_start_of_a_fine_tuned_run_is_its_base_model(on_hub, base, sentence):
    start = {"source": "ann/maps", "epoch": 9, "commit_sha": "0" * 40, "on_hub": on_hub}
    card = make_card(NAME, make_info(), [], files=(), started_from=start)
    front = front_of(card)
    assert front.get("base_model") == base and front.get("base_model_relation") == (base and "finetune")
    assert sentence in card
    for odd in (None, [], {"source": 3}):
        assert "from the weights" not in make_card(NAME, make_info(), [], files=(), started_from=odd)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "| schedule | 100 epochs at learning rate 0.0002, then 100 towards 0 |"),
        ({"schedule": "cosine", "lr_disc": 1e-4}, "(0.0001 for discriminators), then 100 towards 0 along a cosine |"),
        ({"schedule": "constant"}, "| schedule | 200 epochs at learning rate 0.0002 |"),
        ({"schedule": "plateau"}, "200 epochs at learning rate 0.0002, lower whenever the results no longer improved"),
        ({"clip_grad_norm": 1.0}, "batch size 1; gradients clipped to 1 |"),
    ],
)
def test_the_schedule_in_words(options, line):
    info = make_info()
    train = {**info.config.train, "optim": OptimConfig(**options).to_json()}
    assert line in card_of(dataclasses.replace(info, config=dataclasses.replace(info.config, train=train)))


@pytest.mark.parametrize(("split", "says"), [
    ("test", "the run's own: test pictures. They compare"),
    ("train", "the run's own: training pictures, because the data have no test pictures. They compare"),
    ("", "the run's own: test pictures, or training pictures if the data have no others. They compare"),
])  # fmt: skip
def test_limits_say_which_pictures_the_figures_are_of(split, says):
    assert says in card_of(make_info(measured_on=split))
