"""The index of a checkpoint: what it names is not run, and what it says fits the files."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.metadata import Metadata

from ovocr.base.errors import OvocrError
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.checkpoint import load_checkpoint, read_state, save_checkpoint
from ovocr.trainer.runs.checkpoint_index import INDEX_FILE, read_index, saved_shapes

CUT_PARTS = "the parts of 'rows' do not fit together"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "7", {"rows": torch.ones(5, 4), "number": torch.tensor(2.0)}, {"step": 7}, Ranks())
    return tmp_path / "7"


def change(checkpoint: Path, work: Callable[[Any], None]) -> None:
    index = pickle.loads((checkpoint / INDEX_FILE).read_bytes())
    work(index)
    (checkpoint / INDEX_FILE).write_bytes(pickle.dumps(index))


def of_place(**values: Any) -> Callable[[Any], None]:
    """Returns a function that changes where the tensors are."""

    def work(index: Any) -> None:
        for place in index.storage_data.values():
            vars(place).update(values)

    return work


def without_rows(index: Any) -> None:
    index.state_dict_metadata["rows"].chunks.clear()


def with_rows_twice(index: Any) -> None:
    index.state_dict_metadata["rows"].chunks *= 2


def test_shapes_are_those_of_the_tensors(checkpoint: Path) -> None:
    assert saved_shapes(checkpoint) == {"rows": (5, 4), "number": ()}
    assert read_index(checkpoint).state_dict_metadata["rows"].chunks[0].sizes == torch.Size([5, 4])


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (without_rows, CUT_PARTS),
        (with_rows_twice, CUT_PARTS),
        (lambda index: index.storage_data.clear(), "it does not say where 'rows' is"),
        (of_place(offset=-1), "a shape or an offset is not one"),
        (of_place(offset=2**40), "__0_0.distcp is too short for 'rows'"),
        (of_place(length=3), "__0_0.distcp is too short for 'rows'"),
        (of_place(relative_path="../7/__0_0.distcp"), "'../7/__0_0.distcp' is not the name of a file of tensors"),
        (of_place(transform_descriptors=["zstd"]), "is not the name of a file of tensors, or the file is encoded"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(checkpoint: Path, work: Callable[[Any], None], message: str) -> None:
    change(checkpoint, work)
    rows = torch.zeros(5, 4)
    with pytest.raises(OvocrError, match=rf"^{checkpoint}: the checkpoint cannot be read: ValueError: .*{message}"):
        load_checkpoint(checkpoint, {"rows": rows}, Ranks())
    assert not rows.any()


def test_an_index_cannot_change_the_types_that_it_names(checkpoint: Path) -> None:
    name = b"ctorch.distributed.checkpoint.metadata\nMetadata\n"
    (checkpoint / INDEX_FILE).write_bytes(name + b"(N}S'changed'\nI1\nstb.")
    with pytest.raises(OvocrError, match="it has a type in place of a Metadata"):
        read_index(checkpoint)
    assert not hasattr(Metadata, "changed")


def test_an_index_of_a_few_bytes_takes_little_memory(checkpoint: Path) -> None:
    (checkpoint / INDEX_FILE).write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(OvocrError, match="it stores an object under a number that is too large"):
        read_index(checkpoint)


def test_state_names_files_of_the_checkpoint_only(checkpoint: Path) -> None:
    (checkpoint / "state.json").write_text('{"step": 7, "crc32": {"/dev/zero": 1}}')
    with pytest.raises(OvocrError, match="state.json: crc32 must have the checksums of the files"):
        read_state(checkpoint)
