// Drives a Chromium over its debugging protocol: opens a page, presses a button, and prints where that has led.
// usage: node sign_in_chromium.mjs CHROMIUM FOLDER AUTHORIZATION_URL BUTTON PORT
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { createInterface } from "node:readline/promises";

const [chromium, folder, authorizationUrl, button, port] = process.argv.slice(2);

const returned = new Promise((resolve) => {
  createServer((request, response) => {
    response.end("Back in the app.");
    if (request.url.startsWith("/callback")) resolve(request.url);
  }).listen(Number(port), "127.0.0.1");
});

const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${folder}/profile`];
const browser = spawn(chromium, [...flags, "--remote-debugging-port=0", "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });

async function debuggerPort() {
  for await (const line of createInterface({ input: browser.stderr })) {
    const found = /DevTools listening on ws:\/\/[^:]+:(\d+)\//.exec(line);
    if (found) return found[1];
  }
  throw new Error("the browser has ended");
}

async function pageSocket() {
  const targets = await (await fetch(`http://127.0.0.1:${await debuggerPort()}/json/list`)).json();
  const socket = new WebSocket(targets.find((target) => target.type === "page").webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  return socket;
}

const socket = await pageSocket();
const waiting = new Map();
const loaded = [];
const violations = [];
socket.addEventListener("message", ({ data }) => {
  const message = JSON.parse(data);
  if (message.method === "Page.loadEventFired") loaded.shift()?.();
  if (message.method === "Log.entryAdded") violations.push(message.params.entry.text);
  waiting.get(message.id)?.(message.result);
});
let number = 0;
const send = (method, params = {}) => new Promise((resolve) => {
  waiting.set(++number, resolve);
  socket.send(JSON.stringify({ id: number, method, params }));
});
const evaluate = async (expression) =>
  (await send("Runtime.evaluate", { expression, returnByValue: true })).result.value;

await send("Page.enable");
await send("Log.enable");
const shown = new Promise((resolve) => loaded.push(resolve));
await send("Page.navigate", { url: authorizationUrl });
await shown;
const title = await evaluate("document.title");
const names = await evaluate("[...document.querySelectorAll('button')].map((one) => one.innerText)");
await evaluate(`document.querySelector('button[name=decision][value=${button}]').click()`);
const callback = await returned;
console.log(JSON.stringify({ title, names, callback, violations: violations.filter((one) => one.includes("Policy")) }));
browser.kill();
process.exit(0);
