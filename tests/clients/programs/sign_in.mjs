// The TypeScript SDK, of either major release: signs in, makes a video, and lets its access token go stale.
// usage: node sign_in.mjs FOLDER MCP_URL; prints the authorization URL, and reads the client's callback URL from stdin.
import { createRequire } from "node:module";
import { createInterface } from "node:readline/promises";

const [folder, mcpUrl] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const REDIRECT = "http://127.0.0.1:53111/callback";

function load() {
  try {
    return require("@modelcontextprotocol/client");
  } catch {
    const name = "@modelcontextprotocol/sdk/client";
    return { ...require(`${name}/index.js`), ...require(`${name}/streamableHttp.js`), isOld: true };
  }
}

const sdk = load();
const kept = { refreshes: 0 };
const authProvider = {
  redirectUrl: REDIRECT,
  clientMetadata: { client_name: "TypeScript SDK", redirect_uris: [REDIRECT], token_endpoint_auth_method: "none" },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.refreshes += kept.tokens === undefined ? 0 : 1; kept.tokens = tokens; },
  redirectToAuthorization: (url) => { console.log(JSON.stringify({ url: String(url) })); },
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (state) => { kept.discovery = state; },
  discoveryState: () => kept.discovery,
};

const transport = () => new sdk.StreamableHTTPClientTransport(new URL(mcpUrl), { authProvider });
const client = () => new sdk.Client({ name: "typescript", version: "1" });

const first = transport();
await client().connect(first).then(() => { throw new Error("connected without signing in"); }, () => undefined);
const lines = createInterface({ input: process.stdin });
const callback = new URL((await lines[Symbol.asyncIterator]().next()).value);
lines.close();
await first.finishAuth(sdk.isOld ? callback.searchParams.get("code") : callback.searchParams);

const signedIn = client();
await signedIn.connect(transport());
const started = await signedIn.callTool({ name: "luma_generate_video", arguments: { prompt: "A fox" } });
kept.tokens = { ...kept.tokens, access_token: "lat_stale" };
const listed = await signedIn.callTool({ name: "luma_list_tasks", arguments: {} });
console.log(JSON.stringify({
  task_id: started.structuredContent.result.task_id,
  listed: listed.structuredContent.result.tasks.map((task) => task.task_id),
  refreshes: kept.refreshes,
}));
await signedIn.close();
process.exit(0);
