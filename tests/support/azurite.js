// Loaded before Azurite. "use strict" and no more than Node.js itself.
//
// Two thirds of the CPU time of its start are the library of a telemetry that we disable.
//
// Stopped under requests, Azurite saves the list of its files ("extents") before that of its blobs, and goes on
// with what is under way in between: a blob may then name a file that the next Azurite does not know, and is
// answered with 500 for ever. And a signal that comes before it has a handler ends it with nothing saved. So
// here it first cuts its connections, after which it can confirm nothing, then saves its blobs, then the rest.
//
// Azurite asks whether an access URL may overwrite a blob before it receives the body. Of two writers at the same
// instant it told both that they had created the blob. Here it asks when it creates it, as Azure does.
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

function createOnce(store) {
  const { createBlob } = store.prototype;

  store.prototype.createBlob = function (context, blob, lease, conditions) {
    const permissions = context.request.getQuery("sp");
    const once = permissions !== undefined && !permissions.includes("w");
    return createBlob.call(this, context, blob, lease, once ? { ...conditions, ifNoneMatch: "*" } : conditions);
  };
}

function saveInOrder(server) {
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

const MENDS = { "./BlobServer": saveInOrder, "./persistence/LokiBlobMetadataStore": createOnce };

Module._load = function (name, ...rest) {
  if (name === "applicationinsights") {
    return {};
  }
  const loaded = load.call(this, name, ...rest);
  const mend = MENDS[name];
  if (mend !== undefined && !loaded.default.mended) {
    loaded.default.mended = true;
    mend(loaded.default);
  }
  return loaded;
};
