// A button that copies the address, also by the key L; st.button cannot reach the clipboard.
const instances = new WeakMap()

export default function (component) {
  const { parentElement } = component
  const data = JSON.parse(new TextDecoder().decode(component.data))
  const button = parentElement.querySelector("button")
  const field = parentElement.querySelector("input")
  const me = instances.get(parentElement) ?? { timer: null }
  instances.set(parentElement, me)
  me.link = data.link
  button.title = "Copy an address that shows this choice, pins and rules included"

  const copied = () => {
    button.firstElementChild.textContent = "Link copied"
    clearTimeout(me.timer)
    me.timer = setTimeout(() => { button.firstElementChild.textContent = "Copy link" }, 2000)
  }
  const copy = () => {
    // Without https only this machine may write to the clipboard: then the address is shown.
    if (navigator.clipboard) navigator.clipboard.writeText(me.link).then(copied, show)
    else show()
  }
  const show = () => {
    field.hidden = false
    field.value = me.link
    field.select()
  }
  button.onclick = copy
  if (!me.listening) {
    me.listening = event => {
      const typing = event.composedPath()[0]?.matches?.("input:not([type=range]), textarea, select")
      if (event.key.toLowerCase() !== "l" || typing || event.ctrlKey || event.metaKey || event.altKey) return
      me.copy()
    }
    document.addEventListener("keydown", me.listening)
  }
  me.copy = copy
  return () => {
    clearTimeout(me.timer)
    document.removeEventListener("keydown", me.listening)
    instances.delete(parentElement)
  }
}
