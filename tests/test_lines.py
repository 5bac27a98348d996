"""Lines and polygons: every pixel against a plain Bresenham loop, a plain point-in-polygon test, and Pillow."""

import os
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image, ImageDraw

from firstlight.formulas import Draw, _lines, _strokes
from firstlight.formulas._lines import polygon, polyline, segment

HEIGHT, WIDTH = 23, 37


def plain_line(x0, y0, x1, y1):
    """The textbook loop, one pixel after another, on a canvas without end."""
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    sx, sy = 1 if x1 >= x0 else -1, 1 if y1 >= y0 else -1
    spots, x, y = [], x0, y0
    if dx > dy:
        error = 2 * dy - dx
        for _ in range(dx + 1):
            spots.append((x, y))
            if error >= 0:
                y, error = y + sy, error - 2 * dx
            x, error = x + sx, error + 2 * dy
    else:
        error = 2 * dx - dy
        for _ in range(dy + 1):
            spots.append((x, y))
            if error >= 0:
                x, error = x + sx, error - 2 * dy
            y, error = y + sy, error + 2 * dx
    return spots


def plain_canvas(spots, light=200):
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y in spots:
        if 0 <= x < WIDTH and 0 <= y < HEIGHT:
            canvas[y, x] = light
    return canvas


def plain_polygon(xs, ys, light=200):
    """Each centre by itself: on an edge, or an odd number of edges to its right."""
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    edges = [(xs[i - 1], ys[i - 1], xs[i], ys[i]) for i in range(len(xs))]
    for y in range(HEIGHT):
        for x in range(WIDTH):
            inside = False
            for ax, ay, bx, by in edges:
                cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
                if cross == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
                    inside = True
                    break
                if (ay > y) != (by > y):
                    inside ^= x < ax + Fraction((y - ay) * (bx - ax), by - ay)
            canvas[y, x] = light if inside else 0
    return canvas


def drawn(function, *arguments):
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    function(canvas, *arguments, 200)
    return canvas


def test_random_lines_equal_the_plain_loop():
    random = np.random.default_rng(0)
    for reach in (4, 40, 400):
        for x0, y0, x1, y1 in random.integers(-reach, reach + 20, (700, 4)).tolist():
            expected = plain_canvas(plain_line(x0, y0, x1, y1))
            assert np.array_equal(drawn(segment, x0, y0, x1, y1), expected), (x0, y0, x1, y1)


def test_lines_in_every_direction_and_single_points():
    for x in range(-3, WIDTH + 3):
        for y in range(-3, HEIGHT + 3):
            for x0, y0 in ((11, 9), (x, y)):
                expected = plain_canvas(plain_line(x0, y0, x, y))
                assert np.array_equal(drawn(segment, x0, y0, x, y), expected), (x0, y0, x, y)
                expected = plain_canvas(plain_line(x, y, x0, y0))
                assert np.array_equal(drawn(segment, x, y, x0, y0), expected), (x, y, x0, y0)


def test_ends_far_outside_change_no_pixel_within():
    random = np.random.default_rng(1)
    for _ in range(120):
        # Aimed through the canvas, from thousands of pixels away on one side to thousands on the other.
        x, y = random.integers(0, [WIDTH, HEIGHT])
        dx, dy = random.integers(-9000, 9000, 2)
        ends = [int(v) for v in (x + dx, y + dy, x - dx * 2, y - dy * 2)]
        expected = plain_canvas(plain_line(*ends))
        assert np.array_equal(drawn(segment, *ends), expected), ends


def test_the_farthest_ends_cost_no_more_than_the_canvas():
    far = _lines.FARTHEST
    start = time.perf_counter()
    for x0, y0, x1, y1 in ((-far, -far, far, far), (far, 3, -far, 4), (-far, far, far, -far + 1), (5, -far, 6, far)):
        canvas = drawn(segment, x0, y0, x1, y1)
        assert 0 < (canvas > 0).sum() <= WIDTH
        for row, column in np.argwhere(canvas):  # within half a pixel of the true line
            if abs(x1 - x0) >= abs(y1 - y0):
                assert abs(Fraction((int(column) - x0) * (y1 - y0), x1 - x0) + y0 - int(row)) <= Fraction(1, 2)
            else:
                assert abs(Fraction((int(row) - y0) * (x1 - x0), y1 - y0) + x0 - int(column)) <= Fraction(1, 2)
    assert time.perf_counter() - start < 5


