"""Reading clips on a thread: the one that is asked for first, then those that are likely to come next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flowcut_napari.core.dataset_view import Dataset
from flowcut_napari.core.errors import FlowCutError
from flowcut_napari.viewer.clip_layers import ClipPicture, compose

# Of clips that are kept to be shown again.
_MOST_BYTES = 192 << 20


@dataclass(frozen=True)
class ClipRequest:
    """Some frames of one clip, put together for a canvas of this shape (width by height)."""

    opened: int
    number: int
    places: tuple[int, ...]
    room: float
    dataset: Dataset = field(compare=False)


class ClipLoader:
    """Answers the latest request; older ones that are not yet begun are dropped.

    Parameters
    ----------
    on_loaded, on_failed : callable
        Called on the thread, with the request and what came of it.
    """

    def __init__(
        self, on_loaded: Callable[[ClipRequest, ClipPicture], None], on_failed: Callable[[ClipRequest, str], None]
    ) -> None:
        self._on_loaded, self._on_failed = on_loaded, on_failed
        self._changed = threading.Condition()
        self._wanted: ClipRequest | None = None
        self._ahead: list[ClipRequest] = []
        self._kept: OrderedDict[ClipRequest, ClipPicture] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def ask(self, request: ClipRequest, ahead: Sequence[ClipRequest] = ()) -> ClipPicture | None:
        """Return a clip that is at hand, or have it read; after it those that may come next."""
        with self._changed:
            known = self._kept.get(request)
            if known is not None:
                self._kept.move_to_end(request)
            self._wanted = request if known is None else None
            self._ahead = [other for other in ahead if other not in self._kept]
            if self._thread is None and not self._is_over:
                self._thread = threading.Thread(target=self._work, name="flowcut clips", daemon=True)
                self._thread.start()
            self._changed.notify()
            return known

    def forget(self) -> None:
        """Drop all clips and all that is still to be read."""
        with self._changed:
            self._wanted, self._ahead = None, []
            self._kept.clear()

    def stop(self) -> None:
        """End the thread, after what it is at. May be called again."""
        with self._changed:
            self._is_over = True
            self._wanted, self._ahead = None, []
            self._kept.clear()
            self._changed.notify()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            request, is_wanted = task
            try:
                # It may have been read ahead meanwhile.
                picture = self._kept.get(request) or _read(request)
            except FlowCutError as error:
                self._tell_failed(request, is_wanted, str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is, the next clip must be read
                self._tell_failed(request, is_wanted, f"the clip cannot be read ({type(error).__name__}: {error})")
            else:
                self._keep(request, picture)
                if is_wanted:
                    self._on_loaded(request, picture)

    def _next(self) -> tuple[ClipRequest, bool] | None:
        with self._changed:
            while not (self._is_over or self._wanted or self._ahead):
                self._changed.wait()
            if self._is_over:
                return None
            if self._wanted is not None:
                request, self._wanted = self._wanted, None
                return request, True
            return self._ahead.pop(0), False

    def _keep(self, request: ClipRequest, picture: ClipPicture) -> None:
        with self._changed:
            if self._is_over:
                return
            self._kept[request] = picture
            while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > _MOST_BYTES:
                self._kept.popitem(last=False)

    def _tell_failed(self, request: ClipRequest, is_wanted: bool, text: str) -> None:
        if is_wanted:
            self._on_failed(request, text)


def _read(request: ClipRequest) -> ClipPicture:
    return compose(request.dataset.read(request.number, request.places), request.room)
