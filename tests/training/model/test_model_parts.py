"""Parts of the network beside transformers' image Mask2Former with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flowcut_training.model import VideoMask2Former, normalize
from flowcut_training.model.backbone import FrozenNorm
from flowcut_training.model.pixel_decoder import PixelDecoder
from flowcut_training.model.positions import clip_positions
from flowcut_training.model.query_decoder import DecoderLayer, QueryDecoder, _visible
from flowcut_training.model.video_mask2former import trained_parameters

CHANNELS = (16, 24, 32, 40)
WIDTH, HEADS, HIDDEN = 64, 8, 96


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("transformers.models.mask2former.modeling_mask2former", reason="needs transformers")


@pytest.fixture(scope="module")
def config():
    from transformers import Mask2FormerConfig

    return Mask2FormerConfig(
        feature_size=WIDTH,
        mask_feature_size=WIDTH,
        hidden_dim=WIDTH,
        encoder_feedforward_dim=HIDDEN,
        encoder_layers=2,
        dim_feedforward=HIDDEN,
        num_attention_heads=HEADS,
        dropout=0.0,
        pre_norm=False,
        feature_strides=[4, 8, 16, 32],
    )


def randomised(module: nn.Module) -> nn.Module:
    """Give a module weights that leave nothing at its start: offsets, norms and biases, too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@torch.no_grad()
