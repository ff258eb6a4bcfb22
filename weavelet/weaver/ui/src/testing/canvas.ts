/** A canvas that draws nothing, for where there is none; uPlot lays out and calls back as ever. */
export function withoutDrawing(): void {
  const context = new Proxy<Record<string, unknown>>(
    {},
    {
      get: (kept, name) => {
        if (typeof name === 'string' && name in kept) return kept[name]
        return name === 'measureText' ? () => ({ width: 10 }) : () => undefined
      },
      set: (kept, name, value) => (typeof name === 'string' ? ((kept[name] = value), true) : true),
    },
  )
  HTMLCanvasElement.prototype.getContext = (() => context) as unknown as HTMLCanvasElement['getContext']
  class Path {
    moveTo(): void {}
    lineTo(): void {}
    rect(): void {}
    arc(): void {}
    addPath(): void {}
    closePath(): void {}
  }
  Object.assign(globalThis, { Path2D: Path })
}
