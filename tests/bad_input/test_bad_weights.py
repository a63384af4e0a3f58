"""Bad input: weights. One clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import CHEAP, RAFT_ONLY, Result, _Forkserver, written


@pytest.fixture(scope="module")
def raft_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the right form."""
    import torch
    from torchvision.models.optical_flow import raft_small as build

    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(build(weights=None).state_dict(), path)
    return path


@pytest.fixture
def with_weights(server: _Forkserver, out: Path, clip: Path) -> Callable[..., Result]:
    """Run with one weights file for one flow model."""

    def run(path: Path, name: str = "raft-small", **how: Any) -> Result:
        return server.run(["masks", clip, "-o", out, *RAFT_ONLY, name, "--weights", f"{name}={path}"], **how)

    return run


def test_without_weights_and_network_both_ways_out_are_named(server: _Forkserver, out: Path, clip: Path) -> None:
    cache, folder = os.environ["FLOWCUT_CACHE"], str(out.parent / "my weights")
    environment = {"FLOWCUT_WEIGHTS": folder}
    result = server.run(["masks", clip, "-o", out, "--preset", "flowcut"], environment=environment, timeout=30)
    result.fails_with("dino_deitsmall16_pretrain.pth", "raft", cache, folder, "--weights dino=", "--preset handmade")
    assert written(out) == []
    assert written(Path(cache)) == []


def test_a_weights_file_that_is_missing_is_named(with_weights: Callable[..., Result], tmp_path: Path) -> None:
    with_weights(tmp_path / "absent.pth").fails_with("absent.pth", "no such file", "raft-small")
    with_weights(tmp_path).fails_with(str(tmp_path), "raft-small")


def test_a_home_that_does_not_exist_is_refused(with_weights: Callable[..., Result]) -> None:
    with_weights(Path("~nobody-of-this-name/raft.pth")).fails_with("~nobody-of-this-name")


@pytest.mark.parametrize("variable", ["FLOWCUT_WEIGHTS", "FLOWCUT_CACHE"])
def test_a_folder_in_a_home_that_does_not_exist_is_refused(
    server: _Forkserver, out: Path, clip: Path, variable: str
) -> None:
    arguments = ["masks", clip, "-o", out, *CHEAP, "--flow", "raft-small"]
    server.run(arguments, environment={variable: "~nobody-of-this-name/x"}).fails_with("~nobody-of-this-name")