def test_lines_equal_pillow():
    random = np.random.default_rng(2)
    for reach in (4, 60):
        for x0, y0, x1, y1 in random.integers(-reach, reach, (1000, 4)).tolist():
            image = Image.new("L", (WIDTH, HEIGHT))
            ImageDraw.Draw(image).line((x0, y0, x1, y1), fill=200, width=1)
            assert np.array_equal(drawn(segment, x0, y0, x1, y1), np.asarray(image)), (x0, y0, x1, y1)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_polylines_are_their_segments(closed, count):
    random = np.random.default_rng(count)
    for _ in range(60):
        xs, ys = random.integers(-9, 45, (2, count))
        spots = plain_line(*[int(v) for v in (xs[0], ys[0], xs[0], ys[0])])
        for i in range(count if closed else count - 1):
            k = (i + 1) % count
            spots += plain_line(int(xs[i]), int(ys[i]), int(xs[k]), int(ys[k]))
        assert np.array_equal(drawn(polyline, xs, ys, closed), plain_canvas(spots))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 25])
def test_polygons_equal_the_plain_test_of_every_centre(count):
    random = np.random.default_rng(count)
    for trial in range(40):
        reach = (6, 25, 60, 3000)[trial % 4]
        xs, ys = random.integers(-reach, reach + 10, (2, count)) + (0 if reach > 6 else 8)
        expected = plain_polygon(xs.tolist(), ys.tolist())
        assert np.array_equal(drawn(polygon, xs, ys), expected), (xs, ys)
        turned = random.integers(count)
        backwards = np.roll(xs[::-1], turned).copy(), np.roll(ys[::-1], turned).copy()
        assert np.array_equal(drawn(polygon, *backwards), expected), "the order of the corners makes no difference"


def test_polygons_with_level_edges_and_repeated_corners():
    for xs, ys in (
        ([2, 9, 9, 2], [3, 3, 7, 7]),
        ([2, 2, 9, 9, 9, 2], [3, 3, 3, 7, 7, 7]),
        ([1, 5, 5, 9, 9, 1], [1, 1, 4, 4, 8, 8]),
        ([-5, 50, 50, -5], [-5, -5, 50, 50]),
        ([4, 8, 12], [5, 5, 5]),
        ([4, 4, 4], [2, 9, 5]),
        ([-9, -4, -7], [2, 9, 5]),
        ([0, 10, 0, 10], [0, 10, 10, 0]),
    ):
        corners = np.array(xs), np.array(ys)
        assert np.array_equal(drawn(polygon, *corners), plain_polygon(xs, ys)), (xs, ys)
    assert drawn(polygon, np.array([-5, 50, 50, -5]), np.array([-5, -5, 50, 50])).all()


def test_without_the_compiler_the_pixels_are_the_same():
    code = """
import hashlib, warnings
import numpy as np
warnings.simplefilter("error")
from firstlight.formulas._lines import polygon, polyline
canvas = np.zeros((40, 30), np.uint8)
z, values = 1, []
for _ in range(60):
    z = z * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
    values.append((z >> 40) % 90 - 30)
xs, ys = np.array(values[:30]), np.array(values[30:])
polygon(canvas, xs, ys, 90)
polyline(canvas, xs, ys, True, 200)
polyline(canvas, xs * 100, ys * 100, False, 250)
print(hashlib.sha256(canvas.tobytes()).hexdigest())
"""

    def run(**environment):
        environment = {**os.environ, **environment}
        return subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout

    assert run(NUMBA_DISABLE_JIT="1") == run(NUMBA_DISABLE_JIT="0")


@pytest.mark.parametrize("spread", [2, 5, 40, 300, 5000])
@pytest.mark.parametrize("count", [1, 15, 96, 257, 700])
def test_many_lines_at_once_are_the_same_lines(spread, count):
    draw, size = Draw(spread, count), 64
    numbers, shares = np.empty(max(count, _strokes.NUMBERS), np.int32), np.empty(_strokes.SHARES, np.float32)
    lengths = np.empty(_strokes.LENGTHS, np.int32)
    for figure in range(6):
        walk = np.cumsum(draw.integers(-spread, spread + 1, (2, count)), axis=1)
        xs, ys = (walk - walk[:, figure % count][:, None] + draw.integers(0, size, (2, 1))).astype(np.int32)
        first, drawn = int(draw.integers(0, count)), int(draw.integers(1, count + 1)) if figure % 2 else count
        alone, together = np.zeros((size, size + 3), np.uint8), np.zeros((size, size + 3), np.uint8)
        _lines.path(alone.reshape(-1), size + 3, size, xs, ys, first, drawn, 200, numbers)
        _strokes.path(together.reshape(-1), size + 3, size, xs, ys, first, drawn, 200, numbers, shares, lengths)
        assert np.array_equal(alone, together)
        assert alone.any() or figure  # the first figure begins on the canvas
