"""Gradient noise on a lattice, in the plane and in the plane through time, as grey pixels.

Perlin, "Improving noise", SIGGRAPH 2002 (the quintic fade). https://doi.org/10.1145/566570.566636

The definition. Along an axis of ``n`` pixels that holds ``f`` cells, pixel ``i`` lies at ``u = (i + 1/2) f / n``, in
cell ``c = floor(u)`` at ``t = u - c``; with ``w = ((6 t - 15) t + 10) t**3`` it has the four weights

    near = 1 - w,    near_slope = (1 - w) t,    far = w,    far_slope = w (t - 1)

of the lattice points ``c`` and ``c + 1``: the first of each pair for what a gradient says along the other axes, the
second for what it says along this one. They are computed in double precision and rounded to single. The weights of the
last axis (rows of a picture, frames of a clip) are multiplied by the octave's amplitude before they are rounded.
Each lattice point has a gradient, one of the 256 unit vectors of a table: the top 8 bits of value ``k`` of the stream
``key``, as ``Draw.bits`` counts it from 0, where ``k`` counts the lattice points: columns fastest, then rows, then
planes in time, then octaves. Octave ``o`` has the frequencies times ``2**o``.

A noise value is a sum over the corners of the cell. It is separable, and that is what makes it fast: the columns'
weights are summed once for each line of the lattice, and a pixel is left with four products. In single precision, each
bracket rounded:

    X = near_slope g.x + far_slope g'.x,    Y = near g.y + far g'.y       (along a lattice line; Z as Y, of g.z)
    picture: (near X + near_slope Y) + (far X' + far_slope Y')            (rows; ' is the next line)
    clip:    N = (near X + near_slope Y) + (far X' + far_slope Y'),  Z = near Z + far Z'           (rows)
             (near N + near_slope Z) + (far N' + far_slope Z')            (frames; ' is the next plane)

The grey value is 128 plus the octaves in turn, cut to 0 .. 255, the fraction dropped.
"""

from functools import lru_cache

import numpy as np

from ._compile import kernel
from ._math import cos_sin

DIRECTIONS = 256


@lru_cache
def plane_directions() -> np.ndarray:
    """Unit vectors, evenly round the circle from (1, 0) on, float32 ``[256 * 2]``: x, y, x, y, ..."""
    return np.stack(cos_sin(np.arange(DIRECTIONS) / DIRECTIONS), 1).astype(np.float32).reshape(-1)


@lru_cache
def space_directions() -> np.ndarray:
    """Unit vectors evenly over the sphere (a Fibonacci spiral), float32 ``[256 * 3]``: x, y, time, x, y, time, ..."""
    number = np.arange(DIRECTIONS)
    height = (2 * number + 1) / DIRECTIONS - 1
    ring = np.sqrt(1 - height * height)
    cosine, sine = cos_sin(number * 0.6180339887498949)  # the golden section of a turn
    return np.stack([ring * cosine, ring * sine, height], 1).astype(np.float32).reshape(-1)


@kernel
def plane_noise(key, across, down, amplitudes, table, pixels):
    """Fills a picture.

    Args:
        key: uint64, the stream of the gradients.
        across: cells of the first octave along the columns.
        down: cells of the first octave along the rows.
        amplitudes: float64 ``[octaves]``, grey values that a noise of 1 stands for.
        table: float32 ``[256 * 2]``, the unit vectors.
        pixels: uint8 ``[S, S]``, written.
    """
    size, octaves = len(pixels), len(amplitudes)
    flat, total = pixels.reshape(-1), np.full(size, 128, np.float32)
    columns, column_cells = _axes(across, np.ones(octaves), size)
    rows, row_cells = _axes(down, amplitudes, size)
    lines = np.empty(octaves * 4 * size, np.float32)  # of each octave: X and Y of the even lines, X and Y of the odd
    gradients = np.empty(2 * ((across << (octaves - 1)) + 1), np.float32)
    for row in range(size):
        first = 0
        for octave in range(octaves):
            wide, at = (across << octave) + 1, octave * 4 * size
            cell = row_cells[octave * size + row]
            held = row_cells[octave * size + row - 1] + 1 if row else -1  # the last line that is there already
            for line in range(max(cell, held + 1), cell + 2):
                _gradients(key, first + line * wide, wide, 2, table, gradients)
                _line(gradients, 2, columns, column_cells, octave, size, lines, at + (line & 1) * 2 * size)
            near, far = at + (cell & 1) * 2 * size, at + (1 - (cell & 1)) * 2 * size
            if octave < octaves - 1:
                _add(rows, at + row, size, lines, near, far, total, 0, size)
            else:
                _finish(rows, at + row, size, lines, near, far, total, 0, flat, row * size, size)
            first += wide * ((down << octave) + 1)
        if octaves > 1:
            total[:] = np.float32(128)


