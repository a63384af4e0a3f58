from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from command_line import NO_NETWORK, cut_to_nothing, in_session, wait_for
from conftest import write_frames
from conversation import Conversation

from flowcut_napari.core import ArrayCache, Cosines, CutParameters, Video, open_video, segment_video
from flowcut_napari.core.flow import flow_picture
from flowcut_napari.core.models import ModelPlan
from flowcut_napari.core.probe import AffinityRow
from flowcut_napari.core.refine import FrameCrf, crf_is_available
from flowcut_napari.live.cutter import Cutter
from flowcut_napari.live.describer import Description, FromHelper
from flowcut_napari.live.messages import (
    CutsMade,
    Described,
    Failed,
    Look,
    Machine,
    Open,
    Probe,
    Probed,
    Refined,
    Remark,
)

SMALL = CutParameters.preset("handmade").with_changes(height=96, width=128, max_instances=3, max_eigenvalue=1.0, gap=2)


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return open_video(write_frames(tmp_path / "clip", 8, (96, 128)))


@pytest.fixture
def talk() -> Iterator[Conversation]:
    with Conversation("flowcut_napari.live.cutter", NO_NETWORK) as started:
        yield started


def _helper(talk: Conversation) -> psutil.Process:
    """Return the process that holds the models: the cutter's child, but for the one that tracks resources."""
    (found,) = [child for child in psutil.Process(talk.child.pid).children() if "spawn_main" in str(child.cmdline())]
    return found


def test_a_look_is_answered_by_a_description_cuts_and_the_masks_of_a_whole_run(
    talk: Conversation, video: Video
) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 3, SMALL))
    described, cuts, refined = (talk.hear(kind) for kind in (Described, CutsMade, Refined))
    with_flow = next(
        (record for record in talk.said if isinstance(record, Described) and record.flow_picture is not None), None
    ) or talk.hear(Described, lambda record: record.flow_picture is not None)
    for answer in (described, cuts, refined):
        assert (answer.number, answer.frame, answer.parameters) == (1, 3, SMALL)
    assert described.partner == 5
    (expected,) = segment_video(video, SMALL, indices=[3]).frames
    assert len(expected.instances) + len(expected.rejected) > 1
    assert refined.masks.instances == expected.instances
    assert refined.masks.rejected == expected.rejected
    assert (refined.masks.index, refined.masks.partner, refined.masks.stop) == (3, 5, expected.stop)
    assert [cut.iteration for cut in cuts.result.cuts] == list(range(1, len(cuts.result.cuts) + 1))
    (description,) = ModelPlan.make(SMALL, {}, "cpu", fetch=False).build().describe(video, [3])
    assert described.grid == description.grid
    np.testing.assert_array_equal(with_flow.flow_picture, flow_picture(description.flow, min_magnitude=SMALL.min_flow))


@pytest.mark.parametrize("changes", [{"crf": False}, {"alpha": 1.0}, {"tau": 0.2, "min_area": 0.0, "max_instances": 5}])
def test_moved_sliders_give_what_a_whole_run_gives(
    talk: Conversation, video: Video, changes: dict[str, object]
) -> None:
    moved = SMALL.with_changes(**changes)
    talk.send(Open(video, Machine()))
    for number, parameters in enumerate((SMALL, moved, SMALL), start=1):
        talk.send(Look(number, 0, parameters))
        refined = talk.hear(Refined, lambda record, number=number: record.number == number)
        (expected,) = segment_video(video, parameters, indices=[0]).frames
        assert (refined.parameters, refined.masks.instances) == (parameters, expected.instances)
        assert refined.masks.rejected == expected.rejected


