"""The model and datasets in detectron2's hands; what needs detectron2 itself is skipped where it is absent."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY
from made_runs import write_clips
from torch import Tensor

from flowcut_napari.core import InputError, MissingPackageError
from flowcut_training import detectron2_adapter as adapter
from flowcut_training.config import TrainingConfig, load_config
from flowcut_training.data import open_clips, whole_clips
from flowcut_training.data.augmentation import resize_frame
from flowcut_training.detectron2_adapter import TrainableModel
from flowcut_training.engine.optimizer import learning_rate
from flowcut_training.loss import SetCriterion
from flowcut_training.model import normalize
from flowcut_training.predict import PredictionParameters
from flowcut_training.weight_files import build_model, convert, load_model
from flowcut_training.weight_names import to_detectron2

# Packages there are when the imports above are done, and no test has run.
IMPORTED = {name.partition(".")[0] for name in sys.modules}
SIDES = {"short_side": 64, "max_side": 128}


def tiny(*overrides: str) -> TrainingConfig:
    return load_config("tiny", ["loss.points=32", *overrides])


def make_model(seed: int = 0, **prediction: Any) -> TrainableModel:
    torch.manual_seed(seed)
    return TrainableModel(tiny(), PredictionParameters(**{**SIDES, **prediction}))


def clip(instances: int, height: int = 64, width: int = 96, seed: int = 0) -> dict[str, Any]:
    """A training input of two frames, with rectangles for instances."""
    random = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8, generator=random)
    masks = torch.zeros((instances, 2, height, width), dtype=torch.bool)
    for number, mask in enumerate(masks):
        mask[:, 8 * number : 8 * number + 20, 10:50] = True
    return {"frames": frames, "masks": masks, "name": f"clip {seed}"}


def gradients(model: TrainableModel, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.network.parameters()), allow_unused=True, materialize_grads=True))


# Everywhere


def test_the_adapter_is_imported_without_detectron2() -> None:
    assert "flowcut_training" in IMPORTED
    assert "detectron2" not in IMPORTED


@pytest.mark.parametrize("call", [lambda: adapter.register_dataset("toys", Path("toys")), adapter.register_model])
def test_where_detectron2_is_missing_one_line_says_how_to_get_it(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("detectron2", "detectron2.data", "detectron2.modeling"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError) as caught:
        call()
    assert "https://detectron2.readthedocs.io/en/latest/tutorials/install.html" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_losses_add_up_to_the_loss_of_flowcut_train_and_so_do_their_gradients() -> None:
    model, items = make_model().train(), [clip(2), clip(1, seed=1)]
    torch.manual_seed(5)
    losses = model(items)
    assert set(losses) == {"loss_class", "loss_mask", "loss_dice", "loss_earlier_layers"}
    torch.manual_seed(5)
    predictions = model.network(normalize(torch.stack([item["frames"] for item in items])))
    wanted = SetCriterion(tiny().loss)(predictions, [item["masks"] for item in items]).total
    total = sum(losses.values())
    assert torch.allclose(total, wanted, rtol=1e-6)
    assert all(map(torch.equal, gradients(model, total), gradients(model, wanted)))


def test_clips_of_several_sizes_make_one_batch_and_a_clip_without_instances_is_one_too() -> None:
    losses = make_model().train()([clip(1, 48, 64), clip(0, 64, 40, seed=1)])
    assert all(bool(value.isfinite()) for value in losses.values())
    empty = make_model().train()([clip(0)])
    assert empty["loss_mask"].item() == 0
    assert empty["loss_class"].item() > 0


def test_under_autocast_the_loss_is_one_of_single_precision() -> None:
    model = make_model().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model([clip(2)])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert all(bool(value.isfinite().all()) for value in gradients(model, sum(losses.values())))


def test_a_prediction_that_is_not_finite_names_its_clips() -> None:
    model = make_model().train()
    torch.nn.init.constant_(model.network.query_decoder.class_embed.weight, float("nan"))
    with pytest.raises(FloatingPointError, match=r"clip 7.*SOLVER.BASE_LR"):
        model([clip(1, seed=7)])


@pytest.mark.parametrize(("is_train", "missing"), [(True, "frames"), (False, "video")])
def test_an_input_of_detectron2s_own_mapper_is_refused_in_one_line(is_train: bool, missing: str) -> None:
    with pytest.raises(InputError, match=f"no '{missing}'.*is_train={is_train}"):
        make_model().train(is_train)([{"image": torch.zeros(3, 8, 8), "instances": None}])


def test_predictions_are_the_best_queries_of_the_whole_video(tmp_path: Path) -> None:
    model = make_model(top=4).eval()
    (video,) = list(whole_clips(open_clips(write_clips(tmp_path))))[:1]
    (found,) = model([{"video": video, "video_id": video.id}])
    resized = torch.stack([torch.from_numpy(resize_frame(frame, (64, 85))) for frame in video.frames()])
    padded = torch.zeros((1, video.length, 3, 64, 96), dtype=torch.uint8)
    padded[0, ..., :85] = resized.permute(0, 3, 1, 2)
    with torch.no_grad():
        logits = model.network(normalize(padded, [(64, 85)]))["pred_logits"][0]
    assert torch.allclose(found["scores"], logits.softmax(-1)[:, 0].sort(descending=True).values[:4], atol=1e-6)
    assert found["video_id"] == video.id
    assert found["windows"] is None
    assert [len(masks) for masks in found["masks"]] == [video.length] * 4
    assert all(mask is None or mask["size"] == [video.height, video.width] for one in found["masks"] for mask in one)


def test_weights_have_detectron2s_names_outside_and_come_back_bit_for_bit() -> None:
    model, other = make_model(), make_model(seed=1)
    state = model.state_dict()
    assert set(state) == set(to_detectron2(model.network.state_dict())[0])
    other.load_state_dict(state)
    assert all(map(torch.equal, model.network.state_dict().values(), other.network.state_dict().values()))


def test_names_that_nobody_knows_are_reported_when_weights_are_loaded() -> None:
    model = make_model()
    state = model.state_dict()
    weight = state.pop("sem_seg_head.predictor.class_embed.weight")
    result = model.load_state_dict({**state, "roi_heads.weight": weight}, strict=False)
    assert result.missing_keys == ["network.query_decoder.class_embed.weight"]
    assert result.unexpected_keys == ["roi_heads.weight"]


def test_wrapped_in_another_module_the_weights_keep_its_prefix() -> None:
    outer, other = (torch.nn.ModuleDict({"inner": make_model(seed)}) for seed in range(2))
    assert all(name.startswith(("inner.backbone.", "inner.sem_seg_head.")) for name in outer.state_dict())
    other.load_state_dict(outer.state_dict())
    assert all(map(torch.equal, outer.parameters(), other.parameters()))


def test_over_two_processes_the_losses_are_divided_by_the_sums_of_both(tmp_path: Path) -> None:
    meeting = f"file://{tmp_path / 'meeting'}"
    other = f"""
