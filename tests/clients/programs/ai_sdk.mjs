// Vercel's AI SDK with OpenAI's code interpreter as a tool of the provider.

import assert from "node:assert/strict";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";
import { PLOT, WRITE, check, code, main } from "./checks.mjs";

const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const model = openai.responses("sanderling");
const tools = { code_interpreter: openai.tools.codeInterpreter({}) };

check("generateText runs code and shows what it printed", async () => {
  const result = await generateText({ model, prompt: code("print(6 * 7)"), tools });
  const [call] = result.toolCalls;
  const [answer] = result.toolResults;

  assert.match(result.text, /42/);
  assert.equal(call.input.code.trim(), "print(6 * 7)");
  assert.deepEqual(answer.output.outputs, [{ type: "logs", logs: "42\n" }]);
  assert.ok(result.usage.inputTokens > 0);
});

check("a picture is an output", async () => {
  const result = await generateText({ model, prompt: code(PLOT), tools });
  const [answer] = result.toolResults;

  assert.equal(answer.output.outputs[0].type, "image");
  assert.match(answer.output.outputs[0].url, /^data:image\/png;base64,/);
});

check("a file is a source", async () => {
  const result = await generateText({ model, prompt: code(WRITE), tools });

  assert.deepEqual(result.sources.map((source) => source.filename), ["total.csv"]);
});

check("streamText adds up", async () => {
  const result = streamText({ model, prompt: code("print(6 * 7)"), tools });
  const kinds = new Set();
  let spoken = "";
  for await (const part of result.fullStream) {
    assert.notEqual(part.type, "error", JSON.stringify(part));
    kinds.add(part.type);
    if (part.type === "text-delta") spoken += part.text;
  }

  assert.match(spoken, /42/);
  for (const kind of ["tool-call", "tool-result", "text-start", "text-end", "finish"]) {
    assert.ok(kinds.has(kind), kind);
  }
});

check("a conversation goes on from its messages", async () => {
  const first = await generateText({ model, prompt: code("x = 41"), tools });
  const messages = [
    { role: "user", content: code("x = 41") },
    ...first.response.messages,
    { role: "user", content: code("print(40 + 2)") },
  ];
  const second = await generateText({ model, messages, tools });

  assert.match(second.text, /42/);
});

await main();
