// What a browser has and the tests' one lacks.
if (typeof globalThis.matchMedia !== 'function') {
  globalThis.matchMedia = (media: string): MediaQueryList =>
    ({
      media,
      matches: false,
      onchange: null,
      addEventListener: () => undefined,
      removeEventListener: () => undefined,
      addListener: () => undefined,
      removeListener: () => undefined,
      dispatchEvent: () => false,
    }) as MediaQueryList
}
if (typeof globalThis.ResizeObserver !== 'function') {
  globalThis.ResizeObserver = class {
    observe(): void {}
    unobserve(): void {}
    disconnect(): void {}
  }
}
if (typeof globalThis.CSS?.supports !== 'function') {
  Object.assign(globalThis, { CSS: { supports: () => false, escape: (text: string) => text } })
}
if (!('visualViewport' in globalThis)) {
  Object.assign(globalThis, { visualViewport: new EventTarget() })
}
