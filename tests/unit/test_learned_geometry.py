"""Geometry, calibration and maps against scikit-learn, brute force and published formulas."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from gollum.analysis.learned import maps
from gollum.analysis.learned.calibration import LEVELS, calibration, reliability
from gollum.analysis.learned.geometry import (
    effective_rank,
    from_similarity,
    geometry,
    high_and_low,
    neighbour_correlation,
    unit_length,
)
from gollum.errors import MissingExtraError


@pytest.fixture(scope="module")
def cloud():
    """Forty points whose outcome shifts the first direction."""
    rng = np.random.default_rng(0)
    outcomes = rng.normal(size=40)
    features = rng.normal(size=(40, 6))
    features[:, 0] += 3 * outcomes
    return features, outcomes


def test_distances_are_those_of_all_pairs(cloud):
    features, outcomes = cloud
    found, labels = geometry(features, outcomes, 2.0), high_and_low(outcomes)
    sets = {"high_high": (1, 1), "high_low": (1, -1), "low_low": (-1, -1)}
    every, of = [], {name: [] for name in sets}
    for i, j in itertools.combinations(range(len(outcomes)), 2):
        distance = math.dist(features[i], features[j])
        every.append(distance)
        for name, kinds in sets.items():
            if sorted((labels[i], labels[j])) == sorted(kinds):
                of[name].append(distance)
    assert found.mean_distance == pytest.approx(np.mean(every))
    for name, distances in of.items():
        assert getattr(found, name) == pytest.approx(np.mean(distances))
    within = (np.mean(of["high_high"]) + np.mean(of["low_low"])) / 2
    assert found.contrast == pytest.approx(np.mean(of["high_low"]) / within)
    assert found.contrast > 1.2
    assert found.lengthscale_ratio == pytest.approx(2.0 / np.mean(every))
    assert (labels == 1).sum() == (labels == -1).sum() == 10


def test_clusters_and_neighbours_are_scikit_learns(cloud):
    features, outcomes = cloud
    found, labels = geometry(features, outcomes), high_and_low(outcomes)
    told = labels != 0
    assert found.silhouette == pytest.approx(silhouette_score(features[told], labels[told]))
    near = NearestNeighbors(n_neighbors=6).fit(features).kneighbors(features)[1][:, 1:]
    expected = np.corrcoef(outcomes[near].mean(1), outcomes)[0, 1]
    assert found.neighbour_correlation == pytest.approx(expected)
    assert math.isnan(neighbour_correlation(np.zeros((6, 6)), outcomes[:6]))


def test_alignment_and_uniformity_by_their_definitions(cloud):
    features, outcomes = cloud
    sphere = features / np.linalg.norm(features, axis=1, keepdims=True)
    high = sphere[high_and_low(outcomes) == 1]
    pairs = list(itertools.combinations(range(len(high)), 2))
    alignment = np.mean([np.sum((high[i] - high[j]) ** 2) for i, j in pairs])
    pairs = list(itertools.combinations(range(len(sphere)), 2))
    gauss = np.mean([np.exp(-2 * np.sum((sphere[i] - sphere[j]) ** 2)) for i, j in pairs])
    found = geometry(features, outcomes)
    assert found.alignment == pytest.approx(alignment)
    assert found.uniformity == pytest.approx(np.log(gauss))
    assert np.allclose(unit_length(features), sphere)


def test_effective_rank_counts_directions():
    corners = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1.0], [0, 0, -1]])
    assert effective_rank(corners) == pytest.approx(3.0)
    assert effective_rank(corners * [1, 0, 0]) == pytest.approx(1.0)
    assert effective_rank(corners * [1, 1, 1e-6]) == pytest.approx(2.0, abs=1e-3)
    assert math.isnan(effective_rank(np.ones((4, 3))))


def test_points_of_a_kernel_have_its_inner_products():
    x = np.random.default_rng(1).normal(size=(12, 3))
    similarity = np.exp(-0.5 * ((x[:, None] - x) ** 2).sum(-1))
    points = from_similarity(similarity)
    assert np.allclose(points @ points.T, similarity, atol=1e-8)


def test_nothing_can_be_said_of_ties_or_too_few():
    constant = geometry(np.random.default_rng(0).normal(size=(9, 2)), np.ones(9))
    assert math.isnan(constant.contrast)
    assert math.isnan(constant.silhouette)
    assert math.isnan(constant.neighbour_correlation)
    same = geometry(np.zeros((9, 2)), np.arange(9.0))
    assert math.isnan(same.lengthscale_ratio)


def test_honest_predictions_are_calibrated():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=20_000)
    y = mean + 0.5 * rng.normal(size=20_000)
    honest, sure = (
        calibration(y, mean, np.full(20_000, 0.25)),
        calibration(y, mean, mean * 0 + 0.01),
    )
    assert honest.quantile_error < 0.01
    assert honest.inside_95 == pytest.approx(0.95, abs=0.01)
    assert honest.nlpd == pytest.approx(-norm.logpdf(y, mean, 0.5).mean())
    assert honest.msll == pytest.approx(honest.nlpd + norm.logpdf(y, 0, 1).mean())
    assert honest.sharpness == pytest.approx(0.5 / y.std())
    assert sure.nlpd > honest.nlpd
    curve = reliability(y, mean, mean * 0 + 0.01)
    assert curve["level"].tolist() == list(LEVELS)
    assert (curve["inside"] < curve["level"]).all()
    assert sure.quantile_error == pytest.approx((curve["level"] - curve["inside"]).mean())


def test_principal_components_are_scikit_learns_scores():
    features = np.random.default_rng(0).normal(size=(30, 5)) * [5, 3, 1, 1, 1]
    points, share = maps.principal(features)
    centred = features - features.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    assert np.allclose((points**2).sum(0), values[:2] ** 2)
    assert share == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    assert maps.principal(np.ones((5, 3)))[1] == 0.0
    assert maps.principal(np.arange(5.0)[:, None])[0].shape == (5, 2)


def test_a_map_is_turned_to_the_one_before():
    before = np.random.default_rng(0).normal(size=(20, 2))
    turned = before @ np.array([[0.0, 1.0], [1.0, 0.0]]) + 7  # mirrored and moved
    assert np.allclose(maps.turned_to(before, turned), before)


def test_umap_without_the_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="'analyze' extra"):
        maps.umap(np.zeros((5, 2)))


@pytest.mark.slow
def test_umap_keeps_clusters_apart_and_repeats_itself():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    features = np.vstack([rng.normal(size=(20, 4)), 20 + rng.normal(size=(20, 4))])
    found = maps.umap(features)
    assert silhouette_score(found, np.repeat([0, 1], 20)) > 0.5
    assert np.array_equal(found, maps.umap(features))
