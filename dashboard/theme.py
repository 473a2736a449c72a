"""Colours, the Plotly template and number formats that every chart and page shares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["light", "dark"]

MEGABYTE = 10**6
"""MB in this dashboard means 10⁶ bytes."""

FONT = '"Source Sans", "Source Sans Pro", sans-serif'


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one mode; they repeat ``.streamlit/config.toml``, which charts cannot read.

    Args:
        text: Text on charts, at least 4.5:1 on the background.
        muted: Axis labels and secondary lines, at least 4.5:1.
        background: The page's.
        grid: Grid lines, faint on purpose.
        accent: "You are here", and nothing else.
        front: The front of the measured matrix.
        baseline: Baselines that ignore cross-layer terms.
        uniform: Uniform allocations.
        third: A further baseline, such as HAWQ.
        fourth: One more, such as MPQCO.
        bits: Bit-width → colour, monotone in lightness so that grey prints keep the order.
        diverging: Colour scale for signed values; the middle is the background's neighbour.
    """

    text: str
    muted: str
    background: str
    grid: str
    accent: str
    front: str
    baseline: str
    uniform: str
    third: str
    fourth: str
    bits: dict[int, str]
    diverging: tuple[tuple[float, str], ...]


def _scale(colours: str) -> tuple[tuple[float, str], ...]:
    steps = colours.split()
    return tuple((i / (len(steps) - 1), colour) for i, colour in enumerate(steps))


# Found by search: contrast ≥ 3:1 on the background and far apart under colour-vision deficiency.
_LIGHT_5 = {2: "#322A41", 3: "#7D2B32", 4: "#5B5A91", 6: "#997235", 8: "#8C8FC5"}
_DARK_5 = {2: "#C1EFDD", 3: "#F8B772", 4: "#4DB4AC", 6: "#D9643B", 8: "#5C5EBE"}
_LIGHT_3 = {2: "#55191D", 4: "#3C6294", 8: "#B68E2F"}
_DARK_3 = {2: "#B4F3F7", 4: "#EA8E40", 8: "#6C6588"}

_LIGHT = Palette(
    text="#100F0E",
    muted="#5F5D58",
    background="#FFFFFF",
    grid="#ECEBE8",
    accent="#C2255C",
    front="#2B4C79",
    baseline="#8A6D1F",
    uniform="#5F5D58",
    third="#3E7D5A",
    fourth="#7A4E9C",
    bits=_LIGHT_3,
    diverging=_scale("#1B4F86 #3C78B4 #8DB6DA #CFE0EE #FAFAF8 #F6D9CA #E9A886 #C9603F #94231F"),
)
_DARK = Palette(
    text="#EDEBE6",
    muted="#A5A29B",
    background="#171614",
    grid="#2C2B27",
    accent="#F0719F",
    front="#8EBAE0",
    baseline="#D9A95B",
    uniform="#A5A29B",
    third="#7CC4A0",
    fourth="#C3A1E0",
    bits=_DARK_3,
    diverging=_scale("#A9D3F5 #6AAAE2 #3D7DB8 #2B4A66 #1E1D1B #5B3A28 #A9633A #E39059 #FAC9A3"),
)


def palette(mode: Mode, /) -> Palette:
    """The colours of one mode."""
    return _DARK if mode == "dark" else _LIGHT


def bit_colours(bit_widths: tuple[int, ...], mode: Mode, /) -> dict[int, str]:
    """Colour per bit-width of a menu; known menus get the searched palettes, others a ramp."""
    for known in (palette(mode).bits, _DARK_5 if mode == "dark" else _LIGHT_5):
        if set(bit_widths) <= set(known):
            return {b: known[b] for b in bit_widths}
    wide = _DARK_5 if mode == "dark" else _LIGHT_5
    extra = {5: "#4F7F57", 7: "#B07AA1"}
    return {b: wide.get(b, extra.get(b, palette(mode).muted)) for b in bit_widths}


@lru_cache(maxsize=2)
def template(mode: Mode, /) -> dict[str, Any]:
    """Plotly template: small, explicit, and independent of Streamlit's own.

    Importing Streamlit replaces Plotly's default template by placeholder colours, so figures
    name theirs.
    """
    colours = palette(mode)
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": colours.text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": _axis(colours),
            "yaxis": _axis(colours),
            "hoverlabel": {
                "bgcolor": colours.background,
                "bordercolor": colours.muted,
                "font": {"family": FONT, "size": 13, "color": colours.text},
                "align": "left",
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": 12, "color": colours.text},
                "bgcolor": "rgba(0,0,0,0)",
                "itemsizing": "constant",
            },
            "margin": {"l": 56, "r": 12, "t": 34, "b": 44},
            "dragmode": "zoom",
            "hovermode": "closest",
            "colorway": [colours.front, colours.baseline, colours.uniform],
        }
    }


def _axis(colours: Palette) -> dict[str, Any]:
    return {
        "gridcolor": colours.grid,
        "linecolor": colours.grid,
        "zeroline": False,
        "ticks": "",
        "automargin": False,
        "title": {"font": {"size": 12, "color": colours.muted}, "standoff": 6},
        "tickfont": {"size": 12, "color": colours.muted},
    }


def button_kind(mode: Mode, /) -> Literal["primary", "secondary"]:
    """Of the button that matters most: on the dark accent white text would be too faint."""
    return "primary" if mode == "light" else "secondary"


def number(value: float, /, digits: int = 3) -> str:
    """Three significant digits, no exponent between 10⁻⁴ and 10⁶; "0" for zero."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -4 <= exponent < 6:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:,.{max(digits - 1 - exponent, 0)}f}".replace("-", "−").replace(",", "\u202f")


def signed(value: float, /) -> str:
    """As ``number``, with the sign always written: "+0.031"."""
    return number(value) if value < 0 else f"+{number(value)}"


def plus_minus(error: float | None, /) -> str:
    """A standard error behind its value, " ± 0.012"; "" where it is not known."""
    return "" if error is None or math.isnan(error) else f" ± {number(error, 2)}"


def megabytes(size_bytes: float, /) -> str:
    """A size such as "0.142 MB", where MB is 10⁶ bytes."""
    return f"{number(size_bytes / MEGABYTE)} MB"


def percent(fraction: float, /) -> str:
    """A fraction as "3.2 %"; below 0.1 % "< 0.1 %"."""
    if 0 < abs(fraction) < 0.001:
        return "< 0.1 %"
    return f"{number(100 * fraction, 2 if abs(fraction) < 1 else 3)} %"


def accuracy(fraction: float, /) -> str:
    """A share classified right as "87.1 %"."""
    return f"{100 * fraction:.1f} %"


def interval(ends: tuple[float, float], /) -> str:
    """Two fractions as "95.9 to 98.0 %"."""
    low, high = (f"{100 * end:.1f}" for end in ends)
    return f"{low} to {high} %"


def duration(seconds: float, /) -> str:
    """A time in words: "42 s", "3 min", "2.1 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
