"""Reading JSON files that are larger than memory should hold: the items of the arrays in a document, one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from flowcut_napari.core.errors import InputError

_CHUNK = 1 << 20
_LONGEST_WORD = 64
_SPACE = " \t\r\n"


def refuse_constant(name: str) -> Any:
    """Refuse what Python's reader takes for numbers and JSON does not: NaN and the infinities."""
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=refuse_constant)


class Item(NamedTuple):
    """A value in a document: bytes `start` to before `end` of the file are its JSON."""

    name: str
    value: Any
    start: int
    end: int


def read_items(path: Path, names: set[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Read a JSON object, and give what is in it as (name, value); of an array each item by itself, with its name.

    Parameters, empty arrays and errors are those of `read_places`.
    """
    return ((item.name, item.value) for item in read_places(path, names))


def read_list(path: Path) -> Iterator[Any]:
    """Read a JSON array, and give its items one by one.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON array, ends too early, or goes on after its end.
    """
    try:
        with path.open(encoding="latin-1", newline="") as stream:
            yield from _Reader(stream).list_items()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


def read_places(path: Path, names: set[str] | None = None) -> Iterator[Item]:
    """Read a JSON object like `read_items`, and also say where in the file each value stands (see `read_part`).

    An empty array gives nothing; `names`, if given, gets the name of everything that is there.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON object, ends too early, goes on after its end, or has a name twice.
    """
    try:
        # A letter a byte, line ends as they are: so places in the text are places in the file.
        with path.open(encoding="latin-1", newline="") as stream:
            yield from _Reader(stream).items(set() if names is None else names)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None


def read_part(path: Path, stream: IO[bytes], start: int, end: int) -> Any:
    """Read the value at the bytes `start` to before `end` of the open file `path`, as `read_places` found it.

    Raises
    ------
    InputError
        If there is no whole value, or something beside it.
    """
    try:
        stream.seek(start)
        return _DECODER.decode(stream.read(end - start).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON from byte {start} ({error})") from None


class _Reader:
    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._text = ""
        # Of the text in the file, and of what comes next in the text.
        self._start = 0
        self._place = 0
        self._ended = False

    def items(self, names: set[str]) -> Iterator[Item]:
        self._expect("{")
        while self._peek() != "}":
            name, *_ = self._value()
            if not isinstance(name, str) or name in names:
                raise ValueError(
                    f"the name {str(name)[:40]!r} " + ("stands there twice" if name in names else "is no text")
                )
            names.add(name)
            self._expect(":")
            if self._peek() == "[":
                for item in self._array():
                    yield Item(name, *item)
            else:
                yield Item(name, *self._value())
            self._comma_or("}")
        self._place += 1
        if self._peek():
            raise ValueError("it goes on after its end")

    def list_items(self) -> Iterator[Any]:
        for value, *_ in self._array():
            yield value
        if self._peek():
            raise ValueError("it goes on after its end")

    def _array(self) -> Iterator[tuple[Any, int, int]]:
        self._expect("[")
        while self._peek() != "]":
            yield self._value()
            self._comma_or("]")
        self._place += 1

    def _comma_or(self, end: str) -> None:
        if self._peek() == ",":
            self._place += 1
            if self._peek() != end:
                return
            raise ValueError(f"a comma before {end}")
        if self._peek() != end:
            raise ValueError(
                f"{self._peek()!r} where a comma or {end} belongs" if self._peek() else "it ends too early"
            )

    def _value(self) -> tuple[Any, int, int]:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                # Only what stands at the end of the piece, or a long text, may be whole with the next.
                far = len(self._text) - error.pos > _LONGEST_WORD and not error.msg.startswith("Unterminated string")
                if far or not self._more():
                    raise
                continue
            # A number near the end may go on in the next piece: 0 in ``0.5``.
            length = end - self._place
            if len(self._text) - end > _LONGEST_WORD or not self._more():
                part = self._text[self._place : self._place + length]
                if not part.isascii():
                    value = _DECODER.decode(part.encode("latin-1").decode("utf-8"))
                start = self._start + self._place
                self._place += length
                return value, start, start + length

    def _expect(self, sign: str) -> None:
        if self._peek() != sign:
            raise ValueError(f"{self._peek()!r} where {sign} belongs" if self._peek() else "it ends too early")
        self._place += 1

    def _peek(self) -> str:
        """Return the next sign that is no space, or nothing at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in _SPACE:
                self._place += 1
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def _more(self) -> bool:
        if self._ended:
            return False
        # Twice as much each time an item does not fit, so that a huge one is not looked through again and again.
        piece = self._stream.read(max(_CHUNK, len(self._text) - self._place))
        self._ended = not piece
        self._text = self._text[self._place :] + piece
        self._start += self._place
        self._place = 0
        return not self._ended