import torch
torch.distributed.init_process_group("gloo", init_method="{meeting}", rank=1, world_size=2)
torch.distributed.all_reduce(torch.tensor([3.0, 3 + 7 * 0.1], dtype=torch.float64))
"""
    with subprocess.Popen([sys.executable, "-c", other]) as process:
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=2)
        try:
            share = make_model()._share([torch.zeros((0, 2, 8, 8), dtype=torch.bool)])
        finally:
            torch.distributed.destroy_process_group()
            process.wait(60)
    # Three instances in all, and 10 queries a clip: 3 of them matched, 17 at a tenth; of that the half.
    assert (share.instances, share.class_weight) == pytest.approx((1.5, 2.35))


# With detectron2


@pytest.fixture
def make_cfg(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Make a configuration for the tiny network and a dataset that is registered."""
    config = pytest.importorskip("detectron2.config", reason="detectron2 is not installed")
    adapter.register_dataset(request.node.name, write_clips(tmp_path))
    adapter.register_model()

    def make(*overrides: str) -> Any:
        cfg = config.get_cfg()
        adapter.add_config(cfg, tiny(*overrides))
        cfg.MODEL.DEVICE = "cpu"
        cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (request.node.name,)
        cfg.OUTPUT_DIR = str(tmp_path)
        return cfg

    return make


def build(cfg: Any) -> TrainableModel:
    from detectron2.modeling import build_model as build_by_name

    torch.manual_seed(0)
    return build_by_name(cfg)


def test_the_catalog_lists_the_clips_and_a_name_is_taken_once(make_cfg: Any, tmp_path: Path) -> None:
    from detectron2.data import DatasetCatalog, MetadataCatalog

    (name,) = make_cfg().DATASETS.TRAIN
    assert DatasetCatalog.get(name)[:2] == [{"dataset": name, "number": number} for number in range(2)]
    assert MetadataCatalog.get(name).thing_classes == ["object"]
    with pytest.raises(InputError, match="give another"):
        adapter.register_dataset(name, tmp_path)
    adapter.register_model()  # twice does no harm


def test_a_wrong_folder_or_name_is_said_when_it_is_used(make_cfg: Any, tmp_path: Path) -> None:
    cfg = make_cfg()
    adapter.register_dataset("nowhere", tmp_path / "nowhere")
    for name, message in (("nowhere", "no such file or folder"), ("nobody", "call register_dataset first")):
        cfg.DATASETS.TRAIN = (name,)
        with pytest.raises(InputError, match=message):
            adapter.build_train_loader(cfg)


def test_a_configuration_comes_back_and_what_cannot_be_done_is_refused(make_cfg: Any) -> None:
    config, prediction = adapter.read_config(make_cfg("lr=2e-4", "milestones=[3,5]"))
    assert config.model_copy(update={"run": tiny().run}) == tiny("lr=2e-4", "milestones=[3,5]")
    assert (prediction.short_side, prediction.max_side) == (64, 128)
    with pytest.raises(InputError, match=r"optimizer\.ema"):
        make_cfg("ema=0.9")
    cfg = make_cfg()
    cfg.merge_from_list(["MODEL.FLOWCUT.FLIP", 2.0])
    with pytest.raises(InputError, match=r"data\.flip is 2\.0"):
        build(cfg)


