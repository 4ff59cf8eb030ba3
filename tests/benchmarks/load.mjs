// Sends what it is told to send, as fast as it is answered, and says what came of it; until there is no more to do.
// A line of standard input: {"url", "connections", "seconds" or "amount", "requests": [{"headers", "body"}]}.
// Each connection goes round a part of the requests that is its own, or round all where there are fewer than
// connections. For each line in, one line of JSON out.
import autocannon from 'autocannon'
import { createInterface } from 'node:readline'

async function load ({ url, connections, seconds, amount, requests }) {
  const posts = requests.map(request => ({ method: 'POST', ...request }))
  let clients = 0
  const result = await autocannon({
    url,
    connections,
    ...(amount ? { amount } : { duration: seconds }),
    requests: [posts[0]],
    setupClient: client => {
      const [first, last] = [0, 1].map(next => Math.floor((clients % connections + next) * posts.length / connections))
      clients++
      client.setRequests(posts.length >= connections ? posts.slice(first, last) : posts)
    },
    timeout: 60,
  })
  const { errors, timeouts, non2xx, mismatches } = result
  return {
    answered: result['2xx'],
    seconds: (result.finish - result.start) / 1000,
    failed: errors + timeouts + non2xx + mismatches,
    bytes: result.throughput.total,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await load(JSON.parse(line))))
}
