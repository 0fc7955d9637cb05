# SPDX-License-Identifier: MIT
"""Curves and points as a picture that needs nothing else (SVG)."""
import math

WIDTH, HEIGHT = 860, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 62, 56
COLOURS = ("#17202b", "#1f6feb", "#d1495b", "#2e8b57", "#c77d0a", "#7b4fa3", "#5b6675")
STYLE = (".grid{stroke:#e6e9ee}.axis{stroke:#8a94a3;fill:none}.tick{font-size:12px;fill:#5b6675}"
         ".name{font-size:13px;fill:#3b4552}")


def ticks(low, high, count=6):
    """1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = power * next(f for f in (1, 2, 5, 10) if rough / power <= f)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def wide(values):
    """From the least to the most, with some room."""
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.1 * abs(high) or 1
    return low - room, high + room


def number(x):
    return f"{x:.6g}"


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def write(path, title, below, x_name, y_name, series):
    """series: (name, colour's number, [(x, y)], a style of {"line", "dashed", "filled", "hollow"} or several)."""
    points = [p for s in series for p in s[2]]
    (x0, x1), (y0, y1) = (wide([p[i] for p in points]) for i in (0, 1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(p):
        return (LEFT + (p[0] - x0) / (x1 - x0) * (right - LEFT), bottom - (p[1] - y0) / (y1 - y0) * (bottom - TOP))

    out = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
           "font-family='Helvetica,Arial,sans-serif'>", f"<style>{STYLE}</style>",
           f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
           f"<text x='{LEFT}' y='26' font-size='18' font-weight='bold' fill='#17202b'>{escape(title)}</text>",
           f"<text x='{LEFT}' y='46' class='tick'>{escape(below)}</text>"]
    for v in ticks(y0, y1):
        y = at((x0, v))[1]
        out.append(f"<line x1='{LEFT}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}' class='grid'/>"
                   f"<text x='{LEFT - 8}' y='{y + 4:.1f}' class='tick' text-anchor='end'>{number(v)}</text>")
    for v in ticks(x0, x1):
        x = at((v, y0))[0]
        out.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{bottom}' y2='{bottom + 5}' class='axis'/>"
                   f"<text x='{x:.1f}' y='{bottom + 19}' class='tick' text-anchor='middle'>{number(v)}</text>")
    out.append(f"<path d='M{LEFT} {TOP}V{bottom}H{right}' class='axis'/>"
               f"<text x='{(LEFT + right) / 2}' y='{HEIGHT - 12}' class='name' text-anchor='middle'>"
               f"{escape(x_name)}</text>"
               f"<text transform='translate(18 {(TOP + bottom) / 2}) rotate(-90)' class='name' text-anchor='middle'>"
               f"{escape(y_name)}</text>")
    for i, (name, colour, values, style) in enumerate(series):
        ink = COLOURS[colour % len(COLOURS)]
        key = [(right + 16, TOP + 8 + 19 * i), (right + 40, TOP + 8 + 19 * i)]
        for places, marked in ((list(map(at, values)), True), (key, False)):
            if "line" in style or "dashed" in style:
                path_of = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
                dash = " stroke-dasharray='5 4'" * ("dashed" in style)
                out.append(f"<path d='M{path_of}' fill='none' stroke='{ink}' stroke-width='1.8'{dash}/>")
            if "filled" in style or "hollow" in style:
                fill = ink if "filled" in style else "#ffffff"
                out += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4.5' fill='{fill}' stroke='{ink}' stroke-width='1.6'/>"
                        for x, y in (places if marked else [(right + 28, key[0][1])])]
        out.append(f"<text x='{right + 48}' y='{key[0][1] + 4}' class='name'>{escape(name)}</text>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n</svg>\n")
