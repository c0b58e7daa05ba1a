"""Progress bars leave the terminal as the next line needs it."""

import io

import pytest

from cyclegan.cli.progress import progress_bar


def reset(bar):
    bar.reset(10)


def write(bar):
    bar.write("a note", file=bar.fp)


@pytest.mark.parametrize("draw", [reset, write])
@pytest.mark.parametrize("leave", [True, False])
def test_an_error_begins_a_line_of_its_own(draw, leave):
    """tqdm itself leaves a bar that was drawn before its delay as it is, and the error would continue its line."""
    stream = io.StringIO()
    with pytest.raises(ValueError), progress_bar(delay=60, file=stream, leave=leave) as bar:
        draw(bar)
        raise ValueError
    stream.write("error: x")
    last = stream.getvalue().replace("\r", "\n").splitlines()[-1]
    assert last == "error: x" and ("it/s" in stream.getvalue() or not leave)


def test_a_line_above_a_bar_is_in_a_log_file_at_once(tmp_path):
    with open(tmp_path / "log", "w") as log, progress_bar(file=io.StringIO()) as bar:
        bar.write("a result", file=log)
        assert (tmp_path / "log").read_text() == "a result\n"


def test_a_bar_that_was_never_due_leaves_no_trace():
    stream = io.StringIO()
    with progress_bar(delay=60, file=stream) as bar:
        bar.update()
    assert stream.getvalue() == ""
