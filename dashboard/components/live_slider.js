// A range input that reports while it is dragged (st.slider reports on release only), and hands
// on to the charts what the answer moves in them.
// State "value" follows the thumb; trigger "commit" follows a release or key.
const THROTTLE_MS = 60
// An answer that took longer than this came from a busy server: rest twice as long before the next,
// so that what it works on is where the thumb is, not where it was, and others get their turn.
const BUSY_MS = 80
const RESTS = 2
// Without an answer for this long the next value goes out anyway.
const LOST_MS = 2000
const instances = new WeakMap()

export default function (component) {
  const { parentElement, setStateValue, setTriggerValue } = component
  const data = JSON.parse(new TextDecoder().decode(component.data))
  const input = parentElement.querySelector("input")
  const ticks = parentElement.querySelector(".ticks")
  const me = instances.get(parentElement) ?? { revision: null, timer: null, sent: null, rest: 0 }
  instances.set(parentElement, me)
  me.data = data
  answered(me)

  input.min = data.minimum
  input.max = data.maximum
  input.step = "any"
  input.disabled = data.fixed
  input.setAttribute("aria-label", data.label)
  // Python moves the thumb only by raising the revision, so a late answer never fights a drag.
  if (me.revision !== data.revision) {
    me.revision = data.revision
    input.value = data.value
  }
  describe(input)
  drawTicks(ticks, data, value => { input.value = value; send(true) })
  for (const patch of data.patches) window.cladoPlots?.get(patch.key)?.(patch)

  const send = commit => {
    clearTimeout(me.timer)
    me.timer = null
    me.sent = performance.now()
    describe(input)
    // One message each: a release would otherwise cost two runs of the page.
    if (commit) setTriggerValue("commit", round(Number(input.value)))
    else setStateValue("value", coarse(Number(input.value), me.data))
  }
  me.send = send
  input.oninput = () => {
    const near = me.data.ticks.find(t => Math.abs(t.value - input.value) < snapWidth(me.data))
    if (near) input.value = near.value
    describe(input)
    if (me.timer) return
    const since = performance.now() - (me.sent ?? -LOST_MS)
    const wait = me.waiting ? LOST_MS - since : Math.max(THROTTLE_MS, me.rest) - since
    me.timer = setTimeout(() => { me.waiting = true; me.send(false) }, Math.max(0, wait))
  }
  input.onchange = () => send(true)
  input.onkeydown = event => {
    const value = stepped(event.key, Number(input.value), me.data)
    if (value === null) return
    input.value = value
    event.preventDefault()
    send(true)
  }
  return () => clearTimeout(me.timer)
}

// The answer to the last value of a drag is here: the next may go, at once or after a rest.
function answered(me) {
  if (!me.waiting) return
  me.waiting = false
  const took = performance.now() - me.sent
  me.rest = took > BUSY_MS ? (1 + RESTS) * took : 0
  if (!me.timer) return
  clearTimeout(me.timer)
  const wait = Math.max(THROTTLE_MS, me.rest) - took
  me.timer = setTimeout(() => { me.waiting = true; me.send(false) }, Math.max(0, wait))
}

function stepped(key, value, { minimum, maximum, step }) {
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }
  if (key === "Home") return minimum
  if (key === "End") return maximum
  if (!(key in steps)) return null
  // Whole steps from zero, so that 4 is reached from an odd value such as a front point's.
  const at = value / step + steps[key]
  const whole = steps[key] > 0 ? Math.floor(at + 1e-9) : Math.ceil(at - 1e-9)
  return Math.min(maximum, Math.max(minimum, whole * step))
}

const round = value => Math.round(value * 1e4) / 1e4
const snapWidth = data => (data.maximum - data.minimum) * 0.006

function coarse(value, { ticks, minimum, maximum, drag }) {
  const exact = ticks.find(t => t.value === value)
  return exact ? value : round(Math.min(maximum, Math.max(minimum, Math.round(value / drag) * drag)))
}

function describe(input) {
  const share = (input.value - input.min) / (input.max - input.min || 1)
  input.style.setProperty("--share", `${100 * share}%`)
  input.setAttribute("aria-valuetext", `${Number(input.value).toFixed(2)} average bits per weight`)
}

function drawTicks(host, data, jump) {
  const key = JSON.stringify([data.ticks, data.minimum, data.maximum])
  if (host.dataset.key === key) return
  host.dataset.key = key
  host.replaceChildren(...data.ticks.map(tick => {
    const mark = document.createElement("button")
    mark.type = "button"
    mark.tabIndex = -1
    mark.className = tick.kind
    mark.textContent = tick.label
    mark.title = tick.help
    const share = (tick.value - data.minimum) / (data.maximum - data.minimum || 1)
    mark.style.setProperty("--share", share)
    mark.onclick = () => jump(tick.value)
    return mark
  }))
}
