"""Draws time against error as an SVG, with a mark that shows which methods miss colours.

Both axes are logarithmic; down and left is better. A filled mark is a method that misses no colour on any still, a hollow
one misses some; the number behind its name is how many. Names are placed where they hide no other name and no mark.
"""
import math

W, H, LEFT, RIGHT, TOP, BOTTOM = 1000, 560, 76, 30, 48, 62
OURS, THEIRS, GREY = "#c0392b", "#34495e", "#767676"
FLOOR = 0.001  # Errors at or below the best of ten k-means runs are drawn here.
EM = 0.56  # Mean width of a letter, in font sizes.
SIZE = 12


def width(text):
    return EM * SIZE * len(text)


def overlaps(p, q):
    """Whether two boxes (left, top, right, bottom) share area."""
    return p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3]


def places(x, y, w):
    """Boxes for a name of width w beside a mark at (x, y): the nearest first."""
    up, down = 9, 4
    for distance in (9, 22, 38, 56, 76):
        for dx, dy in ((1, 0), (-1, 0), (1, -0.7), (1, 0.7), (-1, -0.7), (-1, 0.7), (0, -1), (0, 1)):
            at_x = x + dx * distance - (w if dx < 0 else w / 2 if dx == 0 else 0)
            at_y = y + 4 + dy * (distance + 8)
            yield at_x, at_y - up, at_x + w, at_y + down


def distance(mark, box):
    (x, y), (left, top, right, bottom) = mark, box
    return math.hypot(max(left - x, x - right, 0), max(top - y, y - bottom, 0))


def mark(x, y, ink, hollow):
    fill = f'fill="white" stroke="{ink}" stroke-width="2"' if hollow else f'fill="{ink}" stroke="{ink}" stroke-width="2"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {fill}/>'


def draw(points, path):
    """points: (name, milliseconds, error over the best, missed colours)."""
    loss = lambda over: max(over - 1, FLOOR)
    span = lambda values, low, high: (math.log10(min(values)) - low, math.log10(max(values)) + high)
    x0, x1 = span([p[1] for p in points], 0.55, 0.3)
    y0, y1 = span([loss(p[2]) for p in points], 0.12, 0.12)
    px = lambda ms: LEFT + (math.log10(ms) - x0) / (x1 - x0) * (W - LEFT - RIGHT)
    py = lambda part: H - BOTTOM - (math.log10(part) - y0) / (y1 - y0) * (H - TOP - BOTTOM)
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {W} {H}" font-family="sans-serif" font-size="{SIZE}">',
        f'<rect width="{W}" height="{H}" fill="white"/>',
    ]
    ticks = [s * 10.0**e for e in range(-4, 5) for s in (1, 3)]
    for t in (t for t in ticks if x0 <= math.log10(t) <= x1):
        svg.append(f'<path d="M{px(t):.0f} {TOP}V{H - BOTTOM}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{px(t):.0f}" y="{H - BOTTOM + 18}" text-anchor="middle">{t:g} ms</text>')
    for t in (t for t in ticks if y0 <= math.log10(t) <= y1):
        svg.append(f'<path d="M{LEFT} {py(t):.0f}H{W - RIGHT}" stroke="#e4e4e4"/>')
        svg.append(f'<text x="{LEFT - 6}" y="{py(t) + 4:.0f}" text-anchor="end">+{100 * t:g} %</text>')
    marks = [(px(ms), py(loss(over))) for _, ms, over, _ in points]
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in marks]
    for (name, _, _, missed), (x, y) in sorted(zip(points, marks), key=lambda p: (not p[0][0].startswith("hueflow"), p[1])):
        ink = OURS if name.startswith("hueflow") else THEIRS
        count = f"({missed})" if missed else ""
        w = width(name + count) + (4 if count else 0)
        inside = lambda b: b[0] > LEFT and b[2] < W - 4 and b[1] > TOP - 10 and b[3] < H - BOTTOM
        free = [b for b in places(x, y, w) if inside(b) and not any(overlaps(b, t) for t in taken)]
        # A name belongs to the mark that is nearest to it.
        clear = [b for b in free if all(distance(other, b) > distance((x, y), b) for other in marks if other != (x, y))]
        box = (clear or free or list(places(x, y, w)))[0]
        taken.append(box)
        if distance((x, y), box) > 14:
            near = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
            svg.append(f'<path d="M{x:.1f} {y:.1f}L{near[0]:.1f} {near[1]:.1f}" stroke="#999"/>')
        tail = f'<tspan dx="4" fill="{GREY}">{count}</tspan>' if count else ""
        # Widths are estimates: the end that is nearest to the mark is where it was planned.
        at, anchor = (box[2], "end") if box[2] < x else (box[0], "start") if box[0] > x else ((box[0] + box[2]) / 2, "middle")
        svg.append(f'<text x="{at:.1f}" y="{box[3] - 4:.1f}" text-anchor="{anchor}" fill="{ink}">{name}{tail}</text>')
    svg += [mark(x, y, OURS if p[0].startswith("hueflow") else THEIRS, p[3] > 0) for p, (x, y) in zip(points, marks)]
    x = LEFT
    for hollow, text in [(False, "misses no colour on any still"), (True, "misses colours (how many on all stills)")]:
        svg += [mark(x + 6, 22, "#222", hollow), f'<text x="{x + 18}" y="26">{text}</text>']
        x += 18 + width(text) + 24
    for ink, text in [(OURS, "Hueflow"), (THEIRS, "others")]:
        svg += [f'<rect x="{x}" y="16" width="12" height="12" fill="{ink}"/>', f'<text x="{x + 18}" y="26" fill="{ink}">{text}</text>']
        x += 18 + width(text) + 24
    svg.append(f'<text x="{W / 2}" y="{H - 14}" text-anchor="middle">time for a frame of 96,000 pixels, one thread (left is better)</text>')
    svg.append(f'<text x="16" y="{H / 2}" text-anchor="middle" transform="rotate(-90 16 {H / 2})">MSE above the best k-means at the same K (down is better)</text></svg>')
    path.write_text("\n".join(svg))