def test_of_many_looks_at_once_the_last_is_answered_and_no_other_is_refined(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    for number in range(1, 31):
        talk.send(Look(number, number % 8, SMALL.with_changes(tau=0.2 + 0.01 * number)))
    refined = talk.hear(Refined)
    assert (refined.number, refined.frame) == (30, 30 % 8)
    assert refined.parameters.tau == pytest.approx(0.5)
    talk.overhear()
    assert [record.number for record in talk.said if isinstance(record, Refined)] == [30]


@pytest.mark.skipif(not crf_is_available(), reason="pydensecrf2 is not installed")
def test_a_question_that_comes_during_the_crf_ends_it(video: Video, monkeypatch: pytest.MonkeyPatch) -> None:
    # In this process, to ask in the very middle.
    plan = ModelPlan.make(SMALL, {}, "cpu", fetch=False).build()
    (description,) = plan.describe(video, [3])
    refine, answers = FrameCrf.refine, []

    def refine_and_ask(crf: FrameCrf, mask: np.ndarray, pause: Callable[[], None] | None = None) -> np.ndarray:
        if not any(isinstance(answer, CutsMade) and answer.number == 2 for answer in answers):
            cutter.inbox.put(Look(2, 3, SMALL.with_changes(tau=0.3)))
        return refine(crf, mask, pause)

    class _Enough(Exception):
        pass

    def take(answer: object) -> None:
        answers.append(answer)
        if isinstance(answer, Refined):
            raise _Enough

    monkeypatch.setattr(FrameCrf, "refine", refine_and_ask)
    cutter = Cutter(take)
    cutter.inbox.put(Look(1, 3, SMALL))
    cutter.inbox.put(FromHelper(0, Description(SMALL, description)))
    with pytest.raises(_Enough):
        cutter.run()
    assert [answer.number for answer in answers if isinstance(answer, CutsMade)] == [1, 2]
    assert [answer.number for answer in answers if isinstance(answer, Refined)] == [2]


def test_what_is_near_is_described_ahead_so_that_a_step_finds_it(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 2, SMALL, near=(3, 4, 1)))
    heard = {talk.hear(Described, lambda record, frame=frame: record.frame == frame).frame for frame in (2, 3, 4, 1)}
    assert heard == {1, 2, 3, 4}
    # A helper that stands still cannot help: whatever comes now was known.
    helper = _helper(talk)
    helper.suspend()
    talk.send(Look(2, 3, SMALL))
    assert talk.hear(Refined, lambda record: record.number == 2).frame == 3
    helper.resume()


def test_a_known_frame_with_ahead_only_is_not_cut_again(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 2, SMALL, wants_flow=False))
    talk.hear(Refined)
    talk.send(Look(2, 2, SMALL, near=(3,), ahead_only=True, wants_flow=False))
    talk.hear(Described, lambda record: record.frame == 3)
    talk.overhear()
    assert [type(record) for record in talk.said if isinstance(record, CutsMade | Refined)] == [CutsMade, Refined]


def test_a_probe_gives_the_row_of_the_affinity(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    # Asked before the frame is described, it waits for the look that has it described.
    talk.send(Probe(1, 3, (2, 5), SMALL))
    talk.send(Look(2, 3, SMALL))
    probed = talk.hear(Probed)
    (description,) = ModelPlan.make(SMALL, {}, "cpu", fetch=False).build().describe(video, [3])
    cosines = Cosines.of(description.rgb, description.motion)
    expected = AffinityRow.of(cosines, description.grid, (2, 5), alpha=SMALL.alpha, tau=SMALL.tau)
    assert (probed.number, probed.frame, probed.row.patch) == (1, 3, (2, 5))
    np.testing.assert_allclose(probed.row.fused, expected.fused, atol=1e-6)
    np.testing.assert_array_equal(probed.row.together, expected.together)


def test_a_probe_of_a_patch_that_is_not_there_fails_alone(talk: Conversation, video: Video) -> None:
    # As when the working size is made smaller while a patch at the edge is probed.
    talk.send(Open(video, Machine()))
    talk.send(Probe(1, 3, (500, 0), SMALL))
    talk.send(Look(2, 3, SMALL))
    failed = talk.hear(Failed)
    assert (failed.number, failed.missing) == (1, ())
    assert "there is no patch (500, 0)" in failed.text
    assert talk.hear(Refined).number == 2


def test_missing_weights_are_named_and_other_features_work_at_once(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 3, SMALL.with_changes(features="dino")))
    failed = talk.hear(Failed)
    assert (failed.number, failed.missing) == (1, ("dino",))
    assert "\n" not in failed.text
    talk.send(Look(2, 3, SMALL))
    assert talk.hear(Refined).number == 2


def test_a_damaged_frame_is_told_in_one_line_and_only_when_it_is_looked_at(talk: Conversation, tmp_path: Path) -> None:
    video = open_video(write_frames(tmp_path / "clip", 8, (96, 128)))
    cut_to_nothing(tmp_path / "clip" / "00006.png")
    talk.send(Open(video, Machine()))
    # Frame 4 needs frame 6 for its flow; it is described ahead, in vain.
    talk.send(Look(1, 3, SMALL, near=(4,)))
    assert talk.hear(Refined).frame == 3
    assert not any(isinstance(record, Failed) for record in talk.overhear(1))
    talk.send(Look(2, 4, SMALL))
    failed = talk.hear(Failed)
    assert failed.number == 2
    assert "00006.png" in failed.text
    assert "\n" not in failed.text
    talk.send(Look(3, 3, SMALL.with_changes(tau=0.3)))
    assert talk.hear(Refined, lambda record: record.number == 3).frame == 3


