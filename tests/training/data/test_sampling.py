from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcut_training.data.sampling import SamplePlan, Schedule


@given(st.integers(0, 2**40), st.integers(1, 40), st.integers(0, 5))
def test_every_epoch_visits_each_clip_once(seed: int, clips: int, epoch: int) -> None:
    plan = SamplePlan(seed, clips, 0, 0.0)
    visited = [next(iter(plan.candidates(epoch * clips + place, 1)))[1] for place in range(clips)]
    assert sorted(visited) == list(range(clips))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [
        tuple(next(iter(SamplePlan(seed, 50, 0, 0.0).candidates(50 * epoch + place, 1)))[1] for place in range(50))
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4


@settings(max_examples=60)
@given(
    st.sampled_from([0.1, 0.23, 0.5, 0.9, 1.0, 1 / 3, 1e-7, 0.999999]) | st.floats(0, 1),
    st.integers(0, 10**7),
    st.integers(1, 300),
)
def test_stills_have_exactly_their_share_of_any_stretch(share: float, first: int, count: int) -> None:
    plan = SamplePlan(0, 10, 10, share)
    drawn = [plan.pool(sample) for sample in range(first, first + count)]
    stills = [before for pool, before in drawn if pool == "stills"]
    assert abs(len(stills) - count * Fraction(repr(share))) < 1
    # Each pool is gone through one by one.
    clips = [before for pool, before in drawn if pool == "clips"]
    for numbers in (stills, clips):
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


def test_the_share_is_exact_over_a_long_training() -> None:
    plan = SamplePlan(0, 10, 10, 0.23)
    assert sum(plan.pool(sample)[0] == "stills" for sample in range(100_000)) == 23_000


def test_what_comes_in_the_stead_of_a_broken_clip_is_the_rest_of_the_epoch_each_once() -> None:
    plan = SamplePlan(3, 7, 0, 0.0)
    order = [next(iter(plan.candidates(place, 1)))[1] for place in range(7)]
    assert [clip for _, clip in plan.candidates(2, 100)] == order[2:] + order[:2]
    assert len(list(plan.candidates(2, 3))) == 3


@given(
    start=st.integers(0, 20),
    more=st.integers(0, 10),
    world=st.sampled_from([1, 2, 4]),
    accumulation=st.sampled_from([1, 2, 4]),
)
def test_ranks_and_micro_batches_share_out_the_same_samples(
    start: int, more: int, world: int, accumulation: int
) -> None:
    batch = 16 // (world * accumulation)
    found: dict[int, list[int]] = {}
    for rank in range(world):
        schedule = Schedule(batch, start, start + more, rank, world, accumulation)
        batches = list(schedule)
        assert len(batches) == len(schedule) == more * accumulation
        for place, samples in enumerate(batches):
            found.setdefault(start + place // accumulation, []).extend(samples)
    assert {step: sorted(samples) for step, samples in found.items()} == {
        step: list(range(16 * step, 16 * step + 16)) for step in range(start, start + more)
    }


def test_generators_of_samples_are_their_own() -> None:
    plan = SamplePlan(5, 3, 0, 0.0)
    first = [plan.generator(sample).random() for sample in range(100)]
    assert len(set(first)) == 100
    assert first == [plan.generator(sample).random() for sample in range(100)]
    assert plan.generator(0).random() != SamplePlan(6, 3, 0, 0.0).generator(0).random()
    assert isinstance(plan.generator(0), np.random.Generator)
