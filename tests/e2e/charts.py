"""Where things stand in the charts of Explore, and how a click reaches them."""

from __future__ import annotations

from playwright.sync_api import Page

FRONT_POINT = """index => {
  const g = document.querySelectorAll('.js-plotly-plot')[0]
  const t = g.data.findIndex(trace => trace.name === 'Front')
  const box = g.getBoundingClientRect(), l = g._fullLayout, p = g.calcdata[t][index]
  return [box.left + l._size.l + l.xaxis.c2p(p.x), box.top + l._size.t + l.yaxis.c2p(p.y), p.x]
}"""
"""[x, y, size] of a point of the front."""

BAR = """layer => {
  const g = document.querySelectorAll('.js-plotly-plot')[1]
  const box = g.getBoundingClientRect(), l = g._fullLayout
  for (const bars of g.calcdata) {
    if (bars[0].trace.type !== 'bar' || !bars[0].trace.customdata) continue
    const bar = bars.find(one => Math.round(one.p) === layer)
    if (!bar) continue
    return [box.left + l._size.l + l.xaxis.c2p(bar.p), box.top + l._size.t + l.yaxis.c2p(1)]
  }
}"""
"""[x, y] inside the bar of a layer."""


def click(page: Page, x: float, y: float) -> None:
    """Plotly needs a hover first, and some time between down and up."""
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    page.mouse.down()
    page.wait_for_timeout(60)
    page.mouse.up()
