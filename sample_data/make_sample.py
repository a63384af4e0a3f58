"""Draw the bundled sample clip: three felt toys on sand, filmed by a moving camera (``make_sample.py [--out DIR]``).

Everything is procedural, so the clip and its ground truth carry no third-party rights and can be rebuilt at will.
Lengths are pixels of the final image, measured from its middle in the world; y points down.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

# isort: split
from felt_toys import SS, Array, colour, ellipse, make_fish, make_starfish, make_turtle, mix, noise, smoothstep

Labels = NDArray[np.uint8]

SEED, NAME, WIDTH, HEIGHT, FRAMES = 20, "toys", 640, 360, 24
WORLD = (900, 600)  # extent of the sand, larger than anything the camera sees
LIGHT = np.array([-0.54, -0.52, 0.66])  # towards the lamp: upper left, above the scene
HALF = LIGHT + np.array([0, 0, 1])  # a mirror facing halfway between lamp and camera shows the lamp
HALF /= np.linalg.norm(HALF)
SUN, SKY = np.array([1.36, 1.24, 1.07]), np.array([0.25, 0.29, 0.35])  # warm key light, cool fill light
SHADOW = np.array([1.0, 0.96, 0.88])  # shadows keep some blue of the sky


def shade(rgb: Array, slope_x: Array, slope_y: Array, gloss: Array | float = 0.0) -> Array:
    """Light a height field: warm key light, cool fill light, and a highlight where the surface is glossy."""
    up = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    facing, mirror = (np.maximum(up * (d[2] - slope_x * d[0] - slope_y * d[1]), 0) for d in (LIGHT, HALF))
    light = (0.12 + 0.88 * facing)[..., None] * SUN + (0.4 + 0.6 * up)[..., None] * SKY
    lit: Array = rgb * light + (gloss * mirror**60)[..., None]
    return lit


def make_sand(rng: np.random.Generator) -> Array:
    """Return the lit ground, wind ripples with scattered pebbles, as a channel-first texture."""
    shape = (WORLD[1] * SS, WORLD[0] * SS)
    y, x = np.mgrid[: shape[0], : shape[1]] / SS
    phase = (0.42 * x + 0.91 * y + 14 * noise(rng, shape, 130) + 5 * noise(rng, shape, 45)) * 2 * np.pi / 46
    ripple = np.sin(phase + 0.5 * np.sin(phase)) * (1 + 0.3 * noise(rng, shape, 160))
    height, tone = 2.7 * ripple, -0.08 * ripple
    for scale, bump, stain in ((220, 0.0, 0.05), (34, 0.8, 0.05), (12, 0.36, 0.03), (5, 0.18, 0.05), (2.4, 0.17, 0.05)):
        octave = noise(rng, shape, scale)
        height, tone = height + bump * octave, tone + stain * octave
    grains = noise(rng, shape, 1.7)
    tone += 0.07 * grains - 0.5 * smoothstep(2.1, 2.9, grains) + 0.35 * smoothstep(2.2, 3.0, -grains)
    rgb, shadow = colour("cbb793") * np.exp(tone)[..., None], np.zeros(shape)
    stones = [colour(c) for c in ("8d8a86", "a79b8b", "6f6a66", "d3cabb", "b08f72", "7f8688", "9c7b66", "c9b79c")]
    for _ in range(460):
        radius = min(1.5 * np.exp(rng.normal(0.4, 0.65)), 10.5)  # many crumbs, few big ones
        angle, ratio = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
        px, py = rng.uniform(12, WORLD[0] - 12), rng.uniform(12, WORLD[1] - 12)
        near = tuple(slice(max(int((c - 2 * radius - 2) * SS), 0), int((c + 2 * radius + 2) * SS)) for c in (py, px))
        dx, dy = x[near] - px, y[near] - py
        u, v = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        sdf = ellipse(u, v, radius, radius * ratio, rng.uniform(2, 2.7)) + 0.06 * radius * np.sin(u * 5 / radius)
        cover = smoothstep(0.5, -0.5, sdf)
        veins = rng.uniform(0, 0.16) * np.sin(v * 9 / radius + 2 * np.sin(u * 3 / radius)) + rng.normal(0, 0.12)
        stone = stones[rng.integers(len(stones))] * np.exp(veins + 0.8 * tone[near])[..., None]
        rgb[near] = mix(rgb[near], stone, cover)
        dome = 0.75 * radius * np.sqrt(np.clip(1 - (1 + sdf / (radius * ratio)) ** 2, 0, 1))
        height[near] += (dome - 0.6 * height[near]) * cover
        behind = np.hypot(dx + LIGHT[0] * radius * 0.8, dy + LIGHT[1] * radius * 0.8) / radius - 0.5 - 0.5 * ratio
        shadow[near] = np.maximum(shadow[near], smoothstep(0.45, -0.45, behind)) * (1 - cover)
    slope_y, slope_x = np.gradient(height, 1 / SS)
    lit = shade(rgb, slope_x, slope_y) * (1 - 0.55 * SHADOW * ndimage.gaussian_filter(shadow, 0.6 * SS)[..., None])
    falloff = 1.16 - 0.5 * (0.6 * x / WORLD[0] + 0.4 * y / WORLD[1])  # the lamp stands at the upper left
    return np.moveaxis(lit * falloff[..., None], -1, 0)


class Pose(NamedTuple):
    """Where a toy is: world position, heading in radians, size, bend of its tail, height above the sand."""

    x: float
    y: float
    heading: float
    size: float
    bend: float
    elevation: float


def poses(t: int) -> list[Pose]:
    """Return the poses of fish, turtle and starfish in frame ``t``; earlier toys lie above later ones."""
    c = t - 12.8  # fish and turtle meet near the middle of the clip
    return [
        Pose(-30 + 4.6 * c, 2 + 2.2 * c, 0.12 + 0.05 * np.sin(t / 6), 0.81, np.sin(t * 0.31), 18),
        Pose(-32 - 1.2 * c, 4 - 4.2 * c, -1.76 + 0.07 * np.sin(t / 3.5), 0.81, 0.0, 6),
        Pose(206, 30, 0.35, 0.95, 0.0, 6),
    ]


def sample(texture: Array, x: Array, y: Array) -> Array:
    """Look up a channel-first texture at fractional texel positions."""
    return np.stack([ndimage.map_coordinates(c, [y, x], order=1, mode="constant") for c in texture])


def place(texture: Array, half: tuple[int, int], pose: Pose, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the lit colour and the coverage of a toy seen at the world positions ``x``, ``y``."""
    cos, sin = np.cos(pose.heading), np.sin(pose.heading)
    u = ((x - pose.x) * cos + (y - pose.y) * sin) / pose.size
    v = ((y - pose.y) * cos - (x - pose.x) * sin) / pose.size
    v = v - pose.bend * 7 * (np.clip(40 - u, 0, 200) / 180) ** 2  # a swimming body bends behind the head
    *rgb, slope_u, slope_v, gloss, alpha = sample(texture, (u + half[0]) * SS, (v + half[1]) * SS)
    return shade(np.stack(rgb, -1), slope_u * cos - slope_v * sin, slope_u * sin + slope_v * cos, gloss), alpha


