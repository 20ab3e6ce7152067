"""Grids of images, pixel by pixel."""

import numpy as np
import pytest

from daseCV_c.vis_utils import vis_grid, vis_nn, visualize_grid


def images(n, height=2, width=3, channels=1):
    return np.arange(n * height * width * channels, dtype=float).reshape(n, height, width, channels) ** 1.5


@pytest.mark.parametrize(("n", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3), (10, 4)])
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_visualize_grid(n, side, padding):
    Xs = images(n, channels=3)
    kept = Xs.copy()
    grid = visualize_grid(Xs, ubound=10.0, padding=padding)
    assert grid.shape == (side * 2 + (side - 1) * padding, side * 3 + (side - 1) * padding, 3)
    rest = np.ones(grid.shape, bool)
    for k, image in enumerate(Xs):
        top, left = k // side * (2 + padding), k % side * (3 + padding)
        place = np.s_[top:top + 2, left:left + 3]
        np.testing.assert_allclose(grid[place], 10 * (image - image.min()) / (image.max() - image.min()))
        rest[place] = False
    assert not grid[rest].any()
    np.testing.assert_array_equal(Xs, kept)


def test_visualize_grid_defaults():
    grid = visualize_grid(images(4))
    assert grid.shape == (5, 7, 1)
    assert (grid.min(), grid.max()) == (0, 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_dtypes_do_not_overflow(dtype):
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(np.float16)
    Xs = np.array([info.min, info.max, info.max, info.min]).astype(dtype).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(visualize_grid(Xs)[..., 0], [[0, 255], [255, 0]])
    np.testing.assert_array_equal(vis_grid(Xs)[:2, :2, 0], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(vis_nn([[Xs[0]]])[:2, :2, 0], [[0, 1], [1, 0]])


def test_flat_images_are_dark():
    with np.errstate(all="raise"):
        grid = visualize_grid(np.concatenate([np.full((1, 2, 3, 1), 7.0), images(1)]))
        assert not grid[:2, :3].any() and grid[:2, 4:].max() == 255
        assert not vis_grid(np.full((4, 2, 2, 1), 7.0)).any()
        assert not vis_nn([[np.ones((2, 2, 1))]]).any()


@pytest.mark.parametrize(("n", "side"), [(1, 1), (2, 2), (4, 2), (5, 3), (9, 3)])
def test_vis_grid(n, side):
    Xs = images(n, channels=2) - 20
    grid = vis_grid(Xs)
    low, high = Xs.min(), Xs.max()
    assert grid.shape == (side * 3, side * 4, 2)
    rest = np.ones(grid.shape, bool)
    for k, image in enumerate(Xs):
        top, left = k // side * 3, k % side * 4
        place = np.s_[top:top + 2, left:left + 3]
        np.testing.assert_allclose(grid[place], (image - low) / (high - low))
        rest[place] = False
    assert not grid[rest].any()


@pytest.mark.parametrize(("low", "high", "line"), [
    (0.0, 1.0, 1.0), (0.0, 255.0, 1 / 255), (-3.0, 5.0, 0.5), (3.0, 5.0, 0.0),
])
def test_vis_nn(low, high, line):
    """Lines hold 1 among the images' own values."""
    rng = np.random.default_rng(0)
    rows = low + (high - low) * rng.random((2, 4, 2, 3, 1))
    rows.flat[:2] = low, high
    grid = vis_nn([list(row) for row in rows])
    low = min(low, 1.0)
    assert grid.shape == (2 * 3, 4 * 4, 1)
    for i in range(2):
        for j in range(4):
            place = grid[i * 3:i * 3 + 2, j * 4:j * 4 + 3]
            np.testing.assert_allclose(place, (rows[i, j] - low) / (high - low), atol=1e-15)
    np.testing.assert_allclose(grid[2::3], line)
    np.testing.assert_allclose(grid[:, 3::4], line)


@pytest.mark.parametrize("function", [visualize_grid, vis_grid])
@pytest.mark.parametrize("shape", [
    (2, 3), (2, 3, 3), (0, 2, 2, 1), (2, 0, 2, 1), (2, 2, 2, 0), (1, 2, 2, 2, 1)], ids=str)
def test_no_batch_of_images(function, shape):
    with pytest.raises(ValueError, match=rf"{function.__name__}: Xs has shape"):
        function(np.ones(shape))


def test_the_largest_padding():
    """Of one image there is none, so it costs nothing."""
    assert visualize_grid(images(1), padding=2**20).shape == (2, 3, 1)


@pytest.mark.parametrize("padding", [-1, 2**20 + 1, 1.0, True, None])
def test_padding(padding):
    with pytest.raises(ValueError, match="visualize_grid: padding is"):
        visualize_grid(images(2), padding=padding)


@pytest.mark.parametrize("rows", [
    [], [[]], [[np.ones((2, 2, 1))], []], [[np.ones((2, 2, 1))] * 2, [np.ones((2, 2, 1))]],
    [[np.ones((2, 2, 1)), np.ones((2, 3, 1))]], [[np.ones((2, 2))]],
], ids=["none", "empty", "one empty", "ragged", "two shapes", "no channels"])
def test_no_rows_of_images(rows):
    with pytest.raises(ValueError, match="vis_nn: "):
        vis_nn(rows)
