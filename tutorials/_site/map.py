"""The picture of the start page: which lesson needs which, computed from the lessons themselves.

An arrow goes from a lesson to one that names it under "Before this:", unless a longer way leads
there too. Lessons that need nothing stand at the top, each other one below all that it needs.
"""

import re
from html import escape

BOX = (264, 40)  # pixels
GAP = (18, 46)


def needs_of(lessons):
    """{lesson: lessons named under "Before this:"} from {lesson: its text}."""
    needs = {}
    for lesson, text in lessons.items():
        before = re.search(r"\*\*Before this:\*\*(.*?)\*\*Time:\*\*", text, re.DOTALL)
        named = re.findall(r"\((\d\d_\w+)\.py\)", before.group(1))
        needs[lesson] = [one for one in lessons if one in named]
    return needs


def direct(needs):
    """The same without what another need already needs."""

    def all_needs(lesson):
        found = set(needs[lesson])
        return found.union(*(all_needs(one) for one in found))

    return {
        lesson: [one for one in own if not any(one in all_needs(other) for other in own)]
        for lesson, own in needs.items()
    }


def rows_of(needs):
    """The lessons in rows, each below all that it needs."""
    depth = {}
    for lesson in sorted(needs):  # a lesson needs earlier ones only
        depth[lesson] = 1 + max((depth[one] for one in needs[lesson]), default=-1)
    return [[x for x in needs if depth[x] == row] for row in range(max(depth.values()) + 1)]


def draw_map(lessons, titles):
    """The picture as SVG with links. lessons: {"01_name": text}; titles: {"01_name": title}."""
    needs = direct(needs_of(lessons))
    rows = rows_of(needs)
    width = max(map(len, rows)) * (BOX[0] + GAP[0])
    middle = {}
    for row in rows:
        wished = {x: sum(middle[one] for one in needs[x]) / max(1, len(needs[x])) for x in row}
        row.sort(key=wished.get)
        for i, lesson in enumerate(row):
            middle[lesson] = width / 2 + (i - (len(row) - 1) / 2) * (BOX[0] + GAP[0])
    top = {lesson: y * (BOX[1] + GAP[1]) + 4 for y, row in enumerate(rows) for lesson in row}
    parts = []
    for lesson, own in needs.items():
        for one in own:
            x, y = middle[one], top[one] + BOX[1]
            u, v = middle[lesson], top[lesson]
            turn = (y + v) / 2
            curve = f"M{x:.0f} {y} C{x:.0f} {turn:.0f} {u:.0f} {turn:.0f} {u:.0f} {v}"
            parts.append(f'<path d="{curve}"/>')
    for lesson in needs:
        x, y = middle[lesson] - BOX[0] / 2, top[lesson]
        box = f'<rect x="{x:.0f}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="6"/>'
        words = escape(titles[lesson])
        text = f'<text x="{middle[lesson]:.0f}" y="{y + 25}">{words}</text>'
        parts.append(f'<a href="{lesson}.html">{box}{text}</a>')
    height = max(top.values()) + BOX[1] + 4
    return (
        f'<div class="map"><svg viewBox="0 0 {width:.0f} {height}" role="img" '
        f'aria-label="Which lesson needs which">{"".join(parts)}</svg></div>'
    )


def start_page(lessons, titles):
    """The picture as MyST for the start page, with a line that explains it."""
    explained = "An arrow leads from a lesson to those that build on it."
    return f"{explained}\n\n```{{raw}} html\n{draw_map(lessons, titles)}\n```"
