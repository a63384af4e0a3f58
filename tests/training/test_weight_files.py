"""Weights from elsewhere and back, and files that are none."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import data_path
from reference_model import rule_made_weights
from safetensors.torch import load_file, save_file

from flowcut_napari.core.errors import InputError, WeightsError
from flowcut_training.config import ModelParameters, load_config
from flowcut_training.engine.checkpoints import State
from flowcut_training.engine.start import start_model
from flowcut_training.trained import load_trained
from flowcut_training.weight_files import About, build_model, convert, fill, load_model, read_weights, write_model
from flowcut_training.weight_names import TABLE, to_detectron2

TINY = load_config("tiny").model


def tiny_weights(**changes: object) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_model(TINY.model_copy(update=changes)).state_dict()


def write_detectron2(path: Path, weights: dict[str, torch.Tensor], **more: object) -> Path:
    """Write weights as detectron2 does: .pth by torch, .pkl as a pickle of arrays."""
    renamed, _ = to_detectron2(weights)
    if path.suffix == ".pkl":
        arrays = {name: value.numpy() for name, value in renamed.items()}
        content = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save({"model": renamed, "iteration": 3, **more}, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_detectron2_weights_become_ours_and_go_back(tmp_path: Path, suffix: str) -> None:
    weights = tiny_weights()
    source = write_detectron2(tmp_path / f"theirs{suffix}", weights)
    done = convert(source, tmp_path / "ours.safetensors")
    assert (done.kind, done.tensors, done.num_classes) == ("detectron2", len(weights), 1)
    assert done.model == TINY
    ours = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(ours[name], weights[name]) for name in weights) and set(ours) == set(weights)
    convert(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)["model"]
    expected, _ = to_detectron2(weights)
    assert set(back) == set(expected) and all(torch.equal(back[name], expected[name]) for name in expected)


def test_the_papers_network_is_recognised_by_its_weights(tmp_path: Path) -> None:
    source = tmp_path / "model.pth"
    torch.save({"model": rule_made_weights(data_path("evalrefs", "vm2f"))}, source)
    done = convert(source, tmp_path / "ours.safetensors")
    assert (done.tensors, done.model) == (557, ModelParameters(dropout=0.0))
    model, about = load_model(tmp_path / "ours.safetensors")
    assert model.num_queries == 100 and about.source == "model.pth"
    assert load_trained(tmp_path / "ours.safetensors").model.training is False
    # As it is, without being converted first.
    assert torch.equal(load_trained(source).model.backbone.conv1.weight, model.backbone.conv1.weight)


def test_old_names_and_what_belongs_to_the_loss_are_understood(tmp_path: Path) -> None:
    renamed, _ = to_detectron2(tiny_weights())
    old = {name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): value for name, value in renamed.items()} | {
        "criterion.empty_weight": torch.ones(2),
        "backbone.stem.conv1.norm.num_batches_tracked": torch.tensor(1),
    }
    torch.save({"model": {f"module.{name}": value for name, value in old.items()}}, tmp_path / "old.pth")
    assert set(read_weights(tmp_path / "old.pth").tensors) == set(tiny_weights())


def test_another_number_of_classes_leaves_the_classifier_out_and_says_so(tmp_path: Path) -> None:
    model = build_model(TINY, num_classes=80)
    source = write_detectron2(tmp_path / "coco.pth", model.state_dict())
    config = load_config("tiny", [f"init={source}"])
    started, notes = start_model(config, {})
    assert torch.equal(started.query_decoder.query_feat.weight, model.query_decoder.query_feat.weight)
    assert len(started.query_decoder.class_embed.weight) == 2
    assert any("another number of classes" in text for text in notes)
    # Converted, it keeps its classes.
    assert convert(source, tmp_path / "ours.safetensors").num_classes == 80
    assert load_model(tmp_path / "ours.safetensors")[0].num_classes == 80


@pytest.mark.parametrize("form", ["torchvision", "dino", "detectron2", "whole"])
def test_a_resnet_fills_the_backbone(tmp_path: Path, form: str) -> None:
    torch.manual_seed(1)
    resnet = torchvision.models.resnet18().state_dict()
    path = tmp_path / "resnet.pth"
    if form == "torchvision":  # with its classifier
        torch.save(resnet, path)
    elif form == "dino":  # DINO's whole checkpoint: teacher, prefixes, a head
        names = {f"module.backbone.{name}": value for name, value in resnet.items() if not name.startswith("fc.")}
        torch.save({"teacher": names}, path)
    else:
        model = build_model(TINY)
        fill(model, read_weights(_saved(resnet, tmp_path / "first.pth")))
        renamed, _ = to_detectron2(model.state_dict())
        kept = {name: value for name, value in renamed.items() if name.startswith("backbone.")}
        kept = {name.removeprefix("backbone.") if form == "detectron2" else name: value for name, value in kept.items()}
        torch.save({"model": kept}, path)
    model, notes = start_model(load_config("tiny", [f"init={path}"]), {})
    assert torch.equal(model.backbone.layer4[1].conv2.weight, resnet["layer4.1.conv2.weight"])
    assert torch.equal(model.backbone.bn1.running_var, resnet["bn1.running_var"])
    assert "backbone" in notes[0]
    with pytest.raises(WeightsError, match=r"run\.init="):
        convert(path, tmp_path / "ours.safetensors")


def _saved(tensors: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(tensors, path)
    return path


def test_named_weights_are_found_where_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_detectron2(tmp_path / "cutler_m2f_rn50.pth", tiny_weights())
    config = load_config("tiny", ["init=cutler"])
    monkeypatch.setenv("FLOWCUT_WEIGHTS", str(tmp_path))
    model, notes = start_model(config, {})
    assert torch.equal(model.backbone.conv1.weight, tiny_weights()["backbone.conv1.weight"])
    assert "cutler_m2f_rn50.pth" in notes[0] and "the whole model" in notes[0]
    with pytest.raises(WeightsError, match="no such file"):
        start_model(config, {"cutler": tmp_path / "gone.pth"})


def test_from_scratch_weights_are_those_of_the_seed() -> None:
    first, second = (start_model(load_config("tiny", ["seed=5"]), {})[0].state_dict() for _ in range(2))
    other = start_model(load_config("tiny", ["seed=6"]), {})[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


class Code:
    """What a hostile pickle would bring."""

    def __reduce__(self) -> tuple:
        return (eval, ("1 / 0",))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("code.pkl", pickle.dumps({"model": {"a": Code()}}), "no pickle of arrays alone"),
        ("code.pth", pickle.dumps({"model": {"a": Code()}}), "refused|no weights file"),
        ("system.pkl", b"cos\nsystem\n(S'true'\ntR.", "no pickle of arrays alone"),
        ("codec.pkl", b"c_codecs\nencode\n(Vx\nVrot13\ntR.", "no pickle of arrays alone"),
        ("half.pkl", pickle.dumps({"model": {"a": np.ones(9)}})[:-20], "damaged"),
        ("list.pkl", pickle.dumps([1, 2]), "no named arrays"),
        ("objects.pkl", pickle.dumps({"a": np.array(["x", None], dtype=object)}), "plain numbers"),
        ("text.pkl", b"weights", "no weights file"),
        ("empty.pth", b"", "no weights file"),
        ("text.safetensors", b"weights", "no weights file"),
        ("huge.pkl", b"cnumpy\nndarray\n((I99999999999999\ntVf8\ntR.", "damaged"),
    ],
)
def test_a_file_that_is_no_weights_file_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    swin, _ = to_detectron2(tiny_weights())
    swin = {name: value for name, value in swin.items() if not name.startswith("backbone.")}
    torch.save({"model": swin | {"backbone.patch_embed.proj.weight": torch.ones(2)}}, tmp_path / "swin.pth")
    with pytest.raises(WeightsError, match=r"another architecture .* backbone\.patch_embed"):
        read_weights(tmp_path / "swin.pth")
    torch.save({"model": swin}, tmp_path / "headless.pth")
    with pytest.raises(WeightsError, match="missing"):
        convert(tmp_path / "headless.pth", tmp_path / "out.safetensors")
    torch.save({"fnet.conv.weight": torch.ones(2)}, tmp_path / "raft.pth")
    with pytest.raises(WeightsError, match=r"neither a Mask2Former .* nor a ResNet"):
        read_weights(tmp_path / "raft.pth")
    narrow = tiny_weights()
    narrow["query_decoder.norm.weight"] = torch.ones(7)
    save_file(narrow, tmp_path / "narrow.safetensors")
    with pytest.raises(WeightsError, match="another shape"):
        load_model(tmp_path / "narrow.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    about = json.dumps({"schema_": "flowcut.model/9", "model": {}})
    save_file(tiny_weights(), tmp_path / "m.safetensors", {"flowcut": about})
    with pytest.raises(WeightsError, match=r"its schema is 'flowcut\.model/9'"):
        read_weights(tmp_path / "m.safetensors")
    save_file(tiny_weights(), tmp_path / "n.safetensors", {"flowcut": "{"})
    with pytest.raises(WeightsError, match="damaged"):
        read_weights(tmp_path / "n.safetensors")
    # Without a word on itself it is taken for what its weights are.
    save_file(tiny_weights(), tmp_path / "o.safetensors")
    assert read_weights(tmp_path / "o.safetensors").about == About(model=TINY)


def test_a_target_must_be_of_a_known_kind_and_not_the_source(tmp_path: Path) -> None:
    source = write_detectron2(tmp_path / "a.pth", tiny_weights())
    before = source.read_bytes()
    for target, words in ((tmp_path / "b.bin", "safetensors"), (tmp_path / "." / "a.pth", "source itself")):
        with pytest.raises(InputError, match=words):
            convert(source, target)
    assert source.read_bytes() == before
    with pytest.raises(WeightsError, match="no such weights file"):
        convert(tmp_path / "gone.pth", tmp_path / "b.safetensors")
    with pytest.raises(OSError, match="cannot be written"):
        convert(source, source / "b.safetensors")


def test_what_is_written_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / name, dict(reversed(tiny_weights().items())), About(model=TINY))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_two_names_become_one() -> None:
    for column in (0, 1):
        names = [row[column] for row in TABLE]
        assert len(names) == len(set(names))


def test_other_heads_are_another_network_though_weights_have_the_same_shapes(tmp_path: Path) -> None:
    other = TINY.model_copy(update={"heads": 4, "attention_points": 8})
    write_model(tmp_path / "m.safetensors", build_model(other).state_dict(), About(model=other))
    with pytest.raises(WeightsError, match=r"heads and attention_points are \(4, 8\), here \(8, 4\)"):
        start_model(load_config("tiny", [f"init={tmp_path / 'm.safetensors'}"]), {})
    assert load_model(tmp_path / "m.safetensors")[0].heads == 4
    with pytest.raises(WeightsError, match="only 8 and 4"):
        convert(tmp_path / "m.safetensors", tmp_path / "m.pth")


def test_a_checkpoint_is_found_from_within_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run" / "checkpoints" / "step-00000003"
    folder.mkdir(parents=True)
    write_model(folder / "model.safetensors", tiny_weights(), About(model=TINY))
    (folder / "state.json").write_text(State(step=3, world=1, dataset="x").model_dump_json())
    monkeypatch.chdir(folder.parent)
    assert load_trained(Path("step-00000003")).path.name == "model.safetensors"
