// Browsers start no worker from a disk, and the search of the site is one. On pages that are opened
// as files, its script runs in a hidden frame, an idea of the package iframe-worker.

class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.document.open();
    inside.document.write(`<body>
      <script>(${prepare})()</script>
      <script src="${url}"></script>
    </body>`);
    inside.document.close();
    this.loaded = new Promise((resolve) => inside.addEventListener("load", resolve));
    this.receive = (event) => {
      if (event.source === inside) {
        this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      }
    };
    addEventListener("message", this.receive);
  }

  postMessage(data) {
    const inside = this.frame.contentWindow;
    this.loaded.then(() => inside.dispatchEvent(new MessageEvent("message", { data })));
  }

  terminate() {
    removeEventListener("message", this.receive);
    this.frame.remove();
  }
}

// Runs in the frame: gives it the two functions of a worker that a frame lacks.
function prepare() {
  window.postMessage = (data) => parent.postMessage(data, "*");
  window.importScripts = async (...urls) => {
    for (const src of urls) {
      await new Promise((resolve) => {
        const script = Object.assign(document.createElement("script"), { src, onload: resolve });
        document.body.append(script);
      });
    }
  };
}

if (location.protocol === "file:") {
  window.Worker = FrameWorker;
}
