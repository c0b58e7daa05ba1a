"""Tars and tables of pictures that are known by their level of grey."""

import io
import tarfile

import pytest
from PIL import Image


def picture(level, size=(20, 10)):
    """A PNG file's bytes."""
    stream = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def table(columns, **features):
    """A table with columns of pictures, by their levels of grey, unless their feature is given."""
    import datasets

    cells = {name: values if name in features else [
        None if v is None else {"bytes": picture(v), "path": None} for v in values] for name, values in columns.items()
    }  # fmt: skip
    kinds = {name: features.get(name, datasets.Image()) for name in columns}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(kinds))


def parquet(given):
    """A table as a Parquet file's bytes, in groups of four rows."""
    stream = io.BytesIO()
    given.to_parquet(stream, batch_size=4)
    return stream.getvalue()


@pytest.fixture
def write_tar(tmp_path):
    """Write a tar whose members are levels of grey, or bytes by name, into tmp_path/shards."""

    def write(name, *levels, **others):
        path = tmp_path / "shards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        members = {f"{level:03d}.png": picture(level) for level in levels} | {
            name.replace("_", "."): content for name, content in others.items()
        }
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def shards(tmp_path, write_tar):
    """Tars of both domains, 4 of 5 pictures and 3 of 4, with members that aren't pictures; and test tars."""
    for number in range(4):
        write_tar(f"trainA-{number:04d}.tar", *range(10 * number, 10 * number + 5), about_json=b"{}")
    for number in range(3):
        write_tar(f"trainB/{number:04d}.tar", *range(100 + 10 * number, 104 + 10 * number))
    write_tar("testA-0000.tar", 200, 201)
    write_tar("testB-0000.tar", 210, 211, 212)
    return tmp_path / "shards"


LEVELS = {"real_a": {10 * n + i for n in range(4) for i in range(5)},
          "real_b": {100 + 10 * n + i for n in range(3) for i in range(4)}}  # fmt: skip
