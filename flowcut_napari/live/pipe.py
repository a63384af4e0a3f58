"""Records over the two pipes of a child process: a length, then a pickle. Both ends are this program."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

_LENGTH = struct.Struct(">Q")


def pack_record(record: Any) -> bytes:
    """Return a record as it goes over a pipe."""
    content = pickle.dumps(record, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def write_record(stream: BinaryIO, record: Any) -> None:
    """Send one record."""
    stream.write(pack_record(record))
    stream.flush()


def read_records(stream: BinaryIO) -> Iterator[Any]:
    """Yield records until the other end is gone; one that was cut off is not there."""
    while True:
        head = stream.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return
        (length,) = _LENGTH.unpack(head)
        content = stream.read(length)
        if len(content) < length:
            return
        yield pickle.loads(content)


class ParentPipes:
    """The child's end: questions from standard input, answers to what was standard output.

    Whatever else writes to standard output of this process goes to its standard error from here on.
    """

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._questions = os.fdopen(os.dup(0), "rb")
        self._lock = threading.Lock()

    def send(self, record: Any) -> None:
        """Send an answer; if nobody is left to read it, this process ends."""
        with self._lock:
            try:
                write_record(self._answers, record)
            except OSError:
                os._exit(0)

    def records(self) -> Iterator[Any]:
        """Yield questions until the parent is gone."""
        return read_records(self._questions)
