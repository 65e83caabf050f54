"""The images of letters: what is drawn, and that it is drawn from the generator alone."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib import get_data_path
from support.draws import assert_normal, assert_uniform

from minilora.data.glyphs import (
    ALPHABET,
    FRAKTUR,
    INVERTED,
    LIGHTING,
    ROTATED,
    SCRIPT,
    SERIF,
    SOURCE,
    Domain,
    _random_placements,
    draw_letters,
)

DOMAINS = (SOURCE, LIGHTING, FRAKTUR, SCRIPT, ROTATED, INVERTED, SERIF)
every_domain = pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: domain.name)


def means(domain, seed=1):
    """The mean image of each letter (26, 12, 12): noise and jitter average out."""
    images, labels = draw_letters(np.random.default_rng(seed), domain, 40)
    return np.stack([images[labels == letter].mean(axis=0).reshape(12, 12) for letter in range(26)])


def of(character):
    """The label of a letter."""
    return ALPHABET.index(character)


@every_domain
def test_every_letter_is_drawn_as_often_as_asked(domain, rng):
    images, labels = draw_letters(rng, domain, 3, size=16)
    assert images.shape == (78, 256)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(np.bincount(labels), np.full(26, 3))
    assert np.all(np.isfinite(images))


@every_domain
def test_images_depend_on_the_generator_alone(domain):
    one, two, other = (
        draw_letters(np.random.default_rng(seed), domain, 2)[0] for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(one, two)
    assert np.mean(np.abs(one - other)) > 0.05


@every_domain
def test_the_letters_of_a_domain_can_be_told_apart(domain):
    """Each letter's mean image is nearest to its mean in an independent draw, light taken out."""
    ramp = np.linspace(-1, 1, 12)
    across, down = np.meshgrid(ramp, ramp)
    light = np.stack([np.ones((12, 12)), across, down]).reshape(3, -1)
    without_light = np.eye(144) - light.T @ np.linalg.inv(light @ light.T) @ light
    one, two = (means(domain, seed).reshape(26, -1) @ without_light for seed in (1, 2))
    distances = np.linalg.norm(one[:, None] - two[None], axis=2)
    np.testing.assert_array_equal(np.argmin(distances, axis=1), np.arange(26))


def test_ink_is_one_on_paper_zero_and_lies_in_the_middle():
    images = means(SOURCE)
    assert np.max(np.abs(images[:, [0, 0, -1, -1], [0, -1, 0, -1]])) < 0.15
    pixel = np.arange(12) - 5.5
    for axis in (1, 2):
        centre = np.sum(images.sum(axis=axis) * pixel, axis=1) / images.sum(axis=(1, 2))
        assert np.max(np.abs(centre)) < 1.6
    stroke = images[of("l")]
    assert stroke[4:8, 5:7].max() > 0.5
    assert np.abs(stroke[:, :3]).max() < 0.2


def test_letters_stand_upright():
    """b and d have their bowl below, p and q above: rows from the top, columns from the left."""
    letters = means(SOURCE)
    for character, columns, bowl_below in (("b", 1, 1), ("d", 0, 1), ("p", 1, 0), ("q", 0, 0)):
        side = letters[of(character)].reshape(2, 6, 2, 6)[:, :, columns].sum(axis=(1, 2))
        assert np.argmax(side) == bowl_below, character


def test_rotated_letters_are_the_source_letters_rotated_by_90_degrees():
    rotated = means(ROTATED)
    source = means(SOURCE)
    straight = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(rotated, source)])
    back = np.mean(
        [np.corrcoef(np.rot90(a, -1).ravel(), b.ravel())[0, 1] for a, b in zip(rotated, source)]
    )
    assert back > 0.97
    assert straight < 0.6


def test_inverted_letters_are_one_minus_the_source_letters():
    np.testing.assert_allclose(means(INVERTED), 1 - means(SOURCE), atol=0.15)


def test_uneven_light_is_an_offset_and_two_gradients_of_size_one_half():
    """Least squares on each image's border, which has no ink, finds the three amplitudes."""
    images, _ = draw_letters(np.random.default_rng(0), LIGHTING, 40)
    images = images.reshape(-1, 12, 12)
    ramp = np.linspace(-1, 1, 12)
    across, down = np.meshgrid(ramp, ramp)
    edge = (np.abs(across) == 1) | (np.abs(down) == 1)
    design = np.stack([np.ones(edge.sum()), across[edge], down[edge]], axis=1)
    found = np.linalg.lstsq(design, images[:, edge].T, rcond=None)[0]
    np.testing.assert_allclose(found.std(axis=1), 0.5, rtol=0.1)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=0.06)
    assert np.max(np.abs(np.corrcoef(found) - np.eye(3))) < 0.1


