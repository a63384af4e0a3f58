"""The matcher beside brute force, the loss beside a slow dense computation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from flowcut_training.loss import LossParameters, NotFiniteError, SetCriterion, Share, assign, matching_costs
from flowcut_training.loss.points import sample_points, uncertain_points

PARAMETERS = LossParameters(points=64)


def dense_cost(logits: torch.Tensor, mask: torch.Tensor, wanted: torch.Tensor) -> float:
    """What it costs to take a query (its logits and its mask, constant in every frame) for an instance."""
    probability = math.exp(logits[0]) / (math.exp(logits[0]) + math.exp(logits[1]))
    entropy, inside, both, area = 0.0, 0.0, 0.0, 0.0
    for value, truth in zip(mask.flatten().tolist(), wanted.flatten().tolist(), strict=True):
        share = 1 / (1 + math.exp(-value))
        entropy -= math.log(share if truth else 1 - share)
        inside, both, area = inside + share, both + share * truth, area + truth
    entropy /= mask.numel()
    points = PARAMETERS.points / (mask.shape[-1] * mask.shape[-2])
    dice = 1 - (2 * both * points + 1) / ((inside + area) * points + 1)
    return -2 * probability + 5 * entropy + 5 * dice


def test_costs_are_those_of_a_slow_computation() -> None:
    """Masks that are constant in a frame cost the same wherever points fall."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 2, generator=generator)
    masks = torch.randn(4, 3, 1, 1, generator=generator).expand(-1, -1, 6, 8)
    wanted = (torch.rand(3, 3, 1, 1, generator=generator) > 0.5).expand(-1, -1, 12, 16)
    # Points near the edge see the outside, which is empty: keep away from it.
    found = _interior_costs(logits, masks, wanted)
    for query, instance in itertools.product(range(4), range(3)):
        expected = dense_cost(logits[query], masks[query], wanted[instance, :, ::2, ::2])
        assert found[query, instance].item() == pytest.approx(expected, rel=1e-4)


