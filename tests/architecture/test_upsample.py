"""Upsampling: copies of locations, the C map of what they meet, and its bounds (docs/graph.md)."""

import numpy as np
import pytest
import torch

from qcmap.architecture import Builder, Units, check
from qcmap.errors import ArchitectureError
from qcmap.nn.measuring._places import Places
from qcmap.numeric import PairValues, dks, network_maps
from tests.wide import measured, predicted

PLACES = np.array([0.9, -0.4, 0.3, 0.6, -0.8, 0.1, 0.5, 0.0])


def unet(activation="relu", extent=8):
    """Down twice and up twice in one dimension; a concatenation and a sum join copies and originals."""
    b = Builder("unet")
    x = b.affine(b.input("x", 1, locations=(extent,)), 1, kernel=(3,))
    first = b.activation(x, activation)
    down = b.affine(first, 1, kernel=(3,), stride=2)
    second = b.activation(down, activation)
    low = b.activation(b.affine(second, 1, kernel=(3,), stride=2), activation)
    up = b.upsample(b.affine(low, 1), (2,), name="up2")
    h = b.activation(b.affine(b.concat([up, second], name="join2"), 1, kernel=(3,)), activation)
    up = b.upsample(b.affine(h, 1), (2,), name="up1")
    h = b.sum([up, b.affine(first, 1)], [0.6, 0.8], name="join1")
    return b.build([b.affine(b.activation(h, activation), 1, name="y")])


def by_location(arch, c):
    """c values at the output, each location followed by itself; ``c`` is [..., locations of the input]."""
    places = Places(arch, {"x": arch["x"].op.locations})
    chosen = {name: np.arange(max(int(np.prod(extent)), 1)) for name, extent in places.extent.items()}
    values = {"x": PairValues(np.asarray(c), np.ones(()), np.ones(()))}
    return network_maps(arch).propagate_from(values, places.kept(chosen))


def test_locations_are_those_of_torch():
    b = Builder()
    h = b.affine(b.input("x", 1, locations=(6, 9)), 1, kernel=(3, 3), stride=3, padding=1)
    arch = b.build([b.affine(b.upsample(h, (2, 3), name="up"), 1, stride=2, name="y")])
    assert arch.locations["up"] == ((0, 0, 3, 3), (0, 0, 0, 3, 3, 3, 6, 6, 6))
    image = torch.arange(54.0).reshape(1, 1, 6, 9)[..., ::3, ::3]
    copies = torch.nn.functional.interpolate(image, scale_factor=(2.0, 3.0))[0, 0]
    for name, expected in (("up", copies), ("y", copies[::2, ::2])):
        rows, columns = arch.locations[name]
        assert torch.equal(torch.tensor([[9.0 * i + j for j in columns] for i in rows]), expected)
    # Copies that are dropped again leave the locations of the map before.
    dropped = Builder()
    h = dropped.upsample(dropped.input("x", 1, locations=(4,)), (2,))
    arch = dropped.build([dropped.sum([dropped.affine(h, 1, stride=2, name="y"), dropped.affine("x", 1)])])
    assert arch.locations["y"] == (range(4),)
    assert check(arch) == []


def test_wide_random_networks_have_its_values_at_every_location():
    arch, inputs = unet("erf"), {"x": {"c": PLACES, "q1": 1.0, "q2": 1.0}}
    formula = predicted(arch, inputs)
    found = by_location(arch, PLACES)
    statistics = measured(arch, inputs, 96, 40, seed=3)
    for node, own in statistics.items():
        np.testing.assert_allclose(np.broadcast_to(found[node].c, formula[node][3].shape), formula[node][3], atol=1e-10)
        assert np.abs(own.score(formula[node])).max() < 4.8, node
    assert np.ptp(formula["up1"][3].reshape(-1, 2), axis=1).max() < 1e-15
    # It can fail: the C map of one location, as if nothing were copied, is far off where c values differ.
    single = formula["y"].copy()
    single[3] = network_maps(arch).c(PLACES)
    assert np.abs(statistics["y"].score(single)[3]).max() > 8


def test_equal_c_values_give_the_c_map():
    arch = unet("softplus")
    for c in (-0.7, 0.2, 0.95):
        np.testing.assert_allclose(by_location(arch, np.full(8, c))["y"].c, network_maps(arch).c(c), atol=1e-12)


