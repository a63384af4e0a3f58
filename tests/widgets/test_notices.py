from __future__ import annotations

from collections.abc import Iterator

import pytest
from benches import application
from napari_window import wait

from flowcut_napari.widgets.live import Trouble
from flowcut_napari.widgets.notices import Notice, plain, readable


@pytest.fixture
def notice() -> Iterator[Notice]:
    application()
    made = Notice()
    yield made
    made.deleteLater()


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (Trouble("missing weights: dino (a.pth); looked in ...", ("dino",)), "The weights of dino are not on this"),
        (Trouble("...", ("dino", "raft-large")), "The weights of dino and raft-large are not on this machine."),
        (Trouble("clip/00002.png: cannot be read"), "Clip/00002.png: cannot be read"),
        (Trouble(""), ""),
    ],
)
def test_a_trouble_is_told_as_a_sentence(trouble: Trouble, text: str) -> None:
    assert readable(trouble).startswith(text)


def test_there_is_nothing_to_see_while_nothing_is_wrong(notice: Notice) -> None:
    assert notice.isHidden()
    notice.show_trouble(Trouble("no"), {})
    assert not notice.isHidden()
    notice.show_trouble(None, {"retry": ("Try again", lambda: None)})
    assert notice.isHidden()
    assert notice.buttons == {}


def test_what_can_be_done_is_a_button_each_and_the_whole_text_a_tip(notice: Notice) -> None:
    done: list[str] = []
    trouble = Trouble("missing weights: dino; looked in these folders", ("dino",))
    notice.show_trouble(
        trouble, {name: (name.title(), lambda name=name: done.append(name)) for name in ("fetch", "choose")}
    )
    assert notice.toolTip() == plain(trouble.text)
    assert [button.text() for button in notice.buttons.values()] == ["Fetch", "Choose"]
    assert [button.objectName() for button in notice.buttons.values()] == ["fetch", "choose"]
    notice.buttons["choose"].click()
    notice.buttons["fetch"].click()
    assert done == ["choose", "fetch"]


def test_buttons_of_an_earlier_trouble_are_gone(notice: Notice) -> None:
    from qtpy.QtCore import QCoreApplication, QEvent
    from qtpy.QtWidgets import QPushButton

    for name in ("first", "second"):
        notice.show_trouble(Trouble(name), {name: (name, lambda: None)})
    wait(10)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [button.objectName() for button in notice.findChildren(QPushButton)] == ["second"]
    assert notice.text.text() == "Second"


def test_an_action_may_take_the_notice_away(notice: Notice) -> None:
    # As "Try again" does: the button that was clicked is gone before its click has ended.
    notice.show_trouble(Trouble("no"), {"retry": ("Try again", lambda: notice.show_trouble(None, {}))})
    notice.buttons["retry"].click()
    wait(10)
    assert notice.isHidden()


def test_a_name_that_looks_like_html_is_shown_as_it_is() -> None:
    assert plain("<b>clip</b> & more") == "<qt>&lt;b&gt;clip&lt;/b&gt; &amp; more</qt>"
