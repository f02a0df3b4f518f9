"""Layers as Numba source, for one step: each is a C function of the address of a table.

A table begins with the addresses of the signal that the layer reads and the one that it writes; numbers and the
addresses of arrays follow. A product adds up the rows of weights that belong to inputs that are not zero, in the order
of the inputs, and the bias last: as a matrix product does, in which zeros change no sum.
"""

from __future__ import annotations

#: ``add_rows`` may contract a product and a sum into one operation, as matrix products do.
PRODUCT = """
@njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
def add_rows(out, n, a, v, b, w, c, x, d, y):
    for o in range(n):
        out[o] = (((out[o] + v * a[o]) + w * b[o]) + x * c[o]) + y * d[o]


@njit(error_model="numpy", fastmath={"contract"}, forceinline=True)
def add_row(out, n, a, v):
    for o in range(n):
        out[o] = out[o] + v * a[o]


@njit(error_model="numpy", forceinline=True)
def part(array, first):
    return row(array + first * SIZE)
"""

LINEAR = """
def layer(address):
    table = integers(address)
    source, target, weight, bias = integers(table[0]), integers(table[1]), table[2], row(table[3])
    ins, outs = table[4], table[5]
    value, places, count = row(source[VALUE]), integers(source[PLACES]), source[COUNT]
    clear(table[1])
    k = 0
    while k < count:
        sample = places[k] // ins
        first, end = sample * ins, (sample + 1) * ins
        out = part(target[VALUE], sample * outs)
        for o in range(outs):
            out[o] = F(0.0)
        while k + 3 < count and places[k + 3] < end:
            a, b, c, d = places[k], places[k + 1], places[k + 2], places[k + 3]
            w0, w1 = part(weight, (a - first) * outs), part(weight, (b - first) * outs)
            w2, w3 = part(weight, (c - first) * outs), part(weight, (d - first) * outs)
            add_rows(out, outs, w0, value[a], w1, value[b], w2, value[c], w3, value[d])
            k += 4
        while k < count and places[k] < end:
            add_row(out, outs, part(weight, (places[k] - first) * outs), value[places[k]])
            k += 1
        for o in range(outs):
            out[o] += bias[o]
        touch(table[1], sample * outs, (sample + 1) * outs)
    gather(table[1])
"""

#: Sums are made in an array (places of a map, filters), so that what a spike adds at one place is contiguous. Weights
#: are (channels in, kernel height, kernel width from the last to the first, filters of a group): without strides and
#: groups, what it adds along a row of the map is, too. ``met`` lists the places that any input has reached.
CONV = """
def layer(address):
    table = integers(address)
    source, target, weight, bias = integers(table[0]), integers(table[1]), table[2], row(table[3])
    sums, reached, met = table[4], integers(table[5]), integers(table[6])
    height, width, filters, rows, columns, tall, wide = (
        table[7], table[8], table[9], table[10], table[11], table[12], table[13])
    down, right, above, left, apart_y, apart_x = table[14], table[15], table[16], table[17], table[18], table[19]
    ins, members, of_group = table[20], table[21], table[22]
    value, places, count = row(source[VALUE]), integers(source[PLACES]), source[COUNT]
    total, touched, size = row(sums), integers(target[TOUCHED]), rows * columns
    joined = right == 1 and apart_x == 1 and members == filters
    clear(table[1])
    k = 0
    while k < count:
        sample, many = places[k] // ins, 0
        while k < count and places[k] < (sample + 1) * ins:
            place, v = places[k] - sample * ins, value[places[k]]
            k += 1
            c, y, x = place // (height * width), place // width % height, place % width
            for ky in range(tall):
                oy = y + above - ky * apart_y
                if oy < 0 or oy % down != 0 or oy // down >= rows:
                    continue
                line, taps = oy // down * columns, (c * tall + ky) * wide
                if joined:
                    begin = x + left - wide + 1
                    lo, hi = max(0, begin), min(columns, begin + wide)
                    if hi > lo:
                        to, w = part(sums, (line + lo) * filters), part(weight, (taps + lo - begin) * filters)
                        add_row(to, (hi - lo) * filters, w, v)
                    for p in range(line + lo, line + hi):
                        if reached[p] == 0:
                            reached[p] = 1
                            met[many] = p
                            many += 1
                else:
                    for i in range(wide):
                        ox = x + left - (wide - 1 - i) * apart_x
                        if ox >= 0 and ox % right == 0 and ox // right < columns:
                            p = line + ox // right
                            w = part(weight, (taps + i) * members)
                            add_row(part(sums, p * filters + c // of_group * members), members, w, v)
                            if reached[p] == 0:
                                reached[p] = 1
                                met[many] = p
                                many += 1
        for f in range(filters):
            first = (sample * filters + f) * size
            out = part(target[VALUE], first)
            for i in range(many):
                p = met[i]
                out[p] = total[p * filters + f] + bias[f]
                total[p * filters + f] = F(0.0)
                touched[(first + p) // BLOCK] = 1
        for i in range(many):
            reached[met[i]] = 0
            target[ANY] = 1
    gather(table[1])
"""

