"""The documents of a viewer, one for each video whose masks are saved: read on a thread, kept until the end."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal

from flowcut_napari.core.errors import FlowCutError, InputError
from flowcut_napari.core.masks_file import MasksFile, close_all
from flowcut_napari.core.parameters import CurationParameters
from flowcut_napari.core.store import VideoMasks
from flowcut_napari.core.video import Video
from flowcut_napari.widgets.curate.document import Document, Rematched

_PATIENCE_SECONDS = 10.0


class DocumentShelf(QObject):
    """Reads masks files, and holds what was made of them.

    Documents stay, also where the layers of their video are deleted: work that could not be saved is asked for at the
    end.

    Signals
    -------
    opened (object, object)
        A video and its document: a new one, or the one that was there, because it is still right.
    failed (str)
        Why there is none.
    rematched (object, object)
        A video whose document follows other parameters now, and that.
    refused (str)
        Why it cannot.
    state_changed
        Whether all is on disk; from whatever thread it comes about.
    """

    opened = Signal(object, object)
    failed = Signal(str)
    rematched = Signal(object, object)
    refused = Signal(str)
    state_changed = Signal()
    _came = Signal(object)

    def __init__(self, author: str = "", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._author = author
        self._documents: dict[tuple[str, str], Document] = {}
        self._openings = 0
        self._matchings = 0
        self._is_shut = False
        self._came.connect(self._on_came)

    def of(self, video: Video) -> Document | None:
        """Return the document of a video, by where that lies and what it is called."""
        return self._documents.get(_key(video))

    def documents(self) -> list[Document]:
        """Return all of them."""
        return list(self._documents.values())

    def stop(self) -> None:
        """Take up nothing of what is being read."""
        self._openings += 1

    def open(self, video: Video, path: Path, parameters: CurationParameters) -> None:
        """Read a masks file, which takes a while; `opened` or `failed` tells of it, unless another one is opened."""
        self._openings += 1
        opening, before = self._openings, self.of(video)
        over = before.masks if before is not None else None

        def read() -> None:
            if before is not None:
                # What was done last is part of what is read.
                before.file.wait(_PATIENCE_SECONDS)
            file, masks = MasksFile.open(path, _Told(self))
            try:
                document = Document(masks, file, parameters, self._author)
            except FlowCutError as error:
                file.close()
                raise InputError(f"{path}: {error}") from None
            self._send(lambda: self._on_read(opening, video, document, over, parameters))

        self._do(read, opening)

    def take_theirs(self, video: Video, parameters: CurationParameters) -> None:
        """Go on from what another program wrote; what was done here is kept. If theirs are no good, all stays."""
        document = self.of(video)
        if document is None:
            return
        self._openings += 1
        opening = self._openings

        def read() -> None:
            made: list[Document] = []

            def check(masks: VideoMasks) -> None:
                ours = document.masks.video
                if (masks.video.fingerprint, masks.video.frames) != (ours.fingerprint, ours.frames):
                    raise InputError(f"{document.file.path}: holds the masks of another video now")
                made.append(Document(masks, document.file, parameters, self._author))

            document.file.reload(check)
            self._send(lambda: self._put(video, made[0]))

        self._do(read, opening)

    def rematch(self, video: Video, parameters: CurationParameters) -> None:
        """Match the masks of a long video with other parameters; of several that are asked for only the last counts."""
        document = self.of(video)
        if document is None:
            return
        self._matchings += 1
        matching, match = self._matchings, document.rematched(parameters)

        def take(found: Rematched) -> None:
            if matching != self._matchings or document is not self.of(video):
                return
            if document.adopt(found):
                self.rematched.emit(video, document)
            else:  # something was done meanwhile
                self.rematch(video, parameters)

        def work() -> None:
            try:
                found = match()
            except FlowCutError as error:
                text = str(error)
                self._send(lambda: self.refused.emit(text) if matching == self._matchings else None)
            else:
                self._send(lambda: take(found))

        threading.Thread(target=work, daemon=True).start()

    def _do(self, read: Callable[[], None], opening: int) -> None:
        def work() -> None:
            try:
                read()
            except Exception as error:  # noqa: BLE001  # whatever it is: somebody waits for it
                text = str(error) if isinstance(error, FlowCutError) else f"{type(error).__name__}: {error}"
                self._send(lambda: self._fail(opening, text))

        threading.Thread(target=work, daemon=True).start()

    def _send(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the window is gone
            self._came.emit(call)

    def _on_came(self, call: Callable[[], None]) -> None:
        if not self._is_shut:
            call()

    def _fail(self, opening: int, text: str) -> None:
        if opening == self._openings:
            self.failed.emit(text)

    def _on_read(
        self, opening: int, video: Video, read: Document, over: VideoMasks | None, parameters: CurationParameters
    ) -> None:
        if opening != self._openings:
            read.file.close()
            return
        before = self.of(video)
        if before is None or before.file.path != read.file.path:
            if before is not None:
                before.file.close()
            self._put(video, read)
            return
        state = before.file.state.kind
        if state == "saving" or before.masks is not over:
            # Something was done meanwhile, and what was read is older.
            read.file.close()
            self.open(video, read.file.path, parameters)
        elif state != "saved" or before.masks == read.masks:
            # Of what could not be saved, a person says which of both is right. What is the same keeps its history.
            read.file.close()
            self._put(video, before)
        else:
            before.file.close()
            self._put(video, read)

    def _put(self, video: Video, document: Document) -> None:
        self._documents[_key(video)] = document
        self.opened.emit(video, document)

    def shutdown(self) -> None:
        """Wait until all is on disk, and let go of the files. May be called again."""
        self._is_shut = True
        close_all(document.file for document in self._documents.values())


class _Told:
    """Tells a shelf of each new state of a file; keeps neither alive."""

    def __init__(self, shelf: DocumentShelf) -> None:
        self._shelf = weakref.ref(shelf)

    def __call__(self, _: object) -> None:
        shelf = self._shelf()
        if shelf is not None:
            with contextlib.suppress(RuntimeError):  # Qt's half of it is gone
                shelf.state_changed.emit()


def _key(video: Video) -> tuple[str, str]:
    return str(video.path), video.name
