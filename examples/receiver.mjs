// A receiver of webhooks that needs nothing but Node.js: `node receiver.mjs PORT SECRET`.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const [port, secret] = process.argv.slice(2)
const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')

function verified (headers, body) {
  const id = headers['webhook-id']
  const timestamp = headers['webhook-timestamp']
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= 300)) return false
  const digest = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
  const expected = Buffer.from(`v1,${digest}`)
  // Several signatures stand here while a secret is rotated; one that fits is enough.
  return (headers['webhook-signature'] ?? '').split(' ').some((signature) => {
    const given = Buffer.from(signature)
    return given.length === expected.length && timingSafeEqual(given, expected)
  })
}

createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    const body = Buffer.concat(parts)
    if (!verified(request.headers, body)) return response.writeHead(400).end()
    // Keep it here, by its webhook-id, before you answer.
    console.log('verified', request.headers['webhook-id'], JSON.parse(body).type)
    response.writeHead(204).end()
  })
}).listen(Number(port), '127.0.0.1')
