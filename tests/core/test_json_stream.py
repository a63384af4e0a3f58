from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcut_napari.core import InputError, json_stream
from flowcut_napari.core.json_stream import read_items, read_part, read_places

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.dictionaries(st.text(), VALUES, max_size=5),
    chunk=st.sampled_from([1, 2, 7, 64, 1 << 20]),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_it_reads_what_json_reads_in_pieces_of_any_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    document: dict[str, Any],
    chunk: int,
    indent: int | None,
    ascii_only: bool,
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=ascii_only), "utf-8", errors="surrogatepass")
    if any("\ud800" <= letter <= "\udfff" for letter in path.read_text("utf-8", errors="surrogatepass")):
        return
    names: set[str] = set()
    found: dict[str, list[Any]] = {}
    for name, value in read_items(path, names):
        found.setdefault(name, []).append(value)
    assert names == set(document)
    for name, value in document.items():
        assert found.get(name, []) == (value if isinstance(value, list) else [value])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it ends too early"),
        ("[]", r"'\[' where { belongs"),
        ("{", "Expecting value"),
        ('{"a":1', "it ends too early"),
        ('{"a":[1,2', "it ends too early"),
        ('{"a":"b', "Unterminated string"),
        ('{"a":[1,]}', "a comma before ]"),
        ('{"a":1,}', "a comma before }"),
        ('{"a":1}x', "goes on after its end"),
        ('{"a":NaN}', "NaN is no JSON number"),
        ('{"a" 1}', "'1' where : belongs"),
        ("{1:2}", "is no text"),
        ('{"a":1,"a":2}', "'a' stands there twice"),
        ('{"a":[1 2]}', "where a comma or ] belongs"),
        ("{'a':1}", "Expecting value"),
        ('{"a":' + "[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "document.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        list(read_items(path))


def test_a_mistake_early_in_a_large_file_is_found_without_reading_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    path = tmp_path / "document.json"
    path.write_text('{"a":[1,2,{x}' + "," * 1_000_000)
    pieces = []
    more = json_stream._Reader._more
    monkeypatch.setattr(json_stream._Reader, "_more", lambda self: pieces.append(1) or more(self))
    with pytest.raises(InputError, match="Expecting property name"):
        list(read_items(path))
    assert len(pieces) < 4


def test_other_than_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    path.write_bytes(b'{"a":"\xff"}')
    with pytest.raises(InputError, match="codec can't decode"):
        list(read_items(path))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=st.dictionaries(st.text(), VALUES, max_size=5),
    chunk=st.sampled_from([1, 7, 64, 1 << 20]),
    indent=st.sampled_from([None, 1, "\r\n"]),
    ascii_only=st.booleans(),
)
def test_every_value_is_found_again_at_its_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    document: dict[str, Any],
    chunk: int,
    indent: int | str | None,
    ascii_only: bool,
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    content = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="replace")
    path = tmp_path / "document.json"
    path.write_bytes(content)
    if len(json.loads(content)) < len(document):
        return  # letters that are no Unicode made two names one
    with path.open("rb") as stream:
        for item in read_places(path):
            assert json.loads(content[item.start : item.end]) == item.value
            assert content[item.start : item.end].strip() == content[item.start : item.end]
            assert read_part(path, stream, item.start, item.end) == item.value


@pytest.mark.parametrize(("start", "end"), [(0, 3), (5, 11), (6, 9), (6, 100), (50, 60)])
def test_a_place_that_is_none_is_refused(tmp_path: Path, start: int, end: int) -> None:
    path = tmp_path / "document.json"
    path.write_text('{"a": ["b", "c"]}')
    with path.open("rb") as stream, pytest.raises(InputError, match=f"cannot be read as JSON from byte {start}"):
        read_part(path, stream, start, end)