#: Windows in which no input differs from zero give zero; others are computed once for each input in them.
#: ``window_at`` is the window that has the input (y, x) at the place (ky, kx) of its kernel; negative: there is none.
POOLED = """
@njit(error_model="numpy", forceinline=True)
def pooled(value, table, plane, oy, ox):
    height, width = table[3], table[4]
    total, best = F(0.0), F(-np.inf)
    for ky in range(table[7]):
        for kx in range(table[8]):
            y, x = oy * table[9] - table[11] + ky, ox * table[10] - table[12] + kx
            if 0 <= y < height and 0 <= x < width:
                v = value[(plane * height + y) * width + x]
                total += v
                best = v if v > best or v != v else best
    return best if table[2] != 0 else total / F(table[7] * table[8])


@njit(error_model="numpy", forceinline=True)
def window_at(table, y, x, ky, kx):
    oy, ox = y + table[11] - ky, x + table[12] - kx
    if oy < 0 or ox < 0 or oy % table[9] != 0 or ox % table[10] != 0:
        return -1, -1
    oy, ox = oy // table[9], ox // table[10]
    return (oy, ox) if oy < table[5] and ox < table[6] else (-1, -1)
"""

POOL = """
def layer(address):
    table = integers(address)
    source, target = integers(table[0]), integers(table[1])
    height, width, rows, columns = table[3], table[4], table[5], table[6]
    value, places, out = row(source[VALUE]), integers(source[PLACES]), row(target[VALUE])
    clear(table[1])
    if source[COUNT] * 4 > source[LENGTH]:
        for j in range(target[LENGTH]):
            out[j] = pooled(value, table, j // (rows * columns), j // columns % rows, j % columns)
        touch(table[1], 0, target[LENGTH])
    else:
        for k in range(source[COUNT]):
            plane, y, x = places[k] // (height * width), places[k] // width % height, places[k] % width
            for ky in range(table[7]):
                for kx in range(table[8]):
                    oy, ox = window_at(table, y, x, ky, kx)
                    if oy >= 0:
                        j = (plane * rows + oy) * columns + ox
                        out[j] = pooled(value, table, plane, oy, ox)
                        touch(table[1], j, j + 1)
    gather(table[1])
"""

#: The same of counts, which it keeps: what it gives is how much the largest count of a window has grown. A window that
#: several inputs have reached has grown when the first of them is looked at.
COUNT_POOL = """
def layer(address):
    table = integers(address)
    source, target = integers(table[0]), integers(table[1])
    height, width, rows, columns = table[3], table[4], table[5], table[6]
    value, places, out = row(source[VALUE]), integers(source[PLACES]), row(target[VALUE])
    count, most = row(table[13]), row(table[14])
    clear(table[1])
    for k in range(source[COUNT]):
        count[places[k]] += value[places[k]]
    for k in range(source[COUNT]):
        plane, y, x = places[k] // (height * width), places[k] // width % height, places[k] % width
        for ky in range(table[7]):
            for kx in range(table[8]):
                oy, ox = window_at(table, y, x, ky, kx)
                if oy >= 0:
                    j = (plane * rows + oy) * columns + ox
                    largest = pooled(count, table, plane, oy, ox)
                    if largest != most[j]:
                        out[j] = largest - most[j]
                        most[j] = largest
                        touch(table[1], j, j + 1)
    gather(table[1])
"""

