// Send an event from a web page, without a library. The write key may be public: it can do nothing else.
export async function track (url, writeKey, event, anonymousId, properties = {}) {
  const answer = await fetch(`${url}/v1/track`, {
    method: 'POST',
    keepalive: true, // it is sent even if the visitor leaves the page
    headers: { 'content-type': 'text/plain' }, // a plain type needs no question beforehand (no CORS preflight)
    body: JSON.stringify({
      writeKey,
      anonymousId,
      messageId: crypto.randomUUID(),
      event,
      properties,
      context: { page: { url: globalThis.location?.href } }
    })
  })
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`)
}