def render(t: int, sand: Array, toys: Sequence[tuple[Array, tuple[int, int]]], shake: Array) -> tuple[Array, Labels]:
    """Draw frame ``t``; return the image, 0 to 255, and the map of visible object ids."""
    clock = t - (FRAMES - 1) / 2  # the camera pans left, pushes in slowly, and is held by hand
    zoom, roll = 1 + 0.0017 * t, 0.0035 * shake[2]
    sy, sx = ((np.mgrid[: HEIGHT * SS, : WIDTH * SS] + 0.5) / SS - np.array([HEIGHT, WIDTH])[:, None, None] / 2) / zoom
    x = -0.85 * (clock + 1.2 * np.sin(clock / 5)) + 0.8 * shake[0] + sx * np.cos(roll) - sy * np.sin(roll)
    y = 0.25 * clock + 0.8 * shake[1] + sx * np.sin(roll) + sy * np.cos(roll)
    image = np.moveaxis(sample(sand, (x + WORLD[0] / 2) * SS, (y + WORLD[1] / 2) * SS), 0, -1)
    visible = [np.ones(x.shape)]  # visible coverage of the background, then of each toy from the lowest up
    for (texture, half), pose in reversed(list(zip(toys, poses(t), strict=True))):
        lit, alpha = place(texture, half, pose, x, y)
        offset = -pose.elevation * SS * zoom * LIGHT[1::-1] / LIGHT[2]
        cast = ndimage.gaussian_filter(ndimage.shift(alpha, offset, order=1), (1 + 0.19 * pose.elevation) * SS)
        contact = ndimage.gaussian_filter(alpha, (3 + 0.3 * pose.elevation) * SS)
        image *= (1 - 0.80 * cast[..., None] * SHADOW) * (1 - 0.40 * contact[..., None])
        image = mix(image, lit, alpha)
        visible = [v * (1 - alpha) for v in visible] + [alpha]
    image, coverage = (a.reshape(HEIGHT, SS, WIDTH, SS, -1).mean(axis=(1, 3)) for a in (image, np.stack(visible, -1)))
    ids = np.array([0, *range(len(toys), 0, -1)], np.uint8)[coverage.argmax(axis=-1)]
    corner = np.hypot(*np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j])
    image *= 1 - 0.13 * corner[..., None] ** 2.5  # vignette
    return (1 - np.exp(-1.5 * image)) ** (1 / 2.2) * 255, ids  # a film-like shoulder instead of clipped highlights


