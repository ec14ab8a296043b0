// Send events with Segment's library for Node.js: `node send_events.mjs URL WRITE_KEY`.
import { Analytics } from '@segment/analytics-node'

const [url, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: url })
analytics.on('error', (error) => console.error(error))

analytics.identify({ userId: 'ada', traits: { email: 'ada@example.com', plan: 'pro' } })
analytics.track({ userId: 'ada', event: 'Order Shipped', properties: { order_id: 'A-1001', total: 99.5 } })

// Events are sent in the background; wait for them before the program ends.
await analytics.closeAndFlush()