def _interior_costs(logits: torch.Tensor, masks: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        rand = torch.rand
        patch.setattr(torch, "rand", lambda *size, **options: 0.2 + 0.6 * rand(*size, **options))
        return matching_costs(logits, masks, wanted, PARAMETERS)


@pytest.mark.parametrize("seed", range(8))
def test_the_match_is_the_best_of_all(seed: int) -> None:
    torch.manual_seed(seed)
    queries, instances = 5, (0, 1, 2, 3, 4, 5, 3, 2)[seed]
    logits, masks = torch.randn(queries, 2), torch.randn(queries, 2, 4, 4)
    wanted = torch.rand(instances, 2, 8, 8) > 0.5
    torch.manual_seed(seed)
    cost = matching_costs(logits, masks, wanted, PARAMETERS) if instances else torch.zeros(queries, 0)
    torch.manual_seed(seed)
    ((rows, columns),) = assign([matching_costs(logits, masks, wanted, PARAMETERS)])
    best = min(
        sum(cost[row, column].item() for column, row in enumerate(order))
        for order in itertools.permutations(range(queries), instances)
    )
    assert sorted(columns.tolist()) == list(range(instances))
    assert len(set(rows.tolist())) == instances
    assert cost[rows, columns].sum().item() == pytest.approx(best, abs=1e-5)


def test_more_instances_than_queries_leave_some_out() -> None:
    wanted = torch.rand(5, 1, 8, 8) > 0.5
    ((rows, columns),) = assign([matching_costs(torch.randn(2, 2), torch.randn(2, 1, 4, 4), wanted, PARAMETERS)])
    assert sorted(rows.tolist()) == [0, 1]
    assert len(set(columns.tolist())) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_matches_nothing(value: float) -> None:
    logits, masks = torch.randn(3, 2), torch.randn(3, 1, 4, 4)
    masks[1] = value
    if math.isinf(value):
        logits[1] = float("nan")
    with pytest.raises(NotFiniteError):
        assign([matching_costs(logits, masks, torch.ones(1, 1, 8, 8, dtype=torch.bool), PARAMETERS)])


def predictions(logits: torch.Tensor, masks: torch.Tensor, *earlier: tuple[torch.Tensor, torch.Tensor]):
    layers = [{"pred_logits": one, "pred_masks": other} for one, other in earlier]
    return {"pred_logits": logits, "pred_masks": masks, "aux_outputs": layers}


def test_losses_are_those_of_a_slow_computation() -> None:
    """Queries whose masks are constant, instances that fill the picture: points fall where they like."""
    torch.manual_seed(0)
    clips, queries, frames = 2, 4, 3
    logits, levels = torch.randn(clips, queries, 2), torch.randn(clips, queries)
    masks = levels[:, :, None, None, None].expand(-1, -1, frames, 6, 8)
    wanted = [torch.ones(2, frames, 12, 16, dtype=torch.bool), torch.ones(1, frames, 12, 16, dtype=torch.bool)]
    with pytest.MonkeyPatch.context() as patch:
        rand = torch.rand
        patch.setattr(torch, "rand", lambda *size, **options: 0.2 + 0.6 * rand(*size, **options))
        found = SetCriterion(PARAMETERS)(predictions(logits, masks), wanted)

    entropy = dice = classification = weight = 0.0
    for clip in range(clips):
        shares = levels[clip].sigmoid()
        each = -shares.log(), 1 - (2 * shares * 64 + 1) / (shares * 64 + 64 + 1)
        cost = -2 * logits[clip].softmax(-1)[:, 0] + 5 * each[0]
        cost += 5 * (1 - (2 * shares * 64 * frames + 1) / ((shares * 64 + 64) * frames + 1))
        matched = set(cost.argsort()[: len(wanted[clip])].tolist())
        for query in range(queries):
            log = logits[clip, query].log_softmax(-1)
            classification -= log[0].item() if query in matched else 0.1 * log[1].item()
            weight += 1.0 if query in matched else 0.1
        entropy += sum(each[0][query].item() for query in matched) * frames
        dice += sum(each[1][query].item() for query in matched) * frames
    # Summed over instances and frames, divided by the number of instances: 3.
    assert found.mask.item() == pytest.approx(entropy / 3, rel=1e-4)
    assert found.dice.item() == pytest.approx(dice / 3, rel=1e-4)
    assert found.classification.item() == pytest.approx(classification / weight, rel=1e-4)
    assert found.total.item() == pytest.approx(2 * classification / weight + 5 * entropy / 3 + 5 * dice / 3, rel=1e-4)


def test_with_many_points_the_loss_is_that_of_all_pixels() -> None:
    """No uncertain ones: then points are a fair sample of the picture."""
    torch.manual_seed(0)
    parameters = LossParameters(points=100_000, uncertain_share=0.0, oversample=1.0)
    masks = torch.randn(1, 1, 2, 8, 8) * 3
    wanted = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    wanted[:, :, 4:20, 6:28] = True
    found = SetCriterion(parameters)(predictions(torch.randn(1, 1, 2), masks), [wanted])
    # The same bilinear reading of both at the centres of a fine grid.
    places = (torch.arange(400) + 0.5) / 400
    y, x = torch.meshgrid(places, places, indexing="ij")
    grid = torch.stack((x, y), -1).flatten(0, 1)[None].expand(2, -1, -1)
    values = sample_points(masks[0, 0][:, None], grid)[:, 0]
    truth = sample_points(wanted[0].float()[:, None], grid)[:, 0]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(values, truth, reduction="none").mean(1).sum()
    inside = values.sigmoid()
    dice = (1 - 2 * (inside * truth).sum(1) / (inside + truth).sum(1)).sum()
    assert found.mask.item() == pytest.approx(entropy.item(), rel=0.01)
    assert found.dice.item() == pytest.approx(dice.item(), rel=0.01)


def test_earlier_predictions_count_as_the_last() -> None:
    """Of constant masks, for which it does not matter where points fall."""
    torch.manual_seed(0)
    logits, wanted = torch.randn(1, 3, 2), [torch.zeros(0, 2, 16, 16, dtype=torch.bool)]
    masks = torch.randn(1, 3, 2, 4, 4)
    criterion = SetCriterion(PARAMETERS)
    once = criterion(predictions(logits, masks), wanted)
    thrice = criterion(predictions(logits, masks, (logits, masks), (logits, masks)), wanted)
    assert thrice.total.item() == pytest.approx(3 * once.total.item(), rel=1e-5)
    assert thrice.classification.item() == pytest.approx(once.classification.item(), rel=1e-6)


def test_without_instances_every_prediction_still_has_a_gradient() -> None:
    logits, masks = torch.randn(1, 3, 2, requires_grad=True), torch.randn(1, 3, 2, 4, 4, requires_grad=True)
    found = SetCriterion(PARAMETERS)(predictions(logits, masks), [torch.zeros(0, 2, 16, 16, dtype=torch.bool)])
    found.total.backward()
    assert found.mask.item() == found.dice.item() == 0
    assert logits.grad is not None and logits.grad.abs().sum() > 0
    assert masks.grad is not None and (masks.grad == 0).all()


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    logits, levels = torch.randn(4, 5, 2), torch.randn(4, 5)
    masks = levels[:, :, None, None, None].expand(-1, -1, 2, 6, 8)
    wanted = [torch.ones(count, 2, 12, 16, dtype=torch.bool) for count in (2, 0, 1, 4)]
    criterion = SetCriterion(PARAMETERS)
    pieces = 2
    share = Share(7 / pieces, sum(criterion.class_weight(len(masks), 5) for masks in wanted) / pieces)
    with pytest.MonkeyPatch.context() as patch:
        rand = torch.rand
        patch.setattr(torch, "rand", lambda *size, **options: 0.2 + 0.6 * rand(*size, **options))
        whole = criterion(predictions(logits, masks), wanted)
        parts = [criterion(predictions(logits[i : i + 2], masks[i : i + 2]), wanted[i : i + 2], share) for i in (0, 2)]
    for name in ("total", "classification", "mask", "dice"):
        mean = sum(getattr(part, name).item() for part in parts) / pieces
        assert mean == pytest.approx(getattr(whole, name).item(), rel=1e-5)


def test_most_points_are_where_a_mask_is_unsure() -> None:
    torch.manual_seed(0)
    # Sure everywhere but in the middle column.
    logits = torch.full((1, 1, 8, 9), 8.0)
    logits[..., 4] = 0.0
    points = uncertain_points(logits, 400, 3.0, 0.75)
    assert points.shape == (1, 400, 2)
    sure = sample_points(logits, points)[0, 0].abs()
    assert (sure[:300] < 6).all()
    assert (sure[300:] > 6).float().mean() > 0.6
    assert ((points >= 0) & (points <= 1)).all()


def test_points_are_read_bilinearly_and_the_outside_is_empty() -> None:
    maps = torch.arange(6.0).view(1, 1, 2, 3)
    at = torch.tensor([[[0.5 / 3, 0.25], [0.5, 0.5], [1.0, 0.25]]])
    assert sample_points(maps, at)[0, 0].tolist() == pytest.approx([0.0, 2.5, 1.0], abs=1e-6)
