// Anthropic's TypeScript SDK, told what to do line by line: see ../protocol.py. Argument: the folder with node_modules.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const { default: Anthropic } = require("@anthropic-ai/sdk");
const { jsonSchemaOutputFormat } = require("@anthropic-ai/sdk/helpers/json-schema");

// The client as a user makes it: nothing but the URL and the key, so the SDK's own retries are in force.
const client = ({ base, key }) => new Anthropic({ baseURL: base, apiKey: key });

async function collected(iterable) {
  const found = [];
  for await (const item of iterable) found.push(item);
  return found;
}

const verbs = {
  async create(told) {
    const { data, response, request_id } = await client(told).messages.create(told.body).withResponse();
    return { message: data, headers: Object.fromEntries(response.headers), request_id };
  },
  async events(told) {
    return { events: await collected(await client(told).messages.create({ ...told.body, stream: true })) };
  },
  async stream(told) {
    const stream = client(told).messages.stream(told.body);
    const deltas = [];
    stream.on("streamEvent", (event) => event.type === "content_block_delta" && deltas.push(event.delta));
    return { message: await stream.finalMessage(), deltas };
  },
  async tools(told) {
    const sdk = client(told);
    const first = await sdk.messages.create(told.body);
    const results = first.content
      .filter((block) => block.type === "tool_use")
      .map((block) => ({ type: "tool_result", tool_use_id: block.id, content: `result of ${block.name}` }));
    const turns = [
      { role: "assistant", content: first.content },
      { role: "user", content: results },
    ];
    return { first, second: await sdk.messages.create({ ...told.body, messages: [...told.body.messages, ...turns] }) };
  },
  async parse(told) {
    const format = jsonSchemaOutputFormat(told.schema);
    const message = await client(told).messages.parse({ ...told.body, output_config: { format } });
    return { parsed: message.parsed_output };
  },
  count_tokens: (told) => client(told).messages.countTokens(told.body),
  async models_list(told) {
    return { models: (await client(told).models.list()).data };
  },
  models_retrieve: (told) => client(told).models.retrieve(told.id),
  async models_pages(told) {
    const page = await client(told).models.list({ limit: told.limit });
    const pages = (await collected(page.iterPages())).map((found) => found.data.map((model) => model.id));
    const all = await collected(client(told).models.list({ limit: told.limit }));
    return { pages, all: all.map((model) => model.id) };
  },
  batch_create: (told) => client(told).messages.batches.create({ requests: told.requests }),
  batch_retrieve: (told) => client(told).messages.batches.retrieve(told.id),
  async batch_list(told) {
    const page = await client(told).messages.batches.list({ limit: told.limit });
    const all = await collected(client(told).messages.batches.list({ limit: told.limit }));
    return { batches: page.data, all: all.map((batch) => batch.id) };
  },
  async batch_results(told) {
    return { results: await collected(await client(told).messages.batches.results(told.id)) };
  },
  batch_cancel: (told) => client(told).messages.batches.cancel(told.id),
};

function raised(error) {
  const bases = [];
  for (let kind = error.constructor; kind && kind !== Function.prototype; kind = Object.getPrototypeOf(kind)) {
    bases.push(kind === Error ? "Error" : `Anthropic.${kind.name}`);
  }
  const inner = error.error?.error ?? {};
  return {
    class: bases[0],
    bases,
    status: error.status ?? null,
    type: inner.type ?? null,
    text: inner.message ?? null,
    details: inner.details ?? null,
    request_id: error.requestID ?? null,
    message: String(error.message).slice(0, 2000),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  let answer;
  try {
    answer = { ok: true, detail: await verbs[told.verb](told) };
  } catch (error) {
    console.error(error);
    answer = { ok: false, detail: raised(error) };
  }
  process.stdout.write(JSON.stringify({ name: told.verb, ...answer }) + "\n");
}
