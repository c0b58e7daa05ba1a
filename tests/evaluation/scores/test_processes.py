"""Two processes that share the pictures find what one finds alone."""

import json

import pytest

from tests.ui.conftest import free_port, write_epoch

WORDS = ("-m", "cyclegan", "evaluate")
MORE = ("--dataset", "streets:count=6,test_count=5,size=32", "--scores", "kid,pairs,segmentation", "--device", "cpu")


def test_two_processes_find_what_one_finds(start_script, tmp_path):
    run = tmp_path / "mine"
    write_epoch(run, 1)
    alone = start_script(*WORDS, str(run), *MORE, env={"XDG_CACHE_HOME": str(tmp_path)})
    assert alone.communicate(timeout=300)[0] and alone.returncode == 0
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
           "XDG_CACHE_HOME": str(tmp_path / "other")}  # fmt: skip
    both = [start_script(*WORDS, str(run), *MORE, "--name", "both", env={**env, "RANK": str(i)}) for i in range(2)]
    texts = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts[0][1][-3000:]
    assert "day → night" in texts[0][0] and texts[1][0] == ""  # One of them prints.
    one, two = (json.loads((run / "scores" / f"{name}.json").read_text()) for name in ("test", "both"))
    for way in ("ab", "ba"):
        assert one[way]["measured_on"] == two[way]["measured_on"]
        for section in ("scores", "baselines", "ceilings"):
            for answer, scores in one[way][section].items():
                for score in ("kid", "pairs", "segmentation"):
                    for key, value in scores.get(score, {}).items():
                        if key != "details":
                            found = two[way][section][answer][score][key]["value"]
                            # A batch of other pictures may round otherwise.
                            assert found == pytest.approx(value["value"], rel=1e-3, abs=1e-3), (way, answer, key)
