// Sends what it is told to send, as fast as it is answered, and prints what came of it as one line of JSON.
// Standard input: {"url", "connections", "seconds" or "amount", "requests": [{"headers", "body"}]}.
import autocannon from 'autocannon'

let told = ''
for await (const part of process.stdin) told += part
const { url, connections, seconds, amount, requests } = JSON.parse(told)
const result = await autocannon({
  url,
  connections,
  ...(amount ? { amount } : { duration: seconds }),
  requests: requests.map(request => ({ method: 'POST', ...request })),
  timeout: 60,
})
const { errors, timeouts, non2xx, mismatches } = result
console.log(JSON.stringify({
  answered: result['2xx'],
  seconds: (result.finish - result.start) / 1000,
  failed: errors + timeouts + non2xx + mismatches,
  bytes: result.throughput.total,
}))
