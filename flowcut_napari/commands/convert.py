"""``flowcut convert-checkpoint``: weights of detectron2's Mask2Former to this package's format, and back."""

from __future__ import annotations

from pathlib import Path

from flowcut_napari.commands import console


def convert_weights(source: Path, target: Path, *, as_json: bool = False) -> int:
    """Convert a weights file; return the exit code."""
    from flowcut_training.weight_files import convert

    conversion = convert(source, target)
    if target.suffix == ".pth" and conversion.short_side is not None:
        sides = f"--short-side {conversion.short_side} --max-side {conversion.max_side}"
        console.note(f"a .pth does not keep the size of the frames; predict with it by {sides}")
    if as_json:
        console.print_json(
            {
                "source": str(source),
                "kind": conversion.kind,
                "out": str(target),
                "tensors": conversion.tensors,
                "model": conversion.model.model_dump(mode="json"),
                "num_classes": conversion.num_classes,
            }
        )
        return 0
    model = conversion.model
    classes = f"{conversion.num_classes} class{'es' if conversion.num_classes != 1 else ''}"
    console.result(
        f"{target}: {conversion.tensors} tensors of {source.name} ({conversion.kind}): {model.backbone}, "
        f"{model.num_queries} queries, {classes}"
    )
    return 0