@kernel
def space_noise(key, across, down, along, amplitudes, table, pixels):
    """Fills a clip; arguments as for ``plane_noise``.

    Row by row, so that what a row of all lattice planes holds stays in the cache while all frames take it from there.

    Args:
        key: uint64.
        across: cells of the first octave along the columns.
        down: cells along the rows.
        along: cells along the frames.
        amplitudes: float64 ``[octaves]``.
        table: float32 ``[256 * 3]``.
        pixels: uint8 ``[T, S, S]``, written.
    """
    length, size, octaves = len(pixels), pixels.shape[1], len(amplitudes)
    flat, total = pixels.reshape(-1), np.full(length * size, 128, np.float32)
    columns, column_cells = _axes(across, np.ones(octaves), size)
    rows, row_cells = _axes(down, np.ones(octaves), size)
    frames, frame_cells = _axes(along, amplitudes, length)
    planes = 0
    for octave in range(octaves):
        planes += (along << octave) + 1
    lines = np.empty(planes * 6 * size, np.float32)  # of each plane: X, Y, Z of the even lines and of the odd
    fields = np.empty(((along << (octaves - 1)) + 1) * 2 * size, np.float32)  # of each plane: N and Z of this row
    gradients = np.empty(3 * ((across << (octaves - 1)) + 1), np.float32)
    for row in range(size):
        first, slot = 0, 0
        for octave in range(octaves):
            wide, at = (across << octave) + 1, octave * 4 * size
            cell = row_cells[octave * size + row]
            held = row_cells[octave * size + row - 1] + 1 if row else -1
            for plane in range((along << octave) + 1):
                for line in range(max(cell, held + 1), cell + 2):
                    _gradients(key, first + line * wide, wide, 3, table, gradients)
                    _line(gradients, 3, columns, column_cells, octave, size, lines, slot + (line & 1) * 3 * size)
                near, far = slot + (cell & 1) * 3 * size, slot + (1 - (cell & 1)) * 3 * size
                _fields(rows, at + row, size, lines, near, far, fields, plane * 2 * size)
                first += wide * ((down << octave) + 1)
                slot += 6 * size
            _all_frames(frames, frame_cells, octave, octave == octaves - 1, fields, total, flat, row, size)
        if octaves > 1:
            total[:] = np.float32(128)


@kernel
def _all_frames(weights, places, octave, last, fields, total, flat, row, size):
    """Takes an octave of a row of every frame from the lattice planes before and after it."""
    length = len(total) // size
    for frame in range(length):
        at, start = octave * 4 * length + frame, frame * size
        near = places[octave * length + frame] * 2 * size
        if last:
            _finish(weights, at, length, fields, near, near + 2 * size, total, start, flat, (start + row) * size, size)
        else:
            _add(weights, at, length, fields, near, near + 2 * size, total, start, size)


