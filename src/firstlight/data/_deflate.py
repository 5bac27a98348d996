"""Deflate, the compression inside PNG files, as a compiled kernel whose output never changes.

https://www.rfc-editor.org/rfc/rfc1951

Greedy matching against the last place with the same four bytes, and one pair of Huffman codes for every 65,536
symbols: about what zlib does at its first level. A library's bytes change with its releases; these do not.
"""

import numpy as np

from ..formulas._compile import kernel

__all__ = ["deflate"]

_BLOCK = 1 << 16  # symbols that share one pair of codes
_WINDOW = 1 << 15
_MATCH = 1 << 30  # marks a symbol as a match: its length from bit 16, its distance below
_LONGEST = 258
_HASHED = 1 << 14  # places remembered, by the hash of their four bytes
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15])

# Symbols from 257 stand for lengths, 0 to 29 for distances: each for a range that begins at LEAST, with EXTRA bits.
_LENGTH_EXTRA = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0])
_LENGTH_LEAST = np.append(3 + np.cumsum(np.append(0, 1 << _LENGTH_EXTRA[:27])), _LONGEST)
_LENGTH_SYMBOL = np.searchsorted(_LENGTH_LEAST, np.arange(_LONGEST + 1), side="right") - 1
_DISTANCE_EXTRA = np.maximum(np.arange(30) // 2 - 1, 0)
_DISTANCE_LEAST = 1 + np.cumsum(np.append(0, 1 << _DISTANCE_EXTRA[:29]))
_DISTANCE_SYMBOL = np.searchsorted(_DISTANCE_LEAST, np.arange(_WINDOW + 1), side="right").astype(np.uint8) - 1


def deflate(data: np.ndarray) -> bytes:
    """Compresses uint8 ``[N]`` to a raw deflate stream."""
    blocks = 1 + len(data) // _BLOCK
    out = np.zeros(len(data) + len(data) // 8 + 1024 * blocks, np.uint8)
    size = _stream(data, np.full(_HASHED, -1), np.empty(_BLOCK, np.int64), out)
    return out[:size].tobytes()


@kernel
def _stream(data, last, symbols, out):
    """Writes all of the data as blocks and returns the bytes used."""
    place, bit = 0, 0
    while True:
        place, count = _match(data, place, last, symbols)
        bit = _block(symbols, count, place == len(data), out, bit)
        if place == len(data):
            return (bit + 7) // 8


@kernel
def _match(data, place, last, symbols):
    """Turns data from ``place`` on into literals and matches, until the symbols are full or the data ends."""
    end, count = len(data), 0
    while place < end and count < len(symbols):
        length, before = 0, -1
        if place + 4 <= end:
            four = np.int64(data[place]) | np.int64(data[place + 1]) << 8
            four |= np.int64(data[place + 2]) << 16 | np.int64(data[place + 3]) << 24
            slot = ((four * 40503) >> 16) & (_HASHED - 1)
            before = last[slot]
            last[slot] = place
        if before >= 0 and place - before <= _WINDOW:
            most = min(_LONGEST, end - place)
            while length < most and data[before + length] == data[place + length]:
                length += 1
        if length >= 4:
            symbols[count] = _MATCH | length << 16 | (place - before)
            place += length
        else:
            symbols[count] = data[place]
            place += 1
        count += 1
    return place, count


@kernel
def _block(symbols, count, final, out, bit):
    """Writes one block with Huffman codes made for it; returns the position of the next bit."""
    often, far = np.zeros(286, np.int64), np.zeros(30, np.int64)
    often[256] = 1
    for i in range(count):
        symbol = symbols[i]
        if symbol >= _MATCH:
            often[257 + _LENGTH_SYMBOL[(symbol >> 16) & 511]] += 1
            far[_DISTANCE_SYMBOL[symbol & 65535]] += 1
        else:
            often[symbol] += 1
    lengths = np.zeros(316, np.int64)
    _code_lengths(often, 15, lengths[:286])
    _code_lengths(far, 15, lengths[286:])
    codes, distances = _codes(lengths[:286], 15), _codes(lengths[286:], 15)

    bit = _put(out, bit, 4 | final, 3)  # 2 << 1: codes made for this block
    bit = _describe(lengths, out, bit)
    for i in range(count):
        symbol = symbols[i]
        if symbol < _MATCH:
            bit = _put(out, bit, codes[symbol], lengths[symbol])
            continue
        length, distance = (symbol >> 16) & 511, symbol & 65535
        number, step = _LENGTH_SYMBOL[length], np.int64(_DISTANCE_SYMBOL[distance])
        bit = _put(out, bit, codes[257 + number], lengths[257 + number])
        bit = _put(out, bit, length - _LENGTH_LEAST[number], _LENGTH_EXTRA[number])
        bit = _put(out, bit, distances[step], lengths[286 + step])
        bit = _put(out, bit, distance - _DISTANCE_LEAST[step], _DISTANCE_EXTRA[step])
    return _put(out, bit, codes[256], lengths[256])


@kernel
def _put(out, bit, value, width):
    """Appends the low ``width`` bits of a value, at most 15, to a buffer that is still zero there."""
    at = bit >> 3
    value <<= bit & 7
    out[at] |= np.uint8(value & 255)
    out[at + 1] |= np.uint8((value >> 8) & 255)
    out[at + 2] |= np.uint8((value >> 16) & 255)
    return bit + width


@kernel
def _describe(lengths, out, bit):
    """Writes the lengths of both codes, runs of zeros shortened, in a third code made for that."""
    words, extra, count = np.zeros(316, np.int64), np.zeros(316, np.int64), 0
    place = 0
    while place < 316:
        run = 0
        while place + run < 316 and run < 138 and lengths[place + run] == 0:
            run += 1
        if run >= 3:
            words[count] = 17 if run < 11 else 18
            extra[count] = run - (3 if run < 11 else 11)
        else:
            words[count], run = lengths[place], 1
        place += run
        count += 1
    often = np.zeros(19, np.int64)
    for i in range(count):
        often[words[i]] += 1
    widths = np.zeros(19, np.int64)
    _code_lengths(often, 7, widths)
    codes = _codes(widths, 7)

    bit = _put(out, bit, 286 - 257, 5)
    bit = _put(out, bit, 30 - 1, 5)
    bit = _put(out, bit, 19 - 4, 4)
    for i in range(19):
        bit = _put(out, bit, widths[_ORDER[i]], 3)
    for i in range(count):
        bit = _put(out, bit, codes[words[i]], widths[words[i]])
        if words[i] >= 17:
            bit = _put(out, bit, extra[i], 3 if words[i] == 17 else 7)
    return bit


@kernel
def _code_lengths(often, limit, lengths):
    """Gives each symbol that occurs its number of bits, at most ``limit``, by Huffman's algorithm."""
    order, count = np.empty(len(often), np.int64), 0
    for symbol in range(len(often)):
        if often[symbol]:
            i = count  # insertion sort, rarest first
            while i and often[order[i - 1]] > often[symbol]:
                order[i] = order[i - 1]
                i -= 1
            order[i] = symbol
            count += 1
    if count < 2:  # a decoder wants at least one code of one bit
        lengths[order[0] if count else 0] = 1
        return
    weight = np.empty(2 * count, np.int64)
    for i in range(count):
        weight[i] = often[order[i]]
    depth = _depths(weight, count)
    while depth[0] > limit:  # the rarest is deepest; flatter weights give a flatter tree, and keep their order
        for i in range(count):
            weight[i] = (weight[i] + 1) // 2
        depth = _depths(weight, count)
    for i in range(count):
        lengths[order[i]] = depth[i]


@kernel
def _depths(weight, count):
    """How deep each of ``count`` leaves lies in the Huffman tree of their weights, which are sorted."""
    above, depth = np.zeros(2 * count, np.int64), np.zeros(2 * count, np.int64)
    leaf, node = 0, count
    for fresh in range(count, 2 * count - 1):  # two queues, both rarest first: leaves, and nodes made of them
        weight[fresh] = 0
        for _ in range(2):
            if leaf < count and (node >= fresh or weight[leaf] <= weight[node]):
                pick = leaf
                leaf += 1
            else:
                pick = node
                node += 1
            weight[fresh] += weight[pick]
            above[pick] = fresh
    for i in range(2 * count - 3, -1, -1):
        depth[i] = depth[above[i]] + 1
    return depth


@kernel
def _codes(lengths, limit):
    """Canonical codes for code lengths, their bits in the order in which they are written."""
    codes, code = np.zeros(len(lengths), np.int64), 0
    for length in range(1, limit + 1):
        for symbol in range(len(lengths)):
            if lengths[symbol] == length:
                reverse = 0
                for i in range(length):
                    reverse |= ((code >> i) & 1) << (length - 1 - i)
                codes[symbol] = reverse
                code += 1
        code <<= 1
    return codes
