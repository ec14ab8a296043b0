/** Ready pieces of content that the insert menu offers. */
import type { BodyKind } from "./content";

export const BLOCKS = {
  mjml: {
    heading: '<mj-text font-size="24px" font-weight="600">Heading</mj-text>\n',
    text: "<mj-text>Text</mj-text>\n",
    button: '<mj-button href="https://example.com">Open</mj-button>\n',
    image: '<mj-image src="https://example.com/picture.jpg" alt="What the picture shows" />\n',
    columns:
      "<mj-section>\n  <mj-column>\n    <mj-text>Left</mj-text>\n  </mj-column>\n  <mj-column>\n    <mj-text>Right</mj-text>\n  </mj-column>\n</mj-section>\n",
    divider: '<mj-divider border-width="1px" border-color="#cccccc" />\n',
    items: "{% for item in event.items %}\n<mj-text>{{ item.name }}: {{ item.price }}</mj-text>\n{% endfor %}\n",
    greeting: "<mj-text>Hello {{ person.first_name | default: 'there' }},</mj-text>\n",
    unsubscribe: '<mj-text font-size="12px"><a href="{{ unsubscribe_url }}">Unsubscribe</a></mj-text>\n',
  },
  html: {
    heading: "<h1>Heading</h1>\n",
    text: "<p>Text</p>\n",
    button: '<p><a href="https://example.com">Open</a></p>\n',
    image: '<img src="https://example.com/picture.jpg" alt="What the picture shows" width="600">\n',
    divider: "<hr>\n",
    items: "<ul>{% for item in event.items %}\n<li>{{ item.name }}: {{ item.price }}</li>\n{% endfor %}</ul>\n",
    greeting: "<p>Hello {{ person.first_name | default: 'there' }},</p>\n",
    unsubscribe: '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>\n',
  },
  text: {
    greeting: "Hello {{ person.first_name | default: 'there' }},\n",
    items: "{% for item in event.items %}{{ item.name }}: {{ item.price }}\n{% endfor %}",
    unsubscribe: "Unsubscribe: {{ unsubscribe_url }}\n",
  },
} as const satisfies Record<BodyKind, Record<string, string>>;

export type BlockName = keyof (typeof BLOCKS)["mjml"];