def test_another_video_takes_the_place_of_the_first(talk: Conversation, video: Video, tmp_path: Path) -> None:
    other = open_video(write_frames(tmp_path / "other", 3, (64, 96)))
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 1, SMALL, near=(2, 3, 4)))
    talk.hear(Refined)
    first = _helper(talk)
    talk.send(Open(other, Machine()))
    talk.send(Look(2, 1, SMALL))
    refined = talk.hear(Refined)
    (expected,) = segment_video(other, SMALL, indices=[1]).frames
    assert (refined.number, refined.masks.instances) == (2, expected.instances)
    # Its models are there: they are not loaded once more for a video.
    assert _helper(talk).pid == first.pid
    talk.send(Open(other, Machine(cache_limit_gb=1)))
    talk.send(Look(3, 1, SMALL))
    assert talk.hear(Refined, lambda record: record.number == 3).masks.instances == expected.instances
    wait_for(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE, 10)


def test_what_the_helper_of_an_earlier_video_still_says_is_not_heard(video: Video) -> None:
    (description,) = ModelPlan.make(SMALL, {}, "cpu", fetch=False).build().describe(video, [3])
    answers: list[object] = []
    cutter = Cutter(answers.append)
    cutter._handle(Look(1, 3, SMALL))
    # Sent before the helper was ended, read after another video was opened: frame 3 is another picture there.
    cutter._handle(FromHelper(-1, Description(SMALL, description)))
    assert answers == []
    cutter._handle(FromHelper(0, Description(SMALL, description)))
    assert [type(answer) for answer in answers] == [Described]


def test_looks_before_any_video_are_not_answered(talk: Conversation, video: Video) -> None:
    talk.send(Look(1, 0, SMALL))
    assert talk.overhear(1.5) == []
    talk.send(Open(video, Machine()))
    talk.send(Look(2, 0, SMALL))
    assert talk.hear(Refined).number == 2


def test_killing_the_helper_ends_the_cutter_with_a_reason_that_names_it(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 0, SMALL))
    talk.hear(CutsMade)
    os.kill(_helper(talk).pid, signal.SIGKILL)
    reason = talk.end()
    assert "the process that holds the models: it was ended by SIGKILL" in reason
    wait_for(lambda: not in_session(talk.child.pid), 10)


def test_killing_the_cutter_ends_its_helper(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 0, SMALL))
    talk.hear(Described)
    os.kill(talk.child.pid, signal.SIGKILL)
    assert "SIGKILL" in talk.end()
    wait_for(lambda: not in_session(talk.child.pid), 10)


def test_after_stop_neither_the_cutter_nor_its_helper_is_there(talk: Conversation, video: Video) -> None:
    talk.send(Open(video, Machine()))
    talk.send(Look(1, 0, SMALL, near=(1, 2, 3)))
    talk.hear(Described)
    assert len(in_session(talk.child.pid)) >= 2
    talk.child.stop()
    wait_for(lambda: not in_session(talk.child.pid), 10)
    assert not any(isinstance(record, Failed) for record in talk.said)


def test_what_was_described_is_found_in_the_cache_of_the_next_process(video: Video) -> None:
    with Conversation("flowcut_napari.live.cutter") as talk:
        talk.send(Open(video, Machine()))
        talk.send(Look(1, 3, SMALL))
        first = talk.hear(Refined)
    (description,) = ModelPlan.make(SMALL, {}, "cpu", fetch=False).build().describe(video, [3])
    cached = ModelPlan.make(SMALL, {}, "cpu", ArrayCache(), fetch=False).build()
    # Models that cannot be asked: the cache must hold all.
    cached.features.encode = cached.flow.estimate = None  # type: ignore[assignment,method-assign,union-attr]
    (found,) = cached.describe(video, [3])
    np.testing.assert_array_equal(found.rgb, description.rgb)
    np.testing.assert_array_equal(found.motion, description.motion)
    with Conversation("flowcut_napari.live.cutter") as talk:
        talk.send(Open(video, Machine()))
        talk.send(Look(1, 3, SMALL))
        second = talk.hear(Refined)
    # Cuts are arrays, which have no equality of their own.
    assert replace(second.masks, cuts=()) == replace(first.masks, cuts=())


def test_a_cache_that_cannot_be_written_is_remarked_once_and_does_not_stop_the_work(
    video: Video, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with Conversation("flowcut_napari.live.cutter", {"FLOWCUT_CACHE": str(tmp_path / "file")}) as talk:
        talk.send(Open(video, Machine()))
        for number, frame in enumerate((0, 1), start=1):
            talk.send(Look(number, frame, SMALL))
            assert talk.hear(Refined).number == number
        (remark,) = [record for record in talk.said if isinstance(record, Remark)]
        assert str(tmp_path / "file") in remark.text
