/*
 * How a key becomes an object's name: '!' is appended. S3 itself holds 'a' beside 'a/b'; of the servers that keep objects
 * as files some refuse the second (versitygw) and some leave it out of listings (MinIO), which a listing cannot show.
 * 'a!' and 'a/b!' trouble none of them.
 *
 * The server sorts names, and its order must be the one of the keys: the mark sorts before all that may follow in a
 * key, and the two characters that would come before or at it are written as '!1' (space) and '!2' ('!').
 */
const MARK = '!'

export function keyToName(key: string): string {
  return prefixToName(key) + MARK
}

/** Names of the keys that begin with `prefix`, and no others, begin with this. */
export function prefixToName(prefix: string): string {
  return prefix.replace(/[ !]/g, (char) => (char === ' ' ? '!1' : '!2'))
}

/** Undefined for what the store did not write. */
export function nameToKey(name: string): string | undefined {
  if (!/^(?:[^ !]|![12])*!$/u.test(name)) return undefined
  return name.slice(0, -MARK.length).replace(/![12]/g, (escape) => (escape === '!1' ? ' ' : '!'))
}
