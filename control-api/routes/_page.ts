/** A page as it is sent: the cursor is left out on the last one. */
export function page<T>(items: T[], cursor: string | undefined): { items: T[]; cursor?: string } {
  return cursor === undefined ? { items } : { items, cursor }
}

/**
 * A page of what a caller may see, out of an ordered stream that also has what others own. The cursor is the key of the
 * caller's own last item: a cursor of the store would give away a key of somebody else.
 */
export async function visiblePage<T>(
  all: AsyncIterable<T>,
  options: {
    visible: (item: NoInfer<T>) => boolean
    key: (item: NoInfer<T>) => string
    cursor?: string | undefined
    limit: number
  },
): Promise<{ items: T[]; cursor?: string }> {
  const items: T[] = []
  for await (const item of all) {
    if (!options.visible(item) || (options.cursor !== undefined && options.key(item) <= options.cursor)) continue
    if (items.length === options.limit) return { items, cursor: options.key(items.at(-1)!) }
    items.push(item)
  }
  return { items }
}