def test_the_light_and_the_noise_are_normally_distributed(rng):
    """Noise where a filter leaves nothing else; light on white paper of 3 × 3 pixels."""
    images, _ = draw_letters(rng, SOURCE._replace(filter=lambda rng, images: 0 * images), 4)
    assert_normal(images, 0.1)
    light = LIGHTING.filter(rng, np.zeros((64 * 64, 3, 3)))
    for values in (
        light[:, 1, 1],
        light[:, 1, 2] - light[:, 1, 1],
        light[:, 2, 1] - light[:, 1, 1],
    ):
        assert_normal(values.reshape(64, 64), 0.5)


def test_letters_are_placed_as_is_promised(rng):
    """The five numbers in each affine map: shear, then scale, then rotate by 90° ± 10°, shift."""
    size = 20
    maps = np.array([each.get_matrix() for each in _random_placements(rng, 90.0, 2000, size)])
    down, across = maps[:, 1, 0], maps[:, 0, 0]  # where (1, 0) goes: it is scaled and rotated
    angles = np.arctan2(down, across)
    scale_x = np.hypot(across, down)
    scale_y = np.linalg.det(maps[:, :2, :2]) / scale_x
    shears = (maps[:, 0, 1] * across + maps[:, 1, 1] * down) / scale_x**2
    assert_uniform(np.degrees(angles), 80 - 1e-9, 100 + 1e-9)
    assert_uniform(np.arctan(shears), -0.1, 0.1)
    for values, middle, most in (
        (scale_x / size, 1, 0.12),
        (scale_y / size, 1, 0.12),
        (maps[:, 0, 2] / size, 0.5, 0.06),
        (maps[:, 1, 2] / size, 0.5, 0.06),
    ):
        assert_uniform(values, middle - most, middle + most)
    numbers = np.stack([angles, scale_x, scale_y, shears, maps[:, 0, 2], maps[:, 1, 2]])
    assert np.max(np.abs(np.corrcoef(numbers) - np.eye(6))) < 0.1


def test_a_font_may_be_given_by_its_path(rng):
    """The same file by its path draws the same images."""
    font = Path(get_data_path(), "fonts", "ttf", SOURCE.font)
    by_path, _ = draw_letters(np.random.default_rng(0), SOURCE._replace(font=str(font)), 1)
    by_name, _ = draw_letters(np.random.default_rng(0), SOURCE, 1)
    np.testing.assert_array_equal(by_path, by_name)


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "2", None, math.nan], ids=repr)
def test_a_count_that_is_no_count_is_a_value_error(count, rng):
    with pytest.raises(ValueError, match=r"^per_letter must be an integer from 1 up, got "):
        draw_letters(rng, SOURCE, count)
    with pytest.raises(ValueError, match=r"^size must be an integer from 1 to 65535, got "):
        draw_letters(rng, SOURCE, 1, size=count)


def test_the_smallest_canvas_is_one_pixel(rng):
    images, _ = draw_letters(rng, SOURCE, 1, size=1)
    assert images.shape == (26, 1)


@pytest.mark.parametrize("generator", [0, None, np.random, np.random.RandomState(0)], ids=str)
def test_drawing_without_a_generator_is_a_value_error(generator):
    with pytest.raises(ValueError, match=r"^rng must be a np.random.Generator, got "):
        draw_letters(generator, SOURCE, 1)


@pytest.mark.parametrize(
    "domain", ["sans", None, tuple(SOURCE), Domain], ids=["text", "None", "a tuple", "the class"]
)
def test_what_is_no_domain_is_a_value_error(domain, rng):
    with pytest.raises(ValueError, match=r"^domain must be a Domain, such as SOURCE"):
        draw_letters(rng, domain, 1)


def test_a_font_that_is_not_there_is_a_value_error(rng):
    with pytest.raises(ValueError, match=r"^domain.font must be .*, got 'Nowhere.ttf'"):
        draw_letters(rng, Domain("mine", "Nowhere.ttf"), 1)
