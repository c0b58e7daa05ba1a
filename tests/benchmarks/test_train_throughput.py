"""What the benchmark compares is comparable, and its report says what was measured."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from benchmarks import train_throughput
from benchmarks.gpu import schedule
from benchmarks.plain_recipe import PlainCycleGAN
from benchmarks.train_report import spread_out
from benchmarks.train_throughput import OFF, WAYS, compare, epoch_rates, markdown, measured, order_of, train_config
from cyclegan.networks import winograd
from cyclegan.training.trainer import Trainer

REPORTS = Path(__file__).parents[2] / "benchmarks" / "reports"
ARGS = argparse.Namespace(device="cpu", generator="resnet_6", ngf=4, ndf=4)


@pytest.mark.parametrize("way", ["reference", "winograd", "fp32"])
def test_the_plain_recipe_takes_the_steps_of_the_trainer(way, monkeypatch):
    monkeypatch.setattr(winograd, "_MIN_CHANNELS", 16)
    monkeypatch.setattr(winograd, "_MIN_TILES", 1)
    trainer = Trainer(train_config(way, 32, 1, ARGS), None, Accelerator(cpu=True))
    kinds = {type(layer) for layer in trainer.networks["gen_ab"].modules()}
    assert (winograd.WinogradConv2d in kinds) == (way != "reference")
    plain = PlainCycleGAN(4, 4, 6, seed=9)
    plain.real, plain.fake = plain.real.double(), plain.fake.double()
    ours = trainer.networks
    for name, network in ours.items():
        plain.networks[name].double()
        plain.load(name, network.double().parameters())
    for _ in range(2):
        a, b = (torch.rand(1, 3, 32, 32, dtype=torch.float64) * 2 - 1 for _ in range(2))
        expected, found = trainer.step({"real_a": a, "real_b": b}), plain.step(a, b)
        assert set(expected) == set(found) and len(found) == 8
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value.double(), rtol=1e-6 if way == "reference" else 1e-5, atol=0)
    with pytest.raises(ValueError, match="gen_ab holds a weight"):
        plain.load("gen_ab", ours["disc_a"].parameters())


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_a_config_that_can_be_trained(way):
    config = train_config(way, 32, 1, argparse.Namespace(**{**vars(ARGS), "device": "cuda"}))
    config.validate()
    levers = {key for key, value in OFF.items() if getattr(config.run, key) != value}
    if way in OFF:
        assert levers - {"compile"} == {way} - {"compile"}  # Alone, but that CUDA graphs need it.


def test_what_matters_most_is_measured_first():
    cases = order_of(["plain", "default", "all", "bf16"], [256, 512], [1, 8])
    assert len(cases) == 16
    assert cases[:3] == [(256, 1, "plain"), (256, 1, "default"), (256, 1, "bf16")]
    assert cases[3:6] == [(256, 8, "plain"), (256, 8, "default"), (256, 1, "all")]


def test_the_report_has_ratios_of_rounds_and_names_what_is_missing():
    cases = [{"way": way, "size": 64, "batch": batch, "settings": {}} for way, batch in
             (("plain", 1), ("default", 1), ("default", 2), ("bf16", 1), ("all", 1))]  # fmt: skip
    measured(cases[0], [0.2, 0.4, 0.6], 1.0)
    measured(cases[1], [0.1, 0.1, 0.2], 0.5)
    measured(cases[2], [0.1, 0.1, 0.1], 0.5)
    cases[3] |= {"status": "out of memory", "reason": "x"}
    cases[4] |= {"status": "skipped", "reason": "the time was up"}
    compare(cases, True, {64: 2e12}, {"bf16": 100.0})
    assert cases[1]["times_plain"]["median"] == 3.0  # Of 2, 4 and 3, round by round.
    assert cases[2]["times_plain_batch_1"] == 8.0 and "times_plain" not in cases[2]
    assert cases[1]["utilisation"] == {"bf16": 0.2}
    about = {"processor": "p", "cores": 2, "memory_gib": 1, "torch": "2", "commit": "c"}
    text = markdown({
        "command": "python -m x", "trial": True, "machine": about, "device": "the CPU", "threads": 1, "steps": 3,
        "warmup": 1, "generator": "resnet_6", "ngf": 4, "ndf": 4, "paired": True, "kind": "cpu", "sizes": [64],
        "batches": [1, 2], "ways": ["plain", "default", "all", "bf16"], "matmul_tflops": {"bf16": 100.0},
        "tflop_per_pair": {"64": 2.0}, "cases": cases,
        "epochs": [{"size": 64, "batch": 1, "status": "failed", "reason": "no disk"}],
    })  # fmt: skip
    assert "**A trial**" in text and "| 1 | bf16 | out of memory |" in text and "failed: no disk" in text
    assert "| 1 | default | 100 (100–150) | 10 | 3.00 (2.50–3.50) | 4.00 | 0.50 | 20.0% |" in text
    assert "Left out, as the time was up (way × batch): all × 1." in text
    tables = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert {line.count("|") for line in tables} == {9}


def measured_in_bf16(monkeypatch, *, native, ways=()):
    """The ways, the yardsticks, and the report's sentence about bf16, of a processor with or without it."""
    monkeypatch.setattr(train_throughput, "computes_bf16", lambda device: native)
    monkeypatch.setattr(sys, "argv", ["train_throughput", "--device", "cpu", *ways])
    product, dtypes = torch.Tensor.__matmul__, set()
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: (dtypes.add(a.dtype), product(a[:4], b))[1])
    found = train_throughput.parse().ways
    rates = train_throughput.matmul_rates("cpu", repeats=1)
    about = {"processor": "p", "cores": 2, "memory_gib": 1, "torch": "2", "commit": "c"}
    text = markdown({
        "command": "c", "trial": False, "machine": about, "device": "the CPU", "threads": 1, "steps": 3, "warmup": 1,
        "generator": "resnet_6", "ngf": 4, "ndf": 4, "paired": True, "kind": "cpu", "sizes": [], "batches": [],
        "ways": found, "matmul_tflops": rates, "cases": [], "epochs": [],
    })  # fmt: skip
    assert {str(dtype) for dtype in dtypes} == {{"bf16": "torch.bfloat16", "fp32": "torch.float32"}[n] for n in rates}
    return found, set(rates), [line for line in text.splitlines() if "only emulates" in line]


