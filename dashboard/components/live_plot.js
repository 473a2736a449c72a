// A Plotly chart that keeps its DOM node: st.plotly_chart rebuilds it on every data change, which
// loses the zoom and flashes (https://github.com/streamlit/streamlit/pull/16052).
const instances = new WeakMap()
const linked = window.cladoLinked ??= new Set()

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component
  const host = parentElement.querySelector(".live-plot")
  const me = instances.get(parentElement) ?? { drawn: null, observer: null }
  instances.set(parentElement, me)
  me.trigger = setTriggerValue
  me.state = setStateValue
  host.style.height = `${data.height}px`
  // "img" would hide the mode bar's buttons from those who use a keyboard.
  host.setAttribute("role", "figure")
  host.setAttribute("aria-label", data.alt)
  if (me.drawn !== data.figure) {
    me.drawn = data.figure
    plotly(data.script).then(Plotly => draw(Plotly, host, me, data))
      .catch(error => { host.textContent = error.message })
  }
  return () => {
    me.observer?.disconnect()
    clearTimeout(me.timer)
    linked.delete(host)
    if (window.Plotly) window.Plotly.purge(host)
    instances.delete(parentElement)
  }
}

function plotly(script) {
  window.cladoPlotly ??= new Promise((resolve, reject) => {
    const tag = document.createElement("script")
    tag.src = new URL(script, document.baseURI)
    tag.onload = () => resolve(window.Plotly)
    tag.onerror = () => reject(new Error("The chart library could not be loaded; reload the page."))
    document.head.append(tag)
  })
  return window.cladoPlotly
}

async function draw(Plotly, host, me, data) {
  const figure = JSON.parse(data.figure)
  const first = !host.classList.contains("js-plotly-plot")
  await Plotly.react(host, figure.data, figure.layout, data.config)
  if (!first) return
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

// A layer under the pointer colours the front's points by its bits there; a point of the front
// shows its bits on the bars.
function light(Plotly, from, point) {
  for (const other of linked) {
    const kinds = [from, other].map(h => h.layout?.meta?.kind).join()
    if (kinds === "bits,front") byLayer(Plotly, other, point?.customdata)
    if (kinds === "front,bits") {
      const bits = point?.data.name === "Front" ? from.layout.meta.bits[point.pointNumber] : null
      const ghost = other.data.findIndex(t => t.name === "Under the pointer")
      if (ghost >= 0) Plotly.restyle(other, { y: [bits ? [...bits].map(Number) : []] }, [ghost])
    }
  }
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