#: (x - shift) scale weight + bias, one of each per value.
EACH = """
def layer(address):
    table = integers(address)
    source, target = integers(table[0]), integers(table[1])
    value, out, touched = row(source[VALUE]), row(target[VALUE]), integers(source[TOUCHED])
    {reads}
    clear(table[1])
    if source[ANY] != 0:
        for b in range(source[BLOCKS]):
            if touched[b] != 0:
                for j in range(b * BLOCK, min(source[LENGTH], (b + 1) * BLOCK)):
                    out[j] = {formula}
                touch(table[1], b * BLOCK, b * BLOCK + 1)
    gather(table[1])
"""
AFFINE = EACH.format(
    reads="shift, scale, weight, bias = row(table[2]), row(table[3]), row(table[4]), row(table[5])",
    formula="(value[j] - shift[j]) * scale[j] * weight[j] + bias[j]",
)
#: The nearest fixed-point numbers: steps of one, the bounds in steps, the size of a step.
ROUNDED = EACH.format(
    reads="grid = row(table[2])",
    formula="min(max(np.floor(value[j] * grid[0] + F(0.5)), grid[1]), grid[2]) * grid[3]",
)

#: The sum of two signals.
SUM = """
def layer(address):
    table = integers(address)
    first, second, target = integers(table[0]), integers(table[2]), integers(table[1])
    one, other, out = row(first[VALUE]), row(second[VALUE]), row(target[VALUE])
    by_one, by_other = integers(first[TOUCHED]), integers(second[TOUCHED])
    clear(table[1])
    if first[ANY] + second[ANY] != 0:
        for b in range(target[BLOCKS]):
            if by_one[b] + by_other[b] != 0:
                for j in range(b * BLOCK, min(target[LENGTH], (b + 1) * BLOCK)):
                    out[j] = one[j] + other[j]
                touch(table[1], b * BLOCK, b * BLOCK + 1)
    gather(table[1])
"""

#: A step of the network: (number of layers, first signal, clock, then function and table of each layer). It returns the
#: place of an input that is not finite, or -1.
STEP = """
def step(address):
    table = integers(address)
    first = integers(table[1])
    value, touched = row(first[VALUE]), integers(first[TOUCHED])
    wrong = 0
    for j in range(first[LENGTH]):
        wrong += 1 if value[j] - value[j] != F(0.0) else 0
    if wrong != 0:
        for j in range(first[LENGTH]):
            if value[j] - value[j] != F(0.0):
                return j
    for b in range(first[BLOCKS]):
        touched[b] = 1
    first[ANY] = 1
    gather(table[1])
    for i in range(table[0]):
        call(table[3 + 2 * i], table[4 + 2 * i])
    integers(table[2])[0] += 1
    return -1
"""

#: Many steps of the network: (table of ``STEP``, steps, then the addresses of: the borders of steps among events, the
#: events' places, their values, the last signal, where its values over time go).
EVENTS = """
def events(address):
    run = integers(address)
    table, borders, places, values = integers(run[0]), integers(run[2]), integers(run[3]), row(run[4])
    first, last = integers(table[1]), integers(run[5])
    value, listed = row(first[VALUE]), integers(first[PLACES])
    for t in range(run[1]):
        clear(table[1])
        for k in range(borders[t], borders[t + 1]):
            value[places[k]] = values[k]
            listed[k - borders[t]] = places[k]
            touch(table[1], places[k], places[k] + 1)
        first[COUNT] = borders[t + 1] - borders[t]
        for i in range(table[0]):
            call(table[3 + 2 * i], table[4 + 2 * i])
        integers(table[2])[0] += 1
        size = last[LENGTH]
        now, out = row(last[VALUE]), row(run[6] + t * size * SIZE)
        for j in range(size):
            out[j] = now[j]
"""