def test_emulated_bf16_is_neither_a_yardstick_nor_measured_unless_asked_for(monkeypatch):
    ways, rates, said = measured_in_bf16(monkeypatch, native=True)
    assert "bf16" in ways and rates == {"bf16", "fp32"} and not said
    ways, rates, said = measured_in_bf16(monkeypatch, native=False)
    assert "bf16" not in ways and "plain" in ways and rates == {"fp32"}
    assert said[0].endswith("because this device only emulates it; so its way is left out, too.")
    ways, rates, said = measured_in_bf16(monkeypatch, native=False, ways=("--ways", "plain,bf16"))
    assert ways == ["plain", "bf16"] and rates == {"fp32"} and said[0].endswith("only emulates it.")


def test_epochs_are_timed_from_end_to_end_and_planned_to_fit():
    assert epoch_rates([(10.0, 50), (15.0, 100), (25.0, 150)], 2, 40.0) == {
        "pairs_per_second": [20.0, 10.0], "share_of_bare": [0.5, 0.25]}  # fmt: skip
    assert schedule(None, 1096, 240) == (100, 100)
    assert sum(schedule(100.0, 1000, 130.0)) == 8  # 100 s × 100 pairs/s × 0.85 = 8.5 epochs.
    assert schedule(0.1, 1000, 130.0) == (1, 1)
    assert spread_out([1, 2, 3, 4, 5])[:3] == [5, 1, 3] and sorted(spread_out([2, 4, 7, 9])) == [2, 4, 7, 9]
    assert spread_out([3]) == [3]


@pytest.mark.parametrize("name", ["train_throughput-cpu-128-levers", "train_throughput-cpu-256"])
def test_the_committed_report_says_what_its_figures_say(name):
    report = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
    assert markdown(report) == (REPORTS / f"{name}.md").read_text(encoding="utf-8")
