// Loaded before Azurite: two thirds of the CPU time of its start are the library of a telemetry that we disable.
"use strict";

const Module = require("module");
const load = Module._load;

Module._load = function (name, ...rest) {
  return name === "applicationinsights" ? {} : load.call(this, name, ...rest);
};
