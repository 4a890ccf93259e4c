// child.py's part in Node: Pyodide behind the same lines of JSON. Run as `node child.mjs FOLDER`.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { loadPyodide } = await import(pathToFileURL(`${process.argv[2]}/pyodide.mjs`));
let printed = "";
const pyodide = await loadPyodide({ stdout: (line) => (printed += line + "\n") });
for await (const line of createInterface({ input: process.stdin })) {
  printed = "";
  let answer;
  try {
    pyodide.runPython(JSON.parse(line));
    answer = { output: printed };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