@pytest.mark.parametrize("zeta", [1.1, 1.5])
def test_shaped_networks_stay_near_a_mean_of_their_locations(zeta):
    """The three statements of docs/graph.md, at random c values of the 8 locations."""
    arch = unet("softplus")
    shaping = dks(arch, zeta)
    maps = network_maps(arch, shaping)
    places = Places(arch, {"x": (8,)})
    kept = places.kept({name: np.arange(*extent) for name, extent in places.extent.items()})

    def values(c):
        return maps.propagate_from({"x": PairValues(c, np.ones(()), np.ones(()))}, kept)["y"].c

    step = 1e-3
    shares = (values(step * np.eye(8)) - values(-step * np.eye(8))) / (2 * step)
    slope = float(maps.dc(0.0))
    np.testing.assert_allclose(shares.sum(axis=0), slope, atol=1e-6)
    read = {(at, p) for p in range(8) for at in (p, p // 2 * 2, p // 4 * 4)}
    assert {(int(at), int(p)) for at, p in zip(*np.nonzero(shares > 1e-6), strict=True)} == read
    c = np.random.default_rng(0).uniform(-1, 1, (200, 8))
    gap = np.abs(values(c) - c @ shares).max()
    assert gap <= 1 - slope + 1e-6
    assert 1 - slope <= float(maps.dc(1.0)) - 1 <= zeta - 1 + 1e-9
    assert gap > (1 - slope) / 10  # the bound is of the right size
    nearby = np.abs(c)
    reads = shares > 1e-9
    least, most = (np.array([edge(nearby[:, r], axis=1) for r in reads.T]).T for edge in (np.min, np.max))
    assert (maps.c(least) <= values(nearby) + 1e-9).all()
    assert (values(nearby) <= maps.c(most) + 1e-9).all()


def test_only_copies_that_meet_other_locations_are_a_heuristic():
    assert [(v.node, v.rule, v.severity) for v in check(unet())] == [
        ("join1", "upsampling-heuristic", "warning"), ("join2", "upsampling-heuristic", "warning"),
    ]  # fmt: skip
    b = Builder("decoder")
    h = b.affine(b.input("x", 4, locations=(4,)), 8)
    for _ in range(2):
        h = b.upsample(h, (2,))
        h = b.sum([b.affine(b.activation(b.affine(h, 8, kernel=(3,)), "tanh"), 8), h])
    assert check(b.build([h])) == []


@pytest.mark.parametrize("upsampled", [True, False])
def test_without_known_locations_an_upsampled_branch_beside_another_is_one(upsampled):
    b = Builder()
    x = b.input("x", 4)
    h = b.affine(x, 8)
    arch = b.build([b.concat([b.upsample(h, (2,)) if upsampled else h, b.affine(x, 8)], name="y")])
    assert [v.rule for v in check(arch)] == ["upsampling-heuristic"] * upsampled


def test_copies_of_a_map_are_no_independent_branch():
    """h + up(down(h)) has the cross term of h at two places, also where these differ."""
    b = Builder()
    h = b.affine(b.input("x", 4, locations=(4,)), 8, name="h")
    again = b.upsample(b.max_pool(h, (2,)), (2,))
    assert "independent-branches" in {v.rule for v in check(b.build([b.sum([again, h])]))}


@pytest.mark.parametrize("factors", [(), (0,), (1.5,), (True,), 2])
def test_factors_are_positive_integers(factors):
    b = Builder()
    with pytest.raises(ArchitectureError, match="factor"):
        b.upsample(b.input("x"), factors, name="up")


def test_factors_are_one_an_axis():
    b = Builder()
    arch = b.build([b.upsample(b.input("x", 1, locations=(4, 4)), (2,), name="up")])
    with pytest.raises(ArchitectureError, match="up: the factors"):
        _ = arch.locations


def test_paths_refuse_it_by_name():
    b = Builder()
    arch = b.build([b.upsample(b.input("x", 1, locations=(4,)), (2,), name="up")])
    with pytest.raises(ArchitectureError, match="up: neural paths have no rule for the op 'upsample'"):
        Units.of(arch)
