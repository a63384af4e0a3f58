"""The time that results say they were made at; SOURCE_DATE_EPOCH fixes it, so that files can be compared."""

from __future__ import annotations

import os
import time
from typing import Any

from flowcut_napari.core.errors import InputError

# The end of the year 9999.
_LATEST = 253_402_300_799


def source_date_epoch() -> int | None:
    """Return the time that SOURCE_DATE_EPOCH sets for all that is written, in seconds since 1970, or None.

    Raises
    ------
    InputError
        If it is set to anything else.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or int(text) > _LATEST:
        raise InputError(f"SOURCE_DATE_EPOCH is {text!r}: give seconds since 1970 as a whole number, or unset it")
    return int(text)


def time_stamp(seconds: float, epoch: int | None) -> dict[str, Any]:
    """Return when something was made and how long it took; at a fixed time that is the same for every run."""
    if epoch is None:
        return {"created": utc(time.time()), "seconds": round(seconds, 3)}
    return {"created": utc(epoch), "seconds": None}


def utc(moment: float) -> str:
    """Return a time in seconds since 1970 as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