@kernel
def _axes(cells, scales, size):
    """The weights and the cells of the pixels along an axis, one octave after another.

    Returns:
        float32 ``[octaves * 4 * S]``, near, near_slope, far and far_slope of each octave times its scale, and int64
        ``[octaves * S]``.
    """
    weights, places = np.empty(len(scales) * 4 * size, np.float32), np.empty(len(scales) * size, np.int64)
    for octave in range(len(scales)):
        scale, at = scales[octave], octave * 4 * size
        for i in range(size):
            u = (i + 0.5) * (cells << octave) / size
            c = np.floor(u)
            t = u - c
            w = ((6.0 * t - 15.0) * t + 10.0) * (t * t * t)
            places[octave * size + i] = np.int64(c)
            weights[at + i] = np.float32(scale * (1.0 - w))
            weights[at + size + i] = np.float32(scale * ((1.0 - w) * t))
            weights[at + 2 * size + i] = np.float32(scale * w)
            weights[at + 3 * size + i] = np.float32(scale * (w * (t - 1.0)))
    return weights, places


@kernel
def _gradients(key, first, number, width, table, gradients):
    """Looks up the gradients of ``number`` lattice points from the one counted ``first``."""
    for i in range(number):
        z = np.uint64(key) + np.uint64(first + i + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        place = np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(56)) * width
        for k in range(width):
            gradients[i * width + k] = table[place + k]


@kernel
def _line(gradients, width, weights, places, octave, size, lines, slot):
    """A lattice line: X, what the gradients say along the columns, and Y, Z, what they say along the other axes."""
    at = octave * 4 * size
    for i in range(size):
        g = places[octave * size + i] * width
        near, near_slope = weights[at + i], weights[at + size + i]
        far, far_slope = weights[at + 2 * size + i], weights[at + 3 * size + i]
        lines[slot + i] = near_slope * gradients[g] + far_slope * gradients[g + width]
        for k in range(1, width):
            lines[slot + k * size + i] = near * gradients[g + k] + far * gradients[g + width + k]


@kernel
def _fields(weights, at, step, lines, near, far, fields, slot):
    """N and Z of a row of a lattice plane, from X, Y and Z of the lines above and below it."""
    a, b, c, d = weights[at], weights[at + step], weights[at + 2 * step], weights[at + 3 * step]
    x, y, z = np.uint64(near), np.uint64(near + step), np.uint64(near + 2 * step)
    far_x, far_y, far_z = np.uint64(far), np.uint64(far + step), np.uint64(far + 2 * step)
    here, there = np.uint64(slot), np.uint64(slot + step)
    for k in range(step):
        i = np.uint64(k)
        fields[here + i] = (a * lines[x + i] + b * lines[y + i]) + (c * lines[far_x + i] + d * lines[far_y + i])
        fields[there + i] = a * lines[z + i] + c * lines[far_z + i]


@kernel
def _add(weights, at, step, lines, near, far, total, start, size):
    """Adds an octave of a row to ``total``: two pairs of rows of ``lines``, weighted.

    Unsigned places, because the compiler gives up on vector instructions where a place might count from the end.
    """
    a, b, c, d = weights[at], weights[at + step], weights[at + 2 * step], weights[at + 3 * step]
    x, y, far_x, far_y = np.uint64(near), np.uint64(near + size), np.uint64(far), np.uint64(far + size)
    whole = np.uint64(start)
    for k in range(size):
        i = np.uint64(k)
        total[whole + i] += (a * lines[x + i] + b * lines[y + i]) + (c * lines[far_x + i] + d * lines[far_y + i])


@kernel
def _finish(weights, at, step, lines, near, far, total, start, flat, here, size):
    """Adds the last octave to ``total`` and writes grey values: cut to 0 .. 255, fractions dropped."""
    a, b, c, d = weights[at], weights[at + step], weights[at + 2 * step], weights[at + 3 * step]
    x, y, far_x, far_y = np.uint64(near), np.uint64(near + size), np.uint64(far), np.uint64(far + size)
    zero, most, whole, here = np.float32(0), np.float32(255), np.uint64(start), np.uint64(here)
    for k in range(size):
        i = np.uint64(k)
        value = (a * lines[x + i] + b * lines[y + i]) + (c * lines[far_x + i] + d * lines[far_y + i])
        value = total[whole + i] + value
        value = value if value > zero else zero
        value = value if value < most else most
        flat[here + i] = np.uint8(np.int32(value))
