// A range input that reports while it is dragged (st.slider reports on release only).
// State "value" follows the thumb, at most every 60 ms; trigger "commit" follows a release or key.
const THROTTLE_MS = 60
const instances = new WeakMap()

export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component
  const input = parentElement.querySelector("input")
  const ticks = parentElement.querySelector(".ticks")
  const me = instances.get(parentElement) ?? { revision: null, timer: null, sent: null }
  instances.set(parentElement, me)
  me.data = data

  input.min = data.min
  input.max = data.max
  input.step = "any"
  input.disabled = data.disabled
  input.setAttribute("aria-label", data.label)
  // Python moves the thumb only by raising the revision, so a late answer never fights a drag.
  if (me.revision !== data.revision) {
    me.revision = data.revision
    input.value = data.value
  }
  describe(input)
  drawTicks(ticks, data, value => { input.value = value; send(true) })

  const send = commit => {
    clearTimeout(me.timer)
    me.timer = null
    me.sent = performance.now()
    const value = round(Number(input.value))
    describe(input)
    // One message each: a release would otherwise cost two runs of the page.
    if (commit) setTriggerValue("commit", value)
    else setStateValue("value", value)
  }
  input.oninput = () => {
    const near = me.data.ticks.find(t => Math.abs(t.value - input.value) < snapWidth(me.data))
    if (near) input.value = near.value
    describe(input)
    if (me.timer) return
    const wait = Math.max(0, THROTTLE_MS - (performance.now() - (me.sent ?? 0)))
    me.timer = setTimeout(() => send(false), wait)
  }
  input.onchange = () => send(true)
  input.onkeydown = event => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }
    const { min, max, step } = me.data
    if (event.key === "Home") input.value = min
    else if (event.key === "End") input.value = max
    else if (event.key in steps) {
      // Whole steps from zero, so that 4 is reached from an odd value such as a front point's.
      const at = Number(input.value) / step + steps[event.key]
      const whole = steps[event.key] > 0 ? Math.floor(at + 1e-9) : Math.ceil(at - 1e-9)
      input.value = Math.min(max, Math.max(min, whole * step))
    } else return
    event.preventDefault()
    send(true)
  }
  return () => clearTimeout(me.timer)
}

const round = value => Math.round(value * 1e4) / 1e4
const snapWidth = data => (data.max - data.min) * 0.006

function describe(input) {
  const share = (input.value - input.min) / (input.max - input.min || 1)
  input.style.setProperty("--share", `${100 * share}%`)
  input.setAttribute("aria-valuetext", `${Number(input.value).toFixed(2)} average bits per weight`)
}

function drawTicks(host, data, jump) {
  const key = JSON.stringify([data.ticks, data.min, data.max])
  if (host.dataset.key === key) return
  host.dataset.key = key
  host.replaceChildren(...data.ticks.map(tick => {
    const mark = document.createElement("button")
    mark.type = "button"
    mark.tabIndex = -1
    mark.className = tick.kind
    mark.textContent = tick.label
    mark.title = tick.help
    const share = (tick.value - data.min) / (data.max - data.min || 1)
    mark.style.setProperty("--share", share)
    mark.onclick = () => jump(tick.value)
    return mark
  }))
}
