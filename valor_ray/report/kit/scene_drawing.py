"""A symbolic scene as SVG in the pixels of the picture that programs believe to see."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from valor_ray.records import SceneObject, SymbolicScene

_LINE = 1 / 24  # height of the letters, of a scene's width
_LETTER = 0.55  # width of a letter, of its height
_MOST = 24  # letters of a name


def draw_scene(scene: SymbolicScene) -> Markup:
    """Boxes with what they are and how far away; the nearer the darker. Nouns are a judge's words: escaped."""
    width, height = scene.image_size
    far_first = sorted(scene.objects, key=lambda each: -each.depth_m)
    shapes = [_box(each, (place + 1) / len(far_first), width, height) for place, each in enumerate(far_first)]
    return Markup(
        f'<svg class="scene" viewBox="0 0 {width:d} {height:d}" role="img">'
        f'<rect class="rail" width="{width:d}" height="{height:d}"/>{"".join(shapes)}</svg>'
    )


def called(each: SceneObject) -> str:
    """What it is, in words: "red coffee table"."""
    return " ".join([*each.attributes.values(), each.noun])


def _box(each: SceneObject, near: float, width: int, height: int) -> str:
    """near: 0..1, of the scene's objects. Its name stands below, or above where there is no room; inside the frame."""
    left, top, right, bottom = each.bbox
    size = width * _LINE
    under = bottom + size * 0.95
    y = under if under + size < height else max(top - size * 1.2, size)
    style = f'style="font-size:{size:.0f}px"'
    name = called(each)[:_MOST]
    half = size * _LETTER * max(len(name), 5) / 2
    middle = min(max((left + right) / 2, half), width - half)
    far = f"{each.depth_m:.2g} m"
    return (
        f'<rect class="thing" x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" height="{bottom - top:.0f}" '
        f'fill-opacity="{0.15 + 0.6 * near:.2f}"><title>{escape(_told(each))}</title></rect>'
        f'<text {style} x="{middle:.0f}" y="{y:.0f}" text-anchor="middle">{escape(name)}</text>'
        f'<text class="soft" {style} x="{middle:.0f}" y="{y + size:.0f}" text-anchor="middle">{far}</text>'
    )


def _told(each: SceneObject) -> str:
    return (
        f"{called(each)}: box {', '.join(f'{end:.0f}' for end in each.bbox)}, {each.depth_m:.2f} m away, "
        f"height {each.height:.2f}, width {each.width:.2f}"
    )
