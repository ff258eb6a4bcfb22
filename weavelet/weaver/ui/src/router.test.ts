import { expect, it } from 'vitest'

import { href, parse, type Route } from './router'

it('finds its way back from the address that it wrote', () => {
  const places: Route[] = [
    { view: 'fleet' },
    { view: 'run', run: 'train', job: null },
    { view: 'run', run: 'a/b?c#d%', job: 'x&y=z "' },
  ]
  for (const place of places) expect(parse(href(place))).toEqual(place)
})

it('shows the fleet where the address names nothing', () => {
  for (const fragment of ['', '#', '#/', '#/run/', '#/run/%', '#token=abc', '#/elsewhere']) {
    expect(parse(fragment)).toEqual({ view: 'fleet' })
  }
})
