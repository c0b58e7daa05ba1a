"""Several processes: what they exchange in a step."""

import json

from cyclegan.methods import METHODS
from tests.ui.conftest import free_port


def test_gradients_are_sent_once_and_while_the_backward_pass_goes_on(start_script):
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true"}
    both = [start_script("-m", "tests.sent", env={**env, "RANK": str(i), "LOCAL_RANK": str(i)}) for i in range(2)]
    texts = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts[0][1][-3000:]
    for out, _ in texts:
        found = json.loads(out.splitlines()[-1])
        assert len(found["sent"]) > len(found["gradients"])  # In several parts, each sent as soon as it is there.
        assert sum(found["sent"]) == sum(found["gradients"].values())
        assert found["began"][0] < found["backward_ended"]


def test_every_method_keeps_its_weights_equal_in_two_processes(start_script):
    env = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true"}
    both = [start_script("-m", "tests.together", env={**env, "RANK": str(i), "LOCAL_RANK": str(i)}) for i in range(2)]
    texts = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts[0][1][-3000:]
    found = json.loads(texts[0][0].splitlines()[-1])
    assert found.keys() == METHODS.keys() and found["cut"]
    assert all(each == {"moved": True, "equal": True} for each in found.values()), found