def test_the_learning_rate_is_that_of_flowcut_train_at_every_step(make_cfg: Any) -> None:
    from detectron2.solver import build_lr_scheduler

    overrides = ("steps=12", "warmup_steps=4", "warmup_factor=0.1", "milestones=[6,9]", "backbone_factor=0.5")
    cfg = make_cfg(*overrides)
    optimizer = adapter.build_optimizer(cfg, build(cfg))
    scheduler = build_lr_scheduler(cfg, optimizer)
    for step in range(12):
        rate = learning_rate(step, tiny(*overrides).optimizer)
        wanted = [rate * group["factor"] for group in optimizer.param_groups]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(wanted, rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_gradients_are_clipped_after_a_scale_has_been_taken_off_them(make_cfg: Any) -> None:
    cfg, weights = make_cfg("clip_norm=0.01"), []
    for scale in (1.0, 1024.0):
        model = build(cfg).train()
        optimizer = adapter.build_optimizer(cfg, model)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        torch.manual_seed(2)
        scaler.scale(sum(model([clip(1)]).values())).backward()
        scaler.step(optimizer)
        norm = torch.nn.utils.get_total_norm([one.grad for one in model.parameters() if one.grad is not None])
        assert float(norm) == pytest.approx(0.01, rel=1e-3)
        weights.append(list(model.parameters()))
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*weights, strict=True))


def test_the_loss_falls_under_detectron2s_trainer_and_its_checkpoint_is_read_everywhere(
    make_cfg: Any, tmp_path: Path
) -> None:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.engine import HookBase, SimpleTrainer

    cfg = make_cfg()
    losses: list[float] = []

    class Watch(HookBase):
        def after_step(self) -> None:
            losses.append(self.trainer.storage.history("total_loss").latest())

    model = build(cfg)
    trainer = SimpleTrainer(model, adapter.build_train_loader(cfg), adapter.build_optimizer(cfg, model))
    trainer.register_hooks([Watch()])
    trainer.train(0, 20)
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])

    DetectionCheckpointer(model, str(tmp_path), trainer=trainer).save("model_end")
    other = make_model(seed=9)
    DetectionCheckpointer(other).load(str(tmp_path / "model_end.pth"))
    assert convert(tmp_path / "model_end.pth", tmp_path / "end.safetensors").kind == "detectron2"
    for loaded in (other.network, load_model(tmp_path / "end.safetensors")[0]):
        assert all(map(torch.equal, model.network.state_dict().values(), loaded.state_dict().values()))

    (results,) = zip(*adapter.build_test_loader(cfg, cfg.DATASETS.TEST[0]), strict=True)
    predictions = model.eval()(results)
    assert [prediction["video_id"] for prediction in predictions] == list(range(1, len(results) + 1))


def test_what_fits_of_another_mask2former_is_loaded_and_the_rest_is_said(
    make_cfg: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from detectron2.checkpoint import DetectionCheckpointer

    source = build_model(tiny("num_queries=12").model, num_classes=80)
    weights = to_detectron2(source.state_dict())[0] | {"criterion.empty_weight": torch.ones(81)}
    torch.save({"model": weights}, tmp_path / "theirs.pth")
    model = build(make_cfg())
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    DetectionCheckpointer(model).load(str(tmp_path / "theirs.pth"))
    for name, value in model.network.state_dict().items():
        is_other = name.split(".")[1] in ("class_embed", "query_feat", "query_embed")
        assert torch.equal(value, before[name] if is_other else source.state_dict()[name])
        assert is_other == (f"'{to_detectron2({name: 0})[0].popitem()[0]}'" in caplog.text)
    assert "criterion" not in caplog.text


def test_a_resnet_of_detectron2s_zoo_is_loaded_into_the_backbone(make_cfg: Any, tmp_path: Path) -> None:
    from detectron2.checkpoint import DetectionCheckpointer

    source = make_model(seed=4)
    arrays = {
        name.removeprefix("backbone."): value.numpy()
        for name, value in source.state_dict().items()
        if name.startswith("backbone.")
    }
    content = {"model": arrays, "__author__": "test", "matching_heuristics": True}
    (tmp_path / "resnet.pkl").write_bytes(pickle.dumps(content))
    model = build(make_cfg())
    DetectionCheckpointer(model).load(str(tmp_path / "resnet.pkl"))
    assert all(map(torch.equal, model.network.backbone.parameters(), source.network.backbone.parameters()))


def test_the_example_of_the_docs_runs(make_cfg: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="DefaultTrainer writes for TensorBoard, which is not installed")
    text = (REPOSITORY / "docs" / "detectron2.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for there, here in (
        ('load_config("paper")', 'load_config("tiny", ["steps=3", "loss.points=32"])'),
        ('"cutler_m2f_rn50.pth"', '""'),
        ('cfg.OUTPUT_DIR = "out"', 'cfg.OUTPUT_DIR, cfg.MODEL.DEVICE = "out", "cpu"'),
    ):
        assert there in code
        code = code.replace(there, here)
    (tmp_path / "train.py").write_text(code)
    run = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "out" / "model_final.pth").is_file()