def garbage(path: Path, sound: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def nothing(path: Path, sound: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path, sound: Path) -> None:
    path.write_bytes(sound.read_bytes()[: sound.stat().st_size // 2])


def web_page(path: Path, sound: Path) -> None:
    path.write_text("<!DOCTYPE html><title>Sign in</title>")


def lfs_pointer(path: Path, sound: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def of_another_model(path: Path, sound: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(3, 2).state_dict(), path)


def with_nan(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor.index_fill(0, tensor.new_tensor([0]).long(), float("nan")))


def with_infinity(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor * float("inf"))


def of_another_shape(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor[:-1])


def complex_numbers(path: Path, sound: Path) -> None:
    _change(path, sound, lambda tensor: tensor * 1j * float("nan"))


def without_storage(path: Path, sound: Path) -> None:
    import torch

    torch.save({name: value.to("meta") for name, value in torch.load(sound, weights_only=True).items()}, path)


def numbered(path: Path, sound: Path) -> None:
    import torch

    torch.save({0: torch.zeros(2)}, path)


def a_list(path: Path, sound: Path) -> None:
    import torch

    torch.save([torch.zeros(2)], path)


def a_number(path: Path, sound: Path) -> None:
    import torch

    torch.save(7, path)


def looks_like_torchscript(path: Path, sound: Path) -> None:
    shutil.copyfile(sound, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{sound.stem}/constants.pkl", pickle.dumps((), 2))


def _change(path: Path, sound: Path, change: Callable[[Any], Any]) -> None:
    import torch

    tensors = torch.load(sound, weights_only=True)
    name = next(name for name, value in tensors.items() if name.endswith("weight") and value.ndim == 4)
    tensors[name] = change(tensors[name])
    torch.save(tensors, path)


@pytest.mark.parametrize(
    "spoil",
    [
        garbage,
        nothing,
        cut_short,
        web_page,
        lfs_pointer,
        of_another_model,
        with_nan,
        with_infinity,
        of_another_shape,
        complex_numbers,
        without_storage,
        numbered,
        a_list,
        a_number,
        looks_like_torchscript,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_spoilt_weights_are_refused_by_name(
    with_weights: Callable[..., Result],
    out: Path,
    tmp_path: Path,
    raft_small: Path,
    spoil: Callable[[Path, Path], None],
) -> None:
    path = tmp_path / "spoilt.pth"
    spoil(path, raft_small)
    line = with_weights(path).fails_with(str(path))
    if spoil in (with_nan, with_infinity):
        assert "nan" in line.lower()
    assert written(out) == []


def test_weights_of_the_small_raft_are_none_of_the_large_one(
    with_weights: Callable[..., Result], out: Path, raft_small: Path
) -> None:
    with_weights(raft_small, "raft-large").fails_with(str(raft_small), "no weights of raft-large")
    assert written(out) == []


class _Payload:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ""])
@pytest.mark.parametrize("form", ["zip", "pickle", "old"])
def test_code_in_weights_is_refused_and_never_runs(
    with_weights: Callable[..., Result], out: Path, tmp_path: Path, form: str, suffix: str
) -> None:
    import torch

    trace = tmp_path / "it ran"
    payload = {"weight": torch.zeros(2), "evil": _Payload(f"touch '{trace}'")}
    path = tmp_path / f"evil{suffix}"
    if form == "pickle":
        path.write_bytes(pickle.dumps(payload["evil"]))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "zip")
    line = with_weights(path).fails_with(str(path))
    assert not trace.exists()
    if suffix == ".pth":
        assert "code" in line
    assert written(out) == []
    # The trap is a real one.
    if form == "pickle" and suffix == ".pth":
        pickle.loads(path.read_bytes())
        assert trace.exists()


@pytest.mark.parametrize("keep", [0, 4, 8, 200, -1])
def test_a_safetensors_file_cut_short_is_refused(
    with_weights: Callable[..., Result], out: Path, tmp_path: Path, raft_small: Path, keep: int
) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "short.safetensors"
    save_file(torch.load(raft_small, weights_only=True), path)
    path.write_bytes(path.read_bytes()[:keep])
    with_weights(path).fails_with(str(path))
    assert written(out) == []


@pytest.mark.parametrize(
    ("name", "needle"),
    [
        ("resnet18", "vision transformer"),
        ("swin_tiny_patch4_window7_224", "vision transformer"),
        ("vit_tiny_patch16_224.no_such_tag", "no_such_tag"),
        ("vit_tiny_patch16_224", "no weights of vit_tiny_patch16_224"),
        ("vit_tiny_patch16_224", "raft_small.pth"),
    ],
)
def test_features_that_cannot_be_made_are_refused(
    cheap: Callable[..., Result], out: Path, clip: Path, raft_small: Path, name: str, needle: str
) -> None:
    cheap(clip, "--features", name, "--weights", f"{name}={raft_small}").fails_with(name, needle)
    assert written(out) == []


def test_a_wrong_model_is_found_out_before_weights_are_asked_for(cheap: Callable[..., Result], clip: Path) -> None:
    cheap(clip, "--features", "resnet18").fails_with("resnet18", "vision transformer")


def test_weights_given_twice_for_one_model_are_refused(
    with_weights: Callable[..., Result], server: _Forkserver, out: Path, clip: Path, raft_small: Path
) -> None:
    twice = ["--weights", f"raft-small={raft_small}", "--weights", "raft-small=/nope/other.pth"]
    server.run(["masks", clip, "-o", out, *RAFT_ONLY, "raft-small", *twice[2:], *twice[:2]]).fails_with("raft-small")


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"sha256": "00"}'])
def test_weights_whose_record_does_not_fit_are_bad(server: _Forkserver, raft_small: Path, record: str) -> None:
    folder = Path(os.environ["FLOWCUT_CACHE"]) / "weights"
    folder.mkdir(parents=True)
    name = "raft_small_C_T_V2-01064c6d.pth"
    shutil.copyfile(raft_small, folder / name)
    (folder / f"{name}.json").write_text(record)
    result = server.run(["weights", "verify"])
    assert result.code == 1
    assert "BAD" in result.out
    assert name in result.out
    assert not result.strays
