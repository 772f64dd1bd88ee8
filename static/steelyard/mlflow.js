// Leads on from an address of MLflow's own pages, which stands behind the # and so is known to the browser alone.
"use strict";

const parts = location.hash.replace(/^#\/?/, "").split(/[?]/)[0].split("/").map(decodeURIComponent);
const after = (word) => (parts.includes(word) ? parts[parts.indexOf(word) + 1] : undefined);
const run = after("runs");
const model = after("models");
const experiment = after("experiments");

if (/^[0-9a-f]{32}$/.test(run ?? "")) {
  location.replace(`/jobs/${run.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`);
} else if (model && !/^m-[0-9a-f]{32}$/.test(model)) {
  const version = after("versions");
  const place = /^[0-9]+$/.test(version ?? "") ? `/versions/${version}` : "";
  location.replace(`/mlflow/models/${encodeURIComponent(model)}${place}`);
} else if (/^[0-9]+$/.test(experiment ?? "")) {
  location.replace(`/mlflow/experiments/${experiment}`);
}
