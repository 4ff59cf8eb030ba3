// Sends what it is told to send, as fast as it is answered, and prints what came of it as one line of JSON.
// Standard input: {"url", "connections", "seconds" or "amount", "requests": [{"headers", "body"}]}.
// Each connection goes round the requests from a place of its own.
import autocannon from 'autocannon'

let told = ''
for await (const part of process.stdin) told += part
const { url, connections, seconds, amount, requests } = JSON.parse(told)
const posts = requests.map(request => ({ method: 'POST', ...request }))
let clients = 0
const result = await autocannon({
  url,
  connections,
  ...(amount ? { amount } : { duration: seconds }),
  requests: [posts[0]],
  setupClient: client => {
    const first = Math.floor((clients++ % connections) * posts.length / connections)
    client.setRequests([...posts.slice(first), ...posts.slice(0, first)])
  },
  timeout: 60,
})
const { errors, timeouts, non2xx, mismatches } = result
console.log(JSON.stringify({
  answered: result['2xx'],
  seconds: (result.finish - result.start) / 1000,
  failed: errors + timeouts + non2xx + mismatches,
  bytes: result.throughput.total,
}))
