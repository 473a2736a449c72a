// A Plotly chart that keeps its DOM node: st.plotly_chart rebuilds it on every data change, which
// loses the zoom and flashes (https://github.com/streamlit/streamlit/pull/16052).
const instances = new WeakMap()
const linked = window.cladoLinked ??= new Set()
// By key: what replaces traces of a chart while the budget is dragged.
const plots = window.cladoPlots ??= new Map()

export default function (component) {
  const { parentElement, setStateValue, setTriggerValue } = component
  const host = parentElement.querySelector(".live-plot")
  const me = instances.get(parentElement) ?? { drawn: null, observer: null }
  instances.set(parentElement, me)
  me.trigger = setTriggerValue
  me.state = setStateValue
  const text = new TextDecoder().decode(component.data)
  if (me.drawn !== text) {
    me.drawn = text
    const data = JSON.parse(text)
    me.figure = data.figure
    me.config = data.config
    host.cladoShapes = data.figure.layout.shapes ?? []
    host.style.height = `${data.height}px`
    // "img" would hide the mode bar's buttons from those who use a keyboard.
    host.setAttribute("role", "figure")
    host.setAttribute("aria-label", data.alt)
    me.key = data.key
    me.patch = patch => replace(host, me, patch)
    plots.set(data.key, me.patch)
    draw(host, me, data.script)
  }
  return () => {
    me.observer?.disconnect()
    clearTimeout(me.timer)
    linked.delete(host)
    if (plots.get(me.key) === me.patch) plots.delete(me.key)
    if (window.Plotly) window.Plotly.purge(host)
    instances.delete(parentElement)
  }
}

function replace(host, me, patch) {
  for (const trace of patch.traces) {
    const at = me.figure.data.findIndex(t => t.name === trace.name)
    if (at >= 0) me.figure.data[at] = trace
  }
  host.setAttribute("aria-label", patch.alt)
  if (host.classList.contains("js-plotly-plot")) draw(host, me)
}

function plotly(script) {
  window.cladoPlotly ??= painted().then(() => new Promise((resolve, reject) => {
    const tag = document.createElement("script")
    tag.src = new URL(script, document.baseURI)
    tag.onload = () => resolve(window.Plotly)
    tag.onerror = () => reject(new Error("The chart library could not be loaded; reload the page."))
    document.head.append(tag)
  }))
  return window.cladoPlotly
}

// Running Plotly's script takes a while, in which nothing else can be drawn: the page comes first,
// until nothing has been added to it for a moment.
const QUIET_MS = 80, LATEST_MS = 600
const painted = () => new Promise(done => {
  const latest = performance.now() + LATEST_MS
  const finish = () => { observer.disconnect(); requestAnimationFrame(() => setTimeout(done)) }
  const observer = new MutationObserver(() => {
    clearTimeout(timer)
    timer = setTimeout(finish, Math.min(QUIET_MS, latest - performance.now()))
  })
  let timer = setTimeout(finish, QUIET_MS)
  observer.observe(document.body, { childList: true, subtree: true })
})

async function draw(host, me, script) {
  try {
    const Plotly = await plotly(script)
    const first = !host.classList.contains("js-plotly-plot")
    await Plotly.react(host, [...me.figure.data], me.figure.layout, me.config)
    if (first) listen(Plotly, host, me)
  } catch (error) {
    host.textContent = error.message
  }
}

function listen(Plotly, host, me) {
  host.on("plotly_click", event => {
    const point = event.points[0]
    me.trigger("clicked", {
      trace: point.data.name ?? "", index: point.pointNumber ?? null,
      x: point.x, y: point.y, custom: point.customdata ?? null,
    })
  })
  linked.add(host)
  host.on("plotly_hover", event => light(Plotly, host, event.points[0]))
  host.on("plotly_unhover", () => light(Plotly, host, null))
  // The ranges brushed on parallel coordinates, once the brush rests.
  host.on("plotly_restyle", () => {
    const axes = host.data?.[0]?.dimensions
    if (!axes) return
    clearTimeout(me.timer)
    me.timer = setTimeout(() => me.state("brushed", axes.map(a => a.constraintrange ?? null)), 250)
  })
  // The figure is laid out again when its card changes width; a hidden card has none.
  me.observer = new ResizeObserver(() => { if (host.offsetWidth) Plotly.Plots.resize(host) })
  me.observer.observe(host)
}

// A layer under the pointer colours the front's points by its bits there, and its row and column
// of the matrix; a cell of the matrix marks its two layers; a point of the front shows its bits on
// the bars.
function light(Plotly, from, point) {
  for (const other of linked) {
    const kinds = [from, other].map(h => h.layout?.meta?.kind).join()
    if (kinds === "bits,heat" || kinds === "alone,heat") cross(Plotly, other, point?.customdata)
    if (kinds === "heat,alone" || kinds === "heat,bits") {
      const layers = from.layout.meta.layers
      mark(Plotly, other, point ? [layers[point.y], layers[point.x]] : [])
    }
    if (kinds === "bits,front") byLayer(Plotly, other, point?.customdata)
    if (kinds === "front,bits") {
      const bits = point?.data.name === "Front" ? from.layout.meta.bits[point.pointNumber] : null
      const ghost = other.data.findIndex(t => t.name === "Under the pointer")
      if (ghost >= 0) Plotly.restyle(other, { y: [bits ? [...bits].map(Number) : []] }, [ghost])
    }
  }
}

function cross(Plotly, host, layer) {
  const { layers, shade } = host.layout.meta
  const base = host.cladoShapes
  const rows = layers.flatMap((one, row) => one === layer ? [row] : [])
  if (!rows.length) { Plotly.relayout(host, { shapes: base }); return }
  const near = rows[0] - 0.5, far = rows.at(-1) + 0.5, line = { width: 1.5, color: shade }
  const ends = [-0.5, layers.length - 0.5]
  Plotly.relayout(host, { shapes: [...base,
    { type: "rect", line, x0: ends[0], x1: ends[1], y0: near, y1: far },
    { type: "rect", line, x0: near, x1: far, y0: ends[0], y1: ends[1] }] })
}

function mark(Plotly, host, layers) {
  const ghost = host.data.findIndex(t => t.name === "Under the pointer")
  if (ghost < 0) return
  const { height } = host.layout.meta
  const bars = host.data[ghost].type === "bar"
  const y = bars ? layers.map(() => height) : host.data[ghost].x.map((_, i) => layers.includes(i) ? -0.3 : null)
  Plotly.restyle(host, bars ? { x: [layers], y: [y] } : { y: [y] }, [ghost])
}

function byLayer(Plotly, host, layer) {
  const { bits, shades } = host.layout.meta
  const front = host.data.findIndex(t => t.name === "Front")
  if (front < 0 || !bits?.length) return
  const plain = host.data[front].line.color
  const shown = Number.isInteger(layer)
  const colour = shown ? [bits.map(b => shades[b[layer]])] : plain
  Plotly.restyle(host, { "marker.color": colour, "marker.size": shown ? 11 : 7 }, [front])
}
