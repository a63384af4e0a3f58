"""What detectron2's Mask2Former calls its weights, and what they are called here: one table, read in both directions.

``{i}`` and ``{k}`` stand for numbers, ``{part}`` for the rest of a name (weight, bias, running_mean, ...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar("_Value")

_ENCODER = "sem_seg_head.pixel_decoder"
_PREDICTOR = "sem_seg_head.predictor"
_STAGES = [
    row
    for stage in range(2, 6)
    for row in (
        (f"backbone.res{stage}.{{i}}.shortcut.norm.{{part}}", f"backbone.layer{stage - 1}.{{i}}.downsample.1.{{part}}"),
        (f"backbone.res{stage}.{{i}}.shortcut.weight", f"backbone.layer{stage - 1}.{{i}}.downsample.0.weight"),
        (f"backbone.res{stage}.{{i}}.conv{{k}}.norm.{{part}}", f"backbone.layer{stage - 1}.{{i}}.bn{{k}}.{{part}}"),
        (f"backbone.res{stage}.{{i}}.conv{{k}}.weight", f"backbone.layer{stage - 1}.{{i}}.conv{{k}}.weight"),
    )
]
_LAYER = [
    ("transformer_cross_attention_layers.{i}.multihead_attn.in_proj_", "cross_attention.qkv."),
    ("transformer_cross_attention_layers.{i}.multihead_attn.out_proj.", "cross_attention.out."),
    ("transformer_cross_attention_layers.{i}.norm.", "cross_norm."),
    ("transformer_self_attention_layers.{i}.self_attn.in_proj_", "self_attention.qkv."),
    ("transformer_self_attention_layers.{i}.self_attn.out_proj.", "self_attention.out."),
    ("transformer_self_attention_layers.{i}.norm.", "self_norm."),
    ("transformer_ffn_layers.{i}.linear1.", "linear1."),
    ("transformer_ffn_layers.{i}.linear2.", "linear2."),
    ("transformer_ffn_layers.{i}.norm.", "ffn_norm."),
]
# detectron2's name, the name here.
TABLE: tuple[tuple[str, str], ...] = (
    ("backbone.stem.conv1.norm.{part}", "backbone.bn1.{part}"),
    ("backbone.stem.conv1.weight", "backbone.conv1.weight"),
    *_STAGES,
    (f"{_ENCODER}.input_proj.{{i}}.{{k}}.{{part}}", "pixel_decoder.projections.{i}.{k}.{part}"),
    (f"{_ENCODER}.transformer.level_embed", "pixel_decoder.level_embed"),
    *(
        (
            f"{_ENCODER}.transformer.encoder.layers.{{i}}.{theirs}.{{part}}",
            f"pixel_decoder.layers.{{i}}.{ours}.{{part}}",
        )
        for theirs, ours in (
            ("self_attn.sampling_offsets", "attention.offsets"),
            ("self_attn.attention_weights", "attention.weights"),
            ("self_attn.value_proj", "attention.value"),
            ("self_attn.output_proj", "attention.out"),
            *((name, name) for name in ("norm1", "linear1", "linear2", "norm2")),
        )
    ),
    (f"{_ENCODER}.adapter_1.norm.{{part}}", "pixel_decoder.lateral.1.{part}"),
    (f"{_ENCODER}.adapter_1.weight", "pixel_decoder.lateral.0.weight"),
    (f"{_ENCODER}.layer_1.norm.{{part}}", "pixel_decoder.output.1.{part}"),
    (f"{_ENCODER}.layer_1.weight", "pixel_decoder.output.0.weight"),
    (f"{_ENCODER}.mask_features.{{part}}", "pixel_decoder.mask_features.{part}"),
    *((f"{_PREDICTOR}.{theirs}{{part}}", f"query_decoder.layers.{{i}}.{ours}{{part}}") for theirs, ours in _LAYER),
    (f"{_PREDICTOR}.decoder_norm.{{part}}", "query_decoder.norm.{part}"),
    *(
        (f"{_PREDICTOR}.{name}.{{part}}", f"query_decoder.{name}.{{part}}")
        for name in ("query_feat", "query_embed", "level_embed", "class_embed")
    ),
    *(
        (f"{_PREDICTOR}.mask_embed.layers.{number}.{{part}}", f"query_decoder.mask_embed.{2 * number}.{{part}}")
        for number in range(3)
    ),
)
# Constants of the loss, and counters that frozen batch statistics do not have.
_DROPPED = re.compile(r"criterion\..*|.*\.num_batches_tracked|pixel_(mean|std)")
_HOLES = {"{i}": r"(?P<i>\d+)", "{k}": r"(?P<k>\d+)", "{part}": r"(?P<part>[a-z_]+)"}


def _compiled(column: int) -> list[tuple[re.Pattern[str], str]]:
    rules = []
    for row in TABLE:
        pattern = re.escape(row[column])
        for hole, group in _HOLES.items():
            pattern = pattern.replace(re.escape(hole), group)
        rules.append((re.compile(pattern), row[1 - column]))
    return rules


_FROM_DETECTRON2, _TO_DETECTRON2 = _compiled(0), _compiled(1)


def from_detectron2(weights: Mapping[str, _Value]) -> tuple[dict[str, _Value], list[str]]:
    """Return weights under our names, and the names that the table does not know.

    Very old files lack ``pixel_decoder.`` behind ``sem_seg_head.``; what belongs to the loss is dropped.
    """
    current = {_current(name): value for name, value in weights.items() if not _DROPPED.fullmatch(name)}
    return _renamed(current, _FROM_DETECTRON2)


def to_detectron2(weights: Mapping[str, _Value]) -> tuple[dict[str, _Value], list[str]]:
    """Return weights under detectron2's names, and the names that the table does not know."""
    return _renamed(weights, _TO_DETECTRON2)


def _renamed(
    weights: Mapping[str, _Value], rules: list[tuple[re.Pattern[str], str]]
) -> tuple[dict[str, _Value], list[str]]:
    renamed: dict[str, _Value] = {}
    unknown = []
    for name, value in weights.items():
        for pattern, template in rules:
            if found := pattern.fullmatch(name):
                renamed[template.format(**found.groupdict())] = value
                break
        else:
            unknown.append(name)
    return renamed, unknown


def _current(name: str) -> str:
    head, rest = "sem_seg_head.", name.removeprefix("sem_seg_head.")
    if name.startswith(head) and not rest.startswith(("predictor.", "pixel_decoder.")):
        return f"{_ENCODER}.{rest}"
    return name
