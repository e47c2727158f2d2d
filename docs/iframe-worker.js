// Search in a site that is opened from the disk, where browsers refuse workers: run the worker's script in an iframe.
// The theme's plugin `offline` loads a script of this name from another host unless the site has one.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.srcdoc = `<script>postMessage = message => parent.postMessage(message, "*")</script><script src="${url}"></script>`
      this.loaded = new Promise(resolve => frame.addEventListener("load", () => resolve(frame.contentWindow)))
      addEventListener("message", event => {
        if (event.source === frame.contentWindow) this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
      document.body.append(frame)
    }
    postMessage(data) {
      this.loaded.then(frame => frame.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
