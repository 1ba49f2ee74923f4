const MAX_LINES = 100

/** Emits a line every `interval` milliseconds. What a reader does not take is not made. */
function ticker(lines: number, interval: number): ReadableStream<string> {
  let line = 0
  return new ReadableStream({
    async pull(controller) {
      if (line === lines) return controller.close()
      if (line > 0) await new Promise((resolve) => setTimeout(resolve, interval))
      controller.enqueue(`line ${++line} of ${lines}\n`)
    },
  })
}

function numberOf(text: string | null, fallback: number, max: number): number {
  const value = Number(text ?? fallback)
  return Number.isInteger(value) && value >= 0 ? Math.min(value, max) : fallback
}

export default {
  /** `/?lines=5&interval=500`; with `/upper`, in capitals. */
  fetch(request: Request): Response {
    const { pathname, searchParams } = new URL(request.url)
    const lines = ticker(numberOf(searchParams.get('lines'), 5, MAX_LINES), numberOf(searchParams.get('interval'), 500, 5000))
    const upper = new TransformStream<string, string>({
      transform(line, controller) {
        controller.enqueue(pathname === '/upper' ? line.toUpperCase() : line)
      },
    })
    const body = lines.pipeThrough(upper).pipeThrough(new TextEncoderStream())
    return new Response(body, { headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' } })
  },
}
