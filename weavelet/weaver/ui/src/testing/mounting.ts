import { type VueWrapper, enableAutoUnmount, mount } from '@vue/test-utils'
import { type Component, defineComponent, h, nextTick, reactive } from 'vue'
import { VApp } from 'vuetify/components/VApp'
import { afterEach } from 'vitest'

import { makeVuetify } from '../theme'

enableAutoUnmount(afterEach)

/** Props and listeners (`onName`) of a component. */
export type Given = Record<string, unknown>

/** A mounted component and what was done with it. */
export interface Mounted {
  /** The component itself. */
  readonly inner: VueWrapper
  /** What it emitted under a name: the arguments of each time. */
  said(event: string): unknown[][]
  /** Gives it other props. */
  give(changed: Given): Promise<void>
  /** The only element of that `data-test`, in overlays too. */
  at(test: string): HTMLElement
  /** All elements of that `data-test`, in overlays too. */
  all(test: string): HTMLElement[]
  /** The input inside of an element of that `data-test`. */
  input(test: string): HTMLInputElement | HTMLTextAreaElement
  /** Types into the input of that `data-test`. */
  type(test: string, text: string): Promise<void>
  /** Clicks the element of that `data-test`. */
  click(test: string): Promise<void>
}

/** Mounts a component within Vuetify, attached to the document so that focus and overlays work. */
export function mounted(component: Component, given: Given = {}): Mounted {
  const props = reactive<Given>({ ...given })
  const Frame = defineComponent(() => () => h(VApp, () => h(component, { ...props })))
  const wrapper = mount(Frame, { attachTo: document.body, global: { plugins: [makeVuetify('light')] } })
  const inner = wrapper.findComponent(component) as VueWrapper
  const all = (test: string) => [...document.querySelectorAll<HTMLElement>(`[data-test="${CSS.escape(test)}"]`)]
  const at = (test: string) => {
    const [found, another] = all(test)
    if (found === undefined || another !== undefined) throw new Error(`${all(test).length} elements ${test}`)
    return found
  }
  const input = (test: string) => {
    const found = at(test).querySelector<HTMLInputElement | HTMLTextAreaElement>('input, textarea:not([readonly])')
    if (found === null) throw new Error(`no input in ${test}`)
    return found
  }
  return {
    inner,
    at,
    all,
    input,
    said: (event) => inner.emitted(event) ?? [],
    async give(changed) {
      Object.assign(props, changed)
      await settled()
    },
    async type(test, text) {
      const field = input(test)
      field.value = text
      field.dispatchEvent(new Event('input', { bubbles: true }))
      await settled()
    },
    async click(test) {
      const target = at(test)
      const inside = target.querySelector<HTMLInputElement>('input[type="checkbox"]')
      ;(inside ?? target).click()
      await settled()
    },
  }
}

/** After what Vue has put off. */
export async function settled(): Promise<void> {
  await nextTick()
  await nextTick()
}
