from __future__ import annotations

import multiprocessing
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from flowcut_napari.core import ArrayCache
from flowcut_napari.core.cache import array_digest


def test_what_was_put_is_got_back_exactly(tmp_path: Path, random: np.random.Generator) -> None:
    cache = ArrayCache(tmp_path)
    array = random.standard_normal((30, 7)).astype(np.float32)
    assert cache.get("features", "a") is None
    cache.put(array, "features", "a")
    found = cache.get("features", "a")
    assert found is not None
    assert found.dtype == np.float32
    assert np.array_equal(found, array)
    assert cache.get("features", "b") is None
    assert cache.get("featuresa") is None


def test_it_computes_once(tmp_path: Path) -> None:
    cache, calls = ArrayCache(tmp_path), []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.arange(3)

    for _ in range(3):
        assert cache.get_or_compute(compute, "key").tolist() == [0, 1, 2]
    assert len(calls) == 1


def test_it_never_grows_past_its_limit_and_drops_the_oldest(tmp_path: Path) -> None:
    import os

    cache = ArrayCache(tmp_path, limit_gb=1e-3)
    for number in range(40):
        cache.put(np.zeros(12_500), str(number))  # 100 kB
        cache.get("0")  # used all the time
        for age, path in enumerate(sorted(tmp_path.glob("??/*.npy"), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(path, (age, age)) if cache._path(("0",)) != path else None
        assert cache.size() <= 1.2e6
    assert cache.get("0") is not None
    assert cache.get("39") is not None
    assert cache.get("1") is None


def test_a_damaged_entry_is_as_good_as_none(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path)
    cache.put(np.arange(1000), "key")
    (path,) = tmp_path.glob("??/*.npy")
    path.write_bytes(path.read_bytes()[:300])
    assert cache.get("key") is None
    assert cache.get_or_compute(lambda: np.arange(3), "key").tolist() == [0, 1, 2]
    assert cache.get("key") is not None


def test_the_folder_can_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "cache")
    cache.put(np.arange(3), "key")
    shutil.rmtree(tmp_path / "cache")
    assert cache.get("key") is None
    cache.put(np.arange(3), "key")
    assert cache.get("key") is not None


def test_a_folder_that_cannot_be_written_warns_once_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ArrayCache(tmp_path / "file" / "cache")
    with pytest.warns(UserWarning, match="cannot be written"):
        cache.put(np.arange(3), "key")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put(np.arange(3), "key")
    assert cache.get("key") is None


def _fill(folder: Path, seed: int) -> int:
    cache = ArrayCache(folder, limit_gb=2e-3)
    wrong = 0
    for step in range(150):
        number = (step * 7 + seed) % 25
        found = cache.get_or_compute(lambda number=number: np.full(12_500, number), str(number))
        wrong += not (found == number).all()
    return wrong


def test_two_processes_can_share_a_folder(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_fill, [(tmp_path, 0), (tmp_path, 3)]) == [0, 0]
    assert list(tmp_path.glob("??/*.part")) == []


def test_the_digest_tells_values_shapes_and_types_apart() -> None:
    values = np.arange(12, dtype=np.float32)
    digests = {
        array_digest(values),
        array_digest(values.reshape(3, 4)),
        array_digest(values.astype(np.float64)),
        array_digest(values + 1),
    }
    assert len(digests) == 4
    assert array_digest(np.asfortranarray(values.reshape(3, 4))) == array_digest(values.reshape(3, 4))
