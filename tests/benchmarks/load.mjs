// Runs one autocannon load for each line of standard input, and writes its result as a line of JSON.
// A line is {"url", "connections", "seconds" or "amount", "requests": [{"headers", "body"}]}.
// Each connection cycles through its own part of the requests, or through all of them if there are fewer requests
// than connections.
import autocannon from 'autocannon'
import { createInterface } from 'node:readline'

async function load ({ url, connections, seconds, amount, requests }) {
  const posts = requests.map(request => ({ method: 'POST', ...request }))
  let clients = 0
  let ready = 0
  const result = await autocannon({
    url,
    connections,
    ...(amount ? { amount } : { duration: seconds }),
    requests: [posts[0]],
    setupClient: client => {
      const [first, last] = [0, 1].map(next => Math.floor((clients % connections + next) * posts.length / connections))
      clients++
      client.setRequests(posts.length >= connections ? posts.slice(first, last) : posts)
      ready = Date.now() // thousands of requests take a tenth of a second to build, before the first one is sent
    },
    timeout: 60,
  })
  const { errors, timeouts, non2xx, mismatches } = result
  return {
    answered: result['2xx'],
    seconds: (result.finish - ready) / 1000,
    failed: errors + timeouts + non2xx + mismatches,
    bytes: result.throughput.total,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await load(JSON.parse(line))))
}
