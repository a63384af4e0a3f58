from __future__ import annotations

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcut_napari.core import CutParameters
from flowcut_napari.live.messages import Look
from flowcut_napari.live.pipe import read_records, write_record


def _written(*records: object) -> bytes:
    stream = io.BytesIO()
    for record in records:
        write_record(stream, record)
    return stream.getvalue()


def test_records_arrive_as_they_were_sent_and_in_order() -> None:
    look = Look(3, 7, CutParameters.preset("handmade"), near=(8, 9))
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    first, second, third = read_records(io.BytesIO(_written(look, picture, None)))
    assert first == look
    np.testing.assert_array_equal(second, picture)
    assert third is None


@settings(deadline=None, max_examples=60)
@given(lost=st.integers(1, 200))
def test_a_record_that_was_cut_off_anywhere_is_not_there(lost: int) -> None:
    whole, cut_off = _written("whole"), _written("x" * 200)
    content = whole + cut_off[: max(0, len(cut_off) - lost)]
    assert list(read_records(io.BytesIO(content))) == ["whole"]


def test_a_record_larger_than_a_pipe_holds_goes_through_in_one_piece() -> None:
    ours, theirs = os.pipe()
    # Another process writes: a pipe holds 64 kB, and whoever fills it waits for a reader.
    code = "import os, numpy as np\nfrom flowcut_napari.live.pipe import write_record\n"
    code += f"write_record(os.fdopen({theirs}, 'wb'), np.arange(1_000_000))"
    writer = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs])
    os.close(theirs)
    (record,) = read_records(os.fdopen(ours, "rb"))
    np.testing.assert_array_equal(record, np.arange(1_000_000))
    assert writer.wait(10) == 0


@pytest.mark.parametrize("writing", ["print('by hand')", "import os; os.write(1, b'by the system')"])
def test_what_else_a_child_writes_to_its_standard_output_does_not_disturb_the_records(writing: str) -> None:
    code = f"from flowcut_napari.live.pipe import ParentPipes\nparent = ParentPipes()\n{writing}\n"
    code += "for record in parent.records(): parent.send(record + 1)"
    run = subprocess.run([sys.executable, "-c", code], input=_written(1, 2), capture_output=True, check=True)
    assert list(read_records(io.BytesIO(run.stdout))) == [2, 3]
    assert b"by " in run.stderr


def test_a_child_whose_parent_no_longer_reads_ends_without_a_word() -> None:
    code = "from flowcut_napari.live.pipe import ParentPipes\nparent = ParentPipes()\n"
    code += "for record in parent.records(): parent.send(record)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None
    _, said = child.communicate(_written("anybody there?"), timeout=20)
    assert (child.returncode, said) == (0, b"")
