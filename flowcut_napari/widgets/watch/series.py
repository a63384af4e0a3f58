"""Curves as numbers: smoothed, thinned to what a screen can show, and the numbers beside their axes."""

from __future__ import annotations

import math

import numpy as np


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean over so many values around each, (N,) float64; what is not finite counts nowhere.

    Examples
    --------
    >>> smoothed(np.array([1.0, 2.0, np.nan, 6.0]), 3).tolist()
    [1.5, 1.5, 4.0, 6.0]
    """
    if window < 2 or not len(values):
        return values
    is_known = np.isfinite(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(is_known, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(is_known)))
    places = np.arange(len(values))
    first, last = np.maximum(0, places - window // 2), np.minimum(len(values), places + (window + 1) // 2)
    count = counts[last] - counts[first]
    return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(1, count), np.nan)


def thinned(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, left: float, right: float, columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a line that is seen as a curve is: at most two in each of so many columns.

    Parameters
    ----------
    x : (N,) array
        Rising.
    low, high : (N,) arrays
        Where the curve goes at each x; the same one for a plain curve. What is not finite is left out.
    left, right : float
        Where the columns begin and end.
    """
    is_shown = np.isfinite(low) & np.isfinite(high)
    if not is_shown.all():
        x, low, high = x[is_shown], low[is_shown], high[is_shown]
    if len(x) <= 2 * columns and low is high:
        return x.astype(float), low
    column = np.clip((x - left) * (columns / max(right - left, 1e-9)), 0, columns - 1).astype(np.int64)
    firsts = np.flatnonzero(np.diff(column, prepend=-1))
    if not len(firsts):
        return np.zeros(0), np.zeros(0)
    centres = left + (column[firsts] + 0.5) * ((right - left) / columns)
    found = np.empty(2 * len(firsts))
    found[0::2], found[1::2] = np.minimum.reduceat(low, firsts), np.maximum.reduceat(high, firsts)
    # The way that the curve goes, so that no line is drawn across a column twice.
    ends = np.append(firsts[1:], len(x)) - 1
    falls = np.flatnonzero(low[firsts] > low[ends])
    found[2 * falls], found[2 * falls + 1] = found[2 * falls + 1], found[2 * falls].copy()
    return np.repeat(centres, 2), found


def averaged(x: np.ndarray, y: np.ndarray, left: float, right: float, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a smooth line: one in each of so many columns, the mean of what is finite there."""
    is_shown = np.isfinite(y)
    if not is_shown.all():
        x, y = x[is_shown], y[is_shown]
    if len(x) <= columns:
        return x.astype(float), y
    column = np.clip((x - left) * (columns / max(right - left, 1e-9)), 0, columns - 1).astype(np.int64)
    firsts = np.flatnonzero(np.diff(column, prepend=-1))
    counts = np.diff(np.append(firsts, len(x)))
    return np.add.reduceat(x, firsts) / counts, np.add.reduceat(y, firsts) / counts


def value_range(curves: list[np.ndarray], *, is_log: bool = False) -> tuple[float, float] | None:
    """Return the least and the greatest value of curves, of many values without the most extreme; None for none."""
    lows, highs = [], []
    for values in curves:
        known = values[np.isfinite(values) & ((values > 0) if is_log else True)]
        if len(known) > 400:
            # One wild step would press all the others flat.
            lows.append(float(np.quantile(known, 0.002)))
            highs.append(float(np.quantile(known, 0.998)))
        elif len(known):
            lows.append(float(known.min()))
            highs.append(float(known.max()))
    if not lows:
        return None
    low, high = min(lows), max(highs)
    if low == high:
        low, high = (low / 2, high * 2) if is_log else (low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5)
    return low, high


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most so many round numbers within bounds, evenly spaced.

    Examples
    --------
    >>> ticks(0, 5000, 4), ticks(3.5, 31, 3)
    ([0.0, 2000.0, 4000.0], [10.0, 20.0, 30.0])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    size = 10.0 ** math.floor(math.log10((high - low) / max(1, most)))
    for step in (factor * size for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most so many round numbers within positive bounds, for a logarithmic axis.

    Examples
    --------
    >>> log_ticks(0.02, 300, 5), log_ticks(3, 8, 3)
    ([0.1, 1.0, 10.0, 100.0], [3.0, 5.0])
    """
    for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [float(f"{value:.12g}") for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= most:
            return found if len(found) > 1 else ticks(low, high, most)
    return found[:: math.ceil(len(found) / most)]


def short(value: float) -> str:
    """Return a number as it is written beside an axis.

    Examples
    --------
    >>> short(0.25), short(12000), short(2.5e6), short(1e-6), short(0)
    ('0.25', '12k', '2.5M', '1e-6', '0')
    """
    size = abs(value)
    if size >= 1e9 or (0 < size < 1e-3):
        digits, power = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if size >= 1e4 else f"{value:g}"


def figure(value: float) -> str:
    """Return a value that is read off a curve.

    Examples
    --------
    >>> figure(23.456), figure(0.012345), figure(1234.5), figure(1e-6), figure(float("nan"))
    ('23.5', '0.0123', '1,234', '1e-6', '-')
    """
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e9 else short(value)
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else short(value)
