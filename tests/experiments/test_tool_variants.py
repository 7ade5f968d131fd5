"""Variants of the hourglass: they cost what it costs, begin as it does, and do what their papers say."""

import pytest
import torch
from torch import Tensor, nn

from experiments.tool_variants import (
    AttentionInAttention,
    ConditionedHourglass,
    FeatureTransform,
    SpatialAttention,
    per_pixel,
    plain,
    with_attention_in_attention,
    with_dropout,
    with_spatial_attention,
)
from experiments.variant_report import network_cost
from experiments.variant_training import BLIND, CONDITIONED, NETWORKS, restore
from rlrestore.evaluation.costs import multiply_adds_per_px, parameter_count


def randoms(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def shaken(network: nn.Module) -> nn.Module:
    """Return a network with random weights everywhere, its last layer among them."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.mark.parametrize("variant", [CONDITIONED, *NETWORKS], ids=lambda variant: variant.name)
def test_every_variant_costs_a_pixel_as_much_as_the_tool(variant: object) -> None:
    usual = multiply_adds_per_px(plain())
    assert usual == 35424
    assert network_cost(BLIND) == pytest.approx((usual, parameter_count(plain())), rel=1e-6)
    multiply_adds, _ = network_cost(variant)  # type: ignore[arg-type]  # of a list of two kinds
    assert multiply_adds == pytest.approx(usual, rel=0.03)


@pytest.mark.parametrize("variant", [CONDITIONED, *NETWORKS], ids=lambda variant: variant.name)
def test_untrained_it_leaves_images_of_any_size_as_they_are(variant: object) -> None:
    images = randoms(2, 3, 17, 30)
    network = variant.build()  # type: ignore[attr-defined]  # of a list of two kinds
    torch.testing.assert_close(restore(network, images, randoms(2, 1, 17, 30)), images)
    assert restore(shaken(network), images, randoms(2, 1, 17, 30)).shape == images.shape


def test_a_feature_transform_begins_with_nothing_and_then_scales_and_shifts_pixel_by_pixel() -> None:
    transform, features, condition = FeatureTransform(2, 3), randoms(1, 3, 4, 5), randoms(1, 2, 4, 5, seed=1)
    torch.testing.assert_close(transform(features, condition), features)
    weight, bias = (randoms(*parameter.shape, seed=2) for parameter in transform.amounts.parameters())
    transform.amounts.weight.data, transform.amounts.bias.data = weight, bias  # type: ignore[union-attr]  # it has one
    amounts = torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], condition) + bias[:, None, None]
    expected = features * (1 + amounts[:, :3]) + amounts[:, 3:]
    torch.testing.assert_close(transform(features, condition), expected)


def test_before_the_transforms_have_learned_a_map_changes_nothing() -> None:
    network, images = ConditionedHourglass(), randoms(1, 3, 32, 32)
    shaken(network.body)
    expected = network.body(images)
    for strength_255 in (0.0, 20.0):
        torch.testing.assert_close(network(images, torch.full((1, 1, 32, 32), strength_255)), expected)


def test_a_map_counts_where_it_is() -> None:
    network, images, strength_255 = ConditionedHourglass(), randoms(1, 3, 64, 96), torch.zeros(1, 1, 64, 96)
    shaken(network)
    before = network(images, strength_255)
    strength_255[..., 80:] = 40.0
    changed = (network(images, strength_255) - before).abs().amax(dim=(0, 1, 2)) > 1e-7
    assert changed[80:].all()
    assert not changed[:32].any()  # beyond the reach of all layers after the first transform


@pytest.mark.parametrize("kind", ["pixel", "channel"])
def test_attention_in_attention_weighs_a_branch_with_attention_and_one_without(kind: str) -> None:
    block = AttentionInAttention(8, kind)  # type: ignore[arg-type]  # parametrized
    features = randoms(2, 8, 6, 6) - 0.5
    for parameter in block.attention.parameters():
        parameter.data.zero_()  # an attention of one half everywhere
    for parameter in block.weigh.parameters():
        parameter.data.zero_()  # and both branches alike
    inner = torch.nn.functional.leaky_relu(block.first(torch.nn.functional.leaky_relu(features, 0.1)), 0.1)
    expected = features + 0.5 * block.plain(inner) + 0.25 * block.attended(inner)
    torch.testing.assert_close(block(features), expected)

    list(block.weigh.parameters())[-1].data[1] = 3000.0  # the last bias
    torch.testing.assert_close(block(features), features + block.plain(inner))


def test_spatial_attention_lets_the_correction_count_in_places() -> None:
    block, features = SpatialAttention(8), randoms(1, 8, 9, 9) - 0.5
    block.out.weight.data.zero_()
    block.out.bias.data.fill_(100.0)  # type: ignore[union-attr]  # it has one
    everywhere = block(features) - features
    assert everywhere.abs().amax() > 0.01
    block.out.bias.data.fill_(0.0)  # type: ignore[union-attr]  # it has one
    torch.testing.assert_close(block(features) - features, everywhere / 2)
    block.out.bias.data.fill_(-100.0)  # type: ignore[union-attr]  # it has one
    torch.testing.assert_close(block(features), features)


def test_dropout_loses_whole_channels_in_training_only() -> None:
    network, images = with_dropout(0.5), randoms(1, 3, 32, 32)
    reference = plain()
    shaken(network)
    reference.load_state_dict(
        {name.replace("tail.1", "tail"): weight for name, weight in network.state_dict().items()}
    )
    torch.testing.assert_close(network(images), reference(images))

    heard: list[Tensor] = []
    network.tail[-1].register_forward_pre_hook(  # type: ignore[index]  # a dropout, then the layer
        lambda _, given: heard.append(given[0])
    )
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(20):
            network(images)
    lost = (torch.stack(heard) == 0).all(dim=(3, 4))
    assert lost.double().mean() == pytest.approx(0.5, abs=0.06)
    assert not (torch.stack(heard)[~lost] == 0).all(dim=(1, 2)).any()


def test_attentions_stand_in_the_place_of_the_residual_pairs() -> None:
    for network, kind in (
        (with_attention_in_attention("channel"), AttentionInAttention),
        (with_spatial_attention(), SpatialAttention),
    ):
        assert [type(block) for block in network.middle] == [kind, kind]


def test_a_pixel_is_taken_from_its_own_tool() -> None:
    first, second = randoms(1, 3, 2, 2), randoms(1, 3, 2, 2, seed=1)
    choice = torch.tensor([[[[0, 1], [1, 0]]]])
    taken = per_pixel([first, second], choice)
    torch.testing.assert_close(taken[..., 0, 0], first[..., 0, 0])
    torch.testing.assert_close(taken[..., 0, 1], second[..., 0, 1])
    torch.testing.assert_close(taken[..., 1, 0], second[..., 1, 0])
    torch.testing.assert_close(taken[..., 1, 1], first[..., 1, 1])
