// A conversation through the TypeScript client: reads what to do as JSON from stdin, writes what came of it.
// Its one argument is the folder in which the client's package is installed.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const installed = createRequire(`${process.argv[2]}/`);
const load = (name) => import(pathToFileURL(installed.resolve(name)).href);
const { Client } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const { server, mode, calls } = JSON.parse(await text(process.stdin));
const client = new Client({ name: "session", version: "1" }, { versionNegotiation: { mode } });
await client.connect(new StdioClientTransport(server));
const { tools } = await client.listTools();
const answers = [];
const progress = [];
for (const { name, arguments: given } of calls) {
  // "$id" stands for the id of the task that the first call made.
  const id = answers[0]?.structuredContent?.id;
  const filled = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, value === "$id" ? id : value]));
  const onprogress = (notice) => progress.push(notice);
  answers.push(await client.callTool({ name, arguments: filled }, { onprogress }));
}
const version = client.getNegotiatedProtocolVersion();
await client.close();
process.stdout.write(JSON.stringify({ version, tools: tools.map((tool) => tool.name), answers, progress }));
