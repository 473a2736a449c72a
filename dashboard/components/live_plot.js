// A Plotly chart that keeps its DOM node: st.plotly_chart rebuilds it on every data change, which
// loses the zoom and flashes (https://github.com/streamlit/streamlit/pull/16052).
const instances = new WeakMap()

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const host = parentElement.querySelector(".live-plot")
  const me = instances.get(parentElement) ?? { drawn: null, observer: null }
  instances.set(parentElement, me)
  me.trigger = setTriggerValue
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
  // The figure is laid out again when its card changes width; a hidden card has none.
  me.observer = new ResizeObserver(() => { if (host.offsetWidth) Plotly.Plots.resize(host) })
  me.observer.observe(host)
}
