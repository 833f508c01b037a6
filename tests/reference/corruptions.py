"""Corruptions in float64, pixel by pixel or with SciPy and Pillow, from their definitions and with draws given.

Each takes an image (height, width, 3) in [0, 1], the draws, and the numbers of a severity. Nothing is clipped.
"""

import colorsys
import heapq
import io
import math

import numpy as np
import scipy.ndimage
import scipy.stats
from PIL import Image


def gaussian_noise(x, normal, scale):
    return x + scale * normal


def speckle_noise(x, normal, scale):
    return x * (1 + scale * normal)


def shot_noise(x, uniform, photons):
    return scipy.stats.poisson.ppf(uniform, x * photons) / photons


def impulse_noise(x, uniform, amount):
    y = x.copy()
    y[uniform <= amount] = 0
    y[uniform < amount / 2] = 1
    return y


def gaussian_blur(x, draws, sigma):
    return scipy.ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest", truncate=4)


def defocus_blur(x, draws, radius, alias):
    reach, margin = (8, 1) if radius <= 8 else (int(radius), 2)
    v, h = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (v * v + h * h <= radius * radius).astype(float)
    edge = np.exp(-(np.arange(-margin, margin + 1) ** 2) / (2 * alias * alias))
    edge = np.outer(edge, edge) / edge.sum() ** 2
    kernel = scipy.ndimage.correlate(disk / disk.sum(), edge, mode="mirror")
    return np.stack([scipy.ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(3)], -1)


def _zoomed(x, factor):
    """The middle of a (height, width, channels) array, zoomed to its size or a little more, and cut."""
    height, width = x.shape[:2]
    part = [math.ceil(n / factor) for n in (height, width)]
    top, left = (height - part[0]) // 2, (width - part[1]) // 2
    drawn = scipy.ndimage.zoom(
        x[top : top + part[0], left : left + part[1]], (factor, factor, 1), order=1, mode="nearest"
    )
    top, left = (drawn.shape[0] - height) // 2, (drawn.shape[1] - width) // 2
    return drawn[top : top + height, left : left + width]


def zoom_blur(x, draws, end, step):
    layers = [_zoomed(x, factor) for factor in np.arange(1, end, step)]
    return (x + sum(layers)) / (len(layers) + 1)


def _streaked(x, angle, radius, sigma):
    height, width = x.shape[:2]
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * int(radius) + 1)]
    y = np.zeros_like(x)
    for i, weight in enumerate(weights):
        down = math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        for row in range(height):
            for column in range(width):
                there = min(max(row + down, 0), height - 1), min(max(column + right, 0), width - 1)
                y[row, column] += weight / sum(weights) * x[there]
    return y


def motion_blur(x, angle, radius, sigma):
    return np.floor(_streaked(x, float(angle), radius, sigma) * 255 + 0.5) / 255


def glass_blur(x, uniform, sigma, reach, passes):
    y = np.floor(gaussian_blur(x, None, sigma) * 255 + 1e-6)
    height, width = x.shape[:2]
    for i in range(int(passes)):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                right, down = np.floor(uniform[i, row, column] * 2 * reach).astype(int) - reach
                y[row, column] = y[row + down, column + right]
    return gaussian_blur(y / 255, None, sigma)


def fractal(uniform, decay):
    """The diamond-square algorithm, point by point on a torus."""
    side = math.isqrt(len(uniform) + 1)
    heights, draws, wibble, step = np.zeros((side, side)), iter(uniform), 100.0, side
    while step > 1:
        half = step // 2
        for top, left, near in (
            (half, half, ((-half, -half), (-half, half), (half, -half), (half, half))),
            (0, half, ((-half, 0), (half, 0), (0, -half), (0, half))),
            (half, 0, ((-half, 0), (half, 0), (0, -half), (0, half))),
        ):
            for row in range(top, side, step):
                for column in range(left, side, step):
                    around = [heights[(row + i) % side, (column + j) % side] for i, j in near]
                    heights[row, column] = sum(around) / 4 + wibble**2 * next(draws)
        step, wibble = half, wibble / decay
    heights -= heights.min()
    return heights / heights.max()


def fog(x, uniform, amount, decay):
    layer = fractal(uniform, decay)[: x.shape[0], : x.shape[1], None]
    return (x + amount * layer) * x.max() / (x.max() + amount)


def snow(x, draws, mean, spread, zoom, threshold, radius, sigma, own):
    normal, angle = draws
    layer = _zoomed((mean + spread * normal)[..., None], zoom)
    layer = np.clip(np.where(layer < threshold, 0, layer), 0, 1)
    layer = np.floor(255 * layer) / 255
    layer = np.floor(_streaked(layer, float(angle), radius, sigma) * 255 + 0.5) / 255
    gray = (x @ [0.299, 0.587, 0.114])[..., None]
    return own * x + (1 - own) * np.maximum(x, 1.5 * gray + 0.5) + layer + np.rot90(layer, 2)


def brightness(x, draws, more):
    def brighter(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1))

    return np.apply_along_axis(brighter, -1, x)


def saturate(x, draws, factor, more):
    def saturated(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, min(max(saturation * factor + more, 0), 1), value)

    return np.apply_along_axis(saturated, -1, x)


