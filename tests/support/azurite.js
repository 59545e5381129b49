// Loaded before Azurite. "use strict" and no more than Node.js itself.
//
// Two thirds of the CPU time of its start are the library of a telemetry that we disable.
//
// Stopped under requests, Azurite saves the list of its files ("extents") before that of its blobs, and goes on
// with what is under way in between: a blob may then name a file that the next Azurite does not know, and is
// answered with 500 for ever. And a signal that comes before it has a handler ends it with nothing saved. So
// here it first cuts its connections, after which it can confirm nothing, then saves its blobs, then the rest.
"use strict";

const Module = require("module");
const load = Module._load;

let early = false;
process.once("SIGTERM", () => {
  early = process.listenerCount("SIGTERM") === 0;
});
process.on("newListener", (event) => {
  if (event === "SIGTERM" && early) {
    setImmediate(() => process.emit("SIGTERM"));
  }
});

function mend(server) {
  const { close, afterClose } = server.prototype;

  server.prototype.close = function () {
    this.httpServer.removeAllListeners("request");
    this.httpServer.closeAllConnections();
    return close.call(this);
  };

  server.prototype.afterClose = async function () {
    await this.metadataStore.close();
    this.metadataStore.close = async () => {};
    await afterClose.call(this);
  };
}

Module._load = function (name, ...rest) {
  if (name === "applicationinsights") {
    return {};
  }
  const loaded = load.call(this, name, ...rest);
  if (name === "./BlobServer" && !loaded.default.mended) {
    mend(loaded.default);
    loaded.default.mended = true;
  }
  return loaded;
};