def youtube_vis(ids: Sequence[Labels]) -> dict[str, object]:
    """Return the ground truth in the YouTube-VIS form, with compressed run-length masks."""
    size = {"width": WIDTH, "height": HEIGHT, "length": len(ids)}
    annotations = []
    for obj in range(1, int(np.max(ids)) + 1):
        rles = [coco_mask.encode(np.asfortranarray(i == obj, np.uint8)) if (i == obj).any() else None for i in ids]
        annotations.append(
            {
                "id": obj,
                "video_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                **size,
                "segmentations": [r and {**r, "counts": r["counts"].decode("ascii")} for r in rles],
                "bboxes": [r and coco_mask.toBbox(r).tolist() for r in rles],
                "areas": [r and int(coco_mask.area(r)) for r in rles],
            }
        )
    return {
        "info": {"description": "flowcut-napari sample clip", "version": "1.0", "license": "BSD-3-Clause"},
        "licenses": [],
        "videos": [{"id": 1, **size, "file_names": [f"{NAME}/{t:05d}.jpg" for t in range(len(ids))]}],
        "categories": [{"id": 1, "name": "fg", "supercategory": "fg"}],
        "annotations": annotations,
    }


def main() -> None:
    """Draw the clip and write images, masks and annotations."""
    parser = argparse.ArgumentParser(description="Draw the bundled sample clip.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, help="folder to write to")
    out = parser.parse_args().out
    jpegs, pngs = out / "JPEGImages" / NAME, out / "Annotations" / NAME
    for folder in (jpegs, pngs):
        folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    sand = make_sand(rng)
    toys = [(toy.texture(), toy.half) for toy in (make_fish(rng), make_turtle(rng), make_starfish(rng))]
    shake = 2 * ndimage.gaussian_filter1d(rng.standard_normal((FRAMES, 3)), 1.8, axis=0)
    # The DAVIS palette interleaves the bits of the id, so that neighbouring ids get distant colours.
    palette = [sum((i >> 3 * bit + c & 1) << 7 - bit for bit in range(3)) for i in range(256) for c in range(3)]
    ids = []
    for t in range(FRAMES):
        image, labels = render(t, sand, toys, shake[t])
        image += rng.normal(0, 1, image.shape) * (1.1 + 0.6 * np.sqrt(image / 255))  # sensor noise
        Image.fromarray(np.clip(image + 0.5, 0, 255).astype(np.uint8)).save(jpegs / f"{t:05d}.jpg", quality=88)
        indexed = Image.fromarray(labels)
        indexed.putpalette(palette)
        indexed.save(pngs / f"{t:05d}.png", optimize=True)
        ids.append(labels)
    (out / "instances.json").write_text(json.dumps(youtube_vis(ids)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
