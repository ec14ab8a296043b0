// Posts what a Node.js program posts: `node send.mjs URL WRITE_KEY COUNT`.
import { Analytics } from '@segment/analytics-node'

const [url, writeKey, count] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: url, flushAt: 20, maxRetries: 20 })
const failures = []
analytics.on('error', (error) => failures.push(error))

analytics.identify({ userId: 'grace', traits: { email: 'grace@example.com', plan: 'pro' } })
for (let number = 0; number < Number(count); number++) {
  analytics.track({ userId: 'grace', event: 'Order Shipped', properties: { number } })
}
analytics.page({ anonymousId: 'visitor-1', name: 'Start' })
analytics.group({ userId: 'grace', groupId: 'navy', traits: { size: 7 } })
analytics.alias({ userId: 'grace', previousId: 'visitor-1' })
await analytics.closeAndFlush({ timeout: 60000 })
if (failures.length > 0) {
  console.error(failures)
  process.exit(1)
}
