// openai-node: responses, plain and as a stream, containers and files, as its users write it.

import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";
import { check, code, main } from "./checks.mjs";

const client = new OpenAI({ maxRetries: 0 });
const AUTO = { type: "code_interpreter", container: { type: "auto" } };
const INCLUDE = ["code_interpreter_call.outputs"];

check("a response runs code", async () => {
  const response = await client.responses.create({
    model: "sanderling",
    input: code("print(6 * 7)"),
    tools: [AUTO],
    include: INCLUDE,
  });
  const [call] = response.output.filter((item) => item.type === "code_interpreter_call");

  assert.equal(call.code.trim(), "print(6 * 7)");
  assert.deepEqual(call.outputs, [{ type: "logs", logs: "42\n" }]);
  assert.match(response.output_text, /42/);
});

check("a stream tells code, text and the whole response", async () => {
  const stream = client.responses.stream({
    model: "sanderling",
    input: code("print(6 * 7)"),
    tools: [AUTO],
  });
  let written = "";
  let spoken = "";
  for await (const event of stream) {
    if (event.type === "response.code_interpreter_call_code.delta") written += event.delta;
    if (event.type === "response.output_text.delta") spoken += event.delta;
  }
  const response = await stream.finalResponse();

  assert.equal(written.trim(), "print(6 * 7)");
  assert.equal(spoken, response.output_text);
});

check("files go in and come out", async () => {
  const file = await client.files.create({
    file: await toFile(Buffer.from("a,b\n1,2\n"), "sales.csv"),
    purpose: "user_data",
  });
  const container = await client.containers.create({ name: "node", file_ids: [file.id] });
  const response = await client.responses.create({
    model: "sanderling",
    input: code("t = open('/mnt/data/sales.csv').read()\nopen('/mnt/data/out.txt', 'w').write(t * 2)"),
    tools: [{ type: "code_interpreter", container: container.id }],
  });
  const message = response.output.find((item) => item.type === "message");
  const [citation] = message.content[0].annotations;
  assert.equal(citation.type, "container_file_citation");
  assert.equal(citation.filename, "out.txt");

  const content = await client.containers.files.content.retrieve(citation.file_id, {
    container_id: container.id,
  });
  assert.equal(await content.text(), "a,b\n1,2\na,b\n1,2\n");

  const names = [];
  for await (const each of client.containers.files.list(container.id)) names.push(each.path);
  assert.deepEqual(names.sort(), ["/mnt/data/out.txt", "/mnt/data/sales.csv"]);
  await client.containers.delete(container.id);
  await client.files.delete(file.id);
});

check("a conversation keeps its container", async () => {
  const conversation = await client.conversations.create({});
  const ask = (input) =>
    client.responses.create({
      model: "sanderling",
      conversation: conversation.id,
      input,
      tools: [AUTO],
    });
  await ask(code("x = 41"));
  const second = await ask(code("print(x + 1)"));

  assert.match(second.output_text, /42/);
  await client.conversations.delete(conversation.id);
});

check("a chat runs code and goes on from its message", async () => {
  const messages = [{ role: "user", content: code("x = 41") }];
  const first = await client.chat.completions.create({ model: "m", messages, tools: [AUTO] });
  messages.push(first.choices[0].message, { role: "user", content: code("print(x + 1)") });
  const stream = await client.chat.completions.create({
    model: "m",
    messages,
    tools: [AUTO],
    stream: true,
    stream_options: { include_usage: true },
  });
  let spoken = "";
  let last;
  for await (const chunk of stream) {
    spoken += chunk.choices[0]?.delta.content ?? "";
    last = chunk;
  }

  assert.match(spoken, /42/);
  assert.ok(last.usage.total_tokens > 0);
  assert.equal(first.choices[0].message.code_interpreter.calls[0].code.trim(), "x = 41");
});

check("a wrong request raises its class", async () => {
  await assert.rejects(client.responses.retrieve("resp_nope"), OpenAI.NotFoundError);
  await assert.rejects(
    client.responses.create({ model: "sanderling", input: "x", max_output_tokens: 1 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "max_output_tokens",
  );
});

await main();
