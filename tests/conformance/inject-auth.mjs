// The suite sends no credentials of its own, and the service answers nobody without a token. Node's clients announce
// each request on a diagnostics channel before it leaves: undici's (the global fetch too) on one, node:http's on another.
//
// Loaded with `node --import`; CONFORMANCE_AUTH is the value of the Authorization header.
import { subscribe } from 'node:diagnostics_channel';

const authorization = process.env.CONFORMANCE_AUTH;
if (!authorization) throw new Error('CONFORMANCE_AUTH is not set');

const named = (headers) => [headers].flat().some((line) => /^authorization\b/i.test(line));

subscribe('undici:request:create', ({ request }) => {
  if (!named(request.headers)) request.addHeader('authorization', authorization);
});

subscribe('http.client.request.created', ({ request }) => {
  if (!request.hasHeader('authorization')) request.setHeader('authorization', authorization);
});