def test_the_pixel_decoder_is_transformers(theirs, config) -> None:
    ours = randomised(PixelDecoder(CHANNELS, WIDTH, layers=2, heads=HEADS, hidden=HIDDEN))
    other = theirs.Mask2FormerPixelDecoder(config, list(CHANNELS)).eval()
    names = {
        "projections": "input_projections",
        "lateral": "adapter_1",
        "output": "layer_1",
        "mask_features": "mask_projection",
        "attention.offsets": "self_attn.sampling_offsets",
        "attention.weights": "self_attn.attention_weights",
        "attention.value": "self_attn.value_proj",
        "attention.out": "self_attn.output_proj",
        "norm1": "self_attn_layer_norm",
        "norm2": "final_layer_norm",
        "linear1": "fc1",
        "linear2": "fc2",
    }
    other.load_state_dict({_renamed(name, names): value for name, value in ours.state_dict().items()})
    maps = [torch.randn(2, depth, 48 // 2**i, 80 // 2**i) for i, depth in enumerate(CHANNELS)]
    mask_features, levels = ours(maps)
    expected = other(maps)
    torch.testing.assert_close(mask_features, expected.mask_features, atol=3e-5, rtol=1e-4)
    for level, wanted in zip(levels, expected.multi_scale_features, strict=True):
        torch.testing.assert_close(level, wanted, atol=3e-5, rtol=1e-4)


@torch.no_grad()
def test_a_decoder_layer_is_transformers(theirs, config) -> None:
    ours = randomised(DecoderLayer(WIDTH, HEADS, HIDDEN))
    other = theirs.Mask2FormerMaskedAttentionDecoderLayer(config).eval()
    weights: dict[str, torch.Tensor] = {}
    for name, value in ours.state_dict().items():
        if name.startswith("self_attention.qkv"):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                weights[f"self_attn.{part}_proj.{name.rsplit('.', 1)[1]}"] = piece
            continue
        name = name.replace("cross_attention.qkv.", "cross_attn.in_proj_").replace("_attention.out.", "_attn.out_proj.")
        for own, its in (("cross_norm", "cross_attn_layer_norm"), ("self_norm", "self_attn_layer_norm")):
            name = name.replace(own, its)
        weights[name.replace("ffn_norm", "final_layer_norm").replace("linear", "fc")] = value
    other.load_state_dict(weights)

    queries, query_positions = torch.randn(2, 2, 7, WIDTH)
    pixels, positions = torch.randn(2, 2, 30, WIDTH)
    visible = torch.rand(2, 7, 30) > 0.5
    expected = other(
        queries.transpose(0, 1),
        level_index=0,
        position_embeddings=[positions.transpose(0, 1)],
        query_position_embeddings=query_positions.transpose(0, 1),
        encoder_hidden_states=[pixels.transpose(0, 1)],
        encoder_attention_mask=~visible.repeat_interleave(HEADS, dim=0),
    )[0].transpose(0, 1)
    found = ours(queries, query_positions, pixels, positions, visible)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_positions_are_those_of_transformers_and_one_of_time(theirs) -> None:
    frames, height, width = 3, 5, 7
    found = clip_positions(frames, height, width, WIDTH, torch.device("cpu"))
    in_frame = theirs.Mask2FormerSinePositionEmbedding(num_position_features=WIDTH // 2, normalize=True)(
        torch.Size((1, WIDTH, height, width)), torch.device("cpu"), torch.float32
    )[0]
    in_time = found - in_frame
    for frame in range(frames):
        angle = torch.tensor((frame + 1) / (frames + 1e-6) * 2 * torch.pi)
        scales = 10000.0 ** (2 * (torch.arange(WIDTH) // 2) / WIDTH)
        waves = torch.where(torch.arange(WIDTH) % 2 == 0, (angle / scales).sin(), (angle / scales).cos())
        expected = waves[:, None, None].expand(-1, height, width)
        torch.testing.assert_close(in_time[frame], expected, atol=1e-5, rtol=0)


def test_a_query_looks_inside_its_mask_or_where_that_is_empty_everywhere() -> None:
    masks = torch.full((1, 2, 2, 8, 8), -5.0)
    masks[0, 0, 1, :4, :4] = 5.0
    visible = _visible(masks, (4, 4)).view(2, 2, 4, 4)
    assert visible[0].sum() == 4
    assert visible[0, 1, :2, :2].all()
    assert visible[1].all()


def test_frames_of_one_coarse_pixel_are_seen() -> None:
    with torch.no_grad():
        found = small().eval()(torch.randn(1, 1, 3, 32, 32))
    assert found["pred_masks"].shape == (1, 5, 1, 8, 8)
    assert found["pred_masks"].isfinite().all()


def test_the_papers_network_has_the_papers_size() -> None:
    assert trained_parameters(VideoMask2Former()) == 43_949_954


def small(**changes) -> VideoMask2Former:
    sizes = {"backbone": "resnet18", "width": 32, "encoder_layers": 1, "decoder_layers": 3, "num_queries": 5}
    return VideoMask2Former(**{**sizes, "encoder_hidden": 64, "decoder_hidden": 64, **changes})


@torch.no_grad()
def test_frames_change_places_with_their_masks() -> None:
    """Nothing but the position in time tells frames apart."""
    model = small().eval()
    one = model(torch.randn(1, 1, 3, 64, 96).expand(-1, 3, -1, -1, -1))
    assert one["pred_masks"].shape == (1, 5, 3, 16, 24)
    assert len(one["aux_outputs"]) == 3
    # Equal frames have equal masks: masks are made of features of their own frame alone.
    torch.testing.assert_close(one["pred_masks"][:, :, 0], one["pred_masks"][:, :, 2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_clips_of_a_batch_do_not_see_each_other() -> None:
    model = small().eval()
    video = torch.randn(2, 2, 3, 64, 64)
    both, alone = model(video), model(video[1:])
    torch.testing.assert_close(both["pred_masks"][1:], alone["pred_masks"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(both["pred_logits"][1:], alone["pred_logits"], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3])
def test_without_earlier_predictions_the_last_is_the_same(frames: int) -> None:
    """Masks are shrunk before, not after, they are made: the same up to the last digits."""
    torch.manual_seed(0)
    model = small().eval()
    video = torch.randn(2, frames, 3, 64, 96)
    whole, last = model(video), model(video, auxiliary=False)
    assert last["aux_outputs"] == []
    for name in ("pred_logits", "pred_masks"):
        torch.testing.assert_close(whole[name], last[name], atol=1e-4, rtol=1e-4)


def test_autocast_reaches_the_backbone_and_its_statistics_stay() -> None:
    model = small().eval()
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        maps = model.backbone(torch.randn(1, 3, 64, 64))
    assert {features.dtype for features in maps} == {torch.bfloat16}
    model.train()(torch.randn(1, 2, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_frozen_statistics_normalise_as_torchvisions() -> None:
    from torchvision.ops import FrozenBatchNorm2d

    theirs, ours = FrozenBatchNorm2d(5), FrozenNorm(5)
    state = {name: torch.rand(5) + 0.5 for name in ("weight", "bias", "running_mean", "running_var")}
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    features = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(ours(features), theirs(features), atol=1e-6, rtol=1e-6)


def test_dropout_reaches_the_pixel_decoder_alone() -> None:
    model = small(dropout=0.3)
    found = {name.split(".")[0] for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    assert found == {"pixel_decoder"}
    assert QueryDecoder().training


def test_bfloat16_is_near_float32_and_the_pixel_decoder_stays_in_float32() -> None:
    torch.manual_seed(0)
    model = small().eval()
    video = torch.randn(1, 2, 3, 64, 96)
    kinds = []
    model.pixel_decoder.register_forward_hook(lambda _, inputs, outputs: kinds.append(outputs[0].dtype))
    with torch.no_grad():
        exact = model(video)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(video)
    assert kinds == [torch.float32, torch.float32]
    scale = exact["pred_masks"].abs().mean()
    assert (rough["pred_masks"].float() - exact["pred_masks"]).abs().mean() < 0.2 * scale


def test_padding_is_grey_after_normalising() -> None:
    frames = torch.full((2, 1, 3, 64, 64), 255, dtype=torch.uint8)
    video = normalize(frames, ((40, 64), (64, 50)))
    assert (video[0, :, :, 40:] == 0).all() and (video[1, ..., 50:] == 0).all()
    assert video[0, 0, 0, 0, 0] == pytest.approx((255 - 123.675) / 58.395, rel=1e-6)


def _renamed(name: str, names: dict[str, str]) -> str:
    for own, its in names.items():
        name = name.replace(own, its) if not (own == "output" and "attention" in name) else name
    return f"encoder.{name}" if name.startswith("layers.") else name