def contrast(x, draws, factor):
    mean = x.mean((0, 1))
    return mean + (x - mean) * factor


def elastic_transform(x, draws, size, sigma, corners):
    height, width = x.shape[:2]
    middle, half = np.array([width // 2, height // 2]), min(height, width) // 3
    here = middle + half * np.array([[1, 1], [1, -1], [-1, -1]])
    there = here + corners * draws[0]
    # The matrix that takes (right, down, 1) of the moved corners to those in the image.
    back = np.linalg.solve(np.column_stack([there, np.ones(3)]), here)
    rows, columns = np.mgrid[:height, :width].astype(float)
    places = np.stack([columns, rows, np.ones_like(rows)], -1) @ back
    sheared = [scipy.ndimage.map_coordinates(x[..., c], [places[..., 1], places[..., 0]], order=1, mode="mirror")
               for c in range(3)]  # fmt: skip
    right, down = (
        size * (scipy.ndimage.gaussian_filter(shift, sigma, mode="reflect", truncate=3) if sigma else shift)
        for shift in draws[1]
    )
    moved = [scipy.ndimage.map_coordinates(channel, [rows + down, columns + right], order=1, mode="reflect")
             for channel in sheared]  # fmt: skip
    return np.stack(moved, -1)


def _image(x):
    return Image.fromarray(np.round(x * 255).astype(np.uint8))


def pixelate(x, draws, share):
    height, width = x.shape[:2]
    small = _image(x).resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BOX)) / 255


def jpeg_compression(x, draws, quality):
    file = io.BytesIO()
    _image(x).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


def canny(x, low, high):
    """Canny's edges with the magnitude |dx| + |dy| and directions in eighths of a turn."""
    dx, dy = (scipy.ndimage.sobel(x, axis, mode="nearest") for axis in (1, 0))
    size = np.pad(abs(dx) + abs(dy), 1)
    ridge = np.zeros(x.shape, bool)
    for (row, column), there in np.ndenumerate(size[1:-1, 1:-1]):
        across, down = dx[row, column], dy[row, column]
        around = size[row : row + 3, column : column + 3]
        if abs(down) < math.tan(math.pi / 8) * abs(across):
            ridge[row, column] = there > around[1, 0] and there >= around[1, 2]
        elif abs(down) > math.tan(3 * math.pi / 8) * abs(across):
            ridge[row, column] = there > around[0, 1] and there >= around[2, 1]
        elif across * down < 0:
            ridge[row, column] = there > around[0, 2] and there > around[2, 0]
        else:
            ridge[row, column] = there > around[0, 0] and there > around[2, 2]
    parts, _ = scipy.ndimage.label(ridge & (size[1:-1, 1:-1] > low), np.ones((3, 3)))
    strong = np.unique(parts[ridge & (size[1:-1, 1:-1] > high)])
    return np.isin(parts, strong[strong > 0])


def distance(edges, most):
    """Shortest ways to an edge by Dijkstra's algorithm, in moves of 1, 1.4 and 2.1969."""
    found = np.where(edges, 0.0, np.inf)
    moves = {(i, j): {1: 1.0, 2: 1.4, 5: 2.1969}.get(i * i + j * j) for i in range(-2, 3) for j in range(-2, 3)}
    queue = [(0.0, *place) for place in np.argwhere(edges)]
    while queue:
        far, row, column = heapq.heappop(queue)
        if far > found[row, column]:
            continue
        for (i, j), length in moves.items():
            inside = 0 <= row + i < edges.shape[0] and 0 <= column + j < edges.shape[1]
            if length and inside and far + length < found[row + i, column + j]:
                found[row + i, column + j] = far + length
                heapq.heappush(queue, (far + length, row + i, column + j))
    return np.minimum(found, most)


def equalize(x):
    """Levels in the order of their brightness, spread by how many pixels are as dark."""
    darkest = (x == x.min()).sum()
    if darkest == x.size:
        return x
    return np.round(255 * (np.searchsorted(np.sort(x.ravel()), x, "right") - darkest) / (x.size - darkest))


def spatter(x, normal, mean, spread, sigma, threshold, intensity, mud):
    layer = scipy.ndimage.gaussian_filter(mean + spread * normal, sigma, mode="nearest", truncate=4)
    layer = np.where(layer < threshold, 0, layer)
    if mud:
        cover = scipy.ndimage.gaussian_filter((layer > threshold) * 1.0, intensity, mode="nearest", truncate=4)
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return x * (1 - cover) + cover * np.array([63, 42, 20]) / 255
    drops = np.clip(np.floor(layer * 255), 0, 255)
    mean3 = np.ones((3, 3)) / 9
    away = scipy.ndimage.correlate(distance(canny(drops, 50, 150), 20), mean3, mode="mirror")
    emboss = np.array([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]])
    shine = scipy.ndimage.correlate(equalize(np.floor(away + 1e-9)), emboss, mode="mirror")
    shine = drops * np.round(scipy.ndimage.correlate(np.clip(shine, 0, 255), mean3, mode="mirror"))
    return x + (intensity * shine / max(shine.max(), 1))[..., None] * np.array([175, 238, 238]) / 255
