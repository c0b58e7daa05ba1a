"""Of two ways of a layer the faster one is taken, measured once."""

import json
import threading

import pytest
import torch

from cyclegan.config import ModelConfig
from cyclegan.networks import build_generator, choices, fast
from cyclegan.networks.choices import Choices
from cyclegan.networks.fast import fast_generator

SHAPE = (1, 2, 4, 4)


@pytest.fixture
def clock(monkeypatch):
    """Let each way take what its name says, in seconds; a list gives a time for each call that counts."""
    calls = []

    def seconds(way, x):
        calls.append(x.shape)
        times = way(x)
        return times.pop(0) if isinstance(times, list) else times

    monkeypatch.setattr(choices, "_seconds", seconds)
    return calls


def way(times):
    return lambda x: times


def test_the_faster_way_is_taken_and_remembered(tmp_path, clock):
    first = Choices(tmp_path)
    assert first.other_is_faster("a", SHAPE, way(2.0), way(1.0))
    assert not first.other_is_faster("b", SHAPE, way(1.0), way(2.0))
    assert not first.other_is_faster("c", SHAPE, way(1.0), way(0.99))  # That can't be told from chance.
    assert first.other_is_faster("a", (2, 2, 8, 8), way(2.0), way(1.0))
    measured = len(clock)
    # Where it is clear, one round is enough.
    assert measured == 3 * 2 + 2 * choices.ROUNDS and clock[-1] == (2, 2, 8, 8)
    for known in (first, Choices(tmp_path)):
        assert known.other_is_faster("a", SHAPE, way(1.0), way(2.0))
        assert not known.other_is_faster("b", SHAPE, way(2.0), way(1.0))
    assert len(clock) == measured
    assert [len(found) for found in json.loads((tmp_path / "layers.json").read_text()).values()] == [4]


def test_each_number_of_threads_and_each_processor_has_its_own(tmp_path, clock, monkeypatch):
    assert Choices(tmp_path).other_is_faster("a", SHAPE, way(2.0), way(1.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert not Choices(tmp_path).other_is_faster("a", SHAPE, way(1.0), way(2.0))
    monkeypatch.setattr(choices, "_processor", lambda: "another")
    assert Choices(tmp_path).other_is_faster("a", SHAPE, way(2.0), way(1.0))
    assert len(json.loads((tmp_path / "layers.json").read_text())) == 2


def test_what_a_busy_machine_says_is_not_remembered(tmp_path, clock):
    one = Choices(tmp_path)
    assert one.other_is_faster("a", SHAPE, way([1.2, 9.0, 1.0]), way([1.0, 1.0, 0.5]))
    assert (tmp_path / "layers.json").is_file()
    for rule in (True, False):  # Then the rule decides, and this process keeps to it.
        assert one.other_is_faster(f"b{rule}", SHAPE, way([1.0, 9.0, 2.0]), way([1.4, 0.5, 9.0]), rule=rule) == rule
        assert one.other_is_faster(f"b{rule}", SHAPE, way(2.0), way(1.0), rule=False) == rule
    assert not Choices(tmp_path).other_is_faster("bTrue", SHAPE, way(1.0), way(2.0))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b'{"%s": [1]}'])
def test_a_damaged_file_is_measured_anew(tmp_path, clock, content):
    (tmp_path / "layers.json").write_bytes(content.replace(b"%s", choices._processor().encode()))
    assert Choices(tmp_path).other_is_faster("a", SHAPE, way(2.0), way(1.0))
    assert len(clock) == 2
    assert Choices(tmp_path).other_is_faster("a", SHAPE, way(1.0), way(2.0))


def test_where_nothing_can_be_written_the_process_remembers(tmp_path, clock):
    (tmp_path / "file").touch()
    one = Choices(tmp_path / "file")
    assert one.other_is_faster("a", SHAPE, way(2.0), way(1.0)) and one.other_is_faster("a", SHAPE, way(1.0), way(2.0))


def test_without_a_home_the_process_remembers(clock, monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(choices.Path, "home", nowhere)
    one = Choices()
    assert one.other_is_faster("a", SHAPE, way(2.0), way(1.0)) and one.other_is_faster("a", SHAPE, way(1.0), way(2.0))


def test_measuring_draws_nothing_from_others(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Choices(tmp_path).other_is_faster("a", SHAPE, torch.relu, torch.tanh)
    assert torch.equal(torch.rand(1), expected)


def test_threads_do_not_measure_each_other(tmp_path, clock):
    one, found, ready = Choices(tmp_path), [], threading.Barrier(4)

    def ask():
        ready.wait(60)
        found.append(one.other_is_faster("a", SHAPE, way(2.0), way(1.0)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4 and len(clock) == 2


@pytest.mark.parametrize("other", [True, False])
def test_a_network_is_measured_when_it_is_loaded(tmp_path, monkeypatch, other):
    measured, used = [], []
    monkeypatch.setenv(choices.VARIABLE, "")
    monkeypatch.setattr(fast, "CHOICES", Choices(tmp_path))
    monkeypatch.setattr(choices, "_measured", lambda shape, *ways: (measured.append(shape) or other, True))
    for kind in (fast._Winograd, fast._Doubled, fast._FewOutputs):
        monkeypatch.setattr(kind, "other", lambda self, x, kind=kind: used.append(kind) or self.usual(x))
    made = [build_generator(ModelConfig(generator="resnet_6", ngf=16, upsample="resize")).eval() for _ in range(2)]
    networks = [fast_generator(network, "cpu") for network in made]
    # Of the twelve convolutions of the blocks, two doublings and the last layer, each kind once, as at 256².
    assert sorted(measured) == [(1, 16, 256, 256), (1, 32, 128, 128), (1, 64, 64, 64), (1, 64, 64, 64)]
    x = torch.rand(1, 3, 64, 64)
    used.clear()
    with torch.inference_mode():
        for network, plain in zip(networks, made, strict=True):
            torch.testing.assert_close(network(x), plain(x), atol=1e-4, rtol=0)
    assert len(measured) == 4
    assert (fast._Doubled in used) == (fast._FewOutputs in used) == (fast._Winograd in used) == other
    fast_generator(made[0], "cpu")
    assert len(measured) == 4


def test_wide_layers_are_measured_with_a_smaller_picture_or_not_at_all(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setenv(choices.VARIABLE, "")
    monkeypatch.setattr(fast, "CHOICES", Choices(tmp_path))
    monkeypatch.setattr(choices, "_measured", lambda shape, *ways: (measured.append(shape) or True, True))
    monkeypatch.setattr(fast, "MOST_PRODUCTS", 64 * 64 * 9 * 32**2)
    made = build_generator(ModelConfig(generator="resnet_6", ngf=16, upsample="resize")).eval()
    network = fast_generator(made, "cpu")
    assert measured == [(1, 64, 32, 32)]  # The doublings, and the last layer, take more products.
    assert all(layer.is_other_faster() for layer in network.modules() if isinstance(layer, fast._TwoWays))


def test_by_rule_nothing_is_measured(monkeypatch):
    monkeypatch.setenv(choices.VARIABLE, "Fixed")
    monkeypatch.setattr(choices, "_measured", None)
    plain = build_generator(ModelConfig(generator="resnet_6", ngf=16, upsample="resize")).eval()
    network = fast_generator(plain, "cpu")
    kinds = [layer for layer in network.modules() if isinstance(layer, fast._TwoWays)]
    assert len(kinds) == 12 + 2 + 1
    assert all(layer.is_other_faster() != isinstance(layer, fast._Winograd) for layer in kinds)  # 64 × 64 are too few.
