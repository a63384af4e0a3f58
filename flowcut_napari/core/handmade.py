"""Temporary."""

from __future__ import annotations

import cv2
import numpy as np

VERSION = "0"


def _rff(x, scales, dim=256, seed=0):
    r = np.random.default_rng(seed)
    w = r.standard_normal((x.shape[1], dim // 2)) / np.asarray(scales)[:, None]
    p = x @ w
    return np.concatenate([np.cos(p), np.sin(p)], 1).astype(np.float32)


def appearance_features(picture, grid):
    rows, cols = grid
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    m = cv2.resize(lab, (cols, rows), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    yy, xx = np.mgrid[:rows, :cols]
    pos = np.stack([yy.ravel() / rows, xx.ravel() / cols], 1)
    return _rff(np.concatenate([m, pos], 1), [20, 20, 20, 0.3, 0.3])


def motion_features(flow, grid, picture=None):
    rows, cols = grid
    m = cv2.resize(flow.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA).reshape(-1, 2)
    yy, xx = np.mgrid[:rows, :cols]
    a = np.stack([np.ones(rows * cols), xx.ravel() / cols, yy.ravel() / rows], 1)
    w = np.ones(len(a))
    for _ in range(10):
        c, *_ = np.linalg.lstsq(a * w[:, None], m * w[:, None], rcond=None)
        r = np.linalg.norm(m - a @ c, axis=1)
        s = np.median(r) + 1e-3
        w = 1 / (1 + (r / s) ** 2)
    return _rff(m - a @ c, [max(3 * s, 0.5)] * 2)
