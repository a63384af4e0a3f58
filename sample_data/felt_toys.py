"""Felt toys for the sample clip, sewn from signed distance fields (negative inside).

Each part is "stuffed" by solving a Poisson equation on its outline, which gives the pillow shape of sewn felt without
creases. A finished texture holds slopes, not shaded colours, so that the light stays fixed in the world while a toy
turns. Lengths are pixels of the final image; colours are linear light; y (and a toy's v) points down.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

Array = NDArray[np.float64]
Point = tuple[float, float]

SS = 2  # supersampling: textures and frames are drawn this much finer, then averaged down


def colour(code: str) -> Array:
    """Convert an sRGB hex code to linear light, in which all shading is done."""
    return (np.frombuffer(bytes.fromhex(code), np.uint8) / 255.0) ** 2.2


def noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Return smooth noise of unit variance whose blobs are about ``scale`` texels wide."""
    coarse = rng.standard_normal([int(n / scale) + 4 for n in shape])
    fine: Array = ndimage.zoom(coarse, scale, order=3)[: shape[0], : shape[1]]
    fine /= fine.std()
    return fine


def smoothstep(low: float, high: float, x: Array) -> Array:
    """Return a soft step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: Array, b: Array, weight: Array) -> Array:
    """Blend the colours ``a`` and ``b``; ``weight`` 1 gives ``b``."""
    return a + (b - a) * weight[..., None]


def ellipse(u: Array, v: Array, a: float, b: float, power: float = 2.0) -> Array:
    """Return the approximate signed distance to a (super)ellipse with half axes ``a`` and ``b``."""
    radius = (np.abs(u / a) ** power + np.abs(v / b) ** power) ** (1 / power)
    slope = np.hypot(u / a**2, v / b**2) / np.maximum(np.hypot(u / a, v / b), 1e-6)
    return (radius - 1) / np.maximum(slope, 1e-6)


def limb(u: Array, v: Array, start: Point, end: Point, r0: float, r1: float) -> Array:
    """Return the signed distance to a tapered, round-ended limb."""
    du, dv = end[0] - start[0], end[1] - start[1]
    along = np.clip(((u - start[0]) * du + (v - start[1]) * dv) / (du**2 + dv**2), 0, 1)
    return np.hypot(u - start[0] - along * du, v - start[1] - along * dv) - (r0 + (r1 - r0) * along)


def union(*fields: Array, k: float = 10.0) -> Array:
    """Merge distance fields with a smooth fillet of width ``k`` (a negative ``k`` intersects them)."""
    merged = fields[0]
    for field in fields[1:]:
        h = np.clip(0.5 + 0.5 * (field - merged) / k, 0, 1)
        merged = field + (merged - field) * h - k * h * (1 - h)
    return merged


def inflate(inside: NDArray[np.bool_]) -> Array:
    """Return the height of a cushion with this outline: the root of the Poisson solution, a dome for a disc."""
    second = [sparse.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(n, n)) for n in inside.shape[::-1]]
    keep = np.flatnonzero(inside)
    laplace = sparse.kronsum(*second, format="csc")[keep][:, keep]
    height = np.zeros(inside.shape)
    height[inside] = np.sqrt(3 * spsolve(laplace.tocsc(), np.ones(keep.size)))
    return height


class Toy:
    """A felt toy being sewn: colour, height, gloss and coverage on a grid in its own axes (+u is forward)."""

    def __init__(self, rng: np.random.Generator, half_u: int, half_v: int) -> None:
        self.half = (half_u, half_v)
        self.u, self.v = np.meshgrid(np.arange(-half_u, half_u, 1 / SS), np.arange(-half_v, half_v, 1 / SS))
        shape = self.u.shape
        self.rgb, self.height, self.alpha, self.gloss = np.zeros((*shape, 3)), *np.zeros((3, *shape))
        # Felt is a mat of fibres: fine fuzz, plus softer clumps that break up flat colour.
        tangle = np.hypot(noise(rng, shape, 2.2), noise(rng, shape, 3.0)) - 1.25
        self.fuzz = 0.75 * tangle + 0.45 * noise(rng, shape, 1.3)
        self.clumps = noise(rng, shape, 9) + 0.7 * noise(rng, shape, 28)

    def paint(self, cover: Array, rgb: Array, raise_by: float = 0.0) -> None:
        """Dye the felt where ``cover`` is 1; ``raise_by`` gives thread and appliqué their thickness."""
        self.rgb = mix(self.rgb, rgb * np.exp(0.10 * self.fuzz + 0.05 * self.clumps)[..., None], cover)
        self.height += raise_by * cover

    def part(self, sdf: Array, rgb: Array, puff: float, lift: float = 0.0) -> Array:
        """Sew on a part stuffed ``puff`` times as high as a full cushion; return its cover, to be painted on."""
        # The outline's stair steps would show in the shading, so solve coarsely and smooth.
        dome = ndimage.zoom(inflate(sdf[::SS, ::SS] < 0), SS, order=1, grid_mode=True, mode="nearest")
        cover = smoothstep(0.6, -0.6, sdf)
        self.rgb *= 1 - 0.5 * np.exp(-np.maximum(sdf, 0) / 4)[..., None]  # little light gets into the crease beside it
        self.paint(cover, rgb)
        self.height += (lift + puff * ndimage.gaussian_filter(dome, 0.8 * SS) + 0.17 * self.fuzz - self.height) * cover
        self.gloss *= 1 - cover
        self.alpha = np.maximum(self.alpha, cover)
        return cover

    def stitch(self, across: Array, along: Array, rgb: Array, where: Array) -> None:
        """Run a dashed thread where ``across`` is 0; ``along`` measures length on the seam."""
        seam = np.exp(-((across / 2.4) ** 2)) * where
        self.height -= 0.9 * seam  # the thread pulls the felt in
        self.rgb *= 1 - 0.22 * seam[..., None]
        dash = smoothstep(0.34, 0.24, np.abs(along / 7.0 % 1 - 0.5)) * smoothstep(1.25, 0.65, np.abs(across))
        self.paint(dash * where, rgb, raise_by=1.0)

    def bead(self, u: float, v: float, radius: float, rgb: Array, gloss: float) -> None:
        """Sew on a hard bead: an eye or an ornament."""
        sdf = np.hypot(self.u - u, self.v - v) - radius
        cover, dome = smoothstep(0.5, -0.5, sdf), np.sqrt(np.maximum(radius**2 - (sdf + radius) ** 2, 0))
        self.rgb = mix(self.rgb * (1 - 0.5 * np.exp(-np.maximum(sdf, 0) / 1.8))[..., None], rgb, cover)
        self.height += (ndimage.gaussian_filter(self.height, 3) + 0.9 * dome - self.height) * cover
        self.gloss += (gloss - self.gloss) * cover

    def texture(self) -> Array:
        """Return the finished texture, channel first: linear RGB, slope along u and v, gloss and coverage."""
        slope_v, slope_u = np.clip(np.gradient(self.height, 1 / SS), -2.2, 2.2)
        return np.stack([*np.moveaxis(self.rgb, -1, 0), slope_u, slope_v, self.gloss, self.alpha])


def make_fish(rng: np.random.Generator) -> Toy:
    """Sew the orange fish with its cream bands, seen from above."""
    toy = Toy(rng, 160, 84)
    u, v, gold, ray = toy.u, toy.v, colour("f2a52c"), colour("d2701a")
    for side in (-1, 1):
        w = v * side  # both sides are cut from one pattern
        tail = union(limb(u, w, (-96, 2), (-134, 27), 11, 15), limb(u, w, (-96, 0), (-122, 13), 10, 13))
        fin = union(limb(u, w, (34, 34), (2, 63), 13, 15), limb(u, w, (20, 34), (-14, 58), 10, 10))
        for field, (x, y), rays in ((tail, (-78, 2), 34), (fin, (52, 16), 26)):
            cover = toy.part(field, gold, 0.45) * smoothstep(-3, -8, field)
            toy.paint(cover * smoothstep(0, 0.9, np.sin(np.arctan2(w - y, x - u) * rays)), ray, raise_by=-0.5)
    body = toy.part(
        union(ellipse(u - 18, v, 88, 46), limb(u, v, (10, 0), (-100, 0), 38, 13), k=26),
        colour("e2611c"),
        puff=0.8,
        lift=3,
    )
    toy.paint(body * smoothstep(0.2, 1.0, v**2 / 1700 + 0.12 * toy.clumps), colour("c5460f"))  # darker flanks
    for centre, half in ((44, 12), (-18, 13), (-78, 8)):
        band = np.abs(u - centre + 0.005 * v**2 - 1.6 * np.sin(v / 9 + centre)) - half
        toy.paint(body * smoothstep(3.2, 1.8, band), colour("4a2a20"))
        toy.paint(body * smoothstep(0.6, -0.6, band), colour("f3e6cd"), raise_by=0.8)
        toy.stitch(band + 3.5, v, colour("b98a5a"), body)
    toy.part(ellipse(u + 14, v, 44, 5.5), gold, 1.1, lift=34)
    for side in (-1, 1):
        toy.bead(79, 27 * side, 9.0, colour("f6efe2"), gloss=0.0)
        toy.bead(82, 28.5 * side, 6.2, colour("17120f"), gloss=0.9)
    return toy


def make_turtle(rng: np.random.Generator) -> Toy:
    """Sew the green turtle with its quilted shell."""
    toy = Toy(rng, 104, 96)
    u, v = toy.u, toy.v
    head = union(ellipse(u - 76, v, 20, 17), limb(u, v, (40, 0), (70, 0), 14, 12))
    limbs = [limb(u, v, (-54, 0), (-75, 2), 8, 3), head]
    for w in (v, -v):
        limbs.append(union(limb(u, w, (38, 34), (36, 62), 15, 13), limb(u, w, (36, 62), (6, 80), 13, 7)))
        limbs.append(limb(u, w, (-40, 30), (-66, 48), 14, 9))
    spots = smoothstep(0.55, 0.85, noise(rng, u.shape, 11))
    for field in limbs:
        toy.paint(toy.part(field, colour("93a95c"), 0.7) * spots, colour("5f7d40"), raise_by=0.3)
    shell = ellipse(u, v, 60, 52, power=2.25)
    cover = toy.part(shell, colour("cbb36a"), 0.6, lift=4)
    toy.stitch(shell + 4.5, np.arctan2(v, u) * 55, colour("6b5324"), cover)
    half_shell = [(33, 31), (1, 36), (-31, 31)]
    centres = [(40, 0), (14, 0), (-14, 0), (-40, 0), *half_shell, *((x, -y) for x, y in half_shell)]
    spread = np.stack([np.hypot(u - x, (v - y) * 0.86) for x, y in centres])
    nearest = np.sort(spread, axis=0)
    # Half the lead over the next centre is the distance to the scute's border; the shell's rim rounds it off.
    scute = union((nearest[0] - nearest[1]) / 2 + 0.8, shell + 10, k=-6)
    inside = smoothstep(0.0, 1.4, -scute)
    toy.paint(inside, colour("2f7d5b"))
    tint = rng.permutation(np.linspace(-0.25, 0.25, len(centres)))[np.argmin(spread, axis=0)]
    toy.rgb *= np.exp(inside * (tint + 0.15 * np.cos(nearest[0] * 0.9)))[..., None]  # with growth rings
    toy.paint(inside * smoothstep(4.6, 3.4, nearest[0]), colour("b3c873"), raise_by=0.8)
    toy.height += 4.2 * np.sqrt(1 - (1 - np.clip(-scute, 0, 9) / 9) ** 2)
    for side in (-1, 1):
        toy.bead(83, 10.5 * side, 4.5, colour("14110e"), gloss=0.9)
    return toy


def make_starfish(rng: np.random.Generator) -> Toy:
    """Knit the blue starfish and sew its beads on."""
    toy = Toy(rng, 104, 104)
    angles = np.arange(5) * 2 * np.pi / 5 + np.array([0, 0.1, -0.06, 0.07, -0.1])
    tips = np.array([82, 77, 84, 79, 81])[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    star = union(*(limb(toy.u, toy.v, (0, 0), tuple(tip), 27, 9.5) for tip in tips), k=13)
    cover = toy.part(star, colour("3f6398"), 0.85)
    toy.paint(cover * smoothstep(-12, -1, star), colour("7398bf"))  # paler rim
    threads = np.arange(3) * np.pi / 3 + 0.3  # three crossed waves make a hexagonal grid of loops
    knit = sum(np.cos((toy.u * np.cos(a) + toy.v * np.sin(a)) * 2 * np.pi / 5.6) for a in threads)
    toy.height += 0.42 * knit * cover
    toy.rgb *= np.exp(0.13 * knit)[..., None]
    for tip in tips:
        for step, radius in zip(np.linspace(0.24, 0.98, 6), np.linspace(5.2, 2.8, 6), strict=True):
            toy.bead(tip[0] * step, tip[1] * step, radius, colour("f1dcae"), gloss=0.5)
    toy.bead(0, 0, 7, colour("f1dcae"), gloss=0.5)
    return toy
